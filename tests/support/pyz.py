"""mailapi.pyz: the recipes of docs/how-to/one-file.md, and the build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import deployment
from support.instances import require_program
from support.site import ROOT

PYTHON = "/usr/bin/python3"
BUILD_TIME = {"SOURCE_DATE_EPOCH": "1700000000"}
BARE_ENVIRON = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}  # no virtual environment
PACKAGES = ("bottle", "peewee", "pymysql", "waitress")


def recipe(title: str) -> dict[str, str]:
    """Return the code blocks under a heading of docs/how-to/one-file.md."""
    return deployment.recipe(title, "one-file.md")


def run_command(*command, check: int = 0, env=BARE_ENVIRON, cwd="/") -> str:
    """Run a command without a terminal; return what it prints."""
    done = subprocess.run(
        list(map(str, command)),
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == check, done.stdout
    return done.stdout


def build_pyz(checkout: Path, **environ) -> Path:
    """Copy the checkout there and run `make pyz` with the packages of the tests' Python."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "tests", "*.egg-info")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    make = [require_program("make"), "--old-file=.venv/bundled", f"BIN={Path(sys.executable).parent}", "pyz"]
    run_command(*make, cwd=checkout, env=os.environ | BUILD_TIME | environ)
    return checkout / "dist/mailapi.pyz"
