"""One session of a client with an API, the same behind every web server."""

import contextlib
import http.client
import json
import re
import select
import subprocess
import urllib.parse

from support.instances import require_program

ADDRESS = "127.0.0.2"  # the client's: not one that trusted_proxies names
TOO_LARGE = (
    b"GET /cmail/api/users/?get HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000
)  # 5 MB; left over, it would be requests


class Client:
    """A browser or script with one connection, for as long as the server keeps it, and one cookie."""

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        self.path, self.cookie = parts.path, None
        self.connection = http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=60, source_address=(ADDRESS, 0)
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def send(self, url: str, body=b"", method="POST", headers=(), **fields):
        """Send a request; return the response and its content. Fields are the JSON object of the body."""
        body = json.dumps(fields).encode() if fields else body
        headers = dict(headers) | ({"Cookie": self.cookie} if self.cookie else {})
        if self.connection.sock and select.select([self.connection.sock], [], [], 0)[0]:
            self.connection.close()  # the server has closed it: it was idle for too long
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it was answered before all was sent
            self.connection.request(method, self.path + url, body, headers)
        response = self.connection.getresponse()
        content = response.read()
        if cookie := response.headers["Set-Cookie"]:
            self.cookie = cookie.split(";")[0]
        return response, content

    def __call__(self, url: str, check=200, **options) -> dict:
        response, content = self.send(url, **options)
        assert response.status == check, content
        assert response.headers["Content-Type"] == "application/json"
        return json.loads(content)

    def log_in(self, user: str, headers=()):
        """Log in; return the response that sets the cookie."""
        response, content = self.send("?login", auth={"user_name": user, "password": "pw"}, headers=headers)
        assert json.loads(content)["login"] is True
        return response


def check_session(url: str):
    """Check log-in, list, add, refusal, JSONP, other methods, a token, large bodies, addresses and log-out."""
    with Client(url) as root:
        cookie = root.log_in("root").headers["Set-Cookie"]
        assert cookie.endswith(f"; Path={root.path}; HttpOnly; SameSite=Lax")
        listed = user_names(root("users/index.php?get"))
        assert listed == user_names(root("users?get")) == ["ann", "bob", "dele", "nologin", "root"]
        assert root("users/?add", user_name="carol", user_permissions=["special"])["user"] is True
        assert root("users/?get", username="carol")["users"][0]["user_permissions"] == ["special"]
        assert root("nothing/?get", check=404, body=b"x" * 1000)["status"] == "Unknown module nothing."
        for step in (
            check_refusals,
            check_jsonp,
            check_origins,
            check_methods,
            check_chunked_body,
            check_token,
            check_large_bodies,
            check_client_address,
        ):
            step(url, root)
        assert root("?logout")["status"] == "Successfully logged out."
        assert root.cookie == "PHPSESSID=" and root("users/?get")["login"] is False


def user_names(answer: dict) -> list[str]:
    """Return the names of the users in an answer."""
    assert answer["login"] is True, answer
    return [user["user_name"] for user in answer["users"]]


def check_refusals(url: str, root: Client):
    """Check that a stranger and a plain user may not delete users."""
    with Client(url) as bob:
        assert bob("users/?delete", user_name="ann")["status"] == "Username is not set!"
        bob.log_in("bob")
        assert bob("users/?delete", user_name="ann")["status"] == "Not allowed."
        assert user_names(bob("users/?get")) == ["bob"]
    assert "ann" in user_names(root("users/?get"))


def check_jsonp(url: str, root: Client):
    """Check an answer that calls a function of JavaScript."""
    response, content = root.send("users/?get&callback=show", method="GET")
    assert response.headers["Content-Type"].endswith("/javascript")  # lighttpd makes text/ of application/
    inner = re.fullmatch(rb"show\('(.*)'\)", content)[1]
    assert "carol" in user_names(json.loads(inner))


def check_origins(url: str, root: Client):
    """Check that pages of the same origin may use the cookie and those of another host may not (docs/wire.md F42)."""
    own = urllib.parse.urlsplit(url)
    assert "carol" in user_names(root("users/?get", headers={"Origin": f"{own.scheme}://{own.netloc}"}))
    assert root("users/?get", headers={"Origin": "http://evil.example"})["login"] is False


def check_methods(url: str, root: Client):
    """Check that every method is answered, HEAD without a body."""
    response, content = root.send("users/?get", method="HEAD")
    assert (response.status, content) == (200, b"")
    for method in ("GET", "OPTIONS", "PUT", "DELETE", "PATCH"):
        assert "carol" in user_names(root("users/?get", method=method))


def check_chunked_body(url: str, root: Client):
    """Check that a body without Content-Length is read."""
    text = json.dumps({"auth": {"user_name": "ann", "password": "pw"}}).encode()
    with Client(url) as ann:
        assert user_names(ann("users/?get", body=iter([text[:9], text[9:]]))) == ["ann"]


def check_token(url: str, root: Client):
    """Check that a script logs in with a token."""
    bearer = {"Authorization": "Bearer " + root("tokens/?add", token_name="script")["token"]}
    with Client(url) as script:
        assert "carol" in user_names(script("users/?get", headers=bearer))


def check_large_bodies(url: str, root: Client):
    """Check that a large body is refused in JSON, and that its rest is not taken for the next request."""
    for body in (TOO_LARGE, iter([TOO_LARGE])):
        assert root("users/?get", check=413, body=body)["status"]
        assert user_names(root("users/?get", username="carol")) == ["carol"]
    # curl asks before it sends that much (Expect: 100-continue).
    asked = subprocess.run(
        [
            require_program("curl"),
            "-sS",
            "--max-time",
            "60",
            "--interface",
            ADDRESS,
            "--data-binary",
            "@-",
            url + "users/?get",
        ],
        input=TOO_LARGE,
        capture_output=True,
        check=True,
    )
    assert json.loads(asked.stdout)["status"], asked.stderr


def check_client_address(url: str, root: Client):
    """Check that the audit has the client's real address, whatever its headers say."""
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Real-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9",
        "Client-IP": "203.0.113.9",
        "REMOTE_ADDR": "203.0.113.9",
    }
    with Client(url) as ann:
        ann.log_in("ann", lies)
    found = root("audit/?get")["audit"]
    assert {"ok", "Not allowed."} <= {row["audit_status"] for row in found}
    assert {row["audit_address"] for row in found} == {ADDRESS}
