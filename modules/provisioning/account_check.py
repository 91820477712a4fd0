"""Checks by `mailapi check` of users' accounts for mail, contacts and calendar, and of the mail server's database."""

from collections.abc import Iterator

from mailapi import PreparedQuery, Users

from .account_tables import KINDS
from .mailserver_tables import READ_COLUMNS

ALL_USERS = PreparedQuery(Users.select(Users.user_name))
USERS_WITH_PASSWORD_AND_ADDRESS = PreparedQuery(
    Users.select(Users.user_name).where(Users.user_authdata.is_null(False), Users.user_name.contains("@"))
)


def check_ledger(module, repair: bool) -> Iterator[tuple[bool | None, str]]:
    """Check that every recorded account belongs to a user, and that the servers have its mailbox and other data.

    Yield pairs (result, sentence). The result is True if all is well, False for an error, None for a remark. `module`
    is the module Account. If `repair` is set, delete accounts without a user, and have the servers create what is
    missing.
    """
    module.app.db.connect()
    ledger, users, taken_over = module.ledger, set(module.app.db.column(ALL_USERS)), []
    users |= {row["user_name"] for row in module.external_users()}
    for account in ledger.rows():
        name = account["Name"]
        if name not in users and is_taken_over(account):
            taken_over.append(str(name))
            continue
        if name not in users:
            yield (
                repair and ledger.delete(name),
                f"account of {name}, who is no user{' any more: deleted' * repair}",
            )
            continue
        if repair and any(service["state"] != "ok" for service in account["services"]):
            module.provisioner.provision(name, 0, 5)
            account = next(iter(ledger.rows([name])))
        for service in account["services"]:
            if service["state"] != "ok":
                yield False, f"account of {name}: {service['kind']} is {service['state']}: {service['error']}"
    if taken_over:
        yield (
            None,
            (
                f"accounts that another program made, of nobody who is a user here, left alone: {len(taken_over)}, "
                f"such as {', '.join(taken_over[:3])}"
            ),
        )
    yield True, f"accounts: {len(ledger.rows())}"


def is_taken_over(account: dict) -> bool:
    """Return whether another program, and not mailapi, recorded a user's account in the table Accounts.

    `account` is the user's row, with the rows of ServiceAccounts in its key "services".
    """
    ours = {service["kind"] for service in account["services"]}
    return not ours or any(account[k.column] is not None and kind not in ours for kind, k in KINDS.items())


def check_mailserver(mailserver, repair: bool) -> Iterator[tuple[bool, str]]:
    """Check that the mail server's database is readable and has no unfinished changes. Yield pairs (result, sentence).

    Also check that it has all users who have a password in mailapi's database, and a mail address as name. The result
    is True if all is well, False for an error. If `repair` is set, commit or roll back changes that a crash left
    prepared.
    """
    with mailserver.store.transaction("DEFERRED"):
        mailserver.store.one(READ_COLUMNS)
    ended = mailserver.two_phase.resolve_in_doubt() if repair else 0
    with mailserver.store.transaction("DEFERRED"):
        left = len(mailserver.two_phase.in_doubt())
    yield (
        not left,
        f"mailserver: {left} changes in doubt" + (f", {ended} brought to an end" if repair else ""),
    )
    there = {row["user_name"] for row in mailserver.users(None)}
    yield True, f"mailserver: {len(there)} users"
    if missing := [
        name for name in mailserver.app.db.column(USERS_WITH_PASSWORD_AND_ADDRESS) if name not in there
    ]:
        yield False, f"mailserver: {len(missing)} users are only in `users`, such as {', '.join(missing[:3])}"
