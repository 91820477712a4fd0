"""A client that openapi-python-client makes of openapi.json talks to a server."""

import importlib
import json
import subprocess
import sys

import pytest

from support.bearers import make_token
from support.instances import free_port, running_instance
from support.site import ROOT

pytestmark = pytest.mark.slow
# The generator knows JSON, text and bytes; files of any type are bytes.
SETTINGS = {
    "content_type_overrides": {
        "message/rfc822": "application/octet-stream",
        "*/*": "application/octet-stream",
    },
    "post_hooks": [],
}


@pytest.fixture
def client_package(tmp_path, site, monkeypatch):
    """The generated package `made_client`."""
    (tmp_path / "openapi.json").write_bytes(site.browser().get("/openapi.json").body)
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"]
    options = [
        "--meta",
        "none",
        "--output-path",
        "made_client",
        "--config",
        "settings.json",
        "--fail-on-warning",
    ]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("made_client")
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_client"]:
        del sys.modules[name]


@pytest.fixture
def server(tmp_path, site) -> str:
    port = free_port()
    (tmp_path / "config.py").write_text(
        f"dbpath = {site.place!r}\nmodulelist = {site.config['modulelist']!r}\n"
    )
    command = [sys.executable, ROOT / "mailapi.py", "serve", "--config", tmp_path / "config.py"]
    with running_instance([*command, "--listen", f"127.0.0.1:{port}"], tmp_path, port):
        yield f"http://127.0.0.1:{port}"


def call(name: str, client, **fields):
    """Call a function of the generated client, such as users.users_add; return the HTTP status and the answer."""
    module, _, function = name.partition(".")
    api = importlib.import_module(f"made_client.api.{module}.{function}")
    models = importlib.import_module("made_client.models")
    if fields or hasattr(api, f"{function.title().replace('_', '')}Body"):
        body = getattr(models, f"{function.title().replace('_', '')}Body")
        response = api.sync_detailed(client=client, body=body.from_dict(fields))
    else:
        response = api.sync_detailed(client=client)
    return response.status_code, response.parsed


def test_a_session_of_the_generated_client(site, client_package, server):
    admin = client_package.AuthenticatedClient(base_url=server, token=make_token(site, "root"))
    with admin as client:
        status, added = call("users.users_add", client, user_name="carl", user_permissions=["delegate"])
        assert (status, added.user, added.code) == (200, True, "ok")
        status, listed = call("users.users_get", client, username="carl")
        assert status == 200 and listed.users[0].user_permissions == ["delegate"]
        assert call("pop.pop_add", client, pop_user="carl")[0] == 200
        status, refused = call("pop.pop_add", client, pop_user="carl")
        assert (status, refused.code, refused.field) == (409, "duplicate", "pop_user")
        status, refused = call("mailbox.mailbox_read", client, mail_id=99)
        assert (status, refused.code) == (404, "not_found")
        assert call("users.users_delete", client, user_name="carl")[0] == 200
    with client_package.AuthenticatedClient(base_url=server, token="mailapi_x") as stranger:
        status, refused = call("users.users_get", stranger, username="root")
        assert (status, refused.code) == (401, "invalid_token")
