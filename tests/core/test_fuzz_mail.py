"""Random mail: the answer is always JSON, never HTTP 500. FUZZ=100 runs a hundred times as many examples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.fuzzed_site import check_answer, to_json
from support.fuzzing import EXAMPLES_FACTOR, HYPOTHESIS_SETTINGS, one_of
from support.html_check import check_harmless as check_html
from support.mails import deliver, multipart

pytestmark = pytest.mark.slow


PIECES = one_of(
    b"Subject: ",
    b"From: ",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
    "€\u2028\x85".encode(),
    b"--zz\r\n",
    b"--zz--",
    b"Content-Type: ",
    b"text/plain",
    b"text/html",
    b"multipart/mixed",
    b"multipart/digest",
    b"message/rfc822",
    b"message/delivery-status",
    b"; charset=",
    b"; charset*=",
    b"; charset*0=",
    b"; charset*1*=",
    b"; boundary=zz",
    b"; boundary*=utf-8''zz",
    b"; boundary*0=zz",
    b'"',
    b"'",
    b"utf-8",
    b"utf-16",
    b"idna",
    b"hex",
    b"utf-7",
    b"unicode_escape",
    b"''",
    b"Content-Transfer-Encoding: ",
    b"base64",
    b"quoted-printable",
    b"x-uuencode",
    b"begin 644 x\n",
    b"end",
    b"=",
    b"+2AA-",
    b"=?utf-8?Q?",
    b"=?utf-8?B?",
    b"=?idna?Q?",
    b"?=",
    b"=FF",
    b"R3LD",
    b"R",
    b"xn--",
    b"\\ud800",
    b"%s%f",
    b";",
    b"/",
    b"Content-Disposition: attachment",
    b"; filename=",
    b"; filename*=",
    b"Content-ID: <a>",
    b"References: <a> <b>",
    b"Message-ID: <a>",
    b"<img src=cid:a>",
    b"<a href=",
    b"&#9",
    b"image/png",
    b"winmail.dat",
    b"format=flowed",
    b"text/calendar",
    b"multipart/alternative",
    b"\x1b$B",
    b"iso-2022-jp",
    b"gb2312",
    b"<style>",
    b"</style>",
    b"p{color:red}",
    b"@media x{",
    b"<body bgcolor=red>",
    b"url(",
    b"Reply-To: ",
    b"\xef\xbb\xbf",
    b" :",
)
PARTS = st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=4)
MAILS = st.lists(PIECES | st.binary(max_size=4), max_size=25).map(b"".join) | PARTS.map(
    lambda parts: multipart(*parts)
)


def check_addresses(addresses: list) -> bool:
    return all(each.keys() == {"name", "address"} and all(map(str.isascii, each)) for each in addresses)


@settings(max_examples=500 * EXAMPLES_FACTOR, **HYPOTHESIS_SETTINGS)
@given(
    mail=MAILS,
    stored_as=one_of("TEXT", "BLOB"),
    other=one_of("raw", "parts", "attachment", "html", "view", "search", "threads"),
)
def test_random_mail(fuzzed_site, mail, stored_as, other):
    try:
        mail_id = deliver(fuzzed_site.dbpath, "bob", mail, stored_as=stored_as)
        for action in (other, "get", "read"):
            fields = {
                "mail_id": mail_id,
                "mail_sourcedb": "master",
                "part": 1,
                "text": "R",
                "mail_details": 1,
            }
            body = to_json(fields | {"auth": {"user_name": "bob", "password": "pw"}})
            answer = check_answer(*fuzzed_site.send(body, PATH_INFO="/mailbox/", QUERY_STRING=action))
            assert answer["status"] == "ok"
            if action == other:
                if action == "html":
                    check_html(answer["mail_html"])
                continue
            shown = answer["mail"] if action == "read" else answer["mails"][0]
            assert all(isinstance(shown[f"mail_{name}"], str) for name in ("subject", "from", "to"))
        assert shown["mail_data"] == mail.decode(errors="replace") and isinstance(shown["mail_body"], str)
        assert isinstance(shown["mail_text"], str) and all(
            map(check_addresses, shown["mail_addresses"].values())
        )
    finally:
        fuzzed_site.restore()
