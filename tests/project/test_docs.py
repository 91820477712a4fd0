"""The documents say what the code does."""

import re

import pytest

import mailapi
from support.site import MODULES, OPTIONAL, ROOT, Site

REFERENCE = ROOT / "docs/reference"
EVERY = MODULES | {"MSA": "modules/msa.py"} | OPTIONAL


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The pages of the reference as the declarations have them, with the answers to real requests."""
    return mailapi.load_part("commands.reference").pages()


def test_the_reference_is_what_the_declarations_say(pages):
    by_hand = mailapi.load_part("commands.reference").WRITTEN_BY_HAND
    written = {path.name: path.read_text() for path in REFERENCE.glob("*.md") if path.name not in by_hand}
    stale = [name for name in written | pages if written.get(name) != pages.get(name)]
    assert not stale, f"run `mailapi reference docs/reference`: {stale}"


def test_every_action_has_a_section_with_its_fields_and_sentences(tmp_path, pages):
    site = Site(tmp_path, modulelist=EVERY)
    for path, module in site.app.modules.items():
        page = pages[f"{path or 'mailapi'}.md"]
        for name, endpoint in module.endpoints.items():
            title = "/".join(filter(None, [path, name]))
            section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
            assert section, f"{title} has no section"
            for field in [*endpoint.needed(mailapi.GENERATIONS[9]), *endpoint.query]:
                assert f"| `{field}` |" in section[1], (title, field)
            for sentence in endpoint.needed(mailapi.GENERATIONS[9]).values():
                assert f"`{sentence.replace('{permission}', 'permission')}`" in section[1], (title, sentence)


def test_every_sentence_of_the_code_is_documented(pages):
    sentences = set()
    modules = [file for file in (ROOT / "modules").rglob("*.py") if file.parent.name != "commands"]
    for file in [ROOT / "mailapi.py", *modules]:
        sentences |= set(
            re.findall(r'(?:ApiError|otherwise|words|LoginRefused)\(f?"([^"]+)"', file.read_text())
        )
    assert len(sentences) > 20
    for sentence in sentences:
        known = re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(sentence.replace("{permission}", "permission")))
        assert re.search(known, pages["refusals.md"]), f"{sentence} is not in docs/reference/refusals.md"


def test_answers_in_the_reference_are_real(pages):
    """All but those that need other servers come from a request."""
    made_up = [
        title
        for name, page in pages.items()
        for title, section in re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        if "An answer adds, for example:" in section and name not in ("services.md", "accounts.md")
    ]
    assert made_up == [] and '"token": "mailapi_…"' in pages["tokens.md"]
