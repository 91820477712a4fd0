"""Make a user's accounts at the services, at log-ins and on demand, and log each attempt."""

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
    """Return PROVISION, from the environment or else from config.py: bits as in KINDS."""
    given = str(environ.get("PROVISION", config.PROVISION))
    if not re.fullmatch("[0-7]", given):
        raise ConfigError(f"PROVISION must be a whole number from 0 to 7, not {given}.")
    return int(given)


def without_credentials(url: str) -> str:
    """Return a URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def clients(config: Config) -> dict:
    """Return the clients of the services that the config names, by the service's kind."""
    if not config.services:
        return {}
    from ..clients import base as protocols

    return protocols.clients(config)


class Provisioner:
    """Make at the services the service accounts that the ledger has."""

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
        """Make the service accounts of mask that do not exist yet, and try the pending ones again, in parallel.

        Return after `deadline` seconds at the latest; what takes longer goes on in its thread.
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
        """Have the services delete a user's data; return the errors of those that did not."""
        holders = [*self.clients.items()] + ([("mail", self.filters)] if self.filters else [])
        tried = [
            attempt(partial(client.purge, kind, account["Name"]))
            for kind, client in holders
            if account[KINDS[kind].column] is not None
        ]
        return [error for error in tried if error]


def attempt(do: Callable[[], None]) -> str | None:
    """Do something at a service; return the error, or None."""
    try:
        do()
    except ApiError as error:
        return error.status
    except Exception:
        log.exception("a service failed")
        return "It failed. The log has the cause."
    return None


def log_check(account: dict, outcomes: dict[str, str | None]):
    """Log the outcomes in logfmt, as the original does, but without the password."""
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
    """Return key=value pairs, without those whose value is None."""
    return " ".join(f"{quoted(key)}={quoted(value)}" for key, value in fields.items() if value is not None)


def quoted(value) -> str:
    """Return a value as logfmt has it: in quotes unless it is a plain word."""
    plain = re.fullmatch(r"[A-Za-z0-9._/@^+-]+", str(value))
    return str(value) if plain else json.dumps(str(value))
