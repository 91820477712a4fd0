"""The files of the panel: their size, their templates, their languages."""

import re

import mailapi
from support.site import ROOT

WEB = ROOT / "modules/web"
TEMPLATES = {file.stem: file.read_text() for file in (WEB / "templates").glob("*.html")}
SOURCES = [file.read_text() for file in WEB.glob("*.py")]
KINDS = "done finding advice router out state change change_what permission also kind".split()


def texts(language: str) -> dict[str, str]:
    mailapi.load_part("web.texts")
    return mailapi.load_part("web.texts").read_texts(language)[0]


def size_of(folder: str) -> list[int]:
    return [file.stat().st_size for file in (WEB / folder).iterdir()]


def test_what_browsers_get_is_small():
    assert sum(size_of("static")) < 30_000
    assert sum(size_of("static") + size_of("templates") + size_of("languages")) < 100_000


def test_nothing_but_the_page_in_its_layout_is_unescaped():
    for name, source in TEMPLATES.items():
        assert re.findall(r"\{\{!.*?\}\}", source) == (["{{!base}}"] if name == "layout" else []), name


def test_nothing_is_loaded_from_elsewhere_or_inline():
    for source in [
        *TEMPLATES.values(),
        (WEB / "static/panel.js").read_text(),
        (WEB / "static/panel.css").read_text(),
    ]:
        assert not re.search(r"https?://|<style|\bstyle=|\son\w+=|innerHTML|@import|url\(", source)
    assert TEMPLATES["layout"].count("<script") == sum(
        source.count("<script") for source in TEMPLATES.values()
    )


def used_keys() -> set[str]:
    keys = {key for source in TEMPLATES.values() for key in re.findall(r"\bt\.([a-z_0-9]+)\b(?!\()", source)}
    keys |= {key for source in SOURCES for key in re.findall(r"visitor\.t\.([a-z_0-9]+)\b(?!\()", source)}
    return keys - {"texts", "language"}


def test_every_text_is_there_and_used():
    known, used = texts("en"), used_keys()
    assert used <= known.keys()
    computed = {key for key in known if any(key.startswith(f"{kind}_") for kind in KINDS)}
    quoted = {key for key in known if any(f'"{key}"' in source for source in [*SOURCES, *TEMPLATES.values()])}
    hints = {key for key in known if key.startswith(("permission_hint_", "day_"))}
    assert known.keys() - used - computed - quoted - hints - {"exists_already", "no_such_user"} == set()


def test_the_languages_have_the_same_texts():
    english, german = texts("en"), texts("de")
    same_in_both = {key for key, text in english.items() if key not in german}
    assert same_in_both == {"permission_admin", "text", "tokens"} and german.keys() <= english.keys()
    for key, text in german.items():
        assert re.findall(r"\{\w*\}", text) == re.findall(r"\{\w*\}", english[key]), key


def test_every_done_sentence_is_there():
    known = texts("en")
    site = (WEB / "site.py").read_text()
    done = set(re.findall(r'Form\([^)]*\), "(\w+)"', site)) | {
        "token_added",
        "address_moved",
        "mail_sent",
        "logged_out",
    }
    assert {f"done_{key}" for key in done} <= known.keys()
