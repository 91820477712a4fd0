"""Creates the mailboxes, calendars and address books of users at their servers, all servers at the same time."""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlsplit

from mailapi import ApiError, Config, ConfigError, log

from ..state.log_file import local_time, logfmt
from .account_store import Ledger
from .account_tables import KINDS
from .environment_file import read_environment_file


def read_mask(config: Config, environ: Mapping[str, str]) -> int:
    """Return the kinds of service account that a log-in creates, as a sum: 1 mail, 2 calendar, 4 contacts.

    It is the environment variable PROVISION, else the PROVISION in the file `environment_file`, else the setting
    PROVISION. ConfigError if that is not a number from 0 to 7, or if the file cannot be read.
    """
    in_file = read_environment_file(config.base / config.environment_file) if config.environment_file else {}
    given = str({**in_file, **environ}.get("PROVISION", config.PROVISION))
    if not re.fullmatch("[0-7]", given):
        raise ConfigError(f"PROVISION must be a whole number from 0 to 7, not {given}.")
    return int(given)


def without_credentials(url: str) -> str:
    """Return a URL without user name and password: "imap://host" for "imap://me:secret@host"."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def clients(config: Config) -> dict:
    """Return the clients for the servers in the setting `services`, by kind of server: {"imap": Client, …}."""
    if not config.services:
        return {}
    from ..clients import base  # imported for installations with services only

    return base.clients(config)


class Provisioner:
    """Creates users' service accounts (mailbox, calendar, address book) at the servers, and records the outcome."""

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
        """Create at their servers, all at the same time, those service accounts of a user that do not exist yet.

        Returns after `deadline` seconds at the latest; slower servers continue in their threads. `mask` is the sum of
        the wanted kinds: 1 mail, 2 calendar, 4 contacts. `password` is the user's, for servers without master
        credentials in config.py. `id_users` is the idUsers of a new account; None: the next number.
        """
        if self.ledger.is_complete(user_name, mask):
            return
        account, ours = self.ledger.enter(user_name, mask, id_users)
        outcomes: dict[str, str | None] = dict.fromkeys(ours, "It has not answered yet.")

        def make(kind: str):
            outcomes[kind] = attempt(lambda: self.clients[kind].provision(kind, user_name, password))
            try:
                self.ledger.record_outcome(account, kind, outcomes[kind])
            except Exception as error:  # after LONGEST_CLAIM seconds, a log-in tries again
                log.error("%s of %s was created, but this could not be recorded: %s", kind, user_name, error)
            finally:
                self.ledger.store.close()

        if ours:
            from ..clients.base import run_in_parallel

            run_in_parallel({kind: partial(make, kind) for kind in ours}, deadline)
        log_check(account, dict(outcomes))

    def purge(self, account: dict) -> list[str]:
        """Have the servers delete all data of a user. Return the error messages of those that failed.

        `account` is the user's row of the table Accounts.
        """
        holders = [*self.clients.items()] + ([("mail", self.filters)] if self.filters else [])
        tried = [
            attempt(partial(client.purge, kind, account["Name"]))
            for kind, client in holders
            if account[KINDS[kind].column] is not None
        ]
        return [error for error in tried if error]


def attempt(do: Callable[[], None]) -> str | None:
    """Call `do`, which uses a server. Return None if it succeeds, else the error message."""
    try:
        do()
    except ApiError as error:
        return error.status
    except Exception:
        log.exception("a service failed")
        return "It failed. The log has the cause."
    return None


def log_check(account: dict, outcomes: dict[str, str | None]):
    """Log in one line whether a user's service accounts were created. The line is that of the original PHP API.

    `account` is the user's row of the table Accounts. `outcomes` has None or the error for each kind: {"mail": None}.
    """
    errors = {f"Error ({kind.upper()})": error for kind, error in sorted(outcomes.items()) if error}
    fields = {
        "time": local_time(),
        "level": "warning" if errors else "info",
        "msg": f"checkUserProvisioning: {'PENDING' if errors else 'OK'}",
        "AccountID": account["idAccount"],
        **errors,
        "ID": account["idUsers"],
        "IdentityID": account["idAccount"],
        "Name": account["Name"],
        **{f"ServiceAccountID ({kind.upper()})": account[KINDS[kind].column] for kind in sorted(KINDS)},
    }
    level = logging.WARNING if errors else logging.INFO
    log.log(level, "%s", logfmt(fields), extra={"logfmt": fields})
