"""mailbox/?raw, ?parts and ?attachment: what is saved is what was sent, and no browser takes it for a page."""

import base64
import email.policy
import json
import os
import subprocess
import sys
import textwrap
import urllib.parse
from email.message import EmailMessage

import pytest

from support.command_line import run_on_terminal
from support.mails import (
    HTML_PART,
    PICTURE,
    PLAIN_MAIL,
    composed_mail,
    deliver,
    give_user_database,
    mailbox_rows,
    multipart,
    part_of_type,
)
from support.site import MODULES, ROOT, Site

pytestmark = pytest.mark.every_engine

AUTH = {"user_name": "bob", "password": "pw"}


def download(site, url, user="bob", check=200, **fields):
    """The response to a request with these fields."""
    auth = {"user_name": user, "password": "pw"}
    return site.browser().post("/" + url, json.dumps(fields | {"auth": auth}), status=check)


def filename(response) -> tuple[str, str]:
    """Both names of a download: for old browsers, and for the others (RFC 6266)."""
    kind, old, new = response.headers["Content-Disposition"].split("; ", 2)
    assert kind == "attachment" and old.startswith('filename="') and old[-1] == '"' and old.count('"') == 2
    assert new.startswith("filename*=UTF-8''")
    return old[10:-1], urllib.parse.unquote(new.removeprefix("filename*=UTF-8''"))


def check_headers(response, content_type: str):
    assert response.headers["Content-Type"] == content_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Content-Length"] == str(len(response.body))


########## The message itself ######################################################################


@pytest.mark.parametrize(
    "data", [PLAIN_MAIL, b"Subject: \xff\r\n\n\0\r\xfe", b"", composed_mail()], ids=range(4)
)
@pytest.mark.parametrize("stored_as", ["TEXT", "BLOB"])
def test_raw_is_every_byte_of_the_message(either, data, stored_as):
    path = give_user_database(either, "bob")
    for place, source in ((either, "master"), (path, "user")):
        mail_id = deliver(place, data=data, stored_as=stored_as)
        response = download(either, "mailbox/?raw", mail_id=mail_id, mail_sourcedb=source)
        assert response.body == data
        check_headers(response, "message/rfc822")


def test_a_download_leaves_the_mail_unread(either):
    deliver(either, data=composed_mail())
    for url in ("raw", "parts", "attachment", "html"):
        download(either, f"mailbox/?{url}", mail_id=1, part=1)
    assert mailbox_rows(either) == [(1, "bob", 0)]


def test_raw_is_named_after_the_subject(site):
    deliver(site, data=b"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe=2F100%_?=\r\n\r\n")
    deliver(site, data=b"\r\n")
    assert filename(download(site, "mailbox/?raw", mail_id=1)) == ("Gr__e_100_ .eml", "Grüße_100% .eml")
    assert filename(download(site, "mailbox/?raw", mail_id=2)) == ("mail.eml", "mail.eml")


def test_a_link_has_its_fields_in_the_query(site):
    deliver(site, data=composed_mail())
    browser = site.browser()
    browser.post("/?login", json.dumps({"auth": AUTH}))
    assert browser.get("/mailbox/?raw&mail_id=1").body == composed_mail()
    assert browser.get("/mailbox/?attachment&mail_id=1&mail_sourcedb=master&part=4").body == PICTURE
    assert browser.post("/mailbox/?raw&mail_id=7", json.dumps({"mail_id": 1})).body == composed_mail()
    for query, http, status in (
        ("mail_id=2", 200, "mail not found"),
        ("mail_id=x", 400, "Invalid value for mail_id."),
        ("mail_id=%00", 400, "Invalid value for mail_id."),
        ("", 200, "No mail id is set"),
    ):
        assert browser.get(f"/mailbox/?raw&{query}", status=http).json["status"] == status
    assert site.browser().get("/mailbox/?raw&mail_id=1&auth=bob").json["status"] == "Username is not set!"
    assert (
        site.browser(
            HTTP_COOKIE="PHPSESSID=" + browser.cookies["PHPSESSID"], HTTP_SEC_FETCH_SITE="cross-site"
        )
        .get("/mailbox/?raw&mail_id=1")
        .json["login"]
        is False
    )


def test_only_where_a_file_is_answered_the_query_has_fields(site):
    deliver(site)
    assert site("mailbox/?delete&mail_id=1", user="bob")["status"] == "No mail id is set"
    assert site("mailbox/?read&mail_id=%00", user="bob")["status"] == "No mail id is set"


@pytest.mark.parametrize("action", ["raw", "attachment&part=1"])
def test_what_is_refused_is_answered_in_json(either, action):
    deliver(either)
    for user, fields, status in (
        ("ann", {"mail_id": 1}, "mail not found"),
        ("bob", {}, "No mail id is set"),
        ("root", {"mail_id": 1}, "mail not found"),
        ("bob", {"mail_id": 9}, "mail not found"),
    ):
        answer = download(either, f"mailbox/?{action}", user, **fields).json
        assert (answer["status"], answer["login"]) == (status, True)


@pytest.mark.parametrize("action", ["raw", "attachment&part=1"])
def test_a_file_has_no_callback(site, action):
    deliver(site)
    answer = download(site, f"mailbox/?{action}&callback=f", check=400, mail_id=1)
    assert answer.headers["Content-Type"] == "application/javascript" and "Set-Cookie" not in answer.headers
    assert answer.text.startswith('f(\'{"status":"A file has no callback."') and "login" not in answer.text


def test_a_log_in_with_a_download_sets_the_cookie_and_is_in_the_audit(site):
    deliver(site)
    assert "PHPSESSID=" in download(site, "mailbox/?raw", mail_id=1).headers["Set-Cookie"]
    (entry,) = site("audit/?get", audit_user="bob")["audit"]
    assert (entry["audit_user"], entry["audit_action"], entry["audit_status"]) == ("bob", "raw", "ok")


def test_a_token_that_may_only_read_may_download(site):
    deliver(site)
    token = site("tokens/?add", user="bob", token_name="t", token_reads_only=True)["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert bearer.get("/mailbox/?raw&mail_id=1").body == PLAIN_MAIL


def test_a_user_database_out_of_reach_does_not_keep_the_masters_mail_back(site):
    deliver(site, data=composed_mail())
    site.sql("UPDATE users SET user_database = '/nowhere/x.db3' WHERE user_name = 'bob'")
    assert download(site, "mailbox/?raw", mail_id=1).body == composed_mail()
    assert download(site, "mailbox/?attachment", mail_id=1, part=4).body == PICTURE
    for action in ("parts", "html"):
        answer = site(f"mailbox/?{action}", user="bob", mail_id=1)
        assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: bob")
    assert download(site, "mailbox/?raw", mail_id=2).json["status"] == "Cannot open userdb from user: bob"


########## The parts ###############################################################################


def test_parts_lists_what_another_program_built(either):
    deliver(either, data=composed_mail())
    listed = either("mailbox/?parts", user="bob", mail_id=1)["mail_parts"]
    assert [list(part) for part in listed] == [
        ["part", "content_type", "filename", "size", "attached", "content_id"]
    ] * 5
    assert [
        (part["part"], part["content_type"], part["filename"], part["attached"], part["content_id"])
        for part in listed
    ] == [
        (1, "text/plain", "", False, ""),
        (2, "text/html", "", False, ""),
        (3, "image/png", "", True, "logo@x"),
        (4, "application/pdf", "Prüfung – 1.pdf", True, ""),
        (5, "message/rfc822", "", True, ""),
    ]
    for part in listed:
        body = download(either, "mailbox/?attachment", mail_id=1, part=part["part"]).body
        assert len(body) == part["size"]
    assert download(either, "mailbox/?attachment", mail_id=1, part=3).body == PICTURE
    inner = download(either, "mailbox/?attachment", mail_id=1, part="5")
    assert email.message_from_bytes(inner.body)["Subject"] == "inside" and b"deep" in inner.body
    assert filename(inner)[1] == "part-5.eml"
    assert filename(download(either, "mailbox/?attachment", mail_id=1, part=3))[1] == "part-3.png"


def test_a_mail_in_one_piece_has_one_part(site):
    deliver(site)
    assert site("mailbox/?parts", user="bob", mail_id=1)["mail_parts"] == [
        {
            "part": 1,
            "content_type": "text/plain",
            "filename": "",
            "size": 7,
            "attached": False,
            "content_id": "",
        }
    ]


def test_an_enclosed_message_stays_as_it_was_sent(site):
    inner = b"Subject: a\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\n\xff\r\n--in--\r\n"
    for part in (
        part_of_type(b"message/rfc822", inner),
        part_of_type(b"message/rfc822", base64.encodebytes(inner), b"base64"),
    ):
        mail_id = deliver(site, data=multipart(part))
        assert download(site, "mailbox/?attachment", mail_id=mail_id, part=1).body == inner
    mail_id = deliver(site, data=multipart(b"\r\n" + inner, kind=b"digest"))
    assert download(site, "mailbox/?attachment", mail_id=mail_id, part=1).body == inner


@pytest.mark.parametrize(
    "number, status",
    [
        (0, "No part is set"),
        (None, "No part is set"),
        (2, "part not found"),
        (-1, "part not found"),
        (10**17, "part not found"),
    ],
)
def test_a_part_has_to_be_given_and_there(site, number, status):
    deliver(site)
    assert site("mailbox/?attachment", user="bob", mail_id=1, part=number)["status"] == status
    answer = site("mailbox/?attachment", user="bob", check=400, mail_id=1, part="x")
    assert answer["status"] == "Invalid value for part."


@pytest.mark.parametrize(
    "claimed, answered",
    [
        ("text/html", "application/octet-stream"),
        ("TEXT/HTML; charset=utf-7", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("image/svg", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("text/xml", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
        ("multipart/x-mixed-replace", "application/octet-stream"),
        ("multipart/related", "application/octet-stream"),
        ("text/css", "application/octet-stream"),
        ("application/vnd.mozilla.xul+xml", "application/octet-stream"),
        ('x/y"; a="', "application/octet-stream"),
        ("text/html\x01", "application/octet-stream"),
        ("image/png\r\n Set-Cookie: a=b", "application/octet-stream"),
        ("nothing", "text/plain"),
        ("", "text/plain"),
        ("image/PNG; name=x", "image/png"),
        ("text/plain", "text/plain"),
        (
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
def test_no_attachment_has_a_type_that_a_browser_shows_as_a_page(site, claimed, answered):
    deliver(site, data=multipart(part_of_type(claimed.encode(), b"<script>alert(1)</script>")))
    response = download(site, "mailbox/?attachment", mail_id=1, part=1)
    check_headers(response, answered)
    assert response.body.strip() == b"<script>alert(1)</script>" and "Set-Cookie: a" not in str(
        response.headers
    )


FILENAMES = {
    b'filename="a.txt"': ("a.txt", "a.txt"),
    b"filename=a.txt": ("a.txt", "a.txt"),
    b"filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt": ("Gr__e.txt", "Grüße.txt"),
    b"filename*0*=UTF-8''Gr%C3%BC; filename*1=n.txt": ("Gr_n.txt", "Grün.txt"),
    b'filename="=?utf-8?B?R3LDvMOfZQ==?=.txt"': ("Gr__e.txt", "Grüße.txt"),
    'filename="Grün.txt"'.encode(): ("Gr_n.txt", "Grün.txt"),
    b'filename="../../etc/passwd"': ("_.._etc_passwd", "_.._etc_passwd"),
    b'filename="C:\\\\windows\\\\x.exe"': ("C__windows_x.exe", "C__windows_x.exe"),
    b'filename=".htaccess"': ("htaccess", "htaccess"),
    b'filename=". ."': ("file", "file"),
    b'filename="a\\"; filename=\\"b"': ("a__ filename=_b", "a_; filename=_b"),
    b"filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x%00.txt": ("a__Set-Cookie_ x_.txt", "a__Set-Cookie_ x_.txt"),
    b"filename*=UTF-8''cod%E2%80%AEtxt.exe": ("cod_txt.exe", "cod_txt.exe"),
    b"filename*=utf-7''+2AA-.txt": ("_.txt", "\ufffd.txt"),
    b"filename*=unicode_escape''%5Cud800": ("_ud800", "_ud800"),
    b'filename="100%41.txt"': ("100_41.txt", "100%41.txt"),
    b'filename="' + b"x" * 300 + b'.jpeg"': ("x" * 100 + ".jpeg",) * 2,
    b'filename=""': ("part-1.bin",) * 2,
    b"filename*=x'%ff": None,
    b"filename*0*=x": None,
    b"filename*=1; filename*0=2": None,
}


@pytest.mark.parametrize("given, names", FILENAMES.items(), ids=range(len(FILENAMES)))
def test_the_name_of_a_download_is_safe(site, given, names):
    part = (
        b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; " + given + b"\r\n\r\nx"
    )
    deliver(site, data=multipart(part))
    assert site("mailbox/?parts", user="bob", mail_id=1)["mail_parts"][0]["attached"] is True
    old, new = filename(download(site, "mailbox/?attachment", mail_id=1, part=1))
    assert names is None or (old, new) == names
    assert old.isascii() and new.isprintable() and not set('/\\"*:<>?|') & set(old + new)


@pytest.mark.parametrize(
    "raw",
    [
        part_of_type(b"text/plain", b"!!!!\xff=hi", b"base64"),
        part_of_type(b"image/png", b"begin 644 x\nM\xff", b"x-uuencode"),
        part_of_type(b"text/plain", b"=\xff=zz", b"quoted-printable"),
        part_of_type(b"message/delivery-status", b"A: b\r\n\r\nC: d"),
        b"Content-Type: multipart/mixed; boundary=zz\r\n\r\n" + b"--zz\r\n\r\n" * 130_000,
        multipart(*[b'Content-Disposition: attachment; filename="' + b';\\"' * 1300 + b"\r\n\r\n"] * 50),
    ],
    ids=range(6),
)
def test_badly_made_parts_are_parts(site, raw):
    deliver(site, data=raw)
    listed = site("mailbox/?parts", user="bob", mail_id=1)["mail_parts"]
    assert listed and all(isinstance(part["filename"], str) for part in listed)
    for number in {1, len(listed)}:
        answer = site("mailbox/?attachment", user="bob", mail_id=1, part=number)
        assert len(answer["file"]) == listed[number - 1]["size"]


########## Files of anybody's modules, and on the command line #####################################


REPORT = """
    from mailapi import File, Module, Users, anyone, endpoint


    class Report(Module):
        @endpoint(allow=anyone, download=True)
        def make(self, call):
            call.db.execute(Users.update(user_database="made").where(Users.user_name == call.user_name))
            return File(b"a,b", "text/csv", "list.csv")
"""


def test_any_module_can_answer_a_file_and_is_not_asked_to_for_a_callback(tmp_path):
    (tmp_path / "report.py").write_text(textwrap.dedent(REPORT))
    site = Site(tmp_path, modulelist={"Report": str(tmp_path / "report.py")})
    before = site.dump()
    download(site, "report/?make&callback=f", check=400)
    assert site.dump() == before
    response = download(site, "report/?make")
    check_headers(response, "text/csv")
    assert (response.body, site.dump() == before) == (b"a,b", False)


def command(folder, *arguments, **options):
    environ = {"PATH": os.environ["PATH"], "MAILAPI_CONFIG": "config.py"}
    return subprocess.run(
        [sys.executable, ROOT / "mailapi.py", "call", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        timeout=60,
        **options,
    )


def test_on_the_command_line_a_file_is_its_bytes(site, tmp_path):
    (tmp_path / "config.py").write_text(f"dbpath = {site.place!r}\nmodulelist = {MODULES!r}\n")
    data = b"Subject: \x1b]0;\xff\r\n\r\n\0\x1b"
    deliver(site, data=data)
    done = command(tmp_path, "--as", "bob", "mailbox", "raw", "mail_id=1")
    assert (done.stdout, done.stderr, done.returncode) == (data, b"", 0)
    refused = command(tmp_path, "--as", "ann", "mailbox", "raw", "mail_id=1")
    assert (json.loads(refused.stdout), refused.returncode) == ({"status": "mail not found"}, 1)
    assert b"\x1b" not in run_on_terminal(tmp_path, "call", "--as", "bob", "mailbox", "raw", "mail_id=1")


def test_disposition_can_be_read_by_the_library(site):
    """What RFC 6266 makes of the header, by an implementation that is not ours."""
    from mailapi_modules.http import downloads

    for name in ("a.txt", "Grüße €.pdf", 'a"b\\c;d=e.txt', "\U0001f600"):
        parsed = EmailMessage()
        parsed["Content-Disposition"] = downloads.disposition(name)
        assert parsed["Content-Disposition"].content_disposition == "attachment"
        again = EmailMessage()
        again["Content-Disposition"] = "; ".join(
            part for part in downloads.disposition(name).split("; ") if not part.startswith("filename=")
        )
        assert again.get_filename() == name.translate(str.maketrans('"\\', "__"))


def test_the_html_of_a_mail_is_never_an_answer_of_its_own(site):
    deliver(site, data=HTML_PART)
    check_headers(download(site, "mailbox/?attachment", mail_id=1, part=1), "application/octet-stream")
    assert download(site, "mailbox/?html", mail_id=1).headers["Content-Type"] == "application/json"
