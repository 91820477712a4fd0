"""Serve the API over HTTP with waitress, until SIGTERM."""

import argparse
import contextlib
import ctypes
import logging
import os
import re
import resource
import shlex
import signal
import sys

import mailapi

from ..http import header_line, waitress_server
from ..http.static_files import StaticFolders, url_and_folder, url_path
from . import init

M_MMAP_THRESHOLD = -3  # in malloc.h
# Adjustments of waitress. A client, however slow, costs one open file, or two while a large body is spooled.
LIMITS = {
    "threads": 8,
    "connection_limit": 8000,
    "asyncore_use_poll": True,
    "channel_timeout": 30,
    "cleanup_interval": 5,
    "max_request_header_size": 32 * 1024,
    "clear_untrusted_proxy_headers": False,  # the app itself checks trusted_proxies
}


def options(parser):
    parser.add_argument(
        "--listen",
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        type=address,
        help="where to listen (default: %(default)s); port 0 takes a free one",
    )
    parser.add_argument(
        "--mount",
        default="",
        metavar="PATH",
        type=url_path,
        help="the URL path under which a proxy passes it on",
    )
    parser.add_argument(
        "--static",
        default=[],
        metavar="/PATH=FOLDER",
        type=url_and_folder,
        action="append",
        help="also serve a folder of static files, such as a web client, at that URL path; repeatable",
    )
    parser.add_argument(
        "--init", action="store_true", help="first create config and database where there are none"
    )


def address(value: str) -> str:
    """Check the option --listen, HOST:PORT, and return it."""
    host, _, port = value.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{value} is not HOST:PORT")
    return value


def run(args):
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of every queued request
    password = make_database(args.config) if args.init else None
    app = mailapi.create_app(args.config)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # waitress then finishes the requests that it has
    server = make_server(app, args)
    if not mailapi.is_url(app.config.dbpath) and not os.path.exists(app.config.dbpath):
        print(
            f"There is no {app.config.dbpath} yet: every request will be refused. `mailapi init` makes one."
        )
    origin = f"http://{server.effective_host}:{server.effective_port}"
    url = f"{origin}{args.mount}/"
    if args.init:
        program = shlex.join([*own_command(), "call", "--config", args.config])
        print((FIRST_HINTS if password else LATER_HINTS).format(url=url, password=password, program=program))
    if "panel" in app.mounts:
        print(f"The panel, for browsers, is at {url}panel/")
    for path, folder in args.static:
        print(f"The files of {folder} are at {origin}{path}/")
    print(f"Serving {mailapi.without_password(app.config.dbpath)} on {url} (stop with Ctrl-C)", flush=True)
    server.run()


def own_command() -> list[str]:
    """Return the words that start this program again; the first is Python if the file is not executable."""
    program = sys.argv[0]
    return (
        [program] if os.path.dirname(program) and os.access(program, os.X_OK) else [sys.executable, program]
    )


def make_server(app: mailapi.Application, args) -> waitress_server.Server:
    """Return a server that listens. ConfigError if it cannot, or a folder in --static contains secrets."""
    paths = [value for value in vars(app.config).values() if isinstance(value, str) and os.path.isabs(value)]
    application = StaticFolders(app, args.mount, args.static, secrets=[args.config, *paths])
    limits = LIMITS | {"connection_limit": allow_connections(LIMITS["connection_limit"])}
    return_freed_memory()
    header_line.install()
    try:
        return waitress_server.create_server(
            application, args.listen, app.config.max_spooled, app.config.max_message, ident=None, **limits
        )
    except OSError as error:
        raise mailapi.ConfigError(
            f"Cannot listen on {args.listen}: {error.strerror}; choose another with --listen."
        ) from None


def allow_connections(number: int) -> int:
    """Raise the limit of open files for `number` connections and 200 other files. Return the possible connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * number + 200 if hard == resource.RLIM_INFINITY else min(2 * number + 200, hard)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(100, (files - 200) // 2)


def return_freed_memory():
    """Have glibc return large freed blocks to the system. Otherwise each thread would keep those of large mails."""
    with contextlib.suppress(OSError, AttributeError):  # without glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def make_database(config: str) -> str | None:
    """Create config.py and the master database if missing. Return the new administrator's password, or None."""
    init.write_config(config)
    dbpath = mailapi.read_config(config).dbpath
    if mailapi.is_url(dbpath) or os.path.exists(dbpath):
        return None
    password = init.random_password()
    init.create(dbpath, "admin", password)
    print(
        f"\nA new database with the administrator admin, whose password is shown only now: {password}",
        flush=True,
    )
    return password


FIRST_HINTS = """
In another terminal:

  curl -s '{url}users/?get' -d '{{"auth": {{"user_name": "admin", "password": "{password}"}}}}'
  curl -s '{url}users/?add' -d '{{"user_name": "ann", "auth": {{"user_name": "admin", "password": "{password}"}}}}'
"""
LATER_HINTS = """
In another terminal, here (a forgotten password is set anew by the last line):

  curl -s '{url}?login'
  {program} users get
  {program} users set_password user_name=admin user_authdata=-
"""
