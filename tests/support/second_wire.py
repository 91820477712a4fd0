"""A client of the second wire (docs/wire.md section 9)."""

import base64
import json
import urllib.parse


def basic(user: str, password: str = "pw") -> dict[str, str]:
    """Return the header of HTTP Basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token}


def send(site, url: str, user: str | None = "root", method="POST", headers={}, browser=None, **fields):
    """Send a request by HTTP Basic, fields in the body or, for GET, in the query; return the response."""
    headers = (basic(user) if user else {}) | headers
    browser = browser or site.browser()
    if method != "POST":
        query = "?" + urllib.parse.urlencode(fields, doseq=True) if fields else ""
        return browser.request(f"/{url}{query}", method=method, headers=headers, expect_errors=True)
    return post_bytes(site, url, json.dumps(fields).encode(), headers, browser)


def post_bytes(site, url: str, body: bytes, headers={}, browser=None):
    """Post a body as JSON, unless the headers say otherwise; return the response."""
    headers = {"Content-Type": "application/json"} | headers
    return (browser or site.browser()).post("/" + url, body, headers=headers, expect_errors=True)


def outcome(response) -> tuple:
    """Return the HTTP status, the code, the field and the sentence of an answer."""
    answer = response.json
    return response.status_int, answer["code"], answer.get("field"), answer["status"]
