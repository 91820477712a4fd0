"""Style sheets and colours of a mail's HTML: what they look like stays, and nothing of the page around changes.

tests/mail/test_mail_html.py has the attacks.
"""

import json
import re
import sys

import html5lib
import pytest
from mailapi_modules.mail import style_sheets
from mailapi_modules.mail.sanitizer import SanitizedHTML
from mailapi_modules.mail.style_sheets import scoped_sheet

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.html_check import check_harmless, check_sheet
from support.mails import deliver, multipart, part_of_type


def safe(source: str) -> SanitizedHTML:
    return SanitizedHTML(source, lambda name: None)


def sheet_of(source: str) -> list[str]:
    """Return the lines of the sheet that is left of HTML, with FRAME for the class of its frame."""
    shown = safe(source).html
    check_harmless(shown)
    sheet = re.search("<style>(.*)</style>", shown, re.DOTALL)
    return re.sub("mail-frame-[0-9a-f]{32}", "FRAME", sheet[1]).split("\n")[1:-1] if sheet else []


RULES = {
    "an element": ("p{color:red}", [".FRAME p{color:red}"]),
    "classes and ids": (".a.b, #c td.d{color:red}", [".FRAME .mail-a.mail-b,.FRAME #mail-c td.mail-d{color:red}"]),
    "combinators": ("a > b + c ~ d e{color:red}", [".FRAME a>b+c~d e{color:red}"]),
    "combinators without blanks": ("a>b+c{color:red}", [".FRAME a>b+c{color:red}"]),
    "the body": ("body{margin:0}", [".FRAME{margin:0}"]),
    "the root": ("html, :root, html > body.x{margin:0}", [".FRAME,.FRAME,.FRAME.mail-x{margin:0}"]),
    "inside of the body": ("html body > p{margin:0}", [".FRAME>p{margin:0}"]),
    "everything": ("*{color:red}", [".FRAME *{color:red}"]),
    "pseudo-classes": ("a:hover, li:first-child{color:red}", [".FRAME a:hover,.FRAME li:first-child{color:red}"]),
    "some selectors unknown": ("a::before, u + #x, p[y], b{color:red}", [".FRAME u+#mail-x,.FRAME b{color:red}"]),
    "important": ("p{width:100% !important}", [".FRAME p{width:100% !important}"]),
    "colours": ("p{color:rgb(1, 2, 3);background:hsla(1 2% 3% / .5)}", [".FRAME p{color:rgb(1, 2, 3);background:hsla(1 2% 3% / .5)}"]),
    "a picture in the background": ("td{background:#000 url(x.png) no-repeat}", [".FRAME td{background:#000  no-repeat}"]),
    "fonts": ("p{font:12px/1.5 'Segoe UI', -apple-system, sans-serif}", ['.FRAME p{font:12px/1.5 "Segoe UI", -apple-system, sans-serif}']),
    "unknown declarations": ("p{mso-line-height-rule:exactly;color:red;-webkit-x:y;position:fixed}", [".FRAME p{color:red}"]),
    "comments": ("/* a{ */p{/*;*/color:/**/red}<!-- b{color:red} -->", [".FRAME p{color:red}", ".FRAME b{color:red}"]),
    "media": (
        "@media only screen and (max-width:600px){.a{width:100%!important}}",
        ["@media only screen and (max-width:600px){.FRAME .mail-a{width:100%!important}", "}"],
    ),
    "other rules": ("@import 'x';@font-face{src:url(x)}@supports (a:b){p{color:red}}b{color:red}", [".FRAME b{color:red}"]),
    "without an end": ("p{color:red", [".FRAME p{color:red}"]),
    "nested rules": ("p{color:red;a{color:blue}margin:0}", [".FRAME p{color:red;margin:0}"]),
}  # fmt: skip


@pytest.mark.parametrize("source, lines", RULES.values(), ids=RULES)
def test_style_sheets_are_kept_for_the_mail_itself(source, lines):
    assert sheet_of(f"<style>{source}</style><p>x</p>") == lines


def test_classes_ids_and_anchors_belong_to_the_mail():
    shown = safe('<p class="a b" id=c>x</p><a name=d href="#c">y</a><p class="1 &quot;" id="x y">z</p>').html
    assert shown == (
        '<p class="mail-a mail-b" id="mail-c">x</p><a name="mail-d" href="#mail-c" rel="noopener noreferrer">y</a>'
        "<p>z</p>"
    )


def test_sheets_of_the_head_and_for_some_media_are_kept():
    head = "<html><head><title>t</title><style media=print>a{color:red}</style><STYLE type='text/css'>b{color:red}</STYLE></head>"
    assert sheet_of(head + "<body>x</body></html>") == [
        "@media print{.FRAME a{color:red}",
        "}",
        ".FRAME b{color:red}",
    ]
    assert sheet_of("<!--[if mso]><style>p{color:red}</style><![endif]--><p>x</p>") == []


BODIES = {
    "attributes": ('<body bgcolor="#000000" text=white>x</body>', "background-color:#000000;color:white"),
    "a colour without its sign": ("<body bgcolor=00ff00>x", "background-color:#00ff00"),
    "style": (
        '<body style="background:#000 url(x) repeat;color:#fff;position:fixed">x',
        "background:#000   repeat;color:#fff",
    ),
    "a picture alone": ("<body style=\"background:url('x')\">x", None),
    "no colours": ('<body bgcolor="url(x)" text="a;b">x', None),
}


@pytest.mark.parametrize("source, style", BODIES.values(), ids=BODIES)
def test_colours_of_the_body_are_kept(source, style):
    shown = safe(source).html
    check_harmless(shown)
    found = re.search('<div class="mail-frame-[0-9a-f]{32}" style="(.*?)">', shown)
    assert (found[1] if found else None) == style


def test_the_body_is_not_there_twice():
    shown = safe('<body style="padding:9px" class=x id=y><p>x</p></body>').html
    assert shown.count("padding:9px") == shown.count("mail-x") == shown.count("mail-y") == 1


def test_colours_of_links_and_the_names_of_the_body_are_kept():
    shown = safe('<body link="#ff0000" class="dark" id=top><a href=https://x.org>x</a>').html
    assert re.search(r"\.mail-frame-[0-9a-f]{32} a\{color:#ff0000\}", shown)
    assert re.search('class="mail-frame-[0-9a-f]{32} mail-dark" id="mail-top"', shown)


def test_colours_of_tables_are_kept():
    cell = '<td bgcolor="#000000" style="background:#111 url(http://x/y.png) no-repeat;color:#fff">x</td>'
    shown = safe(f'<table bgcolor=black><tr bgcolor="#222222">{cell}</tr></table>').html
    assert 'bgcolor="black"' in shown and 'bgcolor="#222222"' in shown
    assert '<td bgcolor="#000000" style="background:#111   no-repeat;color:#fff">' in shown


def test_the_words_of_block_elements_stay_apart():
    names = "section article header footer main nav aside figure form fieldset legend details summary dialog body".split()  # fmt: skip
    for name in names:
        tree = html5lib.parseFragment(safe(f"<{name}>a</{name}><{name}>b</{name}>").html)
        assert [element.text for element in tree] == ["a", "b"], name


def test_of_too_much_css_the_end_is_left_out():
    cleaned = safe("<style>" + "p{color:red}" * 20_000 + "</style><p>x</p>")
    assert not cleaned.complete and len(cleaned.html) < 2 * style_sheets.MAX_OUTPUT
    check_sheet(re.search("<style>(.*)</style>", cleaned.html, re.DOTALL)[1])
    cleaned = safe("<style>p{color:red}</style>" + "<b>x</b>" * 1000)
    assert cleaned.complete


def test_without_tinycss2_the_sheet_is_left_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "tinycss2", None)
    cleaned = safe("<style>p{color:red}</style><p>x</p>")
    assert (cleaned.html, cleaned.complete) == ("<p>x</p>", False)
    assert safe("<p style='color:red'>x</p>").complete


UNITS = ["{", "}", "(", "[", "a", "a ", "a,", ".", ".a", "#", "@media{", "@media x{", "@", ";", ":", "a:b;", "p{", "p{a:b}", "/*", "*/", "\\", "\\61 ",
         '"', "'", "url(", "url('", "<!--", "-->", "!", "1", "-", "a{b:", "rgb(", "a>", "a /**/ ", "*", "u+0", "+", "\n", "&", "a:"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("before", ["", "p{", "p{color:", "@media ", "a "])
def test_hostile_css_is_read_in_linear_time(unit, before):
    few, many = (calls(lambda size=size: scoped_sheet(before + unit * size, ".x")) for size in (250, 1000))
    assert many <= 4.4 * few + 200
    assert len(scoped_sheet(before + unit * 1000, ".x")) <= style_sheets.MAX_OUTPUT


@pytest.mark.parametrize(
    "unit",
    [
        "<style>",
        "<style",
        "<body ",
        "<style>p{}</style>",
        "<!--",
        "</style",
        "<body bgcolor='",
        "<a href=#x ",
        "<form",
    ],
)
def test_hostile_sheets_in_html_are_taken_out_in_linear_time(unit):
    few, many = (calls(lambda size=size: safe(unit * size)) for size in (250, 1000))
    assert many <= 4.4 * few + 200


########## A document of its own ###################################################################


def view(site, data: bytes):
    mail_id = deliver(site, data=data)
    fields = {"mail_id": mail_id, "auth": {"user_name": "bob", "password": "pw"}}
    response = site.browser().post("/mailbox/?view", json.dumps(fields))
    return response.body.decode(), response.headers


def test_a_mail_is_shown_as_a_document_in_which_nothing_runs(site):
    html = part_of_type(
        b"text/html",
        b"<style>p{color:red}</style><p onclick=x>x<script>alert(1)</script><img src=http://x/y>",
    )
    page, headers = view(site, b"Subject: <b>Gr\xc3\xbc\xc3\x9fe</b>\r\n" + multipart(html))
    assert (
        headers["Content-Type"] == "text/html; charset=utf-8"
        and headers["X-Content-Type-Options"] == "nosniff"
    )
    policy = dict(each.strip().partition(" ")[::2] for each in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and "script-src" not in policy and policy["img-src"] == "data:"
    assert "sandbox" in policy and not {"allow-scripts", "allow-same-origin", "allow-forms"} & set(
        policy["sandbox"].split()
    )
    assert headers["Content-Disposition"] == "inline" and headers["Referrer-Policy"] == "no-referrer"
    assert (
        "<title>&lt;b&gt;Grüße&lt;/b&gt;</title>" in page and "script" not in page and "http://x" not in page
    )
    check_harmless(re.search("<body>(.*)</body>", page, re.DOTALL)[1])


def test_a_mail_without_html_is_shown_as_its_text(site):
    page, _ = view(site, b"Content-Type: text/plain\r\n\r\na <b>\r\n  c")
    assert "a &lt;b&gt;\r\n  c</div></body>" in page
    assert not site.sql("SELECT 1 FROM mailbox WHERE mail_read = 1")


def test_a_mail_of_somebody_else_is_not_shown(site):
    deliver(site, user="ann")
    assert site("mailbox/?view", user="bob", mail_id=1)["status"] == "mail not found"
