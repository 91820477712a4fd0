"""mailbox/?html: nothing of it runs, nothing is loaded, nothing leaves its place.

Two parsers that are not the sanitizer's look at what is left: html5lib, as the HTML standard has it, by an allow-list
of this file's own; and a real browser, whose every request a server counts.
"""

import base64
import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailapi_modules.mail.sanitizer import (
    MAX_LENGTH,
    MAX_TAGS,
    MOST_REPEATED,
    SanitizedHTML,
    repeated_bytes,
)

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import ended
from support.fuzzing import EXAMPLES_FACTOR, HYPOTHESIS_SETTINGS
from support.html_check import check_harmless
from support.instances import require_program
from support.mails import deliver, multipart, part_of_type
from support.site import ROOT
from support.waiting import wait_until

PIXEL_URI = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PIXEL = base64.b64decode(PIXEL_URI.partition(",")[2])

# One a line; EVIL stands for an address, \t and \x.. for characters.
VECTORS = [
    re.sub(r"\\(t|x[0-9a-f]{2})", lambda found: "\t" if found[1] == "t" else chr(int(found[1][1:], 16)), line)
    for line in (ROOT / "tests/corpus/html/vectors").read_text().splitlines()
]


def again(fragment: str) -> str:
    """The fragment as another program reads and writes it: what mutates does so here."""
    tree = html5lib.parseFragment(fragment)
    return html5lib.serialize(
        tree, quote_attr_values="always", omit_optional_tags=False, strip_whitespace=False
    )


def safe(source: str, found: str | None = PIXEL_URI) -> str:
    return SanitizedHTML(source, lambda name: found).html


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
@pytest.mark.parametrize("evil", ["http://127.0.0.1:1", "//evil.example", "https://evil.example"])
def test_nothing_that_runs_or_loads_is_left(vector, evil):
    cleaned = safe(vector.replace("EVIL", evil))
    for _ in range(3):
        check_harmless(cleaned)
        cleaned = again(cleaned)
    check_harmless(safe(safe(vector.replace("EVIL", evil))))


def test_the_check_finds_what_is_bad():
    """The vectors as they are do not pass, but for an unfinished tag, text and a body."""
    passed = []
    for vector in VECTORS:
        with contextlib.suppress(AssertionError, KeyError):
            check_harmless(vector)
            passed.append(vector[:15])
    assert passed == ["<img src='EVIL/", "&lt;script&gt;a", '<body bgcolor="']


PIECES = st.sampled_from(
    [piece for vector in VECTORS for piece in re.split(r"(?=[<>\"'=/])", vector.replace("EVIL", "//x"))]
)
LINES = st.lists(st.sampled_from(VECTORS), max_size=4)


@settings(max_examples=300 * EXAMPLES_FACTOR, **HYPOTHESIS_SETTINGS)
@given((st.lists(PIECES, max_size=30) | LINES).map("".join) | st.text())
def test_pieces_of_bad_html_in_any_order(source):
    cleaned = safe(source)
    check_harmless(cleaned)
    check_harmless(again(cleaned))


def test_a_filter_that_fails_lets_nothing_through():
    def broken(name):
        raise ValueError(name)

    assert SanitizedHTML("<img src=cid:x alt=y>", broken).html == '<img alt="y">'


########## A real browser ##########################################################################


PAGE_QUERY = """<!doctype html><meta charset=utf-8><script>
fired = 0; alert = () => { fired += 1 };
const names = ["color", "backgroundColor", "backgroundImage", "display", "position", "visibility", "opacity", "transform", "zoom",
    "float", "marginTop", "marginLeft", "paddingTop", "fontFamily", "fontSize", "overflowX", "overflowY", "outlineWidth"];
const outside = () => [document.documentElement, document.body, ...document.querySelectorAll("body > .outside")];
const styles = () => JSON.stringify(outside().map(e => names.map(name => getComputedStyle(e)[name])));
function changed() {  // whether styles of a box change what is outside of the boxes, or something covers it
    const seen = styles(), sheets = [...document.styleSheets];
    sheets.forEach(sheet => sheet.disabled = true);
    const wanted = styles();
    sheets.forEach(sheet => sheet.disabled = false);
    return Number(seen != wanted) + outside().slice(2).filter(e => {
        e.scrollIntoView({block: "center"});
        const box = e.getBoundingClientRect();
        return document.elementFromPoint(box.left + 5, box.top + box.height / 2) != e;
    }).length;
}
onload = () => setTimeout(() => {
    for (const box of document.querySelectorAll("body > div")) for (const _ of [1, 2, 3]) box.innerHTML = box.innerHTML;
    for (const link of document.querySelectorAll("a[href^=javascript]")) link.click();
    setTimeout(() => fetch("/over?" + fired + "-" + changed()).then(() => document.title = "over"), 500);
}, 200);
</script><body>%s"""
OUTSIDE = "<p class=outside id=outside>outside</p>"


@contextlib.contextmanager
def counting_server(boxes):
    """A server whose page / has the boxes that are made for its own address; and the paths that it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            evil = f"http://127.0.0.1:{self.server.server_port}"
            page = (
                PAGE_QUERY % "".join(f"{OUTSIDE}<div>{box(evil)}</div>" for box in boxes) + OUTSIDE
                if self.path == "/"
                else ""
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode("utf-8", "replace"))

        do_POST = do_GET

        def log_message(self, *arguments):
            """Nothing: the test has `asked`."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def browse(boxes, folder) -> tuple[set, int, int]:
    """What a browser asked for beyond the page, how many scripts of the boxes ran, and what changed outside of them."""
    chromium = require_program("chromium")
    with counting_server(boxes) as (port, asked):
        browser = subprocess.Popen(
            [
                chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                f"--user-data-dir={folder}",
                "--remote-debugging-port=0",
                f"http://127.0.0.1:{port}/",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: any(path.startswith("/over?") for path in asked) or browser.poll() is not None)
            assert any(path.startswith("/over?") for path in asked), asked
        finally:
            browser.terminate()
            browser.wait(20)
    [counts] = [path.removeprefix("/over?") for path in asked if path.startswith("/over?")]
    fired, changed = map(int, counts.split("-"))
    paths = {path for path in asked if path not in ("/", "/favicon.ico") and not path.startswith("/over?")}
    return paths, fired, changed


def test_a_browser_loads_and_runs_nothing_and_nothing_outside_changes(tmp_path):
    boxes = [lambda evil, vector=vector: safe(vector.replace("EVIL", evil)) for vector in VECTORS]
    assert browse(boxes, tmp_path) == (set(), 0, 0)


def test_the_browser_would_load_and_run_it(tmp_path):
    bad = [
        "<img src=EVIL/image>",
        "<p style='background:url(EVIL/style)'>x</p>",
        "<img src=x: onerror=alert(1)>",
        "<style>@import'EVIL/import'</style>",
        "<a href='javascript:alert(1)'>x</a>",
        "<iframe src=EVIL/frame></iframe>",
    ]
    asked, fired, _ = browse([lambda evil, box=box: box.replace("EVIL", evil) for box in bad], tmp_path)
    assert asked == {"/image", "/style", "/import", "/frame"} and fired >= 2


@pytest.mark.parametrize(
    "bad",
    [
        "<style>#outside{color:red}</style>",
        "<style>html{zoom:2}</style>",
        "<style>body{margin:50px}</style>",
        "<div style='position:fixed;top:0;left:0;width:100vw;height:100vh'>x</div>",
        "<p style='margin-top:-99px;height:200px;position:relative'>x</p>",
    ],
    ids=range(5),
)
def test_the_browser_would_see_what_changes_outside(tmp_path, bad):
    assert browse([lambda evil: bad], tmp_path)[2]


########## What stays ##############################################################################


KEPT = [
    "<p style=\"color:red;font-family:'Segoe UI', -apple-system, sans-serif;padding:0 5px\">x</p>",
    '<div style="background:#fff;border:1px solid rgba(1, 2, 3, .5);max-width:600px;margin:0 auto">x</div>',
    '<table width="100%" border="0" cellpadding="0" cellspacing="0" bgcolor="#ffffff"><tbody><tr><td align="center" '
    'valign="top" colspan="2">x</td></tr></tbody></table>',
    '<h1>Grüße</h1><ul><li>a</li></ul><blockquote>b</blockquote><pre>c\n  d</pre><font color="red" size="+1">e</font>',
    '<a href="https://x.org/?a=1&amp;b=%20#c" target="_blank" rel="noopener noreferrer">x</a>',
    f'<img src="{PIXEL_URI}" alt="a &quot;b&quot;" width="10" height="10">',
]


@pytest.mark.parametrize("source", KEPT, ids=range(len(KEPT)))
def test_what_mail_is_made_of_stays(source):
    left, right = (html5lib.parseFragment(html) for html in (safe(source), source))
    assert [(e.tag, dict(e.attrib), e.text, e.tail) for e in left.iter()] == [
        (e.tag, dict(e.attrib), e.text, e.tail) for e in right.iter()
    ]


def html_of(site, *parts: bytes, kind=b"related", data: bytes = b"") -> dict:
    mail_id = deliver(site, data=data or multipart(*parts, kind=kind))
    return site("mailbox/?html", user="bob", mail_id=mail_id)


def picture(content_id: bytes, kind=b"image/png", data=PIXEL) -> bytes:
    return b"Content-ID: <" + content_id + b">\r\n" + part_of_type(kind, base64.encodebytes(data), b"base64")


def test_pictures_of_the_mail_itself_are_shown(either):
    shown = html_of(
        either,
        part_of_type(b"text/html", b'<img src="cid:a%40b"><img src=CID:a@b><img src="cid:none">'),
        picture(b"a@b"),
    )
    assert shown["mail_html"] == f'<img src="{PIXEL_URI}"><img src="{PIXEL_URI}"><img>'


@pytest.mark.parametrize(
    "kind",
    [b"image/svg+xml", b"text/x", b"image/png;x", b"application/octet-stream", b"image/x-icon", b"image/jpg"],
)
def test_a_picture_is_what_begins_like_one(site, kind):
    html = part_of_type(b"text/html", b"<img src=cid:a><img src=cid:b><img src=cid:c>")
    others = picture(b"b", kind, b"<svg onload=alert(1)>"), picture(b"c", b"image/png", b"BM is no picture")
    shown = html_of(site, html, picture(b"a", kind), *others)["mail_html"]
    assert shown == f'<img src="{PIXEL_URI}"><img><img>'


def test_pictures_are_found_by_their_location(site):
    """RFC 2557; the image at another address is not asked for."""
    html = part_of_type(
        b"text/html", b"<img src=http://x.org/a.png><img src='image 1.png'><img src=http://x.org/b.png>"
    )
    located = [
        b"Content-Location: "
        + url
        + b"\r\n"
        + part_of_type(b"image/png", base64.encodebytes(PIXEL), b"base64")
        for url in (b"http://x.org/a.png", b"image 1.png")
    ]
    answer = html_of(site, html, *located)
    assert answer["mail_html"] == f'<img src="{PIXEL_URI}">' * 2 + "<img>"
    assert answer["mail_html_blocked"] == 1


def test_pictures_have_a_limit_together(site):
    large = picture(b"a", data=PIXEL + b"x" * 3_000_000)
    shown = html_of(site, part_of_type(b"text/html", b"<img src=cid:a>" * 50), large)["mail_html"]
    assert shown.count("src=") == 2 and shown.count("<img") == 50


def test_remote_pictures_are_counted(site):
    shown = html_of(
        site, part_of_type(b"text/html", b"<img src=http://x/1><img src=//x/2><img src=cid:a><img src=/x>")
    )
    assert (shown["mail_html_blocked"], shown["mail_html"]) == (2, "<img>" * 4)


@pytest.mark.parametrize(
    "data, shown",
    [
        (b"Subject: x\r\n\r\n<b>text</b>", ""),
        (part_of_type(b"text/html", b""), ""),
        (part_of_type(b"text/html; charset=latin1", b"gr\xfcn"), "grün"),
        (part_of_type(b"text/html", b"PGI+eDwvYj4=", b"base64"), "<b>x</b>"),
        (
            multipart(
                part_of_type(b"text/plain", b"one"),
                part_of_type(b"text/html", b"<i>two"),
                kind=b"alternative",
            ),
            "<i>two</i>",
        ),
        (
            multipart(part_of_type(b"text/html", b"one"), b"\r\nfoot", part_of_type(b"text/html", b"two")),
            "one<hr>two",
        ),
        (multipart(b"Content-Disposition: attachment\r\n" + part_of_type(b"text/html", b"x")), ""),
        (multipart(part_of_type(b"message/rfc822", part_of_type(b"text/html", b"inside"))), ""),
    ],
    ids=range(8),
)
def test_which_html_is_shown(either, data, shown):
    answer = html_of(either, data=data)
    assert (answer["status"], answer["mail_html"], answer["mail_html_complete"]) == ("ok", shown, True)


HOSTILE = {
    "size": "x" * (MAX_LENGTH + 1),
    "tags": "<b>" * (MAX_TAGS + 1),
    "deep": "<div>" * 10**6,
    "lists": "<ul><li>" * 10**6,
    "attributes": "<p " + " ".join(f"a{n}" for n in range(10**5)) + ">",
    "less": "<" * 10**6,
    "entities": "&notit;" * 10**6,
    "formatting": "".join(f"<font size={n}>" for n in range(10**5)),
    "adopted": "<b></div></p>" * 10**6,
    "tables": "<table>x" * 10**6,
    "images": '<img src="data:image/png;base64,' * 10**5,
    "quotes": '<p title="' * 10**6,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_html_that_is_too_much_is_cut_off_within_seconds(source):
    cleaned = ended(SanitizedHTML, source, lambda name: None)
    assert not cleaned.complete
    assert len(cleaned.html) < 12 * MAX_LENGTH


REOPENED = {
    "distinct": "<p>" + "".join(f"<font size={n}>" for n in range(4900)) + "</p>" + "<p>x" * 4900,
    "quoted": "<p>" + "".join(f'<B title=">{n}"\t>' for n in range(4000)) + "</p>" + "<p>x" * 4000,
    "in comments": "<p>" + "".join(f"<!--><font size={n}>" for n in range(3000)) + "</p>" + "<p>x" * 3000,
    "in pictures": "<svg><p>" + "".join(f"<b title={n}>" for n in range(4000)) + "</svg>" + "<p>x" * 4000,
    "long": f"<p><b title={'a' * 60_000}></p>" + "<p>x" * 5000,
    "long link": f"<p><a href=https://x.org title={'a' * 60_000}></p>" + "<p>x" * 5000,
    "equal": "<p>" + "<b>" * 4900 + "</p>" + "<p>x" * 4900,
    "links": "<p>" + "".join(f"<a href=https://x/{n}>" for n in range(4500)) + "</p>" + "<p>x" * 4900,
}


@pytest.mark.parametrize("source", REOPENED.values(), ids=REOPENED)
def test_elements_that_are_not_closed_do_not_multiply(source):
    """HTML opens them again in each later block: the first of these mails became 580 MB, and took 7 GB."""
    cleaned = SanitizedHTML(source, lambda name: None)
    assert cleaned.complete and cleaned.html.count("x") >= 3000 * ("svg" not in source)
    assert len(cleaned.html) < 6 * len(source)


def test_html_of_many_elements_is_the_same():
    """What would multiply gets other names for a while; where all elements are closed in order nobody can tell."""
    cell = "<td><b>a</b><p title=\"&lt;b&gt;\"><a href='https://x.org/?a&amp;b'>b<IMG alt='<b>'></a><a href=#c>d</a></p>"
    some = f"<table><tr>{cell}</td></tr></table><font color=red><i>e</i> &lt;b&gt; <x-b>f</x-b></font>"
    many = "".join(f"<font size={n}>{some}</font>" for n in range(300))
    assert repeated_bytes(some) < MOST_REPEATED < repeated_bytes(many)
    assert safe(many).replace("mailapi-b&gt;", "b&gt;") == "".join(
        safe(f"<font size={n}>{some}</font>") for n in range(300)
    )


def test_long_html_with_pictures_in_it_is_complete():
    source = f'<img src="data:image/png;base64,{"A" * 2_000_000}">' * 3 + "<p>x</p>" * 1000
    cleaned = SanitizedHTML(source, lambda name: None)
    assert cleaned.complete and cleaned.html == source


def test_without_the_package_the_answer_says_so(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "nh3", None)
    deliver(site, data=part_of_type(b"text/html", b"x"))
    answer = site("mailbox/?html", user="bob", check=500, mail_id=1)
    assert answer["status"].startswith("The HTML of mail needs the package nh3 of mailapi[mail]: ")
    assert json.dumps(site("mailbox/?read", user="bob", mail_id=1))
