"""mail_text of mailbox/?read: what a person would read of a mail, always as text."""

import pytest
from mailapi_modules.mail import mail_text
from mailapi_modules.mail.html_text import CUT_OFF, MAX_LENGTH, html_text
from mailapi_modules.mail.mail_text import unflow
from mailapi_modules.mail.message_parser import parse_message

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import PICTURE, deliver, multipart, part_of_type

PLAIN = part_of_type(b"text/plain; charset=utf-8", "schön".encode())
HTML = part_of_type(b"text/html; charset=utf-8", "<p>gr<b>ü</b>n</p>".encode())
FILE = b"Content-Disposition: attachment; filename=a.txt\r\n" + part_of_type(b"text/plain", b"attached")
PNG = part_of_type(b"image/png", PICTURE)
INVITATION = part_of_type(
    b"text/calendar; method=REQUEST",
    b"BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nDTSTART:19700101T000000\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT\r\n"
    b"SUMMARY;LANGUAGE=en:Lunch\\, late\r\nDTSTART;TZID=Europe/Berlin:20261127T130000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
)
INSIDE = part_of_type(b"message/rfc822", b"Subject: in\r\n\r\ninside")
MAILS = {
    "plain": (PLAIN, "schön"),
    "html": (HTML, "grün"),
    "nothing": (b"", ""),
    "no text": (PNG, ""),
    "alternatives": (multipart(PLAIN, HTML, kind=b"alternative"), "schön"),
    "alternatives in another order": (multipart(HTML, PLAIN, kind=b"alternative"), "schön"),
    "blank alternative": (
        multipart(part_of_type(b"text/plain", b" \r\n"), HTML, kind=b"alternative"),
        "grün",
    ),
    "html alternatives": (
        multipart(HTML, multipart(HTML, PNG, kind=b"related", boundary=b"in"), kind=b"alternative"),
        "grün",
    ),
    "related": (multipart(HTML, PNG, kind=b"related"), "grün"),
    "related with a start": (
        multipart(PNG, b"Content-ID: <root>\r\n" + HTML, kind=b'related; start="<root>"'),
        "grün",
    ),
    "mixed": (multipart(PLAIN, FILE, PNG, HTML), "schön\n\ngrün"),
    "an attachment alone": (FILE, ""),
    "named": (multipart(part_of_type(b"text/plain; name=a.txt", b"attached")), ""),
    "inline with a name": (multipart(b"Content-Disposition: inline; filename=a.txt\r\n" + PLAIN), "schön"),
    "an enclosed mail": (multipart(PLAIN, INSIDE), "schön"),
    "digest": (
        multipart(b"\r\nSubject: a\r\n\r\nfirst", b"\r\nSubject: b\r\n\r\nsecond", kind=b"digest"),
        "a\n\nfirst\n\nb\n\nsecond",
    ),
    "boundary missing": (b"Content-Type: multipart/mixed\r\n\r\nall of it", "all of it"),
    "byte order mark": (part_of_type(b"text/plain", b"\xef\xbb\xbfsch\xc3\xb6n"), "schön"),
    "no charset": (part_of_type(b"text/plain", b"sch\xf6n"), "schön"),
    "charset in HTML": (
        part_of_type(b"text/html", '<head><meta charset="koi8-r"></head><p>Привет'.encode("koi8-r")),
        "Привет",
    ),
    "charset in HTML, old": (
        part_of_type(
            b"text/html; charset=x-nowhere",
            b'<META http-equiv=Content-Type content="text/html; charset=windows-1251">'
            + "Привет".encode("cp1251"),
        ),
        "Привет",
    ),
    "UTF-8 although the HTML says otherwise": (
        part_of_type(b"text/html", '<meta charset="koi8-r"><p>Привет'.encode()),
        "Привет",
    ),
    "flowed": (part_of_type(b"text/plain; format=flowed", b"one \r\ntwo\r\n"), "one two"),
    "flowed without blanks": (
        part_of_type(b"text/plain; format=flowed; delsp=yes", b"one \r\ntwo\r\n"),
        "onetwo",
    ),
    "calendar": (
        multipart(PLAIN, INVITATION, kind=b"alternative"),
        "schön\n\n[Calendar: Lunch, late, 2026-11-27 13:00]",
    ),
    "calendar with a long summary": (
        part_of_type(
            b"text/calendar", b"BEGIN:VEVENT\r\nSUMMARY:Dinner with the nort\r\n hern office\\nand guests\r\n"
        ),
        "[Calendar: Dinner with the northern office and guests]",
    ),
    "empty calendar": (part_of_type(b"text/calendar", b""), "[Calendar]"),
    "PGP/MIME, encrypted": (
        multipart(part_of_type(b"application/pgp-encrypted", b"Version: 1"), PNG, kind=b"encrypted"),
        "[Encrypted message: PGP/MIME]",
    ),
    "PGP/MIME, signed": (
        multipart(
            PLAIN, part_of_type(b"application/pgp-signature; name=signature.asc", b"x"), kind=b"signed"
        ),
        "schön\n\n[Signature: PGP/MIME]",
    ),
    "S/MIME, encrypted": (
        part_of_type(b"application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", b"x", b"base64"),
        "[Encrypted message: S/MIME]",
    ),
    "S/MIME, opaque": (
        part_of_type(b"application/x-pkcs7-mime; smime-type=signed-data", b"x"),
        "[Signed message: S/MIME]",
    ),
    "S/MIME, signed": (
        multipart(
            PLAIN,
            part_of_type(b"application/pkcs7-signature; name=smime.p7s", b"x", b"base64"),
            kind=b"signed",
        ),
        "schön\n\n[Signature: S/MIME]",
    ),
    "winmail.dat": (
        multipart(PLAIN, part_of_type(b"application/ms-tnef; name=winmail.dat", b"x", b"base64")),
        "schön\n\n[Attachments in a format of Microsoft Outlook (winmail.dat)]",
    ),
    "winmail.dat of no type": (
        multipart(
            b"Content-Disposition: attachment; filename=WINMAIL.DAT\r\n"
            + part_of_type(b"application/octet-stream", b"x")
        ),
        "[Attachments in a format of Microsoft Outlook (winmail.dat)]",
    ),
}


@pytest.mark.parametrize("data, text", MAILS.values(), ids=MAILS)
def test_mail_text(site, data, text):
    mail_id = deliver(site, data=data)
    mail = site("mailbox/?read", user="bob", mail_id=mail_id, mail_details=True)["mail"]
    assert mail["mail_text"] == text
    old = site("mailbox/?read", user="bob", mail_id=mail_id)["mail"]
    assert {**mail, "mail_read": 0} == {**old, "mail_read": 0} | {
        k: v for k, v in mail.items() if k not in old
    }


########## HTML as text ############################################################################


HTML_TEXTS = {
    "inline elements": ("gr<b>ü</b>n<i> x</i>", "grün x"),
    "block elements": (
        "<div>a</div><div>b</div><section>c</section>d<article>e</article>f",
        "a\nb\nc\nd\ne\nf",
    ),
    "paragraphs": ("<p>a</p><p>b</p>", "a\n\nb"),
    "line breaks": ("a<br>b<br><br>c", "a\nb\n\nc"),
    "white space": (" a \r\n\t b&nbsp;&nbsp;c ", "a b c"),
    "references": ("&lt;b&gt; &amp;amp; &#8364; &euro;", "<b> &amp; € €"),
    "long reference": ("a&#99999999999999999999;b", "a;b"),
    "link": ('<a href="https://x.org/?a=1&amp;b">here</a>, and', "here <https://x.org/?a=1&b>, and"),
    "link shown already": ('<a href="https://x.org/">x.org</a> <a href="mailto:a@b">a@b</a>', "x.org a@b"),
    "link around a block": ("<a href=https://x.org><div>Click</div></a>", "Click <https://x.org>"),
    "link that is none": ('<a href="javascript:alert(1)">x</a><a name=y>z</a>', "xz"),
    "list": ("<ul><li>a<li>b<ul><li>c</li></ul></li></ul>d", "* a\n* b\n  * c\n\nd"),
    "numbered list": ("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b"),
    "quotes": ("a<blockquote>b<blockquote>c</blockquote>d</blockquote>e", "a\n\n> b\n>\n> > c\n>\n> d\n\ne"),
    "table": ("<table><tr><th>a<th>b<tr><td> 1 </td>\n<td>2</td></tr></table>", "a | b\n1 | 2"),
    "preformatted": ("<pre>a\n  b</pre>c", "a\n  b\n\nc"),
    "pictures": ('<img src=x alt="A picture"><img src=y>', "A picture"),
    "nothing of scripts": ("<script>a</script><style>b</style><title>c</title>d<!-- e -->", "d"),
    "hidden": ('a<div style="DISPLAY : none">b<div>c</div></div>d', "ad"),
    "filler": ("a<p>&zwnj;&nbsp;&#847; &shy;</p>b", "a\n\nb"),
    "less": ("1 < 2 <", "1 < 2 <"),
    "comment without end": ("a<!-- b", "a"),
    "tag without end": ("a<p title='b", "a"),
    "quotation marks": ("<p title='>'>a</p><p x\">b", "a\n\nb"),
    "script without end": ("a<script>b", "a"),
}


@pytest.mark.parametrize("source, text", HTML_TEXTS.values(), ids=HTML_TEXTS)
def test_html_as_text(source, text):
    assert html_text(source) == text


UNITS = ["<p>", "<", "<!--", "<a href=x>", "<a href=https://x.org>x", "<li>", "<ul><li>x", "<blockquote>x", "<td>x", "<script>",
         "</script", "<p title='", '<p a="', "&", "&#", "&amp", "x ", "<pre>\n", "<div style='display:none'>", "<p a=b ", "</", "<br>",
         "<table>", "\xa0", "=", "<a<", "<style></", "<title>x</title>"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_hostile_html_becomes_text_in_linear_time(unit):
    few, many = (calls(lambda size=size: html_text(unit * size)) for size in (300, 1200))
    assert many <= 4.4 * few + 200
    assert len(html_text(unit * 1200)) <= 20 * len(unit) * 1200


def test_a_megabyte_of_html_is_cut_off():
    assert html_text("x " * MAX_LENGTH).endswith(CUT_OFF)
    assert len(html_text("x " * MAX_LENGTH)) <= MAX_LENGTH + len(CUT_OFF)


@pytest.mark.parametrize("kind", [b"mixed", b"alternative"])
def test_a_megabyte_of_html_is_cut_off_of_all_parts_together(site, kind):
    """Sixteen parts of a megabyte each took nine seconds of CPU time."""
    part = part_of_type(b"text/html", b"<br>x" * (MAX_LENGTH // 10))
    mail_id = deliver(site, data=multipart(*[part] * 16, kind=kind))
    text = site("mailbox/?read", user="bob", mail_id=mail_id, mail_details=True)["mail"]["mail_text"]
    shown = {b"mixed": MAX_LENGTH // 5, b"alternative": MAX_LENGTH // 10}[kind]
    assert text.count("x") == shown and text.endswith("[…]") == (kind == b"mixed")


def test_of_alternatives_only_the_one_that_is_shown_is_converted(monkeypatch):
    converted = []
    monkeypatch.setattr(mail_text, "html_text", lambda source, most: converted.append(source) or source)
    shown = mail_text.mail_text(parse_message(multipart(HTML, PLAIN, HTML, kind=b"alternative")))
    assert shown.strip() == "schön" and not converted
    mail_text.mail_text(parse_message(multipart(HTML, HTML, kind=b"alternative")))
    assert len(converted) == 1


########## Flowed text (RFC 3676) ##################################################################


FLOWED = {
    "paragraph": ("one \ntwo \nthree\nfour\n", "one two three\nfour\n"),
    "stuffed": (" From me\n  two\n", "From me\n two\n"),
    "quotes": (">> one \n>> two\n> three \nfour\n", ">> one two\n> three \nfour\n"),
    "signature": ("text \n-- \nAnn\n", "text \n-- \nAnn\n"),
    "quoted signature": ("> a \n> -- \n> b\n", "> a \n> -- \n> b\n"),
}


@pytest.mark.parametrize("source, text", FLOWED.values(), ids=FLOWED)
def test_flowed_lines_are_joined(source, text):
    assert unflow(source) == text


def test_deleted_spaces_of_flowed_text():
    assert unflow("日 \n本\n", delete_space=True) == "日本\n"


@pytest.mark.parametrize("unit", [" \n", ">", "> \n", ">\n", "-- \n", "x "])
def test_hostile_flowed_text_is_joined_in_linear_time(unit):
    few, many = (calls(lambda size=size: unflow(unit * size)) for size in (500, 2000))
    assert many <= 4.4 * few + 100 and len(unflow(unit * 2000)) <= 3 * len(unit) * 2000
