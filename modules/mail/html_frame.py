"""Harmless copies of the style sheets and <body> style of a mail, since sanitizing its HTML removes the originals."""

import hashlib
import html
import re

from .html_tokens import Token
from .selectors import NAME, PREFIX
from .style_sheets import MAX_LENGTH, scoped_sheet
from .styles import colour, filter_style

# Comments are matched, too, so that no sheet is found in one. What does not end goes on to the end.
SHEET = re.compile(r"(?is)<!--.*?(?:--!?>|\Z)|<style((?:\s[^<>]*)?)>(.*?)(?:</style(?=[\s/>])[^<>]*>?|\Z)")
BODY = re.compile(r"(?is)<body(\s[^<>]*)>")  # whose attributes the frame has
MAX_CLASSES = 20  # of an element
# Keeps all that a mail shows inside of its frame: no style of the mail can reach this element.
FRAME = "contain:layout paint;overflow:auto"


def prefixed_name(value: str) -> str | None:
    """Return an id or class in a mail with a prefix: `mail-price` for `price`.

    The prefix makes it differ from all ids and classes of the page that shows the mail. Return None if `value` has
    unusual characters.
    """
    return PREFIX + value if NAME.fullmatch(value) else None


def prefixed_classes(value: str) -> str | None:
    return " ".join(filter(None, map(prefixed_name, value.split()[:MAX_CLASSES]))) or None


class Frame:
    """The style sheets and the <body> tag of a mail. They are removed before the mail's HTML is sanitized.

    `source` is the HTML without them. wrap() adds them to the sanitized HTML, in a harmless form. `complete` is
    False if a style sheet was too large.
    """

    def __init__(self, source: str):
        self.scope = PREFIX + "frame-" + hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:32]
        self.sheets: list[str] = []
        self.complete = True
        source = SHEET.sub(self.take_sheet, source)
        body = BODY.search(source)
        self.source = BODY.sub("<div>", source, count=1)
        self.body = Token("start", "body", body[1] if body else "")
        self.sheet = self.scoped()

    def take_sheet(self, match: re.Match) -> str:
        """Append a style sheet to `sheets`, and return "" to remove it from the HTML. Return HTML comments unchanged.

        `match`: the match of a style sheet, or of a comment, in which style sheets do not count.
        """
        if match[2] is None:
            return match[0]
        media = Token("start", "style", match[1]).attribute("media").strip().lower()
        if media in ("", "all"):
            self.sheets.append(match[2])
        elif "{" not in media and ";" not in media:
            self.sheets.append(f"@media {media} {{{match[2]}\n}}")
        return ""

    def scoped(self) -> str:
        """Return the harmless rules of all style sheets as CSS for this mail. Set `complete`: whether all were read."""
        source = "\n".join(self.sheets)
        links = colour(self.body.attribute("link"))
        first = f"a{{color:{links}}}\n" if links else ""
        self.complete = len(source) <= MAX_LENGTH
        try:
            return scoped_sheet(first + source, f".{self.scope}") if first + source.strip() else ""
        except ImportError:  # of tinycss2
            self.complete = not source.strip()
            return ""

    def body_style(self) -> str:
        """Return CSS for the attributes bgcolor, text and style of <body>, such as `background-color:#fff;color:red`."""
        colours = {"background-color": "bgcolor", "color": "text"}
        found = {name: colour(self.body.attribute(attribute)) for name, attribute in colours.items()}
        written = [f"{name}:{value}" for name, value in found.items() if value]
        return ";".join(filter(None, [*written, filter_style(self.body.attribute("style"))]))

    def wrap(self, sanitized: str) -> str:
        """Put sanitized HTML into a <div> with the harmless rules of the mail's style sheets and the style of <body>.

        Return the HTML unchanged if the mail has neither.
        """
        style = self.body_style()
        if not (self.sheet or style):
            return sanitized
        classes = " ".join(filter(None, [self.scope, prefixed_classes(self.body.attribute("class"))]))
        attributes = {"class": classes, "id": prefixed_name(self.body.attribute("id")), "style": style}
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items() if value)
        sheet = f"<style>\n{self.sheet}</style>" if self.sheet else ""
        return f'<div style="{FRAME}">{sheet}<div{written}>{sanitized}</div></div>'
