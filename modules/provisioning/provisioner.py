"""Creation of users' service accounts, such as mail folders and calendars, at the services."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from mailapi import ApiError, Config, ConfigError, log

from .account_store import Ledger
from .account_tables import KINDS


def read_mask(config: Config, environ: Mapping[str, str]) -> int:
    """Return the kinds of service accounts that a log-in creates, as a sum of the bits in KINDS: 0 to 7.

    The environment variable PROVISION comes first, then PROVISION in config.py. Raise ConfigError for another value.
    """
    given = str(environ.get("PROVISION", config.PROVISION))
    if not re.fullmatch("[0-7]", given):
        raise ConfigError(f"PROVISION must be a whole number from 0 to 7, not {given}.")
    return int(given)


def without_credentials(url: str) -> str:
    """Return a URL without user and password: "imap://host" for "imap://me:secret@host"."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def clients(config: Config) -> dict:
    """Return the clients of the services that config.py names, by kind of service, such as "imap"."""
    if not config.services:
        return {}
    from ..clients import base as protocols

    return protocols.clients(config)


class Provisioner:
    """Creator of users' service accounts at the services. It stores the outcomes in the accounts' tables (Ledger)."""

    def __init__(self, app):
        reach = clients(app.config)
        self.clients = {kind: reach[k.service] for kind, k in KINDS.items() if k.service in reach}
        self.filters = reach.get("managesieve")
        self.ledger = Ledger(
            app, {kind: without_credentials(client.url) for kind, client in self.clients.items()}
        )

    def provision(
        self,
        user_name: str,
        mask: int,
        deadline: float,
        password: str | None = None,
        id_users: int | None = None,
    ):
        """Create a user's service accounts that do not exist yet or failed before, at all services in parallel.

        Return after `deadline` seconds at the latest. Services that take longer continue in their threads. `mask` is
        a sum of the bits in KINDS. `password` is for services without master credentials. `id_users` is a new
        account's idUsers.
        """
        if self.ledger.is_complete(user_name, mask):
            return
        account, ours = self.ledger.enter(user_name, mask, id_users)
        outcomes: dict[str, str | None] = dict.fromkeys(ours, "It has not answered yet.")

        def make(kind: str):
            outcomes[kind] = attempt(lambda: self.clients[kind].provision(kind, user_name, password))
            try:
                self.ledger.record_outcome(account, kind, outcomes[kind])
            except Exception as error:  # the claim ends by itself
                log.error("%s of %s is made, and not noted: %s", kind, user_name, error)
            finally:
                self.ledger.store.close()

        threads = [threading.Thread(target=make, args=(kind,), daemon=True) for kind in ours]
        until = time.monotonic() + deadline
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        log_check(account, dict(outcomes))

    def purge(self, account: dict) -> list[str]:
        """Have the services delete all data of a user. Return the error messages of those that did not.

        `account` is the user's row of Accounts.
        """
        holders = [*self.clients.items()] + ([("mail", self.filters)] if self.filters else [])
        tried = [
            attempt(partial(client.purge, kind, account["Name"]))
            for kind, client in holders
            if account[KINDS[kind].column] is not None
        ]
        return [error for error in tried if error]


def attempt(do: Callable[[], None]) -> str | None:
    """Call a function that uses a service. Return None if it succeeds, or else the error message."""
    try:
        do()
    except ApiError as error:
        return error.status
    except Exception:
        log.exception("a service failed")
        return "It failed. The log has the cause."
    return None


def log_check(account: dict, outcomes: dict[str, str | None]):
    """Log whether a user's service accounts were created, in one line in logfmt.

    The line is that of the original PHP API, but without the password. `outcomes` has an error or None for each
    kind.
    """
    errors = {f"Error ({kind.upper()})": error for kind, error in sorted(outcomes.items()) if error}
    fields = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "level": "warning" if errors else "info",
        "msg": f"checkUserProvisioning: {'PENDING' if errors else 'OK'}",
        "AccountID": account["idAccount"],
        **errors,
        "ID": account["idUsers"],
        "IdentityID": account["idAccount"],
        "Name": account["Name"],
        **{f"ServiceAccountID ({kind.upper()})": account[KINDS[kind].column] for kind in sorted(KINDS)},
    }
    log.log(logging.WARNING if errors else logging.INFO, "%s", logfmt(fields))


def logfmt(fields: dict) -> str:
    """Return fields in logfmt, such as `level=info msg="two words"`. Fields whose value is None are left out."""
    return " ".join(f"{quoted(key)}={quoted(value)}" for key, value in fields.items() if value is not None)


def quoted(value) -> str:
    """Return a value for logfmt: in double quotes, with JSON's escapes, unless it is a plain word."""
    plain = re.fullmatch(r"[A-Za-z0-9._/@^+-]+", str(value))
    return str(value) if plain else json.dumps(str(value))
