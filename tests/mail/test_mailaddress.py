"""Addresses as people write them: what is one, what is none, and that neither costs time."""

import contextlib

import fast_mail_parser
import idna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mailapi_modules.mail.addresses import NotAnAddress, all_mailboxes, fold_field, parse_address_list

import mailapi  # noqa: F401  so that mailapi_modules is found
from support.counting import ended

ADDRESSES = [  # as written → name, and address of the envelope
    ("ann@one.org", "", "ann@one.org"),
    ("<ann@one.org>", "", "ann@one.org"),
    ("Ann@ONE.org", "", "Ann@ONE.org"),
    ("Ann <ann@one.org>", "Ann", "ann@one.org"),
    ("Ann B. Lee<ann@one.org>", "Ann B. Lee", "ann@one.org"),
    ('"Lee, Ann" <ann@one.org>', "Lee, Ann", "ann@one.org"),
    ('"A \\"B\\" \\\\" <a@b>', 'A "B" \\', "a@b"),
    ("Jörg Müller <j@x.org>", "Jörg Müller", "j@x.org"),
    ("李 <l@x.org>", "李", "l@x.org"),
    ("ann@one.org (Ann)", "", "ann@one.org"),
    ("Ann (at (work) <a@b>", None, None),
    ("(x, y) Ann (at \\) work) <a@b> (z)", "Ann", "a@b"),
    ("root@localhost", "", "root@localhost"),
    ('"ann"@one.org', "", "ann@one.org"),
    ('"ann lee"@one.org', "", '"ann lee"@one.org'),
    ('"a@b\\"c"@one.org', "", '"a@b\\"c"@one.org'),
    ('"a..b"@one.org', "", '"a..b"@one.org'),
    ("a+b=c/d!e#f@one.org", "", "a+b=c/d!e#f@one.org"),
    ("john_doe@sub_net.org", "", "john_doe@sub_net.org"),
    ("a@[192.0.2.1]", "", "a@[192.0.2.1]"),
    ("a@[IPv6:2001:db8::1]", "", "a@[IPv6:2001:db8::1]"),
    ("jörg@one.org", "", "jörg@one.org"),
    ("用户@例子.广告", "", "用户@xn--fsqu00a.xn--4rr70v"),
    ("a@bücher.example", "", "a@xn--bcher-kva.example"),
    ("a@BÜCHER.Example", "", "a@xn--bcher-kva.example"),
    ("a@straße.de", "", "a@xn--strae-oqa.de"),
    ("a@ｂücher。example", "", "a@xn--bcher-kva.example"),
    ("a@xn--bcher-kva.example", "", "a@xn--bcher-kva.example"),
]
NONE = [
    "ann",
    "@one.org",
    "ann@",
    "ann@@one.org",
    "a@b@c",
    "ann lee@one.org",
    "ann@one org",
    "ann@one.org.",
    "ann@.org",
    "ann@one..org",
    ".ann@one.org",
    "ann.@one.org",
    "a..b@one.org",
    "ann@-one.org",
    "ann@one-.org",
    "a@b/c",
    '""@one.org',
    '"ann@one.org',
    "<ann@one.org",
    "ann@one.org>",
    "ann@one.org x",
    "Ann <ann@one.org> x",
    "<@relay:ann@one.org>",
    "a@[192.0.2]",
    "a@[relay]",
    "a@[]",
    "a@[IPv6:zz]",
    "a;b@one.org",
    "a@b;c@d",
    "ann@one.org ann@two.org",
    "ann@one.org <ann@one.org>",
    "a\\b@one.org",
    "a@one.org\u3000",
    "a\u200bb@one.org",
    '"a\tb"@one.org',
    "a@one.org\u2028",
    "a\r\nb@one.org",
    "a@one.org\n",
    "a@℀.org",
    "x" * 245 + "@one.org2222222",
    "a@" + "x" * 64 + ".org",
    "a@" + "x." * 126 + "org",
    "Ann <>",
    "<>",
    "(comment)@one.org",
    ";",
    ":;",
    "a:",
    "t:a@b",
    "t: u: a@b;;",
    "a@b, :;",
    '"' + "x" * 1001 + '" <a@b>',
    "a@\ud800.org",
]


@pytest.mark.parametrize(("written", "name", "address"), [row for row in ADDRESSES if row[2]])
def test_address_is_read(written, name, address):
    (found,) = parse_address_list(written)
    assert (found.name, found.address) == (name, address)


@pytest.mark.parametrize("written", NONE + [row[0] for row in ADDRESSES if not row[2]])
def test_what_is_no_address_is_told(written):
    with pytest.raises(NotAnAddress) as told:
        list(parse_address_list(f"ok@one.org, {written}, other@one.org"))
    named = str(told.value)
    assert named and "ok@one.org" not in named and "\n" not in named and len(named) <= 100


def test_groups_and_lists():
    found = list(
        parse_address_list(' ,a@b,, Team: c@d, "E, F" <e@f>,; , undisclosed recipients:;,(only a comment),')
    )
    assert [str(one) for one in found] == ["a@b", 'Team: c@d, "E, F" <e@f>;', "undisclosed recipients:;"]
    assert [one.address for one in all_mailboxes(found)] == ["a@b", "c@d", "e@f"]
    assert list(parse_address_list("")) == list(parse_address_list(" , ")) == []


def test_a_table_may_spell_a_domain_either_way():
    for written, others in [
        ("a@Bücher.example", {"a@Bücher.example", "a@bücher.example", "a@xn--bcher-kva.example"}),
        ("a@xn--bcher-kva.example", {"a@bücher.example", "a@xn--bcher-kva.example"}),
        ("a@b.c", {"a@b.c"}),
        ("a@xn--zzzzzzzzzzzz.c", {"a@xn--zzzzzzzzzzzz.c"}),
    ]:
        (found,) = parse_address_list(written)
        assert others <= found.variants


@pytest.mark.parametrize(
    "domain",
    [
        "bücher.example",
        "straße.de",
        "βόλος.com",
        "ﾌﾞﾛｸﾞ.jp",
        "क्‍ष.com",
        "نامه‌ای.com",
        "ÖBB.at",
        "faß.de",
        "ΌΣΟΣ.gr",
        "日本語。jp",
        "παράδειγμα.δοκιμή",
        "münchen.xn--p1ai",
    ],
)
def test_domains_in_unicode_are_those_of_idna_2008(domain):
    (found,) = parse_address_list(f"a@{domain}")
    assert found.address == "a@" + idna.encode(domain, uts46=True).decode()


def test_no_input_costs_more_than_its_length():
    """The standard library takes a minute for some of these, of a tenth of the size."""
    size = 300_000
    for piece in [
        "(",
        '"',
        "a,",
        "<",
        " ",
        "a",
        "a.",
        "=?utf-8?q?x?= ",
        "\\",
        "()",
        "a ",
        ", ",
        ":;",
        '"" ',
        "(\\",
        "a@x()",
        "[",
        "a@[",
        "@",
        ";",
        "a:;",
        "ü",
        "a@ü.",
        '"a" ',
        "(a",
        "a\u0301",
        "".join(map(chr, range(0x4E00, 0x8E00))),
    ]:
        many = piece * (size // len(piece))
        for written in (
            many,
            many + "@",
            "a@" + many,
            "t:" + many,
            "(" * 1000 + piece * 1000 + ")" * 1000 + "<a@b>",
        ):
            with contextlib.suppress(NotAnAddress):
                ended(lambda: list(parse_address_list(written)))


NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=60
)
LOCALS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@settings(deadline=None)
@example([("0:", "0"), ("@0", "@0"), ("\xa0\xa0", "@")])  # a closing quote before what looks like a domain
@example([("a" * 60 + ":", "b" * 10), ("c" * 60, "d" * 10)])
@given(st.lists(st.tuples(NAMES, LOCALS), min_size=1, max_size=4))
def test_what_is_written_is_read_back(people):
    quoted = [(quote(name), quote(local)) for name, local in people]
    found = list(parse_address_list(", ".join(f"{name} <{local}@one.org>" for name, local in quoted)))
    assert [(one.name, one.local) for one in found] == people
    field = fold_field("To", ", ".join(map(str, found)))
    assert all(len(line) <= 76 for line in field.split(b"\r\n"))
    again = list(parse_address_list(field.decode().removeprefix("To:").replace("\r\n", "").strip()))
    assert [one.address for one in again] == [one.address for one in found]


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.sampled_from(["ann", "a.b+c", "o'x"])), min_size=1, max_size=4))
def test_others_read_what_is_written(people):
    found = list(parse_address_list(", ".join(f"{quote(name)} <{local}@one.org>" for name, local in people)))
    mail = b"From: a@b\r\n" + fold_field("To", ", ".join(map(str, found))) + b"\r\n"
    shown = fast_mail_parser.parse_email(mail).to
    assert [one.address for one in shown] == [f"{local}@one.org" for _, local in people]
    assert [(one.display_name or "").split() for one in shown] == [name.split() for name, _ in people]


def quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
