"""The settings of users, which are in the mail server's database, or else in the users' filter scripts."""

from mailapi import CREDENTIALS_OF, ApiError

from ..directory import devices
from .account_settings import MailServerSettings
from .mailserver import MailServer

NOT_PROVISIONED: dict = {
    "idAccount": None,
    "idUsers": None,
    "Name": None,
    "IsPrimary": None,
    "Active": None,
    "idMailAccount": None,
    "idContactAccount": None,
    "idCalendarAccount": None,
    "services": [],
}


class UserSettings:
    """The settings of users: forward and automatic reply; with a mail server also quota and userStatus."""

    def __init__(self, app, mailserver: MailServer | None, filters):
        self.app, self.in_scripts = app, None
        self.in_database = MailServerSettings(mailserver) if mailserver else None
        if filters and not mailserver:
            from .sieve_settings import SieveSettings

            self.in_scripts = SieveSettings(filters)

    def add_to(self, accounts: list[dict], call) -> list[dict]:
        """Return `accounts`, with the settings of the user if the request's user_name is given.

        Such a user may have no account yet. Lists of all users have no settings: each filter script would have to be
        read from its server.
        """
        named = call.body.get("user_name")
        settings = self.of(call, named) if named else None
        if settings is None:
            return accounts
        return [
            with_settings(account, settings) for account in accounts or [NOT_PROVISIONED | {"Name": named}]
        ]

    def of(self, call, user_name: str) -> dict | None:
        """Return the settings of a user, such as {"forward": None, …}. None if there is no such user."""
        if self.in_database:
            return self.in_database.of(user_name)
        if not self.in_scripts or not self.is_user(user_name):
            return None
        self.app.release()
        return self.in_scripts.of(user_name, password_of(call, user_name))

    def update(self, call, user_name: str, changes: dict, addresses: list[str]):
        """Change settings of a user. `addresses` are the user's own, to which an automatic reply replies."""
        if self.in_database:
            self.in_database.update(user_name, changes)
        elif not self.in_scripts:
            raise ApiError(
                "Neither a mailserver nor the managesieve service is configured.", code="unavailable"
            )
        elif not self.is_user(user_name):
            raise ApiError("There is no such user.", code="not_found", field="user_name")
        else:
            self.app.release()
            self.in_scripts.update(user_name, password_of(call, user_name), changes, addresses)

    def record_log_in(self, account_id: int):
        """Set the time of a user's last log-in in the mail server's database. Without a mail server, do nothing."""
        if self.in_database:
            self.in_database.record_log_in(account_id)

    def is_user(self, user_name: str) -> bool:
        """Return whether `users` has a user of this name who is a person and not a device."""
        is_known = bool(self.app.db.read(CREDENTIALS_OF, user=user_name))
        return is_known and not devices.is_device(self.app.db, user_name)


def password_of(call, user_name: str) -> str | None:
    """Return the request's password if the caller is the user `user_name`, else None.

    Servers without master credentials need it.
    """
    return call.password if call.user_name == user_name else None


def with_settings(account: dict, settings: dict) -> dict:
    """Return an account with a user's settings added, in front of its key `services`."""
    services = account["services"]
    return (
        {name: value for name, value in account.items() if name != "services"}
        | settings
        | {"services": services}
    )
