"""Whole servers and requests to them over HTTP."""

import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request

from support.instances import free_port, running_instance
from support.site import ROOT

AUTH = {"user_name": "root", "password": "pw"}


@contextlib.contextmanager
def gunicorn_server(folder):
    """Run gunicorn with two workers; yield its URL."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--workers",
        "2",
        "--bind",
        f"127.0.0.1:{port}",
        "mailapi:application",
    ]
    environ = os.environ | {"MAILAPI_CONFIG": str(folder / "config.py"), "PYTHONPATH": str(ROOT)}
    with running_instance(command, folder / "gunicorn", port, env=environ):
        yield f"http://127.0.0.1:{port}/"


def post(url, **fields):
    """Post fields as root; return the answer, and how many seconds it took."""
    started = time.monotonic()
    try:
        with urllib.request.urlopen(url, json.dumps(fields | {"auth": AUTH}).encode(), timeout=60) as got:
            answer = json.load(got)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    return answer, time.monotonic() - started


def new_session(url) -> str:
    """Log in and return the Set-Cookie header."""
    auth = {"user_name": "dele", "password": "pw"}  # root's oldest session gives way to the writers'
    with urllib.request.urlopen(url + "?login", json.dumps({"auth": auth}).encode()) as got:
        return got.headers["Set-Cookie"]


def cookie_of(url) -> str:
    """Log in and return the Cookie header of the session."""
    return new_session(url).split(";")[0]
