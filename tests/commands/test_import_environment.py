"""`mailapi import-config` of an atmail-like suite's api.conf, and `environment_file` in config.py."""

import pytest
from mailapi_modules.provisioning.environment_file import parse

import mailapi
from support.command_line import run_mailapi
from support.site import OPTIONAL, Site

API_CONF = r"""
# The API server.
; another comment
export PROVISION="5"   # mail and contacts
APISERVER_DB_HOST = 127.0.0.1
APISERVER_DB_PORT=3307
APISERVER_DB_USER=api
APISERVER_DB_PASSWORD='se/cret@'
APISERVER_DB_NAME=apiserver
MAILSERVER_DSN="mail:p\"w@tcp(db.corp.org:3306)/mailserver?parseTime=true"
IMAP_HOST=imap.corp.org
IMAP_PORT=1143
SMTP_ADDR=mail.corp.org:587
DAV_URL=http://127.0.0.1:5232/dav
SIEVE=127.0.0.1
LOG_LEVEL=info
JWT_SECRET=hush
this is nothing
SMTP_PASSWORD=hidden
UNCLOSED="x
"""


def test_api_conf_becomes_a_config_and_what_is_not_understood_is_named(tmp_path):
    (tmp_path / "api.conf").write_text(API_CONF)
    printed = run_mailapi(tmp_path, "import-config", "api.conf")
    names: dict = {}
    exec(printed, names)
    assert names["PROVISION"] == 5 and list(names["modulelist"]) == ["User", "Account", "Service"]
    assert names["apiserver"] == "mysql://api:se%2Fcret%40@127.0.0.1:3307/apiserver"
    assert names["mailserver"] == "mysql://mail:p%22w@db.corp.org:3306/mailserver"
    assert names["services"] == {
        "imap": "imap://imap.corp.org:1143",
        "smtp": "smtp://mail.corp.org:587",
        "dav": "http://127.0.0.1:5232/dav",
        "managesieve": "sieve://127.0.0.1",
    }
    for text in (
        "Line 16: LOG_LEVEL",
        "Line 17: JWT_SECRET",
        "Line 18: no KEY=VALUE",
        "Line 19: SMTP_PASSWORD",
    ):
        assert f"# {text} was not understood and is left out.\n" in printed
    assert "Line 20: no KEY=VALUE" in printed and "hush" not in printed and "hidden" not in printed
    (tmp_path / "config.py").write_text(printed)
    assert "ok    config" in run_mailapi(tmp_path, "check", check=1)


def test_a_file_with_provision_alone_is_enough(tmp_path):
    (tmp_path / "api.conf").write_text("PROVISION=7\n")
    printed = run_mailapi(tmp_path, "import-config", "api.conf")
    assert "PROVISION = 7\n" in printed and "left out" not in printed and "services" not in printed


@pytest.mark.parametrize("value", ["8", "x", "", "07"])
def test_a_provision_that_cannot_be_is_named(tmp_path, value):
    (tmp_path / "api.conf").write_text(f"PROVISION={value}\n")
    said = run_mailapi(tmp_path, "import-config", "api.conf", check=1)
    assert "PROVISION must be a whole number from 0 to 7." in said
    with pytest.raises(mailapi.ConfigError, match="PROVISION must be a whole number from 0 to 7"):
        Site(tmp_path, extra=OPTIONAL, environment_file=str(tmp_path / "api.conf"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K=v", "v"),
        ("K=", ""),
        ("K = v ", "v"),
        ("export K=v", "v"),
        ("K='a # b' # c", "a # b"),
        (r'K="a \"b\" \\ $c"', r'a "b" \ $c'),
        ("K=a#b # c", "a#b"),
        ("K=#", ""),
        ("K=a=b", "a=b"),
        ("\ufeffK=v".removeprefix("\ufeff"), "v"),
        ("K=1\nK=2", "2"),
    ],
)
def test_values_are_read_as_a_shell_would(text, value):
    assert parse(text)[0]["K"][0] == value and parse(text)[1] == []


@pytest.mark.parametrize("text", ["K", "K='a", 'K="a\\"', "K='a' b", "1K=v", "=v", "K-=", " - "])
def test_other_lines_are_named(text):
    values, strange = parse(f"\n{text}\n")
    assert strange == [2] or list(values) == ["K-"]


########## environment_file ########################################################################


def mask(folder, **config) -> int:
    return Site(folder, extra=OPTIONAL, **config).app.modules["accounts"].mask


def test_the_file_counts_more_than_the_config_and_less_than_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("PROVISION", raising=False)
    file = tmp_path / "api.conf"
    file.write_text("# nothing\nOTHER=1\n")
    assert mask(tmp_path, PROVISION=3, environment_file=str(file)) == 3
    file.write_text("PROVISION='6'\n")
    assert mask(tmp_path, PROVISION=3, environment_file=str(file)) == 6
    monkeypatch.setenv("PROVISION", "1")
    assert mask(tmp_path, PROVISION=3, environment_file=str(file)) == 1


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(mailapi.ConfigError, match=r"nothing\.conf cannot be read"):
        Site(tmp_path, extra=OPTIONAL, environment_file="nothing.conf")


########## config.php ##############################################################################

PHP = """<?php
include_once 'other.php';
$dbpath = '/x/master.db3';
$modulelist = ['User'];
header("X-Secret: hush");
define('debugFlag', true);
define('OTHER', getenv('X'));
$password = 'hush';
if (PHP_OS == 'x') { $debugFlag = false; }
?>
"""


def test_what_is_lost_of_config_php_is_named(tmp_path):
    (tmp_path / "config.php").write_text(PHP)
    printed = run_mailapi(tmp_path, "import-config", "config.php")
    named = {2: "include_once 'other.php'", 5: "header", 7: "define('OTHER')", 8: "$password", 9: "if"}
    lines = [line for line in printed.splitlines() if line.startswith("# Line")]
    assert lines == [
        f"# Line {line}: {text} was not understood and is left out." for line, text in named.items()
    ]
    assert "hush" not in printed and "debug = False" in printed
