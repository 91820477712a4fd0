"""Exchanges recorded from the original, and decisions of the real SMTP daemon, replayed."""

import os
import re
import subprocess
import sys

import pytest

from support import engines
from support.site import ROOT

pytestmark = pytest.mark.every_engine

SHARED = ROOT.parent / "shared/conformance"


def replay(folder) -> int:
    """Replay a folder's recordings; check that none fails and return how many pass."""
    files = sorted(str(file) for file in folder.glob("*.jsonl"))
    program = [ROOT / "tests/support/replay_on_mariadb.py"] if engines.ENGINE == "mariadb" else []
    done = subprocess.run(
        [sys.executable, *program, folder / "replay.py", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        timeout=300,
    )
    counted = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    assert counted and counted[2] == "0", done.stdout + done.stderr
    return int(counted[1])


def test_selected_exchanges():
    assert replay(ROOT / "tests/conformance") > 400


@pytest.mark.skipif(not SHARED.exists(), reason="the recordings are not beside the project")
def test_all_recorded_exchanges():
    assert replay(SHARED) >= 3480
