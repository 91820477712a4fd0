"""The commands of the pages of docs/ that no other test runs: each succeeds, and answers what the page shows."""

import re
import shutil

import pytest

from support.deployment import AS_USER, USER, folder_for
from support.mails import PLAIN_MAIL
from support.page_commands import Block, Installation, blocks, json_values
from support.pages import DOCS, read_page
from support.site import ROOT
from support.walkthrough import check_answer

# Pages whose commands other tests run, but for some of `curl`. The reference of each action is made from real requests.
RUN_ELSEWHERE = {
    "how-to/backup.md": "deploy/test_backup.py",
    "how-to/debian-package.md": "deploy/test_deb.py",
    "how-to/install.md": "deploy/test_install.py",
    "how-to/lighttpd.md": "deploy/test_deploy.py",
    "how-to/module.md": "project/test_module_page.py",
    "how-to/nginx.md": "deploy/test_deploy.py",
    "how-to/one-file.md": "deploy/test_pyz.py",
    "how-to/servers.md": "deploy/test_deploy.py",
    "how-to/swap-php.md": "deploy/test_swap.py",
    "how-to/systemd.md": "deploy/test_service.py",
    "tutorial.md": "project/test_walkthroughs.py",
}
# How a block begins that cannot be run here, and why.
NOT_RUN = {
    "python -m bench scale --users 1000000": "it takes too long; tests/project/test_bench.py runs it with 200 users",
    ".venv/bin/python -m pip install '.[mariadb]'": "it changes the environment that the tests run in",
    "pip install '.[mariadb]'": "it changes the environment that the tests run in",
    "mailapi init --dbpath 'mysql://": "it needs a server: tests/mariadb runs it",
    "mailapi copy /var/lib/cmail/master.db3 'mysql://": "it needs a server: tests/commands/test_copy.py runs it",
    "mailapi call accounts update user_name=bob@atmail.com": "it needs a mail server: test_usual_tasks.py runs it",
    "curl http://127.0.0.1:8080/accounts/?update": "it needs a mail server: tests/provisioning sends the same",
    'echo "mailapi:$(doveadm': "it needs Dovecot",
    "git pull && ": "it needs another version; tests/deploy install this one",
    "journalctl -u mailapi": "it needs systemd",
    "mailapi.pyz compile": "it needs mailapi.pyz: tests/deploy/test_pyz.py runs it",
    "mailapi reference docs/reference": "tests/project/test_docs.py runs it",
    "uvx openapi-python-client": "it needs the internet; tests/openapi generates such a client",
    "python tests/conformance/replay.py": "tests/conformance runs it",
}
# Commands whose page says that they are refused.
REFUSED = {
    "curl -sf 'https://your.host/cmail/api/?login' -d '{}'": "Username is not set!",
    "curl -s https://your.host/cmail/api/users/?get -d '{}'": "Username is not set!",
}
# Answers that a page has in a sentence.
IN_WORDS = {
    "/opt/mailapi/bin/mailapi migrate --config /etc/mailapi/config.py --dry-run": [
        "Dry run: nothing was changed."
    ],
    "/opt/mailapi/bin/mailapi migrate --config /etc/mailapi/config.py": [
        "The database as it was:",
        "/var/lib/cmail/master.db3 is of generation 9 now.",
    ],
}
# Only systemd can do these lines.
SYSTEMD = re.compile(r"^systemctl .*\n?", re.MULTILINE)
OF_GENERATION_8 = "mailapi migrate"


def is_run(block: Block) -> bool:
    return not block.commands.startswith(tuple(NOT_RUN))


PAGES = [
    name
    for path in sorted(DOCS.rglob("*.md"))
    if (name := str(path.relative_to(DOCS))) not in RUN_ELSEWHERE and not read_page(name).startswith("<!--")
]
BLOCKS = [block for page in PAGES for block in blocks(page)]
BLOCKS += [
    block
    for page in ("how-to/module.md", "how-to/nginx.md")
    for block in blocks(page)
    if block.commands.startswith("curl ")
]


@pytest.mark.parametrize("block", [*filter(is_run, BLOCKS)], ids=str)
def test_a_command_does_what_its_page_says(block):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    if "owner root" in block.answer and not AS_USER:
        pytest.skip("only root has files that others cannot write to")
    block = Block(block.page, SYSTEMD.sub("", block.commands).strip(), block.answer)
    generation = 8 if OF_GENERATION_8 in block.commands else 9
    greeting = "/greeting/" in block.commands  # the module of docs/how-to/module.md
    with folder_for("page") as folder, Installation(folder, generation, greeting) as installation:
        code, said = installation.run(block)
    assert code == ("FAIL" in block.answer), said
    if "FAIL" in block.answer:
        check_lines(said, block.answer.replace("cmail (", f"{USER.pw_name} ("))
    elif block.answer.startswith("{"):
        check_answer(said, block.answer)
    elif block.answer:
        check_lines(said, block.answer)
    for words in IN_WORDS.get(block.commands, []):
        assert f"`{words}`" in read_page(block.page) and words in said
    if all(re.match(r"curl |mailapi call | ", line) for line in block.commands.splitlines()):
        check_accepted(block, said)


def test_both_commands_save_the_mail(tmp_path):
    [block] = [block for block in BLOCKS if "mail.eml" in block.commands]
    commands = block.commands.splitlines()
    assert len(commands) == 2
    installation = Installation(tmp_path)
    for command in commands:
        code, said = installation.run(Block(block.page, command))
        assert (code, said) == (0, "")
        assert (tmp_path / "mail.eml").read_bytes() == PLAIN_MAIL
        (tmp_path / "mail.eml").unlink()


def test_every_exception_is_still_needed():
    unused = [start for start in NOT_RUN if not any(each.commands.startswith(start) for each in BLOCKS)]
    assert unused == []
    for page, test in RUN_ELSEWHERE.items():
        assert (DOCS / page).exists() and (ROOT / "tests" / test).exists()


def check_lines(said: str, answer: str):
    """Check that each line of the page is one of those that came back."""
    for line in answer.splitlines():
        assert line in said.splitlines(), said


def check_accepted(block: Block, said: str):
    """Check that every action succeeded, also over HTTP where curl has the exit status 0 for a refusal, too."""
    answers = json_values(said)
    accepted = {"ok", "warning", REFUSED.get(block.commands)}
    assert [answer for answer in answers if answer["status"] not in accepted] == []
    asked = re.findall(r"^(?:curl|mailapi call) .*", block.commands, re.MULTILINE)
    assert len(answers) == len([each for each in asked if "mail.eml" not in each])
