"""What a log-in makes at the services, what is done where one of them is down, and the line in the log."""

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from mailapi import ApiError, Config, ConfigError, log

from ..provisioning.account_store import KINDS, Ledger


def read_mask(config: Config, environ) -> int:
    """PROVISION, of the environment before that of config.py: bits as in KINDS."""
    given = str(environ.get("PROVISION", config.PROVISION))
    if not re.fullmatch("[0-7]", given):
        raise ConfigError(f"PROVISION must be a whole number from 0 to 7, not {given}.")
    return int(given)


def shown(url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def clients(config: Config) -> dict:
    """How to reach the services that the config names, by their kind."""
    if not config.services:
        return {}
    from ..clients import base as protocols

    return protocols.clients(config)


class Provisioner:
    """Makes, at the services, what the ledger has numbers for."""

    def __init__(self, app):
        reach = clients(app.config)
        self.clients = {kind: reach[k.service] for kind, k in KINDS.items() if k.service in reach}
        self.filters = reach.get("managesieve")
        self.ledger = Ledger(app, {kind: shown(client.url) for kind, client in self.clients.items()})

    def provision(
        self,
        user_name: str,
        mask: int,
        deadline: float,
        password: str | None = None,
        id_users: int | None = None,
    ):
        """Make what mask asks for and is not there yet, and try what is pending, all at the same time.

        What takes longer than `patience` seconds goes on without the caller.
        """
        if self.ledger.complete(user_name, mask):
            return
        account, ours = self.ledger.enter(user_name, mask, id_users)
        outcomes: dict[str, str | None] = dict.fromkeys(ours, "It has not answered yet.")

        def make(kind: str):
            outcomes[kind] = attempt(lambda: self.clients[kind].provision(kind, user_name, password))
            try:
                self.ledger.keep(account, kind, outcomes[kind])
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
        """Have the services delete what they hold of a user; the reasons of those that did not."""
        holders = [*self.clients.items()] + ([("mail", self.filters)] if self.filters else [])
        tried = [
            attempt(partial(client.purge, kind, account["Name"]))
            for kind, client in holders
            if account[KINDS[kind].column] is not None
        ]
        return [error for error in tried if error]


def attempt(do: Callable[[], None]) -> str | None:
    """Do something at a service; the reason why it did not work."""
    try:
        do()
    except ApiError as error:
        return error.status
    except Exception:
        log.exception("a service failed")
        return "It failed. The log has the cause."
    return None


def log_check(account: dict, outcomes: dict[str, str | None]):
    """A line as the original's, in logfmt, without the password that it has there."""
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
    """key=value pairs, whatever is more than a plain word in quotes; what is not there left out."""
    return " ".join(f"{quoted(key)}={quoted(value)}" for key, value in fields.items() if value is not None)


def quoted(value) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9._/@^+-]+", str(value))
    return str(value) if plain else json.dumps(str(value))
