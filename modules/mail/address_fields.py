"""Tolerant parser of address lists in the header of received mail, in linear time.

A list is split into addresses before its names are decoded, so that no encoded word can pretend to be an address (RFC
2047, section 6.2). modules/mail/addresses.py is the strict parser, for mail that is sent.
"""

import re
from collections.abc import Iterator

from .header_text import FOLD, decoded, one_line

LONGEST = 256 * 1024  # characters of a field that are read
MOST_ADDRESSES = 5000  # of a field
# An unterminated string or comment ends with the field.
TOKEN = re.compile(
    r"""(?sx) =\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=  # an encoded word
    | "(?>(?:[^"\\]|\\.)*)"? | @\[[^\[\]\s"(),;<>]*\]? | [(),:;<>] | [ \t\r\n]+ | \\.? | [^"(),:;<>\\=@\ \t\r\n]+ | [=@]"""
)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def address_list(value: str, charset: str | None = None) -> list[dict[str, str]]:
    """Return the addresses in the value of a header field, such as [{"name": "Ann", "address": "ann@corp.org"}].

    `value` is the field's value before any decoding. `charset` is the charset of the mail's text, for bytes beyond
    ASCII that are not UTF-8. Members of groups are included. "address" is "" if an entry has none.
    """
    entries = Entries(charset)
    for token in address_tokens(FOLD.sub("", value[:LONGEST])):
        entries.add(token)
        if len(entries.found) >= MOST_ADDRESSES:
            break
    entries.end()
    return entries.found


def address_tokens(value: str) -> Iterator[str]:
    """Split an address list into tokens: words, quoted strings, white space, and characters such as `,` and `<`.

    An unclosed quotation mark is left out.
    """
    for token in TOKEN.findall(value):
        if token.startswith('"') and not is_terminated(token):
            yield from TOKEN.findall(token[1:])
        else:
            yield token


def is_terminated(quoted: str) -> bool:
    """Return whether a string that begins with a quotation mark also ends with one, without a backslash before it."""
    backslashes = len(quoted) - 1 - len(quoted[:-1].rstrip("\\"))
    return len(quoted) > 1 and quoted.endswith('"') and backslashes % 2 == 0


class Entries:
    """Collects the addresses in an address list. Pass each token to add(), then call end(); `found` has the addresses.

    `found` is a list such as [{"name": "Ann", "address": "ann@corp.org"}]. Bytes beyond ASCII that are not UTF-8 are
    decoded by `charset`.
    """

    def __init__(self, charset: str | None):
        self.charset = charset
        self.found: list[dict[str, str]] = []
        self.comment_depth = 0
        self.clear()

    def clear(self):
        self.phrase: list[str] = []  # the tokens outside of angle brackets
        self.angle: list[str] | None = None  # those inside
        self.comments: list[str] = []
        self.in_angle = False

    def add(self, token: str):
        if self.comment_depth or token == "(":
            self.add_to_comment(token)
        elif token in (",", ";") and not self.in_angle:
            self.end()
        elif token == ":":
            self.drop_before_colon()
        elif token == "<" and self.angle is None:
            self.angle, self.in_angle = [], True
        elif token == ">":
            self.in_angle = False
        elif self.in_angle and self.angle is not None:
            self.angle.append(token)
        else:
            self.phrase.append(token)

    def add_to_comment(self, token: str):
        self.comment_depth += {"(": 1, ")": -1}.get(token, 0)
        if self.comment_depth and not (token == "(" and self.comment_depth == 1):
            self.comments.append(token)

    def drop_before_colon(self):
        """Drop the tokens before a colon, which are the name of a group or the route in `<@a,@b:c@d>`."""
        if self.in_angle:
            self.angle = []
        elif self.angle is None:
            self.clear()

    def end(self):
        """Make an address of the tokens since the last comma or semicolon, and append it to `found`."""
        if self.angle is not None:
            address, name = address_from(self.angle), self.name(self.phrase)
        elif "@" in "".join(token for token in self.phrase if not token.startswith('"')):
            before, address = bare_address(self.phrase)
            name = self.name(before)
        else:
            words = [token for token in self.phrase if token.strip()]
            single = len(words) == 1 and not words[0].startswith(("=?", '"'))
            address, name = ("".join(words), "") if single else ("", self.name(self.phrase))
        name = name or self.name(self.comments)
        if name or address:
            self.found.append(
                {"name": name, "address": one_line(decoded_bytes(address, self.charset)).strip()}
            )
        self.clear()

    def name(self, tokens: list[str]) -> str:
        """Join the tokens of a display name or comment. Return one line of decoded text, without quotation marks."""
        text = "".join(map(unquoted, tokens)).strip()
        return " ".join(one_line(decoded(text, self.charset)).split())


def unquoted(token: str) -> str:
    """Return a quoted string without quotation marks and escaping backslashes. Other tokens are returned unchanged."""
    if not token.startswith('"'):
        return token
    return ESCAPED.sub(r"\1", token[1:-1] if len(token) > 1 and token.endswith('"') else token[1:])


def address_from(tokens: list[str]) -> str:
    """Join the tokens of an address, without the white space between them."""
    return "".join(token for token in tokens if token.strip())


def bare_address(tokens: list[str]) -> tuple[list[str], str]:
    """Find the address in tokens without angle brackets. Return the tokens before the address, and the address.

    For ["Ann", " ", "ann", "@", "corp.org"], return (["Ann", " "], "ann@corp.org"). White space beside the at sign is
    allowed. The tokens must have an at sign.
    """
    words: list[list[str]] = [[]]
    for token in tokens:
        if token.strip():
            words[-1].append(token)
        elif words[-1]:
            words.append([])
    at = next(
        number for number, word in enumerate(words) if any("@" in token and token[0] != '"' for token in word)
    )
    first = at - 1 if at and words[at][0].startswith("@") else at
    last = at + 1 if words[at][-1].endswith("@") else at
    return [token for word in words[:first] for token in (*word, " ")], address_from(
        sum(words[first : last + 1], [])
    )


def decoded_bytes(address: str, charset: str | None) -> str:
    """Decode the bytes beyond ASCII in an address as UTF-8, or else by `charset`. Encoded words stay unchanged."""
    return (
        address
        if address.isascii()
        else decoded(address.replace("=?", "=\0?"), charset).replace("=\0?", "=?")
    )
