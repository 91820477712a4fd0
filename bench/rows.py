"""The requests of `bench traffic`, and the CPU that each took the original PHP API."""

import json
from collections import Counter
from dataclasses import dataclass, field

from bench.databases import ADMIN, PASSWORD, name
from bench.load import CONNECTIONS, TURN, Request

READER = name(2)  # has two mails, and reads them
FIRST_MAIL = 2  # the mail_id of the reader's first mail
SCRIPT = name(1)  # the user as whom a script logs in

# The original behind nginx and PHP-FPM 8.2 with opcache and 4 children, in µs of CPU a request, measured beside the
# uWSGI floor with four connections on a noisy machine with two cores; p99 in ms. A log-in by password took 830 to
# 1,273 µs: the table has the least.
ORIGINAL_FLOOR = 130


@dataclass(frozen=True, eq=False)
class Row:
    """A request that four clients send over and over.

    They are browsers with an administrator's session, unless `session` names another user.
    """

    request: str
    original: float  # µs of CPU
    fields: dict = field(default_factory=dict)  # of the body; {user} and {new} are replaced by names
    note: str = ""
    users: int = 5  # in the database
    session: str = ADMIN  # the user whose session it uses, "" for none
    method: str = "POST"
    status: str = "ok"
    original_p99: float | None = None  # ms, where it was measured
    undo: str = ""  # SQL that removes what the requests added

    @property
    def name(self) -> str:
        return " ".join(filter(None, [self.request, self.note]))

    def encoded(self, client: int, cookies: dict[str, str]) -> Request:
        """Return the request of one of the four clients, as a browser sends it.

        That is JSON under the content type of a form. `cookies` has the session's cookie of each user.
        """
        body = b""
        if self.method == "POST":
            body = json.dumps(self.fields).encode()
            body = body.replace(b"{user}", name(3 + client % 3).encode())
            body = body.replace(b"{new}", b"new%d-" % client + TURN)
        head = [f"{self.method} /{self.request} HTTP/1.1", "Host: localhost"]
        if body:
            head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        if self.session:
            head.append(f"Cookie: PHPSESSID={cookies[self.session]}")
        raw = "\r\n".join([*head, "", ""]).encode() + body
        return Request(self.name, raw, b'{"status":' + json.dumps(self.status).encode())


def script_auth(password: str) -> dict:
    return {"auth": {"user_name": SCRIPT, "password": password}}


ROWS = (
    Row("?get_modules", 553, note="by GET", method="GET"),
    Row("?get_modules", 485),
    Row("users/?get", 1216),
    Row("pop/?get", 620),
    Row("users/?get", 1082, {"username": "{user}"}, "of one user"),
    Row("?get_modules", 830, script_auth(PASSWORD), "with auth", session=""),
    Row(
        "?get_modules",
        688,
        script_auth("wrong"),
        "with a wrong password",
        session="",
        status="Username or password is wrong.",
    ),
    Row("mailbox/?get", 650, session=READER),
    Row("mailbox/?read", 818, {"mail_id": FIRST_MAIL}, session=READER),
    Row(
        "users/?set_password",
        1645,
        {"user_name": "{user}", "user_authdata": PASSWORD},
        original_p99=58,
    ),
    Row(
        "users/?add",
        1622,
        {"user_name": "{new}", "user_authdata": PASSWORD},
        original_p99=57,
        undo="DELETE FROM users WHERE user_name LIKE 'new%'",
    ),
    Row("users/?get", 11_123, users=1000),
    Row("addresses/?get", 1782, users=1000),
    Row("users/?get", 237_000, users=20_000),
    Row("addresses/?get", 34_900, users=20_000),
    Row("pop/?get", 7200, users=20_000),
    Row("users/?get", 80_900, {"username": "{user}"}, "of one user", users=20_000),
)
MIX_USERS = 5
BY_NAME = {row.name: row for row in ROWS if row.users == MIX_USERS}


BROWSER = (
    "?get_modules",
    "users/?get",
    "users/?get of one user",
    "pop/?get",
    "users/?get",
    "users/?set_password",
)
MIX = {  # names of rows, by client
    "a browser": BROWSER,
    "another browser": BROWSER,
    "a web mailbox": ("mailbox/?get", "mailbox/?read", "mailbox/?read"),
    "a script": ("?get_modules with auth",),
}


def repeated(row: Row, cookies: dict[str, str]) -> list[list[Request]]:
    """Return, for each of the four clients, the list of requests that it repeats: that of a row."""
    return [[row.encoded(client, cookies)] for client in range(CONNECTIONS)]


def mix(cookies: dict[str, str]) -> list[list[Request]]:
    """Return, for each client of MIX, the list of requests that it repeats.

    `cookies` has the session's cookie of each user.
    """
    return [
        [BY_NAME[each].encoded(client, cookies) for each in names]
        for client, names in enumerate(MIX.values())
    ]


def original_of(counts: Counter[str]) -> float:
    """Return the average CPU, in µs, that the original took for a request of the mix.

    `counts` is how many requests of each name were sent.
    """
    return sum(BY_NAME[name].original * count for name, count in counts.items()) / counts.total()
