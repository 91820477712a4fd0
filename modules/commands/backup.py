"""Copy the master database while everything runs; the copy is consistent."""

import contextlib
import os
import sqlite3
import sys
from pathlib import Path

import mailapi

PAGES = 1000  # copied at a time; in between the mail daemons may write, after which SQLite starts again
RESTARTS = 3  # after so many, all at once: writers wait that long


def options(parser):
    parser.add_argument("file", metavar="FILE", help="where the copy goes; an existing file is not touched")


def run(args):
    dbpath, target = mailapi.read_config(args.config).dbpath, Path(args.file)
    if mailapi.is_url(dbpath):
        raise mailapi.ConfigError(
            "A database on a server is copied by `mailapi copy`, or by the server's own tools "
            "(mariadb-dump --single-transaction)."
        )
    source = Path(dbpath)
    if not source.exists():
        raise mailapi.ConfigError(f"There is no {source}.")
    if target.exists():
        raise mailapi.ConfigError(f"{target} exists; it was not touched.")
    part = target.with_name(target.name + ".part")
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    mailapi.chown_like(handle, target.parent)
    os.close(handle)
    try:
        copy(source, part)
        os.link(part, target)  # never over a file that came meanwhile
    except (sqlite3.Error, OSError) as error:
        raise mailapi.ConfigError(f"Not copied: {error}.") from error
    finally:
        part.unlink()
    print(f"Copied {source} to {target}.")


def copy(source: Path, target: Path):
    uri = f"{source.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(uri, uri=True)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        try:
            old.backup(new, pages=PAGES, progress=Progress(), sleep=0.01)
        except TooManyRestarts:
            old.backup(new)
        answer = new.execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {answer}")


class TooManyRestarts(Exception):
    """Writers were faster than the copy."""


class Progress:
    """Shown on a terminal; counts how often the copy had to start again."""

    def __init__(self):
        self.least, self.restarts = None, 0

    def __call__(self, status, left: int, total: int):
        if self.least is not None and left > self.least:
            self.restarts += 1
        self.least = left
        if self.restarts > RESTARTS:
            raise TooManyRestarts
        if sys.stderr.isatty():
            print(
                f"\r{total - left:,} of {total:,} pages",
                end="" if left else "\n",
                file=sys.stderr,
                flush=True,
            )
