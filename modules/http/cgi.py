"""CGI: answer the one request that the environment describes, when a web server runs mailapi.pyz."""

import os
from pathlib import Path
from wsgiref.handlers import CGIHandler

import mailapi


def run():
    """Answer the request with the config that MAILAPI_CONFIG names, or else with the config.py beside mailapi.pyz.

    The command line is ignored: web servers pass a query without "=" as arguments, so that any client chooses them (RFC
    3875 section 4.4).
    """
    if "MAILAPI_CONFIG" not in os.environ and is_public(mailapi.HERE):
        CGIHandler().run(refuse)
    else:
        os.environ.setdefault("MAILAPI_CONFIG", str(mailapi.HERE.with_name("config.py")))
        CGIHandler().run(mailapi.application)


def is_public(file: Path) -> bool:
    """Return whether a file is below the web server's document root: anybody could download a config.py beside it."""
    root = os.environ.get("DOCUMENT_ROOT", "")
    return root != "" and Path(root).resolve() in file.parents


def refuse(environ, start_response):
    """Answer HTTP 500 as if there were no config: mailapi.pyz is in the web space, and MAILAPI_CONFIG is not set."""
    mailapi.log.error(
        "%s is in the web space, where everybody could read a config.py beside it: MAILAPI_CONFIG must name one.",
        mailapi.HERE,
    )
    start_response("500 Internal Server Error", [("Content-Type", "application/json")])
    return [mailapi.encode({"status": "mailapi is not configured. The log has the cause."})]
