"""The documents say what the code does."""

import re

import mailapi
from support.site import MODULES, OPTIONAL, ROOT, Site

ENDPOINTS = (ROOT / "docs/endpoints.md").read_text()
EVERY = MODULES | {"MSA": "modules/msa.py"} | OPTIONAL


def rows(site):
    """Each endpoint with its row of docs/endpoints.md."""
    for module in site.app.modules.values():
        for endpoint in module.endpoints.values():
            name = f"{module.path}/?{endpoint.name}" if module.path else f"?{endpoint.name}"
            found = re.search(rf"^\| `{re.escape(name)}` \|.*$", ENDPOINTS, re.MULTILINE)
            yield endpoint, found and found[0]


def test_every_action_has_a_row_with_its_fields(tmp_path):
    site = Site(tmp_path, modulelist=EVERY)
    for endpoint, row in rows(site):
        assert row, f"{endpoint.name} has no row"
        named = row + ("" if "the same" not in row else ENDPOINTS)
        for generation in mailapi.GENERATIONS.values():
            for field in [*endpoint.needed(generation), *endpoint.query]:
                assert f"`{field}`" in named, f"{endpoint.name} does not name {field}"


def test_every_sentence_of_the_code_is_documented():
    sentences = set()
    modules = [file for file in (ROOT / "modules").rglob("*.py") if file.parent.name != "commands"]
    for file in [ROOT / "mailapi.py", *modules]:
        sentences |= set(
            re.findall(r'(?:ApiError|otherwise|words|LoginRefused)\(f?"([^"]+)"', file.read_text())
        )
    assert len(sentences) > 20
    for sentence in sentences:
        known = re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(sentence.replace("{permission}", "permission")))
        assert re.search(known, ENDPOINTS), f"{sentence} is not in docs/endpoints.md"


def test_declared_sentences_are_in_their_row(tmp_path):
    site = Site(tmp_path, modulelist=EVERY)
    for endpoint, row in rows(site):
        if "the same" in row:
            continue
        for sentence in endpoint.needed(mailapi.GENERATIONS[9]).values():
            assert f"`{sentence.replace('{permission}', 'permission')}`" in row
