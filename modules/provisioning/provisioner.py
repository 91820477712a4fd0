"""Creation of users' mailboxes, calendars and address books at their servers."""

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

    Read PROVISION from the environment, else from the file `environment_file`, else from config.py. ConfigError if it is
    not a number from 0 to 7, or if the file cannot be read.
    """
    in_file = read_environment_file(config.base / config.environment_file) if config.environment_file else {}
    given = str({**in_file, **environ}.get("PROVISION", config.PROVISION))
    if not re.fullmatch("[0-7]", given):
        raise ConfigError(f"PROVISION must be a whole number from 0 to 7, not {given}.")
    return int(given)


def without_credentials(url: str) -> str:
    """Remove user name and password from a URL: "imap://me:secret@host" becomes "imap://host"."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def clients(config: Config) -> dict:
    """Return a client for each kind of server in the setting `services`: {"imap": Client, …}."""
    if not config.services:
        return {}
    from ..clients import base  # imported for installations with services only

    return base.clients(config)


class Provisioner:
    """Creates and deletes users' mailboxes, calendars and address books at the servers."""

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
        """Create a user's mailbox, calendar and address book at their servers, unless they exist.

        `mask` is the sum of what is wanted: 1 mail, 2 calendar, 4 contacts. Return after `deadline` seconds at the
        latest; slower servers continue in their threads. A failure is logged and recorded in ServiceAccounts, not
        raised. `password` is the user's, for servers without master credentials in config.py. `id_users` is the
        idUsers of a new account; the next number if None.
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
        """Delete a user's mail, filter scripts, calendars and contacts at their servers. Return the error messages.

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
    """Call `do`. Return None if it succeeds, else an error message for users."""
    try:
        do()
    except ApiError as error:
        return error.status
    except Exception:
        log.exception("a service failed")
        return "It failed. The log has the cause."
    return None


def log_check(account: dict, outcomes: dict[str, str | None]):
    """Log one line that says which of a user's service accounts were created, and which failed.

    `account` is the user's row of the table Accounts. `outcomes` has an error message, or None, for each kind:
    {"mail": None, "calendar": "It failed."}.
    """
    # The original PHP API logs the same line.
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
