"""Readers of other people's text take steps in proportion to its length, and keep nothing forever.

Measured in steps of a backtracking engine (support/regex_machine.py) and in calls.
"""

import itertools
import sys
from pathlib import Path

import pytest
from mailapi_modules.clients import managesieve, scanners
from mailapi_modules.mail import (
    address_fields,
    addresses,
    compose,
    content_fields,
    header_text,
    html_frame,
    html_text,
    html_tokens,
    imap_answers,
    irregular_mail,
    japanese,
    mail_text,
    message_parser,
    messages,
    mime,
    new_message,
    outgoing,
    ready_message,
    search,
    selectors,
    style_sheets,
    styles,
    threads,
    transfer_encodings,
)

import mailapi
from support.regex_steps import Counter


def steps(modules, do, text) -> int:
    """The steps of all patterns in what do does with a text, and the calls that it makes besides."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += 1

    with Counter(modules) as counter:
        try:
            do(text)
        except (ValueError, mailapi.ApiError):
            pass
    sys.setprofile(count)
    try:
        do(text)
    except (ValueError, mailapi.ApiError):
        pass
    finally:
        sys.setprofile(None)
    return counter.steps + calls


def mail(raw: str) -> list:
    row = {"mail_id": 1, "mail_submission": "1", "mail_data": raw.encode("latin-1")}
    return [
        messages.mail_summary(row, "master"),
        messages.mail_details(row, "master", more=True),
        threads.Links(row["mail_data"]),
        search.Search({"text": "never"}).matches(row["mail_data"]),
    ]


def ready(head: str) -> object:
    return compose.compose_mail(
        {"message": f"From: a@b\n{head}".encode("utf-8", "surrogatepass"), "to": "x@y"}, lambda: None, CONFIG
    )


CONFIG = mailapi.checked_config({"dbpath": "unused", "modulelist": {}}, Path("/"))
RECEIVED = [content_fields, header_text, irregular_mail, japanese, message_parser, transfer_encodings]
SHOWN = [address_fields, html_text, html_tokens, mail_text]
STYLED = [html_frame, html_tokens, selectors, style_sheets, styles]
READERS = {
    "an address list": ([addresses], lambda text: list(map(str, addresses.parse_address_list(text)))),
    "a folded field": ([addresses], lambda text: addresses.fold_field("To", text)),
    "a mail": ([*RECEIVED, *SHOWN, messages, threads, search], mail),
    "HTML of a mail": (SHOWN, html_text.html_text),
    "style of an element": (STYLED, styles.filter_style),
    "a sheet of styles": (STYLED, lambda text: style_sheets.scoped_sheet(text, ".x")),
    "HTML with sheets": (STYLED, html_frame.Frame),
    "flowed text of a mail": (SHOWN, mail_text.unflow),
    "addresses of a mail": (SHOWN, address_fields.address_list),
    "a calendar of a mail": (SHOWN, mail_text.calendar_line),
    "a header field": ([header_text, japanese], header_text.decoded_line),
    "a content field of a mail": ([content_fields, header_text], content_fields.ContentField),
    "a header of a mail": (RECEIVED, lambda text: message_parser.parse_headers(text.encode("latin-1"))),
    "base64 of a mail": (RECEIVED, lambda text: transfer_encodings.decode_base64(text.encode("latin-1"))),
    "a uuencoded mail": (RECEIVED, lambda text: transfer_encodings.decode_uu(text.encode("latin-1"))),
    "Japanese in a mail": (RECEIVED, lambda text: japanese.decode_iso_2022_jp(text.encode("latin-1"))),
    "EUC-JP in a mail": (RECEIVED, lambda text: japanese.decode_euc_jp(text.encode("latin-1"))),
    "a ready message": ([compose, ready_message, outgoing, mime, addresses], ready),
    "message ids": (
        [new_message, mime],
        lambda text: new_message.reply_fields({"in_reply_to": text, "references": text}),
    ),
    "an answer of IMAP": ([imap_answers], lambda text: imap_answers.parse_items(text.encode("latin-1"), b"")),
    "a line of ManageSieve": (
        [managesieve],
        lambda text: managesieve.TOKEN.findall(text.encode("latin-1")),
    ),
    "a position": ([search, mailapi], lambda text: search.position(f"{text}x 1 master")),
    "a number": ([mailapi], mailapi.number),
}
UNITS = [
    "1",
    ".",
    '"',
    '\\"',
    '"\\',
    "(",
    "(\\",
    ")",
    "<",
    "<a>",
    "<a@b> ",
    "[",
    " ",
    "\t",
    ",",
    ";",
    ":",
    "@",
    "a@b,",
    "a@b (,",
    '"a"@b,',
    "a ",
    "=?",
    "=?a?q?b?=",
    "=?a?q?b?= ",
    "To: ",
    "To: a@b\n",
    "\n",
    "\n ",
    "&#",
    "BODY[",
    'BODY[] "',
    "\\",
    "%",
    "a:;",
    "a:b@c;,",
    "--zz\n",
    "\x1b$B",
    "\x1b(I",
    "\xa4\xa2",
    "\x8f",
    "=\n",
    "QQ==\n",
    "; a=(",
    ";a*1*=x",
    " \r",
    "junk\n",
    "<!--",
    "<p a='",
    "<script>",
    "</script",
    "> \n",
    "BEGIN:VEVENT\n",
    "<meta charset",
    "<style>",
    "<body ",
    "a{b:c}",
    "@media x{",
    "background:url(",
    "background:url('",
    "a /**/ ",
]
BEFORE_IN_A_MAIL = [
    "Subject: ",
    "References: ",
    "To: ",
    "begin 644 x\n",
    "Content-Type: text/html\n\n",
    "Content-Type: text/html; x=",
    "Content-Type: multipart/mixed; boundary=zz\n\n--zz\n",
]
# What leads a reader into its rarer states.
BEFORE = {
    "a mail": BEFORE_IN_A_MAIL,
    "a header of a mail": BEFORE_IN_A_MAIL,
    "a ready message": BEFORE_IN_A_MAIL,
    "a content field of a mail": ["text/html; x="],
    "a uuencoded mail": ["begin 644 x\n"],
    "HTML of a mail": ["<style>", "<p style='"],
    "style of an element": ["background:url("],
    "a sheet of styles": ["@media x{", "a{b:url("],
    "HTML with sheets": ["<style>", "<p style='"],
}


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_a_text_takes_linear_time(reader):
    modules, do = READERS[reader]
    slow = []
    for before, unit in itertools.product(["", *BEFORE.get(reader, [])], UNITS):
        few, many = (steps(modules, do, before + unit * (size // len(unit))) for size in (200, 800))
        if many > 5.5 * few + 500:
            slow.append((before, unit, few, many))
    assert slow == []


class Compared(str):
    """Text that counts how often it is compared with another."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Compared.comparisons += 1
        return str.__eq__(self, other)


def test_message_ids_are_not_each_compared_with_all_others(monkeypatch):
    monkeypatch.setattr(
        new_message, "message_ids", lambda name, value: [Compared(f"<{name}{n}>") for n in range(1000)]
    )
    new_message.reply_fields({"in_reply_to": "", "references": ""})
    assert Compared.comparisons < 10_000


class Piece(bytes):
    """Bytes that count how many are copied to put them behind others."""

    copied = 0

    def __radd__(self, other):
        Piece.copied += len(other) + len(self)
        return bytes(other) + bytes(self)


def test_what_a_service_sends_in_pieces_is_not_copied_for_each_of_them():
    Piece.copied = 0
    pieces = [(Piece(b"1 (BODY[] {1}"), b"x") for _ in range(1000)] + [Piece(b")")]
    assert len(list(imap_answers.parse_answers(pieces))) == 1

    class Connection:
        def makefile(self, mode):
            return self

        sent = iter([Piece(b"x")] * 10_000 + [b"\0"])

        def read1(self, size):
            return next(self.sent)

    assert scanners.read_answer(Connection()) == "x" * 10_000
    assert Piece.copied < 100_000


def test_charsets_that_mails_make_up_are_not_kept_for_ever():
    import encodings

    for number in range(20):
        words = " ".join(f"=?x{number}y{n}?q?a?=" for n in range(200))
        mail(f"Subject: {words}\nContent-Type: text/plain; charset*=z{number}''x\n\n")
    assert len(encodings._cache) < 2000


def test_a_position_is_as_long_as_positions_are(site):
    for wrong in (
        "1" * 101 + " 1 master",
        f"1 {'1' * 30} master",
        "1 ١ master",
        "1 1_0 master",
        "1 1 master ",
    ):
        assert (
            site("mailbox/?search", check=400, user="bob", next=wrong)["status"] == "Invalid value for next."
        )
    for right in ("1 -9223372036854775808 master", "1.7976931348623157e+308 1 user", "-1.5 3 imap"):
        assert site("mailbox/?search", user="bob", next=right)["status"] == "ok"


def test_what_covers_much_of_nothing_is_not_compiled(monkeypatch):
    monkeypatch.setattr(mailapi, "covering", lambda given: pytest.fail("compiled"))
    assert not mailapi.covers("a%" * 100_000, "a@b")
