"""The measurements of bench/ still measure what they say."""

import contextlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from support.site import ROOT, Site


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.mark.slow
def test_a_table_is_printed_and_compares_with_the_floor():
    command = [
        sys.executable,
        "-m",
        "bench",
        "run",
        "--quick",
        "--server",
        "waitress",
        "--users",
        "5",
        "--path",
        "/pop/?get",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "/pop/?get" in line)
    cells = [cell.strip().replace(",", "") for cell in row.strip("|").split("|")]
    size, cpu, multiple, rate, p50, p99, pss, computed, changed = (
        float(cells[i]) for i in (2, 3, 4, 8, 9, 10, 11, 12, 17)
    )
    assert size > 200 and cpu > 50 and multiple > 0 and rate > 10 and 0 < p50 <= p99 and 5 < pss < 200
    assert computed > 50 and changed > 50
    assert re.search(r"The floor: \d+ µs", done.stdout) and "5 users: PSS of a worker" in done.stdout


def test_measurements_are_listed_with_their_sentence():
    done = subprocess.run(
        [sys.executable, "-m", "bench"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    listed = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "growth Measure how CPU and memory grow with the number of users" in listed
    assert "writes Compare adding users and addresses over HTTP" in listed


def test_databases_are_those_that_the_original_was_measured_with(tmp_path, bench):
    from bench.databases import Writer, build

    site = Site(tmp_path)
    site.dbpath.unlink()
    build(site.dbpath, 6)
    assert [
        site.sql(f"SELECT count(*) FROM {table}")[0][0]
        for table in ("users", "addresses", "popd", "smtpd", "mailbox", "api_access")
    ] == [7, 6, 3, 2, 6, 1]
    assert site("?login", user="admin")["permissions"] == {"admin": True}
    before = [site(f"{module}/?get", user="admin")[module] for module in ("users", "pop", "addresses")]
    with contextlib.closing(Writer(site.dbpath)) as writer:
        writer.change()
    after = [site(f"{module}/?get", user="admin")[module] for module in ("users", "pop", "addresses")]
    assert all(old != new and len(old) == len(new) for old, new in zip(before, after))


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
