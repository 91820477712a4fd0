"""Settings of users without a mail server's database: their forward and automatic reply, as a part of a Sieve script."""

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
    """The settings of users that are stored in their active Sieve scripts, with times in seconds since 1970."""

    def __init__(self, client: ManageSieve):
        self.client = client

    def of(self, user_name: str, password: str | None) -> dict:
        """Return the settings of a user, with times as local time: {"forward": None, "autoReply": "I am away.", …}.

        `password` is the user's; None if it is unknown and config.py has master credentials for the server.
        """
        with self.client.session(user_name, password) as sieve:
            name, scripts = active_script(sieve)
            _, settings, _ = split(read_script(sieve, name)) if name in scripts else ("", {}, "")
        settings = UNSET | {name: value for name, value in settings.items() if name in UNSET}
        return settings | {name: local_time(settings[name]) for name in TIMES}

    def update(self, user_name: str, password: str | None, changes: dict, addresses: list[str]):
        """Change settings of a user in the active script, or in a new one. ApiError if the server refuses the script.

        `addresses` are the user's own addresses: the automatic reply answers only mail to them.
        """
        if any(name in changes for name in OF_ADMINISTRATION):
            raise ApiError("quota and userStatus need a mailserver.")
        stored = {name: seconds(value) if name in TIMES else value for name, value in changes.items()}
        with self.client.session(user_name, password) as sieve:
            active, scripts = active_script(sieve)
            name = active or OWN_SCRIPT
            before, settings, after = split(read_script(sieve, name)) if name in scripts else ("", {}, "")
            script = joined(before, merge_settings(UNSET | settings, stored), after, addresses)
            if name == OWN_SCRIPT and not script.strip():
                discard_script(sieve, name, scripts)
            else:
                sieve.command("PUTSCRIPT", name, script)
                if not active:
                    sieve.command("SETACTIVE", name)


def active_script(sieve: Conversation) -> tuple[str, list[str]]:
    """Return the name of a user's active script ("" if none is active), and the names of all the user's scripts."""
    lines = [line for line in sieve.command("LISTSCRIPTS")[0] if line]
    active = [line[0] for line in lines if line[1:] == ["ACTIVE"]]
    return active[0] if active else "", [line[0] for line in lines]


def read_script(sieve: Conversation, name: str) -> str:
    return sieve.command("GETSCRIPT", name)[0][0][0]


def discard_script(sieve: Conversation, name: str, scripts: list[str]):
    """Deactivate and delete the script `name`, which has become empty, if it is one of the stored `scripts`."""
    if name in scripts:
        sieve.command("SETACTIVE", "")
        sieve.command("DELETESCRIPT", name)


def seconds(value: datetime | None) -> int | None:
    """Convert a datetime to seconds since 1970. Without a zone it is a local time of this machine."""
    return None if value is None else int(value.timestamp())


def local_time(value: int | None) -> str | None:
    """Convert seconds since 1970 to local time of this machine, as text: "2026-08-01 09:00:00"."""
    return None if value is None else str(datetime.fromtimestamp(value))
