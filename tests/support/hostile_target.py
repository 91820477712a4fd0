"""The site that hostile values are sent to."""

import io
import json
import socket
import sys
from pathlib import Path

import mailapi
from support.hostile_values import ALONE, USUAL
from support.site import OPTIONAL, Site, authdata


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Target(Site):
    """A site with all modules, whose services are not there."""

    def __init__(self, folder: Path, generation: int = 9, **config):
        port = closed_port()
        services = {
            "smtp": f"smtp://127.0.0.1:{port}",
            "imap": f"imap://127.0.0.1:{port}",
            "pop": f"pop3://127.0.0.1:{port}",
            "dav": f"http://127.0.0.1:{port}",
            "antispam": f"spamd://127.0.0.1:{port}",
            "antivirus": f"clamd://127.0.0.1:{port}",
            "managesieve": f"sieve://127.0.0.1:{port}",
        }
        more = OPTIONAL | ({"MSA": "modules/msa.py"} if generation == 9 else {})
        super().__init__(folder, generation, more, free_attempts=10**9, services=services, **config)
        stores = (
            "address_user) VALUES (?"
            if generation == 8
            else "address_router, address_route) VALUES (?, 'store'"
        )
        for address in ("bob@one.org bob", "ann@corp.org ann", "root@one.org root"):
            self.sql(f"INSERT INTO addresses (address_expression, {stores}, ?)", *address.split())
        self.sql(
            "INSERT INTO msa (msa_user, msa_outrouter) VALUES ('root', 'any')"
            if generation == 8
            else "INSERT INTO smtpd (smtpd_user, smtpd_router) VALUES ('root', 'any')"
        )
        self.sql("INSERT INTO users (user_name, user_authdata) VALUES ('zoe', ?)", authdata("pw"))
        self.sql(
            "INSERT INTO mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data, mail_submission,"
            " mail_submitter, mail_proto) VALUES (1, 'root', 'root@one.org', 'x@y.org', ?, '1', NULL, 'smtp')",
            "Subject: Hello\r\nFrom: x@y.org\r\n\r\nHello\r\n",
        )
        self.pristine = self.dbpath.read_bytes()
        self.cookie = self.log_in()

    def log_in(self) -> str:
        """Log in as root; return the Cookie header."""
        _, headers, answer = self.send("", "login", b'{"auth": {"user_name": "root", "password": "pw"}}')
        assert json.loads(answer)["login"], answer
        return dict(headers)["Set-Cookie"].split(";")[0]

    def send(self, path: str, query: str, body: bytes, cookie: str | None = None) -> tuple[int, list, bytes]:
        """Send a request as a WSGI server does; return status, headers and body of the answer."""
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/{path}/" if path else "/",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if cookie:
            environ["HTTP_COOKIE"] = cookie
        seen = []
        answer = self.app(environ, lambda status, headers, exc_info=None: seen.append((status, headers)))
        whole = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        ((status, headers),) = seen
        return int(status[:3]), headers, whole

    def restore(self):
        """Put the master database back as it was: what was written would make later requests slower."""
        if self.dbpath.read_bytes() != self.pristine:
            other = self.dbpath.with_suffix(".new")
            other.write_bytes(self.pristine)
            other.replace(self.dbpath)

    def fields(self) -> list[tuple]:
        """Return path, action, endpoint, name and kind of every declared field, and whether it is one of the query."""
        generation = mailapi.GENERATIONS[self.generation]
        found = []
        for path, module in self.app.modules.items():
            for action, endpoint in module.endpoints.items() if self.generation in module.generations else ():
                found += [
                    (path, action, endpoint, name, kind, False)
                    for name, kind in endpoint.fields(generation).items()
                ]
                found += [(path, action, endpoint, name, kind, True) for name, kind in endpoint.query.items()]
        return found

    def body(self, endpoint, name: str, value: str) -> bytes:
        """Return the body of an action: its usual fields, and one field with the value, which is in JSON."""
        usual = {
            other: USUAL[other]
            for other in endpoint.fields(mailapi.GENERATIONS[self.generation])
            if other in USUAL and other != name and not (other in ALONE and "subject" in endpoint.optional)
        }
        if name in ALONE and "subject" in endpoint.optional:
            usual = {}
        return (
            b"{"
            + b"".join(f"{json.dumps(key)}: {json.dumps(each)}, ".encode() for key, each in usual.items())
            + (f'"{name}": {value}}}').encode()
        )
