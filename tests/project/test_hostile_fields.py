"""Long runs of digits, quotes, brackets, escapes, blanks and separators in every declared field of every action, by a
stranger and by somebody who is logged in: nothing takes more than in proportion to the body, in time or memory.

Counted are steps of regular expressions, calls and bytes, in a process of its own (hostile_fields.py).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import hostile_fields
from support.site import ROOT

pytestmark = pytest.mark.slow

MINUTES = 20  # after which something is taken for what never ends


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    def run(part: str) -> dict:
        folder = tmp_path_factory.mktemp(part)
        with (folder / "stdout").open("w+") as said, (folder / "stderr").open("w") as errors:
            program = [sys.executable, "-m", "support.hostile_fields", str(folder), part]
            try:
                status = subprocess.run(
                    program, cwd=ROOT / "tests", stdout=said, stderr=errors, timeout=MINUTES * 60
                ).returncode
            except subprocess.TimeoutExpired:
                status = "does not end"
        lines = (folder / "stdout").read_text().splitlines() or [""]
        if status:
            pytest.fail(f"{lines[-1]}: {status}\n{(folder / 'stderr').read_text()[-2000:]}")
        return json.loads(lines[-1])

    return run


def test_fields_are_read_in_steps_in_proportion_to_their_length(run):
    found = run("counts")
    assert found["done"] > 5000 and found["slow"] == []


def test_whatever_a_field_has_is_answered_with_calls_in_proportion_to_its_length(run):
    found = run("limits")
    assert found["done"] > 2000 and found["logged_in"]
    assert (found["slow"], found["failed"]) == ([], [])


@pytest.fixture(scope="module")
def memory(run):
    return run("memory")


@pytest.mark.parametrize("caller", ["", ", logged in"], ids=["stranger", "logged in"])
@pytest.mark.parametrize("what", hostile_fields.LARGE)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_a_large_body_takes_three_times_its_size_at_the_most(memory, what, caller):
    found = memory[what + caller]
    assert found["status"] < 500 and found["taken"] < 3 * found["body"] + 32 * hostile_fields.MB, found
