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
    """With the accounts in each of the places that `apiserver` can name."""
    places = {
        "state database": lambda: "",
        "SQLite file": lambda: str(tmp_path / "api.db3"),
        "MariaDB": lambda: request.getfixturevalue("database").url,
    }
    return Site(tmp_path, extra=ACCOUNT, apiserver=places[request.param]())


def get_modules(site, user="bob", **fields) -> dict:
    return site("?get_modules", user=user, **fields)


def account_of(site, user="bob") -> dict:
    """A user's account, without a log-in that would make one of its own."""
    return next(iter(site.app.modules["accounts"].ledger.rows([user])), None)


def service_numbers(row: dict) -> list:
    return [row[column] for column in ACCOUNT_COLUMNS[-3:]]


def reconfigure(site, **config):
    """The same installation, configured anew."""
    site.app = mailapi.create_app(site.config | config)
    return site


def provisioning_lines(caplog) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "checkUserProvisioning" in record.getMessage()
    ]
