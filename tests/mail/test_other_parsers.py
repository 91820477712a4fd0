"""The parser of mail compared with two other parsers, over the standard library's own test messages.

Where mailapi differs on purpose, DIFFERENCES says why.
"""

import email
import email.policy
import importlib.util
from pathlib import Path

import pytest
from mailapi_modules.mail.message_parser import parse_message
from mailapi_modules.mail.parts import parts

import mailapi  # noqa: F401 what makes mailapi_modules importable

SPEC = importlib.util.find_spec("test.test_email") if importlib.util.find_spec("test") else None
FOLDER = Path(SPEC.origin).parent / "data" if SPEC and SPEC.origin else None
MESSAGES = sorted(FOLDER.glob("msg_*.txt")) if FOLDER else []
pytestmark = pytest.mark.skipif(not MESSAGES, reason="Python came without its own tests")


def one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def ours(raw: bytes) -> dict:
    message = parse_message(raw)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return {
        "subject": one_line(message.field("subject")),
        **{name: [tuple(each.values()) for each in message.addresses(name)] for name in ("from", "to", "cc")},
        "types": [part.get_content_type() for part in leaves],
        "names": [part.get_filename("") for part in leaves],
        "texts": [
            one_line(part.readable_text()) for part in leaves if part.get_content_type() == "text/plain"
        ],
        "contents": [
            part.content() for part in leaves if part.get_content_maintype() not in ("text", "message")
        ],
    }


def of_the_library(raw: bytes) -> dict:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    leaves = [part for part in message.walk() if not part.is_multipart()]
    return {
        "subject": one_line(message["subject"]),
        **{
            name: [(each.display_name, each.addr_spec) for each in message[name].addresses]
            if message[name]
            else []
            for name in ("from", "to", "cc")
        },
        "types": [part.get_content_type() for part in leaves],
        "names": [part.get_filename("") for part in leaves],
        "texts": [one_line(part.get_content()) for part in leaves if part.get_content_type() == "text/plain"],
        "contents": [
            part.get_payload(decode=True)
            for part in leaves
            if part.get_content_maintype() not in ("text", "message")
        ],
    }


COMMENT = "an old form: the comment after an address is a name (RFC 5322, 3.4); the library drops it"
DIFFERENCES: dict[str, dict[str, str]] = {
    "msg_01": {"from": COMMENT},
    "msg_03": {"from": COMMENT},
    "msg_04": {"from": COMMENT},
    "msg_06": {"from": COMMENT},
    "msg_14": {"from": COMMENT},
    "msg_20": {"from": COMMENT},
    "msg_27": {"from": COMMENT, "to": COMMENT},
    "msg_29": {"from": COMMENT},
    "msg_43": {"from": "the address <> is empty, as in mail from a mail system; the library says <>"},
    "msg_44": {"from": COMMENT},
}


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_like_the_standard_library(path):
    raw = path.read_bytes()
    mine, others = ours(raw), of_the_library(raw)
    different = {name for name in mine if mine[name] != others[name]}
    assert different <= set(DIFFERENCES.get(path.stem, {})), {n: (mine[n], others[n]) for n in different}


NAMED = "a text with a file name is an attachment, as in mailbox/?parts"
FAST_DIFFERENCES: dict[str, dict[str, str]] = {
    "msg_04": {"texts": NAMED},
    "msg_14": {"texts": "a content type without a slash is text/plain (RFC 2045, 5.2)"},
    "msg_33": {"texts": "a boundary may be written as RFC 2231 has it (boundary*)"},
    "msg_38": {"texts": "boundaries of outer multiparts in an inner text: read as the library reads them"},
    "msg_44": {"texts": NAMED},
    "msg_47": {"texts": "in a part whose header ends with a line of text that line is text"},
}


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_like_fast_mail_parser(path):
    fast = pytest.importorskip("fast_mail_parser")
    raw = path.read_bytes()
    try:
        parsed = fast.parse_email(raw)
    except fast.ParseError:
        return
    texts = [
        part.readable_text() for part in parts(raw) if part.content_type == "text/plain" and not part.attached
    ]
    mine = {"subject": ours(raw)["subject"], "texts": list(filter(None, map(one_line, texts)))}
    others = {
        "subject": one_line(parsed.subject),
        "texts": list(filter(None, map(one_line, parsed.text_plain))),
    }
    different = {name for name in others if mine[name] != others[name]}
    assert different <= set(FAST_DIFFERENCES.get(path.stem, {})), {n: (mine[n], others[n]) for n in different}
