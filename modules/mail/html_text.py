"""Conversion of a mail's HTML to plain text with links, lists, quotes and tables, in linear time.

No package does this: html2text has another licence and needs html.parser; inscriptis needs lxml and recursion.
"""

import re

from .html_tokens import Token, tokens

MAX_LENGTH = 1_000_000  # characters of HTML that are converted, of all parts of a mail together
CUT_OFF = "\n\n[…]"
MAX_DEPTH = 8  # of quotes and lists that are shown
PARAGRAPHS = {"blockquote", "dl", "figure", "form", "h1", "h2", "h3", "h4", "h5", "h6", "ol", "p"}
PARAGRAPHS |= {"pre", "table", "ul"}
LINES = {"address", "article", "aside", "body", "br", "caption", "center", "dd", "details", "div"}
LINES |= {"dt", "fieldset", "figcaption", "footer", "header", "hr", "html", "legend", "li", "main"}
LINES |= {"nav", "option", "section", "summary", "tr"}
CELLS = {"td", "th"}
# Elements that are not shown, and whose end tag cannot be left out.
HIDING = {"a", "b", "center", "div", "em", "font", "i", "section", "span", "strong", "table", "template"}
HIDDEN = re.compile(r"(?i)display\s*:\s*none")
WHITE_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
# Characters without width, with which senders fill up the line that a list of mails shows.
INVISIBLE = " \xad\u034f\u200b\u200c\u200d\u2007\u200e\u200f\ufeff"
EMPTY_LINES = re.compile(r"\n{3,}")
LINK = re.compile(r"(?i)(?:https?://|mailto:)[^\s<>]+")


def html_text(source: str, most: int = MAX_LENGTH) -> str:
    """Convert HTML to plain text. An ellipsis replaces all HTML after the first `most` characters."""
    writer = Writer()
    for token in tokens(source[:most]):
        writer.write(token)
    return writer.text() + (CUT_OFF if len(source) > most else "")


class Writer:
    """Converts tokens of HTML to plain text. Pass each token to write(); text() returns the result."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []  # pieces of the line that is being written
        self.separator = ""  # before the next text of this line
        self.quotes = self.preformatted = 0
        self.lists: list[int] = []  # the number of the last item of each list; -1: not numbered
        self.marker = ""  # of the list's item that begins
        self.hidden, self.hidden_depth = "", 0
        self.link, self.link_start = (
            "",
            0,
        )  # URL of an open link, and the number of the line's pieces before it
        self.gap = False  # whether an empty line precedes the next one
        self.quotes_before = 0  # of the line before

    def write(self, token: Token):
        if self.hidden:
            self.skip(token)
        elif token.kind == "text":
            self.add(token.text)
        elif token.kind == "start":
            self.start(token)
        elif token.kind == "end":
            self.end(token.name)
        elif token.name in ("textarea", "xmp", "plaintext"):
            self.add(token.text)

    def skip(self, token: Token):
        """Leave out a token within a hidden element, such as one with `display:none`. Its end tag ends the hiding."""
        if token.name == self.hidden and token.kind != "raw":
            self.hidden_depth += 1 if token.kind == "start" else -1
            if not self.hidden_depth:
                self.hidden = ""

    def add(self, text: str):
        """Add text to the current line, with single blanks for white space. In <pre>, keep white space and lines."""
        if self.preformatted:
            first, *others = text.replace("\r\n", "\n").split("\n")
            self.add_piece(first)
            for each in others:
                self.end_line()
                self.add_piece(each)
            return
        text = WHITE_SPACE.sub(" ", text)
        if text.startswith(" ") and self.line and not self.separator:
            self.separator = " "
        if stripped := text.strip(" "):
            self.add_piece(stripped)
            self.separator = " " if text.endswith(" ") else ""

    def add_piece(self, text: str):
        if text:
            self.line += [self.separator, text] if self.line else [text]
            self.separator = ""

    def start(self, token: Token):
        name = token.name
        if name == "template" or name in HIDING and self.is_hidden(token):
            self.hidden, self.hidden_depth = name, 1
            return
        self.break_before(name)
        if name == "a":
            self.link, self.link_start = token.attribute("href").strip(), len(self.line)
        elif name == "img":
            self.add(token.attribute("alt"))
        elif name == "hr":
            self.add("-" * 20)
            self.end_line()
        elif name in ("ul", "ol"):
            self.lists.append(0 if name == "ol" else -1)
        elif name == "li":
            self.begin_item()
        elif name == "blockquote":
            self.quotes += 1
        elif name == "pre":
            self.preformatted += 1

    @staticmethod
    def is_hidden(token: Token) -> bool:
        return "none" in token.text.lower() and bool(HIDDEN.search(token.attribute("style")))

    def break_before(self, name: str):
        """End the current line, paragraph or table cell if the HTML element `name` requires it."""
        if name in PARAGRAPHS and not (self.lists and name in ("ol", "ul")):
            self.end_line()
            self.gap = bool(self.lines)
        elif name in LINES or name in PARAGRAPHS:
            self.end_line(always=name == "br")
        elif name in CELLS and self.line:
            self.separator = " | "

    def begin_item(self):
        if self.lists and self.lists[-1] >= 0:
            self.lists[-1] += 1
            self.marker = f"{self.lists[-1]}. "
        else:
            self.marker = "* "

    def end(self, name: str):
        if name in CELLS:
            return
        if name in ("ul", "ol") and self.lists:
            self.end_line()
            self.lists.pop()
        if name != "br":
            self.break_before(name)
        if name == "a":
            self.end_link()
        elif name == "blockquote":
            self.quotes = max(self.quotes - 1, 0)
        elif name == "pre":
            self.preformatted = max(self.preformatted - 1, 0)

    def end_link(self):
        """Write the URL of a link after its text, as in `our shop <https://corp.org>`.

        URLs that repeat the text, or do not begin with http:, https: or mailto:, are left out.
        """
        shown, url = "".join(self.line[self.link_start :]).strip(), self.link
        if shown and LINK.fullmatch(url):
            same = shown.rstrip("/"), f"http://{shown}", f"https://{shown}", f"mailto:{shown}"
            if url.rstrip("/") not in same:
                separator, self.separator = self.separator, " "
                self.add_piece(f"<{url}>")
                self.separator = separator
        if shown:
            self.link = ""

    def end_line(self, always: bool = False):
        """Write the current line of the text. Write an empty line only in <pre>, or if `always` is True."""
        if self.link:
            self.end_link()
        text = "".join(self.line)
        if not self.preformatted:
            text = text.strip(INVISIBLE)
        if text or always or self.preformatted:
            if self.gap and self.lines[-1].strip("> "):
                self.lines.append(self.prefix(min(self.quotes, self.quotes_before)).rstrip())
            indent = "  " * min(max(len(self.lists) - 1, 0), MAX_DEPTH)
            line = self.prefix(self.quotes) + indent + (self.marker if text else "") + text
            self.lines.append(line.rstrip())
            self.marker = "" if text else self.marker
            self.gap, self.quotes_before = False, self.quotes
        self.line, self.separator, self.link_start = [], "", 0

    @staticmethod
    def prefix(quotes: int) -> str:
        return "> " * min(quotes, MAX_DEPTH)

    def text(self) -> str:
        self.end_line()
        return EMPTY_LINES.sub("\n\n", "\n".join(self.lines)).strip("\n")
