"""mailapi.pyz: the recipes of docs/pyz.md, and the build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support import deployment
from support.instances import need
from support.site import ROOT

PYTHON = "/usr/bin/python3"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}  # no virtual environment
PACKAGES = ("bottle", "peewee", "pymysql", "waitress")


def recipe(title: str) -> dict[str, str]:
    return deployment.recipe(title, "pyz.md")


def run(*command, check: int = 0, env=BARE, cwd="/") -> str:
    """Run a command without a terminal; return what it prints."""
    done = subprocess.run(
        list(map(str, command)),
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == check, done.stdout
    return done.stdout


def build(checkout: Path, **environ) -> Path:
    """Copy the checkout there and run `make pyz` with the packages of the tests' Python."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "tests", "*.egg-info")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    make = [need("make"), "--old-file=.venv/bundled", f"BIN={Path(sys.executable).parent}", "pyz"]
    run(*make, cwd=checkout, env=os.environ | EPOCH | environ)
    return checkout / "dist/mailapi.pyz"
