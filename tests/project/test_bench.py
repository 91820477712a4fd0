"""The measurements of bench/ still measure what they say."""

import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from support.instances import require_program, skip_without
from support.site import ROOT, Site
from support.waiting import wait_until


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.mark.slow
def test_a_table_is_printed_and_compares_with_the_floor():
    command = [sys.executable, "-m", "bench", "traffic", "--quick", "--server", "serve", "--users", "5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [
        [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("|")
    ]
    assert [line[0] for line in lines[2:]][-3:] == ["users/?set_password", "users/?add", "a mix of these"]
    for name, users, *figures in lines[2:]:
        original, multiple, ratio, of_own, cpu, rate, p50, p99 = map(float, figures[:8])
        assert users == "5" and original > 3 and multiple > 0 and ratio > 0 and of_own > 0, name
        assert cpu > 0 and rate > 0 and 0 < p50 <= p99, name
    assert re.search(r"The floor under serve: \d+ µs", done.stdout)
    assert "Geometric mean of the ratios with 5 users: " in done.stdout
    assert "not as they must be" not in done.stdout


@pytest.mark.slow
def test_php_and_mailapi_answer_the_requests_that_are_compared():
    require_program("nginx")
    command = [sys.executable, "-m", "bench", "php", "--rounds", "1", "--seconds", "0.05"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    if "left out" in done.stdout:
        skip_without(done.stdout)
    figures = re.findall(r"^\| ([?a-z].*?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", done.stdout, re.M)
    assert [name for name, *_ in figures] == [
        "?get_modules",
        "users/?get",
        "pop/?get",
        "users/?get of one user",
        "?get_modules with auth",
        "?get_modules with a wrong password",
        "users/?set_password",
        "users/?add",
    ]
    assert all(float(figure) > 0 for _, *row in figures for figure in row)


def test_measurements_are_listed_with_their_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "bench"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    listed = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "growth Measure how CPU and memory grow with the number of users" in listed
    assert "writes Compare adding users and addresses over HTTP" in listed


def test_databases_are_those_that_the_original_was_measured_with(tmp_path, bench):
    from bench.databases import MailDaemon, build

    site = Site(tmp_path)
    site.dbpath.unlink()
    build(site.dbpath, 6)
    sizes = [
        site.sql(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("users", "addresses", "popd", "smtpd", "mailbox", "api_access")
    ]
    assert sizes == [7, 6, 3, 2, 6, 1]
    assert site("?login", user="admin")["permissions"] == {"admin": True}
    with MailDaemon(site.dbpath, "user000002"):
        wait_until(lambda: len(site("mailbox/?get", user="user000002")["mails"]) != 2)
        assert len(site("mailbox/?get", user="user000002")["mails"]) > 2
    assert len(site("mailbox/?get", user="user000002")["mails"]) == 2


def test_the_plot_is_well_formed_and_names_every_curve(bench):
    from bench.plot import draw

    svg = draw(
        "CPU, ms", {"list": {1: 0.5, 1000: 80}, "a < b": {1: 1, 1000: 1}}, "MB", {"list": {1: 0, 1000: 3}}
    )
    texts = [element.text for element in xml.etree.ElementTree.fromstring(svg).iter() if element.text]
    assert {"CPU, ms", "MB", "a < b", "list", "1,000", "users"} <= set(texts) and svg.count("<polyline") == 3


def test_the_committed_plot_shows_every_action(bench):
    from bench.growth import ACTIONS

    plot = (ROOT / "docs/growth.svg").read_text(encoding="utf-8")
    assert all(f">{action}" in plot for action in ACTIONS)


def test_exponent_is_the_slope_of_the_last_step(bench):
    from bench.growth import Curve

    assert Curve(time={1: 5, 100: 3, 1000: 30}).exponent() == pytest.approx(1)
    assert Curve(time={1: 5, 10: 5}).exponent() == 0


@pytest.mark.slow
def test_the_command_of_speed_md_measures_few_users_on_both_databases():
    require_program("mariadbd")
    command = [sys.executable, "-m", "bench", "scale", "--users", "200"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| ms of a request | SQLite | MariaDB |" in done.stdout and "| log-in | " in done.stdout
