"""Users' settings, such as a forward, in the mail server's database, or without one in the users' Sieve scripts."""

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
    """Reads and changes users' settings: forward and automatic reply.

    With the setting `mailserver` in config.py, also the user's quota and userStatus (0 if they may log in).
    """

    def __init__(self, app, mailserver: MailServer | None, filters):
        self.app, self.in_scripts = app, None
        self.in_database = MailServerSettings(mailserver) if mailserver else None
        if filters and not mailserver:
            from .sieve_settings import SieveSettings

            self.in_scripts = SieveSettings(filters)

    def uses_script(self, call) -> bool:
        """Return whether the request is about the settings of a user, and they are in the user's Sieve script."""
        return bool(self.in_scripts and call.body.get("user_name"))

    def add_to(self, accounts: list[dict], call) -> list[dict]:
        """Add the settings of the user whom the request names to the dictionaries in `accounts`, and return these.

        For example, [{"Name": "bob", "idAccount": 7, …}] becomes [{"Name": "bob", "idAccount": 7, "forward": None,
        …}]. If `accounts` is empty, it becomes [{"Name": "bob", "idAccount": None, "forward": None, …}]. If the
        request names no user, or the user has no settings, return `accounts` unchanged.
        """
        named = call.body.get("user_name")
        settings = self.of(call, named) if named else None
        if settings is None:
            return accounts
        return [
            with_settings(account, settings) for account in accounts or [NOT_PROVISIONED | {"Name": named}]
        ]

    def of(self, call, user_name: str) -> dict | None:
        """Return a user's settings, {"forward": None, …}, from the mail server's database or the user's Sieve script.

        Return None if the user is unknown, or if neither that database nor a server for scripts is configured.
        """
        if self.in_database:
            return self.in_database.of(user_name)
        if not self.in_scripts or not self.is_user(user_name):
            return None
        self.app.release()
        return self.in_scripts.of(user_name, password_of(call, user_name))

    def update(self, call, user_name: str, changes: dict, addresses: list[str]):
        """Change settings of a user, such as {"forward": "me@example.org"}. ApiError if the user is unknown.

        They are in the mail server's database or in the user's Sieve script. ApiError, too, if neither is configured.
        The automatic reply answers only mail to `addresses`, the user's own addresses.
        """
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
        """Set the last log-in of the user `account_id` (accountId) to now, if there is a mail server's database."""
        if self.in_database:
            self.in_database.record_log_in(account_id)

    def is_user(self, user_name: str) -> bool:
        """Return whether the table `users` has a person, not a device, of this name."""
        is_known = bool(self.app.db.read(CREDENTIALS_OF, user=user_name))
        return is_known and not devices.is_device(self.app.db, user_name)


def password_of(call, user_name: str) -> str | None:
    """Return the password that the caller has logged in with if the caller is `user_name`, else None.

    It is also None if the request has a session or a token in place of a password.
    """
    return call.password if call.user_name == user_name else None


def with_settings(account: dict, settings: dict) -> dict:
    """Return an account with the settings of a user added before its key "services", which comes last in answers."""
    services = account["services"]
    return (
        {name: value for name, value in account.items() if name != "services"}
        | settings
        | {"services": services}
    )
