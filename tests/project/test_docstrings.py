"""Docstrings say first what something does or is, in short sentences."""

import ast
import re

import pytest

from support.prose import SENTENCE_END, words
from support.site import ROOT

FILES = [ROOT / "mailapi.py", *sorted((ROOT / "modules").rglob("*.py"))]
WORDS_OF_A_SENTENCE = 35
NO_BEGINNING = re.compile(
    r"(What|Which|Who|Whose|Whom|Whether|Where|When|Why|How|As|If|It|This|That|The same)\b"
)

COMPLETE = re.compile(r"[.:][)]?\Z")


def docstrings(tree: ast.Module) -> list[tuple[str, str]]:
    """Return the name of each module, class and function, and its docstring."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [(node, ast.get_docstring(node)) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(getattr(node, "name", "the file"), text) for node, text in found if text]


def sentences(text: str) -> list[str]:
    """Return the sentences of a docstring, in which a code span counts as one word."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"`[^`]+`", "Code", text))
    return [each for paragraph in paragraphs for each in SENTENCE_END.split(" ".join(paragraph.split()))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_are_plain(path):
    found = docstrings(ast.parse(path.read_text()))
    assert [name for name, text in found if NO_BEGINNING.match(text)] == []
    assert [name for name, text in found if not COMPLETE.search(text.partition("\n\n")[0])] == []
    long = [
        (name, sentence)
        for name, text in found
        for sentence in sentences(text)
        if len(words(sentence)) > WORDS_OF_A_SENTENCE
    ]
    assert long == []
