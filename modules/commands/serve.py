"""Serve the API over HTTP, until SIGTERM."""

import argparse
import contextlib
import ctypes
import logging
import os
import re
import resource
import shlex
import signal
import socket
import sys

import mailapi

from ..http import header_line, poller, waitress_server, workers
from ..http.static_files import StaticFolders, url_and_folder, url_path
from ..mariadb.url import without_password
from ..state import log_file
from . import init

M_MMAP_THRESHOLD = -3  # in malloc.h
# Adjustments of waitress. A client, however slow, costs one open file, or two while a large body is spooled.
# The connections are those of all workers together; the threads are of each.
LIMITS = {
    "threads": 8,
    "connection_limit": 8000,
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
        "--workers",
        metavar="N",
        type=int,
        help="processes that answer requests (default: one for each core but one, from 1 to 4)",
    )
    parser.add_argument(
        "--mount",
        default="",
        metavar="PATH",
        type=url_path,
        help="the URL path at which a proxy forwards requests to the API",
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
        "--init", action="store_true", help="first create config and database if they are missing"
    )


def address(value: str) -> str:
    """Check that a value of the option --listen is HOST:PORT, and return it. Otherwise raise ArgumentTypeError."""
    host, _, port = value.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{value} is not HOST:PORT")
    return value


def run(args):
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    workers.handle_end_signals(lambda *_: sys.exit(0))  # until there is something to end
    password = make_database(args.config) if args.init else None
    app = mailapi.create_app(args.config)
    log_to_file(app.config)
    number = number_of_workers(app.config, args.workers)
    application = with_static_folders(app, args)
    header_line.install()
    sockets = listen(args.listen)
    print_hints(app, args, password, sockets[0])
    serve(application, app.config, sockets, number)


def print_hints(app: mailapi.Application, args, password: str | None, listening: socket.socket):
    """Print the server's URL and, with --init, examples of requests. `password` is a new administrator's, or None."""
    if not mailapi.is_url(app.config.dbpath) and not os.path.exists(app.config.dbpath):
        print(
            f"There is no {app.config.dbpath} yet: every request will be refused. `mailapi init` makes one."
        )
    if not poller.HAS_EPOLL:
        print("This system has no epoll: requests take longer while many connections are open.")
    host, port = socket.getnameinfo(listening.getsockname(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    origin = f"http://{host}:{port}"
    url = f"{origin}{args.mount}/"
    if args.init:
        program = shlex.join([*own_command(), "call", "--config", args.config])
        print((FIRST_HINTS if password else LATER_HINTS).format(url=url, password=password, program=program))
    if "panel" in app.mounts:
        print(f"The panel, for browsers, is at {url}panel/")
    for path, folder in args.static:
        print(f"The files of {folder} are at {origin}{path}/")
    print(f"Serving {without_password(app.config.dbpath)} on {url} (stop with Ctrl-C)", flush=True)


def log_to_file(config: mailapi.Config):
    """Write the log to the file in the setting log_file, if any. Open the file anew at each SIGHUP, for logrotate."""
    if not (handler := log_file.install(config)):
        return
    try:
        handler.check()
    except OSError as error:
        raise mailapi.ConfigError(
            f"log_file: {config.log_file} cannot be written: {error.strerror}."
        ) from None
    logging.getLogger().handlers[:] = [handler]
    signal.signal(signal.SIGHUP, lambda *_: handler.reopen())


def own_command() -> list[str]:
    """Return the words of a command line that runs this program again, such as ["/usr/bin/mailapi"].

    The list begins with the path of Python if the program's file is not executable.
    """
    program = sys.argv[0]
    return (
        [program] if os.path.dirname(program) and os.access(program, os.X_OK) else [sys.executable, program]
    )


def number_of_workers(config: mailapi.Config, wanted: int | None) -> int:
    """Return how many processes to start. `wanted` is the value of --workers; None means to choose a number.

    ConfigError if max_spooled (bytes in temporary files) is too small for a request of max_message bytes in each
    process.
    """
    most = config.max_spooled // max(1, config.max_message)
    if most < 1:
        raise mailapi.ConfigError("max_spooled must be at least max_message.")
    if wanted is None:
        return workers.usual_number(most)
    if wanted < 1:
        raise mailapi.ConfigError("--workers must be at least 1.")
    if wanted > most:
        raise mailapi.ConfigError(
            f"max_spooled must be at least {wanted} times max_message for {wanted} workers."
        )
    if wanted > 1 and not workers.can_fork():
        print("This system cannot fork processes: one answers all requests.")
        return 1
    return wanted


def with_static_folders(app: mailapi.Application, args) -> StaticFolders:
    """Return a WSGI application that serves the API and the folders of --static. ConfigError if one has secrets."""
    paths = [value for value in vars(app.config).values() if isinstance(value, str) and os.path.isabs(value)]
    return StaticFolders(app, args.mount, args.static, secrets=[args.config, *paths])


def listen(address: str) -> list[socket.socket]:
    """Return the sockets that listen on `address`, such as "127.0.0.1:8080". ConfigError if that is impossible."""
    try:
        return waitress_server.listen(address)
    except OSError as error:
        raise mailapi.ConfigError(
            f"Cannot listen on {address}: {error.strerror}; choose another with --listen."
        ) from None


def serve(application, config: mailapi.Config, sockets: list[socket.socket], number: int):
    """Answer requests in `number` processes, until SIGTERM. ConfigError if the version of waitress is unsuitable."""
    waitress_server.refuse_other_waitress()
    limits = LIMITS | {"connection_limit": allow_connections(LIMITS["connection_limit"] // number)}
    return_freed_memory()

    def work(lifeline: int | None = None):
        server = waitress_server.create_server(
            application,
            sockets,
            config.max_spooled // number,
            config.max_message,
            lifeline=lifeline,
            ident=None,
            **limits,
        )
        workers.handle_end_signals(lambda *_: server.stop())
        server.run()

    if number == 1:
        work()
    else:
        workers.Workers(number, work).run()


def allow_connections(number: int) -> int:
    """Raise the limit of open files for `number` connections. Return how many connections the limit permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 2 * number + 200 if hard == resource.RLIM_INFINITY else min(2 * number + 200, hard)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(100, (files - 200) // 2)


def return_freed_memory():
    """Make glibc return large blocks of freed memory to the system, rather than keep them for later use."""
    with contextlib.suppress(OSError, AttributeError):  # without glibc
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def make_database(config: str) -> str | None:
    """Create config.py and the master database if they are missing. `config` is the path of config.py.

    Return the password of the new administrator, or None if there is a database already.
    """
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
In another terminal, to list the users and to add one who can log in:

  curl -su 'admin:{password}' '{url}users/get'
  curl -su 'admin:{password}' '{url}users/add' --json '{{"user_name": "ann", "user_authdata": "ann-s-password"}}'
"""
LATER_HINTS = """
In another terminal, here: list the users, with the password of admin or without it, and set a new one where it is forgotten:

  curl -u admin '{url}users/get'
  {program} users get
  {program} users set_password user_name=admin user_authdata
"""
