"""The panel's page about the user's mail filters: an automatic reply while away, and Sieve scripts."""

import re

from mailapi import ApiError

from .visitor import Visitor

AWAY = "away"  # the name of the script that the form writes
# Written by `away_script` and read again: a subject and a text as quoted strings (RFC 5228 section 2.4.2).
SCRIPT = 'require ["vacation"];\n# The panel writes this script. Its form replaces all of it.\nvacation :days 7 :subject {} {};\n'
WRITTEN = re.compile(r'vacation :days 7 :subject "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)";\s*\Z', re.DOTALL)

EXAMPLE = ' require "fileinto"; if address "from" "bob@example.org" { fileinto "Bob"; }'  # after the text script_hint


def has_filters(visitor: Visitor) -> bool:
    """Return whether this installation has a ManageSieve server."""
    return visitor.has("services", "sieve_list") and "managesieve" in visitor.app.config.services


def filters(visitor: Visitor) -> dict:
    """Return the template's values for the page of Sieve scripts: {"scripts": [{…}, …], "away": (subject, text), …}.

    `away` is the automatic reply.
    """
    scripts = visitor.run("services", "sieve_list")["scripts"]
    names = [row["script_name"] for row in scripts]
    edited = visitor.query("script_name")
    if edited and edited not in names:
        raise ApiError(visitor.t.no_such_script, http=404)
    away = read_script(visitor, AWAY) if AWAY in names else ""
    return {
        "scripts": scripts,
        "edited": edited,
        "example": EXAMPLE,
        "script": read_script(visitor, edited) if edited else "",
        "away": away_values(away),
        "is_away": any(row["active"] and row["script_name"] == AWAY for row in scripts),
        "other_active": any(row["active"] and row["script_name"] != AWAY for row in scripts),
    }


def read_script(visitor: Visitor, name: str) -> str:
    return visitor.run("services", "sieve_get", {"script_name": name})["script"]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def away_values(script: str) -> tuple[str, str]:
    """Return (subject, text) of the automatic reply in `script`.

    Return ("", "") for a script that `set_away` has not written.
    """
    found = WRITTEN.search(script.replace("\r\n", "\n"))
    return (re.sub(r"\\(.)", r"\1", found[1]), re.sub(r"\\(.)", r"\1", found[2])) if found else ("", "")


def set_away(visitor: Visitor) -> tuple[str, str]:
    """Store and activate a script that replies to mail with the form's subject and text.

    Return the page to redirect to, and the name of the message on it: ("filters", "away_on").
    """
    subject, text = visitor.form("subject").replace("\n", " "), visitor.form("text").replace("\r\n", "\n")
    if not text:
        raise ApiError(visitor.t.away_text_missing)
    script = SCRIPT.format(quoted(subject or visitor.t.away_subject), quoted(text))
    visitor.run("services", "sieve_put", {"script_name": AWAY, "script": script})
    visitor.run("services", "sieve_activate", {"script_name": AWAY})
    return "filters", "away_on"


def change_script(visitor: Visitor) -> tuple[str, str]:
    """Activate, deactivate or delete the filter script that the form names.

    Return the page to redirect to, and the name of the message on it: ("filters", "script_delete").
    """
    change, name = visitor.form("change"), visitor.form.exactly("script_name")
    if change not in ("activate", "deactivate", "delete"):
        raise ApiError(visitor.t.no_such_page, http=404)
    visitor.run("services", f"sieve_{change}", {"script_name": name} if change != "deactivate" else {})
    return "filters", f"script_{change}"
