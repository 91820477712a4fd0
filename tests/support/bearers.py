"""Scripts that log in with a token."""

import json

INVALID, NOT_FOUND, NOBODY = "Token is not valid.", "Token not found.", "Username is not set!"


def make(site, user="bob", token_name="backup", **fields) -> str:
    """A new token of user's; its secret."""
    answer = site("tokens/?add", user=user, token_name=token_name, **fields)
    assert answer["status"] == "ok", answer
    return answer["token"]


def send(site, token, url="?get_modules", scheme="Bearer ", fields=None, **environ):
    return site.browser(HTTP_AUTHORIZATION=scheme + token, **environ).post(
        "/" + url, json.dumps(fields or {}).encode()
    )


def use(site, token, url="?get_modules", scheme="Bearer ", fields=None, **environ) -> dict:
    return send(site, token, url, scheme, fields, **environ).json


def works(site, token, **environ) -> bool:
    answer = use(site, token, **environ)
    assert answer["status"] == ("ok" if answer["login"] else INVALID)
    return answer["login"]


def ids(site, user) -> list[int]:
    return [row["token_id"] for row in site("tokens/?get", user=user)["tokens"]]
