"""Tokenizer for untrusted HTML, in linear time.

Python's html.parser takes quadratic time in some supported versions. Tokens are not safe to show as HTML.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

# A tag or comment that does not end goes on to the end of the text.
TOKEN = re.compile(
    r"""(?sx) (?P<text> [^<]+ )
    | <!-- (?: -?> | .*? (?: --!?> | \Z ) )
    | < (?P<slash> /? ) (?P<name> [A-Za-z] [^\s/>]* )
        (?P<attributes> (?> (?: [^>=] | = \s* (?: "[^"]*(?:"|\Z) | '[^']*(?:'|\Z) )? )* ) ) (?: > | \Z )
    | < [!?/] [^>]* (?: > | \Z )
    | <"""
)
RAW_ELEMENTS = ("iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp")
END_TAGS = {name: re.compile(rf"(?i)</{name}(?=[\s/>])|\Z") for name in RAW_ELEMENTS}
ATTRIBUTE = re.compile(r"""(?s)([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)"?|'([^']*)'?|([^\s>"']+)))?""")
MAX_ATTRIBUTES = 100  # of a tag that are read
# Longer than any character's: unescape would convert all their digits.
LONG_REFERENCE = re.compile("&#[xX]?0*[0-9a-fA-F]{8,}")


class Token(NamedTuple):
    """A piece of HTML: a tag, a text, or the content of an element such as <style>.

    `kind` is "start" or "end" for a tag, "text" for a text, and "raw" for the content of such an element.
    """

    kind: str
    name: str  # of the element, in lower case; "" for text
    text: str  # of the text, of the element's content, or of a start tag's attributes

    def attribute(self, name: str) -> str:
        """Return the value of the start tag's attribute `name`, or "" if it is missing."""
        matches = ATTRIBUTE.finditer(self.text)
        values = (match.groups() for _, match in zip(range(MAX_ATTRIBUTES), matches))
        found = next((value for value in values if value[0].lower() == name), None)
        return plain(found[1] or found[2] or found[3] or "") if found else ""


def tokens(source: str) -> Iterator[Token]:
    """Split HTML into tokens, in their order. Comments are left out.

    The content of an element that cannot contain tags, such as <style>, is a single token of the kind "raw".
    """
    position = 0
    while position < len(source):
        match = TOKEN.match(source, position)
        assert match  # some alternative matches at each character
        position = match.end()
        if match["text"] or match[0] == "<":
            yield Token("text", "", plain(match[0]))
        elif match["name"]:
            name = match["name"].lower()
            yield Token("end" if match["slash"] else "start", name, match["attributes"])
            if name in END_TAGS and not match["slash"]:
                end = END_TAGS[name].search(source, position)
                assert end  # the end of the text at the latest
                yield Token("raw", name, source[position : end.start()])
                position = end.start()


def plain(text: str) -> str:
    """Replace the character references in a text by characters, such as `&amp;` by `&`."""
    return html.unescape(LONG_REFERENCE.sub("", text)) if "&" in text else text
