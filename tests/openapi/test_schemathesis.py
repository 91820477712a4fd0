"""schemathesis asks a server with all modules for everything that openapi.json has, by each role."""

import os
import re
import subprocess
import sys

import pytest

from support.instances import free_port, running_instance
from support.permission_table import add_targets
from support.site import OPTIONAL, ROOT, Site

pytestmark = pytest.mark.slow
SETTINGS = """
# A schema cannot tell which names are taken, which routers go together, and so on: HTTP 422 says so.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "413", "422", "429", "503"]
# Services that are not configured.
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "503"]
"""
# schemathesis counts connections in a way that urllib3-future, which caldav installs, does not have.
HOOKS = """
from schemathesis.transport import requests

requests._count_opened_connections = lambda session: 0
"""


@pytest.mark.parametrize("user", ["root", "dele", "ann"])
def test_schemathesis_finds_no_failure(tmp_path, user):
    site, port = Site(tmp_path, extra=OPTIONAL), free_port()
    add_targets(site)
    settings = {"dbpath": site.place, "modulelist": site.config["modulelist"], "free_attempts": 10**9}
    config, hooks = tmp_path / "config.py", tmp_path / "hooks"
    config.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    hooks.mkdir()
    (hooks / "mailapi_hooks.py").write_text(HOOKS)
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        sys.executable,
        ROOT / "mailapi.py",
        "serve",
        "--config",
        config,
        "--listen",
        f"127.0.0.1:{port}",
    ]
    with running_instance(command, tmp_path, port):
        report = run_schemathesis(tmp_path, f"http://127.0.0.1:{port}/openapi.json", user)
    tested = re.search(r"Tested: (\d+)", report)
    assert tested and int(tested[1]) == number_of_operations(site), report[-3000:]


def run_schemathesis(folder, url: str, user: str) -> str:
    """Run all phases and all checks; return the report."""
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "schemathesis.toml"]
    options = ["--auth", f"{user}:pw", "--checks", "all", "--max-examples", "5"]
    options += ["--workers", "1"]  # with more threads, Python 3.11 can fail in ast.parse
    options += ["--seed", os.environ.get("SCHEMATHESIS_SEED", "1")]  # the same requests in each run
    phases = ["--phases", "examples,coverage,fuzzing,stateful", "--no-shrink", "--continue-on-failure"]
    environ = os.environ | {"PYTHONPATH": str(folder / "hooks"), "SCHEMATHESIS_HOOKS": "mailapi_hooks"}
    done = subprocess.run(
        [*program, "run", url, *options, *phases],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    found = re.split("^=+ (?=ERRORS =|FAILURES =)", done.stdout, maxsplit=1, flags=re.MULTILINE)[-1]
    assert done.returncode == 0, "\n".join(line[:300] for line in found.splitlines()[:200])
    return done.stdout


def number_of_operations(site) -> int:
    document = site.browser().get("/openapi.json").json
    return sum(len(item) for item in document["paths"].values())
