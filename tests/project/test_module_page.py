"""docs/how-to/module.md: its modules and its test run as they stand there, and its tables are complete."""

import dataclasses
import re
import sys

import pytest

import mailapi
from support.command_line import run_mailapi, write_config
from support.pages import code_in, commands, first_column, names_in, read_page, saved_files, section
from support.site import MODULES, ROOT, Site
from support.walkthrough import run_in_bash

PAGE = read_page("how-to/module.md")
FILES = saved_files(PAGE)
VERSIONS = [text for name, text in FILES if name == "reminders.py"]
WRITERS = [("ann", "One."), ("dele", "Two.")]  # dele is a delegate of ann
NO_HOOKS = {"active_in", "choose"}


def typed(command: str, folder) -> str:
    """Run a command on a terminal, after those of the page's introduction, and return what it shows."""
    environment = folder / ".venv"
    if not environment.exists():
        environment.symlink_to(sys.prefix)
    code, said = run_in_bash(code_in(PAGE.partition("\n## ")[0], "sh") + command, folder)
    assert code == 0, said
    return said


def site_with(version: int, folder) -> Site:
    """Return a site with a version of the page's module Reminders, on the databases in `folder`."""
    file = folder / f"version{version}" / "reminders.py"
    file.parent.mkdir()
    file.write_text(VERSIONS[version - 1])
    return Site(folder, extra={"Reminders": str(file)})


def ask(site, action, user="ann", **fields):
    return site(f"reminders/?{action}", user=user, reminder_user="ann", **fields)


def test_the_pages_own_test_passes(tmp_path):
    for name, text in FILES[:3]:
        (tmp_path / name).write_text(text)
    assert [name for name, _ in FILES[:3]] == ["greeting.py", "reminders.py", "test_reminders.py"]
    [command] = [command for command, _ in commands(PAGE) if "pytest" in command]
    assert "4 passed" in typed(f"{command} -p no:cacheprovider", tmp_path)


def test_the_commands_answer_as_the_page_says(tmp_path):
    for name, text in FILES[:2]:
        (tmp_path / name).write_text(text)
    typed("mailapi init < /dev/null | cat", tmp_path)
    with (tmp_path / "config.py").open("a") as config:
        config.write('modulelist |= {"Greeting": "greeting.py", "Reminders": "reminders.py"}\n')
    ours = [each for each in commands(PAGE) if each[0].startswith("mailapi ")]
    assert len(ours) == 5
    for command, printed in ours:
        answer = typed(command, tmp_path)
        assert not printed or answer == printed, command
    for action in ("greet", "count"):
        assert re.search(f"^{action} +Return", typed("mailapi call greeting --help", tmp_path), re.MULTILINE)


def test_the_check_of_the_page_warns_of_what_it_finds(tmp_path):
    [text] = [text for name, text in FILES if name == "notes.py"]
    (tmp_path / "notes.py").write_text(text)
    site = Site(tmp_path, extra={"Notes": str(tmp_path / "notes.py")})
    for domain in ("corp.org", "nowhere.example"):
        site("notes/?add", note_domain=domain, note_text="Ask Ann.")
    site("addresses/?add", address_expression="x@corp.org", address_router="drop")
    write_config(tmp_path, site.config["modulelist"], dbpath=site.place)
    said = [line for line in run_mailapi(tmp_path, "check").splitlines() if "Notes: " in line]
    assert said == ["warn  Notes: there is a note about nowhere.example, which has no address"]


@pytest.mark.every_engine
def test_rows_of_the_first_version_are_moved(tmp_path):
    first = site_with(1, tmp_path)
    numbers = [ask(first, "add", user, reminder_text=text)["reminder_id"] for user, text in WRITERS]
    second = site_with_the_same_databases(first, tmp_path)
    added = ask(second, "add", reminder_text="Three.", reminder_due=1800000000)["reminder_id"]
    assert added > max(numbers)
    rows = ask(second, "get")["reminders"]
    assert [(row["reminder_id"], row["reminder_text"], row["reminder_due"]) for row in rows] == [
        (numbers[0], "One.", None),
        (numbers[1], "Two.", None),
        (added, "Three.", 1800000000),
    ]
    assert ask(first, "get")["reminders"] == []


@pytest.mark.every_engine
def test_the_second_version_finds_rows_of_the_first_before_any_change(tmp_path):
    first = site_with(1, tmp_path)
    ask(first, "add", reminder_text="One.")
    second = site_with_the_same_databases(first, tmp_path)
    assert second.app.modules["reminders"].has_rows_of("ann")
    assert [row["reminder_text"] for row in ask(second, "get")["reminders"]] == ["One."]
    second("users/?delete", user_name="ann")
    assert not second.app.modules["reminders"].has_rows_of("ann")


def site_with_the_same_databases(first: Site, folder) -> Site:
    """Return a site with the second version; its databases are those of the first."""
    file = folder / "version2" / "reminders.py"
    file.parent.mkdir()
    file.write_text(VERSIONS[1])
    second = object.__new__(Site)
    second.__dict__ = first.__dict__ | {
        "config": first.config | {"modulelist": MODULES | {"Reminders": str(file)}}
    }
    second.app = mailapi.create_app(second.config)
    return second


def test_every_declaration_of_an_action_is_in_the_table():
    declared = {field.name for field in dataclasses.fields(mailapi.Endpoint)} - {
        "name",
        "action",
        "identifiers",
    }
    assert set(names_in("".join(first_column(section(PAGE, "What an action declares"))))) >= declared


def test_every_hook_is_in_the_table():
    own = {name: each for name, each in vars(mailapi.Module).items() if not name.startswith("_")}
    hooks = {name for name, each in own.items() if callable(each)} - NO_HOOKS
    assert set(names_in("".join(first_column(section(PAGE, "Hooks"))))) == hooks
    declarations = own.keys() - hooks - NO_HOOKS - {"endpoints", "path"}
    assert set(names_in("".join(first_column(section(PAGE, "What a module may declare"))))) == declarations


def test_the_map_names_every_folder_and_nothing_that_is_gone():
    map_of_files = section(PAGE, "Where things are")
    named = set(re.findall(r"\b((?:modules|tests)/[\w/]*(?:\.py)?)", map_of_files))
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = {f"modules/{path.parent.name}/" for path in (ROOT / "modules").glob("*/*.py")}
    assert folders - named == set()
