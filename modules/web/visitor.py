"""The user of the panel during one request: their session, their permissions, and the API actions they run."""

import hashlib
import hmac
import urllib.parse
from collections.abc import Iterable

from peewee import PeeweeException

from mailapi import (
    ApiError,
    Call,
    Endpoint,
    File,
    LoginRefused,
    Module,
    RequestHandler,
    anyone,
    endpoint,
    refusal,
    refuse_forbidden_text,
)

from ..http.event import Event
from . import texts
from .templates import link

# The event that the core reports for a page: a read in a session, which the audit leaves out. Actions that a page runs
# are reported one by one.
PAGE = endpoint(allow=anyone, read_only=True)(lambda module, call: {}).endpoint


class Fields:
    """The fields of a URL or a form. fields("name") returns the first value; a name can have several."""

    def __init__(self, pairs: list[tuple[str, str]], files: Iterable[tuple[str, dict]] = ()):
        self.pairs, self.files = pairs, list(files)

    def __call__(self, name: str, default: str = "") -> str:
        """Return the first value of a field, without blanks around it; `default` if the field is missing."""
        return next((value.strip() for field, value in self.pairs if field == name), default)

    def exactly(self, name: str) -> str:
        """Return the first value of the field `name` without stripping it, for passwords; "" if it is missing."""
        return next((value for field, value in self.pairs if field == name), "")

    def has(self, name: str) -> bool:
        return any(field == name for field, _ in self.pairs)

    def all(self, name: str) -> list[str]:
        """Return all values of a field, such as those of several check boxes of this name."""
        return [value for field, value in self.pairs if field == name]

    def without(self, *names: str) -> dict[str, str]:
        """Return {name: value} of all fields that are not empty, except those in `names`."""
        return {name: value for name, value in self.pairs if value and name not in names}


class PageRefused(ApiError):
    """Raised if the user may not see a page (HTTP 403)."""

    def __init__(self, visitor: "Visitor"):
        super().__init__(visitor.t.not_allowed, http=403, audit="Not allowed.")


class Visitor:
    """The user of the panel during one request, with session and submitted fields.

    `query` has the fields of the URL, `form` those of the form. `problem` says why the form was refused, or is "".
    `blamed` names the field at fault.
    """

    def __init__(self, handler: RequestHandler, path: str):
        assert handler.call is not None  # the core makes it before it asks a module
        self.handler, self.app, self.environ = handler, handler.app, handler.environ
        self.call, self.generation = handler.call, handler.call.generation
        self.query = Fields([])
        self.t = texts.choose(self.environ)
        self.form, self.form_name = Fields([]), ""
        self.problem, self.blamed, self.warning = "", "", ""
        self.answer: dict = {}  # what a refusal has besides its sentence
        self.path = path

    def read_query(self):
        """Read the fields in the query of the URL into `query`. ApiError if there are too many."""
        query = self.environ.get("QUERY_STRING", "")
        try:
            self.query = Fields(urllib.parse.parse_qsl(query, True, errors="replace", max_num_fields=200))
        except ValueError:
            raise ApiError("Too many fields in the query.", http=400) from None

    def identify(self):
        """Authenticate the user by the session cookie, and read their permissions. LoginRefused without a session."""
        self.handler.use_session(self.call)
        self.handler.chosen = PAGE
        self.app.perform(self.call, self.app.mounts["panel"], None)

    @property
    def name(self) -> str:
        return self.call.user_name or ""

    @property
    def admin(self) -> bool:
        return self.call.caller.admin

    @property
    def manages(self) -> bool:
        """Return whether the visitor is an administrator or a delegate."""
        return self.call.caller.admin or self.call.caller.delegate

    @property
    def token(self) -> str:
        """Return the text that each form of this session must have, as protection against forged requests (CSRF)."""
        # Nobody can compute the session's id from it.
        session = hashlib.sha256(self.call.session.encode()).digest()
        return hashlib.blake2b(session, digest_size=16, person=b"mailapi panel").hexdigest()

    def has_token(self) -> bool:
        """Return whether the submitted form has the token of this session."""
        return hmac.compare_digest(self.form("token").encode(), self.token.encode())

    ##### Actions

    def endpoint(self, path: str, action: str) -> tuple[Module, Endpoint] | None:
        """Return an API module and its action, for a path such as "users" and an action's name such as "add".

        Return None if this installation does not have them.
        """
        module = self.app.modules.get(path)
        if module is None or self.generation.number not in module.generations:
            return None
        return (module, module.endpoints[action]) if action in module.endpoints else None

    def next_page(self, rows: list[dict], size: int, key: str, cursor: str = "after") -> str:
        """Return the URL of the next page of a list; "" if there is none.

        `rows` has one row more than `size` if there is a next page. The URL's field with the name `cursor`, such as
        "after", gets the last shown row's value of `key`.
        """
        if len(rows) <= size:
            return ""
        return link(self.path, **self.query.without(cursor), **{cursor: rows[size - 1][key]})

    def has(self, path: str, action: str = "get") -> bool:
        """Return whether this installation has an API action. `path` is its module, such as "users"."""
        return self.endpoint(path, action) is not None

    def new_call(self, chosen: Endpoint, fields: dict, query: dict, limit: int | None = None) -> Call:
        """Return the user's call of an API action, with `fields` and `query` converted to the types of the action.

        `limit` is the highest number of rows in the answer.
        """
        refuse_forbidden_text(fields)
        call = Call(self.app, self.generation, *chosen.read(self.generation, fields, query), limit)
        call.user_name, call.session = self.call.user_name, self.call.session
        call.external_user, call.check_identity = self.call.external_user, self.call.check_identity
        return call

    def may(self, path: str, action: str, **fields) -> bool:
        """Return whether the user may run an API action with these fields.

        `path` is the action's module, such as "users".
        """
        if not (found := self.endpoint(path, action)):
            return False
        call = self.new_call(found[1], fields, {})
        call.caller = self.call.caller
        with self.app.db.transaction("DEFERRED"):
            return all(rule.test(call) for rule in found[1].allow)

    def run(self, path: str, action: str, fields: dict | None = None, query: dict | None = None, limit=None):
        """Run an API action for the user. Return its answer as a dict, or a File. ApiError if it is refused.

        `path` is the action's module, such as "users". `fields` are for the request's body, and `query` for its URL.
        `limit` is the highest number of rows in the answer. Changes and refusals are recorded in the audit.
        """
        module = self.app.module(path, self.generation)
        chosen = module.endpoints[action]
        call = self.new_call(chosen, fields or {}, query or {}, limit)
        try:
            added = self.app.perform(call, module, chosen)
        except (ApiError, PeeweeException) as error:
            problem = error.bare() if isinstance(error, ApiError) else refusal(error)
            self.report(module, chosen, call, problem.audit, problem.http)
            raise problem from None
        if call.new_authdata:
            self.app.end_sessions(call)
        status = "ok" if isinstance(added, File) else added.get("status", "ok")
        if not (chosen.read_only or call.unchanged):
            self.report(module, chosen, call, status, 200)
        if status == "warning":
            self.warning = self.t.sentence(added.get("warning", ""))
        return added

    def report(self, module: Module, chosen: Endpoint, call: Call, status: str, http: int):
        """Tell all modules, by on_request(), that an API action has ended.

        `status` is the sentence of its answer, such as "ok" or "Not allowed.", and `http` its HTTP status.
        """
        self.app.db.release()  # what follows may wait for the state database
        event = Event(module.path, status, http, self.handler.client, "session")
        event.describe(call, chosen)
        self.app.notify("on_request", event)


def log_in(visitor: Visitor):
    """Authenticate the user by the form's user name and password, and begin a session.

    ApiError if they are refused.
    """
    name, password = visitor.form("user_name"), visitor.form.exactly("password")
    refuse_forbidden_text({"auth": {"user_name": name, "password": password}})
    if not name:
        raise LoginRefused("Username is not set!")
    # Of an ended or another session; the audit must not take its user for the one who logs in.
    visitor.call.user_name, visitor.call.session, visitor.handler.chosen = None, "", None
    visitor.call.identified = False
    visitor.handler.check_password(visitor.call, name, password)
    visitor.app.perform(visitor.call, visitor.app.mounts["panel"], None)
