"""`log_file`: each event is a line of logfmt in the file, which logrotate may rename."""

import json
import logging
import os
import re
import signal

import pytest

import mailapi
from support.command_line import Server, as_root, request_of_root, run_mailapi, write_config
from support.site import OPTIONAL, Site
from support.waiting import wait_until

PAIR = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([\w.]+))=(?:("(?:[^"\\]|\\.)*")|(\S+))(?: |\Z)')


@pytest.fixture(autouse=True)
def loggers():
    """Take the handlers of a test away from the loggers, which belong to the process."""
    logger = logging.getLogger("mailapi")
    level = logger.level
    yield logger
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(level)


def read(line: str) -> dict:
    """Return the fields of a line of logfmt, which has nothing else."""
    pairs = PAIR.findall(line)
    assert "".join(match[0] for match in PAIR.finditer(line)) == line
    return {quoted or key: json.loads(text) if text else word for quoted, key, text, word in pairs}


def lines(file) -> list[dict]:
    text = file.read_text()
    assert not text or text.endswith("\n")
    assert all(line.startswith("time=") for line in text.splitlines())
    return [read(line) for line in text.splitlines()]


@pytest.fixture
def site(tmp_path) -> Site:
    site = Site(tmp_path, extra=OPTIONAL, log_file=str(tmp_path / "api.log"))
    site.log = tmp_path / "api.log"
    return site


def test_the_line_of_a_first_log_in_is_as_it_was(site):
    site("?get_modules", user="bob")
    (line,) = [line for line in site.log.read_text().splitlines() if "checkUserProvisioning" in line]
    assert re.fullmatch(
        r'time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d" level=info msg="checkUserProvisioning: OK" AccountID=1'
        r' ID=1 IdentityID=1 Name=bob "ServiceAccountID \(CALENDAR\)"=3 "ServiceAccountID \(CONTACTS\)"=2'
        r' "ServiceAccountID \(MAIL\)"=1',
        line,
    )


def test_an_event_is_a_line_also_with_a_traceback(site):
    mailapi.log.warning('two\nlines and "quotes"')
    try:
        raise ValueError("no\nreason")
    except ValueError:
        mailapi.log_exception("it failed")
        mailapi.log.exception("it failed, too")
    first, second, third = lines(site.log)
    assert (first["level"], first["msg"]) == ("warning", 'two\nlines and "quotes"')
    assert "Traceback" in second["msg"] and second["level"] == "error"
    assert third["msg"] == "it failed, too" and "ValueError" in third["error"]


def test_the_audit_is_in_it_and_no_password(site):
    site("users/?add", user_name="new", user_authdata="se cret")
    site("?get_modules", user="bob", password="wrong secret")
    found = [line for line in lines(site.log) if line["msg"] == "audit"]
    assert ("root", "add", "new") in [(line["user"], line["action"], line["target"]) for line in found]
    assert {line["logger"] for line in found} == {"mailapi.audit"}
    text = site.log.read_text()
    assert not re.search("se cret|wrong secret|\\bpw\\b", text)


def test_a_file_that_was_renamed_is_opened_anew(site):
    mailapi.log.error("before")
    site.log.rename(site.log.with_suffix(".1"))
    mailapi.log.error("after")
    assert [line["msg"] for line in lines(site.log)] == ["after"]
    assert [line["msg"] for line in lines(site.log.with_suffix(".1"))] == ["before"]


def test_two_applications_with_one_file_write_each_line_once(site, tmp_path):
    mailapi.create_app(site.config)
    mailapi.log.error("once")
    assert len(lines(site.log)) == 1 and site.log.stat().st_mode & 0o777 == 0o640


def test_where_it_cannot_be_written_lines_go_to_standard_error(tmp_path, capsys):
    Site(tmp_path, log_file=str(tmp_path / "missing" / "api.log"))
    mailapi.log.error("lost?")
    assert 'level=error msg="lost?"' in capsys.readouterr().err


@as_root
def test_root_follows_no_link_and_gives_no_other_file_away(site, tmp_path, capsys):
    target = tmp_path / "somebody-else"
    site.log.unlink(missing_ok=True)
    site.log.symlink_to(target)
    site("users/?get", password="wrong")
    assert not target.exists() and "Username or password is wrong." in capsys.readouterr().err
    site.log.unlink()
    site.log.touch()
    os.chown(site.log, 1, 1)
    site("users/?get", password="wrong")
    assert site.log.stat().st_uid == 1 and len(lines(site.log)) == 1


def test_without_it_nothing_changes(tmp_path, loggers):
    Site(tmp_path)
    assert loggers.handlers == [] and loggers.propagate


@pytest.mark.slow
def test_the_server_opens_it_anew_on_sighup(tmp_path):
    write_config(tmp_path, log_file="api.log")
    Site(tmp_path)
    log = tmp_path / "api.log"
    with Server(tmp_path) as server:
        inode = log.stat().st_ino
        log.rename(tmp_path / "api.log.1")
        server.process.send_signal(signal.SIGHUP)

        def is_opened_anew() -> bool:
            if log.exists() and log.stat().st_ino != inode:
                return True
            server.post("users/?add", request_of_root(user_name="new"))
            return False

        wait_until(is_opened_anew, "it is not opened anew")
        assert lines(log)[0]["action"] == "add"
        code, errors = server.stop()
        assert code == 0 and "time=" not in errors


@pytest.mark.slow
def test_a_server_that_cannot_write_it_does_not_start(tmp_path):
    write_config(tmp_path, log_file="missing/api.log")
    said = run_mailapi(tmp_path, "serve", "--listen", "127.0.0.1:0", check=1)
    assert "log_file: missing/api.log cannot be written: No such file or directory." in said
