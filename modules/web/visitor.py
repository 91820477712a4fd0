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
from .templates import link

# The event that the core reports for a page: a read in a session, which the audit leaves out. Actions that a page runs
# are reported one by one.
PAGE = endpoint(allow=anyone, read_only=True)(lambda module, call: {}).endpoint


class Fields:
    """The fields of a query or a form: one or more texts for each name, and files."""

    def __init__(self, pairs: list[tuple[str, str]], files: Iterable[tuple[str, dict]] = ()):
        self.pairs, self.files = pairs, list(files)

    def __call__(self, name: str, default: str = "") -> str:
        """Return the first value of a field, without blanks around it; `default` if the field is missing."""
        return next((value.strip() for field, value in self.pairs if field == name), default)

    def exactly(self, name: str) -> str:
        """Return the first value of a field unchanged, as passwords and mails need it; "" if it is missing."""
        return next((value for field, value in self.pairs if field == name), "")

    def all(self, name: str) -> list[str]:
        """Return all values of a field. Check boxes of the same name send several."""
        return [value for field, value in self.pairs if field == name]

    def without(self, *names: str) -> dict[str, str]:
        """Return all fields that are not empty, except those in `names`, for a link to another page of a list."""
        return {name: value for name, value in self.pairs if value and name not in names}


class PageRefused(ApiError):
    """The error for a page that the visitor's role may not see."""

    def __init__(self, visitor: "Visitor"):
        super().__init__(visitor.t.not_allowed, http=403, audit="Not allowed.")


class Visitor:
    """The visitor of a page, with their session, and the fields that the browser has sent.

    `query` has the fields of the URL, `form` those of the form, `problem` the reason why the form was refused.
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
        """Read the fields in the query of the URL. ApiError if there are too many."""
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
        """Return the secret text in the forms of this session, which proves that the panel has made the form.

        Nobody can compute the session's id from it.
        """
        session = hashlib.sha256(self.call.session.encode()).digest()
        return hashlib.blake2b(session, digest_size=16, person=b"mailapi panel").hexdigest()

    def has_token(self) -> bool:
        """Return whether the form that was sent has this session's token."""
        return hmac.compare_digest(self.form("token").encode(), self.token.encode())

    ##### Actions

    def endpoint(self, path: str, action: str) -> tuple[Module, Endpoint] | None:
        """Return the module at `path`, such as "users", and its action; None if they are not in this installation."""
        module = self.app.modules.get(path)
        if module is None or self.generation.number not in module.generations:
            return None
        return (module, module.endpoints[action]) if action in module.endpoints else None

    def next_page(self, rows: list[dict], size: int, key: str, cursor: str = "after") -> str:
        """Return the URL of the next page of a list; "" if this is the last one.

        rows: those of this page, `size` at most, and one more if there is a next page. The next page begins after the
        `key` of this page's last row, which the query has as `cursor`.
        """
        if len(rows) <= size:
            return ""
        return link(self.path, **self.query.without(cursor), **{cursor: rows[size - 1][key]})

    def has(self, path: str, action: str = "get") -> bool:
        """Return whether this installation has an action. path: the module, such as "users"."""
        return self.endpoint(path, action) is not None

    def new_call(self, chosen: Endpoint, fields: dict, query: dict, limit: int | None = None) -> Call:
        """Return a call of an action by this visitor, with fields converted as the action declares them.

        `limit` is the most entries in a list of the answer.
        """
        refuse_forbidden_text(fields)
        call = Call(self.app, self.generation, *chosen.read(self.generation, fields, query), limit)
        call.user_name, call.session = self.call.user_name, self.call.session
        call.external_user, call.check_identity = self.call.external_user, self.call.check_identity
        return call

    def may(self, path: str, action: str, **fields) -> bool:
        """Return whether the access rules of an action admit the visitor with these fields. path: such as "users"."""
        if not (found := self.endpoint(path, action)):
            return False
        call = self.new_call(found[1], fields, {})
        call.caller = self.call.caller
        with self.app.db.transaction("DEFERRED"):
            return all(rule.test(call) for rule in found[1].allow)

    def run(self, path: str, action: str, fields: dict | None = None, query: dict | None = None, limit=None):
        """Run an action as if the visitor had requested it. Return the members of its answer, or its File.

        `path` is the module, such as "users". ApiError if the action is refused. Changes and refusals are reported to
        the modules, for the audit.
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
        """Tell the modules, by on_request(), that an action has ended. status, http: its sentence and HTTP status."""
        self.app.db.release()  # what follows may wait for the state database
        event = Event(module.path, status, http, self.handler.client, "session")
        event.describe(call, chosen)
        self.app.notify("on_request", event)


def log_in(visitor: Visitor):
    """Authenticate the visitor by user name and password in the form, and begin a session. ApiError if refused."""
    name, password = visitor.form("user_name"), visitor.form.exactly("password")
    refuse_forbidden_text({"auth": {"user_name": name, "password": password}})
    if not name:
        raise LoginRefused("Username is not set!")
    visitor.handler.check_password(visitor.call, name, password)
    visitor.app.perform(visitor.call, visitor.app.mounts["panel"], None)
