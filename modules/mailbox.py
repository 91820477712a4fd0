"""Mailbox: the caller's own mail, in the master database and in the file that users.user_database names."""

import codecs
import contextlib
import re
from binascii import a2b_base64, a2b_qp
from email.feedparser import BufferedSubFile, BytesFeedParser
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32

import peewee
from peewee import BlobField, BooleanField, Cast, IntegerField, TextField, fn

from mailapi import (
    Active, ApiError, CannotOpen, Model, Module, Prepared, Store, Users, anyone, arg, endpoint, flag, is_busy,
    number, optional_number, readable, text,
)
from mailapi_modules import compose, outbox


class Mail(Model):
    mail_id = IntegerField()
    mail_user = TextField()
    mail_read = BooleanField()
    mail_ident = TextField(null=True)
    mail_envelopeto = TextField()
    mail_envelopefrom = TextField()
    mail_submission = TextField()  # seconds since 1970
    mail_submitter = TextField(null=True)
    mail_proto = TextField()
    mail_data = BlobField(null=True)  # declared BLOB, stored as TEXT holding raw bytes (WIRE section 7)

    class Meta:
        table_name = "mailbox"  # the name of the module's class


COLUMNS = [column for column in Mail._meta.sorted_fields if column is not Mail.mail_data]
BYTES = Cast(Mail.mail_data, "BLOB")
OWN = (Mail.mail_user == arg("user"))
START = fn.SUBSTR(BYTES, 1, 65536)  # where a list looks for the headers, up to the first blank line
BLANK_LINE = fn.COALESCE(fn.NULLIF(fn.INSTR(START, b"\r\n\r\n"), 0), fn.NULLIF(fn.INSTR(START, b"\n\n"), 0), 65536)
HEADS = Mail.select(*COLUMNS, fn.SUBSTR(START, 1, BLANK_LINE).alias("mail_data")).where(OWN)
AT_ONCE = 100  # so many mails' headers are read in one transaction, and in memory together
KEYS = Mail.select(Mail.mail_id, Mail.mail_submission).where(OWN)
ALL, UNREAD = Prepared(KEYS), Prepared(KEYS.where(Mail.mail_read == 0))
THIS = OWN & (Mail.mail_id == arg("mail_id"))
ONE = Prepared(Mail.select(*COLUMNS, BYTES.alias("mail_data")).where(THIS))
MARK = Prepared(Mail.update(mail_read=arg("mail_read")).where(THIS))
DELETE = Prepared(Mail.delete().where(THIS))
USER_DATABASE = Prepared(Users.select(Users.user_database).where(Users.user_name == arg("user")))


def source(value) -> str | None:
    value = text(value) or None
    if value not in (None, "master", "user"):
        raise ValueError("no such source")
    return value


NAMED = {"needs": {"mail_id": "No mail id is set"}, "takes": {"mail_id": optional_number, "mail_sourcedb": source},
         "allow": anyone, "own_transactions": True}


class NoUserDatabase(ApiError):
    """The file that users.user_database names cannot be used."""

    def __init__(self, user_name: str):
        super().__init__(f"Cannot open userdb from user: {user_name}")
        self.warning = {"status": "warning", "warning": self.status}


class Mailbox(Module):
    active = Active(Mail.mail_user)
    harmful = {"has no mail_data, which crashes the POP daemon": Prepared(
        Mail.select(Mail.mail_id).where(Mail.mail_data.is_null()))}

    @endpoint(allow=anyone, takes={"mail_only_unread": flag}, reads_only=True, own_transactions=True)
    def get(self, call):
        """The caller's mail, newest first, with the headers that a list shows."""
        query = UNREAD if call.body.get("mail_only_unread") else ALL
        found, warning = [], {}
        for name in ("master", "user"):
            try:
                with database(call, name, "DEFERRED") as db:
                    rows = db.rows(query, user=call.user_name) if db else []
                found += [(newest(row), name) for row in rows]
            except NoUserDatabase as error:
                warning = error.warning
        return warning | {"mails": list(heads(call, sorted(found, reverse=True)[:call.limit]))}

    @endpoint(**NAMED)
    def read(self, call):
        """One mail with its text; marks it read, and answers mail_read as it was before."""
        problem, warning = ApiError("mail not found"), {}
        for name in [call.body.get("mail_sourcedb")] if call.body.get("mail_sourcedb") else ["user", "master"]:
            try:
                with database(call, name) as db:
                    mail = db.one(ONE, **which(call)) if db else None
                    if mail:
                        db.execute(MARK, mail_read=1, **which(call))
            except NoUserDatabase as error:
                problem, warning = error, error.warning
            else:
                if mail:
                    return warning | {"mail": shown(mail, name)}
        raise problem

    @endpoint(**NAMED)
    def unread(self, call):
        """Mark a mail unread."""
        change(call, MARK, mail_read=0)

    @endpoint(**NAMED)
    def delete(self, call):
        """Remove a mail."""
        change(call, DELETE)

    @endpoint(allow=anyone, takes=compose.FIELDS, own_transactions=True, max_body="max_message")
    def send(self, call):
        """Queue a mail for the dispatch daemon, as the SMTP daemon would have; the ids of its rows in outbox."""
        whose(call)
        mail = compose.mail(call.body, lambda: outbox.own_address(call), call.config)
        return {"queue_ids": outbox.enqueue(call, mail)}


def heads(call, wanted: list):
    """The mails of a list, in its order; who is gone meanwhile is left out."""
    for start in range(0, len(wanted), AT_ONCE):
        some, rows = wanted[start:start + AT_ONCE], {}
        for source_name in {name for _, name in some}:
            ids = [mail_id for (_, mail_id), name in some if name == source_name]
            with database(call, source_name, "DEFERRED") as db:
                for row in db.rows(HEADS.where(Mail.mail_id.in_(ids)), user=call.user_name) if db else ():
                    rows[row["mail_id"], source_name] = row
        for (_, mail_id), name in some:
            if row := rows.get((mail_id, name)):
                yield listed(row) | {"mail_sourcedb": name}


def whose(call):
    if call.user_name is None:
        raise ApiError("Say whose mailbox: --as USER.")


def which(call) -> dict:
    return {"user": call.user_name, "mail_id": call.body["mail_id"]}


def change(call, query: Prepared, **values):
    with database(call, call.body.get("mail_sourcedb") or "master") as db:
        if not db or not db.execute(query, **which(call), **values).rowcount:
            raise ApiError("mail not found")


@contextlib.contextmanager
def database(call, name: str, lock_type="IMMEDIATE"):
    """A transaction on the master or the user database; None where the user has no database of their own.

    They are opened one after the other: nothing waits for one while it holds the other.
    """
    whose(call)
    if name == "master":
        with call.db.transaction(lock_type):
            yield call.db
        return
    path = call.db.value(USER_DATABASE, user=call.user_name)
    if not path:
        yield None
        return
    if not isinstance(path, str):
        raise NoUserDatabase(call.user_name)
    try:
        with contextlib.closing(Store(path)) as store, store.transaction(lock_type):
            yield store
    except peewee.DatabaseError as error:
        if is_busy(error):
            raise
        raise NoUserDatabase(call.user_name) from error
    except CannotOpen as error:
        raise NoUserDatabase(call.user_name) from error


########## What a mail says ########################################################################


def newest(mail: dict) -> tuple:
    sent = number(mail["mail_submission"])
    return (sent if isinstance(sent, (int, float)) else 0), mail["mail_id"]


def listed(mail: dict) -> dict:
    message = headers_of(data(mail))
    headers = {f"mail_{name}": header(message, name) for name in ("subject", "from", "to", "date")}
    return mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": None} | headers


def shown(mail: dict, source_name: str) -> dict:
    message = parsed(data(mail))
    headers = {f"mail_{name}": header(message, name) for name in ("from", "to", "subject")}
    row = mail | {"mail_submission": number(mail["mail_submission"]), "mail_data": readable(data(mail))}
    return row | {"mail_sourcedb": source_name} | headers | {"mail_body": body(message)}


def data(mail: dict) -> bytes:
    return mail["mail_data"] or b""


class Shallow(BufferedSubFile):
    """A mail's lines; each is held against every boundary around it, so the depth has an end."""

    def push_eof_matcher(self, pred):
        if len(self._eofstack) > 10:
            raise ValueError("nested too deep")
        super().push_eof_matcher(pred)


class ShortParameters(Compat32):
    """Looking for a parameter takes time that grows with the square of the header's length."""

    def header_source_parse(self, sourcelines):
        name, value = super().header_source_parse(sourcelines)
        return name, value[:4096] if name.lower().startswith("content-") else value


POLICY = ShortParameters()


def parsed(raw: bytes) -> Message:
    """A message; one that the library cannot take apart only by its headers."""
    parser = BytesFeedParser(policy=POLICY)
    parser._input = Shallow()
    try:
        parser.feed(raw)
        return parser.close()
    except Exception:  # whatever it raises on what somebody sent
        return headers_of(raw)


def headers_of(raw: bytes) -> Message:
    return BytesHeaderParser(policy=POLICY).parsebytes(raw)


def body(message: Message) -> str:
    """The text of a mail, as WIRE section 4 has it for mail_body."""
    if not message.is_multipart():
        return content(message)
    plain = [part for part in message.walk() if not part.is_multipart() and part.get_content_type() == "text/plain"]
    return "".join(f"{written}\n----\n" for part in plain if (written := content(part)).strip())


def content(part: Message) -> str:
    """A part's text: transfer encoding undone, charset applied."""
    try:
        return decoded(part.get_payload(decode=True) or b"", part.get_content_charset())
    except Exception:  # the library's, on parameters that are none
        del part["Content-Type"]
        return decoded(part.get_payload(decode=True) or b"", None)


# Python's own, no charsets of mail: they cost quadratic time or make text that is none.
NO_CHARSETS = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"}
SURROGATES = re.compile("[\ud800-\udfff]")


def decoded(raw: bytes, charset: str | None) -> str:
    """Bytes as text: by the declared charset if they fit it, else as UTF-8, what remains as U+FFFD (F16)."""
    for name in (charset or "utf-8", "utf-8"):
        try:
            if codecs.lookup(name).name.replace("-", "_") not in NO_CHARSETS:
                return SURROGATES.sub("\ufffd", raw.decode(name))
        except (LookupError, ValueError):
            continue
    return readable(raw)


WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
WORDS = re.compile(r"(?:=\?[^?\s]+\?[bBqQ]\?[^?]*\?=\s*)*=\?[^?\s]+\?[bBqQ]\?[^?]*\?=")


def header(message: Message, name: str) -> str:
    """A header's value, unfolded and decoded (RFC 5322, RFC 2047, WIRE F31); "" where there is none."""
    value = next((v for n, v in message.raw_items() if n.lower() == name), "")
    value = re.sub(r"\r?\n(?=[ \t])", "", value).strip()
    return WORDS.sub(decoded_words, readable(value.encode("utf-8", "surrogateescape")))


def decoded_words(found: re.Match) -> str:
    """Encoded words without the blanks between them; a character may be split over two of them."""
    chunks: list[tuple[str, list]] = []
    for charset, encoding, word in WORD.findall(found[0]):
        charset = charset.partition("*")[0].lower()  # RFC 2231 adds a language
        try:
            raw = a2b_qp(word.encode(), header=True) if encoding in "qQ" else a2b_base64(word.encode() + b"==")
        except ValueError:
            return found[0]
        if not chunks or chunks[-1][0] != charset:
            chunks.append((charset, []))
        chunks[-1][1].append(raw)
    return "".join(decoded(b"".join(raw), charset) for charset, raw in chunks)
