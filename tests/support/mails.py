"""Mail as the SMTP daemon stores it, and mail that a test makes."""

import email.policy
import functools
import re
import sqlite3
from contextlib import closing
from email.message import EmailMessage

from support.site import Site

MAIL_COLUMNS = [
    "mail_id",
    "mail_user",
    "mail_read",
    "mail_ident",
    "mail_envelopeto",
    "mail_envelopefrom",
    "mail_submission",
    "mail_submitter",
    "mail_proto",
    "mail_data",
]
LISTED_KEYS = [*MAIL_COLUMNS, "mail_subject", "mail_from", "mail_to", "mail_date", "mail_sourcedb"]
READ_KEYS = [*MAIL_COLUMNS, "mail_sourcedb", "mail_from", "mail_to", "mail_subject", "mail_body"]
PLAIN_MAIL = (
    b"From: Ann <ann@one.org>\r\nTo: bob@one.org\r\nSubject: Hello\r\nDate: Mon, 02 Nov 2015\r\n\r\nText.\r\n"
)


def deliver(
    path, user="bob", data: bytes | None = PLAIN_MAIL, submission="100", stored_as="TEXT", **columns
) -> int:
    """Store a mail as the SMTP daemon does, its bytes in a TEXT; return its id."""
    values = {
        "mail_user": user,
        "mail_submission": submission,
        "mail_envelopeto": "bob@one.org",
        "mail_envelopefrom": "ann@one.org",
        "mail_data": data,
    } | columns
    places = [
        "CAST(? AS TEXT)" if type(v) is bytes and (k != "mail_data" or stored_as == "TEXT") else "?"
        for k, v in values.items()
    ]
    statement = f"INSERT INTO mailbox ({', '.join(values)}) VALUES ({', '.join(places)})"
    if isinstance(path, Site):
        return path.insert(statement, *values.values())
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, list(values.values())).lastrowid


def give_user_database(site, *users, name="user.db3"):
    """Make a database that these users share; return its path."""
    path = site.file.with_name(name)
    with closing(sqlite3.connect(site.file)) as master, closing(sqlite3.connect(path)) as connection:
        for (statement,) in master.execute("SELECT sql FROM sqlite_master WHERE name IN ('mailbox', 'meta')"):
            connection.execute(re.sub(r"REFERENCES .* CASCADE", "", statement))
    for user in users:
        site.sql("UPDATE users SET user_database = ? WHERE user_name = ?", str(path), user)
    return path


def mailbox_rows(path) -> list[tuple]:
    """Return id, user and read mark of every mail."""
    if isinstance(path, Site):
        return path.sql(MAILBOX_ROWS)
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(MAILBOX_ROWS).fetchall()


MAILBOX_ROWS = "SELECT mail_id, mail_user, mail_read FROM mailbox ORDER BY mail_id"


ENCODED_HEADERS = {
    "B": (b"=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
    "Q": (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe_an=20alle=5F?=", "Grüße an alle_"),
    "latin-1": (b"Re: =?iso-8859-1?q?Gr=FC=DFe?= (x)", "Re: Grüße (x)"),
    "adjacent words": (b"=?utf-8?Q?a?= =?iso-8859-1?Q?=E4?=   =?us-ascii?B?Yg==?= c", "aäb c"),
    "adjacent folded words": (b"=?utf-8?Q?a?=\r\n\t=?utf-8?Q?b?=\r\n c", "ab c"),
    "split inside a character": (b"=?utf-8?B?Z8M=?=\r\n =?utf-8?B?vG4=?=", "gün"),
    "split between B and q": (b"=?UTF-8?B?Z8M=?= =?utf-8?q?=BCn?=", "gün"),
    "language": (b"=?utf-8*de?Q?gr=C3=BCn?=", "grün"),
    "unknown charset": (b"=?x-nowhere?Q?gr=C3=BCn?=", "grün"),
    "lying charset": (b"=?utf-8?Q?gr=FCn?=", "grün"),
    "surrogates in utf-7": (b"=?utf-7?Q?+2AA-?=", "�"),
    "a codec of Python's": (b"=?unicode_escape?Q?=5Cx41?=", "\\x41"),
    "raw utf-8 in a word": ("=?utf-8?Q?Preis_€?=".encode(), "Preis €"),
    "empty word": (b"=?utf-8?Q??= a", " a"),
    "unfinished word": (b"=?utf-8?Q?abc", "=?utf-8?Q?abc"),
    "broken base64": (b"=?utf-8?B?R?=", "=?utf-8?B?R?="),
    "folded": (b"one\r\n two\r\n\tthree", "one two\tthree"),
    "folded at once": (b"\r\n one", "one"),
    "blanks around": (b"  \t one  ", "one"),
    "raw utf-8": ("Grüße €".encode(), "Grüße €"),
    "quotes and line ends": ('"a\\"b" </script> \' \u2028 x'.encode(), '"a\\"b" </script> \'   x'),
}


def multipart(*parts: bytes, kind=b"mixed", boundary=b"zz", end=b"\r\n--zz--\r\n") -> bytes:
    """Return a multipart mail of these parts."""
    head = b"Content-Type: multipart/%s; boundary=%s\r\n\r\npreamble" % (kind, boundary)
    return head + b"".join(b"\r\n--zz\r\n" + part for part in parts) + end


def part_of_type(kind: bytes, text: bytes, encoding=b"8bit") -> bytes:
    """Return a part with its content type and encoding."""
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + text


def nested_multipart(depth: int, inner=b"\r\ndeep") -> bytes:
    """Return multiparts inside each other."""
    return (
        b"".join(part_of_type(b"multipart/mixed; boundary=b%d" % n, b"--b%d\r\n" % n) for n in range(depth))
        + inner
    )


HTML_PART = part_of_type(b"text/html", b"<p>x</p>")


PICTURE = bytes(range(256)) * 5


@functools.cache
def composed_mail() -> bytes:
    """Build a mail with Python: text, HTML with a picture, a file with a name in German, a message."""
    mail = EmailMessage(policy=email.policy.SMTP)
    mail["Subject"], mail["From"], mail["To"] = "Grüße", "Ann <ann@one.org>", "bob@one.org"
    mail.set_content("Schöne Grüße\n")
    mail.add_alternative('<p>Grüße <img src="cid:logo@x"></p>', subtype="html")
    mail.get_payload()[1].add_related(PICTURE, "image", "png", cid="<logo@x>")
    mail.add_attachment(PICTURE, maintype="application", subtype="pdf", filename="Prüfung – 1.pdf")
    inner = EmailMessage(policy=email.policy.SMTP)
    inner["Subject"] = "inside"
    inner.set_content("deep\n")
    mail.add_attachment(inner)
    return mail.as_bytes()


def make_mail(subject="", sender="", to="", text="", more="") -> bytes:
    """Return a mail with these header fields and this text."""
    return f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n{more}\r\n{text}".encode()
