#!/usr/bin/env python3
"""mailapi: an HTTP API to manage a mail server. It replaces the PHP API of cmail, and has the same interface.

This file is the core. It reads a config, loads the module files in its setting `modulelist`, and turns requests
such as `users/?add` into calls of their actions. For each request, it reads the fields, checks the access rule,
runs the action in one transaction, and answers one JSON object.
There are two databases. The master database belongs to the mail server; its schema has version ("generation") 8
or 9. The state database is mailapi's own, with sessions, failed log-ins and the audit.
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

__version__ = "0.2.0"

# `python mailapi.py` plus a module's `import mailapi` would load the core twice.
sys.modules.setdefault("mailapi", sys.modules[__name__])

log = logging.getLogger("mailapi")
logging.getLogger("peewee").setLevel(logging.INFO)  # at DEBUG it logs parameters: passwords, mail

HERE = Path(__file__).resolve().parent
INSTALLED = [HERE / "modules", HERE / "mailapi_modules"]  # in a checkout, in an installed package
sys.modules.setdefault("mailapi_modules", types.ModuleType("mailapi_modules"))
sys.modules["mailapi_modules"].__path__ = list(map(str, INSTALLED))


def load_part(name: str):
    """Import a file below modules/ and return it as a Python module: "mariadb.store" is modules/mariadb/store.py."""
    return importlib.import_module(f"mailapi_modules.{name}")


########## Config ##################################################################################


class ConfigError(Exception):
    """The error for a config that is missing or invalid. Its text names the key or the file, and the cause."""


@dataclasses.dataclass
class Config:
    """The settings in config.py; config.sample.py explains each."""

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
    environment_file: str = ""
    log_file: str = ""

    def resolve(self, base: Path) -> "Config":
        """Make paths absolute, below the folder `base`. An empty setting `state` gets its default. Return self."""
        self.base = base
        self.state = self.state or (self.dbpath if is_url(self.dbpath) else self.dbpath + ".state")
        self.dbpath, self.state = (db if is_url(db) else str(base / db) for db in (self.dbpath, self.state))
        return self


OPTIONS = {field.name: field for field in dataclasses.fields(Config)}
TYPE_NAMES = {str: "text", bool: "True or False", dict: "a mapping", list: "a list"}


def is_url(database: str) -> bool:
    """Return whether a database setting is the URL of a server, mysql://…, and not the path of a SQLite file."""
    return database.startswith("mysql://")


def read_config(source: str | os.PathLike | Mapping) -> Config:
    """Read the settings from a config.py, given its path, or from a mapping of its keys. ConfigError if invalid."""
    if isinstance(source, Mapping):
        return checked_config(dict(source), Path.cwd())
    path = Path(source).absolute()
    return checked_config(run_config(path), path.parent)


def run_config(path: Path) -> dict:
    """Execute a config.py and return its public variables. Raise ConfigError if the file is missing or fails."""
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
    """Return the settings `given` as a Config, with paths below the folder `base`. ConfigError if one is invalid."""
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
    """Raise ConfigError if the setting `key` has a value of another type than `kind`, or too low a number."""
    least = OPTIONS[key].metadata.get("least", 1)
    if isinstance(value, kind) and (kind is not int or not isinstance(value, bool) and value >= least):
        return
    number_name = "a positive whole number" if least else "a whole number from 0"
    given = f", not {value!r}" if OPTIONS[key].repr else ""  # without repr it holds secrets
    raise ConfigError(f"{key} must be {TYPE_NAMES.get(kind, number_name)}{given}.")


########## Errors ##################################################################################

BUSY = "The database is busy. Try again."
INTERNAL_ERROR = "Internal error. The log has the cause."
NOT_CONFIGURED = "mailapi is not configured. The log has the cause."


class ApiError(Exception):
    """An error that becomes the answer to a request: JSON with the sentence `status` and the members in `answer`.
    http: the HTTP status. audit: the sentence for log and audit, if `status` quotes text that must not be in them.
    code: the error's name for programs (docs/wire.md section 9). field: the request's field that is invalid."""

    code = field = ""

    def __init__(self, status, http=200, retry_after=0, audit="", code="", field="", **answer):
        super().__init__(status)
        self.status, self.http, self.answer = status, http, answer
        self.code, self.field = code or self.code, field
        self.audit = audit or status
        self.retry_after = retry_after  # seconds; 0: waiting does not help

    def bare(self) -> "ApiError":
        """Remove the tracebacks from this error, which would keep request bodies in memory, and return it."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class CannotOpen(ApiError):
    """The error for a database file that is missing or cannot be opened."""

    code = "database"

    def __init__(self, error: Exception):
        super().__init__(f"The database cannot be opened: {getattr(error, 'strerror', error)}.", http=500)


class TransactionRolledBack(ApiError):
    """The error for a transaction that was rolled back because of a concurrent one. Run the transaction again."""

    def __init__(self):
        super().__init__(BUSY, http=503, retry_after=1, code="busy")


class CommitOutcomeUnknown(ApiError):
    """The error for a connection that broke during a commit. It is unknown if `store_in_doubt` has the change."""

    code = "unknown_outcome"
    store_in_doubt: "Store"


class StateFailure(ApiError):
    """The error for a failure of the state database, in which mailapi stores sessions and the audit."""

    def __init__(self, error):
        super().__init__(f"The state database cannot be used: {error}.", http=500, code="database")


class SchemaMismatch(ApiError):
    """The error for a master database of an unsupported version. The answer has schema_version and api_version."""

    def __init__(self, version):
        super().__init__("Api version and schema version is not the same.", code="database")
        self.answer = {"api_version": LATEST, "schema_version": version}


class LoginRefused(ApiError):
    """The error for a caller who could not be authenticated. No action was run, and the answer has "login": false."""

    def __init__(self, status: str, code: str = "not_logged_in"):
        super().__init__(status, code=code, login=False)


class TooManyFailures(ApiError):
    """The error for a log-in too soon after failed ones. Log-ins are allowed again in `seconds` seconds."""

    def __init__(self, seconds: int, wait: str):
        sentence = f"Too many failed log-ins. Try again in {seconds} seconds."
        super().__init__(sentence, http=429, retry_after=seconds)
        self.wait = wait  # names the wait for the audit: which count, and since when


def invalid(field: str) -> ApiError:
    """Return the ApiError (HTTP 400) for an invalid value in the request's field `field` (docs/wire.md F27, F37)."""
    return ApiError(f"Invalid value for {field}.", http=400, code="invalid_field", field=field)


REFUSED = {"UNIQUE": "duplicate", "FOREIGN": "in_use"}  # how the sentence begins → code


def refusal(error: peewee.PeeweeException, **answer) -> ApiError:
    """Convert a database exception to ApiError: HTTP 503 if locked, 200 and `answer` for a refused change, or 500."""
    if is_busy(error):
        return ApiError(BUSY, http=503, retry_after=1, code="busy")
    if not isinstance(error, (peewee.IntegrityError, peewee.OperationalError)):
        return ApiError(str(error), http=500, code="database")
    return ApiError(str(error), code=REFUSED.get(str(error).partition(" ")[0], "refused"), **answer)


def is_busy(error: Exception) -> bool:
    """Return whether a database error means that SQLite gave up waiting for another connection's lock."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def log_exception(sentence: str):
    """Log `sentence`, and the last 8,000 characters of the traceback of the current exception."""
    log.error("%s\n%s", sentence, traceback.format_exc(limit=-20)[-8000:])


def printable(value) -> str:
    """Return a value as text for a terminal or the log, with U+FFFD in place of control and invisible characters."""
    if isinstance(value, (list, dict)):
        value = " ".join(map(str, value))
    return "".join(c if c.isprintable() else "\ufffd" for c in str("" if value is None else value))


########## Field types #############################################################################
# A field type is a function: it turns the JSON value from the client into what the action gets, or raises ValueError.

LONGEST = 1000  # bytes of an address, an expression or a route (SMTP ends at 256), and entries of a list
INFINITE = (float("inf"), float("-inf"))
FORBIDDEN = re.compile("[\0\ud800-\udfff]")
FORBIDDEN_BYTES = re.compile(rb"\0|\xed[\xa0-\xbf]")  # the same characters in long_text


def empty(value) -> bool:
    """Return whether PHP's empty() is true for a JSON value: for null, false, 0, "0", "", [] and {}."""
    return not value or value == "0"


def php_text(value) -> str | None:
    """Convert the JSON value of a text field to str. Values empty in PHP ("", "0", 0, null, …) become None."""
    return None if empty(value) else raw_text(value)


def raw_text(value) -> str | None:
    """Convert the JSON value of a text field to str. Only null becomes None, not "" or "0" (docs/wire.md F32)."""
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
    """Convert the JSON value of a password, key or token to str, null to None. Such a field is never logged."""
    return raw_text(value)


def long_text(value) -> bytes | None:
    """Convert the JSON value of a large text field to UTF-8 bytes, null to None."""
    if isinstance(value, bytes):  # from a large body
        return value
    return None if (text := raw_text(value)) is None else text.encode()


def file_content(value) -> bytes | None:
    """Convert the text of an uploaded file to UTF-8 bytes, null to None. The command line sends a file's content."""
    return long_text(value)


def address(value) -> str | None:
    """Convert the JSON value of a mail address to str, or to None if it is empty. ValueError above 1,000 bytes."""
    value = php_text(value)
    if value and len(value.encode()) > LONGEST:
        raise ValueError("too long for an address")
    return value


def whole_number(value) -> int | None:
    """Convert a JSON number or text of at most 18 digits to int, null to None; else ValueError (docs/wire.md F37)."""
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", raw_text(value) or ""):
        raise ValueError("not a whole number")
    return int(value)


def optional_number(value) -> int | None:
    """Convert a whole number to int, like `whole_number`. Values empty in PHP ("", "0", 0, null, …) become None."""
    return whole_number(php_text(value))


def boolean(value) -> bool:
    """Convert a flag: values empty in PHP ("", "0", 0, null, …) to False, others to True. ValueError for a list."""
    if isinstance(value, (list, dict)) and value:
        raise ValueError("not a flag")
    return not empty(value)


def list_of_text(value) -> list | None:
    """Convert a JSON list to a list of str, null to None. Items that are empty in PHP (null, "0", 0, …) become ""."""
    if value is None:
        return None
    if not isinstance(value, list) and value != {} or len(value) > LONGEST:
        raise ValueError("not a list, or too long a one")
    return [php_text(entry) or "" for entry in value]


def object_of(**types):
    """Return a field type for a JSON object with these fields, such as object_of(name=php_text, size=whole_number)."""

    def read(value):
        if empty(value):
            return None
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return dict.fromkeys(types) | read_fields(value, types)

    read.types = types  # type: ignore[attr-defined]
    return read


def read_fields(given: dict, types: dict) -> dict:
    """Convert the fields of a request, `given`, and return them. types: {name: function that converts the value}.
    Fields that are not in `types` are left out. Old clients may write "right" for "permission" in a name: api_right.
    ApiError (HTTP 400) names the invalid field, as OBJECT.FIELD for a field in an object (docs/wire.md F27)."""
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


# A field that every request may have, beside those of its action.
AUTH = {"auth": object_of(user_name=php_text, password=raw_text)}


def refuse_forbidden_text(body: dict):
    """Raise ApiError (HTTP 400) if a name or value in `body` has a NUL or a lone surrogate (docs/wire.md F27)."""
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
MOST_VALUES = 100_000  # commas, brackets, escapes in a larger body: each can take a hundred bytes of memory


def canonical(name: str) -> str:
    """Return the name of an action in mailapi's spelling: `update-rights` becomes `update_permissions`."""
    return NEW_SPELLING.sub(r"permission\1", name.replace("-", "_"))


PHP_EMPTY_MAP: list = []  # PHP encodes a map without entries as []


def number(value):
    """Convert numeric text to int or float, as PHP's JSON_NUMERIC_CHECK does. Return other values unchanged."""
    if not isinstance(value, str):
        return value
    if (digits := value.removeprefix("-")).isdigit() and value.isascii() and len(digits) <= 18:
        return int(value)
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value):
        return value if float(value) in INFINITE else float(value)
    return value


def read_query(query_string: str) -> dict:
    """Parse a URL's query string into a dictionary. If a key is repeated, the last value counts, as in PHP."""
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
    """Convert the URL's `limit`, the most entries of each list, to a positive int, or raise ApiError (wire.md F25)."""
    if not (found := re.fullmatch("0*([1-9][0-9]{0,999})", limit)):
        raise ApiError("Invalid limit.", http=400, code="invalid_field", field="limit")
    return int(found[1])


def body_length(environ: dict) -> int | None:
    """Return the length of a request's body in bytes, 0 if it has none, or None if only reading can tell."""
    length, chunked = environ.get("CONTENT_LENGTH"), "HTTP_TRANSFER_ENCODING" in environ
    if length:
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise ApiError("Invalid JSON in request body.", http=400, code="invalid_json")
        return int(length)
    if environ.get("wsgi.input_terminated") or chunked and environ.get("wsgi.run_once"):
        return None  # with run_once it is standard input of CGI
    if chunked:  # the server does not say where it ends
        raise ApiError("Request body of unknown length.", http=411)
    return 0


def raw_body(environ: dict, length: int | None, limit: int) -> bytes:
    """Read a body of `length` bytes, or to its end if that is None. ApiError if longer than `limit` or incomplete."""
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
    """Parse a request body as a JSON object, whatever its Content-Type. An empty body gives {} (docs/wire.md F22).
    ApiError: HTTP 400 if it is not an object, 413 if it has so many values that parsing needs too much memory."""
    if raw == b"{}" or not raw or raw.isspace():  # what browser clients send, and scripts without fields
        return {}
    if len(raw) > SMALL_BODY and sum(map(raw.count, (b",", b"[", b"{", b"\\"))) > MOST_VALUES:
        raise ApiError("Request body too large.", http=413)
    try:
        body = DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError("Invalid JSON in request body.", http=400, code="invalid_json")
    return body


def not_json(constant: str):
    raise ValueError(f"{constant} is not JSON")


DECODER = json.JSONDecoder(parse_constant=not_json)


class RawJSON:
    """JSON text, `payload`, as the value of a member in an answer. `encode` copies it into the answer unchanged."""

    def __init__(self, payload: bytes):
        self.payload = payload


def readable(value) -> str:
    """Decode UTF-8 bytes to text. Invalid bytes become U+FFFD. TypeError if `value` is not bytes."""
    return str(memoryview(value), errors="replace")


NEGATIVE_EXPONENT = re.compile(rb"e-[0-9]+[],}]")  # orjson writes 1e-05 in another way than PHP
ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=readable)


def encode(answer: dict) -> bytes:
    """Encode an answer as JSON in UTF-8. Its members of the type RawJSON, which are encoded already, come last."""
    pieces: list[bytes] = []
    while RawJSON in (kinds := [*map(type, answer.values())]):
        name = [*answer][kinds.index(RawJSON)]  # an action's own, so that there is no quote in it
        pieces += f',"{name}":'.encode(), answer.pop(name).payload
    try:
        payload = orjson.dumps(answer, readable) if orjson else None
    except TypeError:  # numbers of more than 64 bits, text that nobody can encode
        payload = None
    if payload is None or b"0.0000" in payload or b"e-" in payload and NEGATIVE_EXPONENT.search(payload):
        payload = ENCODER.encode(answer).encode()
    return b"".join([payload[:-1], *pieces, b"}"]) if pieces else payload


def shorten(answer: dict, limit: int) -> dict:
    """Cut each list in an answer, also in nested objects, to `limit` entries. Return the same dictionary."""
    for name, value in answer.items():
        if isinstance(value, list):
            answer[name] = value[:limit]
        elif isinstance(value, dict):
            shorten(value, limit)
    return answer


@dataclasses.dataclass(frozen=True)
class File:
    """A file that an action returns instead of a JSON object. Browsers save it, and never display it as a page."""

    content: bytes
    content_type: str
    name: str  # any text

    def headers(self) -> list[tuple[str, str]]:
        return load_part("http.downloads").headers(self)


########## Tables ##################################################################################


def table_name(model: type) -> str:
    """Return the name of a model's table: the class name in snake case without digits, "api_access" for ApiAccess8."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower().rstrip("0123456789")


class Model(peewee.Model):
    """The base class of the tables' peewee models. A model belongs to no database: a Store runs its queries."""

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
    """A schema version of the master database: 9, or 8, where "right" stands for "permission" in tables and fields."""

    number: int
    permission: str  # the clients' word for a permission, alone and in names
    access: type[ApiAccess] | type[ApiAccess8]

    def in_generation(self, sentence: str) -> str:
        return sentence.replace("{permission}", self.permission)


GENERATIONS = {
    8: Generation(8, "right", ApiAccess8),
    9: Generation(9, "permission", ApiAccess),
}
# The table `meta` has the version as a number or as text.
GENERATIONS_BY_VERSION = GENERATIONS | {str(number): each for number, each in GENERATIONS.items()}
LATEST = max(GENERATIONS)


########## Database ################################################################################


class Param:
    """A named placeholder for a value in a prepared query."""

    def __init__(self, name: str):
        self.name = name


def param(name: str) -> peewee.Value:
    """Return a named placeholder for a value in a prepared query: `Users.user_name == param("user")`."""
    return peewee.Value(Param(name), converter=False)


class PreparedQuery:
    """A query that is compiled to SQL once, at its first run, and can be run again with other values."""

    json_sql = ""  # the SQL that returns the rows as one JSON list (modules/directory/lists.py)

    def __init__(self, query: peewee.Node, nested: tuple = ()):
        self.query = query
        self.nested = nested  # the columns that hold JSON
        self.compiled: dict[str, Statement] = {}  # by Store.dialect


Statement = tuple[str, Callable[[Mapping], Sequence] | None]  # SQL, and a binder


def binder(parameters: Sequence) -> Callable[[Mapping], Sequence] | None:
    """Return a function that turns {name: value} into the list `parameters` with these values in place of the Params.
    Return None if `parameters` is empty."""
    names = [each.name if type(each) is Param else number for number, each in enumerate(parameters)]
    constants = {n: each for n, each in enumerate(parameters) if type(each) is not Param}
    if len(names) < 2:
        return (lambda values: [{**constants, **values}[names[0]]]) if names else None
    pick = itemgetter(*names)
    return (lambda values: pick({**constants, **values})) if constants else pick


def each_generation(build: Callable[[Generation], peewee.Query]) -> dict:
    """Prepare `build(generation)` for each schema version. Return {8: PreparedQuery, 9: PreparedQuery}."""
    return {number: PreparedQuery(build(generation)) for number, generation in GENERATIONS.items()}


DURABLE = "EXCLUSIVE"  # lock_type of a transaction on the state database that outlasts a power cut
SQLITE_SEQUENCE = peewee.Table("sqlite_sequence")
LAST_GIVEN = PreparedQuery(
    SQLITE_SEQUENCE.select(SQLITE_SEQUENCE.c.seq).where(SQLITE_SEQUENCE.c.name == param("table"))
)


def as_peewee(error: sqlite3.Error) -> Exception:
    """Return the peewee exception that corresponds to an exception of sqlite3, such as peewee.IntegrityError."""
    try:
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            raise error
    except Exception as translated:
        return translated
    finally:
        del error  # its traceback holds this frame, and with it the callers' variables


class ClosingConnection(sqlite3.Connection):
    """A SQLite connection that is closed when nothing refers to it any more, for example when its thread ends."""

    def __del__(self):
        with contextlib.suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


class ThreadConnection(threading.local):
    """A thread's connection to a SQLite database, and which file that is, to reconnect if it was replaced."""

    connection: sqlite3.Connection
    identity: tuple | None = None  # of the file that it has open
    modified = 0  # when that file was last written, in ns since 1970
    trace: Callable[[str], None] | None = None


class Transaction:
    """A `with` block that is one transaction. An exception rolls it back. lock_type: as for Store.transaction."""

    def __init__(self, store: "Store", lock_type: str):
        self.store, self.lock_type, self.begin = store, lock_type, f"BEGIN {lock_type}"

    def __enter__(self):
        if self.store.connect().in_transaction:  # SQLite would say so, too, but a gate may never open
            raise peewee.OperationalError("cannot start a transaction within a transaction")
        if gate := self.store.gates.get(self.lock_type):
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
    """A SQLite database, with one connection for each thread. A missing file is an error; StateStore creates it."""

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
        """Call `report` with the SQL, without values, of each statement that this thread runs. None stops that."""
        self.opened.trace = report

    def connect(self) -> sqlite3.Connection:
        """Return this thread's connection. Open a new one if there is none, or if the database file was replaced."""
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
        opened.modified = status.st_mtime_ns
        return opened.connection

    def missing(self, error: Exception) -> os.stat_result:
        """Raise CannotOpen for a missing file. A subclass may create it, and return os.stat(). error: of os.stat()."""
        raise CannotOpen(error) from None

    def before_opening(self):
        """Do nothing. A subclass may prepare the database file here, before it is opened."""

    def after_opening(self):
        """Do nothing. A subclass may prepare the database here, after it was opened."""

    def identity(self) -> object:
        """Open the database, and return a value that changes when its file is replaced by another one."""
        self.connect()
        return self.opened.identity

    def last_write(self) -> object:
        """Open the database, and return a value that changes when its file is written, or None if that is unknown."""
        self.connect()
        return self.opened.identity, self.opened.modified

    def close(self):
        """Close this thread's connection."""
        self.database.close()
        self.opened.identity = None

    def transaction(self, lock_type: str = "IMMEDIATE") -> contextlib.AbstractContextManager:
        """Return a `with` block's transaction. lock_type: "IMMEDIATE" if it may write, "DEFERRED" if it only reads."""
        return self.transactions[lock_type]

    def run_with_retry(self, work: Callable):
        """Return work(), which runs one transaction. The subclass ServerStore repeats it if it was rolled back."""
        return work()

    def make_room(self):
        """Do nothing. A subclass may free disk space here, when a write failed because the disk is full."""

    def next(self, column: peewee.Field) -> int:
        """Return the next number for an AUTOINCREMENT column: the highest so far, even of deleted rows, plus one."""
        return (self.value(LAST_GIVEN, table=column.model._meta.table_name) or 0) + 1

    def release(self):
        """Do nothing. ServerStore gives this thread's connection back to its pool."""

    def compile(self, query: PreparedQuery | peewee.Node) -> Statement:
        """Return a query's SQL, and a function that turns {name: value} into the list of the SQL's parameters. This
        is None if the SQL has none. A prepared query is compiled only once."""
        if isinstance(query, PreparedQuery):
            query.compiled[self.dialect] = query.compiled.get(self.dialect) or self.compile(query.query)
            return query.compiled[self.dialect]
        sql, parameters = self.database.get_sql_context().sql(query).query()
        return sql, binder(parameters)

    def execute(self, query, **values) -> sqlite3.Cursor:
        """Run a query and return the cursor. values: the parameters of a prepared query, such as user="bob"."""
        sql, bind = self.compile(query)
        return self.run(sql, bind(values) if bind else ())

    def run(self, sql: str, parameters: Sequence = ()) -> sqlite3.Cursor:
        """Run one SQL statement and return the cursor. Raise exceptions of peewee in place of those of sqlite3."""
        opened = self.opened
        if opened.trace:
            opened.trace(sql)
        try:  # sqlite3 itself: peewee's own way takes as long as a small query
            return opened.connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise as_peewee(error) from error

    def execute_many(self, query: PreparedQuery, rows: list[dict]):
        """Run a prepared query once for each dictionary of parameters in `rows`, for example to insert many rows."""
        sql, bind = self.compile(query)
        if self.opened.trace:
            self.opened.trace(sql)
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            self.opened.connection.executemany(sql, map(bind, rows) if bind else [()] * len(rows))

    def fetch(self, query, values: dict) -> tuple[sqlite3.Cursor, list]:
        """Run a query. Return the cursor, in which `description` has the column names, and a list of all rows."""
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
        """Run a query outside of a transaction and return its rows as tuples. Connect first if necessary."""
        self.connect()
        return self.fetch(query, values)[1]

    def rows(self, query, **values) -> list[dict]:
        """Run a query and return its rows as dictionaries, keyed by column name."""
        cursor, tuples = self.fetch(query, values)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row)) for row in tuples]
        for row in rows if isinstance(query, PreparedQuery) and query.nested else ():
            row |= {name: json.loads(row[name]) for name in query.nested}
        return rows

    def one(self, query, **values) -> dict | None:
        """Run a query and return its first row as a dictionary, or None if there is no row."""
        return next(iter(self.rows(query, **values)), None)

    def column(self, query, **values) -> list:
        """Run a query and return the values in the first column of its rows."""
        return [row[0] for row in self.fetch(query, values)[1]]

    def value(self, query, **values):
        """Run a query and return the value in the first column of its first row, or None if there is no row."""
        return next(iter(self.column(query, **values)), None)


def open_store(database: str, schema: str | None = None) -> Store:
    """Return the Store for the path of a SQLite file or a mysql:// URL. schema: the SQL that creates the tables of a
    state database (sessions, audit); None for a master database (users, addresses), which must exist."""
    if is_url(database):
        return load_part("mariadb.store").ServerStore(database, schema)
    return Store(database) if schema is None else load_part("state.store").StateStore(database, schema)


def repeated(method: Callable) -> Callable:
    """Decorate a method that runs one transaction on `self.store`. After TransactionRolledBack it is called again."""

    @wraps(method)
    def repeating(self, *args, **named):
        return self.store.run_with_retry(partial(method, self, *args, **named))

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
    """The user who sent a request, and the user's permissions at that time. user_name: None on the command line."""

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
        found = self.db.column(DELEGATED_EXPRESSIONS, user=self.user_name) if self.delegate else []
        return [each for each in found if isinstance(each, str)]  # a BLOB equals no text, as in SQL

    def may_act_for(self, user_name: str) -> bool:
        """Return whether the caller may manage a user: as an admin, or as a delegate of that user."""
        return self.admin or user_name in self.delegated_users

    def may_manage(self, expression: str) -> bool:
        """Return whether the caller, an admin or delegate, may manage a pattern like "%@a.org" (docs/wire.md F09)."""
        return self.admin or any(covers(given, expression) for given in self.delegated_expressions)


def covers(given: str, expression: str) -> bool:
    """Return whether the LIKE pattern `given` matches every address that `expression` matches (docs/wire.md F39)."""
    if len(expression) > LONGEST or len(given.replace("%", "")) > len(expression):
        return False
    return covering(given).fullmatch(expression) is not None


@lru_cache(maxsize=10_000)
def covering(given: str) -> re.Pattern:
    # Each text between two % is matched at its first occurrence (an atomic group), so that matching stays linear.
    first, *others = ["".join("[^%]" if c == "_" else re.escape(c) for c in run) for run in given.split("%")]
    middle = "".join(f"(?>.*?{run})" for run in others[:-1] if run)
    last = f".*{others[-1]}" if others else ""
    return re.compile(first + middle + last, re.DOTALL | re.IGNORECASE | re.ASCII)


@dataclasses.dataclass(frozen=True)
class Rule:
    """An access rule: `test(call)` tells if the caller may run the action, and `refusal` is the answer if not."""

    description: str
    test: Callable[["Call"], bool]
    refusal: str = "Not allowed."
    of_fields: bool = True  # the test needs the request's fields, not only the caller

    def otherwise(self, refusal: str) -> "Rule":
        return dataclasses.replace(self, refusal=refusal)


anyone = Rule("anyone logged in", lambda call: True, of_fields=False)
nobody = Rule("nobody", lambda call: False, of_fields=False)
admin = Rule("admin", lambda call: call.caller.admin, of_fields=False)
admin_or_delegate = Rule(
    "admin or delegate", lambda call: call.caller.admin or call.caller.delegate, of_fields=False
)


def delegate_of(field: str, missing: Rule = nobody) -> Rule:
    """Return a Rule that admits admins, and delegates of the user whose name is in the request's field `field`.
    If the field is empty, the rule `missing` decides."""
    return user_rule(field, f"admin, or delegate of {field}", missing, Caller.may_act_for)


def owner_or_delegate(field: str, missing: Rule = nobody) -> Rule:
    """Return a Rule that admits admins, the user whose name is in the request's field `field`, and this user's
    delegates. If the field is empty, the rule `missing` decides."""

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
    """Return a Rule that admits admins, and delegates of the address pattern in the request's field `field`."""
    description = f"admin, or delegate of the expression in {field}"
    return Rule(description, lambda call: call.caller.may_manage(call.body.get(field) or ""))


########## Modules #################################################################################


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """The declaration of an action of the API: its fields, who may call it, and how it runs."""

    name: str
    action: Callable
    allow: tuple[Rule, ...]  # checked in this order, each with its refusal
    # Field → the `status` if it is empty, checked in this order; or schema version → such a mapping.
    required: dict = dataclasses.field(default_factory=dict)
    # Field → its field type; required fields that are not here are php_text.
    optional: dict[str, Callable] = dataclasses.field(default_factory=dict)
    validators: Sequence[Callable] = ()  # raise ApiError; run after `required`, before `allow`
    query: dict[str, Callable] = dataclasses.field(default_factory=dict)  # query key → its field type
    read_only: bool = False  # the action changes nothing
    manages_transactions: bool = False  # it begins transactions itself, as it waits for other servers
    max_body: int | str = 0  # bytes of a request's body, or a key of the config; 0: the config's max_body
    # Parses a body of more than SMALL_BODY; its arguments are the body and the config's max_body.
    read_body: Callable[[bytes, int], dict] = lambda raw, usual: read_object(raw)
    prepare: Callable | None = None  # called with module and call before the transaction
    # Called with module, call and answer after the commit, for work that takes time; returns the answer.
    after_commit: Callable | None = None
    download: bool = False  # returns a File; its fields may come in the query, too, as in a link
    # Required field → its values that the audit may record, None: any value; made from Module.identifiers.
    identifiers: dict[str, Sequence[str] | None] = dataclasses.field(default_factory=dict)

    def needed(self, generation: Generation) -> dict[str, str]:
        return self.required.get(generation.number, self.required)

    def fields(self, generation: Generation) -> dict[str, Callable]:
        return dict.fromkeys(self.needed(generation), php_text) | self.optional

    def read(self, generation: Generation, body: dict, query: dict) -> tuple[dict, dict]:
        """Convert a request's values to the types of this action's fields. Return those of `body` and of the URL's
        `query`, such as ({"user_name": "bob"}, {"limit": 10}). generation: the database's schema version."""
        if not body and not self.download and self.query.keys().isdisjoint(query):
            return {}, {}
        fields = self.fields(generation)
        asked = [*self.query, *(fields if self.download else ())]
        refuse_forbidden_text({name: query[name] for name in asked if name in query})
        return read_fields(query | body if self.download else body, fields), read_fields(query, self.query)

    def run(self, module: "Module", call: "Call") -> dict:
        """Check fields and access of a request, `call`. Run the action and return its result. ApiError if refused."""
        if call.restriction:
            call.restriction(module, self)
        for field, sentence in self.needed(call.generation).items() if self.required else ():
            if empty(call.body.get(field)):
                raise ApiError(call.in_generation(sentence), code="missing_field", field=field)
        for validate in self.validators:
            validate(call)
        for rule in self.allow:
            if not rule.test(call):
                raise ApiError(call.in_generation(rule.refusal), code="not_allowed")
        return self.action(module, call) or {}


def body_limit(declared: int | str, config: Config) -> int:
    """Return the most bytes of a request body. declared: a number, or the name of a setting; 0: config.max_body."""
    return (getattr(config, declared) if isinstance(declared, str) else declared) or config.max_body


def endpoint(*, allow, **declared):
    """Decorate a method of a Module to make it an action of the API. allow: a Rule, or a tuple of rules that must
    all admit the caller. declared: further attributes of Endpoint, such as read_only=True."""
    rules = allow if isinstance(allow, tuple) else (allow,)
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError("allow takes one or more of the access rules")

    def declare(action):
        action.endpoint = Endpoint(action.__name__.rstrip("_"), action, rules, **declared)
        return action

    return declare


class Active:
    """The users who are active in a module: those in the columns `fields` of its rows that match `where`."""

    def __init__(self, *fields: peewee.Field, where=None):
        rows = [field.model.select(field) for field in fields]
        self.rows = [query if where is None else query.where(where) for query in rows]
        self.where_user = where if fields[0] is Users.user_name else None  # can be tested on a row of users


class Module:
    """A part of the API at one URL path, such as users/. Its actions are its methods with the decorator @endpoint."""

    endpoints: dict[str, Endpoint] = {}
    # For users/?get: the users who have rows in the module's tables; or schema version → such an Active.
    active: "Active | dict[int, Active] | None" = None
    description: object = None  # words for fields and shapes of answers (modules/openapi/description.py)
    # For `mailapi check`: sentence → query for rows that harm the mail daemons; selects what identifies a row.
    dangerous_rows: dict = {}
    path = ""  # in the URL, such as "users"
    generations: tuple = tuple(GENERATIONS)  # the schema versions that it supports
    # Schema version → (class name, file) of the module that replaces this one; its file is in the same folder.
    stand_ins: dict[int, tuple[str, str]] = {}

    # The permissions in api_access that the module checks, besides admin and delegate; or permission → what it is for.
    permissions: tuple[str, ...] | dict[str, str] = ()
    # Fields that name what an action is about, such as user_name: the audit records those that an action requires.
    # As a mapping: field → the only values that the audit records; None: any value.
    identifiers: tuple[str, ...] | dict[str, Sequence[str] | None] = ()

    # SQL that creates the module's tables in the state database: CREATE … IF NOT EXISTS.
    state_schema = ""
    # First segments of URL paths, such as "dav": the module answers HTTP requests below them itself, by `mount`.
    mounts: tuple[str, ...] = ()
    mount_max_body: int | str = 0  # like an endpoint's max_body, for the requests that `mount` answers

    def __init__(self, app: "Application", name: str = ""):
        self.app, self.name = app, name

    def on_request(self, event):
        """Take note of a finished request. event: see http/event.py. Not called for successful reads in a session."""

    def on_user_deleted(self, user_name: str):
        """Delete what this module stores about a deleted user, so that a later user of that name does not get it."""

    def has_rows_of(self, user_name: str) -> bool:
        """Return whether the module has data under this user name. Delegates must not get it by adding such a user."""
        return False

    def bearer(self, call: "Call", token: str, address: str) -> "Bearer | None":
        """Return the owner of a bearer token, or None if this module did not issue it. address: the client's IP."""

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """Return {"user_name": …, "user_authdata": …} if another database decides about a user's log-in, else None.
        It replaces the user's row of `users`. An optional "verify" is used in place of verify(password, authdata).
        logging_in: True if the request has a password, False if it has a session or token."""

    def on_login(self, call: "Call", password: str):
        """React to a successful log-in with a password, for example create what the user lacks."""

    def on_user_change(
        self, call: "Call", change: str, user_name: str, password: str | None
    ) -> "Participant | None":
        """Prepare a user's "add", "delete" or "set_password" in another database. Return a Participant to commit it,
        or None if there is nothing to do. Raise ApiError to refuse the change."""

    def external_users(self, user_name: str | None = None) -> list[dict]:
        """Return the users in another database, or only `user_name`: [{"user_name": "bob", "user_login": 1}]."""
        return []

    def check(self, repair: bool) -> Iterable[tuple[bool | None, str]]:
        """Check the module's data for `mailapi check`. If `repair` is True, also correct it. Yield (True, sentence)
        for good data, (False, sentence) for an error, and (None, sentence) for a warning."""
        return ()

    def mount(self, handler: "RequestHandler", path: str) -> bottle.HTTPResponse:
        """Answer an HTTP request for a URL path below one of `mounts`. path: "bob/cal/" for the URL path /dav/bob/cal/."""
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
        """Return the action whose name is a key of the URL's query, as in users/?add, or None. The first one wins."""
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
    """The actions at the URL path /, such as `/?get_modules`. They belong to no configured module."""

    @endpoint(allow=anyone, read_only=True)
    def get_modules(self, call):
        """Return the names of the configured modules, in the order of modulelist."""
        return {"modules": list(self.app.config.modulelist)}


def module_name(path: str) -> str:
    """Return the name of the module in a URL path: "users" for "users", "users/" and "users/index.php"."""
    name = path.removesuffix("/")
    return "" if name == "index.php" else name.removesuffix("/index.php")


def load_modules(app: "Application") -> dict[str, Module]:
    """Load the modules in the setting modulelist, and return {URL path: module}. The path of users.py is "users"."""
    modules: dict[str, Module] = {"": Root(app)}
    modules[""].description = load_part("answers.root").DESCRIPTION
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
    """Return the path of a module's `file`, in the folder `base` or as installed. ConfigError if it is missing."""
    for path in (base / file, HERE / file):
        if path.is_file():
            return path.resolve()
    installed = find_installed(Path(file).name)
    if installed and installed.origin:
        return Path(installed.origin).with_suffix(".py")
    raise ConfigError(f"modulelist: the file of {name} is missing: {base / file}.")


def find_installed(file: str) -> ModuleSpec | None:
    """Return the import spec of a file that is one of mailapi's own modules, such as "users.py", else None."""
    name, _, ending = file.partition(".")
    spec = PathFinder.find_spec(f"mailapi_modules.{name}", sys.modules["mailapi_modules"].__path__)
    return spec if spec and spec.has_location and ending == "py" else None  # folders have no location


def load_class(name: str, path: Path) -> type[Module]:
    """Import a Python file and return the subclass of Module with this name. ConfigError if that fails."""
    try:
        found = getattr(load_file(path), name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"modulelist: {path} cannot be loaded: {cause(error)}.") from error
    if not isinstance(found, type) or not issubclass(found, Module):
        raise ConfigError(f"modulelist: {path} does not define a Module class {name}.")
    return found


def load_file(path: Path):
    """Import a Python file and return it as a module. Its module name differs from all others."""
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
NO_SUCH_USER = "0" * 32, "0" * 64  # salt and hash for unknown users, checked in the same time as real ones


def sha256(value: str | bytes) -> str:
    """Return the SHA-256 of text or bytes as hexadecimal digits."""
    return hashlib.sha256(value if isinstance(value, bytes) else value.encode()).hexdigest()


def make_authdata(password: str | None) -> str | None:
    """Hash a password for storing, as SALT:HASH (docs/wire.md F28). Return None if the password is empty or None."""
    if not password:
        return None
    salt = secrets.token_hex(16)
    return f"{salt}:{sha256(salt + password)}"


def verify(password: str, authdata: str | bytes | None) -> bool:
    """Return whether a password matches the stored SALT:HASH, in equal time if none is stored (docs/wire.md F18)."""
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
    """A call of an action: the request's fields, the caller, and the database to act on."""

    encodes = False  # the answer goes out as JSON
    warns = False  # the client reads warnings that the original API does not know
    user_name: str | None = None  # None: the command line, used by somebody who can read the database
    session = ""  # its id
    password: str | None = None  # as sent and verified, for other servers that check it; stored nowhere
    claimed_name: str | None = None  # the user name of a log-in that may have failed
    # Raises ApiError if the caller's token does not permit an action.
    restriction: Callable[[Module, Endpoint], None] | None = None
    caller: Caller  # set by `identify`
    identified = False
    authdata: str | None = None  # the caller's user_authdata, as read with the permissions
    refused_wait = ""  # for the audit: which wait refused the log-in
    unchanged = False  # set by an action that may change something where there was nothing to change
    external_user: dict | None = None  # credentials from another database, in place of the row of `users`

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
        """Forget which users this request has changed, before its transaction runs or is repeated."""
        self.new_authdata, self.deleted_users, self.participants = {}, [], []

    def identify(self):
        """Set `caller`, with its permissions as of this transaction. LoginRefused if the log-in is no longer valid."""
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
        self.caller = Caller(self.db, self.user_name, [row[3] for row in rows if isinstance(row[3], str)])

    def in_generation(self, sentence: str) -> str:
        return self.generation.in_generation(sentence)

    def enlist(self, change: str, user_name: str, password: str | None = None):
        """Prepare a user's "add", "delete" or "set_password" in modules' databases, to commit with the transaction."""
        for module in self.app.listeners["on_user_change"]:
            if participant := module.on_user_change(self, change, user_name, password):
                self.participants.append(participant)
                if self.new_authdata.get(user_name):
                    self.new_authdata[user_name] = participant.authdata

    def end_participants(self, committed: bool | None):
        """Commit what `enlist` prepared if `committed` is True, roll it back if False, leave it prepared if None."""
        for participant in self.participants:
            if committed:
                participant.commit()
            elif committed is None:
                participant.leave()
            else:
                participant.rollback()


def refuse_unless(test: Callable, refusal: LoginRefused) -> Callable[[dict | None], None]:
    """Return a function that takes a user's database row or None, and raises `refusal` unless test(row) is true."""

    def check_identity(user):
        if not test(user):
            raise refusal

    return check_identity


def fits_hash(user: dict | None, hashed: str) -> bool:
    """Return whether `hashed` is the SHA-256 of a user's stored password. user: the row of `users`, or None."""
    authdata = user["user_authdata"] if user else None
    return sha256(authdata) == hashed if authdata else False


class Participant:
    """A change that is prepared in another database, to commit or roll back with the master database's transaction."""

    authdata: str | None = None  # the user's authdata from now on, for their sessions

    def commit(self):
        """Commit the prepared change, because the master database has committed. Log errors; raise nothing."""

    def rollback(self):
        """Roll the prepared change back, because the master database has rolled back. Log errors; raise nothing."""

    def leave(self):
        """Leave the change prepared, because it is unknown if the master database has committed. Raises nothing."""


@dataclasses.dataclass
class Bearer:
    """The owner of a bearer token, and a function that raises ApiError for actions which the token does not permit."""

    user_name: str
    via: str  # the token's name in the audit
    refuse: Callable[[Module, Endpoint], None]  # raises ApiError for what the token may not do
    authdata_hash: str  # of the owner's stored password when the token was made: another password ends it


########## Application #############################################################################


class Application:
    """The WSGI application for one master database (users, addresses). A process can have several."""

    def __init__(self, config: Config):
        self.config = config
        self.db = open_store(config.dbpath)
        self.generation_read: tuple = None, None  # Store.last_write() before it was read, and the Generation
        self.modules = load_modules(self)
        self.credential_providers = self.implementers("external_credentials")
        hooks = ("on_request", "on_login", "on_user_deleted", "on_user_change")
        self.listeners = {hook: self.implementers(hook) for hook in hooks}
        self.addresses = load_part("http.addresses")
        self.proxies = self.addresses.read_proxies(config.trusted_proxies)
        self.cookies = load_part("http.cookies").Cookies(self.proxies)
        sessions, throttle = load_part("state.sessions"), load_part("state.throttle")
        schemas = [load_part("state.session_rows").STATE_SCHEMA, throttle.STATE_SCHEMA]
        self.state_schema = "".join(schemas + [module.state_schema for module in self.modules.values()])
        self.state = open_store(config.state, self.state_schema)
        self.has_pools = is_url(config.dbpath) or is_url(config.state)
        self.sessions = sessions.Sessions(self.state, config.session_lifetime)
        self.throttle = throttle.LoginThrottle(self.state, config.free_attempts)
        self.bodies, self.event_type = load_part("http.bodies"), load_part("http.event").Event
        self.large_bodies = self.bodies.SharedLimit(config.max_bodies)
        self.mounts = {first: module for module in self.modules.values() for first in module.mounts}
        # Paths without a slash that belong to the second wire (docs/wire.md section 9).
        self.second_paths = {"openapi.json", *self.modules[""].endpoints} - self.modules.keys()
        load_part("state.log_file").install(config)
        self.bottle = bottle.Bottle()
        self.bottle.catchall = False  # Bottle would answer in HTML
        self.bottle.route("/<path:re:[\\s\\S]*>", "ANY", self.serve, skip=True)  # no plug-ins

    def implementers(self, hook: str) -> list[Module]:
        """Return the modules that override the method `hook` of Module, such as "on_login"."""
        return [m for m in self.modules.values() if getattr(type(m), hook) is not getattr(Module, hook)]

    def listed(self) -> dict[str, Module]:
        """Return the modules in the setting modulelist, in its order: {"User": module, "Address": module, …}."""
        return {module.name: module for module in self.modules.values() if module.name}

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode(errors="replace")
        path = path.removeprefix("/")  # `OPTIONS *` has none
        environ["PATH_INFO"] = "/" + path.encode().decode("latin-1")  # Bottle leaves out what is not UTF-8

        def start(status, headers, exc_info=None):
            # Status and headers do not pass through bottle.response, which would take as long as the whole request.
            return start_response(*environ.pop("mailapi.head", (status, headers)), exc_info)

        try:
            return self.bottle(environ, start)
        except Exception:  # for example, a module's answer cannot be encoded as JSON
            log_exception(f"{printable(path[:200]) or '/'} failed")
            return answer_500(start_response, INTERNAL_ERROR)
        finally:
            if self.has_pools:
                self.release()

    def serve(self, path: str) -> bytes | Iterable[bytes] | bottle.HTTPResponse:
        """Answer the HTTP request that Bottle is handling. path: the URL path without the leading slash."""
        first, _, below = path.partition("/")
        second = below and below != "index.php" and below[-1] != "/" and first not in self.mounts
        handler, environ = RequestHandler, bottle.request.environ
        if second or path in self.second_paths:
            handler = load_part("http.second_wire").SecondWireHandler
        elif not path and "text/html" in environ.get("HTTP_ACCEPT", ""):
            handler = load_part("http.home").handler_for(environ)
        return handler(self, environ, path).respond()

    def release(self):
        """Return this thread's database connections to their pools. Call it after a request and before a long wait."""
        self.db.release()
        self.state.release()

    def module(self, path: str, generation: Generation) -> Module:
        """Return the module for a URL path. ApiError (HTTP 404) if the schema version `generation` has none."""
        module = self.modules.get(path.removesuffix("/")) or self.modules.get(module_name(path))
        if module is None or generation.number not in module.generations:
            self.check_generation(generation)
            raise ApiError(f"Unknown module {module_name(path)}.", http=404, code="unknown_module")
        return module

    def body_limit(self, path: str, query_string: str) -> int:
        """Return the most bytes that the body of a request to this URL may have. HTTP servers call it first."""
        declared = self.bodies.declared_limit(self, path.removeprefix("/"), query_string)
        return body_limit(declared, self.config)

    ##### The generation of the master database

    def generation(self) -> Generation:
        """Return the master database's schema version, 8 or 9. Raise SchemaMismatch if it is another."""
        try:
            # A write to a WAL does not show here: therefore `Call.identify` compares the version, too.
            last_write = self.db.last_write()
            if last_write is None or last_write != self.generation_read[0]:
                self.generation_read = last_write, self.read_generation()
        except peewee.PeeweeException as error:
            if is_busy(error):
                raise
            raise ApiError(f"The database cannot be opened: {error}.", http=500, code="database") from None
        return self.generation_read[1]

    def read_generation(self) -> Generation:
        rows = self.db.read(SCHEMA_VERSION)
        version = rows[0][0] if rows else None
        if version not in GENERATIONS_BY_VERSION:
            raise SchemaMismatch(number(version))
        return GENERATIONS_BY_VERSION[version]

    def check_generation(self, expected: Generation):
        """Raise ApiError (HTTP 503) if the master database does not have the schema version `expected` any more."""
        self.generation_read = None, None
        if self.generation() is not expected:
            raise ApiError("The database has been migrated. Try again.", http=503, retry_after=1)

    ##### Transactions: each one on the master database begins and ends here

    def perform(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """Check the caller, run the action `chosen` (None: only log in), and return the answer's members or a File."""
        if chosen and chosen.manages_transactions:
            call.reset_changes()
            self.identify(call)
            self.release()
            return chosen.run(module, call)
        if chosen and chosen.prepare:
            chosen.prepare(module, call)
        run: Callable = self.run_write if chosen and not chosen.read_only else self.run_read
        added = self.db.run_with_retry(partial(run, call, module, chosen))
        if chosen and chosen.after_commit:
            self.release()
            return chosen.after_commit(module, call, added)
        return added

    def identify(self, call: Call):
        """Set `call.caller` in a transaction of its own, for an action that begins its transactions itself."""
        with self.db.transaction("DEFERRED"):
            call.identify()

    def run_read(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """Run a read-only action in a transaction and return its result, or {} if `chosen` is None (only log in)."""
        with self.db.transaction("DEFERRED"):
            call.identify()
            return chosen.run(module, call) if chosen else {}

    def run_write(self, call: Call, module: Module, chosen: Endpoint) -> dict:
        """Run an action in one transaction, commit its changes in other databases, too, and return its result."""
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
        """Return whether the master database has no user of this name. False if it cannot be read."""
        with contextlib.suppress(ApiError, peewee.PeeweeException):
            self.db.connect()
            return self.db.one(CREDENTIALS_OF, user=user_name) is None
        return False

    def end_sessions(self, call: Call):
        """End the other sessions of users with a password changed by `call`, and tell modules of deleted users."""
        try:
            for user_name, authdata in call.new_authdata.items():
                own = user_name == call.user_name and authdata
                self.sessions.end_others(user_name, but=call.session if own else "")
        except ApiError as error:  # no session fits the new password anyway
            log.warning("%s", error.status)
        self.notify_deleted(call.deleted_users)

    def notify_deleted(self, user_names: Sequence[str]):
        """Have all modules delete what they store about these deleted users."""
        for user_name in user_names:
            for module in self.listeners["on_user_deleted"]:
                work = partial(self.state.run_with_retry, partial(module.on_user_deleted, user_name))
                self.take_note(module, partial(self.db.run_with_retry, work))

    def notify(self, hook: str, *args):
        """Call the method `hook`, such as "on_request", with `args` in each module that has it. Log exceptions."""
        for module in self.listeners[hook]:
            self.take_note(module, partial(getattr(module, hook), *args))

    def take_note(self, module: Module, work: Callable[[], object]):
        """Call work(), which tells a module about a committed change. Log exceptions instead of raising them."""
        try:
            work()
        except ApiError as error:
            log.warning("%s failed to take note: %s", module.name, error.status)
        except Exception:
            log_exception(f"{module.name} failed to take note")

    ##### Credentials

    def external_credentials(self, user_name: str, logging_in: bool = False) -> dict | None:
        """Return {"user_name": …, "user_authdata": …} if a module has the user in another database, else None."""
        for module in self.credential_providers:
            if (row := module.external_credentials(user_name, logging_in)) is not None:
                return row
        return None

    def credentials(self, user_name: str) -> dict | None:
        """Return a user's {"user_name": …, "user_authdata": …}: from a module with the user in another database, else
        from the table `users`. Return None if there is no such user."""
        return self.external_credentials(user_name) or self.db.one(CREDENTIALS_OF, user=user_name)


def create_app(config: str | os.PathLike | Mapping) -> Application:
    """Return the WSGI application for the path of a config.py, or for a mapping of its keys. ConfigError if the
    settings are invalid or a module cannot be loaded. The databases are opened by the first request."""
    return Application(read_config(config))


def answer_500(start_response, sentence: str) -> list[bytes]:
    """Return a WSGI answer with HTTP 500 and {"status": sentence}, for a request that could not be processed."""
    start_response("500 Internal Server Error", [("Content-Type", "application/json")])
    return [encode({"status": sentence})]


@lru_cache(maxsize=1)
def default_application() -> Application:
    return create_app(os.environ.get("MAILAPI_CONFIG", "config.py"))


def application(environ, start_response):
    """Answer a WSGI request. The config is read once, from the path in MAILAPI_CONFIG (default: config.py)."""
    try:
        app = default_application()
    except ConfigError as error:
        log.error("%s", error)
        return answer_500(start_response, NOT_CONFIGURED)
    return app(environ, start_response)


########## Requests ################################################################################
# In the order of the methods: the answer, the URL, the body, the log-in, the fields, the action.


class RequestHandler:
    """Handles one HTTP request to the API (docs/wire.md sections 1 and 2). `respond` returns the answer."""

    callback: str | None = None
    call: Call | None = None
    module: Module | None = None
    chosen: Endpoint | None = None
    file: File | None = None
    via = ""  # how the caller was authenticated, for the audit
    refused: ApiError | None = None  # the refusal whose sentence is the answer's status
    mounted_response: bottle.HTTPResponse | None = None  # the whole answer, made by a module
    parse = staticmethod(read_object)

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
        """Return the client's IP address; behind a trusted proxy, the address that the proxy reports."""
        return self.app.addresses.client_address(self.environ, self.app.proxies)

    def respond(self) -> bytes | Iterable[bytes] | bottle.HTTPResponse:
        """Answer the request. Return the body, and put the status and headers into environ["mailapi.head"]."""
        try:
            answer, http = self.outcome()
        finally:
            if self.reserved:
                self.app.large_bodies.give_back(self.reserved)
        only_read = self.chosen and (self.chosen.read_only or self.call and self.call.unchanged)
        if not only_read or self.via != "session" or answer["status"] != "ok":
            self.app.db.release()  # what follows may wait for the state database
            self.report(self.refused.audit if self.refused else answer["status"], http)
        if self.mounted_response is not None:
            return self.mounted_response
        if self.app.config.debug:
            code = load_part("openapi.codes").code_of(self.refused)
            answer.setdefault("code", RawJSON(f'"{code}"'.encode()))  # the last key
        payload = self.file.content if self.file else encode(answer)
        if self.callback and not self.file:
            payload = load_part("http.jsonp").jsonp(self.callback, payload.decode()).encode()
        content_type = "application/javascript" if self.callback else "application/json"
        self.headers += self.file.headers() if self.file else [("Content-Type", content_type)]
        self.headers.append(("Content-Length", str(len(payload))))
        if self.app.config.cors_origin:
            self.headers.append(("Access-Control-Allow-Origin", self.app.config.cors_origin))
        self.headers.append(("Cache-Control", "no-store"))
        self.environ["mailapi.head"] = f"{http} {bottle.HTTP_CODES[http]}", self.headers
        was_read = "mailapi.body_read" in self.environ
        return payload if was_read else self.app.bodies.Unread(payload, self.environ)

    def outcome(self) -> tuple[dict, int]:
        """Process the request. Return the answer's JSON object and the HTTP status. Exceptions become answers."""
        try:
            return self.process(), 200 if self.mounted_response is None else self.mounted_response.status_code
        except SchemaMismatch as mismatch:
            self.refused = mismatch
            return {"status": mismatch.status} | mismatch.answer, 200
        except ApiError as error:
            problem = error.bare()
        except peewee.PeeweeException as error:
            problem = refusal(error)
        except Exception:
            log_exception(f"{printable(self.path[:200]) or '/'} failed")
            problem = ApiError(INTERNAL_ERROR, http=500)
        self.refused = problem
        if problem.retry_after:
            self.headers.append(("Retry-After", str(problem.retry_after)))
        return self.frame | {"status": problem.status} | problem.answer, problem.http

    def report(self, status: str, http: int):
        """Tell modules that the request has ended. status: the answer's sentence. http: the HTTP status."""
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
            self.callback = load_part("http.jsonp").requested_callback(self, query["callback"])
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
            return load_part("http.log_out").log_out(self, call)
        self.log_in(call, auth)
        if chosen and not chosen.read_only:
            self.refuse_change_by_link()
        unread = [body]
        del body  # so that an action can free a large field that it has read
        return self.act(call, module, unread, auth, query)

    def admit(self, module: Module, read_only: bool) -> Call:
        """Log in the caller of a request to a mount, by HTTP Basic or token. Return its Call. ApiError on failure."""
        return load_part("http.mounts").admit(self, module, read_only)

    ##### The body

    def read_body(self, chosen: Endpoint | None) -> tuple[dict | bytes, dict | None]:
        """Return the body's JSON object, or its bytes if it is large, and the object's member `auth` or None."""
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
        body = self.parse(raw)
        if auth := body.get("auth"):
            refuse_forbidden_text({"auth": auth})
        return body, auth

    ##### The log-in

    def log_in(self, call: Call, auth: dict | None):
        """Authenticate the caller: by password if `auth` has a user name, else by bearer token or session cookie."""
        given = auth and read_fields({"auth": auth}, AUTH)["auth"] or {}
        scheme, _, bearer = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if given.get("user_name"):
            self.check_password(call, given["user_name"], given["password"])
        elif scheme.lower() == "bearer":
            self.use_token(call, bearer.strip())
        else:
            self.use_session(call)

    def check_password(self, call: Call, user_name: str, given: str | None, remember: bool = True):
        """Set call.user_name if the password `given` is right; LoginRefused if not. remember: begin a session, too."""
        self.via, call.claimed_name = "password", user_name
        if not given:
            raise LoginRefused("Password is not set!", "wrong_credentials")
        call.external_user = self.app.external_credentials(user_name, logging_in=True)
        rows = () if call.external_user else self.app.db.read(CREDENTIALS_OF, user=user_name)
        user = call.external_user or {"user_authdata": rows[0][1] if rows else None}
        authdata = user["user_authdata"]
        fits = partial(user.get("verify", verify), given, authdata)
        wrong = LoginRefused("Username or password is wrong.", "wrong_credentials")
        try:
            if not self.app.throttle.attempt(user_name, self.client, fits):
                raise wrong
        except TooManyFailures as early:
            call.refused_wait = early.wait
            raise
        call.user_name, call.password = user_name, given
        call.check_identity = refuse_unless(lambda user: user and user["user_authdata"] == authdata, wrong)
        if remember:
            self.begin_session(call, authdata)
        self.app.notify("on_login", call, given)

    def begin_session(self, call: Call, authdata: str):
        """Begin a session, set its cookie, and end the request's session. authdata: the user's stored password."""
        cookies, environ = self.app.cookies, self.environ
        call.session = self.app.sessions.begin(call.user_name, authdata, cookies.read(environ))
        if not cookies.is_cross_site(environ):
            self.headers.append(cookies.header(environ, call.session))

    def use_token(self, call: Call, bearer: str):
        """Authenticate the owner of a bearer token, or raise LoginRefused. The token may permit only some actions."""
        self.via, refusal = "token", LoginRefused("Token is not valid.", "invalid_token")
        for module in self.app.modules.values():
            if found := module.bearer(call, bearer, self.client):
                self.via, call.user_name, call.restriction = found.via, found.user_name, found.refuse
                call.external_user = self.app.external_credentials(call.user_name)
                # A user who may not log in, or has another password now, can do nothing by token.
                fits = partial(fits_hash, hashed=found.authdata_hash)
                call.check_identity = refuse_unless(fits, refusal)
                return
        raise refusal

    def use_session(self, call: Call):
        """Authenticate the caller by the request's session cookie, or raise LoginRefused."""
        sessions, self.via, token = self.app.sessions, "session", self.app.cookies.read(self.environ)
        session = token and sessions.find(token)
        if not session:
            raise LoginRefused("Username is not set!")
        call.user_name, call.session = session.user_name, token
        call.external_user = self.app.external_credentials(call.user_name)
        call.check_identity = partial(sessions.check, session, token)

    def refuse_change_by_link(self):
        """Raise ApiError (HTTP 405) if a change comes as GET with a session cookie, as from a link in a mail."""
        if self.via == "session" and self.environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            self.headers.append(("Allow", "POST"))
            raise ApiError("Use POST.", http=405)

    ##### The fields and the action

    def read_fields(self, call: Call, body: dict | bytes, auth: dict | None, query: dict):
        """Convert the request's fields and store them in `call`. body: bytes if not parsed yet. auth: its member."""
        if isinstance(body, bytes):
            fields = load_part("http.large_bodies").read_for_caller(call, self.chosen, body, auth)
        else:
            fields = {} if body.keys() <= {"auth"} else body  # `auth` was read
            if fields:
                refuse_forbidden_text(fields)
        if self.app.config.debug:
            self.frame["debug"] += load_part("openapi.names").unknown_names(
                call, self.module, self.chosen, fields, query
            )
        if self.chosen:
            call.body, call.query = self.chosen.read(call.generation, fields, query)

    def act(self, call: Call, module: Module, unread: list, auth: dict | None, query: dict) -> dict:
        """Run the action and return the whole answer. A refusal with HTTP 200, as in PHP, is returned, not raised.
        unread: a list of one, the body. It is removed from the list, so that the action can free its memory."""
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
