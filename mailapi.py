#!/usr/bin/env python3
"""mailapi: an HTTP control plane for a mail server, in the place of the PHP API of cmail.

The core knows no module by name. It reads a config, loads the module files that `modulelist` names,
and turns requests such as `users/?add` into calls of their endpoints: it reads the declared fields,
checks the access rule, runs the action in one transaction, and answers one JSON object.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import importlib
import importlib.util
import json
import logging
import os
import re
import secrets
import sqlite3
import sys
import threading
import traceback
import types
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial, wraps
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from operator import itemgetter
from pathlib import Path

import bottle
import peewee
from peewee import TextField

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]
if orjson and orjson.dumps(1e16) != b"1e+16":  # before 3.11.9
    orjson = None  # type: ignore[assignment]

__version__ = "0.1.0"

# `python mailapi.py` plus a module's `import mailapi` would load the core twice.
sys.modules.setdefault("mailapi", sys.modules[__name__])

log = logging.getLogger("mailapi")
logging.getLogger("peewee").setLevel(logging.INFO)  # at DEBUG it logs parameters: passwords, mail

HERE = Path(__file__).resolve().parent
INSTALLED = [HERE / "modules", HERE / "mailapi_modules"]  # in a checkout, in an installed package
sys.modules.setdefault("mailapi_modules", types.ModuleType("mailapi_modules"))
sys.modules["mailapi_modules"].__path__ = list(map(str, INSTALLED))


def load_part(name: str):
    """Import a part of mailapi that not every request needs, such as `mariadb.store`, from modules/."""
    return importlib.import_module(f"mailapi_modules.{name}")


########## Config ##################################################################################


class ConfigError(Exception):
    """The configuration cannot be used; the sentence names the key or file and the cause."""


@dataclasses.dataclass
class Config:
    """The keys of config.py; config.sample.py explains each."""

    dbpath: str = dataclasses.field(repr=False)  # like others below: a URL holds a password
    modulelist: dict
    debug: bool = False
    cors_origin: str = "*"
    session_lifetime: int = 86400  # seconds
    delegates_add_users: bool = False
    max_body: int = 1024 * 1024  # bytes
    max_bodies: int = 256 * 1024 * 1024  # bytes
    max_message: int = 35 * 1024 * 1024  # bytes
    max_spooled: int = 256 * 1024 * 1024  # bytes
    max_recipients: int = 100
    state: str = dataclasses.field(default="", repr=False)
    trusted_proxies: list = dataclasses.field(default_factory=list)
    free_attempts: int = 10
    audit_lifetime: int = 90 * 86400  # seconds
    PROVISION: int = dataclasses.field(default=7, metadata={"least": 0})  # 1 mail, 2 calendar, 4 contacts
    apiserver: str = dataclasses.field(default="", repr=False)
    mailserver: str = dataclasses.field(default="", repr=False)
    services: dict = dataclasses.field(default_factory=dict, repr=False)

    def resolve(self, base: Path) -> "Config":
        """Make relative paths start from base, and name the state database."""
        self.base = base
        self.state = self.state or (self.dbpath if is_url(self.dbpath) else self.dbpath + ".state")
        self.dbpath, self.state = (db if is_url(db) else str(base / db) for db in (self.dbpath, self.state))
        return self


OPTIONS = {field.name: field for field in dataclasses.fields(Config)}
TYPE_NAMES = {str: "text", bool: "True or False", dict: "a mapping", list: "a list"}


def is_url(database: str) -> bool:
    """Check whether a database is on a server; otherwise it is a file."""
    return database.startswith("mysql://")


def without_password(database: str) -> str:
    """Return a database's path or URL, without user name and password."""
    return re.sub("^mysql://.*@", "mysql://", database) if is_url(database) else database


def read_config(source: str | os.PathLike | Mapping) -> Config:
    """Read the path of a config.py, or a mapping of its keys; ConfigError where it cannot be used."""
    if isinstance(source, Mapping):
        return checked_config(dict(source), Path.cwd())
    path = Path(source).absolute()
    return checked_config(run_config(path), path.parent)


def run_config(path: Path) -> dict:
    """Run a config.py and return what it sets; ConfigError where it is missing or raises."""
    names: dict = {"__file__": str(path), "__name__": "config"}
    if not path.exists():
        raise ConfigError(
            f"There is no {path}: `mailapi init` makes one; --config FILE or MAILAPI_CONFIG name another."
        )
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), names)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path} cannot be read: {cause(error)}") from error
    return {k: v for k, v in names.items() if k[0] != "_" and not isinstance(v, type(os))}


def checked_config(given: dict, base: Path) -> Config:
    """Return the config of these keys; ConfigError names the first one that cannot be used."""
    for key, value in given.items():
        if key not in OPTIONS:
            raise ConfigError(f"Unknown key {key} in the configuration.")
        check_type(key, value, OPTIONS[key].type)
    for key in ("dbpath", "modulelist"):
        if key not in given:
            raise ConfigError(f"{key} is missing in the configuration.")
    for key in ("dbpath", "state"):
        if FORBIDDEN.search(given.get(key, "")):
            raise ConfigError(f"{key} has characters that no path has.")
        if "://" in given.get(key, "") and not is_url(given[key]):
            raise ConfigError(f"{key} must be a file or mysql://USER:PASSWORD@HOST/DATABASE.")
    if not given["dbpath"]:
        raise ConfigError("dbpath must name the master database.")
    if not all(isinstance(name, str) for item in given["modulelist"].items() for name in item):
        raise ConfigError("modulelist must map module class names to paths of files.")
    return Config(**given).resolve(base)


def check_type(key: str, value, kind):
    """Raise ConfigError unless the value is of this type, and an integer not too small."""
    least = OPTIONS[key].metadata.get("least", 1)
    if isinstance(value, kind) and (kind is not int or not isinstance(value, bool) and value >= least):
        return
    number_name = "a positive whole number" if least else "a whole number from 0"
    given = f", not {value!r}" if OPTIONS[key].repr else ""  # without repr it holds secrets
    raise ConfigError(f"{key} must be {TYPE_NAMES.get(kind, number_name)}{given}.")


########## Errors ##################################################################################

BUSY = "The database is busy. Try again."


class ApiError(Exception):
    """An action is refused: the sentence for `status`, the HTTP status, and more members of the answer.

    audit: the sentence for the audit and the log, where `status` quotes what a client or a service sent.
    """

    def __init__(self, status: str, http: int = 200, retry_after: int = 0, audit: str = "", **answer):
        super().__init__(status)
        self.status, self.http, self.answer = status, http, answer
        self.audit = audit or status
        self.retry_after = retry_after  # seconds; 0: waiting does not help

    def bare(self) -> "ApiError":
        """Return the error without tracebacks, which would keep a large body until the garbage collector runs."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class CannotOpen(ApiError):
    """A database file is missing or cannot be opened."""

    def __init__(self, error: Exception):
        super().__init__(f"The database cannot be opened: {getattr(error, 'strerror', error)}.", http=500)


class TransactionRolledBack(ApiError):
    """The database undid a transaction because of concurrent ones; the whole transaction can be repeated."""

    def __init__(self):
        super().__init__(BUSY, http=503, retry_after=1)


class CommitOutcomeUnknown(ApiError):
    """The connection was lost during a commit in `store_in_doubt`, so that its outcome is unknown."""

    store_in_doubt: "Store"


class StateFailure(ApiError):
    """The state database cannot be used."""

    def __init__(self, error):
        super().__init__(f"The state database cannot be used: {error}.", http=500)


class SchemaMismatch(ApiError):
    """The master database has a schema that this API does not support; the answer has both versions, nothing else."""

    def __init__(self, version):
        super().__init__("Api version and schema version is not the same.")
        self.answer = {"api_version": LATEST, "schema_version": version}


class Migrated(ApiError):
    """The master database was migrated to another generation during the request."""

    def __init__(self):
        super().__init__("The database has been migrated. Try again.", http=503, retry_after=1)


class LoginRefused(ApiError):
    """Nobody is logged in: nothing was done, and the answer has "login": false."""

    def __init__(self, status: str):
        super().__init__(status, login=False)


class TooManyFailures(ApiError):
    """A log-in is refused because it comes too early after failed ones."""

    def __init__(self, seconds: int, wait: str):
        sentence = f"Too many failed log-ins. Try again in {seconds} seconds."
        super().__init__(sentence, http=429, retry_after=seconds)
        self.wait = wait  # names the wait for the audit: which count, and since when


def invalid(field: str) -> ApiError:
    """Return the error for a field whose value cannot be read (docs/wire.md F27, F37)."""
    return ApiError(f"Invalid value for {field}.", http=400)


def refusal(error: peewee.PeeweeException) -> ApiError:
    """Return the ApiError for an error of the database (docs/wire.md section 4, F24, F36)."""
    if is_busy(error):
        return ApiError(BUSY, http=503, retry_after=1)
    refused = isinstance(error, (peewee.IntegrityError, peewee.OperationalError))
    return ApiError(str(error), http=200 if refused else 500)


def is_busy(error: Exception) -> bool:
    """Check whether SQLite gave up waiting for another connection."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def log_exception(sentence: str):
    """Log the exception being handled, cut to 8,000 characters: its text may have a whole request in it."""
    log.error("%s\n%s", sentence, traceback.format_exc(limit=-20)[-8000:])


def printable(value) -> str:
    """Return a value's text for a terminal or the log, without characters that move the cursor or hide."""
    if isinstance(value, (list, dict)):
        value = " ".join(map(str, value))
    return "".join(c if c.isprintable() else "\ufffd" for c in str("" if value is None else value))


########## Field types #############################################################################
# A type is a function: it takes what the client sent and returns what the action gets, or raises ValueError.

LONGEST = 1000  # bytes of an address, an expression or a route; the SMTP protocol ends at 256
INFINITE = (float("inf"), float("-inf"))
FORBIDDEN = re.compile("[\0\ud800-\udfff]")
FORBIDDEN_BYTES = re.compile(rb"\0|\xed[\xa0-\xbf]")  # the same characters in long_text


def empty(value) -> bool:
    """Apply PHP's empty(): null, false, 0, "0", "" and empty lists are not given (docs/wire.md section 1)."""
    return not value or value == "0"


def php_text(value) -> str | None:
    """A text field: text, or a number's decimal text; None where PHP's empty() is true."""
    return None if empty(value) else raw_text(value)


def raw_text(value) -> str | None:
    """A text field to which PHP's empty() does not apply (docs/wire.md F32): only null is None."""
    if value is None or isinstance(value, str):
        return value
    # Bytes come from a large body. Text beyond ASCII can take four times their memory.
    if isinstance(value, bytes) and (value.isascii() or len(value) <= SMALL_BODY):
        return value.decode(errors="surrogatepass")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in INFINITE:
        raise ValueError("not text")
    return str(value)


def secret(value) -> str | None:
    """A password, key or token, read like raw_text: the audit omits it, `mailapi call` reads it without echo."""
    return raw_text(value)


def long_text(value) -> bytes | None:
    """Text that may be large, as UTF-8 bytes, to which PHP's empty() does not apply."""
    if isinstance(value, bytes):  # from a large body
        return value
    return None if (text := raw_text(value)) is None else text.encode()


def file_content(value) -> bytes | None:
    """The content of a file, read like long_text; `mailapi call` takes its path."""
    return long_text(value)


def address(value) -> str | None:
    """Text of at most LONGEST bytes, since matching takes time and memory with the length."""
    value = php_text(value)
    if value and len(value.encode()) > LONGEST:
        raise ValueError("too long for an address")
    return value


def whole_number(value) -> int | None:
    """A whole number of at most 18 digits, sent as number or text (docs/wire.md F37); None stays None."""
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", raw_text(value) or ""):
        raise ValueError("not a whole number")
    return int(value)


def optional_number(value) -> int | None:
    """A whole number; None where PHP's empty() is true."""
    return whole_number(php_text(value))


def boolean(value) -> bool:
    """True unless PHP's empty() is true."""
    if isinstance(value, (list, dict)) and value:
        raise ValueError("not a flag")
    return not empty(value)


def list_of_text(value) -> list | None:
    """A list of texts; None stays None, and an empty entry is ""."""
    if value is None:
        return None
    if not isinstance(value, list) and value != {} or len(value) > LONGEST:
        raise ValueError("not a list, or too long a one")
    return [php_text(entry) or "" for entry in value]


def object_of(**types):
    """Return the type of a field that is an object with fields of these types."""

    def read(value):
        if empty(value):
            return None
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return dict.fromkeys(types) | read_fields(value, types)

    return read


def read_fields(given: dict, types: dict) -> dict:
    """Return the fields that `types` declares, each read by its type; clients may write right for permission.

    ApiError (HTTP 400) names a field that cannot be read as the client wrote it, a field of an object with the
    object's name before it (docs/wire.md F27).
    """
    fields = {}
    for name, read in types.items() if given else ():
        sent = name if name in given else name.replace("permission", "right")
        if sent in given:
            try:
                fields[name] = read(given[sent])
            except ValueError:
                raise invalid(sent) from None
            except ApiError as inner:
                raise invalid(f"{sent}.{inner.status.removeprefix('Invalid value for ')[:-1]}") from None
    return fields


def read_auth(auth) -> tuple[str | None, str | None]:
    """Return user name and password of the field `auth`; ApiError (HTTP 400) names what cannot be read."""
    if empty(auth):
        return None, None
    if not isinstance(auth, dict):
        raise invalid("auth")
    fields = []
    for name, read in (("user_name", php_text), ("password", raw_text)):
        try:
            fields.append(read(auth.get(name)))
        except ValueError:
            raise invalid(f"auth.{name}") from None
    return fields[0], fields[1]


def refuse_forbidden_text(body: dict):
    """Raise ApiError (HTTP 400) for a NUL byte or a lone surrogate in any text of a body (docs/wire.md F27)."""
    for name, value in body.items():
        todo = [name, value]
        while todo:
            item = todo.pop()
            if isinstance(item, str):
                forbidden = bool(FORBIDDEN.search(item))
            else:
                forbidden = isinstance(item, bytes) and bool(FORBIDDEN_BYTES.search(item))
            if forbidden:
                refused = invalid(FORBIDDEN.sub("\ufffd", name))
                refused.audit = "Invalid value for a field."  # the client sent the name, too
                raise refused
            todo += list(item) + list(item.values()) if isinstance(item, dict) else ()
            todo += item if isinstance(item, list) else ()


########## Wire format #############################################################################
# Peculiarities of PHP and of the browser clients are named functions here and in Field types, nowhere else.

NEW_SPELLING = re.compile(r"(?<=_)right(s?)\Z")
SMALL_BODY = 64 * 1024  # bytes of a body that is parsed before its sender is known
MOST_VALUES = 100_000  # commas, brackets and escapes of a larger one: each can take a hundred bytes of memory


def canonical(name: str) -> str:
    """Return an action's name without dashes and with permission for right (docs/wire.md section 4)."""
    return NEW_SPELLING.sub(r"permission\1", name.replace("-", "_"))


PHP_EMPTY_MAP: list = []  # as which PHP encodes a map without entries


def number(value):
    """Return text that is a number as that number, like PHP's JSON_NUMERIC_CHECK; else the value unchanged."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value):
        return value if float(value) in INFINITE else float(value)
    return value


def read_query(query_string: str) -> dict:
    """Return the decoded keys and values of a query; of a repeated key the last one counts, as in PHP."""
    if query_string.count("&") >= 100:
        raise ApiError("Too many fields in the query.", http=400)
    query, encoded, decoded = {}, "%" in query_string or "+" in query_string, urllib.parse.unquote_plus
    for pair in query_string.split("&"):
        name, _, value = pair.partition("=")
        if encoded:
            name, value = decoded(name), decoded(value)
        if pair:
            query[name] = value
    return query


def read_limit(limit: str) -> int:
    """Read `limit`, a positive whole number (docs/wire.md F25)."""
    if not (found := re.fullmatch("0*([1-9][0-9]{0,999})", limit)):
        raise ApiError("Invalid limit.", http=400)
    return int(found[1])


def read_callback(callback: str) -> str:
    """Read `callback`, the name of a JSONP function (docs/wire.md F20)."""
    if not re.fullmatch(r"[A-Za-z_$][\w$.]{0,127}", callback, re.ASCII):
        raise ApiError("Invalid callback.", http=400)
    return callback


def body_length(environ: dict) -> int | None:
    """Return the bytes of a body; None where it ends with its stream."""
    length, chunked = environ.get("CONTENT_LENGTH"), "HTTP_TRANSFER_ENCODING" in environ
    if length:
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise ApiError("Invalid JSON in request body.", http=400)
        return int(length)
    if environ.get("wsgi.input_terminated") or chunked and environ.get("wsgi.run_once"):
        return None  # with run_once it is standard input of CGI
    if chunked:  # the server does not say where it ends
        raise ApiError("Request body of unknown length.", http=411)
    return 0


def raw_body(environ: dict, length: int | None, limit: int) -> bytes:
    """Read a body of this length, at most `limit` bytes; ApiError (HTTP 413) refuses a longer one before it is read."""
    if length and length > limit:
        raise ApiError("Request body too large.", http=413)
    try:
        raw = environ["wsgi.input"].read(limit + 1 if length is None else length)
    except OSError:  # the client has gone
        raise ApiError("Incomplete request body.", http=400) from None
    if len(raw) > limit:
        raise ApiError("Request body too large.", http=413)
    if length and len(raw) < length:  # or other middleware has read it
        raise ApiError("Incomplete request body.", http=400)
    environ["mailapi.body_read"] = True
    return raw


def read_object(raw: bytes) -> dict:
    """Return the JSON object of a body, {} of an empty one, whatever its Content-Type is (docs/wire.md F22).

    ApiError: HTTP 400 where it is no object; HTTP 413 where it is large and would take many times its size.
    """
    if raw == b"{}" or not raw or raw.isspace():  # what browser clients send, and scripts without fields
        return {}
    if len(raw) > SMALL_BODY and sum(map(raw.count, (b",", b"[", b"{", b"\\"))) > MOST_VALUES:
        raise ApiError("Request body too large.", http=413)
    try:
        body = DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError("Invalid JSON in request body.", http=400)
    return body


def not_json(constant: str):
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(parse_constant=not_json)


class RawJSON:
    """A list that the database has encoded, for `encode` to copy into the answer."""

    def __init__(self, payload: bytes):
        self.payload = payload


def readable(value) -> str:
    """Return BLOBs that the database has in the place of text as text; TypeError for other values."""
    return str(memoryview(value), errors="replace")


ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=readable)


def encode(answer: dict) -> bytes:
    """Return the answer as JSON in UTF-8, with RawJSON members last; the same bytes with and without orjson."""
    pieces: list[bytes] = []
    while RawJSON in (kinds := [*map(type, answer.values())]):
        name = [*answer][kinds.index(RawJSON)]  # an action's own, so that there is no quote in it
        pieces += f',"{name}":'.encode(), answer.pop(name).payload
    try:
        payload = orjson.dumps(answer, readable) if orjson else None
    except TypeError:  # numbers of more than 64 bits, text that nobody can encode
        payload = None
    if payload is None or b"e-" in payload or b"0.0000" in payload:  # orjson writes 1e-05 otherwise
        payload = ENCODER.encode(answer).encode()
    return b"".join([payload[:-1], *pieces, b"}"]) if pieces else payload


def jsonp(callback: str, payload: str) -> str:
    """Return a call of `callback` with the payload as a JavaScript string, whatever is in it (F20)."""
    payload = payload.replace("\\", "\\\\").replace("'", "\\'")
    return f"{callback}('{payload}')".replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def shorten(answer: dict, limit: int) -> dict:
    """Cut the lists that an action returned to `limit` entries each."""
    for name, value in answer.items():
        if isinstance(value, list):
            answer[name] = value[:limit]
        elif isinstance(value, dict):
            shorten(value, limit)
    return answer


@dataclasses.dataclass(frozen=True)
class File:
    """An action's answer in the place of an object: bytes that browsers save and never show as a page."""

    content: bytes
    content_type: str
    name: str  # any text

    def headers(self) -> list[tuple[str, str]]:
        return load_part("http.downloads").headers(self)


########## Tables ##################################################################################


def table_name(model: type) -> str:
    """Return a model's class name in snake case, without the number of a generation."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower().rstrip("0123456789")


class Model(peewee.Model):
    """A table's columns. Models are bound to no database: an app's Store runs their queries."""

    class Meta:
        primary_key = False
        table_function = table_name


class Users(Model):
    user_name = TextField()
    user_authdata = TextField(null=True)
    user_database = TextField(null=True)
    user_alias = TextField(null=True)


class ApiAccess(Model):
    api_user = TextField()
    api_permission = TextField()


class ApiAccess8(Model):
    api_user = TextField()
    api_permission = TextField(column_name="api_right")


class ApiUserDelegates(Model):
    api_user = TextField()
    api_delegate = TextField()


class ApiAddressDelegates(Model):
    api_user = TextField()
    api_expression = TextField()


@dataclasses.dataclass(frozen=True)
class Generation:
    """A version of the schema that both the daemons and this API support, and how it differs from others."""

    number: int
    permission: str  # the clients' word for a permission, alone and in names
    access: type[ApiAccess] | type[ApiAccess8]

    def in_generation(self, sentence: str) -> str:
        return sentence.replace("{permission}", self.permission)


GENERATIONS = {
    8: Generation(8, "right", ApiAccess8),
    9: Generation(9, "permission", ApiAccess),
}
GENERATIONS_BY_VERSION = GENERATIONS | {
    str(number): each for number, each in GENERATIONS.items()
}  # as in `meta`
LATEST = max(GENERATIONS)


########## Database ################################################################################


class Param:
    """A named parameter of a prepared query."""

    def __init__(self, name: str):
        self.name = name


def param(name: str) -> peewee.Value:
    return peewee.Value(Param(name), converter=False)


class PreparedQuery:
    """A query built once, at import, and compiled at its first use: building takes ten times as long as running."""

    json_sql = ""  # the SQL that returns the rows as one JSON list (modules/directory/lists.py)

    def __init__(self, query: peewee.Node, nested: tuple = ()):
        self.query = query
        self.nested = nested  # the columns that hold JSON
        self.compiled: dict[str, Statement] = {}  # by Store.dialect


Statement = tuple[str, Callable[[Mapping], Sequence] | None]  # SQL, and a binder


def binder(parameters: Sequence) -> Callable[[Mapping], Sequence] | None:
    """Return the function that makes a statement's parameters from the values of its Params; None if it has none."""
    names = [each.name if type(each) is Param else number for number, each in enumerate(parameters)]
    constants = {n: each for n, each in enumerate(parameters) if type(each) is not Param}
    if len(names) < 2:
        return (lambda values: [{**constants, **values}[names[0]]]) if names else None
    pick = itemgetter(*names)
    return (lambda values: pick({**constants, **values})) if constants else pick


def each_generation(build: Callable[[Generation], peewee.Query]) -> dict:
    """Return a prepared query for every generation, by its number."""
    return {number: PreparedQuery(build(generation)) for number, generation in GENERATIONS.items()}


SQLITE_SEQUENCE = peewee.Table("sqlite_sequence")
LAST_GIVEN = PreparedQuery(
    SQLITE_SEQUENCE.select(SQLITE_SEQUENCE.c.seq).where(SQLITE_SEQUENCE.c.name == param("table"))
)


def as_peewee(error: sqlite3.Error) -> Exception:
    """Return peewee's exception for one of SQLite's."""
    try:
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            raise error
    except Exception as translated:
        return translated
    finally:
        del error  # its traceback holds this frame, and with it the callers' variables


class ClosingConnection(sqlite3.Connection):
    """A connection that is closed when its thread ends or its store is dropped, in whatever thread that happens."""

    def __del__(self):
        with contextlib.suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


class ThreadConnection(threading.local):
    """A thread's connection."""

    connection: sqlite3.Connection
    identity: tuple | None = None  # of the file that it has open
    trace: Callable[[str], None] | None = None


class Transaction:
    """A block whose statements take effect together or not at all."""

    def __init__(self, store: "Store", lock_type: str):
        self.store, self.lock_type, self.begin = store, lock_type, f"BEGIN {lock_type}"

    def __enter__(self):
        self.store.connect()
        gate = self.store.gates.get(self.lock_type)
        if gate:
            gate.enter()
        try:
            self.store.run(self.begin)
        except BaseException:
            if gate:
                gate.leave()
            raise

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.store.run("COMMIT")
        finally:
            connection = self.store.opened.connection
            if connection.in_transaction:  # SQLite may have rolled back already
                connection.execute("ROLLBACK")
            if gate := self.store.gates.get(self.lock_type):
                gate.leave()


class Store:
    """A SQLite file: a connection per thread, opened anew when the file was replaced (docs/wire.md section 7).

    A missing file is refused and never created.
    """

    PRAGMAS: Mapping[str, object] = {"foreign_keys": 1}
    dialect = "SQLite"
    streams = True  # the beginning of a BLOB can be read without the rest
    encodes_json = True

    def __init__(self, path: str):
        self.path = path
        uri = Path(path).absolute().as_uri() + "?mode=rw"
        options: dict = {"uri": True, "timeout": 5, "factory": ClosingConnection, "check_same_thread": False}
        self.database = peewee.SqliteDatabase(uri, pragmas=self.PRAGMAS, **options)
        self.opened = ThreadConnection()
        gates = load_part("state.gates")
        self.gates = {"DEFERRED": gates.ReadGate(), "IMMEDIATE": gates.WriteQueue()}
        self.transactions = {
            lock_type: Transaction(self, lock_type) for lock_type in ("DEFERRED", "IMMEDIATE")
        }

    def trace(self, report: Callable[[str], None] | None):
        """Report the SQL of this thread's statements, without values."""
        self.opened.trace = report

    def connect(self) -> sqlite3.Connection:
        """Return this thread's connection to the file that has the name now."""
        try:
            status = os.stat(self.path)
        except (OSError, ValueError) as error:
            status = self.missing(error)
        # Mode, inode, device, links, owner and group: what SQLite opened read-only it never writes to.
        identity, opened = (status[:6], os.getpid()), self.opened
        if opened.identity != identity:
            self.close()
            self.before_opening()
            self.database.connect()
            self.after_opening()
            opened.connection, opened.identity = self.database.connection(), identity
        return opened.connection

    def missing(self, error: Exception) -> os.stat_result:
        """Make the missing file and return its status, or raise CannotOpen."""
        raise CannotOpen(error) from None

    def before_opening(self):
        """Prepare the file, in a subclass."""

    def after_opening(self):
        """Prepare the open database, in a subclass."""

    def identity(self) -> object:
        """Connect, and return what tells the database from others that have its name at other times."""
        self.connect()
        return self.opened.identity

    def close(self):
        """Close this thread's connection."""
        self.database.close()
        self.opened.identity = None

    def transaction(self, lock_type: str = "IMMEDIATE") -> contextlib.AbstractContextManager:
        """Return a transaction to enter; IMMEDIATE to write, DEFERRED to read."""
        return self.transactions[lock_type]

    def run_with_retry(self, work: Callable):
        """Return work(), whose effect is one transaction; repeat it after TransactionRolledBack, which SQLite never
        raises."""
        return work()

    def make_room(self):
        """Free room on the disk, where the database does not do so by itself."""

    def next(self, column: peewee.Field) -> int:
        """Return the lowest number that an AUTOINCREMENT column has never given. A row that was updated may have it."""
        return (self.value(LAST_GIVEN, table=column.model._meta.table_name) or 0) + 1

    def release(self):
        """Give a connection back after a request; one to a file stays with its thread."""

    def compile(self, query: PreparedQuery | peewee.Node) -> Statement:
        """Return a query's SQL and the binder of its parameters; a prepared query is compiled only once."""
        if isinstance(query, PreparedQuery):
            query.compiled[self.dialect] = query.compiled.get(self.dialect) or self.compile(query.query)
            return query.compiled[self.dialect]
        sql, parameters = self.database.get_sql_context().sql(query).query()
        return sql, binder(parameters)

    def execute(self, query, **values) -> sqlite3.Cursor:
        """Run a query, a prepared one with its values, and return the cursor."""
        sql, bind = self.compile(query)
        return self.run(sql, bind(values) if bind else ())

    def run(self, sql: str, parameters: Sequence = ()) -> sqlite3.Cursor:
        """Run SQL and return the cursor; peewee's exceptions where it fails."""
        opened = self.opened
        if opened.trace:
            opened.trace(sql)
        try:  # sqlite3 itself: peewee's own way takes as long as a small query
            return opened.connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise as_peewee(error) from error

    def execute_many(self, query: PreparedQuery, rows: list[dict]):
        """Run a query once for each row of values; the fastest way to insert many."""
        sql, bind = self.compile(query)
        if self.opened.trace:
            self.opened.trace(sql)
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            self.opened.connection.executemany(sql, map(bind, rows) if bind else [()] * len(rows))

    def fetch(self, query, values: dict) -> tuple[sqlite3.Cursor, list]:
        """Return a query's cursor, which describes the columns, and its rows."""
        prepared = isinstance(query, PreparedQuery) and query.compiled.get(self.dialect)
        sql, bind = prepared or self.compile(query)
        try:
            cursor = self.run(sql, bind(values) if bind else ())
            return cursor, cursor.fetchall()
        except (sqlite3.OperationalError, peewee.OperationalError) as error:
            # Bytes that are not UTF-8 in some text (docs/wire.md F16): decode text leniently from now on.
            connection = self.opened.connection
            if "decode" not in str(error) or connection.text_factory is readable:
                raise
            connection.text_factory = readable
            return self.fetch(query, values)

    def read(self, query, **values) -> list[tuple]:
        """Connect, and return the rows of a query that is a transaction by itself."""
        self.connect()
        return self.fetch(query, values)[1]

    def rows(self, query, **values) -> list[dict]:
        """Return the rows as dictionaries, keyed by column names."""
        cursor, tuples = self.fetch(query, values)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row)) for row in tuples]
        for row in rows if isinstance(query, PreparedQuery) and query.nested else ():
            row |= {name: json.loads(row[name]) for name in query.nested}
        return rows

    def one(self, query, **values) -> dict | None:
        """Return the first row, or None."""
        return next(iter(self.rows(query, **values)), None)

    def column(self, query, **values) -> list:
        """Return the first column of every row."""
        return [row[0] for row in self.fetch(query, values)[1]]

    def value(self, query, **values):
        """Return the first column of the first row, or None."""
        return next(iter(self.column(query, **values)), None)


def open_store(database: str, schema: str | None = None) -> Store:
    """Return the master database, or with the schema of its tables the state database: a file, or on a server."""
    if is_url(database):
        return load_part("mariadb.store").ServerStore(database, schema)
    return Store(database) if schema is None else load_part("state.store").StateStore(database, schema)


def repeated(method: Callable) -> Callable:
    """Decorate a method whose effect is one transaction of self.store, for the store to repeat where it must."""

    @wraps(method)
    def repeating(self, *args, **named):
        return self.store.run_with_retry(lambda: method(self, *args, **named))

    return repeating


########## Access rules ############################################################################


DELEGATED = ApiUserDelegates.select(ApiUserDelegates.api_delegate).where(
    ApiUserDelegates.api_user == param("user")
)
DELEGATED_USERS = PreparedQuery(DELEGATED)
DELEGATED_EXPRESSIONS = PreparedQuery(
    ApiAddressDelegates.select(ApiAddressDelegates.api_expression).where(
        ApiAddressDelegates.api_user == param("user")
    )
)


class Caller:
    """The user who asks, with permissions read in every request, so that revoking takes effect at once (F19)."""

    def __init__(self, db: Store, user_name: str | None, permissions: list[str]):
        self.db, self.user_name, self.permissions = db, user_name, permissions

    @property
    def admin(self) -> bool:
        return "admin" in self.permissions

    @property
    def delegate(self) -> bool:
        return "delegate" in self.permissions

    @cached_property
    def delegated_users(self) -> list[str]:
        return self.db.column(DELEGATED_USERS, user=self.user_name) if self.delegate else []

    @cached_property
    def delegated_expressions(self) -> list[str]:
        return self.db.column(DELEGATED_EXPRESSIONS, user=self.user_name) if self.delegate else []

    def may_act_for(self, user_name: str) -> bool:
        return self.admin or user_name in self.delegated_users

    def may_manage(self, expression: str) -> bool:
        """Check whether an address expression was delegated to the caller (docs/wire.md section 3, F09)."""
        return self.admin or any(covers(given, expression) for given in self.delegated_expressions)


def covers(given: str, expression: str) -> bool:
    """Check whether `given` matches everything that `expression` matches: `%` only under `%` (docs/wire.md F39)."""
    if len(expression) > LONGEST or len(given.replace("%", "")) > len(expression):
        return False
    return covering(given).fullmatch(expression) is not None


@lru_cache(maxsize=10_000)
def covering(given: str) -> re.Pattern:
    # Each run of letters is taken where it first fits (an atomic group), so that matching stays linear.
    first, *others = ["".join("[^%]" if c == "_" else re.escape(c) for c in run) for run in given.split("%")]
    middle = "".join(f"(?>.*?{run})" for run in others[:-1] if run)
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + middle + last, re.DOTALL | re.IGNORECASE | re.ASCII)


@dataclasses.dataclass(frozen=True)
class Rule:
    """An access rule: its description for the docs, a test, and the sentence for callers who fail it."""

    description: str
    test: Callable[["Call"], bool]
    refusal: str = "Not allowed."
    of_fields: bool = True  # the test reads the request's fields, not only the caller

    def otherwise(self, refusal: str) -> "Rule":
        return dataclasses.replace(self, refusal=refusal)


anyone = Rule("anyone logged in", lambda call: True, of_fields=False)
nobody = Rule("nobody", lambda call: False, of_fields=False)
admin = Rule("admin", lambda call: call.caller.admin, of_fields=False)
admin_or_delegate = Rule(
    "admin or delegate", lambda call: call.caller.admin or call.caller.delegate, of_fields=False
)


def delegate_of(field: str, missing: Rule = nobody) -> Rule:
    """Allow callers who may act for the user that the field names; without the field apply `missing`."""
    return user_rule(field, f"admin, or delegate of {field}", missing, Caller.may_act_for)


def owner_or_delegate(field: str, missing: Rule = nobody) -> Rule:
    """Allow the user that the field names, and callers who may act for them; without the field apply `missing`."""

    def test(caller, user_name):
        return caller.user_name == user_name or caller.may_act_for(user_name)

    return user_rule(field, f"admin, delegate of {field}, or oneself", missing, test)


def user_rule(field: str, allowed: str, missing: Rule, test: Callable[[Caller, str], bool]) -> Rule:
    def test_call(call):
        user_name = call.body.get(field)
        return test(call.caller, user_name) if user_name else missing.test(call)

    without = "" if missing is nobody else f"; without {field}: {missing.description}"
    return Rule(allowed + without, test_call)


def address_delegate(field: str) -> Rule:
    """Allow callers who may manage the address expression in the field."""
    description = f"admin, or delegate of the expression in {field}"
    return Rule(description, lambda call: call.caller.may_manage(call.body.get(field) or ""))


########## Modules #################################################################################


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A declared action: routes, the command line, the docs and the tests read it."""

    name: str
    action: Callable
    allow: tuple[Rule, ...]  # checked in this order, each with its refusal
    # Field → the sentence where it is empty, checked in this order; or generation → such a mapping.
    required: dict = dataclasses.field(default_factory=dict)
    # Field → its type; required fields that are not here are text.
    optional: dict[str, Callable] = dataclasses.field(default_factory=dict)
    validators: Sequence[Callable] = ()  # raise ApiError; run after `required`, before `allow`
    query: dict[str, Callable] = dataclasses.field(default_factory=dict)  # field of the query → its type
    read_only: bool = False  # the action changes nothing
    manages_transactions: bool = False  # the action begins transactions itself, as it waits for other servers
    max_body: int | str = 0  # bytes of a request's body, or the config's key for it; 0: the config's max_body
    # Reads a body of more than SMALL_BODY; takes it and the config's max_body.
    read_body: Callable[[bytes, int], dict] = lambda raw, usual: read_object(raw)
    # Takes module, call and answer after the transaction, for what takes time; returns the answer.
    after_commit: Callable | None = None
    download: bool = False  # answers a File; its fields may come in the query, too, as in a link
    # Fields of `required` for the audit → the values that it may have of each, None: any; from Module.identifiers.
    identifiers: dict[str, Sequence[str] | None] = dataclasses.field(default_factory=dict)

    def needed(self, generation: Generation) -> dict[str, str]:
        return self.required.get(generation.number, self.required)

    def fields(self, generation: Generation) -> dict[str, Callable]:
        return dict.fromkeys(self.needed(generation), php_text) | self.optional

    def read(self, generation: Generation, body: dict, query: dict) -> tuple[dict, dict]:
        """Return the declared fields of body and query; ApiError (HTTP 400) names one that cannot be read."""
        if not body and not self.download and self.query.keys().isdisjoint(query):
            return {}, {}
        fields = self.fields(generation)
        asked = [*self.query, *(fields if self.download else ())]
        refuse_forbidden_text({name: query[name] for name in asked if name in query})
        return read_fields(query | body if self.download else body, fields), read_fields(query, self.query)

    def run(self, module: "Module", call: "Call") -> dict:
        """Make the declared checks in their order, then run the action; return its part of the answer."""
        if call.restriction:
            call.restriction(module, self)
        for field, sentence in self.needed(call.generation).items() if self.required else ():
            if empty(call.body.get(field)):
                raise ApiError(call.in_generation(sentence))
        for validate in self.validators:
            validate(call)
        for rule in self.allow:
            if not rule.test(call):
                raise ApiError(call.in_generation(rule.refusal))
        return self.action(module, call) or {}


def body_limit(declared: int | str, config: Config) -> int:
    """Return the bytes that a request's body may have, from what an endpoint or module declares."""
    return (getattr(config, declared) if isinstance(declared, str) else declared) or config.max_body


def endpoint(*, allow, **declared):
    """Declare a method of a Module as an action, with the fields of Endpoint.

    allow: one Rule or a tuple of them; it has no default, so that no action is unguarded by mistake.
    """
    rules = allow if isinstance(allow, tuple) else (allow,)
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError("allow takes one or more of the access rules")

    def declare(action):
        action.endpoint = Endpoint(action.__name__.rstrip("_"), action, rules, **declared)
        return action

    return declare


class Active:
    """The users for whom users/?get lists a module: those whom one of the fields names, in rows where `where` holds."""

    def __init__(self, *fields: peewee.Field, where=None):
        rows = [field.model.select(field) for field in fields]
        self.rows = [query if where is None else query.where(where) for query in rows]
        self.where_user = where if fields[0] is Users.user_name else None  # can be tested on a row of users


class Module:
    """A part of the API: its endpoints are its actions; where a query names several, the first declared one runs."""

    endpoints: dict[str, Endpoint] = {}
    # For users/?get: the users who have rows here; or generation → such a declaration.
    active: "Active | dict[int, Active] | None" = None
    # For `mailapi check`: rows that harm the daemons: sentence → query that selects what identifies them.
    dangerous_rows: dict = {}
    path = ""  # in the URL
    generations: tuple = tuple(GENERATIONS)  # those that it serves
    # Generation → (class name, file) of the module that serves in its place there, beside its own file.
    stand_ins: dict[int, tuple[str, str]] = {}

    # Permissions of api_access that mean something to the module, beside admin and delegate.
    permissions: tuple[str, ...] = ()
    # Fields that name what an action is about. The audit has those that an action requires, and no others. As a
    # mapping: field → the values that the audit may have of it, where a client may send others; None: any.
    identifiers: tuple[str, ...] | dict[str, Sequence[str] | None] = ()

    # Tables that the module has in the state database: CREATE … IF NOT EXISTS.
    state_schema = ""
    # First segments of URL paths below which the module itself answers whole HTTP requests, by `mount`.
    mounts: tuple[str, ...] = ()
    mount_max_body: int | str = 0  # like an endpoint's max_body, for the requests that `mount` answers

    def __init__(self, app: "Application", name: str = ""):
        self.app, self.name = app, name

    def on_request(self, event):
        """Handle the end of a request, except for a successful one that only reads, in a session."""

    def on_user_deleted(self, user_name: str):
        """Delete what the module stores of a user who was deleted, lest the next user of that name gets it."""

    def has_rows_of(self, user_name: str) -> bool:
        """Check whether the module stores something of a user of that name: then no delegate can add one."""
        return False

    def bearer(self, call: "Call", token: str, address: str) -> "Bearer | None":
        """Return the owner of a token of the Authorization header; None where the module does not have it."""

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """Return the row that replaces the user's in `users`, for a user whom another database authenticates or bars.

        Called in every request, before its transaction. A function `verify` in the row replaces mailapi.verify.
        """

    def on_login(self, call: "Call", password: str):
        """Handle a log-in with a password."""

    def on_user_change(
        self, call: "Call", change: str, user_name: str, password: str | None
    ) -> "Participant | None":
        """Prepare a change of a user (add, delete, set_password) in another database; ApiError refuses it in both."""

    def external_users(self, user_name: str | None = None) -> list[dict]:
        """Return `user_name` and `user_login` of the users in another database, or of the one named."""
        return []

    def check(self, repair: bool) -> Iterable[tuple[bool | None, str]]:
        """Return results for `mailapi check`: True, False or None for a warning, and a sentence; repair first if asked."""
        return ()

    def mount(self, handler: "RequestHandler", path: str) -> bottle.HTTPResponse:
        """Answer a request below one of `mounts`; path is the rest. `handler.admit` identifies the caller."""
        raise NotImplementedError

    def __init_subclass__(cls):
        named = cls.identifiers if isinstance(cls.identifiers, dict) else {}
        own = [
            dataclasses.replace(v.endpoint, identifiers=dict.fromkeys(cls.identifiers) | named)
            for v in vars(cls).values()
            if hasattr(v, "endpoint")
        ]
        for name in cls.identifiers:
            if any(e.optional.get(name) in (secret, file_content) for e in own):
                raise TypeError(f"{name} is no identifier: the audit would have it")
        cls.endpoints = cls.endpoints | {e.name: e for e in own}

    def choose(self, query: dict) -> Endpoint | None:
        """Return the first declared action that the query names (docs/wire.md section 1)."""
        asked = self.endpoints.keys() & query.keys()
        for name in query:
            if "-" in name or "right" in name:
                asked.add(canonical(name))
        for name, chosen in self.endpoints.items():
            if name in asked:
                return chosen
        return None

    def active_in(self, generation: Generation) -> "Active | None":
        return self.active[generation.number] if isinstance(self.active, dict) else self.active


class Root(Module):
    """The API itself, under no module's path."""

    @endpoint(allow=anyone, read_only=True)
    def get_modules(self, call):
        """The names of the configured modules, in the order of modulelist."""
        return {"modules": list(self.app.config.modulelist)}


def module_name(path: str) -> str:
    """Return the module that a URL path names, with or without slash and index.php (docs/wire.md section 1)."""
    name = path.removesuffix("/")
    return "" if name == "index.php" else name.removesuffix("/index.php")


def load_modules(app: "Application") -> dict[str, Module]:
    """Return the modules of modulelist by their URL path, which is the stem of their file."""
    modules: dict[str, Module] = {"": Root(app)}
    stand_ins: dict[int, tuple[str, str, Path]] = {}
    for name, file in app.config.modulelist.items():
        path = module_file(name, file, app.config.base)
        module = load_class(name, path)(app, name)
        module.path = path.stem
        if module.path in modules:
            raise ConfigError(f"modulelist: {name} and another module would both be served as {path.stem}/.")
        modules[module.path] = module
        stand_ins |= {number: (*other, path) for number, other in module.stand_ins.items()}
    for number, (name, file, path) in stand_ins.items():
        if Path(file).stem not in modules:
            modules[Path(file).stem] = module = load_class(name, path.with_name(file))(app)
            module.path, module.generations = Path(file).stem, (number,)
    return modules


def module_file(name: str, file: str, base: Path) -> Path:
    """Return the path of a module's file: beside the config, else where mailapi is installed."""
    for path in (base / file, HERE / file):
        if path.is_file():
            return path.resolve()
    installed = find_installed(Path(file).name)
    if installed and installed.origin:
        return Path(installed.origin).with_suffix(".py")
    raise ConfigError(f"modulelist: the file of {name} is missing: {base / file}.")


def find_installed(file: str) -> ModuleSpec | None:
    """Return the spec of a module file that comes with mailapi, in a folder or in mailapi.pyz."""
    name, _, ending = file.partition(".")
    spec = PathFinder.find_spec(f"mailapi_modules.{name}", sys.modules["mailapi_modules"].__path__)
    return spec if spec and spec.has_location and ending == "py" else None  # folders have no location


def load_class(name: str, path: Path) -> type[Module]:
    """Load a file and return its module class of this name; ConfigError where that fails."""
    try:
        found = getattr(load_file(path), name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"modulelist: {path} cannot be loaded: {cause(error)}.") from error
    if not isinstance(found, type) or not issubclass(found, Module):
        raise ConfigError(f"modulelist: {path} does not define a Module class {name}.")
    return found


def load_file(path: Path):
    """Run a Python file under a qualified name, so that `queue.py` does not replace the standard library's."""
    spec = find_installed(path.name) if path.parent in INSTALLED else None
    if not spec:
        qualified = f"mailapi_modules.{path.stem}_{sha256(str(path))[:12]}"
        spec = importlib.util.spec_from_loader(qualified, SourceFileLoader(qualified, str(path)))
    assert spec and spec.loader  # both ways make one
    python = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python)
    return python


########## Passwords ###############################################################################

CLOCK_SKEW = 60  # seconds that clocks may differ; later times were written by a wrong clock
AUTHDATA = re.compile(r"([^:]*):([0-9a-f]{64})")
NO_SUCH_USER = "0" * 32, "0" * 64  # salt and hash, as long as real ones, so that checking takes as long


def sha256(value: str | bytes) -> str:
    """Return the hash of a text or of bytes: a user_authdata may be stored as either (docs/wire.md F35)."""
    return hashlib.sha256(value if isinstance(value, bytes) else value.encode()).hexdigest()


def make_authdata(password: str | None) -> str | None:
    """Return the stored form of a password, as the daemons verify it (docs/wire.md F28); None: no log-in."""
    if not password:
        return None
    salt = secrets.token_hex(16)
    return f"{salt}:{sha256(salt + password)}"


def verify(password: str, authdata: str | bytes | None) -> bool:
    """Check a password; it takes as long where there is no user (docs/wire.md F18, F35)."""
    if isinstance(authdata, bytes):  # a BLOB
        authdata = authdata.decode(errors="surrogateescape")
    stored = AUTHDATA.fullmatch(authdata) if isinstance(authdata, str) else None
    salt, digest = stored.groups() if stored else NO_SUCH_USER
    fits = hmac.compare_digest(sha256(salt.encode(errors="surrogateescape") + password.encode()), digest)
    return fits and bool(stored)


########## Calls ###################################################################################

META = peewee.Table("meta")
SCHEMA_VERSION = PreparedQuery(META.select(META.c.value).where(META.c.key == "schema_version"))
# In one query: the schema version, the credentials, and a row for every permission.
CALLER = each_generation(
    lambda g: (
        META.select(META.c.value, Users.user_name, Users.user_authdata, g.access.api_permission)
        .join(Users, peewee.JOIN.LEFT_OUTER, on=Users.user_name == param("user"))
        .join(g.access, peewee.JOIN.LEFT_OUTER, on=g.access.api_user == Users.user_name)
        .where(META.c.key == "schema_version")
    )
)
CREDENTIALS_OF = PreparedQuery(
    Users.select(Users.user_name, Users.user_authdata).where(Users.user_name == param("user"))
)


class Call:
    """A request to an endpoint: its fields, its caller, the database to act on."""

    encodes = False  # the answer goes out as JSON
    user_name: str | None = None  # None: somebody who can read the database file
    session = ""  # its id
    password: str | None = None  # the right one, as sent, for services that check it; stored nowhere
    claimed_name: str | None = None  # the user name of a log-in that may have failed
    restriction: Callable[[Module, Endpoint], None] | None = (
        None  # raises ApiError for what a token may not do
    )
    caller: Caller  # once it is identified
    identified = False
    authdata: str | None = None  # the caller's user_authdata, as read with the permissions
    refused_wait = ""  # names the wait, where a log-in came too early
    external_user: dict | None = None  # a module's row in the place of the one of users

    def __init__(
        self,
        app: "Application",
        generation: Generation,
        body: dict,
        query: dict,
        limit: int | None = None,
        report_progress: Callable[[str], None] = lambda sentence: None,
    ):
        self.app, self.config, self.db = app, app.config, app.db
        self.generation, self.body, self.query, self.limit = generation, body, query, limit
        self.report_progress = report_progress  # takes a sentence about how far a long action is
        self.new_authdata: dict[str, str | None] = {}  # of users whose sessions must end
        self.deleted_users: list[str] = []
        self.participants: list[Participant] = []
        # Takes the user's row, read with the permissions; raises LoginRefused if it is no longer what was authenticated.
        self.check_identity: Callable[[dict | None], None] = lambda user: None

    def reset_changes(self):
        """Discard the records of an attempt that the database has undone."""
        self.new_authdata, self.deleted_users, self.participants = {}, [], []

    def identify(self):
        """Read the caller's permissions, in the transaction of the action (docs/wire.md F19)."""
        if self.user_name is None:
            self.caller, self.identified = Caller(self.db, None, ["admin"]), True
            return
        try:
            rows = self.db.fetch(CALLER[self.generation.number], {"user": self.user_name})[1]
        except peewee.OperationalError:  # in the other generation the table has other columns
            self.app.check_generation(self.generation)
            raise
        if not rows or rows[0][0] != str(self.generation.number):
            self.app.check_generation(self.generation)
        _, user_name, user_authdata, _ = rows[0]
        row = self.external_user
        if not row and user_name:
            row = {"user_name": user_name, "user_authdata": user_authdata}
        self.check_identity(row)
        self.identified, self.authdata = True, row["user_authdata"] if row else None
        self.caller = Caller(self.db, self.user_name, [row[3] for row in rows if row[3] is not None])

    def in_generation(self, sentence: str) -> str:
        return self.generation.in_generation(sentence)

    def enlist(self, change: str, user_name: str, password: str | None = None):
        """Prepare a change of a user in the modules' databases, to be committed or rolled back with this one's."""
        for module in self.app.modules.values():
            if participant := module.on_user_change(self, change, user_name, password):
                self.participants.append(participant)
                if self.new_authdata.get(user_name):
                    self.new_authdata[user_name] = participant.authdata

    def end_participants(self, committed: bool | None):
        """Commit or roll back every participant. None: the outcome is unknown, so leave them prepared."""
        for participant in self.participants:
            if committed:
                participant.commit()
            elif committed is None:
                participant.leave()
            else:
                participant.rollback()


def refuse_unless(test: Callable, sentence: str) -> Callable[[dict | None], None]:
    """Return a Call.check_identity that raises LoginRefused with the sentence unless the row passes the test."""

    def check_identity(user):
        if not test(user):
            raise LoginRefused(sentence)

    return check_identity


def fits_hash(user: dict | None, hashed: str) -> bool:
    """Check whether a user may log in and has the authdata with this hash."""
    authdata = user["user_authdata"] if user else None
    return sha256(authdata) == hashed if authdata else False


class Participant:
    """A change in another database, prepared so that committing cannot fail (two-phase commit). No method raises."""

    authdata: str | None = None  # the user's authdata from now on, for their sessions

    def commit(self):
        """Commit, as the master database has."""

    def rollback(self):
        """Roll back, as the master database has."""

    def leave(self):
        """Leave the change prepared, as the outcome in the master database is unknown."""


@dataclasses.dataclass
class Bearer:
    """The owner of a token."""

    user_name: str
    via: str  # the token's name in the audit
    refuse: Callable[[Module, Endpoint], None]  # raises ApiError for what the token may not do
    authdata_hash: str  # of the owner's authdata when the token was made: another password ends it


########## Application #############################################################################


class Application:
    """A WSGI callable over one master database; several live side by side in one process."""

    def __init__(self, config: Config):
        self.config = config
        self.db = open_store(config.dbpath)
        self.modules = load_modules(self)
        self.credential_providers = self.implementers("external_credentials")
        hooks = ("on_request", "on_login", "on_user_deleted")
        self.listeners = {hook: self.implementers(hook) for hook in hooks}
        self.addresses = load_part("http.addresses")
        self.proxies = self.addresses.read_proxies(config.trusted_proxies)
        self.cookies = load_part("http.cookies").Cookies(self.proxies)
        sessions, throttle = load_part("state.sessions"), load_part("state.throttle")
        schemas = [sessions.STATE_SCHEMA, throttle.STATE_SCHEMA]
        self.state_schema = "".join(schemas + [module.state_schema for module in self.modules.values()])
        self.state = open_store(config.state, self.state_schema)
        self.has_pools = is_url(config.dbpath) or is_url(config.state)
        self.sessions = sessions.Sessions(self.state, config.session_lifetime)
        self.throttle = throttle.LoginThrottle(self.state, config.free_attempts)
        self.bodies, self.event_type = load_part("http.bodies"), load_part("http.event").Event
        self.large_bodies = self.bodies.SharedLimit(config.max_bodies)
        self.mounts = {first: module for module in self.modules.values() for first in module.mounts}
        self.bottle = bottle.Bottle()
        self.bottle.route("/<path:re:[\\s\\S]*>", "ANY", self.serve, skip=True)  # no plug-ins

    def implementers(self, hook: str) -> list[Module]:
        """Return the modules that have this hook."""
        return [m for m in self.modules.values() if getattr(type(m), hook) is not getattr(Module, hook)]

    def listed(self) -> dict[str, Module]:
        """Return the configured modules by their names, in the order of modulelist."""
        return {module.name: module for module in self.modules.values() if module.name}

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode(errors="replace")
        path = path.removeprefix("/")  # `OPTIONS *` has none
        environ["PATH_INFO"] = "/" + path.encode().decode("latin-1")  # Bottle leaves out what is not UTF-8

        def start(status, headers, exc_info=None):
            # An answer's own status and headers go past bottle.response, which would take as long as the request.
            return start_response(*environ.pop("mailapi.head", (status, headers)), exc_info)

        try:
            return self.bottle(environ, start)
        finally:
            if self.has_pools:
                self.release()

    def serve(self, path: str) -> bytes | Iterable[bytes] | bottle.HTTPResponse:
        """Answer Bottle's current request."""
        return RequestHandler(self, bottle.request.environ, path).respond()

    def release(self):
        """Give the databases' connections back, before waiting for others or at the end of a request."""
        self.db.release()
        self.state.release()

    def module(self, path: str, generation: Generation) -> Module:
        """Return the module that a URL path names; ApiError (HTTP 404) where there is none."""
        module = self.modules.get(path.removesuffix("/")) or self.modules.get(module_name(path))
        if module is None or generation.number not in module.generations:
            self.check_generation(generation)
            raise ApiError(f"Unknown module {module_name(path)}.", http=404)
        return module

    def body_limit(self, path: str, query_string: str) -> int:
        """Return the bytes that a request's body may have, for servers that receive it before the app is called."""
        first, name = path.removeprefix("/").partition("/")[0], module_name(path.removeprefix("/"))
        limit: int | str = 0
        if first in self.mounts:
            limit = self.mounts[first].mount_max_body
        elif name in self.modules:
            with contextlib.suppress(ApiError):  # the app will raise it again
                chosen = self.modules[name].choose(read_query(query_string))
                limit = chosen.max_body if chosen else 0
        return body_limit(limit, self.config)

    ##### The generation of the master database

    def generation(self) -> Generation:
        """Return the generation that the master database has now; Call.identify checks it in its transaction."""
        try:
            rows = self.db.read(SCHEMA_VERSION)
        except peewee.PeeweeException as error:
            if is_busy(error):
                raise
            raise ApiError(f"The database cannot be opened: {error}.", http=500) from None
        version = rows[0][0] if rows else None
        if version not in GENERATIONS_BY_VERSION:
            raise SchemaMismatch(number(version))
        return GENERATIONS_BY_VERSION[version]

    def check_generation(self, expected: Generation):
        """Raise Migrated where the database has another generation now."""
        if self.generation() is not expected:
            raise Migrated()

    ##### Transactions: each one on the master database begins and ends here

    def perform(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """Run an action, or none, and return its part of the answer."""
        if chosen and chosen.manages_transactions:
            call.reset_changes()
            self.identify(call)
            self.release()
            return chosen.run(module, call)
        if chosen and not chosen.read_only:
            added = self.db.run_with_retry(partial(self.run_write, call, module, chosen))
        else:
            added = self.db.run_with_retry(partial(self.run_read, call, module, chosen))
        if chosen and chosen.after_commit:
            self.release()
            return chosen.after_commit(module, call, added)
        return added

    def identify(self, call: Call):
        """Read the caller's permissions in a transaction of its own."""
        with self.db.transaction("DEFERRED"):
            call.identify()

    def run_read(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """Run an action that changes nothing."""
        with self.db.transaction("DEFERRED"):
            call.identify()
            return chosen.run(module, call) if chosen else {}

    def run_write(self, call: Call, module: Module, chosen: Endpoint) -> dict:
        """Run an action that may change something, here and in the modules' databases."""
        call.reset_changes()
        try:
            with self.db.transaction():
                call.identify()
                added = chosen.run(module, call)
                if authdata := call.new_authdata.get(call.user_name or ""):
                    self.sessions.expect(call.session, authdata)
        except BaseException as error:
            # A signal may come while the commit is under way, too.
            unknown = not isinstance(error, Exception) or getattr(error, "store_in_doubt", None) is self.db
            call.end_participants(committed=None if unknown else False)
            if isinstance(error, CommitOutcomeUnknown):
                self.notify_deleted([name for name in call.deleted_users if self.is_gone(name)])
            raise
        call.end_participants(committed=True)
        return added

    ##### After the commit

    def is_gone(self, user_name: str) -> bool:
        """Check whether a user was deleted; False where the database cannot be asked."""
        with contextlib.suppress(ApiError, peewee.PeeweeException):
            self.db.connect()
            return self.db.one(CREDENTIALS_OF, user=user_name) is None
        return False

    def end_sessions(self, call: Call):
        """End the sessions of users with a new password, except for the one that set it (docs/wire.md F19)."""
        try:
            for user_name, authdata in call.new_authdata.items():
                own = user_name == call.user_name and authdata
                self.sessions.end_others(user_name, but=call.session if own else "")
        except ApiError as error:  # no session fits the new password anyway
            log.warning("%s", error.status)
        self.notify_deleted(call.deleted_users)

    def notify_deleted(self, user_names: Sequence[str]):
        """Let the modules delete what they store of deleted users, lest the next user of that name gets it."""
        for user_name in user_names:
            for module in self.listeners["on_user_deleted"]:
                work = partial(self.state.run_with_retry, partial(module.on_user_deleted, user_name))
                self.take_note(module, partial(self.db.run_with_retry, work))

    def notify(self, hook: str, *args):
        """Call a hook of the modules that have it."""
        for module in self.listeners[hook]:
            self.take_note(module, partial(getattr(module, hook), *args))

    def take_note(self, module: Module, work: Callable[[], object]):
        """Call a hook; log its failure, which undoes nothing."""
        try:
            work()
        except ApiError as error:
            log.warning("%s failed to take note: %s", module.name, error.status)
        except Exception:
            log_exception(f"{module.name} failed to take note")

    ##### Credentials

    def external_credentials(self, user_name: str, logging_in: bool = False) -> dict | None:
        """Return the row that a module has in the place of the user's in `users`."""
        for module in self.credential_providers:
            if (row := module.external_credentials(user_name, logging_in)) is not None:
                return row
        return None

    def credentials(self, user_name: str) -> dict | None:
        """Return the row with which a user's log-ins are checked now."""
        return self.external_credentials(user_name) or self.db.one(CREDENTIALS_OF, user=user_name)


def create_app(config: str | os.PathLike | Mapping) -> Application:
    """Return a WSGI callable for the path of a config.py or a mapping of its keys.

    ConfigError where the config or one of its modules cannot be used. The databases are opened by requests.
    """
    return Application(read_config(config))


@lru_cache(maxsize=1)
def default_application() -> Application:
    return create_app(os.environ.get("MAILAPI_CONFIG", "config.py"))


def application(environ, start_response):
    """Serve the app of the config that MAILAPI_CONFIG names (default config.py), made at the first request."""
    try:
        app = default_application()
    except ConfigError as error:
        log.error("%s", error)
        start_response("500 Internal Server Error", [("Content-Type", "application/json")])
        return [encode({"status": "mailapi is not configured. The log has the cause."})]
    return app(environ, start_response)


########## Requests ################################################################################
# In the order of the methods: the answer, the URL, the body, the log-in, the fields, the action.


class RequestHandler:
    """A request over HTTP and its answer (docs/wire.md sections 1 and 2)."""

    callback: str | None = None
    call: Call | None = None
    module: Module | None = None
    chosen: Endpoint | None = None
    file: File | None = None
    via = ""  # how the caller was authenticated, for the audit
    refused: ApiError | None = None  # the refusal that the answer's status is from
    mounted_response: bottle.HTTPResponse | None = None  # the whole answer, made by a module

    def __init__(self, app: Application, environ: dict, path: str):
        self.app, self.environ, self.path = app, environ, path
        self.reserved = 0  # bytes of app.large_bodies
        self.headers = [("X-Content-Type-Options", "nosniff")]
        self.frame: dict = {
            "status": "ok",
            "debug": [],
            "api_version": LATEST,
            "schema_version": None,
            "session": False,
        }

    @cached_property
    def client(self) -> str:
        """The client's address."""
        return self.app.addresses.client_address(self.environ, self.app.proxies)

    def respond(self) -> bytes | Iterable[bytes] | bottle.HTTPResponse:
        """Process the request and return the body; status and headers go to Application.__call__."""
        try:
            answer, http = self.outcome()
        finally:
            if self.reserved:
                self.app.large_bodies.give_back(self.reserved)
        only_read = self.chosen and self.chosen.read_only and self.via == "session"
        if not only_read or answer["status"] != "ok":
            self.app.db.release()  # what follows may wait for the state database
            self.report(self.refused.audit if self.refused else answer["status"], http)
        if self.mounted_response is not None:
            return self.mounted_response
        payload = self.file.content if self.file else encode(answer)
        if self.callback and not self.file:
            payload = jsonp(self.callback, payload.decode()).encode()
        content_type = "application/javascript" if self.callback else "application/json"
        self.headers += self.file.headers() if self.file else [("Content-Type", content_type)]
        self.headers.append(("Content-Length", str(len(payload))))
        if self.app.config.cors_origin:
            self.headers.append(("Access-Control-Allow-Origin", self.app.config.cors_origin))
        self.headers.append(("Cache-Control", "no-store"))
        self.environ["mailapi.head"] = f"{http} {bottle.HTTP_CODES[http]}", self.headers
        return (
            payload if "mailapi.body_read" in self.environ else self.app.bodies.Unread(payload, self.environ)
        )

    def outcome(self) -> tuple[dict, int]:
        """Return the answer and its HTTP status, also for refusals and failures that `act` does not handle."""
        try:
            return self.process(), 200 if self.mounted_response is None else self.mounted_response.status_code
        except SchemaMismatch as mismatch:
            return {"status": mismatch.status} | mismatch.answer, 200
        except ApiError as error:
            problem = error.bare()
        except peewee.PeeweeException as error:
            problem = refusal(error)
        except Exception:
            log_exception(f"{printable(self.path[:200]) or '/'} failed")
            problem = ApiError("Internal error. The log has the cause.", http=500)
        self.refused = problem
        if problem.retry_after:
            self.headers.append(("Retry-After", str(problem.retry_after)))
        return self.frame | {"status": problem.status} | problem.answer, problem.http

    def report(self, status: str, http: int):
        """Pass the request and its outcome to the modules' on_request."""
        path = self.module.path if self.module else module_name(self.path)
        event = self.app.event_type(path, status, http, self.client, self.via)
        if self.call:
            event.describe(self.call, self.chosen)
        self.app.notify("on_request", event)

    ##### The URL

    def process(self) -> dict:
        """Choose the action, read the body, authenticate the caller, run the action, and return the answer."""
        if self.app.config.debug:
            self.app.db.trace(self.frame["debug"].append)
        first, _, below = self.path.partition("/")
        if first in self.app.mounts:
            return load_part("http.mounts").answer(self, first, below)
        query = read_query(self.environ.get("QUERY_STRING", ""))
        if "callback" in query:
            self.callback = read_callback(query["callback"])
        generation = self.app.generation()
        self.frame["api_version"] = self.frame["schema_version"] = generation.number
        self.module = module = self.app.module(self.path, generation)
        limit = read_limit(query["limit"]) if "limit" in query else None
        self.chosen = chosen = module.choose(query)
        if self.callback and chosen and chosen.download:
            raise ApiError("A file has no callback.", http=400)
        self.call = call = Call(self.app, generation, {}, {}, limit)
        call.encodes = True
        body, auth = self.read_body(chosen)
        if "logout" in query:
            if isinstance(body, bytes):
                read_object(body[: self.app.config.max_body])  # refuses what is no object
            return self.log_out(call)
        self.log_in(call, auth)
        if chosen and not chosen.read_only:
            self.refuse_change_by_link()
        unread = [body]
        del body  # so that an action can free a large field that it has read
        return self.act(call, module, unread, auth, query)

    def admit(self, module: Module, read_only: bool) -> Call:
        """Authenticate the caller of `module`'s mount by HTTP Basic or a token; ApiError (HTTP 401) otherwise."""
        return load_part("http.mounts").admit(self, module, read_only)

    ##### The body

    def read_body(self, chosen: Endpoint | None) -> tuple[dict | bytes, dict | None]:
        """Return the body's object and its `auth`; a large body as bytes, of which only `auth` is parsed."""
        config, length = self.app.config, body_length(self.environ)
        most = body_limit(chosen.max_body, config) if chosen and chosen.max_body else config.max_body
        if length is None or SMALL_BODY < length <= most:
            # the body, what is read of it, and what is made of that
            self.reserved = self.app.large_bodies.take(3 * (length or most))
        raw = raw_body(self.environ, length, most)
        if len(raw) > SMALL_BODY:
            auth = load_part("http.large_bodies").find_auth(raw)
            refuse_forbidden_text({"auth": auth})
            return raw, auth
        body = read_object(raw)
        if auth := body.get("auth"):
            refuse_forbidden_text({"auth": auth})
        return body, auth

    ##### The log-in

    def log_in(self, call: Call, auth: dict | None):
        """Authenticate the caller: by credentials if given, else by a token if given, else by the session."""
        user_name, password = read_auth(auth) if auth else (None, None)
        scheme, _, bearer = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if user_name:
            self.check_password(call, user_name, password)
        elif scheme.lower() == "bearer":
            self.use_token(call, bearer.strip())
        else:
            self.use_session(call)

    def check_password(self, call: Call, user_name: str, given: str | None, remember: bool = True):
        """Log a user in, with a session if `remember`; LoginRefused for a wrong password."""
        self.via, call.claimed_name = "password", user_name
        if not given:
            raise LoginRefused("Password is not set!")
        if self.app.credential_providers:
            call.external_user = self.app.external_credentials(user_name, logging_in=True)
        rows = () if call.external_user else self.app.db.read(CREDENTIALS_OF, user=user_name)
        user = call.external_user or {"user_authdata": rows[0][1] if rows else None}
        authdata = user["user_authdata"]
        fits = partial(user.get("verify", verify), given, authdata)
        try:
            if not self.app.throttle.attempt(user_name, self.client, fits):
                raise LoginRefused("Username or password is wrong.")
        except TooManyFailures as early:
            call.refused_wait = early.wait
            raise
        call.user_name, call.password = user_name, given
        call.check_identity = refuse_unless(
            lambda user: user and user["user_authdata"] == authdata, "Username or password is wrong."
        )
        if remember:
            self.begin_session(call, authdata)
        self.app.notify("on_login", call, given)

    def begin_session(self, call: Call, authdata: str):
        """Set the cookie of a new session, which replaces the one that the request came with."""
        cookies, environ = self.app.cookies, self.environ
        call.session = self.app.sessions.begin(call.user_name, authdata, cookies.read(environ))
        if not cookies.is_cross_site(environ):
            self.headers.append(cookies.header(environ, call.session))

    def use_token(self, call: Call, bearer: str):
        """Authenticate the owner of a token, which the module that has it may restrict."""
        self.via = "token"
        for module in self.app.modules.values():
            if found := module.bearer(call, bearer, self.client):
                self.via, call.user_name, call.restriction = found.via, found.user_name, found.refuse
                call.external_user = self.app.external_credentials(call.user_name)
                # A user who may not log in, or has another password now, can do nothing by token.
                fits = partial(fits_hash, hashed=found.authdata_hash)
                call.check_identity = refuse_unless(fits, "Token is not valid.")
                return
        raise LoginRefused("Token is not valid.")

    def use_session(self, call: Call):
        """Authenticate the user of the cookie's session."""
        sessions, self.via, token = self.app.sessions, "session", self.app.cookies.read(self.environ)
        session = token and sessions.find(token)
        if not session:
            raise LoginRefused("Username is not set!")
        call.user_name, call.session = session.user_name, token
        if self.app.credential_providers:
            call.external_user = self.app.external_credentials(call.user_name)
        call.check_identity = partial(sessions.check, session, token)

    def log_out(self, call: Call) -> dict:
        """End the session and return the answer."""
        self.app.db.release()  # the state database may keep it waiting
        status = "Successfully logged out."
        if token := self.app.cookies.read(self.environ):
            self.headers.append(self.app.cookies.header(self.environ, "", "; Max-Age=0"))
            try:
                session, call.session = self.app.sessions.find(token), token
                self.via, call.claimed_name = "log-out", session and session.user_name
                self.app.sessions.end(token)
            except ApiError as error:
                status = f"Logged out in this browser only: the session could not be ended. {error.status}"
                log.error("a session could not be ended: %s", error.status)
        return self.frame | {"status": status, "login": False}

    def refuse_change_by_link(self):
        """Refuse a change by GET with a cookie, which a link in a mail could bring about (docs/wire.md F43)."""
        if self.via == "session" and self.environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            self.headers.append(("Allow", "POST"))
            raise ApiError("Use POST.", http=405)

    ##### The fields and the action

    def read_fields(self, call: Call, body: dict | bytes, auth: dict | None, query: dict):
        """Read the fields that the action declares, now that the caller is known."""
        if isinstance(body, bytes):
            fields = load_part("http.large_bodies").read_for_caller(call, self.chosen, body, auth)
        else:
            fields = {} if body.keys() <= {"auth"} else body  # `auth` was read
            if fields:
                refuse_forbidden_text(fields)
        if self.chosen:
            call.body, call.query = self.chosen.read(call.generation, fields, query)

    def act(self, call: Call, module: Module, unread: list, auth: dict | None, query: dict) -> dict:
        """Run the action and return the answer, which has the log-in also where the action is refused.

        `unread` has the body, and is empty afterwards.
        """
        try:
            self.read_fields(call, unread.pop(), auth, query)
            added = self.app.perform(call, module, self.chosen)
        except (LoginRefused, SchemaMismatch):
            raise
        except (ApiError, peewee.IntegrityError, peewee.OperationalError) as error:
            problem = error.bare() if isinstance(error, ApiError) else refusal(error)
            if problem.http != 200:
                raise problem from None
            self.refused = problem
            added = {"status": problem.status} | problem.answer
        else:
            if call.new_authdata:
                self.app.end_sessions(call)
        if not call.identified:  # the transaction did not begin
            call.identify()
        if isinstance(added, File):
            self.file, added = added, {}
        return {
            **self.frame,
            call.generation.permission + "s": dict.fromkeys(call.caller.permissions, True) or PHP_EMPTY_MAP,
            "login": True,
            "auth_user": call.user_name,
            **(shorten(added, call.limit) if call.limit else added),
        }


########## Command line ############################################################################


def main(arguments: list[str] | None = None) -> int:
    """Run `mailapi COMMAND …` or `python mailapi.py COMMAND …` and return the exit status."""
    return load_part("commands.main").main(arguments)


if __name__ == "__main__":
    sys.exit(main())
