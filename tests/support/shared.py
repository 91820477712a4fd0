"""An installation whose databases are on a server, and clients of its instances over HTTP."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import webtest
from mailapi_modules.commands.main import find_commands

import mailapi
from support.site import MODULES, PERMISSIONS, authdata


def create_master_database(url: str):
    """Make a master database with the users of support.site.Site; the password is `pw`."""
    init = find_commands()["init"]
    init.create(url, "root", "pw")
    store = mailapi.open_store(url)
    with store.transaction():
        for name, permissions in PERMISSIONS.items():
            if name != "root":
                store.execute(mailapi.Users.insert(user_name=name, user_authdata=authdata("pw")))
            for permission in permissions if name != "root" else []:
                store.execute(mailapi.ApiAccess.insert(api_user=name, api_permission=permission))
        store.execute(mailapi.ApiUserDelegates.insert(api_user="dele", api_delegate="ann"))
    store.close()


class SiteOnServer:
    """A site on a server; calling it posts one request in this process, its config.py is for other processes."""

    def __init__(self, folder: Path, url: str, **config):
        self.config = {"dbpath": url, "modulelist": MODULES} | config
        folder.mkdir(exist_ok=True)
        (folder / "config.py").write_text(
            "".join(f"{key} = {value!r}\n" for key, value in self.config.items())
        )
        self.app = mailapi.create_app(self.config)

    def __call__(
        self, url: str, user: str | None = "root", check: int = 200, password: str = "pw", **fields
    ) -> dict:
        if user is not None:
            fields["auth"] = {"user_name": user, "password": password}
        return self.answer(url, check, **fields).json

    def answer(self, url: str, check: int = 200, **fields) -> webtest.TestResponse:
        """Post a request and return the response."""
        return webtest.TestApp(self.app).post("/" + url, json.dumps(fields).encode(), status=check)


class Client:
    """A browser, or a script with a token, that keeps its session, whichever instance it asks."""

    def __init__(self, token: str | None = None):
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, url: str, **fields) -> tuple[int, dict, dict]:
        """Post fields; return HTTP status, answer and headers, and status 0 where there was no answer."""
        request = urllib.request.Request(url, json.dumps(fields).encode(), self.headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                status, headers, answer = got.status, got.headers, json.load(got)
        except urllib.error.HTTPError as error:
            status, headers, answer = error.code, error.headers, json.load(error)
        if "Set-Cookie" in headers:
            self.headers["Cookie"] = headers["Set-Cookie"].split(";")[0]
        return status, answer, headers

    def log_in(self, url: str, user: str = "root", password: str = "pw") -> tuple[int, dict, dict]:
        """Log in; return HTTP status, answer and headers."""
        return self.ask(url + "?login", auth={"user_name": user, "password": password})
