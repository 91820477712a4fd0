"""The wire contract, docs/wire.md, has everything that code and tests cite of it."""

import re

import pytest

from support.site import ROOT

WIRE = (ROOT / "docs/wire.md").read_text()
SECTIONS = set(re.findall(r"^## (\d+a?)\. ", WIRE, re.MULTILINE))
DIFFERENCES = re.findall(r"^\| (F\d\d) \|", WIRE, re.MULTILINE)
FILES = [
    ROOT / "mailapi.py",
    *(file for folder in ("modules", "tests", "bench") for file in sorted((ROOT / folder).rglob("*.py"))),
]
# Sections follow the name of the document: section 4, sections 1, 2 and 7a, sections 1 to 8.
CITATION = re.compile(
    r"(?:docs/wire\.md|WIRE),?\s+sections?\s+(\d+a?(?:(?:,\s+|\s+and\s+|,\s+and\s+|\s+to\s+)\d+a?)*)"
)


def cited_sections(text: str) -> list[str]:
    """Return the numbers of the sections that a text cites, also where a comment breaks the line."""
    unbroken = re.sub(r"\n\s*#*\s*", " ", text)
    return [number for numbers in CITATION.findall(unbroken) for number in re.findall(r"\d+a?", numbers)]


def cited_differences(text: str) -> list[str]:
    return re.findall(r"\bF\d\d\b", text)


def prose(text: str) -> list[str]:
    """Return the lines of a document that are neither in a table nor in a block of code."""
    without_code = re.sub(r"(?<=\n\n)(?: {4,}.*\n)+", "", text)
    return [line for line in without_code.splitlines() if not line.startswith("|")]


@pytest.mark.parametrize(
    "text, sections",
    [
        ("as docs/wire.md section 4 has it", ["4"]),
        ("(WIRE section 7a)", ["7a"]),
        ("docs/wire.md F07", []),
        ("(docs/wire.md sections 1, 2 and 7a)", ["1", "2", "7a"]),
        ("WIRE sections 1 and 2, F19, F21", ["1", "2"]),
        ("    # see docs/wire.md\n    # section 6.", ["6"]),
        ("RFC 5322 section 3.6.4", []),
    ],
)
def test_citations_are_recognized(text, sections):
    assert cited_sections(text) == sections


def test_sections_are_numbered_as_the_citations_expect():
    assert {*map(str, range(1, 11)), "7a"} == SECTIONS


def test_every_difference_has_one_row():
    assert [f"F{number:02}" for number in range(1, 48)] == DIFFERENCES


def test_every_citation_names_a_section_or_a_difference():
    cited = [
        (file.relative_to(ROOT), name)
        for file in FILES
        for name in cited_sections(file.read_text()) + cited_differences(file.read_text())
    ]
    assert len(cited) > 50, "the citations are not recognized any more"
    assert [each for each in cited if each[1] not in SECTIONS.union(DIFFERENCES)] == []


def test_references_inside_the_document_exist():
    """Sections and differences that the document itself refers to."""
    sections = re.findall(r"(?<![.\w])[Ss]ections? (\d+a?)", WIRE)
    assert set(sections) <= SECTIONS and set(cited_differences(WIRE)) <= set(DIFFERENCES)


def test_links_lead_to_files_and_headings():
    for name, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", WIRE):
        target = (ROOT / "docs" / name).read_text()
        headings = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall("^#+ (.*)$", target, re.MULTILINE)
        }
        assert not anchor or anchor in headings, f"{name} has no heading {anchor}"


def test_lines_of_prose_are_short():
    assert [line for line in prose(WIRE) if len(line) >= 120] == []
