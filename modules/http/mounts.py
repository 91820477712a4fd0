"""Requests to a mount: a URL path such as /dav, below which a module answers all requests itself (Module.mount).

The caller logs in by HTTP Basic or a token. Such requests begin no session, and the session cookie is ignored.
"""

import base64
import dataclasses

import peewee

from mailapi import (
    FORBIDDEN,
    ApiError,
    Call,
    LoginRefused,
    Module,
    RequestHandler,
    anyone,
    endpoint,
    refusal,
)

# The declaration of a request below a mount, for tokens and the audit: the action's name is the HTTP method.
MOUNTED_REQUEST = dataclasses.replace(
    endpoint(allow=anyone, required={"path": ""}, manages_transactions=True)(
        lambda module, call: {}
    ).endpoint,
    identifiers={"path": None},
)
BASIC_CHALLENGE = 'Basic realm="mailapi", charset="UTF-8"'


def answer(handler: RequestHandler, first: str, below: str) -> dict:
    """Let a module answer a request to its mount, a URL path like /dav. Return {"status": "ok", …} for the audit.

    `first`: the mount, such as "dav", the first segment of the URL path. `below`: the rest of the path. The response
    becomes handler.mounted_response. ApiError if the module refuses the request.
    """
    app = handler.app
    app.release()
    handler.path = first
    try:
        handler.call = Call(app, app.generation(), {"path": below}, {})
        handler.frame |= dict.fromkeys(("api_version", "schema_version"), handler.call.generation.number)
        response = handler.mounted_response = app.mounts[first].mount(handler, below)
    except ApiError as refused:
        raise with_error_status(refused, 403) from None
    except peewee.PeeweeException as error:
        raise with_error_status(refusal(error), 500) from None
    unchanged = response.status_code >= 400 and handler.chosen and not handler.chosen.read_only
    return handler.frame | {"status": response.status_line if unchanged else "ok"}


def with_error_status(refused: ApiError, http: int) -> ApiError:
    """Return the same error, with the status `http` in place of HTTP 200, which WebDAV clients take for success."""
    return ApiError(
        refused.status,
        http if refused.http == 200 else refused.http,
        refused.retry_after,
        refused.audit,
        refused.code,
        **refused.answer,
    )


def admit(handler: RequestHandler, module: Module, read_only: bool) -> Call:
    """Log in the caller of a request to a URL path of `module`, such as /dav. Return the Call, with the caller in it.

    `read_only`: whether the request changes nothing, so that a token for reading suffices. ApiError with HTTP 401 if
    the log-in fails, and with HTTP 403 if a page of another site sent the request.
    """
    call, method = handler.call, handler.environ["REQUEST_METHOD"]
    assert call is not None  # the handler makes it before it asks a module
    handler.chosen = dataclasses.replace(MOUNTED_REQUEST, name=method, read_only=read_only)
    # Browsers send the credentials of HTTP Basic along with requests of other sites, like cookies.
    if handler.app.cookies.is_cross_site(handler.environ):
        raise ApiError("Not allowed from another site.", http=403, code="cross_site")
    try:
        authenticate(handler, call)
    except LoginRefused as refused:
        handler.headers.append(("WWW-Authenticate", BASIC_CHALLENGE))
        raise ApiError(refused.status, http=401, code=refused.code, login=False) from None
    if call.restriction:
        call.restriction(module, handler.chosen)
    return call


def authenticate(handler: RequestHandler, call: Call):
    """Log in the caller by bearer token or HTTP Basic, and read the caller's permissions. LoginRefused on failure."""
    scheme, _, credentials = handler.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        handler.use_token(call, credentials.strip())
    else:
        handler.check_password(call, *basic_credentials(scheme, credentials), remember=False)
        handler.via = "basic"
    handler.app.identify(call)


def basic_credentials(scheme: str, credentials: str) -> tuple[str, str]:
    """Decode the header Authorization of HTTP Basic (RFC 7617). Return (user name, password).

    `scheme` and `credentials`: the two words of the header, such as "Basic" and "Ym9iOnB3". LoginRefused if they
    contain no user name.
    """
    try:
        decoded = base64.b64decode(credentials, validate=True).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        decoded = ""
    user_name, _, password = decoded.partition(":")
    if not user_name or FORBIDDEN.search(decoded):
        raise LoginRefused("Username is not set!")
    return user_name, password
