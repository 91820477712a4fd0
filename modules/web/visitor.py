"""The visitor of the panel: their session, what they may do, and the actions that they run."""

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

# What the core reports of a page that was shown: a read in a session, which the audit leaves out. Actions that a page
# runs are reported one by one.
PAGE = endpoint(allow=anyone, read_only=True)(lambda module, call: {}).endpoint


class Fields:
    """The fields of a query or of a form: names with one or more texts, and files."""

    def __init__(self, pairs: list[tuple[str, str]], files: Iterable[tuple[str, dict]] = ()):
        self.pairs, self.files = pairs, list(files)

    def __call__(self, name: str, default: str = "") -> str:
        """Return the field's text, without blanks around it; `default` if it is not there."""
        return next((value.strip() for field, value in self.pairs if field == name), default)

    def exactly(self, name: str) -> str:
        """Return the field's text as it was typed, as a password or the text of a mail needs it."""
        return next((value for field, value in self.pairs if field == name), "")

    def all(self, name: str) -> list[str]:
        """Return all texts of a field, as check boxes send them."""
        return [value for field, value in self.pairs if field == name]

    def without(self, *names: str) -> dict[str, str]:
        """Return the fields that have a text, but for some, for a link to another page of the same list."""
        return {name: value for name, value in self.pairs if value and name not in names}


class PageRefused(ApiError):
    """The visitor's role does not include a page."""

    def __init__(self, visitor: "Visitor"):
        super().__init__(visitor.t.not_allowed, http=403, audit="Not allowed.")


class Visitor:
    """The person who asks for a page. `form` has what they sent, `problem` why it was refused."""

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
        """Read the query of the URL. ApiError: it has too many fields."""
        query = self.environ.get("QUERY_STRING", "")
        try:
            self.query = Fields(urllib.parse.parse_qsl(query, True, errors="replace", max_num_fields=200))
        except ValueError:
            raise ApiError("Too many fields in the query.", http=400) from None

    def identify(self):
        """Authenticate the visitor by the session cookie, and read their permissions. Raises LoginRefused."""
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
        """Return the text that proves that a form was made for this session. It reveals nothing of the session's id."""
        session = hashlib.sha256(self.call.session.encode()).digest()
        return hashlib.blake2b(session, digest_size=16, person=b"mailapi panel").hexdigest()

    def has_token(self) -> bool:
        """Return whether the form was made for this session."""
        return hmac.compare_digest(self.form("token").encode(), self.token.encode())

    ##### Actions

    def endpoint(self, path: str, action: str) -> tuple[Module, Endpoint] | None:
        """Return an action and its module; None if this installation does not have them."""
        module = self.app.modules.get(path)
        if module is None or self.generation.number not in module.generations:
            return None
        return (module, module.endpoints[action]) if action in module.endpoints else None

    def has(self, path: str, action: str = "get") -> bool:
        """Return whether this installation has an action."""
        return self.endpoint(path, action) is not None

    def new_call(self, chosen: Endpoint, fields: dict, query: dict, limit: int | None = None) -> Call:
        """Return a call of an action by the visitor, with the fields read as the action declares them."""
        refuse_forbidden_text(fields)
        call = Call(self.app, self.generation, *chosen.read(self.generation, fields, query), limit)
        call.user_name, call.session = self.call.user_name, self.call.session
        call.external_user, call.check_identity = self.call.external_user, self.call.check_identity
        return call

    def may(self, path: str, action: str, **fields) -> bool:
        """Return whether the visitor may run an action with these fields, by the rules that it declares."""
        if not (found := self.endpoint(path, action)):
            return False
        call = self.new_call(found[1], fields, {})
        call.caller = self.call.caller
        with self.app.db.transaction("DEFERRED"):
            return all(rule.test(call) for rule in found[1].allow)

    def run(self, path: str, action: str, fields: dict | None = None, query: dict | None = None, limit=None):
        """Run an action as a request to it would, and return what it adds to the answer, or its File.

        ApiError: it was refused. Changes and refusals are reported to the modules, as the audit needs it.
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
            self.warning = added.get("warning", "")
        return added

    def report(self, module: Module, chosen: Endpoint, call: Call, status: str, http: int):
        """Call on_request of the modules with an action that has ended."""
        self.app.db.release()  # what follows may wait for the state database
        event = Event(module.path, status, http, self.handler.client, "session")
        event.describe(call, chosen)
        self.app.notify("on_request", event)


def log_in(visitor: Visitor):
    """Authenticate the visitor by the user name and the password of the form, and begin a session. Raises ApiError."""
    name, password = visitor.form("user_name"), visitor.form.exactly("password")
    refuse_forbidden_text({"auth": {"user_name": name, "password": password}})
    if not name:
        raise LoginRefused("Username is not set!")
    visitor.handler.check_password(visitor.call, name, password)
    visitor.app.perform(visitor.call, visitor.app.mounts["panel"], None)
