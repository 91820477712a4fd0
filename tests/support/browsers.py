"""Browsers in this process: they log in, keep their session and ask."""

import json

NO_USER_NAME, NO_PASSWORD, WRONG_CREDENTIALS = (
    "Username is not set!",
    "Password is not set!",
    "Username or password is wrong.",
)
LOGGED_OUT, STATE_UNUSABLE = "Successfully logged out.", r"The state database cannot be used: .+\."


def post(browser, url="?get_modules", headers=None, status=200, **fields):
    """Post fields as JSON and return the response."""
    return browser.post("/" + url, json.dumps(fields).encode(), headers=headers, status=status)


def ask(browser, url="?get_modules", **fields) -> dict:
    """Post fields as JSON and return the decoded answer."""
    return post(browser, url, **fields).json


def credentials(user="bob", password="pw") -> dict:
    """Return what the field `auth` has of a user."""
    return {"user_name": user, "password": password}


def log_in(site, user="bob", password="pw", **environ):
    """Return a browser in which the user is logged in."""
    browser = site.browser(**environ)
    assert ask(browser, auth=credentials(user, password))["login"] is True
    return browser


def session_of(browser) -> str:
    """Return the session id in a browser's cookie."""
    return browser.cookies["PHPSESSID"]


def browser_with_session(site, session_id: str):
    """Return a client that always sends this session id, whatever cookie it is given."""
    return site.browser(HTTP_COOKIE=f"other=1; PHPSESSID={session_id}")


def is_logged_in(browser) -> bool:
    """Tell whether a browser has a session that is valid."""
    return ask(browser)["login"]


def spoil_state_database(path, how: str):
    """Put a folder, garbage or nothing in place of the state database; the test may delete it again."""
    for file in path.parent.glob(path.name + "*"):
        file.unlink()
    path.mkdir() if how == "a folder" else path.write_bytes(b"garbage" * 1000 if how == "garbage" else b"")
