"""No regular expression takes more than linear time on what a client, a mail, a database or a service sends.

Measured in steps of a backtracking engine (support/regex_machine.py), which are the same on every machine.
"""

import ast
import email.feedparser
import email.message
import email.utils
import html
import imaplib
import itertools
import random
import re
import smtplib
import subprocess
import sys
import textwrap
import urllib.parse

import pytest
import waitress.parser
import waitress.receiver
import waitress.rfc7230
from mailapi_modules.http import header_line
from mailapi_modules.mail import (
    addresses,
)

import mailapi
from support import regex_uses
from support.regex_machine import Machine
from support.regex_texts import super_linear
from support.site import MODULES

########## The measure ##############################################################################

WELL_KNOWN = [
    r"(a+)+$",
    r"a*a*b",
    r"^(\d+)*x",
    r".*.*x",
    r"\s+$",
    r"(a|b)*?c",
    r"(?>(?:a|ab)*)c",
    r"(a|ab)(c|bcd)(d*)",
    r"(?:a*)*b",
    r"(a*)*",
    r"(?<=ab)c*",
    r"(?!ab)\w+",
    r"(?<!a)b",
    r"(\w)\1+",
    r"a{2,3}?b",
    r"(?:ab){2,4}c",
    r"(?i)AbC*",
    r"^a|b$",
    r"(?m)^a*$",
    r"\bfo\B",
    r"a++b",
    r"x*",
    r"(?:x|)*",
    r"(?=(a*))b?",
    r"(a)?(b)?c|\2",
    r"[^ab\d]+",
    r"(?s).*?b",
    r"",
    r"(a??)(b??)$",
    r"a{2,}?b",
    r"(?>a|b)*+c",
    r"(?:a?b??){0,3}",
]


def texts(letters: str, number: int) -> list[str]:
    chance = random.Random(letters)
    return ["".join(chance.choices(letters, k=chance.randrange(10))) for _ in range(number)]


@pytest.mark.parametrize("how", ["match", "fullmatch", "search", "finditer"])
def test_the_machine_matches_as_re_does(how):
    own = [use.pattern for use in regex_uses.find_uses()]
    for pattern, known in itertools.chain(
        zip(map(re.compile, WELL_KNOWN), itertools.repeat(True)), zip(own, itertools.repeat(False))
    ):
        machine = Machine(pattern)
        letters = "aabbcdx1 \nfo" if known else "a1 \n\"'\\<>()[]=?@,;:.-/%&#"
        for text in texts(letters, 200 if known else 40):
            given = text.encode() if machine.is_bytes else text
            found = getattr(pattern, how)(given)
            found = [*found] if how == "finditer" else [found] if found else []
            assert machine.spans(given, how)[0] == [match.regs for match in found], (pattern, given)


@pytest.mark.parametrize(
    "pattern, how",
    [
        (r"(a+)+$", "match"),
        (r"a*a*b", "match"),
        (r"^(\d+)*x", "match"),
        (r".*.*x", "match"),
        (r"\s+$", "search"),
        (r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", "fullmatch"),
        (r"<[^>]*>", "search"),
        (r"(a|a)*b", "match"),
        (r"(?:a|b|ab)*c", "match"),
        (r"x*y*z", "search"),
        (r"(?:\w+\s?)*$", "match"),
        (r"([a-z]+)\1*x", "search"),
        (r"/\*.*?\*/", "finditer"),
        (r'"(?:[^"\\]|\\.)*"', "search"),
        (r"\((?:a|[^)])*\)\Z", "match"),
    ],
)
def test_what_is_known_to_be_slow_is_found(pattern, how):
    assert super_linear(re.compile(pattern, re.DOTALL), how)


@pytest.mark.parametrize(
    "pattern, how",
    [
        (r"\s*$", "match"),
        (r"[^ ]{70}", "search"),
        (r"(?>a+)+$", "match"),
        (r"\d+", "search"),
        (r"(a|b)*$", "match"),
        (r'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"?+', "finditer"),
        (r"(?:%..|[^%]){1,16}", "finditer"),
        (r"a*b", "match"),
        (r"\s+$", "match"),
        (r"<[^<>]*>", "search"),
        (r"x*+y*+z", "fullmatch"),
        (r"(?:\w+\s)*$", "match"),
    ],
)
def test_what_is_known_to_be_linear_passes(pattern, how):
    assert super_linear(re.compile(pattern), how) is None


########## All patterns #############################################################################


SINGLE = {getattr(re._constants, name) for name in ("ANY", "IN", "LITERAL", "NOT_LITERAL")}


def has_possessive_group(tree) -> bool:
    """Return whether a parsed pattern repeats more than one character possessively, as `(?:ab)*+` does."""
    if isinstance(tree, tuple) and tree and tree[0] is re._constants.POSSESSIVE_REPEAT:
        repeated = tree[1][2]
        if len(repeated) != 1 or repeated[0][0] not in SINGLE:
            return True
    return isinstance(tree, (tuple, list, re._parser.SubPattern)) and any(map(has_possessive_group, tree))


def test_no_pattern_has_a_possessive_group():
    """Python 3.11.2 takes `(?:ab?c)*+` for a match of all of "aca" (python/cpython#106052)."""
    assert has_possessive_group(re._parser.parse("a|(b(?>(?:ab)*+))"))
    assert not has_possessive_group(re._parser.parse("a*+|([ab]++(?>(?:ab)*))"))
    for use in regex_uses.find_uses():
        tree = re._parser.parse(use.pattern.pattern, use.pattern.flags)
        assert not has_possessive_group(tree), use.where


@pytest.mark.slow
def test_every_pattern_takes_linear_time():
    uses = regex_uses.find_uses()
    assert len(uses) > 100  # else they were not found
    assert {
        use.where: (use.pattern.pattern, slow) for use in uses if (slow := super_linear(use.pattern, use.how))
    } == {}


def test_patterns_are_found_wherever_they_are_used():
    found = {(use.pattern.pattern, use.how) for use in regex_uses.find_uses()}
    assert (addresses.BARE, "match") in found  # by `compiled`
    assert (addresses.DOT_ATOM, "fullmatch") in found  # by re itself
    assert (addresses.LABEL.pattern, "fullmatch") in found  # handed on
    assert (mailapi.FORBIDDEN.pattern, "finditer") in found  # by the name that a module gives it
    assert (r"\blength\(", "finditer") in found  # in a list
    assert (r"^([\s\S]*)$", "match") in found  # of a route
    assert (mailapi.covering("%@corp.org").pattern, "fullmatch") in found  # made of what the database has


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return re.search(x, 'a')",
        "from re import search",
        "import re as r",
        "import fnmatch",
        "def f(x): return re.compile('a' + x)",
        "search = functools.partial(re.search)",
    ],
)
def test_a_pattern_that_nobody_can_tell_is_found_out(source, tmp_path):
    (tmp_path / "mailapi.py").write_text(source)
    with pytest.raises(regex_uses.Unresolved):
        regex_uses.Reader(tmp_path / "mailapi.py", mailapi)


LIBRARIES = [  # that what others send reaches, in the way in which they use it
    (email.feedparser, "headerRE", "match"),
    (email.feedparser, "NLCRE", "search"),
    (email.feedparser, "NLCRE_bol", "match"),
    (email.feedparser, "NLCRE_eol", "search"),
    (email.feedparser, "NLCRE_crack", "finditer"),
    (email.message, "tspecials", "search"),
    (email.utils, "rfc2231_continuation", "match"),
    (html, "_charref", "finditer"),
    (urllib.parse, "_asciire", "finditer"),
    (imaplib, "Untagged_response", "match"),
    (imaplib, "Untagged_status", "match"),
    (imaplib, "Continuation", "match"),
    (imaplib, "Response_code", "match"),
    (imaplib, "Literal", "match"),
    (smtplib, "OLDSTYLE_AUTH", "match"),
    (waitress.receiver, "CHUNK_EXT_RE", "match"),
    (waitress.receiver, "ONLY_HEXDIG_RE", "match"),
    (waitress.parser, "ONLY_DIGIT_RE", "match"),
]


@pytest.mark.parametrize(
    "module, name, how", LIBRARIES, ids=[f"{module.__name__}.{name}" for module, name, _ in LIBRARIES]
)
def test_patterns_of_libraries_take_linear_time(module, name, how):
    if (pattern := getattr(module, name, None)) is None:
        pytest.skip("another version has no such pattern")
    assert super_linear(pattern, how) is None


########## The lines of a request's head ###########################################################

FIRST_LINE_RE, HEADER_FIELD_RE = waitress.parser.first_line_re, waitress.rfc7230.HEADER_FIELD_RE


def test_header_lines_are_read_in_linear_time_and_as_waitress_does():
    theirs, chance = HEADER_FIELD_RE, random.Random(1)
    assert super_linear(header_line.HEADER_LINE, "match") is None
    for _ in range(20_000):
        line = bytes(chance.choices(b'Aa:: \t\t  \x01\xffx_\n"', k=chance.randrange(10)))
        read, reference = header_line.HEADER_LINE.match(line), theirs.match(line)
        assert (read is None) == (reference is None), line
        assert read is None or read["name"] == reference["name"]
        assert read is None or read["value"].strip(b" \t") == reference["value"].strip(b" \t")


def test_request_lines_are_read_in_linear_time_and_as_waitress_does():
    chance, matched = random.Random(1), 0
    assert super_linear(header_line.FIRST_LINE, "fullmatch") is None
    for _ in range(20_000):
        line = b"".join(
            chance.choices(
                [
                    b"GET",
                    b" ",
                    b" HTTP/1.1",
                    b"a",
                    b":",
                    b"/",
                    b"://",
                    b"1",
                    b"?",
                    b"#",
                    b"\n",
                    b"\xff",
                    b"@",
                ],
                k=chance.randrange(8),
            )
        )
        line = b"GET " + line if chance.random() < 0.5 else line
        read, reference = header_line.FIRST_LINE.fullmatch(line), FIRST_LINE_RE.fullmatch(line)
        assert (read and read.groupdict()) == (reference and reference.groupdict()), line
        matched += bool(read)
    assert matched > 1000


def test_mailapi_serve_reads_requests_so(tmp_path):
    (tmp_path / "config.py").write_text(f'dbpath = "master.db3"\nmodulelist = {MODULES!r}\n')
    program = textwrap.dedent("""
        import sys, mailapi, waitress.parser
        from mailapi_modules.http import header_line

        class Listening(BaseException):
            pass

        def listen(*_):
            raise Listening

        import socket
        socket.socket.listen = listen
        try:
            mailapi.main(["serve", "--config", "config.py", "--listen", "127.0.0.1:0"])
        except Listening:
            used = waitress.parser.first_line_re, waitress.parser.HEADER_FIELD_RE
            sys.exit(used != (header_line.FIRST_LINE, header_line.HEADER_LINE))
        sys.exit(2)
    """)
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=300).returncode == 0


def test_all_sources_are_looked_at():
    imports = {
        name.name
        for file in regex_uses.FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert "re" in imports and not {"regex", "sre_parse", "fnmatch"} & imports
