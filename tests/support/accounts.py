"""Sites with the module Account, and what they have of a user."""

import pytest

import mailapi
from support.site import OPTIONAL, Site

ACCOUNT = {"Account": OPTIONAL["Account"]}
WRONG_CREDENTIALS, NOT_ALLOWED, ACCOUNT_NOT_FOUND = (
    "Username or password is wrong.",
    "Not allowed.",
    "Account not found.",
)
ACCOUNT_COLUMNS = [
    "idAccount",
    "idUsers",
    "Name",
    "IsPrimary",
    "Active",
    "idMailAccount",
    "idContactAccount",
    "idCalendarAccount",
]


@pytest.fixture(params=["state database", "SQLite file", "MariaDB"])
def site_with_accounts(request, tmp_path) -> Site:
    """A site whose accounts are in each of the places that `apiserver` can name, one after the other."""
    places = {
        "state database": lambda: "",
        "SQLite file": lambda: str(tmp_path / "api.db3"),
        "MariaDB": lambda: request.getfixturevalue("database").url,
    }
    return Site(tmp_path, extra=ACCOUNT, apiserver=places[request.param]())


def get_modules(site, user="bob", **fields) -> dict:
    """Log in and ask for the modules; return the answer."""
    return site("?get_modules", user=user, **fields)


def account_of(site, user="bob") -> dict:
    """Return a user's account, or None, without a log-in, which would make one."""
    return next(iter(site.app.modules["accounts"].ledger.rows([user])), None)


def service_numbers(row: dict) -> list:
    """Return an account's numbers of its mail, contacts and calendar."""
    return [row[column] for column in ACCOUNT_COLUMNS[-3:]]


def reconfigure(site, **config):
    """Restart the API of a site with other settings; return the site."""
    site.app = mailapi.create_app(site.config | config)
    return site


def provisioning_lines(caplog) -> list[str]:
    """Return the lines of the log about accounts that were made."""
    return [
        record.getMessage() for record in caplog.records if "checkUserProvisioning" in record.getMessage()
    ]
