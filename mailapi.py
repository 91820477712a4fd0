#!/usr/bin/env python3
"""mailapi: an HTTP control plane for a mail server, in the place of the PHP API of cmail.

The core knows no module by name. It reads a config, loads the module files that `modulelist` names,
and turns requests such as `users/?add` into calls of their endpoints: fields read as declared, the
access rule checked, everything in one transaction, one JSON object as the answer.
"""

import base64
import contextlib
import dataclasses
import fcntl
import hashlib
import hmac
import importlib
import importlib.util
import ipaddress
import json
import logging
import operator
import os
import re
import secrets
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
import types
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial, reduce, wraps
from importlib.machinery import SourceFileLoader
from pathlib import Path

import bottle
import peewee
from peewee import IntegerField, TextField, fn

try:
    import orjson
except ImportError:
    orjson = None
if orjson and orjson.dumps(1e16) != b"1e+16":  # before 3.11.9
    orjson = None

__version__ = "0.1.0"

# `python mailapi.py` plus a module's `import mailapi` would load the core twice.
sys.modules.setdefault("mailapi", sys.modules[__name__])

log = logging.getLogger("mailapi")
logging.getLogger("peewee").setLevel(logging.INFO)  # at DEBUG it logs parameters: passwords, mail


########## Config ##################################################################################


class ConfigError(Exception):
    """The configuration cannot be used; the sentence names the key or file and the cause."""


HERE = Path(__file__).resolve().parent
INSTALLED = [HERE / "modules", HERE / "mailapi_modules"]  # in a checkout, in an installed package
# What several modules share is in a folder beside them: `from mailapi_modules.FOLDER.NAME import …`.
sys.modules.setdefault("mailapi_modules", types.ModuleType("mailapi_modules")).__path__ = list(
    map(str, INSTALLED)
)


@dataclasses.dataclass
class Config:
    """The keys of config.py; config.sample.py says what each is for."""

    dbpath: str = dataclasses.field(repr=False)  # as state below: the URL of a server holds a password
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
    PROVISION: int = dataclasses.field(
        default=7, metadata={"least": 0}
    )  # bits: 1 mail, 2 calendar, 4 contacts
    apiserver: str = dataclasses.field(default="", repr=False)
    mailserver: str = dataclasses.field(default="", repr=False)
    services: dict = dataclasses.field(default_factory=dict, repr=False)

    def resolve(self, base: Path) -> "Config":
        """Relative paths start from base."""
        self.base, own = base, self.dbpath if is_url(self.dbpath) else self.dbpath + ".state"
        self.dbpath, self.state = (
            place if is_url(place) else str(base / place) for place in (self.dbpath, self.state or own)
        )
        try:
            self.proxies = [ip_network(network) for network in self.trusted_proxies]
        except ValueError as error:
            raise ConfigError(f"trusted_proxies: {error}.") from None
        return self


def is_url(place: str) -> bool:
    """Whether a database is on a server, not a file."""
    return place.startswith("mysql://")


def without_password(place: str) -> str:
    """The same without a password."""
    return re.sub("^mysql://.*@", "mysql://", place) if is_url(place) else place


OPTIONS = {field.name: field for field in dataclasses.fields(Config)}


def read_config(source: str | os.PathLike | Mapping) -> Config:
    """The config from a path to a config.py or from a mapping; ConfigError where it cannot be used."""
    if isinstance(source, Mapping):
        return checked_config(dict(source), Path.cwd())
    path = Path(source).absolute()
    return checked_config(run_config(path), path.parent)


def run_config(path: Path) -> dict:
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


def cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def log_exception(sentence: str):
    """Log the exception that is being handled: at most 8,000 characters, as there may be a whole request in it."""
    log.error("%s\n%s", sentence, traceback.format_exc(limit=-20)[-8000:])


def checked_config(given: dict, base: Path) -> Config:
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
    if not all(isinstance(word, str) for item in given["modulelist"].items() for word in item):
        raise ConfigError("modulelist must map module class names to paths of files.")
    return Config(**given).resolve(base)


def check_type(key: str, value, kind: type):
    least = OPTIONS[key].metadata.get("least", 1)
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < least)):
        words = {
            str: "text",
            bool: "True or False",
            dict: "a mapping",
            list: "a list",
            int: "a positive whole number" if least else "a whole number from 0",
        }
        # What repr leaves out holds secrets.
        shown = f", not {value!r}" if OPTIONS[key].repr else ""
        raise ConfigError(f"{key} must be {words[kind]}{shown}.")


########## Errors ##################################################################################


class ApiError(Exception):
    """An action refused: the sentence for `status`, the HTTP status, and what the answer has besides.

    audit: the sentence that the audit and the log get, for one that quotes what was sent or what a service said.
    """

    def __init__(self, status: str, http: int = 200, retry_after: int = 0, audit: str = "", **answer):
        super().__init__(status)
        self.status, self.http, self.answer = status, http, answer
        self.audit = audit or status
        self.retry_after = retry_after  # seconds; 0: there is nothing to wait for

    def bare(self) -> "ApiError":
        """Itself without tracebacks, which would keep a large body until the garbage collector comes by."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class CannotOpen(ApiError):
    """A database file that is missing or out of reach."""

    def __init__(self, error: Exception):
        super().__init__(f"The database cannot be opened: {getattr(error, 'strerror', error)}.", http=500)


class TransactionRolledBack(ApiError):
    """What others did at the same time made the database undo a transaction: it can be repeated as a whole."""

    def __init__(self):
        super().__init__(BUSY, http=503, retry_after=1)


class CommitOutcomeUnknown(ApiError):
    """Nobody knows whether a transaction was committed in the store `undecided`."""

    store_in_doubt: "Store"


BUSY = "The database is busy. Try again."


def invalid(field: str) -> ApiError:
    """A field that cannot be what it should be (docs/wire.md F27, F37)."""
    return ApiError(f"Invalid value for {field}.", http=400)


def refusal(error: peewee.PeeweeException) -> ApiError:
    """What the database said, as the answer has it (docs/wire.md section 4, F24, F36)."""
    if is_busy(error):
        return ApiError(BUSY, http=503, retry_after=1)
    refused = isinstance(error, (peewee.IntegrityError, peewee.OperationalError))
    return ApiError(str(error), http=200 if refused else 500)


def is_busy(error: Exception) -> bool:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


########## Wire format #############################################################################
# Whatever is an oddity of PHP or of the browser clients is a named function here, nowhere else.


def empty(value) -> bool:
    """PHP's empty(): what counts as not given (docs/wire.md section 1)."""
    return not value or value == "0"


def php_map(mapping: dict):
    """An empty map is [], as PHP encodes it."""
    return mapping or []


INFINITE = (float("inf"), float("-inf"))


def number(value):
    """Text that is a number as a number, as PHP's JSON_NUMERIC_CHECK shows it; else unchanged."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value):
        return value if float(value) in INFINITE else float(value)
    return value


def php_text(value) -> str | None:
    """A text field: text, or a number's decimal text; None where it is empty()."""
    return None if empty(value) else raw_text(value)


def raw_text(value) -> str | None:
    """Text to which empty() does not apply (docs/wire.md F32): only null, missing and "" are not given."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes) and (
        value.isascii() or len(value) <= SMALL_BODY
    ):  # in a large body (read_body)
        return value.decode(errors="surrogatepass")  # beyond ASCII it can take four times the memory
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in INFINITE:
        raise ValueError("not text")
    return str(value)


def secret(value) -> str | None:
    """A password, key or token: no audit has it, and `mailapi call` reads it without echo. Else as `password`."""
    return raw_text(value)


def long_text(value) -> bytes | None:
    """Text that may be large, as UTF-8; empty() does not apply to it. A large body has it as bytes already."""
    return (
        value if isinstance(value, bytes) else None if (given := raw_text(value)) is None else given.encode()
    )


def file_content(value) -> bytes | None:
    """The content of a file, which the command line is given the path of."""
    return long_text(value)


LONGEST = 1000  # bytes of an address, an expression or a route; the SMTP protocol ends at 256


def address(value) -> str | None:
    """Text as long as an address can be: matching and filling in cost time and memory with the length."""
    value = php_text(value)
    if value and len(value.encode()) > LONGEST:
        raise ValueError("too long for an address")
    return value


def whole_number(value) -> int | None:
    """A whole number of at most 18 digits, as number or text (docs/wire.md F37); None stays None."""
    if value is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", raw_text(value)):
        raise ValueError("not a whole number")
    return int(value)


def optional_number(value) -> int | None:
    """As whole_number, but what is empty() counts as not given."""
    return whole_number(php_text(value))


def boolean(value) -> bool:
    """A yes or no: everything that is not empty() is a yes."""
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


def object_of(**kinds):
    """A field that is an object, its own fields read by the kinds given."""

    def read(value):
        if empty(value):
            return None
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return dict.fromkeys(kinds) | read_fields(value, kinds)

    return read


def read_fields(given: dict, kinds: dict) -> dict:
    """The fields that kinds name, in either spelling, each read by its kind.

    The field at fault is named as it was sent, one in an object with the object's name before it (docs/wire.md F27).
    """
    fields = {}
    for name, kind in kinds.items() if given else ():
        sent = name if name in given else name.replace("permission", "right")
        if sent in given:
            try:
                fields[name] = kind(given[sent])
            except ValueError:
                raise invalid(sent) from None
            except ApiError as inner:
                raise invalid(f"{sent}.{inner.status.removeprefix('Invalid value for ')[:-1]}") from None
    return fields


NEW_SPELLING = re.compile(r"(?<=_)right(s?)\Z")
PAGE_QUERY = {"after": php_text, "search": php_text}  # of the query of a list of users, beside limit
CREDENTIALS = object_of(user_name=php_text, password=raw_text)


def canonical(name: str) -> str:
    """One spelling of actions: no dash, permission for right (docs/wire.md section 4)."""
    return NEW_SPELLING.sub(r"permission\1", name.replace("-", "_"))


SMALL_BODY = 64 * 1024  # bytes of a body that is taken apart before it is known who asks
MOST_VALUES = 100_000  # commas, brackets and escapes of a larger one: each can take a hundred bytes of memory


def read_object(raw: bytes) -> dict:
    """Return the JSON object of a body, {} of an empty one, whatever its Content-Type says (docs/wire.md F22).

    ApiError: HTTP 400 where it is no object; HTTP 413 where it is large and would take many times its size.
    """
    if not raw or raw.isspace():
        return {}
    if len(raw) > SMALL_BODY and sum(map(raw.count, (b",", b"[", b"{", b"\\"))) > MOST_VALUES:
        raise ApiError("Request body too large.", http=413)
    try:
        body = json.loads(raw.decode(), parse_constant=not_json)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError("Invalid JSON in request body.", http=400)
    return body


def find_auth(raw: bytes) -> dict | None:
    """Return the member `auth` of a large body without taking the body apart: the last one, or else the first.

    Once its sender is let in, the body is read as a whole, and must have the same `auth`.
    """
    for start in (raw.rfind(b'"auth"'), raw.find(b'"auth"')):
        member = raw[start + 6 : start + SMALL_BODY].decode(errors="replace").lstrip() if start >= 0 else ""
        with contextlib.suppress(ValueError, RecursionError):
            found = json.JSONDecoder(parse_constant=not_json).raw_decode(member[1:].lstrip())[0]
            if member[0] == ":" and isinstance(found, dict):
                return found
    return None


class SharedLimit:
    """Bytes of memory that all requests of a process may take together for one purpose."""

    def __init__(self, most: int):
        self.most, self.used, self.lock = most, 0, threading.Lock()

    def take(self, size: int) -> int:
        """Return size once it is reserved; ApiError (HTTP 503) where others have too much. One alone always gets it."""
        with self.lock:
            if self.used and self.used + size > self.most:
                raise ApiError("The server is busy. Try again.", http=503, retry_after=1)
            self.used += size
        return size

    def give_back(self, size: int):
        with self.lock:
            self.used -= size


def raw_body(environ: dict, limit: int) -> bytes:
    """All of a body of at most limit bytes; a longer one is refused before it is read."""
    length = body_length(environ)
    try:
        raw = (
            b""
            if length and length > limit
            else environ["wsgi.input"].read(limit + 1 if length is None else length)
        )
    except OSError:  # the client has gone
        raise ApiError("Incomplete request body.", http=400) from None
    if len(raw) > limit or (length or 0) > limit:
        raise ApiError("Request body too large.", http=413)
    if length and len(raw) < length:  # or somebody before us has read it
        raise ApiError("Incomplete request body.", http=400)
    environ["mailapi.body_read"] = True
    return raw


def body_length(environ: dict) -> int | None:
    """The bytes of a body; None where it is as long as its stream."""
    length, chunked = environ.get("CONTENT_LENGTH"), "HTTP_TRANSFER_ENCODING" in environ
    if length:
        if not re.fullmatch("[0-9]{1,18}", length):
            raise ApiError("Invalid JSON in request body.", http=400)
        return int(length)
    if (
        environ.get("wsgi.input_terminated") or chunked and environ.get("wsgi.run_once")
    ):  # standard input of CGI
        return None
    if chunked:  # the server does not say where it ends
        raise ApiError("Request body of unknown length.", http=411)
    return 0


MOST_DISCARDED = 32 * 1024 * 1024  # bytes


class Unread:
    """An answer to a request whose body was not read: it is thrown away once the answer is sent.

    CGI and some servers end a connection on which something is left to read with a reset, which takes the answer along.
    """

    def __init__(self, payload: bytes, environ: dict):
        self.payload, self.environ = payload, environ

    def __iter__(self):
        return iter([self.payload])

    def close(self):
        with contextlib.suppress(OSError, ApiError):
            length = body_length(self.environ)
            left = MOST_DISCARDED if length is None else min(length, MOST_DISCARDED)
            while left and (got := self.environ["wsgi.input"].read(min(left, 65536))):
                left -= len(got)


def not_json(constant: str):
    raise ValueError(f"{constant} is not JSON")


FORBIDDEN = re.compile("[\0\ud800-\udfff]")


FORBIDDEN_BYTES = re.compile(rb"\0|\xed[\xa0-\xbf]")  # the same in long_text


def refuse_forbidden_text(body: dict):
    """A NUL byte or a lone surrogate in any text (docs/wire.md F27)."""
    for name, value in body.items():
        todo = [name, value]
        while todo:
            item = todo.pop()
            if (
                isinstance(item, str)
                and FORBIDDEN.search(item)
                or isinstance(item, bytes)
                and FORBIDDEN_BYTES.search(item)
            ):
                refused = invalid(FORBIDDEN.sub("\ufffd", name))
                refused.audit = "Invalid value for a field."  # the name, too, is what was sent
                raise refused
            todo += list(item) + list(item.values()) if isinstance(item, dict) else ()
            todo += item if isinstance(item, list) else ()


def read_query(query_string: str) -> dict:
    """The query's keys and values, both decoded; of a repeated key the last one counts, as in PHP."""
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
    """`limit`, a positive whole number (docs/wire.md F25)."""
    if not (found := re.fullmatch("0*([1-9][0-9]{0,999})", limit)):
        raise ApiError("Invalid limit.", http=400)
    return int(found[1])


def read_callback(callback: str) -> str:
    """`callback`, the name of a JSONP function (docs/wire.md F20)."""
    if not re.fullmatch(r"[A-Za-z_$][\w$.]{0,127}", callback, re.ASCII):
        raise ApiError("Invalid callback.", http=400)
    return callback


def shorten(answer: dict, limit: int | None) -> dict:
    """The lists that an action returned, cut to limit entries each."""
    for name, value in answer.items():
        if isinstance(value, list):
            answer[name] = value[:limit]
        elif isinstance(value, dict):
            shorten(value, limit)
    return answer


def readable(value) -> str:
    """Bytes that came out of the database where text belongs; TypeError for anything else."""
    return str(memoryview(value), errors="replace")


class RawJSON:
    """A list that the database has encoded already (Store.encoded): it goes into the answer as it is."""

    def __init__(self, payload: bytes):
        self.payload = payload


ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=readable)


def encode(answer: dict) -> bytes:
    """The answer as JSON, in UTF-8; what is Encoded is taken out of it, and comes last. Without orjson the bytes are
    the same."""
    pieces = []
    while RawJSON in (kinds := [*map(type, answer.values())]):
        name = [*answer][kinds.index(RawJSON)]  # an action's own, so that there is no quote in it
        pieces += f',"{name}":'.encode(), answer.pop(name).payload
    try:
        payload = orjson.dumps(answer, readable) if orjson else None
    except TypeError:  # numbers of more than 64 bits, text that nobody can encode
        payload = None
    if (
        payload is None or b"e-" in payload or b"0.0000" in payload
    ):  # 1e-05 may be in it, which orjson spells otherwise
        payload = ENCODER.encode(answer).encode()
    return b"".join([payload[:-1], *pieces, b"}"]) if pieces else payload


def jsonp(callback: str, payload: str) -> str:
    """The payload as a JavaScript string, handed to callback; no quote or line end gets out (F20)."""
    payload = payload.replace("\\", "\\\\").replace("'", "\\'")
    return f"{callback}('{payload}')".replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


@dataclasses.dataclass(frozen=True)
class File:
    """What an action answers in the place of an object: bytes that a browser saves and never shows as a page."""

    content: bytes
    content_type: str
    name: str  # as somebody else may have chosen it

    def headers(self) -> list[tuple[str, str]]:
        return [
            ("Content-Type", self.content_type),
            ("Content-Disposition", disposition(self.name)),
            ("Content-Security-Policy", "default-src 'none'; sandbox"),
        ]


def disposition(name: str) -> str:
    """The Content-Disposition of a download (RFC 6266): a name without folders, of characters that can be seen."""
    name = (
        "".join(c if c.isprintable() and c not in '"*/:<>?\\|' else "_" for c in name).strip(" .") or "file"
    )
    stem, _, ending = name.rpartition(".")
    name = f"{stem[:100]}.{ending}" if 0 < len(ending) <= 10 and stem else name[:100]
    ascii_only = re.sub(r"[^\w !#$&'()+,.=@^`{}~-]", "_", name, flags=re.ASCII)
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{urllib.parse.quote(name, safe='')}"


def client_address(environ: dict, proxies: list) -> str:
    """The address of the client; behind trusted proxies the last one that they saw and do not trust.

    Where a proxy passes on what is no address, the last proxy that is trusted counts as the client.
    """
    address = plain_address(environ.get("REMOTE_ADDR", ""))
    for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")) if proxies else ():
        if not is_trusted(address, proxies):
            break
        try:
            address = str(ip(hop))
        except ValueError:
            break
    return address


def plain_address(address: str) -> str:
    """An address as it is usually written; what is none, such as a Unix socket's, stays as it is."""
    try:
        return str(ip(address))
    except ValueError:
        return address


# An address as sockets, servers and proxies write it: with a port, brackets or a zone, which says nothing elsewhere.
ADDRESS = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})(?:%[^\s\]]{0,40})?\]|([0-9.]{7,15}))(?::[0-9]{1,5})?"
    r"|([0-9A-Fa-f:.]{2,45})(?:%\S{0,40})?"
)


def ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IP address, whatever is written around it; IPv4 within IPv6 becomes IPv4. ValueError: it is none."""
    return bare_ip(address.strip(' \t"')[:200])


@lru_cache(maxsize=1000)  # not of what is refused, so that each key is short
def bare_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not (found := ADDRESS.fullmatch(address)):
        raise ValueError("no IP address")
    seen = ipaddress.ip_address(found[1] or found[2] or found[3])
    return getattr(seen, "ipv4_mapped", None) or seen


def ip_network(network: str, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network; one of IPv4 that is written as IPv6 becomes one of IPv4, as addresses do. ValueError: it is none."""
    found = ipaddress.ip_network(network, strict)
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    return (
        ipaddress.ip_network(f"{mapped}/{found.prefixlen - 96}")
        if mapped and found.prefixlen >= 96
        else found
    )


def is_trusted(address: str, proxies: list) -> bool:
    """Whether a proxy may say who its client is; one on a Unix socket, which has no address, may."""
    try:
        return bool(proxies) and (not address or any(ip(address) in network for network in proxies))
    except ValueError:
        return False


def network(address: str) -> str:
    """What log-ins are counted by: a /64 of IPv6, as one person can have that, and addresses in it change daily."""
    address = plain_address(address)
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_network(f"{address}/64", strict=False)) if ":" in address else address
    return address


def cross_site(environ: dict, proxies: list) -> bool:
    """Check whether a page of another origin sent this request, so that its cookie does not count (docs/wire.md F42)."""
    if site := environ.get("HTTP_SEC_FETCH_SITE"):
        return site not in ("same-origin", "none")
    if (sent_by := environ.get("HTTP_ORIGIN")) is None:
        return False
    origin = origin_of(sent_by)
    return origin is None or origin != own_origin(environ, proxies)


def own_origin(environ: dict, proxies: list) -> tuple | None:
    """Return the origin at which the client found this request's URL."""
    host = environ.get("HTTP_HOST") or "{SERVER_NAME}:{SERVER_PORT}".format_map(environ)
    if "uwsgi.version" in environ and not re.search(r":[0-9]{1,5}\Z", host):  # uWSGI cuts the port off
        host += ":{SERVER_PORT}".format_map(environ)
    return origin_of(f"{request_scheme(environ, proxies)}://{host}")


def request_scheme(environ: dict, proxies: list) -> str:
    """Return http or https, as the client sees it: a trusted proxy's X-Forwarded-Proto counts."""
    trusted = is_trusted(environ.get("REMOTE_ADDR", ""), proxies)
    return trusted and environ.get("HTTP_X_FORWARDED_PROTO") or environ.get("wsgi.url_scheme", "http")


def origin_of(url: str) -> tuple | None:
    """Return scheme, host and port of a URL (RFC 6454); None where it has none, as the origin `null`."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        return (parts.scheme, parts.hostname, port) if parts.hostname else None
    except (ValueError, KeyError):
        return None


########## Database ################################################################################


def table_name(model: type) -> str:
    """The class's name in snake case, without the number of a generation."""
    return peewee.make_snake_case(model.__name__).rstrip("0123456789")


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


class Addresses(Model):
    address_expression = TextField()
    address_order = IntegerField()
    address_router = TextField()
    address_route = TextField(null=True)

    @classmethod
    def stores_to(cls, user):
        """The rows that keep mail for user."""
        return (cls.address_router == "store") & (cls.address_route == user)

    @classmethod
    def user_of(cls, row: dict) -> str | None:
        """The user that a row keeps mail for."""
        return row["address_route"] if row["address_router"] == "store" else None


class Addresses8(Model):
    address_expression = TextField()
    address_order = IntegerField()
    address_user = TextField()

    @classmethod
    def stores_to(cls, user):
        return cls.address_user == user

    @classmethod
    def user_of(cls, row: dict) -> str | None:
        return row["address_user"]


class Smtpd(Model):
    """Who may send through the SMTP daemon, and how."""

    smtpd_user = TextField()
    smtpd_router = TextField()
    smtpd_route = TextField(null=True)


class Msa(Model):
    """The same before generation 9, with how mail for the user's addresses comes in."""

    msa_user = TextField()
    msa_inrouter = TextField()
    msa_inroute = TextField(null=True)
    msa_outrouter = TextField()
    msa_outroute = TextField(null=True)


@dataclasses.dataclass(frozen=True)
class Generation:
    """What differs between the schema versions that both the daemons and this API know."""

    number: int
    permission: str  # what clients call a permission, alone and in names
    access: type[Model]
    address: type[Model]
    routers: type[Model]  # who may send, and how

    def in_generation(self, sentence: str) -> str:
        return sentence.replace("{permission}", self.permission)


GENERATIONS = {
    8: Generation(8, "right", ApiAccess8, Addresses8, Msa),
    9: Generation(9, "permission", ApiAccess, Addresses, Smtpd),
}
LATEST = max(GENERATIONS)


class Param:
    """The place in a prepared query that a named value takes when it runs."""

    def __init__(self, name: str):
        self.name = name


def param(name: str) -> peewee.Value:
    return peewee.Value(Param(name), converter=False)


class PreparedQuery:
    """A query built once, at import, and turned into SQL at its first use: building costs ten times running."""

    def __init__(self, query, nested: tuple = (), pages: "KeysetPagination | None" = None):
        self.query = query
        self.nested = nested  # the columns that hold JSON
        self.pages = pages  # of a list
        self.compiled: dict = {}
        self.encoding = ""  # the same query with its rows as one JSON list

    def sql(self, database: peewee.Database):
        """The query's SQL and parameters."""
        found = self.compiled.get(type(database))
        if not found:
            found = database.get_sql_context().sql(self.query).query()
            self.compiled[type(database)] = found
        return found


@dataclasses.dataclass(frozen=True)
class KeysetPagination:
    """How a list is taken apart: by the column that it is ordered by, an index's, so that the last page costs what the
    first one does. Names are searched by their beginning, for the same reason; else any part of a column."""

    key: peewee.Field
    searched: peewee.Field | None = None
    descending: bool = False

    def of(
        self, query: peewee.Select, after=None, search: str | None = None, limit: int | None = None
    ) -> PreparedQuery:
        """The entries of a list that come after a key, and fit."""
        if after is not None:
            query = query.where(self.key < after if self.descending else self.key > after)
        if search and self.searched is not None:
            query = query.where(fn.INSTR(self.searched, search) > 0)
        elif search:
            query = query.where(self.key >= search, self.key < search + LAST_CHARACTER)
        return PreparedQuery(query if limit is None else query.limit(min(limit, 2**63 - 1)))


LAST_CHARACTER = "\U0010ffff"


def each_generation(build: Callable[[Generation], object]) -> dict:
    """A prepared query for every generation, by its number."""
    return {number: PreparedQuery(build(generation)) for number, generation in GENERATIONS.items()}


def like(value, expression):
    """SQLite's `value LIKE expression`: % any run, _ one character, ASCII without case, no escape."""
    return peewee.Expression(value, peewee.OP.ILIKE, expression)


SQLITE_SEQUENCE = peewee.Table("sqlite_sequence", ("name", "seq"))
LAST_GIVEN = PreparedQuery(
    SQLITE_SEQUENCE.select(SQLITE_SEQUENCE.seq).where(SQLITE_SEQUENCE.name == param("table"))
)


def json_sql(sql: str, cursor: sqlite3.Cursor, nested: tuple) -> str:
    """A query whose only value is the JSON list of the rows of sql, in their order."""
    columns = [column[0] for column in cursor.description]
    pairs = ", ".join(
        f"'{name}', " + (f'json("{name}")' if name in nested else f'"{name}"') for name in columns
    )
    return f"SELECT CAST(json_group_array(json_object({pairs})) AS BLOB) FROM ({sql})"


def as_peewee(error: sqlite3.Error) -> Exception:
    """What peewee makes of an error of SQLite's."""
    try:
        with peewee.__exception_wrapper__:
            raise error
    except Exception as translated:
        return translated
    finally:
        del error  # whose traceback holds this frame, and with it whatever its callers have


class ThreadConnection(threading.local):
    """What a thread has open."""

    connection: sqlite3.Connection
    identity: tuple | None = None
    trace: Callable[[str], None] | None = None


class Transaction:
    """All statements of a block or none."""

    def __init__(self, store: "Store", lock_type: str):
        self.store, self.lock_type = store, lock_type

    def __enter__(self):
        self.store.connect()
        self.store.run(f"BEGIN {self.lock_type}")

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self.store.run("COMMIT")
        finally:
            connection = self.store.opened.connection
            if connection.in_transaction:  # SQLite may have rolled back already
                connection.execute("ROLLBACK")


class Store:
    """One SQLite file: a connection per thread, opened anew when the file was replaced (docs/wire.md section 7).

    A missing file is refused and never created.
    """

    PRAGMAS = {"foreign_keys": 1}
    streams = True  # the beginning of a BLOB can be read without the rest

    def __init__(self, path: str):
        self.path = path
        uri = Path(path).absolute().as_uri() + "?mode=rw"
        self.database = peewee.SqliteDatabase(uri, uri=True, pragmas=self.PRAGMAS, timeout=5)
        self.opened = ThreadConnection()

    def trace(self, tell: Callable[[str], None] | None):
        """Tell this thread's statements, without their values."""
        self.opened.trace = tell

    def connect(self) -> sqlite3.Connection:
        """This thread's connection, to the file that has the name now."""
        try:
            seen = os.stat(self.path)
        except (OSError, ValueError) as error:
            seen = self.missing(error)
        # Mode, inode, device, links, owner and group: what SQLite opened read-only it never writes to.
        identity, opened = (seen[:6], os.getpid()), self.opened
        if opened.identity != identity:
            self.close()
            self.before_opening()
            self.database.connect()
            self.after_opening()
            opened.connection, opened.identity = self.database.connection(), identity
        return opened.connection

    def missing(self, error: Exception) -> os.stat_result:
        """What to do where there is no file."""
        raise CannotOpen(error) from None

    def before_opening(self):
        """For a kind of Store that has something to prepare."""

    def after_opening(self):
        """The same, once it is open."""

    def close(self):
        """Close this thread's connection."""
        self.database.close()
        self.opened.identity = None

    def transaction(self, lock_type: str = "IMMEDIATE") -> "Transaction":
        """All statements of the block or none; IMMEDIATE to write, DEFERRED to read."""
        return Transaction(self, lock_type)

    def run_with_retry(self, work: Callable):
        """What work returns, whose whole effect is one transaction. SQLite lets one writer after the other in, so
        nothing is undone for another's sake, and nothing has to be repeated."""
        return work()

    def make_room(self):
        """Free room that the database has on the disk, where it does not do so by itself."""

    def next(self, column: peewee.Field) -> int:
        """Return the lowest number that an AUTOINCREMENT column has never given. A row that was updated may have it."""
        return (self.value(LAST_GIVEN, table=column.model._meta.table_name) or 0) + 1

    def release(self):
        """Let go of the database after a request; a file is not held between transactions."""

    def compiled(self, query) -> tuple[str, Sequence]:
        """The SQL and the parameters of a query, Prepared or not."""
        if type(query) is PreparedQuery:
            return query.sql(self.database)
        return self.database.get_sql_context().sql(query).query()

    def execute(self, query, **values) -> sqlite3.Cursor:
        """Run a query, a Prepared one with its values; the cursor."""
        return self.run(*self.compiled(query), values)

    def run(self, sql: str, parameters: Sequence = (), values: Mapping = {}) -> sqlite3.Cursor:
        opened = self.opened
        if opened.trace:
            opened.trace(sql)
        try:  # sqlite3 itself: peewee's own way takes as long as a small query
            if not parameters:
                return opened.connection.execute(sql)
            return opened.connection.execute(
                sql, [values[p.name] if type(p) is Param else p for p in parameters]
            )
        except sqlite3.Error as error:
            raise as_peewee(error) from error

    def execute_many(self, query: PreparedQuery, rows: list[dict]):
        """Run a query once for each of rows, with its values; the fastest way to insert many."""
        sql, parameters = query.sql(self.database)
        if self.opened.trace:
            self.opened.trace(sql)
        with peewee.__exception_wrapper__:
            self.opened.connection.executemany(
                sql, ([row[p.name] if isinstance(p, Param) else p for p in parameters] for row in rows)
            )

    def fetch(self, query, values: dict) -> tuple[sqlite3.Cursor, list]:
        """A query's cursor, which describes the columns, and its rows."""
        try:
            cursor = self.run(*self.compiled(query), values)
            return cursor, cursor.fetchall()
        except (sqlite3.OperationalError, peewee.OperationalError) as error:
            # Bytes that are not UTF-8 in some text (docs/wire.md F16): from now on read text with care.
            connection = self.opened.connection
            if "decode" not in str(error) or connection.text_factory is readable:
                raise
            connection.text_factory = readable
            return self.fetch(query, values)

    def rows(self, query, **values) -> list[dict]:
        """The rows as dictionaries, keyed by column names."""
        cursor, found = self.fetch(query, values)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row)) for row in found]
        for row in rows if isinstance(query, PreparedQuery) and query.nested else ():
            row |= {name: json.loads(row[name]) for name in query.nested}
        return rows

    def encoded(self, query: PreparedQuery, values: dict) -> RawJSON | None:
        """The rows as JSON that SQLite makes itself, in a third of the time; None where it cannot or must not:
        BLOBs, text that is not UTF-8."""
        sql, parameters = query.sql(self.database)
        try:
            if not query.encoding:
                query.encoding = json_sql(
                    sql, self.run(f"SELECT * FROM ({sql}) LIMIT 0", parameters, values), query.nested
                )
            payload = self.run(query.encoding, parameters, values).fetchone()[0]
            return RawJSON(payload) if payload.isascii() or payload.decode() else None
        except (peewee.OperationalError, UnicodeDecodeError):
            return None

    def one(self, query, **values) -> dict | None:
        return next(iter(self.rows(query, **values)), None)

    def column(self, query, **values) -> list:
        """The first column of every row."""
        return [row[0] for row in self.fetch(query, values)[1]]

    def value(self, query, **values):
        """The first column of the first row, or None."""
        return next(iter(self.column(query, **values)), None)


def open_store(place: str, schema: str | None = None) -> Store:
    """The master database, or with the schema of its tables the state database: a file, or on a server."""
    if is_url(place):
        return importlib.import_module("mailapi_modules.mariadb.store").ServerStore(place, schema)
    return Store(place) if schema is None else StateStore(place, schema)


########## Access rules ###############################################################################


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
    """Who asks, and what they may do: read on every request, so that revoked means revoked (F19)."""

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
        """Whether an address expression was delegated to the caller (docs/wire.md section 3, F09)."""
        return self.admin or any(covers(given, expression) for given in self.delegated_expressions)


def covers(given: str, expression: str) -> bool:
    """Whether all that expression matches is matched by given: `%` only under `%` (docs/wire.md F39)."""
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
    """Who may call an action: in words for the docs, as a test, and the sentence for everybody else."""

    description: str
    test: Callable[["Call"], bool]
    refusal: str = "Not allowed."
    of_fields: bool = True  # whether the test looks at the request's fields, not only at who asks

    def otherwise(self, refusal: str) -> "Rule":
        return dataclasses.replace(self, refusal=refusal)


anyone = Rule("anyone logged in", lambda call: True, of_fields=False)
nobody = Rule("nobody", lambda call: False, of_fields=False)
admin = Rule("admin", lambda call: call.caller.admin, of_fields=False)
admin_or_delegate = Rule(
    "admin or delegate", lambda call: call.caller.admin or call.caller.delegate, of_fields=False
)


def delegate_of(field: str, missing: Rule = nobody) -> Rule:
    """Whoever may act for the user that field names; without the field the rule `missing`."""
    return user_rule(field, f"admin, or delegate of {field}", missing, Caller.may_act_for)


def owner_or_delegate(field: str, missing: Rule = nobody) -> Rule:
    """As delegate_of, and the user themselves."""

    def test(caller, user_name):
        return caller.user_name == user_name or caller.may_act_for(user_name)

    return user_rule(field, f"admin, delegate of {field}, or oneself", missing, test)


def user_rule(field: str, words: str, missing: Rule, test: Callable[[Caller, str], bool]) -> Rule:
    def allowed(call):
        user_name = call.body.get(field)
        return test(call.caller, user_name) if user_name else missing.test(call)

    return Rule(words if missing is nobody else f"{words}; without {field}: {missing.description}", allowed)


def address_delegate(field: str) -> Rule:
    """Whoever may manage the address expression in field."""
    words = f"admin, or delegate of the expression in {field}"
    return Rule(words, lambda call: call.caller.may_manage(call.body.get(field) or ""))


########## Modules #################################################################################


IN_ROUTERS = ("store", "redirect", "handoff", "reject", "drop")  # docs/wire.md section 6
OUT_ROUTERS = ("any", "defined", "handoff", "reject", "drop")
NEED_ROUTE = ("store", "redirect", "forward", "handoff")


def check_router(router: str, route: str | None, known: tuple, sentence: str, need_route=NEED_ROUTE):
    """Refuse what the daemons answer 250 to and then lose, or crash on (docs/wire.md F33)."""
    if router not in known:
        raise ApiError(f"Unknown router {router}.", audit="Unknown router.")
    if router in need_route and not route:
        raise ApiError(sentence)


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An action as it is declared: what the routes, the command line, the docs and the tests go by."""

    name: str
    action: Callable
    allow: tuple[Rule, ...]  # in this order, each with its refusal
    required: dict  # field → the sentence where it is empty, in this order; or that for every generation
    optional: dict[str, Callable]  # field → its type; required fields that are not here are text
    validators: tuple[Callable, ...]  # raise ApiError; after `required`, before `allow`
    query: dict[str, Callable]  # field of the query → its type
    read_only: bool  # changes nothing
    manages_transactions: (
        bool  # the action opens its transactions itself: it waits for more than the master database
    )
    max_body: int | str  # bytes, or the key of the config that limits a request's body; 0: as configured
    read_body: Callable[
        [bytes, int], dict
    ]  # reads one of more than SMALL_BODY; takes it and the config's max_body
    after_commit: (
        Callable | None
    )  # takes module, call and answer when the transaction is over: for what takes time
    download: bool  # answers a File; its fields may come in the query, too, as a link has them
    # The fields of `required` that the audit has, by Module.identifiers → the values that it has of each; None: all
    identifiers: dict[str, Sequence[str] | None] = dataclasses.field(default_factory=dict)

    def needed(self, generation: Generation) -> dict[str, str]:
        return self.required.get(generation.number, self.required)

    def fields(self, generation: Generation) -> dict[str, Callable]:
        return dict.fromkeys(self.needed(generation), php_text) | self.optional

    def read(self, generation: Generation, body: dict, query: dict) -> tuple[dict, dict]:
        """The declared fields of body and query; ApiError (HTTP 400) names one that cannot be read."""
        if not body and not self.download and self.query.keys().isdisjoint(query):
            return {}, {}
        fields = self.fields(generation)
        asked = [*self.query, *(fields if self.download else ())]
        refuse_forbidden_text({name: query[name] for name in asked if name in query})
        return read_fields(query | body if self.download else body, fields), read_fields(query, self.query)

    def most(self, config: Config) -> int:
        """Return the bytes that a request's body may have."""
        return (
            getattr(config, self.max_body)
            if isinstance(self.max_body, str)
            else self.max_body or config.max_body
        )

    def run(self, module: "Module", call: "Call") -> dict:
        """The declared checks in their order, then the action; what it adds to the answer."""
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


def endpoint(
    *,
    allow,
    required=None,
    optional=None,
    validators=(),
    query=None,
    read_only=False,
    manages_transactions=False,
    max_body=0,
    read_body=lambda raw, usual: read_object(raw),
    after_commit=None,
    download=False,
):
    """Declare a method of a Module as an action; `allow`, one Rule or several, has no default."""
    rules = allow if isinstance(allow, tuple) else (allow,)
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError("allow takes one or more of the access rules")

    def declare(action):
        action.endpoint = Endpoint(
            action.__name__.rstrip("_"),
            action,
            rules,
            required or {},
            optional or {},
            tuple(validators),
            query or {},
            read_only,
            manages_transactions,
            max_body,
            read_body,
            after_commit,
            download,
        )
        return action

    return declare


class Module:
    """A part of the API: its endpoints are its actions, first declared, first served."""

    endpoints: dict[str, Endpoint] = {}
    # For users/?get: which users have something here; one query, or one for every generation.
    active: "Active | dict[int, Active] | None" = None
    # For `mailapi check`: rows that harm the daemons: sentence → query that selects what identifies them.
    dangerous_rows: dict = {}
    path = ""  # in the URL
    generations: tuple = tuple(GENERATIONS)  # those that it serves
    # Generation → (class name, file) of the module that serves in its place there, beside its own file.
    stand_ins: dict[int, tuple[str, str]] = {}

    # Permissions of api_access that mean something to the module, beside admin and delegate.
    permissions: tuple[str, ...] = ()
    # Fields that name what an action is about: the audit has those that the action needs, and no others. As a
    # mapping: field → the values that the audit has of it, where others may be anything; None: all.
    identifiers: tuple[str, ...] | dict[str, Sequence[str] | None] = ()

    # Tables that the module keeps in the state database: CREATE … IF NOT EXISTS.
    state_schema = ""
    # First segments of URL paths below which the module itself answers whole HTTP requests, by `relay`.
    mounts: tuple[str, ...] = ()
    mount_max_body: int | str = 0  # as an endpoint's max_body, for the requests that `relay` answers

    def __init__(self, app: "Application", name: str = ""):
        self.app, self.name = app, name

    def on_request(self, event: "Event"):
        """Told of everything that was asked and how it ended, but for what somebody in a session was merely shown."""

    def on_user_deleted(self, user_name: str):
        """Told that a user was deleted: what the module keeps elsewhere must not fall to the next of that name."""

    def has_rows_of(self, user_name: str) -> bool:
        """Return whether the module keeps something of a user of that name: then no delegate can add one."""
        return False

    def bearer(self, call: "Call", token: str, address: str) -> "Bearer | None":
        """Whose a token of the Authorization header is, if the module knows it."""

    def external_credentials(self, user_name: str, logging_in: bool) -> dict | None:
        """The row that counts instead of the user's in `users`, for one who is kept, or shut out, elsewhere.

        Asked on every request, before its transaction; a `verify` in it takes the place of the core's.
        """

    def on_login(self, call: "Call", password: str):
        """Told that somebody logged in with a password."""

    def on_user_change(
        self, call: "Call", change: str, user_name: str, password: str | None
    ) -> "Participant | None":
        """Make a change of a user (add, delete, set_password) elsewhere, too: ApiError refuses it, in both."""

    def external_users(self, user_name: str | None = None) -> list[dict]:
        """`user_name` and `user_login` of the users that are kept elsewhere, too, or of the one named."""
        return []

    def check(self, repair: bool) -> Iterable[tuple[bool | None, str]]:
        """For `mailapi check`: what was looked at and whether it is well, mended before where repair is asked for;
        None is a warning."""
        return ()

    def mount(self, handler: "RequestHandler", path: str) -> bottle.HTTPResponse:
        """Answer a request below one of `mounts`; path is what follows. `handler.admit` says who asks."""
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
        """The first declared action that the query names (docs/wire.md section 1)."""
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


class Active:
    """The users that have a row in a module's tables: each field holds their names."""

    def __init__(self, *fields: peewee.Field, where=None):
        rows = [field.model.select(field) for field in fields]
        self.rows = [query if where is None else query.where(where) for query in rows]
        self.simply = where if fields[0] is Users.user_name else None  # a look at the user's own row says it

    def has(self) -> peewee.Expression:
        """Whether a row's user is among them, for a query over many users."""
        among = reduce(operator.or_, [Users.user_name.in_(query) for query in self.rows])
        return among if self.simply is None else self.simply

    def same_as(self, other: "Active") -> bool:
        """Whether both look into the same rows."""
        return [query.sql() for query in self.rows] == [query.sql() for query in other.rows]

    def has_on_page(self) -> peewee.Expression:
        """The same for the users from arg("first") to arg("last")."""
        if self.simply is not None:
            return self.simply
        return reduce(
            operator.or_,
            [Users.user_name.in_(query.where(on_page(query.selected_columns[0]))) for query in self.rows],
        )

    def has_one(self) -> peewee.Expression:
        """Whether arg("user"), the only one that a query is about, is; without a look at all rows, given an index."""
        return reduce(
            operator.or_,
            [fn.EXISTS(query.where(query.selected_columns[0] == param("user"))) for query in self.rows],
        )


def on_page(user: peewee.Field) -> peewee.Expression:
    return (user >= param("first")) & (user <= param("last"))


# What a module relays, as tokens and the audit see it: the action is the HTTP method.
MOUNTED_REQUEST = dataclasses.replace(
    endpoint(allow=anyone, required={"path": ""}, manages_transactions=True)(
        lambda module, call: {}
    ).endpoint,
    identifiers={"path": None},
)


def module_name(path: str) -> str:
    name = path.removesuffix("/")
    return "" if name == "index.php" else name.removesuffix("/index.php")


class Root(Module):
    """What is asked of the API itself, under no module's path."""

    @endpoint(allow=anyone, read_only=True)
    def get_modules(self, call):
        """The names of the configured modules, in the order of modulelist."""
        return {"modules": list(self.app.config.modulelist)}


def load_modules(app: "Application") -> dict[str, Module]:
    """The modules of modulelist by their URL path, which is the stem of their file."""
    modules: dict[str, Module] = {"": Root(app)}
    stand_ins = {}
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
    """Where a module's file is: beside the config, then where mailapi itself is installed."""
    for path in (base / file, HERE / file, *(folder / Path(file).name for folder in INSTALLED)):
        if path.is_file():
            return path.resolve()
    raise ConfigError(f"modulelist: the file of {name} is missing: {base / file}.")


def load_class(name: str, path: Path) -> type[Module]:
    try:
        found = getattr(load_file(path), name, None)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"modulelist: {path} cannot be loaded: {cause(error)}.") from error
    if not isinstance(found, type) or not issubclass(found, Module):
        raise ConfigError(f"modulelist: {path} does not define a Module class {name}.")
    return found


def load_file(path: Path):
    """Run a Python file under a qualified name of its own: `queue.py` must not pass for the library's."""
    qualified = f"mailapi_modules.{path.stem}"
    if path.parent not in INSTALLED:
        qualified += "_" + sha256(str(path))[:12]
    spec = importlib.util.spec_from_loader(qualified, SourceFileLoader(qualified, str(path)))
    python = sys.modules[qualified] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python)
    return python


########## Sessions ################################################################################


class Session(Model):
    """A log-in. Only hashes are kept: of the id that the cookie holds, and of user_authdata, so that a
    changed password ends the session, whoever changed it (docs/wire.md F19)."""

    session_id = IntegerField()
    token_hash = TextField()
    user_name = TextField()
    authdata_hash = TextField()
    next_hash = TextField(null=True)  # while the password is being changed by this session
    created = IntegerField()  # seconds since 1970


class Failure(Model):
    """Failed log-ins of late, by what they have in common."""

    subject = TextField()  # what it is, and one of BUCKETS numbers
    failures = IntegerField()
    last = IntegerField()  # seconds since 1970


class KnownAddress(Model):
    """From which networks users have logged in, by hash: others' failures do not shut them out there."""

    subject = TextField()
    last = IntegerField()


class ThrottleKey(Model):
    """The secret without which nobody can tell which subjects share a bucket."""

    secret = TextField()


STATE_SCHEMA = """
CREATE TABLE IF NOT EXISTS session (session_id INTEGER PRIMARY KEY AUTOINCREMENT, token_hash TEXT NOT NULL UNIQUE,
    user_name TEXT NOT NULL, authdata_hash TEXT NOT NULL, next_hash TEXT, created INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS session_user ON session (user_name);
CREATE TABLE IF NOT EXISTS failure (subject TEXT PRIMARY KEY, failures INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS failure_last ON failure (last);
CREATE TABLE IF NOT EXISTS known_address (subject TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS known_address_last ON known_address (last);
CREATE TABLE IF NOT EXISTS throttle_key (secret TEXT NOT NULL);
"""
LIVE_SESSIONS = 20  # of one user; the oldest gives way (docs/wire.md section 1)
CLOCK_SKEW = 60  # seconds that clocks may differ; what lies further in the future was written by a wrong one

FIND_SESSION = PreparedQuery(
    Session.select(Session.user_name, Session.authdata_hash, Session.next_hash, Session.created).where(
        Session.token_hash == param("token_hash"),
        Session.created > param("after"),
        Session.created <= param("latest"),
    )
)
ADD_SESSION = PreparedQuery(
    Session.insert(
        token_hash=param("token_hash"),
        user_name=param("user"),
        authdata_hash=param("authdata_hash"),
        created=param("created"),
    )
)
END_SESSION = PreparedQuery(Session.delete().where(Session.token_hash == param("token_hash")))
EXPECT_PASSWORD = PreparedQuery(
    Session.update(next_hash=param("next_hash")).where(Session.token_hash == param("token_hash"))
)
KEEP_SESSION = PreparedQuery(
    Session.update(authdata_hash=Session.next_hash, next_hash=None).where(
        Session.token_hash == param("token_hash"), Session.next_hash.is_null(False)
    )
)
END_OTHER_SESSIONS = PreparedQuery(
    Session.delete().where(Session.user_name == param("user"), Session.token_hash != param("but"))
)
NEWEST = (
    Session.select(Session.session_id)
    .where(Session.user_name == param("user"))
    .order_by(Session.session_id.desc())
    .limit(LIVE_SESSIONS)
    .alias("newest")
)
END_OLD_SESSIONS = PreparedQuery(
    Session.delete().where(
        (Session.created <= param("before"))
        | (Session.created > param("latest"))
        | (
            (Session.user_name == param("user"))
            & Session.session_id.not_in(peewee.Select([NEWEST], [NEWEST.c.session_id]))
        )  # MariaDB: no LIMIT right here
    )
)


def sha256(value: str | bytes) -> str:
    """The hash of a text, or of its bytes: a user_authdata may be stored as either (docs/wire.md F35)."""
    return hashlib.sha256(value if isinstance(value, bytes) else value.encode()).hexdigest()


authdata_hash = lru_cache(maxsize=1000)(sha256)  # asked for in every request


def chown_like(file: str | os.PathLike | int, model: str | os.PathLike):
    """Give a path or an open file that root has made the owner and group of another file, such as its folder, so that
    the service can use it. Do nothing for other users, and on file systems without owners."""
    if os.geteuid() == 0:
        seen = os.stat(model)
        with contextlib.suppress(OSError):
            os.chown(file, seen.st_uid, seen.st_gid, follow_symlinks=isinstance(file, int))


@contextlib.contextmanager
def folder_lock(folder: str):
    """One process and thread at a time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class StateFailure(ApiError):
    """The state database cannot be used; the master database is not to blame."""

    def __init__(self, error):
        super().__init__(f"The state database cannot be used: {error}.", http=500)


class StateStore(Store):
    """The state database: what is the API's own. Made on first use, readable by its owner only; made by root, it
    belongs to its folder's owner."""

    PRAGMAS = {"synchronous": "NORMAL"}

    def __init__(self, path: str, schema: str):
        super().__init__(path)
        self.schema = schema

    def missing(self, error):
        self.create()
        try:
            return os.stat(self.path)
        except (OSError, ValueError) as still:
            raise CannotOpen(still) from None

    def before_opening(self):
        """Side files keep the mode that the file had when they were made: it may have been read-only. Their owner SQLite
        sees to."""
        path = os.path.realpath(self.path)
        for side in (path + "-wal", path + "-shm"):
            with contextlib.suppress(OSError):
                if not os.path.islink(side):  # which would lead root elsewhere
                    os.chmod(side, os.stat(path).st_mode & 0o777)

    def after_opening(self):
        """Add the tables that an older version or a shorter modulelist did not have."""
        try:
            have = {row[0] for row in self.database.connection().execute("SELECT name FROM sqlite_master")}
            if not have.issuperset(re.findall("IF NOT EXISTS ([A-Za-z_]+)", self.schema)):
                os.chmod(self.path, 0o600)
                self.database.connection().executescript("PRAGMA journal_mode = WAL;" + self.schema)
        except sqlite3.Error as error:
            self.database.close()
            raise StateFailure(error) from None

    def create(self):
        """Make the file whole under another name first: several processes may start at once."""
        path = os.path.realpath(self.path)  # of a link that leads nowhere yet
        folder = os.path.dirname(path)
        try:
            with folder_lock(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".mailapi-") as private:
                if os.path.exists(path):
                    return
                new = os.path.join(private, "state")
                with contextlib.closing(sqlite3.connect(new)) as connection:
                    connection.executescript("PRAGMA journal_mode = WAL;" + self.schema)
                os.chmod(new, 0o600)
                chown_like(new, folder)
                for leftover in ("-wal", "-shm"):  # of a file that was deleted: not to be replayed
                    Path(path + leftover).unlink(missing_ok=True)
                os.rename(new, path)
        except (OSError, sqlite3.Error) as error:
            raise StateFailure(getattr(error, "strerror", error)) from None

    @contextlib.contextmanager
    def transaction(self, lock_type="IMMEDIATE"):
        with self.one_statement(), super().transaction(lock_type):
            yield

    def make_room(self):
        """Have the next transaction written over the journal's beginning: the disk need not have room for more."""
        with contextlib.suppress(ApiError, peewee.PeeweeException, sqlite3.Error):
            self.connect().execute("PRAGMA wal_checkpoint(RESTART)")

    @contextlib.contextmanager
    def one_statement(self):
        """For a block of a single statement, which is a transaction without saying so."""
        try:
            self.connect()
            yield
        except peewee.PeeweeException as error:
            raise self.failure(error) from error

    @staticmethod
    def failure(error: peewee.PeeweeException) -> ApiError:
        return refusal(error) if is_busy(error) else StateFailure(error)


def repeated(method: Callable) -> Callable:
    """A method of one transaction, which its store may have to repeat."""

    @wraps(method)
    def repeating(self, *args, **named):
        return self.store.run_with_retry(lambda: method(self, *args, **named))

    return repeating


FORGOTTEN = 3600  # seconds after which a failed log-in no longer counts
LONGEST_WAIT = {"known": 30, "address": 900, "user": 900}  # seconds
KNOWN_FOR = 180 * 86400  # seconds
MOST_KNOWN = 100  # networks of one user; the one that was not used for longest gives way
BUCKETS = (
    250_000  # counts of each kind, so that whoever fails under ever new names and addresses fills no disk
)
AT_ONCE = 100  # rows that are deleted in one transaction, so that nobody waits for it

FIND_FAILURES = PreparedQuery(
    Failure.select().where(
        Failure.subject == param("subject"), Failure.last > param("after"), Failure.last <= param("latest")
    )
)
COUNT_FAILURE = PreparedQuery(
    Failure.replace(subject=param("subject"), failures=param("failures"), last=param("last"))
)
FORGET_FAILURE = PreparedQuery(Failure.delete().where(Failure.subject == param("subject")))
OUT_OF_DATE = PreparedQuery(
    Failure.select(Failure.subject)
    .where((Failure.last <= param("after")) | (Failure.last > param("latest")))
    .limit(AT_ONCE)
)
KNOWN_SINCE = PreparedQuery(
    KnownAddress.select(fn.MAX(KnownAddress.last)).where(
        (KnownAddress.subject == param("subject")) | (KnownAddress.subject == param("former")),
        KnownAddress.last > param("after"),
        KnownAddress.last <= param("latest"),
    )
)
KNOWN_OF_USER = PreparedQuery(
    KnownAddress.select(KnownAddress.subject)
    .where(KnownAddress.subject.between(param("first"), param("last")))
    .order_by(KnownAddress.last.desc())
)
OLDEST_KNOWN = PreparedQuery(
    KnownAddress.select(KnownAddress.subject).where(KnownAddress.last <= param("before")).limit(AT_ONCE)
)
KNOW = PreparedQuery(KnownAddress.replace(subject=param("subject"), last=param("last")))
THROTTLE_KEY = PreparedQuery(ThrottleKey.select(ThrottleKey.secret))


def of_late(seconds: int) -> dict[str, int]:
    """The bounds of the last so many seconds, for a query."""
    now = int(time.time())
    return {"after": now - seconds, "latest": now + CLOCK_SKEW}


class TooManyFailures(ApiError):
    """A log-in that comes too early after others that failed."""

    def __init__(self, seconds: int, wait: str):
        super().__init__(
            f"Too many failed log-ins. Try again in {seconds} seconds.", http=429, retry_after=seconds
        )
        self.wait = wait  # names what has to wait, and since when


@dataclasses.dataclass
class Attempt:
    """A log-in that may go on, and what was counted before it."""

    user_name: str
    network: str
    known_since: int | None  # the time of the user's last log-in from there
    counts: dict[str, dict | None]  # subject → its row of failure, None where nothing counts


class LoginThrottle:
    """Make failed log-ins cost time: those from an address, of a user, of a user from a network known as theirs.

    All of it happens in the transaction of the log-in, so that each guess is held against those before it.
    """

    def __init__(self, store: Store, free_attempts: int):
        self.store, self.free = store, free_attempts

    def check(self, user_name: str, address: str) -> Attempt:
        """Let a log-in go on; TooManyFailures where it comes too early."""
        where = network(address)
        known_since = self.store.value(KNOWN_SINCE, **known_subjects(user_name, where), **of_late(KNOWN_FOR))
        kinds = (
            {"address": where, "user": user_name}
            if known_since is None
            else {"known": f"{where} {user_name}"}
        )
        attempt, key = Attempt(user_name, where, known_since, {}), self.key()
        for kind, value in kinds.items():
            digest = hmac.digest(key.encode(), f"{kind} {value}".encode(), "sha256")
            subject = f"{kind} {int.from_bytes(digest[:8], 'big') % BUCKETS}"
            row = self.store.one(FIND_FAILURES, subject=subject, **of_late(FORGOTTEN))
            attempt.counts[subject] = row
            if row and (over := row["failures"] - self.free) >= 0:
                pause, passed = min(2 ** min(over, 20), LONGEST_WAIT[kind]), int(time.time()) - row["last"]
                if passed < pause:
                    raise TooManyFailures(
                        min(pause, pause - passed), f"{subject} {row['failures']} {row['last']}"
                    )
        return attempt

    def key(self) -> str:
        if not (key := self.store.value(THROTTLE_KEY)):
            key = secrets.token_hex(32)
            self.store.execute(ThrottleKey.insert(secret=key))
        return key

    def record_failure(self, attempt: Attempt):
        for subject, row in attempt.counts.items():
            failures = row["failures"] + 1 if row else 1
            self.store.execute(COUNT_FAILURE, subject=subject, failures=failures, last=int(time.time()))

    def take_back(self, attempt: Attempt):
        """Undo record_failure, and delete counts that are out of date."""
        for subject, row in attempt.counts.items():
            self.store.execute(COUNT_FAILURE if row else FORGET_FAILURE, **(row or {"subject": subject}))
        self.delete(Failure, self.store.column(OUT_OF_DATE, **of_late(FORGOTTEN)))

    def remember_address(self, attempt: Attempt):
        """Note, once a day, that a user has logged in from a network."""
        now = int(time.time())
        if attempt.known_since is None or now - attempt.known_since > 86400:
            owner, subjects = (
                known_owner(attempt.user_name),
                known_subjects(attempt.user_name, attempt.network),
            )
            self.store.execute(KNOW, subject=subjects["subject"], last=now)
            newest = self.store.column(
                KNOWN_OF_USER, first=owner, last=owner + "g"
            )  # hexadecimal digits follow
            self.delete(KnownAddress, newest[MOST_KNOWN:][:AT_ONCE])
            self.delete(KnownAddress, self.store.column(OLDEST_KNOWN, before=now - KNOWN_FOR))

    def delete(self, model: type[Model], subjects: list[str]):
        if subjects:
            self.store.execute(model.delete().where(model.subject.in_(subjects)))


def known_owner(user_name: str) -> str:
    return sha256(f"owner {user_name}")[:24]


def known_subjects(user_name: str, network: str) -> dict[str, str]:
    """The subject of a user's log-ins from a network, and the one that former versions gave it."""
    both = sha256(f"both {network} {user_name}")
    return {"subject": known_owner(user_name) + both[:40], "former": both}


class Sessions:
    """Log-ins that are remembered, by a random id of 256 bits in the cookie."""

    def __init__(self, store: Store, config: Config):
        self.store, self.lifetime = store, config.session_lifetime
        self.throttle = LoginThrottle(store, config.free_attempts)

    def find(self, token: str) -> dict | None:
        now = int(time.time())
        with self.store.one_statement():
            return self.store.one(
                FIND_SESSION, token_hash=sha256(token), after=now - self.lifetime, latest=now + CLOCK_SKEW
            )

    @repeated
    def begin(
        self,
        user_name: str,
        password: str,
        user: dict | None,
        address: str,
        instead_of: str | None,
        remember: bool = True,
    ):
        """A new session in the place of the one that the request came with; its id, or None for a wrong password.
        Where it is not to be remembered, none is made, and the id is "".

        The attempt is written down as failed before the password is looked at, and a right one writes no less: where
        a failure could not be written, as on a full disk, nobody gets in, and the answer says nothing of the password.
        """
        user = user or {}
        authdata, fits = user.get("user_authdata"), user.get("verify", verify)
        with self.store.transaction():
            attempt = self.throttle.check(user_name, address)
            self.throttle.record_failure(attempt)
            if not fits(password, authdata):
                return None
            self.throttle.take_back(attempt)
            self.throttle.remember_address(attempt)
            return self.remember(user_name, authdata, instead_of) if remember else ""

    def remember(self, user_name: str, authdata: str, instead_of: str | None) -> str:
        token, now = (
            secrets.token_hex(32),
            int(time.time()),
        )  # only characters that PHP takes (docs/wire.md F41)
        if instead_of:
            self.store.execute(END_SESSION, token_hash=sha256(instead_of))
        self.store.execute(
            ADD_SESSION, token_hash=sha256(token), user=user_name, authdata_hash=sha256(authdata), created=now
        )
        self.store.execute(
            END_OLD_SESSIONS, user=user_name, before=now - self.lifetime, latest=now + CLOCK_SKEW
        )
        return token

    def confirm(self, session: dict, token: str, user: dict | None):
        """LoginRefused unless a session is that of this user with this password, or with the one that it is setting."""
        if user and user["user_authdata"] and session["user_name"] == user["user_name"]:
            hashed = authdata_hash(user["user_authdata"])
            if hashed == session["authdata_hash"] or hashed == session["next_hash"]:
                return
            latest = self.find(token)  # it may have set the password meanwhile
            if latest and hashed in (latest["authdata_hash"], latest["next_hash"]):
                return
        raise LoginRefused("Username is not set!")

    def expect(self, token: str, authdata: str):
        """Let a session survive the change of password that it is about to commit."""
        with self.store.transaction():
            self.store.execute(EXPECT_PASSWORD, token_hash=sha256(token), next_hash=sha256(authdata))

    @repeated
    def end_others(self, user_name: str, but: str):
        """End a user's sessions, except for one that set the password itself."""
        with self.store.transaction():
            self.store.execute(KEEP_SESSION, token_hash=sha256(but))
            self.store.execute(END_OTHER_SESSIONS, user=user_name, but=sha256(but))

    @repeated
    def end(self, token: str):
        """End a session; on a full disk in the room that the database has already, if there is any."""
        try:
            self.end_by(token)
        except StateFailure:
            self.store.make_room()
            self.end_by(token)

    def end_by(self, token: str):
        with self.store.transaction():
            self.store.execute(END_SESSION, token_hash=sha256(token))


AUTHDATA = re.compile(r"([^:]*):([0-9a-f]{64})")
NO_SUCH_USER = "0" * 32 + ":" + "0" * 64  # as long as a real one: the same work


def make_authdata(password: str | None) -> str | None:
    """The stored form of a password, as the mail daemons verify it (docs/wire.md F28); None takes the log-in away."""
    if not password:
        return None
    salt = secrets.token_hex(16)
    return f"{salt}:{sha256(salt + password)}"


def verify(password: str, authdata: str | bytes | None) -> bool:
    """Whether a password fits; the same work where there is nothing to fit (docs/wire.md F18, F35)."""
    if isinstance(authdata, bytes):  # a BLOB
        authdata = authdata.decode(errors="surrogateescape")
    known = isinstance(authdata, str) and AUTHDATA.fullmatch(authdata)
    salt, digest = (known or AUTHDATA.fullmatch(NO_SUCH_USER)).groups()
    fits = hmac.compare_digest(sha256(salt.encode(errors="surrogateescape") + password.encode()), digest)
    return fits and bool(known)


########## Application #############################################################################


META = peewee.Table("meta", ("key", "value"))
SCHEMA_VERSION = PreparedQuery(META.select(META.value).where(META.key == "schema_version"))
# In one reading: the schema version, the credentials, and a row for every permission.
WHO = each_generation(
    lambda g: (
        META.select(META.value, Users.user_name, Users.user_authdata, g.access.api_permission)
        .join(Users, peewee.JOIN.LEFT_OUTER, on=Users.user_name == param("user"))
        .join(g.access, peewee.JOIN.LEFT_OUTER, on=g.access.api_user == Users.user_name)
        .where(META.key == "schema_version")
    )
)
CREDENTIALS_OF = PreparedQuery(
    Users.select(Users.user_name, Users.user_authdata).where(Users.user_name == param("user"))
)


class Call:
    """One request on its way through an endpoint: what was asked, who asks, the database to act on."""

    user_name: str | None = None  # None: whoever may read the database file
    encodes = False  # whether the answer goes out as JSON
    session = ""  # its id
    password: str | None = (
        None  # as it came along and was found right, for services that check it; kept nowhere
    )
    claimed_name: str | None = None  # who a failed log-in said they were
    restriction: Callable[[Module, Endpoint], None] | None = None  # raises what a token may not
    caller: Caller | None = None
    authdata: str | None = None  # the user_authdata with which the caller was confirmed
    refused_wait = ""  # names the wait in which a log-in came too early
    external_user: dict | None = None  # the row that a module has in place of the one of users
    # Nothing where nothing changes; begin_anew makes them anew for what may change something.
    new_authdata: Mapping[str, str | None] = types.MappingProxyType({})  # of users whose sessions must end
    deleted_users: Sequence[str] = ()
    participants: "Sequence[Participant]" = ()

    def __init__(
        self, app: "Application", generation: Generation, body: dict, query: dict, limit: int | None = None
    ):
        self.app, self.config, self.db = app, app.config, app.db
        self.generation, self.body, self.query, self.limit = generation, body, query, limit

    @property
    def pages(self) -> bool:
        """Whether only a part of a list is asked for."""
        return self.limit is not None or any(self.query.get(name) for name in PAGE_QUERY)

    def confirm(self, user: dict | None):
        """In its place: raise LoginRefused where the row of users, read with the rights, is not who was let in."""

    def report_progress(self, sentence: str):
        """In its place: say how far a long action is, to who waits."""

    def reset_changes(self):
        """Forget what an attempt did that the database has undone."""
        self.new_authdata, self.deleted_users, self.participants = {}, [], []

    def identify(self):
        """Read what the caller may do, inside the transaction of the action (docs/wire.md F19)."""
        if self.user_name is None:
            self.caller = Caller(self.db, None, ["admin"])
            return
        try:
            rows = self.db.fetch(WHO[self.generation.number], {"user": self.user_name})[1]
        except peewee.OperationalError:  # of the other generation the table has other columns
            self.app.check_generation(self.generation)
            raise
        if not rows or rows[0][0] != str(self.generation.number):
            self.app.check_generation(self.generation)
        _, user_name, user_authdata, _ = rows[0]
        row = self.external_user or user_name and {"user_name": user_name, "user_authdata": user_authdata}
        self.confirm(row)
        self.authdata = row and row["user_authdata"]
        self.caller = Caller(self.db, self.user_name, [row[3] for row in rows if row[3] is not None])

    def listing(self, query: PreparedQuery, **values) -> "RawJSON | list[dict]":
        """All rows of a query, or the page that is asked for, for the answer as they are: encoded by the database where
        nobody looks at them."""
        if not self.pages:
            return self.encodes and self.db.encoded(query, values) or self.db.rows(query, **values)
        return self.db.rows(self.page(query) if query.pages else query, **values)

    def page(self, query: PreparedQuery) -> PreparedQuery:
        """What is asked for of a list."""
        return query.pages.of(
            query.query, self.query.get("after") or None, self.query.get("search"), self.limit
        )

    def in_generation(self, sentence: str) -> str:
        return self.generation.in_generation(sentence)

    def enlist(self, change: str, user_name: str, password: str | None = None):
        """Make a change of a user also where modules keep users, bound to this one's transaction."""
        for module in self.app.modules.values():
            if held := module.on_user_change(self, change, user_name, password):
                self.participants.append(held)
                if self.new_authdata.get(user_name):
                    self.new_authdata[user_name] = held.authdata

    def end_participants(self, committed: bool | None):
        """What joined the master's transaction ends as it did; None: nobody knows."""
        for held in self.participants:
            if committed:
                held.commit()
            elif committed is None:
                held.leave()
            else:
                held.rollback()


class Participant:
    """A change in another database, prepared there so that it can no longer fail; none of its methods raises."""

    authdata: str | None = None  # what the user's sessions are held against from now on

    def commit(self):
        """The master database has committed."""

    def rollback(self):
        """It has not, and will not."""

    def leave(self):
        """Nobody knows: what is prepared stays so, until somebody looks."""


@dataclasses.dataclass
class Event:
    """What was asked and how it ended, for the modules that keep watch."""

    module: str
    status: str
    http: int
    address: str
    via: str  # password, session, log-out, token NAME, or local
    session: str = ""  # the start of its hash: what else was done in it
    action: str = ""
    user_name: str | None = None
    target: str = ""
    changes: bool = False
    logs_in: bool = False
    confirmed: bool = False  # whether the user is who they say
    refused_wait: str = ""  # names the wait in which a log-in came too early

    def describe(self, call: Call, chosen: Endpoint | None):
        self.user_name, self.refused_wait = call.user_name or call.claimed_name, call.refused_wait
        self.confirmed = call.caller is not None or self.via in ("log-out", "local")
        self.session = sha256(call.session)[:12] if call.session else ""
        self.logs_in = self.via in ("password", "log-out")
        if chosen:
            given = [
                str(call.body[name])[:200]
                for name in chosen.needed(call.generation)
                if name in chosen.identifiers
                and call.body.get(name)
                and ((values := chosen.identifiers[name]) is None or call.body[name] in values)
            ]
            self.target = " ".join(given)
            self.action, self.changes = chosen.name, not chosen.read_only


@dataclasses.dataclass
class Bearer:
    """Whose a token is, how it is called in the audit, what raises ApiError where it does not reach; and the hash of
    the authdata that it was made under, as it ends with that."""

    user_name: str
    via: str
    refuse: Callable[[Module, Endpoint], None]
    authdata_hash: str


class SchemaMismatch(ApiError):
    """A master database of a generation that this API does not know: both versions, nothing else."""

    def __init__(self, version):
        super().__init__("Api version and schema version is not the same.")
        self.answer = {"api_version": LATEST, "schema_version": version}


class Migrated(ApiError):
    """The master database has become one of another generation since it was last looked at."""

    def __init__(self):
        super().__init__("The database has been migrated. Try again.", http=503, retry_after=1)


class Application:
    """A WSGI callable over one master database; several live side by side in one process."""

    def __init__(self, config: Config):
        self.config = config
        self.db = open_store(config.dbpath)
        self.modules = load_modules(self)
        self.credential_providers = [
            m
            for m in self.modules.values()
            if type(m).external_credentials is not Module.external_credentials
        ]
        self.state_schema = STATE_SCHEMA + "".join(module.state_schema for module in self.modules.values())
        self.state = open_store(config.state, self.state_schema)
        self.sessions = Sessions(self.state, config)
        self.request_listeners = [
            module for module in self.modules.values() if type(module).on_request is not Module.on_request
        ]
        self.large_bodies = SharedLimit(config.max_bodies)
        self.log_origins = True  # until it has been said once
        self.mounts = {first: module for module in self.modules.values() for first in module.mounts}
        self.bottle = bottle.Bottle()
        self.bottle.route("/<path:re:[\\s\\S]*>", "ANY", self.serve)

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode(errors="replace")
        path = path.removeprefix("/")  # `OPTIONS *` has none
        environ["PATH_INFO"] = "/" + path.encode().decode("latin-1")  # Bottle leaves out what is not UTF-8
        try:
            return self.bottle(environ, start_response)
        finally:
            self.release()

    def release(self):
        """Let go of the databases: what follows may wait for others, or nothing follows."""
        self.db.release()
        self.state.release()

    def serve(self, path: str) -> bottle.HTTPResponse:
        """Answer Bottle's current request."""
        status, headers, body = RequestHandler(self, bottle.request.environ, path).response()
        return bottle.HTTPResponse(body, status, headers)

    def generation(self) -> Generation:
        """Which schema the master database has now; `Call.identify` looks again, in its transaction."""
        try:
            self.db.connect()
            return self.read_generation()
        except peewee.PeeweeException as error:
            if is_busy(error):
                raise
            raise ApiError(f"The database cannot be opened: {error}.", http=500) from None

    def read_generation(self) -> Generation:
        """SchemaMismatch where it is none of GENERATIONS."""
        version = number(self.db.value(SCHEMA_VERSION))
        if version not in GENERATIONS:
            raise SchemaMismatch(version)
        return GENERATIONS[version]

    def check_generation(self, expected: Generation):
        """Refuse to go on where the database has been migrated since it was last seen."""
        if self.generation() is not expected:
            raise Migrated()

    def module(self, path: str, generation: Generation) -> Module:
        """The module that a URL path names, with or without slash and index.php (docs/wire.md section 1)."""
        module = self.modules.get(module_name(path))
        if module is None or generation.number not in module.generations:
            self.check_generation(generation)
            raise ApiError(f"Unknown module {module_name(path)}.", http=404)
        return module

    def body_limit(self, path: str, query_string: str) -> int:
        """Return how many bytes a request's body may have, whoever sends it: for servers that spool it first."""
        first, name = path.removeprefix("/").partition("/")[0], module_name(path.removeprefix("/"))
        limit: int | str = 0
        if first in self.mounts:
            limit = self.mounts[first].mount_max_body
        elif name in self.modules:
            with contextlib.suppress(ApiError):  # which it will be refused with
                chosen = self.modules[name].choose(read_query(query_string))
                limit = chosen.max_body if chosen else 0
        return (getattr(self.config, limit) if isinstance(limit, str) else limit) or self.config.max_body

    def perform(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """Run an action in one transaction; what it adds to the answer."""
        if chosen and chosen.manages_transactions:
            call.reset_changes()
            with self.db.transaction("DEFERRED"):
                call.identify()
            self.release()
            return chosen.run(module, call)
        if chosen and not chosen.read_only:
            added = self.run_write(call, module, chosen)
        else:
            added = self.db.run_with_retry(partial(self.run_read, call, module, chosen))
        if chosen and chosen.after_commit:
            self.release()
            return chosen.after_commit(module, call, added)
        return added

    def run_read(self, call: Call, module: Module, chosen: Endpoint | None) -> dict:
        """An action that changes nothing, or none at all."""
        with self.db.transaction("DEFERRED"):
            call.identify()
            return chosen.run(module, call) if chosen else {}

    def run_write(self, call: Call, module: Module, chosen: Endpoint) -> dict:
        """An action that may change something, again where the database undid it."""
        try:
            return self.db.run_with_retry(partial(self.run_write_once, call, module, chosen))
        except CommitOutcomeUnknown:
            self.notify_deleted([name for name in call.deleted_users if self.is_gone(name)])
            raise

    def is_gone(self, user_name: str) -> bool:
        """Whether a user was deleted; not where nobody can tell."""
        with contextlib.suppress(ApiError, peewee.PeeweeException):
            self.db.connect()
            return self.db.one(CREDENTIALS_OF, user=user_name) is None
        return False

    def run_write_once(self, call: Call, module: Module, chosen: Endpoint) -> dict:
        call.reset_changes()
        try:
            with self.db.transaction():
                call.identify()
                added = chosen.run(module, call)
                if authdata := call.new_authdata.get(call.user_name):
                    self.sessions.expect(call.session, authdata)
        except BaseException as error:
            # A signal may come while the commit is under way, too.
            unknown = not isinstance(error, Exception) or getattr(error, "undecided", None) is self.db
            call.end_participants(committed=None if unknown else False)
            raise
        call.end_participants(committed=True)
        return added

    def external_credentials(self, user_name: str, logging_in: bool = False) -> dict | None:
        """The row that a module has in place of the user's in `users`."""
        for module in self.credential_providers:
            if (row := module.external_credentials(user_name, logging_in)) is not None:
                return row
        return None

    def credentials(self, user_name: str) -> dict | None:
        """What a user's log-ins are held against now."""
        return self.external_credentials(user_name) or self.db.one(CREDENTIALS_OF, user=user_name)

    def end_sessions(self, call: Call):
        """After the commit: end the sessions of whose password changed, but for the one that did it (docs/wire.md F19)."""
        try:
            for user_name, authdata in call.new_authdata.items():
                mine = user_name == call.user_name and authdata
                self.sessions.end_others(user_name, but=call.session if mine else "")
        except ApiError as error:  # no session fits the new password anyway
            log.warning("%s", error.status)
        self.notify_deleted(call.deleted_users)

    def notify_deleted(self, user_names: list[str]):
        """What the modules keep of users who are gone must not fall to the next of that name."""
        for user_name in user_names:
            self.notify(
                lambda module, user_name=user_name: self.db.run_with_retry(
                    lambda: self.state.run_with_retry(lambda: module.on_user_deleted(user_name))
                )
            )

    def notify(self, what: Callable[["Module"], None], modules: Iterable["Module"] | None = None):
        """Tell modules, all or those given, something that has happened; a failure of theirs does not undo it."""
        for module in self.modules.values() if modules is None else modules:
            try:
                what(module)
            except ApiError as error:
                log.warning("%s failed to take note: %s", module.name, error.status)
            except Exception:
                log_exception(f"{module.name} failed to take note")

    def listed(self) -> dict[str, Module]:
        """The configured modules by their names, in the order of modulelist."""
        return {module.name: module for module in self.modules.values() if module.name}


class RequestHandler:
    """A request and its answer over HTTP, in the order that docs/wire.md sections 1 and 2 give."""

    callback: str | None = None
    call: Call | None = None
    chosen: Endpoint | None = None
    file: File | None = None
    via = ""  # how the caller was identified
    refused: ApiError | None = None  # what the answer's status is the sentence of
    mounted_response: bottle.HTTPResponse | None = None  # the answer of a module that made all of it

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

    @property
    def client(self) -> str:
        """The client's address."""
        return client_address(self.environ, self.app.config.proxies)

    def response(self) -> tuple[str, list, Iterable[bytes]]:
        """Status line, headers and body."""
        try:
            answer, http = self.outcome()
        finally:
            self.app.large_bodies.give_back(self.reserved)
        self.app.db.release()  # what follows may wait: for the state database, for the client
        # Whether nothing has happened but that somebody in a session was shown something.
        looked = self.chosen and self.chosen.read_only and self.via == "session" and answer["status"] == "ok"
        if not looked:
            self.report(self.refused.audit if self.refused else answer["status"], http)
        if self.mounted_response is not None:
            return (
                self.mounted_response.status_line,
                self.mounted_response.headerlist,
                self.mounted_response.body,
            )
        payload, content_type = encode(answer), "application/json"
        if self.callback:
            payload, content_type = jsonp(self.callback, payload.decode()).encode(), "application/javascript"
        if self.file:
            payload = self.file.content
        self.headers += self.file.headers() if self.file else [("Content-Type", content_type)]
        self.headers.append(("Content-Length", str(len(payload))))
        if self.app.config.cors_origin:
            self.headers.append(("Access-Control-Allow-Origin", self.app.config.cors_origin))
        self.headers.append(("Cache-Control", "no-store"))
        body = [payload] if "mailapi.body_read" in self.environ else Unread(payload, self.environ)
        return f"{http} {bottle.HTTP_CODES[http]}", self.headers, body

    def outcome(self) -> tuple[dict, int]:
        """The answer and its HTTP status; refusals and failures that `act` left become answers here."""
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
        """Tell the modules that keep watch what was asked, by whom, and how it ended; never a secret."""
        event = Event(
            module=module_name(self.path), status=status, http=http, address=self.client, via=self.via
        )
        if self.call:
            event.describe(self.call, self.chosen)
        self.app.notify(lambda module: module.on_request(event), self.app.request_listeners)

    def process(self) -> dict:
        if self.app.config.debug:
            self.app.db.trace(self.frame["debug"].append)
        first, _, below = self.path.partition("/")
        if first in self.app.mounts:
            return self.mount(first, below)
        query = read_query(self.environ.get("QUERY_STRING", ""))
        if "callback" in query:
            self.callback = read_callback(query["callback"])
        return self.dispatch(query, self.app.generation())

    def dispatch(self, query: dict, generation: Generation) -> dict:
        self.frame["api_version"] = self.frame["schema_version"] = generation.number
        module = self.app.module(self.path, generation)
        limit = read_limit(query["limit"]) if "limit" in query else None
        self.chosen = chosen = module.choose(query)
        if self.callback and chosen and chosen.download:
            raise ApiError("A file has no callback.", http=400)
        self.call = call = Call(self.app, generation, {}, {}, limit)
        call.encodes = True
        body, auth = self.read_body(chosen)
        if "logout" in query:
            if isinstance(body, bytes):
                read_object(body[: self.app.config.max_body])  # refused where it is no object, as everywhere
            return self.log_out(call)
        self.log_in(call, read_fields({"auth": auth}, {"auth": CREDENTIALS})["auth"] or {})
        self.refuse_change_by_link()
        unread = [body]
        del body  # so that an action can let go of a large field that it has read
        return self.act(call, module, chosen, lambda: self.read_fields(unread.pop(), auth, query))

    def read_body(self, chosen: Endpoint | None) -> tuple[dict | bytes, dict | None]:
        """Return the request's body, as bytes where it is large, and its `auth`, which is all that was read of it."""
        config, length = self.app.config, body_length(self.environ)
        most = chosen.most(config) if chosen else config.max_body
        if (
            length is None or SMALL_BODY < length <= most
        ):  # the body, what is read of it, and what is made of that
            self.reserved = self.app.large_bodies.take(3 * (length or most))
        raw = raw_body(self.environ, most)
        if len(raw) > SMALL_BODY:
            auth = find_auth(raw)
            refuse_forbidden_text({"auth": auth})
            return raw, auth
        body = read_object(raw)
        refuse_forbidden_text({"auth": body.get("auth")})
        return body, body.get("auth")

    def read_fields(self, body: dict | bytes, auth: dict | None, query: dict):
        """Read what the action declares; nothing of it was read before it was known who asks."""
        if isinstance(body, bytes):
            body = self.read_large_body(body, auth)
        elif body:
            refuse_forbidden_text(body)
        if self.chosen:
            self.call.body, self.call.query = self.chosen.read(self.call.generation, body, query)

    def read_large_body(self, raw: bytes, auth: dict | None) -> dict:
        """Return the object of a large body, for whoever may call the action so far as can be told without its fields."""
        call, chosen = self.call, self.chosen
        with self.app.db.transaction("DEFERRED"):
            call.identify()
        for rule in chosen.allow if chosen else ():
            if not rule.of_fields and not rule.test(call):
                raise ApiError(call.in_generation(rule.refusal))
        body = chosen.read_body(raw, self.app.config.max_body) if chosen else read_object(raw)
        if (body.get("auth") or {}) != (auth or {}):
            raise invalid("auth")
        refuse_forbidden_text(body)
        return body

    def refuse_change_by_link(self):
        """Refuse a change by GET with a cookie, which a link in a mail could bring about (docs/wire.md F43)."""
        changes = self.chosen and not self.chosen.read_only and self.via == "session"
        if changes and self.environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            self.headers.append(("Allow", "POST"))
            raise ApiError("Use POST.", http=405)

    def mount(self, first: str, below: str) -> dict:
        """Let a module make the whole answer; its refusals are answered as everywhere."""
        self.app.release()
        self.path = first
        try:
            self.call = Call(self.app, self.app.generation(), {"path": below}, {})
            self.frame |= dict.fromkeys(("api_version", "schema_version"), self.call.generation.number)
            self.mounted_response = self.app.mounts[first].mount(self, below)
        except ApiError as refused:  # to these clients HTTP 200 means done
            http = 403 if refused.http == 200 else refused.http
            raise ApiError(
                refused.status, http, refused.retry_after, refused.audit, **refused.answer
            ) from None
        unchanged = self.mounted_response.status_code >= 400 and self.chosen and not self.chosen.read_only
        return self.frame | {"status": self.mounted_response.status_line if unchanged else "ok"}

    def admit(self, module: Module, read_only: bool) -> Call:
        """Who asks for what a module relays, by HTTP Basic or a token: no session is made, no cookie counts."""
        call = self.call
        self.chosen = dataclasses.replace(
            MOUNTED_REQUEST, name=self.environ["REQUEST_METHOD"], read_only=read_only
        )
        if self.is_cross_site():  # browsers send Basic credentials along like cookies
            raise ApiError("Not allowed from another site.", http=403)
        scheme, _, given = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            if scheme.lower() == "bearer":
                self.use_token(call, given.strip())
            else:
                self.check_password(call, *basic_credentials(scheme, given), remember=False)
                self.via = "basic"
            with self.app.db.transaction("DEFERRED"):
                call.identify()
        except LoginRefused as refused:
            self.headers.append(("WWW-Authenticate", 'Basic realm="mailapi", charset="UTF-8"'))
            raise ApiError(refused.status, http=401, login=False) from None
        if call.restriction:
            call.restriction(module, self.chosen)
        return call

    def act(self, call, module, chosen, read_fields: Callable) -> dict:
        """Run the action; after it is refused, too, the answer says who is logged in."""
        try:
            read_fields()
            added = self.app.perform(call, module, chosen)
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
        if call.caller is None:  # the transaction did not begin
            call.identify()
        if isinstance(added, File):
            self.file, added = added, {}
        granted = php_map(dict.fromkeys(call.caller.permissions, True))
        return {
            **self.frame,
            call.generation.permission + "s": granted,
            "login": True,
            "auth_user": call.user_name,
            **(shorten(added, call.limit) if call.limit else added),
        }

    def log_in(self, call: Call, auth: dict):
        """Find out who asks: credentials decide, then a token, else the session."""
        scheme, _, bearer = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if auth.get("user_name"):
            self.check_password(call, auth["user_name"], auth.get("password"))
        elif scheme.lower() == "bearer":
            self.use_token(call, bearer.strip())
        else:
            self.use_session(call)

    def use_session(self, call: Call):
        sessions, self.via, token = self.app.sessions, "session", self.cookie()
        session = token and sessions.find(token)
        if not session:
            raise LoginRefused("Username is not set!")
        call.user_name, call.session = session["user_name"], token
        if self.app.credential_providers:
            call.external_user = self.app.external_credentials(call.user_name)
        call.confirm = partial(sessions.confirm, session, token)

    def check_password(self, call: Call, user_name: str, given: str | None, remember: bool = True):
        self.via, call.claimed_name = "password", user_name
        if not given:
            raise LoginRefused("Password is not set!")
        call.external_user = self.app.external_credentials(user_name, logging_in=True)
        user = call.external_user or self.app.db.one(CREDENTIALS_OF, user=user_name)
        authdata = user and user["user_authdata"]
        try:
            call.session = self.app.sessions.begin(
                user_name, given, user, self.client, self.cookie(), remember
            )
        except TooManyFailures as early:
            call.refused_wait = early.wait
            raise
        if call.session is None:
            raise LoginRefused("Username or password is wrong.")
        call.user_name, call.password = user_name, given
        call.confirm = refuse_unless(
            lambda user: user and user["user_authdata"] == authdata, "Username or password is wrong."
        )
        if remember and not self.is_cross_site():
            self.set_cookie(call.session)
        self.app.notify(lambda module: module.on_login(call, given))

    def use_token(self, call: Call, bearer: str):
        """Let the module that knows the token say whose it is and what it may be used for."""
        self.via = "token"
        for module in self.app.modules.values():
            if found := module.bearer(call, bearer, self.client):
                self.via, call.user_name, call.restriction = found.via, found.user_name, found.refuse
                call.external_user = self.app.external_credentials(call.user_name)
                # Who may not log in may do nothing by token; nor may one that was made under another password.
                call.confirm = refuse_unless(
                    partial(fits_hash, hashed=found.authdata_hash), "Token is not valid."
                )
                return
        raise LoginRefused("Token is not valid.")

    def log_out(self, call: Call) -> dict:
        self.app.db.release()  # the state database may keep it waiting
        status = "Successfully logged out."
        if token := self.cookie():
            self.set_cookie("", "; Max-Age=0")
            try:
                session, call.session = self.app.sessions.find(token), token
                self.via, call.claimed_name = "log-out", session and session["user_name"]
                self.app.sessions.end(token)
            except ApiError as error:
                status = f"Logged out in this browser only: the session could not be ended. {error.status}"
                log.error("a session could not be ended: %s", error.status)
        return self.frame | {"status": status, "login": False}

    def cookie(self) -> str | None:
        """The session id that came along, unless a page of another origin sent it (docs/wire.md F42)."""
        found = COOKIE.search(self.environ.get("HTTP_COOKIE", ""))
        return found[1] if found and not self.is_cross_site() else None

    def is_cross_site(self) -> bool:
        """As cross_site; the log says once that a proxy seems not to pass the Host header or the scheme on."""
        proxies, environ = self.app.config.proxies, self.environ
        found, log_it = cross_site(environ, proxies), self.app.log_origins
        if found and log_it and not environ.get("HTTP_SEC_FETCH_SITE"):
            origin, own = origin_of(environ["HTTP_ORIGIN"]), own_origin(environ, proxies)
            if origin and own and origin[1] == own[1]:
                self.app.log_origins = False
                log.warning(
                    "a cookie did not count: the page is at %s://%s:%s, and the request came for %s://%s:%s; "
                    "a proxy must pass Host with its port, and X-Forwarded-Proto",
                    *origin,
                    *own,
                )
        return found

    def set_cookie(self, token: str, expiry: str = ""):
        mount = (
            urllib.parse.quote(
                self.environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1", "replace"),
                safe="/!$&'()*+,:=@~",
            )
            + "/"
        )
        secure = "; Secure" if request_scheme(self.environ, self.app.config.proxies) == "https" else ""
        cookie = f"PHPSESSID={token}; Path={mount}; HttpOnly; SameSite=Lax{secure}{expiry}"
        self.headers.append(("Set-Cookie", cookie))


class LoginRefused(ApiError):
    """Nobody is logged in: nothing was done, and the answer says so."""

    def __init__(self, status: str):
        super().__init__(status, login=False)


def fits_hash(user: dict | None, hashed: str) -> bool:
    """Whether a user may log in, with the authdata that has this hash."""
    return bool(user and user["user_authdata"]) and authdata_hash(user["user_authdata"]) == hashed


def refuse_unless(test: Callable, sentence: str) -> Callable[[dict | None], None]:
    """What Call.confirm does for a kind of log-in."""

    def confirm(user):
        if not test(user):
            raise LoginRefused(sentence)

    return confirm


def basic_credentials(scheme: str, given: str) -> tuple[str, str]:
    """User name and password of HTTP Basic (RFC 7617)."""
    try:
        decoded = base64.b64decode(given, validate=True).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        decoded = ""
    user_name, _, password = decoded.partition(":")
    if not user_name or FORBIDDEN.search(decoded):
        raise LoginRefused("Username is not set!")
    return user_name, password


COOKIE = re.compile(r"(?:^|;)\s*PHPSESSID=([A-Za-z0-9_-]{1,128})")


def create_app(config: str | os.PathLike | Mapping) -> Application:
    """A WSGI callable from the path of a config.py or a mapping of its keys.

    ConfigError where the config or one of its modules cannot be used. The databases are opened by requests.
    """
    return Application(read_config(config))


@lru_cache(maxsize=1)
def default_application() -> Application:
    return create_app(os.environ.get("MAILAPI_CONFIG", "config.py"))


def application(environ, start_response):
    """The app of the config that MAILAPI_CONFIG names (default config.py), made on first use."""
    try:
        app = default_application()
    except ConfigError as error:
        log.error("%s", error)
        start_response("500 Internal Server Error", [("Content-Type", "application/json")])
        return [encode({"status": "mailapi is not configured. The log has the cause."})]
    return app(environ, start_response)


########## Command line ############################################################################
# A command is a file of modules/commands/: a docstring, options(parser), run(args).


def main(arguments: list[str] | None = None) -> int:
    """`mailapi COMMAND …` and `python mailapi.py COMMAND …`; the exit status."""
    import argparse

    parser = argparse.ArgumentParser(prog="mailapi", description="HTTP control plane for a mail server.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in sorted(find_commands().items()):
        words = command.__doc__.split("\n")[0].rstrip(".")
        sub = commands.add_parser(name, help=words, description=words + ".")
        default = os.environ.get("MAILAPI_CONFIG", "config.py")
        sub.add_argument("--config", default=default, help="the config.py to use (default: %(default)s)")
        command.options(sub)
        sub.set_defaults(run=command.run)
    args, late = parser.parse_known_args(arguments)
    if late and (not hasattr(args, "fields") or any(word.startswith("-") for word in late)):
        parser.error(f"unrecognized arguments: {' '.join(late)}")
    elif late:  # argparse takes no more fields after an option
        args.fields += late
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # whoever read along has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (
        ConfigError,
        ApiError,
        peewee.PeeweeException,
        OSError,
        ValueError,
        RecursionError,
        EOFError,
    ) as error:
        print(f"mailapi: {printable(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if type(error).__module__ != "pymysql.err":  # which is not imported for files
            raise
        print(f"mailapi: the server refused it: {printable(error.args[-1])}", file=sys.stderr)
        return 1


def printable(value) -> str:
    """Words for a terminal: nothing in them can move the cursor or hide."""
    words = (
        " ".join(map(str, value)) if isinstance(value, (list, dict)) else "" if value is None else str(value)
    )
    return "".join(c if c.isprintable() else "\ufffd" for c in words)


def find_commands() -> dict:
    """Return the commands that are installed with mailapi, by their names: the files of commands/ that have `run`."""
    names = sorted({file.stem for folder in INSTALLED for file in (folder / "commands").glob("*.py")})
    found = {name: importlib.import_module(f"mailapi_modules.commands.{name}") for name in names}
    return {name.replace("_", "-"): command for name, command in found.items() if hasattr(command, "run")}


if __name__ == "__main__":
    sys.exit(main())
