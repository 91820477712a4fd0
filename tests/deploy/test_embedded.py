"""Inside other WSGI programs: the same session, while the program's own routes, bodies and cookies stay its own."""

import json
import os
import sys
import urllib.error
import urllib.request

import pytest

from support.deployment import recipe
from support.instances import running_instance
from support.outer_programs import PROGRAMS
from support.session import check_session
from support.site import ROOT


@pytest.fixture(params=PROGRAMS)
def program(request, machine):
    """The URL of a program with mailapi in it, served by waitress."""
    name, files = PROGRAMS[request.param]
    machine.files(files(recipe(f"In a {request.param} program")))
    command = [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{machine.front}", name]
    environ = os.environ | {"PYTHONPATH": f"{machine.folder}/etc{os.pathsep}{ROOT}"}
    with running_instance(command, machine.folder / "run/waitress", machine.front, env=environ):
        yield machine.url.removesuffix("/cmail/api/")


def test_mailapi_and_the_program_around_it_do_not_disturb_each_other(program):
    browser, sent = urllib.request.build_opener(urllib.request.HTTPCookieProcessor()), {"text": "ä" * 10_000}

    def post(path, **fields) -> dict:
        body, headers = json.dumps(fields).encode(), {"Content-Type": "application/json"}
        with browser.open(urllib.request.Request(program + path, body, headers)) as got:
            return json.load(got)

    assert post("/own", **sent) == {"sent": sent, "visits": 1}
    check_session(program + "/cmail/api/")
    assert post("/own", **sent) == {"sent": sent, "visits": 2}
    assert post("/cmail/api?login", auth={"user_name": "ann", "password": "pw"})["login"] is True
    assert post("/own", **sent) == {"sent": sent, "visits": 3}
    assert post("/cmail/api/users/?get")["users"][0]["user_name"] == "ann"
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        post("/cmail/apis/users/?get")
    with caught.value as refused:
        assert refused.headers["Content-Type"].startswith("text/html")  # the program's own answer
