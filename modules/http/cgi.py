"""CGI: answer the one request that the environment describes. mailapi.pyz does so where a web server runs it."""

import os
from pathlib import Path
from wsgiref.handlers import CGIHandler

import mailapi


def run():
    """Answer with the config that MAILAPI_CONFIG names, else with the config.py beside mailapi.pyz.

    Arguments are ignored: web servers make them of a query without "=", so any client chooses them (RFC 3875 4.4).
    """
    if "MAILAPI_CONFIG" not in os.environ and is_public(mailapi.HERE):
        CGIHandler().run(refuse)
    else:
        os.environ.setdefault("MAILAPI_CONFIG", str(mailapi.HERE.with_name("config.py")))
        CGIHandler().run(mailapi.application)


def is_public(file: Path) -> bool:
    """Check whether a file is below the web server's document root, and a config.py beside it could be downloaded."""
    root = os.environ.get("DOCUMENT_ROOT", "")
    return root != "" and Path(root).resolve() in file.parents


def refuse(environ, start_response):
    """Answer as mailapi does without a config."""
    mailapi.log.error(
        "%s is in the web space, where everybody could read a config.py beside it: MAILAPI_CONFIG must name one.",
        mailapi.HERE,
    )
    start_response("500 Internal Server Error", [("Content-Type", "application/json")])
    return [mailapi.encode({"status": "mailapi is not configured. The log has the cause."})]
