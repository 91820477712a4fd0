"""Scripts that log in with a token."""

import json

INVALID_TOKEN, TOKEN_NOT_FOUND, NO_USER_NAME = (
    "Token is not valid.",
    "Token not found.",
    "Username is not set!",
)


def make_token(site, user="bob", token_name="backup", **fields) -> str:
    """Make a token of a user and return its secret."""
    answer = site("tokens/?add", user=user, token_name=token_name, **fields)
    assert answer["status"] == "ok", answer
    return answer["token"]


def send_with_token(site, token, url="?get_modules", scheme="Bearer ", fields=None, **environ):
    """Post a request with a token and return the response."""
    return site.browser(HTTP_AUTHORIZATION=scheme + token, **environ).post(
        "/" + url, json.dumps(fields or {}).encode()
    )


def ask_with_token(site, token, url="?get_modules", scheme="Bearer ", fields=None, **environ) -> dict:
    """Post a request with a token and return the decoded answer."""
    return send_with_token(site, token, url, scheme, fields, **environ).json


def token_works(site, token, **environ) -> bool:
    """Tell whether a token logs in; check the status of the answer."""
    answer = ask_with_token(site, token, **environ)
    assert answer["status"] == ("ok" if answer["login"] else INVALID_TOKEN)
    return answer["login"]


def token_ids(site, user) -> list[int]:
    """Return the ids of a user's tokens."""
    return [row["token_id"] for row in site("tokens/?get", user=user)["tokens"]]
