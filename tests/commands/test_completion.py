"""Completion in real shells, and the manual page."""

import subprocess

import pytest

from support.command_line import MAILAPI, run_mailapi, write_config
from support.instances import require_program
from support.site import ROOT, Site

pytestmark = pytest.mark.slow

COMPLETIONS = {
    "mailapi ca": ["call"],
    "mailapi call u": ["users"],
    "mailapi call users upd": ["update_permissions", "update_alias"],
    "mailapi call --as root users add user_name=x user_a": ["user_authdata=", "user_alias="],
    "mailapi call users add --j": ["--json"],
    "mailapi call nothing x": [],
    "mailapi nothing x": [],
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a config.py, and the program in the folder bin."""
    Site(tmp_path)
    write_config(tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/mailapi"
    program.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in MAILAPI) + ' "$@"\n')
    program.chmod(0o755)
    return tmp_path


def in_shell(folder, *command: str) -> list[str]:
    """Run a shell with the program in its path, and return the lines that it prints."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("line", COMPLETIONS)
def test_words(folder, line):
    said = run_mailapi(folder, "completion", "words", *line.split(" "))
    assert said.splitlines() == COMPLETIONS[line]


@pytest.mark.parametrize("line", COMPLETIONS)
def test_bash(folder, line):
    # What bash does at a tab: it sets COMP_WORDS and COMP_CWORD, and calls the function.
    script = "source <(mailapi completion bash); COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
    script += 'compopt() { :; }; _mailapi; printf "%s\\n" "${COMPREPLY[@]}"'
    assert [word for word in in_shell(folder, "bash", "-c", script, "-", line) if word] == COMPLETIONS[line]


@pytest.mark.parametrize("line", COMPLETIONS)
def test_fish(folder, line):
    require_program("fish")
    script = "mailapi completion fish | source; complete --do-complete $argv[1]"
    said = in_shell(folder, "fish", "--no-config", "-c", script, line)
    assert sorted(word.split("\t")[0] for word in said) == sorted(COMPLETIONS[line])


@pytest.mark.parametrize("line", COMPLETIONS)
def test_zsh(folder, line):
    require_program("zsh")
    # compadd prints what it is given instead of completing it.
    script = """
        compdef() { :; }; _files() { :; }
        eval "$(mailapi completion zsh)"
        compadd() { print -l -- "${(@P)@[-1]}"; [[ -n ${(P)@[-1]} ]]; }
        words=(${(s: :)1}); CURRENT=$#words
        _mailapi
        true
    """
    said = in_shell(folder, "zsh", "-f", "-c", script, "-", line)
    assert sorted(filter(None, said)) == sorted(COMPLETIONS[line])


def test_the_manual_page_names_every_command_and_is_valid(tmp_path):
    require_program("groff")
    page = run_mailapi(tmp_path, "man")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-P-cbu"], input=page, capture_output=True, text=True, timeout=60
    )
    assert not done.stderr and done.returncode == 0
    for command in (ROOT / "modules/commands").glob("*.py"):
        if "\ndef run(" in command.read_text():
            assert f"mailapi {command.stem.replace('_', '-')}" in done.stdout
    assert "--listen HOST:PORT" in done.stdout and "default: 127.0.0.1:8080" in done.stdout
