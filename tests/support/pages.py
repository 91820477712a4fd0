"""The pages of docs/: the files that a page has readers save, its commands with their answers, its tables."""

import re

from support.site import ROOT

DOCS = ROOT / "docs"
SAVED = re.compile(r"`([\w.-]+)`[^`\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_page(name: str) -> str:
    """Return the text of a page, named below docs/."""
    return (DOCS / name).read_text()


def saved_files(page: str) -> list[tuple[str, str]]:
    """Return the files that a page has readers save, in its order: names and contents."""
    return SAVED.findall(page)


def commands(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page's terminals, in its order, each with what it prints ("": not shown)."""
    blocks = [
        block for text in CONSOLE.findall(page) for block in re.split(r"^\$ ", text, flags=re.MULTILINE)
    ]
    return [(command, printed) for command, _, printed in (each.partition("\n") for each in blocks if each)]


def code_in(text: str, language: str) -> str:
    """Return the only block of code of a language in a text."""
    [code] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return code


def section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next heading of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", page, re.MULTILINE)
    assert found, f"there is no heading {title}"
    return re.split(rf"^#{{1,{len(found[1])}}} ", page[found.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """Return the first cells of the rows of all tables in a text, without the heads of the tables."""
    rows = re.findall(r"^\|(?!-)(.*?)\|.*$(?!\n\|-)", text, re.MULTILINE)
    return [cell.strip() for cell in rows]


def names_in(text: str) -> list[str]:
    """Return what is set in code: `NAME`; of `NAME(…)` and `NAME = …` the name alone."""
    return [re.split(r"[\s(=]", code)[0] for code in re.findall(r"`([^`]+)`", text)]
