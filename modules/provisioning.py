"""What a log-in makes at the services, what is done where one of them is down, and the line in the log."""

import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from urllib.parse import urlsplit

from mailapi import ApiError, Config, ConfigError, log
from mailapi_modules.ledger import KINDS, Ledger

FAILED = "It failed. The log has the cause."


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


class Provisioner:
    """Makes, at the services, what the ledger has numbers for."""

    def __init__(self, app):
        self.config, services = app.config, app.config.services
        self.ledger = Ledger(app, {kind: shown(services[k.service]) for kind, k in KINDS.items()
                                   if k.service in services})

    def provision(self, user_name: str, mask: int, password: str | None = None, id_users: int | None = None):
        """Make what mask asks for and is not there yet, and try what is pending; a service that is down stays so."""
        if self.ledger.complete(user_name, mask):
            return
        account, ours = self.ledger.enter(user_name, mask, id_users)
        outcomes = at_once(ours, lambda kind: self.client(kind).provision(kind, user_name, password))
        self.ledger.keep(account, outcomes)
        log_check(account, outcomes)

    def client(self, kind: str):
        """A way to the service that keeps a kind, for one thread."""
        from mailapi_modules.protocols import clients

        return clients(self.config)[KINDS[kind].service]

    def purge(self, account: dict) -> list[str]:
        """Have the services delete what they hold of a user; the reasons of those that did not."""
        kinds = [kind for kind in self.ledger.urls if account[KINDS[kind].column] is not None]
        outcomes = at_once(kinds, lambda kind: self.client(kind).purge(kind, account["Name"]))
        return [error for error in outcomes.values() if error]


def at_once(kinds: list[str], do: Callable[[str], None]) -> dict[str, str | None]:
    """Do something for each kind, all at the same time; kind → None, or the reason why not."""

    def attempt(kind: str) -> str | None:
        try:
            return do(kind)
        except ApiError as error:
            return error.status
        except Exception:
            log.exception("%s failed", kind)
            return FAILED

    if not kinds:
        return {}
    with ThreadPoolExecutor(len(kinds)) as pool:
        return dict(zip(kinds, pool.map(attempt, kinds)))


def log_check(account: dict, outcomes: dict[str, str | None]):
    """A line as the original's, in logfmt, without the password that it has there."""
    errors = {f"Error ({kind.upper()})": error for kind, error in sorted(outcomes.items()) if error}
    fields = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"), "level": "warning" if errors else "info",
        "msg": f"checkUserProvisioning: {'PENDING' if errors else 'OK'}", "AccountID": account["idAccount"], **errors,
        "ID": account["idUsers"], "IdentityID": account["idAccount"], "Name": account["Name"],
        **{f"ServiceAccountID ({kind.upper()})": account[KINDS[kind].column] for kind in sorted(KINDS)}}
    log.log(logging.WARNING if errors else logging.INFO, "%s", logfmt(fields))


def logfmt(fields: dict) -> str:
    """key=value pairs, whatever is more than a plain word in quotes; what is not there left out."""
    return " ".join(f"{quoted(key)}={quoted(value)}" for key, value in fields.items() if value is not None)


def quoted(value) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9._/@^+-]+", str(value))
    return str(value) if plain else json.dumps(str(value))
