"""Runs mailapi as a CGI program, which a web server starts for each request."""

import os
from pathlib import Path
from wsgiref.handlers import CGIHandler

import mailapi


def run():
    """Answer the request that the environment variables describe.

    The config is the file in the variable MAILAPI_CONFIG, or else config.py beside mailapi.pyz.
    """
    # The command line is ignored: web servers pass a URL's query without "=" as arguments, and any client can choose
    # the query (RFC 3875 section 4.4).
    if "MAILAPI_CONFIG" not in os.environ and is_public(mailapi.HERE):
        CGIHandler().run(refuse)
    else:
        os.environ.setdefault("MAILAPI_CONFIG", str(mailapi.HERE.with_name("config.py")))
        CGIHandler().run(mailapi.application)


def is_public(file: Path) -> bool:
    """Return whether a file is below the document root of the web server, where anybody may download it."""
    root = os.environ.get("DOCUMENT_ROOT", "")
    return root != "" and Path(root).resolve() in file.parents


def refuse(environ, start_response):
    """Answer any request with HTTP 500, because mailapi.pyz is in a public folder. This is a WSGI application."""
    mailapi.log.error(
        "%s is below the document root, where everybody could read a config.py beside it: MAILAPI_CONFIG must name one.",
        mailapi.HERE,
    )
    return mailapi.answer_500(start_response, mailapi.NOT_CONFIGURED)
