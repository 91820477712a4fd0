"""Coverage-guided fuzzing of the wire format, of mail and of what is sent: 6 s each, FUZZ_SECONDS=600 for longer."""

import importlib.util
import os
import subprocess
import sys

import pytest

from support.site import ROOT

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("FUZZ_SECONDS", "6"))
MISSING = importlib.util.find_spec("atheris") is None and os.environ.get("CI") != "true"


@pytest.mark.skipif(MISSING, reason="atheris is not installed")
@pytest.mark.parametrize("target", ["wire", "mail", "send"])
def test_nothing_unforeseen_is_raised(tmp_path, target):
    found = tmp_path / "found"
    found.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/support/fuzz_target.py",
            target,
            f"-max_total_time={SECONDS}",
            "-rss_limit_mb=1000",
            f"-artifact_prefix={found}/",
            tmp_path,
            ROOT / "tests/corpus" / target,
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Done " in done.stderr and list(found.iterdir()) == []
