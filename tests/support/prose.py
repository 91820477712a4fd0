"""The sentences of Markdown pages and docstrings, to count their words and to find their links."""

import re
from dataclasses import dataclass
from pathlib import Path

LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")
ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|cf|etc|vs|No|St)\.", re.IGNORECASE)
# A full stop ends a sentence if a blank follows, also with quotation marks or brackets between them.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]*_]*\s+(?=\S)")
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")


@dataclass
class Line:
    """A line of a page, with its number from 1 on."""

    number: int
    text: str


def prose_lines(page: str) -> list[Line]:
    """Return the lines that are neither code nor in a table. Front matter and HTML comments count as code."""
    lines, fence, code, blank = [], "", False, True
    for number, text in enumerate(page.splitlines(), 1):
        stripped = text.strip()
        opening = re.match(r"(`{3,}|~{3,})", stripped)
        if fence:
            fence = "" if stripped.startswith(fence) and not stripped.strip(fence[0]) else fence
            blank = True
            continue
        if opening:
            fence = opening[1]
            continue
        indented = text.startswith(("    ", "\t")) and not LIST_ITEM.match(text)
        code = bool(stripped) and indented and (code or blank) or code and not stripped
        if not code and not stripped.startswith(("|", "<!--")):
            lines.append(Line(number, text))
        blank = not stripped
    return lines


def blocks(page: str) -> list[Line]:
    """Return the paragraphs, list items and headings, each on one line, with the number of its first line."""
    found: list[Line] = []
    before = Line(-1, "")
    for line in prose_lines(page):
        text = line.text.strip()
        begins = LIST_ITEM.match(line.text) or text.startswith("#") or before.text.lstrip().startswith("#")
        if text and (begins or not before.text.strip() or line.number != before.number + 1):
            found.append(Line(line.number, LIST_ITEM.sub("", line.text, count=1).strip()))
        elif text:
            found[-1].text += " " + text.removeprefix("> ")
        before = line
    return found


def plain(text: str) -> str:
    """Return a block without markup: a code span or a URL counts as one word, a link as its text."""
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "Code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<?https?://\S+>?", "URL", text)
    return ABBREVIATIONS.sub(r"\1", text)


def sentences(page: str) -> list[Line]:
    """Return the sentences of a page, each with the number of the line on which its block begins."""
    return [
        Line(block.number, sentence)
        for block in blocks(page)
        for sentence in SENTENCE_END.split(plain(block.text))
        if sentence.strip()
    ]


def words(sentence: str) -> list[str]:
    """Return the words of a sentence. Signs that stand alone (–, ·, ×, →) are none."""
    return [word for word in sentence.split() if re.search(r"\w", word)]


def links(page: str) -> list[Line]:
    """Return the targets of the links and pictures, also those in tables, each with its line."""
    return [
        Line(line.number, target)
        for line in [Line(number, text) for number, text in enumerate(page.splitlines(), 1)]
        for target in LINK.findall(re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", line.text))
    ]


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page have on the usual forges."""
    found: set[str] = set()
    for line in prose_lines(page.read_text(encoding="utf-8")):
        if heading := re.match(r"#+ (.*)", line.text):
            slug = re.sub(r"[^\w\- ]", "", heading[1].strip().lower()).replace(" ", "-")
            number = 1
            while (numbered := slug if number == 1 else f"{slug}-{number - 1}") in found:
                number += 1
            found.add(numbered)
    return found
