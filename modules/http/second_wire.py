"""Handles requests of the form MODULE/ACTION, which are called the second wire (docs/wire.md section 9).

Requests of the first wire (MODULE/?ACTION) are processed in the same steps. Only the URL, the way to give fields, and
the HTTP status differ.
"""

import bottle

from mailapi import (
    NEW_SPELLING,
    ApiError,
    Call,
    Endpoint,
    Generation,
    Module,
    RequestHandler,
    empty,
    encode,
    read_object,
)

from ..openapi.codes import HTTP_STATUS, code_of, field_of
from ..openapi.names import unknown
from ..openapi.strict import check_auth, field_types, query_fields, read_strictly
from .cors import is_allowed_origin, preflight_headers
from .large_bodies import check_caller_rules, read_for_caller
from .mounts import BASIC_CHALLENGE, basic_credentials

BEARER_CHALLENGE = 'Bearer realm="mailapi"'


class SecondWireHandler(RequestHandler):
    """The handler of one request of the form MODULE/ACTION, called the second wire (docs/wire.md section 9)."""

    def outcome(self) -> tuple[dict, int]:
        """Process the request. Return the answer and the HTTP status, such as ({"status": "ok", "code": "ok"}, 200).

        For an error, `code` names the error, and `field` names the invalid field, if any.
        """
        answer, _ = super().outcome()
        if self.mounted_response is not None:
            return answer, self.mounted_response.status_code
        code = code_of(self.refused)
        answer["code"] = code
        if self.refused and (field := field_of(self.refused)):
            answer["field"] = field
        if HTTP_STATUS[code] == 401:
            self.headers += self.challenges(code)
        return answer, HTTP_STATUS[code]

    def challenges(self, code: str) -> list[tuple[str, str]]:
        """Return the headers WWW-Authenticate of an answer with HTTP 401, as [(name, value), …].

        `code`: the error's name, such as "invalid_token". Browsers get no header for HTTP Basic, since they would open
        a log-in form.
        """
        error = ', error="invalid_token"' if code == "invalid_token" else ""
        values = [BEARER_CHALLENGE + error]
        if "HTTP_SEC_FETCH_SITE" not in self.environ:
            values.append(BASIC_CHALLENGE)
        return [("WWW-Authenticate", value) for value in values]

    ##### The URL

    def process(self) -> dict:
        """Find the action, read the body, authenticate the caller, run the action, and return the answer."""
        app, method = self.app, self.environ["REQUEST_METHOD"]
        if app.config.debug:
            app.db.trace(self.frame["debug"].append)
        if method == "OPTIONS":
            return self.preflight()
        generation = app.generation()
        self.frame["api_version"] = self.frame["schema_version"] = generation.number
        if self.path == "openapi.json":
            return self.describe(generation)
        self.find_action(generation)
        assert self.chosen and self.module
        self.require_method(method)
        self.call = call = Call(app, generation, {}, {})
        call.encodes = call.warns = True
        body, auth = self.read_json(method)
        self.authenticate(call, auth)
        unread = [body]
        del body  # so that an action can free a large field that it has read
        return self.act(call, self.module, unread, auth, {})

    def find_action(self, generation: Generation):
        """Find the module and the action that the URL path names, and store them in `module` and `chosen`.

        `generation`: the database's schema version, which some modules do not support. ApiError (HTTP 404) if there is
        no such module or action. Its message suggests a similar name.
        """
        first, slash, action = self.path.partition("/")
        name = first if slash else ""
        modules = {path: m for path, m in self.app.modules.items() if generation.number in m.generations}
        if name not in modules:
            self.refuse_name("module", name, modules.keys() - {""})
        self.module = modules[name]
        asked = action if slash else first
        self.chosen = self.module.endpoints.get(NEW_SPELLING.sub(r"permission\1", asked))
        if self.chosen is None:
            self.refuse_name("action", action, [*self.module.endpoints, "?logout"])

    def refuse_name(self, kind: str, name: str, known):
        raise ApiError(unknown(kind, name, known), http=404, audit=f"Unknown {kind}.", code=f"unknown_{kind}")

    def methods(self) -> list[str]:
        """Return the HTTP methods that the requested action accepts, such as ["POST"]."""
        return ["GET", "HEAD", "POST"] if self.chosen and self.chosen.read_only else ["POST"]

    def require_method(self, method: str):
        """Raise ApiError (HTTP 405) if the action does not accept the request's method."""
        if method not in self.methods():
            self.headers.append(("Allow", ", ".join([*self.methods(), "OPTIONS"])))
            raise ApiError(f"Use {' or '.join(self.methods())}.", http=405)

    def preflight(self) -> dict:
        """Answer an OPTIONS request with the HTTP methods that the URL accepts and the headers of CORS (cors.py)."""
        generation = self.app.generation()
        if self.path != "openapi.json":
            self.find_action(generation)
        methods = self.methods() if self.chosen else ["GET", "HEAD"]
        headers = preflight_headers(self.app.config.cors_origin, self.environ, [*methods, "OPTIONS"])
        self.mounted_response = bottle.HTTPResponse(b"", 204, headers)
        return self.frame

    def describe(self, generation: Generation) -> dict:
        """Answer a request for openapi.json with the OpenAPI document of the configured modules. No log-in needed."""
        from ..openapi.document import document_of

        if self.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            self.headers.append(("Allow", "GET, HEAD, OPTIONS"))
            raise ApiError("Use GET.", http=405)
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        headers += self.headers
        if self.app.config.cors_origin:
            headers.append(("Access-Control-Allow-Origin", self.app.config.cors_origin))
        content = encode(document_of(self.app, generation, self.environ))
        self.mounted_response = bottle.HTTPResponse(content, 200, headers)
        return self.frame

    ##### The body

    def read_json(self, method: str) -> tuple[dict | bytes, dict | None]:
        """Return (body, auth): the request's body, parsed as a dictionary, and its member `auth`, or else None.

        The body is bytes if it is large. `method`: the HTTP method. ApiError with HTTP 415 if the body is not declared
        as JSON, and with HTTP 400 for a GET with a body or a POST with a query.
        """
        has_body = self.environ.get("CONTENT_LENGTH") not in (None, "", "0") or (
            "HTTP_TRANSFER_ENCODING" in self.environ
        )
        if method != "POST":
            if has_body:
                raise ApiError("GET takes its fields in the query: use POST for a body.", http=400)
            return {}, None
        if self.environ.get("QUERY_STRING"):
            raise ApiError("POST takes its fields in the body, not in the query.", http=400)
        if has_body and not self.is_json():
            raise ApiError("Send application/json.", code="media_type")
        return self.read_body(self.chosen)

    @staticmethod
    def parse(raw: bytes) -> dict:
        """Parse a body as a JSON object, an empty body as {}. ApiError if it is all blanks or no JSON object."""
        if raw.isspace():
            raise ApiError("Invalid JSON in request body.", http=400, code="invalid_json")
        return read_object(raw)

    def is_json(self) -> bool:
        content_type = self.environ.get("CONTENT_TYPE", "").partition(";")[0]
        return content_type.strip().lower() == "application/json"

    ##### The log-in

    def authenticate(self, call: Call, auth: dict | None):
        """Log in the caller by the body's member `auth`, by the header Authorization, or by the session cookie."""
        if not empty(auth):
            check_auth(auth)
        scheme, _, credentials = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if auth and auth.get("user_name") or not scheme:
            self.refuse_cookie_of_other_site(auth)
            self.log_in(call, auth)
        elif scheme.lower() == "bearer":
            self.use_token(call, credentials.strip())
        else:
            self.refuse_basic_of_other_site()
            self.check_password(call, *basic_credentials(scheme, credentials), remember=False)

    def refuse_cookie_of_other_site(self, auth: dict | None):
        """Raise ApiError (HTTP 403) if a page of another site sent the session cookie along (docs/wire.md F42).

        `auth`: the body's member `auth`. If it has a user name, the cookie is ignored, and the request is allowed.
        """
        has_cookie = "PHPSESSID=" in self.environ.get("HTTP_COOKIE", "")
        if not (auth and auth.get("user_name")) and has_cookie and self.is_cross_site():
            raise ApiError("Not allowed from another site.", code="cross_site")

    def refuse_basic_of_other_site(self):
        """Raise ApiError (HTTP 403) if a page of another site logs in by HTTP Basic, unless `cors_origin` allows it.

        A POST without JSON is refused even then, since browsers may add stored passwords to it without asking first.
        """
        if self.is_cross_site():
            checked = self.environ["REQUEST_METHOD"] != "POST" or self.is_json()
            if not (checked and is_allowed_origin(self.app.config.cors_origin, self.environ)):
                raise ApiError("Not allowed from another site.", code="cross_site")

    def is_cross_site(self) -> bool:
        return self.app.cookies.is_cross_site(self.environ)

    ##### The fields

    def read_fields(self, call: Call, body: dict | bytes, auth: dict | None, query: dict):
        """Check that the caller may use the action, then put the request's fields into `call`.

        `body`: the parsed body, or bytes if it is large and not yet parsed. `auth`: the body's member `auth`. `query`
        is not used: this method itself reads the URL's query. ApiError if the caller or a field is refused.
        """
        assert self.chosen and self.module
        self.check_caller(call, self.module, self.chosen)
        if isinstance(body, bytes):
            body = read_for_caller(call, self.chosen, body, auth)
        if self.environ["REQUEST_METHOD"] != "POST":
            body = query_fields(
                self.environ.get("QUERY_STRING", ""), field_types(self.chosen, call.generation)
            )
        read_strictly(call, self.chosen, {name: value for name, value in body.items() if name != "auth"})

    def check_caller(self, call: Call, module: Module, chosen: Endpoint):
        """Raise ApiError if the caller's role or token does not allow the action `chosen` of `module`.

        Rules that depend on fields of the request are not checked here.
        """
        self.app.identify(call)
        if call.restriction:
            call.restriction(module, chosen)
        check_caller_rules(call, chosen)
