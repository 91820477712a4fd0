"""The help of `mailapi call` about modules, actions and fields, how it prints lists, and its answers to mistakes."""

import contextlib
import os
import pty
import re
import signal
import subprocess

import pytest

import mailapi
from support.command_line import MAILAPI, run_mailapi, run_on_terminal, write_config
from support.panel import add_queued
from support.site import Site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    write_config(tmp_path)
    return site


def test_every_module_and_action_is_described(site, tmp_path):
    app = mailapi.create_app(str(tmp_path / "config.py"))
    said = run_mailapi(tmp_path, "call")
    for module in app.modules.values():
        path = module.path or "/"
        if 9 not in module.generations:
            assert not re.search(rf"^{path} ", said, re.M)
            continue
        assert re.search(rf"^{path} +\S.*\w", said, re.M)
    said = run_mailapi(tmp_path, "call", "users")
    for name in app.modules["users"].endpoints:
        assert re.search(rf"^{name}  +[A-Z]\w+ .*\w$", said, re.M)


def test_help_of_an_action_has_its_fields_and_who_may_call_it(site, tmp_path):
    said = run_mailapi(tmp_path, "call", "users", "add", "--help")
    assert said.startswith("Add a user")
    assert "Who may: admin; with delegates_add_users also delegates" in said
    assert re.search(r"^  user_name +text \(required\): The user's name\.$", said, re.M)
    assert re.search(r"^  user_authdata +secret", said, re.M)
    assert "Example: mailapi call users add user_name=…" in said
    assert run_mailapi(tmp_path, "call", "users", "add", "-h") == said
    assert "> FILE" in run_mailapi(tmp_path, "call", "mailbox", "raw", "--help")
    assert run_mailapi(tmp_path, "call", "--help").startswith("usage: mailapi call")


def test_fields_of_a_new_mail_are_described_apart_from_those_of_a_search(site, tmp_path):
    said = run_mailapi(tmp_path, "call", "mailbox", "send", "--help")
    assert re.search(r"^  subject +text: The subject\.$", said, re.M) and ": The text." in said
    assert "A text in the subject." in run_mailapi(tmp_path, "call", "mailbox", "search", "--help")


def test_a_list_without_columns_has_its_name(capsys):
    from mailapi_modules.commands.table import print_answer

    for numbers, printed in (([1], "queue_ids: 1\n"), ([1, 2], "queue_ids\n1\n2\n"), ([], "(none)\n")):
        print_answer({"status": "ok", "queue_ids": numbers}, as_table=True)
        assert capsys.readouterr().out.replace(" ", "") == printed.replace(" ", "")


def test_what_looks_like_a_time_and_is_none_is_printed_as_it_is(capsys):
    from mailapi_modules.commands.table import cell

    for value in ("²", "1" * 5000, "-5", "0", 10**12, None):
        assert cell("mail_submission", value) == ("" if value is None else str(value))
    assert cell("mail_submission", "1700000000").startswith("2023-11-1")


def test_help_of_a_module_has_its_actions(site, tmp_path):
    said = run_mailapi(tmp_path, "call", "users")
    assert re.search(r"^set_password  +\S", said, re.M)
    assert (
        said
        == run_mailapi(tmp_path, "call", "users", "--help")
        == run_mailapi(tmp_path, "call", "-h", "users")
    )
    assert "Did you mean users?" in run_mailapi(tmp_path, "call", "userss", "--help", check=1)


@pytest.mark.parametrize("generation", [8, 9])
def test_every_action_has_a_help_in_both_generations(tmp_path, generation):
    Site(tmp_path, generation)
    write_config(tmp_path)
    app = mailapi.create_app(str(tmp_path / "config.py"))
    from mailapi_modules.commands import call_help

    for module in app.modules.values():
        for endpoint in module.endpoints.values():
            with contextlib.redirect_stdout(open(os.devnull, "w")) as nowhere, nowhere:
                call_help.describe_action(module, endpoint, app.generation())
            for kind in (endpoint.fields(app.generation()) | endpoint.query).values():
                assert "None" not in call_help.describe_kind(kind)


@pytest.mark.parametrize(
    "typed, answer",
    [
        ("userss get", "Unknown module userss. Did you mean users? `mailapi call` lists the modules."),
        ("users gett", "Unknown action gett. Did you mean get? `mailapi call users` lists the actions of users."),
        ("users qqqqq", "Unknown action qqqqq. `mailapi call users` lists the actions of users."),
        ("users add user_nam=x", "user_nam=x: give FIELD=VALUE. Did you mean user_name? The fields are user_name, "),
        ("users remove", "Unknown action remove. Did you mean delete? "),
        ("users add password=x", "password=x: give FIELD=VALUE. Did you mean user_authdata? "),
        ("queue get mail_state=x", "Invalid value for mail_state. Expected: `waiting`, `deferred`, `failed`: waiting: "),
        ("audit get since=x", "Invalid value for since. Expected: whole number: The earliest time, in seconds since "),
        ("services get", "Unknown module services. modulelist in config.py lacks it, or it is not for generation 9. "),
        ("users get --limit -1", "--limit must be at least 1."),
        ("users add user_name=x --after y", "add has no pages: leave out --after."),
        ("users import file=missing.csv", "missing.csv: No such file or directory"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_answered_by_what_would_have_been_right(site, tmp_path, typed, answer):
    before = site.dump()
    said = run_mailapi(tmp_path, "call", *typed.split(), check=1)
    assert said.startswith(f"mailapi: {answer}") and "Errno" not in said
    assert site.dump() == before


def test_the_queue_is_a_table_and_several_mails_are_retried_at_once(site, tmp_path):
    ids = [add_queued(site, failures=2), add_queued(site)]
    table = run_mailapi(tmp_path, "call", "queue", "get", "--table")
    assert table.endswith("counts: 1 waiting, 1 deferred, 0 failed\n")
    assert "450 come back later" in table and re.search(
        r" 0 +0 +0 +waiting$", table, re.M
    )  # a time of 0 is none
    assert '"ok"' in run_mailapi(tmp_path, "call", "queue", "retry", "mail_id=" + ",".join(map(str, ids)))
    assert "counts: 2 waiting" in run_mailapi(tmp_path, "call", "queue", "get", "--table")


def test_the_example_of_an_action_gives_the_password(site, tmp_path):
    said = run_mailapi(tmp_path, "call", "users", "set_password", "--help")
    assert said.endswith("Example: mailapi call users set_password user_name=… user_authdata=-\n")


def test_pages_of_a_list(site, tmp_path):
    said = run_mailapi(tmp_path, "call", "users", "get", "--table", "--after", "ann", "--limit", "1")
    assert [line.split()[0] for line in said.splitlines()] == ["user_name", "bob"]
    assert run_mailapi(tmp_path, "call", "--limit", "2", "users", "get", "--table").count("\n") == 3


def test_a_table_fits_the_terminal_and_has_dates(site, tmp_path, monkeypatch):
    run_mailapi(tmp_path, "call", "--as", "root", "tokens", "add", "token_name=" + "long " * 30)
    site.state("UPDATE token SET token_created = 1700000000")
    monkeypatch.setenv("TZ", "UTC")

    def shown(columns: str) -> list[str]:
        monkeypatch.setenv("COLUMNS", columns)
        return run_on_terminal(tmp_path, "call", "--as", "root", "tokens", "get").decode().splitlines()

    heading, row = shown("100")
    assert max(len(heading), len(row)) <= 100
    assert "…" in row and "2023-11-14 22:13:20" in row
    assert "expires" not in heading  # a column without a value
    wide_heading, wide_row = shown("400")
    assert "token_expires" in wide_heading and "long " * 29 in wide_row and "false" in wide_row


def test_interrupting_a_command_shows_no_traceback(site, tmp_path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        # A shell has what it runs in the background ignore Ctrl-C.
        ["env", "--default-signal=INT", *MAILAPI, "call", "users", "add", "user_name=x", "user_authdata=-"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    said = b""
    while b"user_authdata: " not in said:
        said += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    os.close(theirs)
    with contextlib.suppress(OSError):
        said += os.read(ours, 4096)
    os.close(ours)
    assert b"Traceback" not in said and b"KeyboardInterrupt" not in said
    assert not site.sql("SELECT 1 FROM users WHERE user_name = 'x'")


def test_what_a_field_takes_is_told_by_its_schema_and_not_by_its_function(site, tmp_path):
    for action, expected in (
        ("queue retry", "mail_id  whole number or list of whole number (required)"),
        ("mailbox read", "mail_sourcedb  `master`, `user`, `imap`"),
        ("addresses reorder", "addresses  JSON list of object (required)"),
        ("tokens add", "token_networks    JSON list of text: "),
    ):
        said = run_mailapi(tmp_path, "call", *action.split(), "--help")
        fields = said.split("\nFields:\n")[1]
        assert f"  {expected}" in fields and "Convert" not in fields and "Return" not in fields
