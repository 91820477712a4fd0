"""mail_addresses of mailbox/?read, and answers to a mail: the structure of a field is read before its names.

The right answers are those of RFC 5322 (section 3.4 and 4.4) and of RFC 2047 (section 5 and 6.2).
"""

import pytest
from mailapi_modules.mail.address_fields import address_list

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import deliver
from support.outgoing import allow_sending, queued_data, send_mail, sent_mail

EVIL = "=?utf-8?q?ceo=40bank=2Ecom_=3Cceo=40bank=2Ecom=3E?= <evil@x>"
FIELDS = {
    "an encoded address": (EVIL, [("ceo@bank.com <ceo@bank.com>", "evil@x")]),
    "an encoded comma": ("=?utf-8?q?a=40b=2C_c=40d?= <evil@x>", [("a@b, c@d", "evil@x")]),
    "a comma in an encoded word": ("=?utf-8?Q?Doe,_J=C3=B6rg?= <j@x>", [("Doe, Jörg", "j@x")]),
    "a quoted comma": ('"Doe, John" <j@x>', [("Doe, John", "j@x")]),
    "quoted pairs": ('"a\\"b\\\\" <x@y>', [('a"b\\', "x@y")]),
    "several": ("a@b, C D <c@d>,, e@f", [("", "a@b"), ("C D", "c@d"), ("", "e@f")]),
    "adjacent words": ("=?utf-8?Q?J=C3=B6?= =?utf-8?Q?rg?= X <a@b>", [("Jörg X", "a@b")]),
    "a word in quotation marks": ('"=?utf-8?Q?J=C3=B6rg?=" <j@x>', [("Jörg", "j@x")]),
    "groups": ('Team: a@b, "X" <c@d>;, e@f', [("", "a@b"), ("X", "c@d"), ("", "e@f")]),
    "an empty group": ("undisclosed-recipients:;", []),
    "comments": ("a@b (Ann (nested) \\) x), (c) Bob <c@d> (e)", [("Ann (nested) \\) x", "a@b"), ("Bob", "c@d")]),
    "a route": ("<@a,@b:c@d>", [("", "c@d")]),
    "blanks around the at sign": ("a @ b, X <c @ d.e>", [("", "a@b"), ("X", "c@d.e")]),
    "a quoted local part": ('"a b"@c, X <"d, e"@f>', [("", '"a b"@c'), ("X", '"d, e"@f')]),
    "a domain literal": ("a@[192.0.2.1], b@[IPv6:2001:db8::1]", [("", "a@[192.0.2.1]"), ("", "b@[IPv6:2001:db8::1]")]),
    "no brackets": ("Ann Lee a@b", [("Ann Lee", "a@b")]),
    "an address as a name": ("a@b <c@d>, \"e@f\" <g@h>", [("a@b", "c@d"), ("e@f", "g@h")]),
    "bracket not closed": ("Ann <a@b", [("Ann", "a@b")]),
    "quotation mark not closed": ('"Ann <a@b>, c@d', [("Ann", "a@b"), ("", "c@d")]),
    "semicolons": ("a@b; c@d", [("", "a@b"), ("", "c@d")]),
    "only a name": ("Ann Lee", [("Ann Lee", "")]),
    "a local user": ("root", [("", "root")]),
    "nothing in brackets": ("Ann <>", [("Ann", "")]),
    "folds": ("Ann\r\n Lee\r\n\t<a@b>", [("Ann Lee", "a@b")]),
    "raw utf-8": ("Jörg <j@bücher.example>", [("Jörg", "j@bücher.example")]),
    "line breaks": ("=?utf-8?q?a=0D=0ABcc:_x=40y?= <a@b>", [("a Bcc: x@y", "a@b")]),
    "directions": ("=?utf-8?b?4oCuYeKBpg==?= <a@b>", [("a", "a@b")]),
    "an encoded word is no address": ("<=?utf-8?q?a=40b?=>", [("", "=?utf-8?q?a=40b?=")]),
    "empty": ("", []),
    "commas": (",,;,", []),
}  # fmt: skip


@pytest.mark.parametrize("field, expected", FIELDS.values(), ids=FIELDS)
def test_addresses_of_a_mail(site, field, expected):
    raw = field.encode()
    data = b"".join(name + b": " + raw + b"\r\n" for name in (b"From", b"To", b"Cc", b"Reply-To")) + b"\r\nx"
    mail = site("mailbox/?read", user="bob", mail_id=deliver(site, data=data), mail_details=1)["mail"]
    wanted = [{"name": name, "address": address} for name, address in expected]
    assert mail["mail_addresses"] == dict.fromkeys(("from", "to", "cc", "reply_to"), wanted)


def test_what_an_answer_needs(site):
    data = (
        b"From: a@b\r\nCc: =?utf-8?q?J=C3=B6rg?= <j@x>\r\nReply-To: r@x\r\nDate: Fri, 27 Nov 2026 07:00:00 +0000\r\n"
        b"Message-ID: <3@x>\r\nReferences: <1@x>\r\n\t<2@x>\r\n\r\n"
    )
    mail = site("mailbox/?read", user="bob", mail_id=deliver(site, data=data), mail_details=True)["mail"]
    assert (mail["mail_cc"], mail["mail_reply_to"]) == ("Jörg <j@x>", "r@x")
    assert (mail["mail_date"], mail["mail_message_id"]) == ("Fri, 27 Nov 2026 07:00:00 +0000", "<3@x>")
    assert mail["mail_references"] == "<1@x> <2@x>"
    mail = site("mailbox/?read", user="bob", mail_id=deliver(site, data=b"\r\n"), mail_details=True)["mail"]
    names = ("cc", "reply_to", "date", "message_id", "references", "text")
    assert [mail[f"mail_{name}"] for name in names] == [""] * 6
    assert mail["mail_addresses"] == {"from": [], "to": [], "cc": [], "reply_to": []}


def test_no_header_has_line_breaks_or_changes_the_direction_of_text(site):
    word = b"=?utf-8?b?" + b"YQ0KQmNjOiB44oCuYuKBp2PigKhk" + b"?="
    data = b"".join(name + b": " + word + b"\r\n" for name in (b"Subject", b"From", b"To", b"Date")) + b"\r\n"
    mail_id = deliver(site, data=data)
    listed = site("mailbox/?get", user="bob")["mails"][0]
    assert {listed[f"mail_{name}"] for name in ("subject", "from", "to", "date")} == {"a Bcc: xbc d"}
    assert site("mailbox/?read", user="bob", mail_id=mail_id)["mail"]["mail_subject"] == "a Bcc: xbc d"


@pytest.mark.parametrize(
    "unit",
    ["<", "(", '"', "a,", "a@b,", ":", ";", "\\", "=?", "=?a?q?b?=", '"a', "a ", "@", "<a:", ")", "(\\"],
)
def test_hostile_lists_are_read_in_linear_time(unit):
    few, many = (calls(lambda size=size: address_list(unit * size)) for size in (500, 2000))
    assert many <= 4.4 * few + 200


########## Answers #################################################################################


RECEIVED = (
    b"From: Bob <bob@else.example>\r\nTo: ann@one.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Message-ID: <2@else.example>\r\nReferences: <1@else.example>\r\n\r\nHello.\r\n"
)


@pytest.fixture
def answering_site(site):
    return allow_sending(site)


def test_an_answer_has_recipient_subject_and_references(answering_site):
    mail_id = deliver(answering_site, user="ann", data=RECEIVED)
    mail = sent_mail(answering_site, to=None, reply_to_mail=mail_id, text="Thanks.")
    assert (str(mail["To"]), str(mail["Subject"])) == ("Bob <bob@else.example>", "Re: Grüße")
    assert mail["In-Reply-To"] == "<2@else.example>"
    assert mail["References"] == "<1@else.example> <2@else.example>"
    assert answering_site.sql("SELECT mail_envelopeto FROM outbox") == [("bob@else.example",)]
    assert answering_site.sql("SELECT mail_read FROM mailbox") == [(0,)]


def test_what_is_given_counts_more_than_the_mail_that_is_answered(answering_site):
    mail_id = deliver(answering_site, user="ann", data=RECEIVED)
    given = {"to": "x@y.example", "subject": "", "in_reply_to": "<9@x>"}
    mail = sent_mail(answering_site, reply_to_mail=mail_id, mail_sourcedb="master", **given)
    assert (str(mail["To"]), mail["Subject"], mail["In-Reply-To"]) == ("x@y.example", None, "<9@x>")
    mail = sent_mail(answering_site, to=None, cc="x@y.example", reply_to_mail=mail_id)
    assert mail["To"] is None and str(mail["Cc"]) == "x@y.example"


ANSWERED = {
    "Reply-To": (b"From: a@x.example\r\nReply-To: Team: b@x.example, C <c@x.example>;\r\n", 'b@x.example, C <c@x.example>', "Re:"),
    "answered before": (b"From: a@x.example\r\nSubject: RE: x\r\n", "a@x.example", "RE: x"),
    "counted": (b"From: a@x.example\r\nSubject: Re[2]: x\r\n", "a@x.example", "Re[2]: x"),
    "ids that are none": (b"From: a@x.example\r\nMessage-ID: none\r\nReferences: <\xff@x> a <b c>\r\n", "a@x.example", "Re:"),
    "an unusable Reply-To": (b"From: a@x.example\r\nReply-To: nobody <>\r\n", "a@x.example", "Re:"),
    "control characters": (b"From: =?utf-8?q?a=00=07b?= <a@x.example>\r\nSubject: =?utf-8?q?=00x?=\r\n", "a  b <a@x.example>", "Re: x"),
}  # fmt: skip


@pytest.mark.parametrize("head, to, subject", ANSWERED.values(), ids=ANSWERED)
def test_answers_to_all_kinds_of_mail(answering_site, head, to, subject):
    mail_id = deliver(answering_site, user="ann", data=head + b"\r\nx")
    mail = sent_mail(answering_site, to=None, reply_to_mail=mail_id)
    assert " ".join(str(mail["To"]).replace('"', "").split()) == " ".join(to.split())
    assert str(mail["Subject"]) == subject


def test_an_answer_goes_to_the_address_and_not_to_the_name(answering_site):
    mail_id = deliver(answering_site, user="ann", data=b"From: " + EVIL.encode() + b"\r\n\r\nx")
    assert send_mail(answering_site, reply_to_mail=mail_id)["status"] == "ok"
    assert answering_site.sql("SELECT mail_envelopeto FROM outbox") == [("evil@x",)]


def test_references_do_not_grow_for_ever(answering_site):
    ids = b" ".join(b"<%d@x>" % number for number in range(5000))
    head = b"From: a@x.example\r\nMessage-ID: <last@x>\r\nReferences: " + ids + b"\r\n\r\n"
    mail_id = deliver(answering_site, user="ann", data=head)
    mail = sent_mail(answering_site, to=None, reply_to_mail=mail_id)
    references = mail["References"].split()
    assert references[0] == "<0@x>" and references[-2:] == ["<4999@x>", "<last@x>"] and len(references) == 21


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"reply_to_mail": 99}, "mail not found"),
        ({"reply_to_mail": 1}, "mail not found"),  # another user's
        ({"reply_to_mail": 2}, "The mail has no address for a reply."),
        (
            {"reply_to_mail": 2, "message": "From: ann@one.org\r\n\r\nx"},
            "Give a message or its parts, not both.",
        ),
    ],
    ids=range(4),
)
def test_answers_that_are_refused(answering_site, fields, status):
    deliver(answering_site, user="bob", data=RECEIVED)
    deliver(answering_site, user="ann", data=b"Subject: x\r\n\r\nx")
    assert send_mail(answering_site, **fields)["status"] == status
    assert not queued_data(answering_site)
