"""Mail as it really is: in any charset, badly made on purpose or not (docs/wire.md section 4)."""

import base64
import json

import pytest

from support.counting import ended
from support.mails import (
    ENCODED_HEADERS,
    HTML_PART,
    MAIL_COLUMNS,
    PLAIN_MAIL,
    deliver,
    multipart,
    nested_multipart,
    part_of_type,
)

pytestmark = pytest.mark.every_engine


def mail_of(site, data, **stored) -> dict:
    """What ?read says of a mail with these bytes; ?get must bear it as well."""
    mail_id = deliver(site, data=data, **stored)
    assert site("mailbox/?get", user="bob")["status"] == "ok"
    answer = site("mailbox/?read", user="bob", mail_id=mail_id)
    assert answer["status"] == "ok"
    json.dumps(answer, ensure_ascii=False).encode()  # no lone surrogates
    return answer["mail"]


def body_of(site, data, **stored) -> str:
    return mail_of(site, data, **stored)["mail_body"]


########## What is stored ##########################################################################


@pytest.mark.parametrize("stored_as", ["TEXT", "BLOB"])
def test_bytes_that_are_not_utf8_become_the_replacement_character_F16(either, stored_as):
    data = "Subject: Grüße\r\n\r\nschön\r\n".encode("latin-1")
    mail = mail_of(either, data, stored_as=stored_as)
    assert (mail["mail_subject"], mail["mail_body"]) == ("Grüße", "sch�n\r\n")
    assert mail["mail_data"] == "Subject: Gr��e\r\n\r\nsch�n\r\n"


@pytest.mark.parametrize(
    "data", [None, b"", b"\0", b"\r\n", b"\n\n\n", b"no header", b"\xff\xfe\0\0", b":\r\n"]
)
def test_a_mail_without_anything_is_a_mail(either, data):
    mail = mail_of(either, data)
    assert isinstance(mail["mail_data"], str) and isinstance(mail["mail_body"], str)
    assert mail["mail_data"] == (data or b"").decode(errors="replace")
    assert (mail["mail_subject"], mail["mail_from"], mail["mail_to"]) == ("", "", "")


def test_the_byte_ff_in_envelope_columns_is_replaced(either):
    columns = set(MAIL_COLUMNS) - {"mail_id", "mail_user", "mail_read", "mail_data"}
    mail = mail_of(either, PLAIN_MAIL, **dict.fromkeys(columns, b"a\xffb"))
    assert {mail[column] for column in columns} == {"a�b"}
    deliver(either, mail_ident="next")
    assert {m["mail_ident"] for m in either("mailbox/?get", user="bob")["mails"]} == {"a�b", "next"}


########## Headers (RFC 5322, RFC 2047, docs/wire.md F31) ##################################################


@pytest.mark.parametrize("raw, said", ENCODED_HEADERS.values(), ids=ENCODED_HEADERS)
def test_header_is_unfolded_and_decoded(site, raw, said):
    data = b"SUBJECT: " + raw + b"\r\nx-other: 1\r\n\r\ntext"
    mail = mail_of(site, data)
    assert (mail["mail_subject"], mail["mail_body"]) == (said, "text")
    assert mail_of(site, data.replace(b"\r\n", b"\n"))["mail_subject"] == said
    assert {m["mail_subject"] for m in site("mailbox/?get", user="bob")["mails"]} == {said}


def test_of_a_duplicated_header_the_first_counts_and_a_missing_one_is_empty(site):
    mail = mail_of(site, b"Subject: one\r\nSubject: two\r\nX-To: no\r\n\r\nFrom: body\r\n")
    assert (mail["mail_subject"], mail["mail_from"], mail["mail_to"]) == ("one", "", "")


########## Bodies (docs/wire.md section 4: mail_body) ######################################################


GRUN, LATIN = "grün".encode(), "grün".encode("latin-1")
INNER = part_of_type(
    b"multipart/alternative; boundary=in", b"--in\r\n\r\nin\r\n--in\r\n" + HTML_PART + b"\r\n--in--"
)
BODIES = {
    "quoted-printable": (
        part_of_type(b"text/plain; charset=utf-8", b"gr=C3=BCn=\r\nb", b"Quoted-Printable"),
        "grünb",
    ),
    "base64": (
        part_of_type(b"text/plain; charset=utf-8", base64.encodebytes(GRUN * 30), b"BASE64"),
        "grün" * 30,
    ),
    "base64 without padding": (part_of_type(b"text/plain", b"aGVsbG8", b"base64"), "hello"),
    "us-ascii lies": (part_of_type(b"text/plain; charset=us-ascii", GRUN), "grün"),
    "utf-8 lies": (part_of_type(b"text/plain; charset=utf-8", LATIN), "gr�n"),
    "latin-1": (part_of_type(b'text/plain; charset="ISO-8859-1"', LATIN), "grün"),
    "unknown": (part_of_type(b"text/plain; charset=x-nowhere", GRUN), "grün"),
    "charset that is no name": (part_of_type(b'text/plain; charset="a\0\xff"', GRUN), "grün"),
    "charset twice, RFC 2231": (
        part_of_type(b"text/plain; charset*=utf-8''utf-8; charset*0=x", GRUN),
        "grün",
    ),
    "utf-7 surrogates": (part_of_type(b"text/plain; charset=utf-7", b"+2AA- x"), "� x"),
    "html": (HTML_PART, "<p>x</p>"),
    "alternative": (
        multipart(part_of_type(b"text/plain", b"one"), HTML_PART, kind=b"alternative"),
        "one\n----\n",
    ),
    "nested": (
        multipart(b"\r\nout", INNER, part_of_type(b"TEXT/plain", b"last")),
        "out\n----\nin\n----\nlast\n----\n",
    ),
    "encodings per part": (
        multipart(
            part_of_type(b"text/plain", b"gr=C3=BCn", b"quoted-printable"),
            part_of_type(b"text/plain; charset=latin1", LATIN),
        ),
        "grün\n----\ngrün\n----\n",
    ),
    "only the boundary's line break goes": (
        multipart(b"\r\na\r\n\r\n", b"\r\nb"),
        "a\r\n\r\n\n----\nb\n----\n",
    ),
    "blank parts": (multipart(b"\r\n", b"\r\n \r\n\t", b"", b"\r\nx"), "x\n----\n"),
    "html only in parts": (multipart(HTML_PART), ""),
    "digest": (
        multipart(b"\r\nSubject: a\r\n\r\nfirst", b"\r\nSubject: b\r\n\r\nsecond", kind=b"digest"),
        "first\n----\nsecond\n----\n",
    ),
    "message inside": (
        multipart(b"\r\nsee below", part_of_type(b"message/rfc822", b"Subject: a\r\n\r\ninner")),
        "see below\n----\ninner\n----\n",
    ),
    "boundary not ended": (multipart(b"\r\none", b"\r\ntwo", end=b""), "one\n----\ntwo\n----\n"),
    "boundary missing": (b"Content-Type: multipart/mixed\r\n\r\nall of it", "all of it"),
    "boundary of another": (
        multipart(b"\r\none", boundary=b"yy"),
        "preamble\r\n--zz\r\n\r\none\r\n--zz--\r\n",
    ),
}


@pytest.mark.parametrize("raw, said", BODIES.values(), ids=BODIES)
def test_mail_body(site, raw, said):
    assert body_of(site, raw) == said


@pytest.mark.parametrize(
    "charset",
    [
        "unicode_escape",
        "unicode-escape",
        "raw_unicode_escape",
        "idna",
        "punycode",
        "undefined",
        "rot13",
        "hex",
        "zlib",
        "bz2",
        "uu",
        "quopri",
        "base64",
        "mbcs",
        "oem",
        "aliases",
        "__init__",
    ],
)
def test_a_codec_that_only_python_knows_is_no_charset(site, charset):
    kind = f"text/plain; charset={charset}".encode()
    assert body_of(site, part_of_type(kind, b"a\\u0041\\q " + GRUN)) == "a\\u0041\\q grün"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/mixed; boundary*=utf-8''x; boundary*0=y\r\n\r\n--x\r\n\r\nhi\r\n--x--",
        b"Content-Type: multipart/mixed; boundary*" + b"9" * 5000 + b"=y\r\n\r\nhi",
        b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nhi',
        b"Content-Type: text/plain; charset*=undefined'%s'%ff\r\n\r\nhi",
        b"Content-Type: \xff/\xff; =\r\nContent-Transfer-Encoding: \xff\r\n\r\nhi",
        part_of_type(b"text/plain", b"begin 644 x\r\nM\xff\xff\r\n#\x01hi\r\nend", b"x-uuencode"),
        part_of_type(b"text/plain", b"!!!!\xff=hi", b"base64"),
        nested_multipart(500),
        nested_multipart(940),
        nested_multipart(2000),
        part_of_type(b"message/rfc822", b"") * 2000,
    ],
    ids=range(11),
)
def test_a_mail_that_is_badly_made_can_be_read(site, head):
    assert isinstance(body_of(site, head), str)


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: " + b"=?utf-8?Q?a?= " * 100_000 + b"\r\n\r\nx",
        b'Content-Type: text/plain; a="' + b';\\"' * 100_000 + b"\r\n\r\nx",
        nested_multipart(800, inner=b"\r\n" + b"a\r\n" * 100_000),
    ],
    ids=["words", "parameters", "nested"],
)
def test_a_mail_of_a_megabyte_is_read_within_seconds(site, raw):
    ended(mail_of, site, raw)


@pytest.mark.parametrize("stored", [5, 1.5, b"\0", ""])
def test_mail_data_of_another_kind_is_shown_as_its_text(site, stored):
    site.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data) VALUES ('bob', 'a', 'b', ?)",
        stored,
    )
    assert site("mailbox/?get", user="bob")["mails"][0]["mail_subject"] == ""
    text = stored.decode() if isinstance(stored, bytes) else str(stored)
    assert site("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_data"] == text
