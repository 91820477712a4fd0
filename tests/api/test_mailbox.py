"""Mail as it really is: in both databases, in any charset, badly made on purpose or not (docs/wire.md section 4)."""

import base64
import json
import sqlite3
import tracemalloc
from contextlib import closing

import pytest

from support.counting import bytes_read, ended
from support.mails import (
    HEADERS,
    HTML,
    LISTED,
    PLAIN,
    ROW,
    SHOWN,
    deliver,
    give_database,
    multipart,
    nested,
    rows,
    typed,
)

pytestmark = pytest.mark.every_engine


def listed(site, user="bob", **fields) -> list:
    return [(m["mail_sourcedb"], m["mail_id"]) for m in site("mailbox/?get", user=user, **fields)["mails"]]


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


########## Whose mail, and where it is #############################################################


def test_list_has_the_callers_mail_of_both_databases_newest_first(either):
    path = give_database(either, "bob", "ann")
    for submission in ("10", "30", "not a number", "1e2", "-5", "20.5"):
        deliver(either, submission=submission)
    deliver(path, submission="25")
    deliver(path, "ann")
    deliver(either, "ann")
    answer = either("mailbox/?get", user="bob")
    assert [m["mail_submission"] for m in answer["mails"]] == [100.0, 30, 25, 20.5, 10, "not a number", -5]
    assert [m["mail_sourcedb"] for m in answer["mails"]].index("user") == 2
    assert {m["mail_user"] for m in answer["mails"]} == {"bob"} and "warning" not in answer
    assert [m["mail_submission"] for m in either("mailbox/?get&limit=2", user="bob")["mails"]] == [100.0, 30]
    assert either("mailbox/?get", user="root")["mails"] == []


def test_keys_types_and_values_of_a_listed_and_a_read_mail(either):
    deliver(either, mail_ident="007", mail_submission="1446400000")
    (entry,) = either("mailbox/?get", user="bob")["mails"]
    assert list(entry) == LISTED
    assert list(entry.values()) == [
        1,
        "bob",
        0,
        "007",
        "bob@one.org",
        "ann@one.org",
        1446400000,
        None,
        "smtp",
        None,
        "Hello",
        "Ann <ann@one.org>",
        "bob@one.org",
        "Mon, 02 Nov 2015",
        "master",
    ]
    mail = either("mailbox/?read", user="bob", mail_id="1")["mail"]
    assert list(mail) == SHOWN and mail["mail_data"] == PLAIN.decode() and mail["mail_body"] == "Text.\r\n"
    assert mail["mail_read"] == 0 and either("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_read"] == 1
    assert either("mailbox/?get", user="bob")["mails"][0]["mail_read"] == 1


def test_only_unread_in_both_databases_F15(either):
    path = give_database(either, "bob")
    for place in (either, path):
        deliver(place, mail_read=1)
        deliver(place, mail_read=0)
    assert sorted(listed(either, mail_only_unread=True)) == [("master", 2), ("user", 2)]
    for no in (False, 0, "", "0", None, []):
        assert len(listed(either, mail_only_unread=no)) == 4


@pytest.mark.parametrize("user", ["ann", "dele", "root"])
def test_nobody_else_reads_marks_or_deletes_a_mail_F14(either, user):
    path = give_database(either, "bob", user)
    for place in (either, path):
        deliver(place, mail_read=1)
    before = rows(either), rows(path)
    assert listed(either, user) == []
    for action in ("read", "unread", "delete"):
        for fields in ({}, {"mail_sourcedb": "master"}, {"mail_sourcedb": "user"}, {"mail_user": "bob"}):
            answer = either(f"mailbox/?{action}", user=user, mail_id=1, **fields)
            assert answer["status"] == "mail not found" and "mail" not in answer
    assert (rows(either), rows(path)) == before


def test_without_a_source_read_prefers_the_user_database_and_the_others_the_master(site):
    path = give_database(site, "bob")
    deliver(site, mail_read=1, data=b"Subject: master\r\n\r\n")
    deliver(path, mail_read=1, data=b"Subject: user\r\n\r\n")
    deliver(site, data=b"Subject: only here\r\n\r\n")
    assert site("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_subject"] == "user"
    assert site("mailbox/?read", user="bob", mail_id=2)["mail"]["mail_sourcedb"] == "master"
    assert site("mailbox/?unread", user="bob", mail_id=1)["status"] == "ok"
    assert (rows(site)[0], rows(path)) == ((1, "bob", 0), [(1, "bob", 1)])
    assert site("mailbox/?delete", user="bob", mail_id=1)["status"] == "ok"
    assert (rows(site), rows(path)) == ([(2, "bob", 1)], [(1, "bob", 1)])


@pytest.mark.parametrize("source", ["master", "user"])
def test_a_source_is_the_only_place_that_is_looked_at(either, source):
    path = give_database(either, "bob")
    places = {"master": either, "user": path}
    for name, place in places.items():
        deliver(place, data=b"Subject: %s\r\n\r\n" % name.encode())
    other = rows(places["user" if source == "master" else "master"])
    fields = {"user": "bob", "mail_id": 1, "mail_sourcedb": source}
    mail = either("mailbox/?read", **fields)["mail"]
    assert (mail["mail_subject"], mail["mail_sourcedb"]) == (source, source)
    assert rows(places[source]) == [(1, "bob", 1)]
    assert either("mailbox/?unread", **fields)["status"] == "ok" and rows(places[source]) == [(1, "bob", 0)]
    assert either("mailbox/?delete", **fields)["status"] == "ok" and rows(places[source]) == []
    assert rows(places["user" if source == "master" else "master"]) == other
    assert either("mailbox/?read", **fields)["status"] == "mail not found"


@pytest.mark.parametrize("action", ["read", "unread", "delete"])
def test_a_mail_id_has_to_be_given_and_known(site, action):
    for given in ({}, {"mail_id": None}, {"mail_id": ""}, {"mail_id": 0}, {"mail_id": "0"}):
        assert site(f"mailbox/?{action}", user="bob", **given)["status"] == "No mail id is set"
    assert site(f"mailbox/?{action}", user="bob", mail_id=99)["status"] == "mail not found"
    assert (
        site(f"mailbox/?{action}", user="bob", mail_id=1, mail_sourcedb="user")["status"] == "mail not found"
    )
    for wrong in ([1], {"a": 1}, True, "1 OR 1=1", 1.5, 10**18):
        answer = site(f"mailbox/?{action}", user="bob", check=400, mail_id=wrong)
        assert answer["status"] == "Invalid value for mail_id."
    assert site(f"mailbox/?{action}", user="bob", check=400, mail_id=1, mail_sourcedb=["user"])["status"] == (
        "Invalid value for mail_sourcedb."
    )


def test_a_user_database_may_have_any_name(site):
    path = give_database(site, "bob", name="a?mode=memory&b#%20 ü'.db")
    deliver(path)
    assert listed(site) == [("user", 1)]


@pytest.mark.parametrize(
    "broken", ["missing", "folder", "garbage", "empty", "no table", "not UTF-8", "a\0b", b"x"]
)
def test_without_its_user_database_the_masters_mail_is_still_listed(either, broken):
    path = either.dbpath.with_name("broken.db3")
    make = {
        "folder": path.mkdir,
        "empty": path.touch,
        "garbage": lambda: path.write_bytes(b"junk" * 9999),
        "no table": lambda: sqlite3.connect(path).execute("CREATE TABLE meta (key)").connection.close(),
    }
    make.get(broken, lambda: None)()
    stored = broken if broken in ("a\0b", b"x") else str(path)
    either.sql("UPDATE users SET user_database = ? WHERE user_name = 'bob'", stored)
    if broken == "not UTF-8":
        either.sql("UPDATE users SET user_database = CAST(X'2FFF' AS TEXT) WHERE user_name = 'bob'")
    deliver(either)
    answer = either("mailbox/?get", user="bob")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: bob")
    assert [m["mail_id"] for m in answer["mails"]] == [1]
    answer = either("mailbox/?read", user="bob", mail_id=1)
    assert (answer["status"], answer["mail"]["mail_body"]) == ("warning", "Text.\r\n")
    assert either("mailbox/?unread", user="bob", mail_id=1, mail_sourcedb="user")["status"] != "ok"
    assert either("mailbox/?unread", user="bob", mail_id=1)["status"] == "ok"
    assert path.exists() == (broken in make)


########## What is stored ##########################################################################


@pytest.mark.parametrize("stored_as", ["TEXT", "BLOB"])
def test_bytes_that_are_not_utf8_become_the_replacement_character_F16(either, stored_as):
    data = "Subject: Grüße\r\n\r\nschön\r\n".encode("latin-1")
    mail = mail_of(either, data, stored_as=stored_as)
    assert (mail["mail_subject"], mail["mail_body"]) == ("Gr��e", "sch�n\r\n")
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
    columns = set(ROW) - {"mail_id", "mail_user", "mail_read", "mail_data"}
    mail = mail_of(either, PLAIN, **dict.fromkeys(columns, b"a\xffb"))
    assert {mail[column] for column in columns} == {"a�b"}
    deliver(either, mail_ident="next")
    assert {m["mail_ident"] for m in either("mailbox/?get", user="bob")["mails"]} == {"a�b", "next"}


########## Headers (RFC 5322, RFC 2047, docs/wire.md F31) ##################################################


@pytest.mark.parametrize("raw, said", HEADERS.values(), ids=HEADERS)
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
INNER = typed(b"multipart/alternative; boundary=in", b"--in\r\n\r\nin\r\n--in\r\n" + HTML + b"\r\n--in--")
BODIES = {
    "quoted-printable": (
        typed(b"text/plain; charset=utf-8", b"gr=C3=BCn=\r\nb", b"Quoted-Printable"),
        "grünb",
    ),
    "base64": (typed(b"text/plain; charset=utf-8", base64.encodebytes(GRUN * 30), b"BASE64"), "grün" * 30),
    "base64 without padding": (typed(b"text/plain", b"aGVsbG8", b"base64"), "hello"),
    "us-ascii lies": (typed(b"text/plain; charset=us-ascii", GRUN), "grün"),
    "utf-8 lies": (typed(b"text/plain; charset=utf-8", LATIN), "gr�n"),
    "latin-1": (typed(b'text/plain; charset="ISO-8859-1"', LATIN), "grün"),
    "unknown": (typed(b"text/plain; charset=x-nowhere", GRUN), "grün"),
    "charset that is no name": (typed(b'text/plain; charset="a\0\xff"', GRUN), "grün"),
    "charset twice, RFC 2231": (typed(b"text/plain; charset*=utf-8''utf-8; charset*0=x", GRUN), "grün"),
    "utf-7 surrogates": (typed(b"text/plain; charset=utf-7", b"+2AA- x"), "� x"),
    "html": (HTML, "<p>x</p>"),
    "alternative": (multipart(typed(b"text/plain", b"one"), HTML, kind=b"alternative"), "one\n----\n"),
    "nested": (
        multipart(b"\r\nout", INNER, typed(b"TEXT/plain", b"last")),
        "out\n----\nin\n----\nlast\n----\n",
    ),
    "encodings per part": (
        multipart(
            typed(b"text/plain", b"gr=C3=BCn", b"quoted-printable"),
            typed(b"text/plain; charset=latin1", LATIN),
        ),
        "grün\n----\ngrün\n----\n",
    ),
    "only the boundary's line break goes": (
        multipart(b"\r\na\r\n\r\n", b"\r\nb"),
        "a\r\n\r\n\n----\nb\n----\n",
    ),
    "blank parts": (multipart(b"\r\n", b"\r\n \r\n\t", b"", b"\r\nx"), "x\n----\n"),
    "html only in parts": (multipart(HTML), ""),
    "digest": (
        multipart(b"\r\nSubject: a\r\n\r\nfirst", b"\r\nSubject: b\r\n\r\nsecond", kind=b"digest"),
        "first\n----\nsecond\n----\n",
    ),
    "message inside": (
        multipart(b"\r\nsee below", typed(b"message/rfc822", b"Subject: a\r\n\r\ninner")),
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
    assert body_of(site, typed(kind, b"a\\u0041\\q " + GRUN)) == "a\\u0041\\q grün"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: multipart/mixed; boundary*=utf-8''x; boundary*0=y\r\n\r\n--x\r\n\r\nhi\r\n--x--",
        b"Content-Type: multipart/mixed; boundary*" + b"9" * 5000 + b"=y\r\n\r\nhi",
        b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nhi',
        b"Content-Type: text/plain; charset*=undefined'%s'%ff\r\n\r\nhi",
        b"Content-Type: \xff/\xff; =\r\nContent-Transfer-Encoding: \xff\r\n\r\nhi",
        typed(b"text/plain", b"begin 644 x\r\nM\xff\xff\r\n#\x01hi\r\nend", b"x-uuencode"),
        typed(b"text/plain", b"!!!!\xff=hi", b"base64"),
        nested(500),
        nested(940),
        nested(2000),
        typed(b"message/rfc822", b"") * 2000,
    ],
    ids=range(11),
)
def test_a_mail_that_is_badly_made_can_be_read(site, head):
    assert isinstance(body_of(site, head), str)


########## How long, how much ######################################################################


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: " + b"=?utf-8?Q?a?= " * 100_000 + b"\r\n\r\nx",
        b'Content-Type: text/plain; a="' + b';\\"' * 100_000 + b"\r\n\r\nx",
        nested(800, inner=b"\r\n" + b"a\r\n" * 100_000),
    ],
    ids=["words", "parameters", "nested"],
)
def test_a_mail_of_a_megabyte_is_read_within_seconds(site, raw):
    ended(mail_of, site, raw)


def test_a_listing_does_not_load_the_bodies(site):
    with closing(sqlite3.connect(site.dbpath)) as connection, connection:
        connection.executemany(
            "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data)"
            " VALUES ('bob', 't', 'f', ?, CAST(? AS TEXT))",
            [(n, PLAIN) for n in range(999)],
        )
    deliver(site, data=PLAIN + b"x" * 30_000_000, submission="5000")
    tracemalloc.start()
    try:
        answer = site("mailbox/?get", user="bob")
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()
    assert len(answer["mails"]) == 1000 and answer["mails"][0]["mail_subject"] == "Hello"


@pytest.mark.sqlite
def test_a_listing_reads_no_more_of_a_large_mail_than_its_beginning(site):
    """SQLite loads a whole mail for SUBSTR."""
    for _ in range(5):
        deliver(site, data=PLAIN + b"x" * 30_000_000)

    substr = "SELECT SUBSTR(CAST(mail_data AS BLOB), 1, 100) FROM mailbox"
    assert bytes_read(lambda: site.sql(substr)) > 150_000_000
    browser = site.browser()
    browser.post("/?login", json.dumps({"auth": {"user_name": "bob", "password": "pw"}}))
    answers = []
    assert bytes_read(lambda: answers.append(browser.post("/mailbox/?get"))) < 10_000_000
    assert [m["mail_subject"] for m in answers[0].json["mails"]] == ["Hello"] * 5


@pytest.mark.parametrize("stored", [5, 1.5, b"\0", ""])
def test_mail_data_of_another_kind_is_shown_as_its_text(site, stored):
    site.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data) VALUES ('bob', 'a', 'b', ?)",
        stored,
    )
    assert site("mailbox/?get", user="bob")["mails"][0]["mail_subject"] == ""
    text = stored.decode() if isinstance(stored, bytes) else str(stored)
    assert site("mailbox/?read", user="bob", mail_id=1)["mail"]["mail_data"] == text


def test_mails_that_share_a_number_and_a_time_are_listed(site):
    """A user database that was made by hand, without a primary key."""
    path = site.dbpath.with_name("user.db3")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE mailbox ({', '.join(ROW)})")
    for _ in range(2):
        deliver(path, mail_id=7)
    site.sql("UPDATE users SET user_database = ? WHERE user_name = 'bob'", str(path))
    assert listed(site) == [("user", 7)] * 2
