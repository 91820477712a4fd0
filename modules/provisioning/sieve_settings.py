"""Users' forwards and automatic replies in Sieve scripts, for installations without a mail server's database."""

from datetime import datetime

from mailapi import ApiError

from ..clients.managesieve import Conversation, ManageSieve
from ..clients.sieve_script import joined, split
from .account_settings import OF_ADMINISTRATION, merge_settings

OWN_SCRIPT = "mailapi"  # the script of a user who has no active one
UNSET = {
    "forward": None,
    "autoReply": None,
    "autoReplyEnabled": 0,
    "autoReplyStart": None,
    "autoReplyEnd": None,
}
TIMES = ("autoReplyStart", "autoReplyEnd")


class SieveSettings:
    """Reads and changes users' forwards and automatic replies in their active Sieve scripts."""

    def __init__(self, client: ManageSieve):
        self.client = client

    def of(self, user_name: str, password: str | None) -> dict:
        """Return a user's settings in their active Sieve script: {"forward": None, "autoReply": "I am away.", …}.

        Times are local, such as "2026-08-01 09:00:00". `password` is the user's, for servers without master
        credentials in config.py.
        """
        with self.client.session(user_name, password) as sieve:
            name, scripts = active_script(sieve)
            _, settings, _ = split(read_script(sieve, name)) if name in scripts else ("", {}, "")
        settings = UNSET | {name: value for name, value in settings.items() if name in UNSET}
        return settings | {name: local_time(settings[name]) for name in TIMES}

    def update(self, user_name: str, password: str | None, changes: dict, addresses: list[str]):
        """Change a user's settings in their active Sieve script, or in a new one. ApiError if the server refuses it.

        `changes` is like {"forward": "me@example.org", "autoReply": None}. The automatic reply answers only mail to
        `addresses`, the user's own addresses.
        """
        if any(name in changes for name in OF_ADMINISTRATION):
            raise ApiError("quota and userStatus need a mailserver.")
        stored = {name: seconds(value) if name in TIMES else value for name, value in changes.items()}
        with self.client.session(user_name, password) as sieve:
            active, scripts = active_script(sieve)
            name = active or OWN_SCRIPT
            stored_script = read_script(sieve, name) if name in scripts else ""
            if "\ufffd" in stored_script:  # what the client reads in place of other bytes than UTF-8
                raise ApiError("The filter script is not UTF-8: changing it would lose letters.")
            before, settings, after = split(stored_script)
            script = joined(before, merge_settings(UNSET | settings, stored), after, addresses)
            if name == OWN_SCRIPT and not script.strip():
                discard_script(sieve, name, scripts)
            else:
                sieve.command("PUTSCRIPT", name, script)
                if not active:
                    sieve.command("SETACTIVE", name)


def active_script(sieve: Conversation) -> tuple[str, list[str]]:
    """Return the name of a user's active script, and the names of all scripts: ("away", ["away", "old"]).

    The first name is "" if no script is active.
    """
    lines = [line for line in sieve.command("LISTSCRIPTS")[0] if line]
    active = [line[0] for line in lines if line[1:] == ["ACTIVE"]]
    return active[0] if active else "", [line[0] for line in lines]


def read_script(sieve: Conversation, name: str) -> str:
    return sieve.command("GETSCRIPT", name)[0][0][0]


def discard_script(sieve: Conversation, name: str, scripts: list[str]):
    """Delete the script `name`, if it is one of `scripts`. Deactivate it first, as the protocol requires."""
    if name in scripts:
        sieve.command("SETACTIVE", "")
        sieve.command("DELETESCRIPT", name)


def seconds(value: datetime | None) -> int | None:
    """Convert a datetime to seconds since 1970; None to None. A datetime without a zone is local time."""
    return None if value is None else int(value.timestamp())


def local_time(value: int | None) -> str | None:
    """Convert seconds since 1970 to local time, as text such as "2026-08-01 09:00:00"; None to None."""
    return None if value is None else str(datetime.fromtimestamp(value))
