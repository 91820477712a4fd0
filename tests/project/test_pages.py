"""The pages of docs: complete, readable, with links that lead somewhere."""

import argparse
import dataclasses
import json
import re
import shlex

import pytest
from mailapi_modules.commands import main, package_files, reference
from mailapi_modules.openapi.codes import CODES

import mailapi
from support.pages import DOCS, code_in, first_column, names_in, read_page, section
from support.site import OPTIONAL, ROOT, Site

HOW_TO = sorted(str(path.relative_to(DOCS)) for path in (DOCS / "how-to").glob("*.md"))
EXPLANATIONS = sorted(str(path.relative_to(DOCS)) for path in (DOCS / "explanation").glob("*.md"))
REFERENCE = sorted(str(path.relative_to(DOCS)) for path in (DOCS / "reference").glob("*.md"))
BY_HAND = [f"reference/{name}" for name in reference.WRITTEN_BY_HAND]
PAGES = HOW_TO + EXPLANATIONS + REFERENCE + ["README.md", "glossary.md", "tutorial.md"]

########## Form ####################################################################################


@pytest.mark.parametrize("name", PAGES)
def test_a_page_begins_with_its_reader_and_ends_with_where_to_go(name):
    title, reader, *_, heading, last = re.sub("^<!--.*-->\n", "", read_page(name)).strip().split("\n\n")
    assert title.startswith("# ") and reader.startswith("You need this page ")
    assert heading == "## Next" and last.startswith("Read on: [")


def test_every_page_of_the_reference_is_in_its_index():
    index = read_page("reference/README.md")
    assert [
        page for page in REFERENCE if page != "reference/README.md" and f"]({page[10:]})" not in index
    ] == []


def test_every_page_to_do_or_understand_something_is_in_the_index():
    index = read_page("README.md")
    assert [page for page in HOW_TO + EXPLANATIONS if f"]({page})" not in index] == []


def test_files_that_comments_name_exist():
    """Pages that code, tests and config name, such as docs/wire.md."""
    files = [ROOT / "mailapi.py", ROOT / "config.sample.py", ROOT / "bench/NOTES.md"]
    files += [path for folder in ("modules", "tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    files += (ROOT / "modules/web/languages").glob("*.txt")
    named = {
        (path.name, page) for path in files for page in re.findall(r"docs/[\w/-]+\.md", path.read_text())
    }
    assert len(named) > 10
    assert [each for each in sorted(named) if not (ROOT / each[1]).exists()] == []


########## Completeness ############################################################################


def test_every_key_of_the_configuration_is_there_with_its_default():
    page = read_page("reference/configuration.md")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    names: dict = {}
    exec((ROOT / "config.sample.py").read_text(), names)
    for field in dataclasses.fields(mailapi.Config):
        assert field.name in rows, f"configuration.md has no key {field.name}"
        if field.name not in ("dbpath", "modulelist"):
            # json.dumps for the quotes of the sample
            default = (
                names[field.name] if isinstance(names[field.name], bool) else json.dumps(names[field.name])
            )
            assert rows[field.name] == f"`{default}`", field.name
    entries = re.findall(r'^\| `("\w+": "modules/\w+\.py")`', page, re.MULTILINE)
    assert {json.loads(f"{{{each}}}").popitem() for each in entries} == set(
        package_files.installed_modules().items()
    )


def test_every_command_and_option_is_there():
    page = read_page("reference/command-line.md")
    commands = main.make_parser().get_default("commands")
    listed = re.findall(r"^\| \[`mailapi ([\w-]+)", page, re.MULTILINE)
    assert listed == sorted(commands)
    for name, parser in commands.items():
        text = section(page, f"mailapi {name}")
        for action in parser._actions:
            options = {"--config", "--help", "-h"} | ({"-h"} if name == "call" else set())
            for option in set(action.option_strings) - options:
                assert option in text, f"mailapi {name} has an option {option}"
            if isinstance(action.choices, (list, tuple)) and not isinstance(
                action, argparse._SubParsersAction
            ):
                assert all(choice in text for choice in action.choices), name
        known = {option for action in parser._actions for option in action.option_strings}
        rows = [option for cell in first_column(text) for option in names_in(cell) if option.startswith("--")]
        assert set(rows) <= known, name


def test_every_status_and_code_is_there():
    page = read_page("reference/status-codes.md")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", section(page, "On the second wire"), re.MULTILINE)
    assert {(int(http), code) for http, code in rows} == {
        (http, code) for http, codes in CODES.items() for code in codes
    } | {(200, "ok")}
    for file in [
        ROOT / "mailapi.py",
        *(ROOT / "modules/http").glob("*.py"),
        *(ROOT / "modules/clients").glob("*.py"),
    ]:
        for http in re.findall(r"http=(\d+)", file.read_text()):
            assert re.search(rf"^\| (?:[\d, ]*){http}\b", page, re.MULTILINE), f"{http} of {file.name}"


def test_every_table_and_column_is_there():
    page = read_page("reference/database.md")
    schema = (ROOT / "modules/commands/schema9.sql").read_text()
    for table, columns in re.findall(r"^CREATE TABLE (\w+) \((.*?)\);$", schema, re.MULTILINE | re.DOTALL):
        [row] = re.findall(rf"^\| `{table}` \|.*$", section(page, "The master database"), re.MULTILINE)
        for column in re.findall(
            r"^ *(\w+) +(?:TEXT|INTEGER|BOOLEAN|BLOB)|\b(key|value) TEXT", columns, re.MULTILINE
        ):
            assert f"`{''.join(column)}`" in row, (table, column)
    modules = package_files.installed_modules()
    app = mailapi.create_app({"dbpath": "x", "modulelist": modules, "mailserver": "mysql://user@host/mail"})
    for table in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", app.state_schema):
        assert f"`{table}`" in section(page, "The state database"), table


def test_the_sample_answer_is_real(tmp_path):
    sample = code_in(read_page("reference/requests.md"), "json")
    site = Site(tmp_path, modulelist={"User": "modules/users.py", "POP": "modules/pop.py"})
    answer = site("?get_modules")
    assert json.loads(sample) == answer | {"auth_user": "admin"}


########## Commands ################################################################################


def called(page: str) -> list[tuple[str, str, set[str]]]:
    """Return the actions that a page's `mailapi call` commands name: module, action, and fields."""
    found = []
    for command in re.findall(r"mailapi call ([^`\n\[]+)", page):
        words = [word for word in shlex.split(command.partition(" > ")[0]) if word != "|"]
        while words and words[0].startswith("--"):
            del words[: 2 if words[0] in ("--as", "--limit", "--after") else 1]
        if len(words) > 1 and not words[1].startswith("-"):
            fields = {word.partition("=")[0] for word in words[2:] if "=" in word}
            found.append((words[0], words[1], fields))
    return found


@pytest.mark.parametrize("name", HOW_TO + EXPLANATIONS + BY_HAND)
def test_commands_and_requests_name_actions_and_fields(tmp_path, name):
    app = Site(tmp_path, extra=OPTIONAL | {"MSA": "modules/msa.py"}).app
    page = read_page(name)
    for module, action, fields in called(page):
        if module not in ("greeting", "reminders"):  # of docs/how-to/module.md
            chosen = app.modules[module].endpoints[action]
            assert fields <= {*chosen.fields(mailapi.GENERATIONS[9]), *chosen.query}, (module, action, fields)
    for module, action in re.findall(r"curl.*http://127\.0\.0\.1:8080/(\w+)/\??(\w+)", page):
        assert module == "greeting" or action in app.modules[module].endpoints, (module, action)
    for module, action in re.findall(r"`([a-z]+)/\?(\w+)`", page):
        assert action in app.modules[module].endpoints or action == "index", f"{module}/?{action}"
