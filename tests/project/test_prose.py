"""The documents are written in short sentences and lines, and their links lead somewhere."""

import re
from urllib.parse import unquote

import pytest

from support.prose import Line, anchors, links, prose_lines, sentences, words
from support.site import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "bench/NOTES.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
}
WORDS_OF_A_SENTENCE = 35
REPEATED = re.compile(r"\b([^\W\d]+)\s+\1\b")

every_page = pytest.mark.parametrize("name", PAGES)


def report(name: str, lines: list[Line]) -> list[str]:
    return [f"{name}:{line.number}: {line.text}" for line in lines]


@every_page
def test_no_sentence_is_long(name):
    found = sentences(PAGES[name].read_text())
    assert report(name, [each for each in found if len(words(each.text)) > WORDS_OF_A_SENTENCE]) == []


@every_page
def test_no_line_of_prose_is_long(name):
    """A line that is one link cannot be broken."""
    lines = prose_lines(PAGES[name].read_text())
    assert (
        report(name, [line for line in lines if len(line.text) >= 120 and " " in line.text.strip("-* ")])
        == []
    )


@every_page
def test_no_word_is_written_twice(name):
    found = sentences(PAGES[name].read_text())
    assert report(name, [each for each in found if REPEATED.search(each.text.replace("Code", "`"))]) == []


@every_page
def test_links_lead_to_files_and_headings(name):
    page, broken = PAGES[name], []
    for link in links(page.read_text()):
        path, _, anchor = unquote(link.text).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or anchor and anchor not in anchors(target):
            broken.append(link)
    assert report(name, broken) == []


PAGE = """# A heading

One `sentence. With code`, and a [link. Here](other.md#part). Two? (Three.) Still
three, e.g. four!

- An item
  goes on: https://example.org/a.b
- Another
    - Below it

| a table | with many words |
|---|---|

    code is not. Counted.

```
nor. This
```
Last
"""


def test_sentences_of_markdown_are_recognized():
    assert [(each.number, each.text) for each in sentences(PAGE)] == [
        (1, "# A heading"),
        (3, "One Code, and a link."),
        (3, "Here."),
        (3, "Two?"),
        (3, "(Three."),
        (3, "Still three, e.g four!"),
        (6, "An item goes on: URL"),
        (8, "Another"),
        (9, "Below it"),
        (19, "Last"),
    ]
    assert [(link.number, link.text) for link in links(PAGE)] == [(3, "other.md#part")]
