"""Copy a master or state database from a file to a server (mysql://…) or back; what was interrupted goes on."""

import sys
import time
from pathlib import Path

import mailapi
from mailapi import ConfigError, is_url, without_password

from ..commands.copy_sides import HIGHEST, LOWEST, File, Server, Side

SCHEMA = Path(__file__).with_name("schema9.sql")
AT_ONCE = 2000  # rows
BYTES_AT_ONCE = 8 * 1024 * 1024  # of mails, going by those before
PASSES = 5  # until nobody has changed the source meanwhile


def options(parser):
    parser.add_argument("source", metavar="FROM", help="a database: FILE or mysql://USER@HOST/DATABASE")
    parser.add_argument("target", metavar="TO", help="the same; it must be new or empty")
    parser.add_argument("--state", action="store_true", help="FROM and TO are state databases")


def run(args):
    """The rows of all tables, compared once more at the end; the schema's version is the last row of all, so that no
    API serves a copy that is not complete."""
    schema = (
        mailapi.create_app(args.config).state_schema if args.state else SCHEMA.read_text(encoding="utf-8")
    )
    source, target = (side(place, schema, args.state) for place in (args.source, args.target))
    with source.opened():
        source.refuse_unless_complete()
        if source.file:  # what it has, it has: also of generation 8, and what others added
            schema = source.schema()
        tables = tables_of(schema)
        if not source.file:
            refuse_to_forget(source, tables, args.state)
        if not (source.file and target.file):  # from file to file all columns come along
            source.refuse_other_columns(tables)
        if source.file and not target.file and (triggers := source.triggers()):
            print(f"left out, as SQLite's own: the triggers {', '.join(triggers)}", file=sys.stderr)
        with target.opened(make=True):
            target.prepare(schema, tables, without_password(args.source))
            copy(source, target, tables)
            for table in tables:
                if table.name == "meta":
                    bring_up(source, target, table)
            target.finish(tables, source)
    print(
        f"Copied {without_password(args.source)} to {without_password(args.target)}: every row was compared."
    )


def tables_of(schema: str) -> list:
    from ..mariadb import tables as serverschema

    with serverschema.model(schema) as model:
        return serverschema.tables(model)


def refuse_to_forget(source: Side, tables: list, state: bool):
    """A database on a server can hold both, and tables of modules that the config does not name."""
    known = {table.name for table in tables} | {"mailapi_turn"}
    if state:
        known |= {table.name for table in tables_of(SCHEMA.read_text(encoding="utf-8"))}
    others = [name for name in source.names() if name not in known]
    if others and state:
        raise ConfigError(
            f"No module of modulelist has the tables {', '.join(others)} of {without_password(source.place)}: "
            "they would be left out."
        )
    if others:
        print(f"left alone, as no part of a master database: {', '.join(others)}", file=sys.stderr)


def copy(source: Side, target: Side, tables: list):
    """Pass after pass, until one finds every row the same and the source unchanged since it began."""
    steady = []  # the source's version at the end of a pass in which it did not change
    for _ in range(PASSES):
        before = source.version()
        changed = [bring_up(source, target, table) for table in tables if table.name != "meta"]
        if source.version() != before:
            continue
        if not (different := next(filter(None, changed), None)):
            return
        if steady == [before]:  # what was different has been written since then
            raise ConfigError(
                f"{different}: {without_password(target.place)} does not keep it as it was written."
            )
        steady = [before]
    raise ConfigError(
        f"{without_password(source.place)} keeps changing: stop what writes to it, and start again."
    )


def bring_up(source: Side, target: Side, table) -> str:
    """Make a table of the target like the source's; the name of a row that was not, or ""."""
    first, seen, changed, different_one, progress = LOWEST, 0, 0, "", Progress(table.name)
    mails = next((number for number, column in enumerate(table.columns) if column.name == "mail_data"), None)
    size = AT_ONCE if mails is None else 1
    while True:
        wanted = dict(source.rows(table, first, size=size))
        highest = max(wanted) if len(wanted) == size else HIGHEST
        have = dict(target.rows(table, first, highest))
        different = {key: row for key, row in wanted.items() if have.get(key) != row}
        if gone := have.keys() - wanted.keys() | different.keys() & have.keys():
            target.delete(table, gone)
        if different:
            target.insert(table, different)
        target.commit()
        if others := different.keys() | have.keys() - wanted.keys():
            different_one = different_one or f"{table.name}, row {min(others)}"
        seen, changed = seen + len(wanted), changed + len(different) + len(have.keys() - wanted.keys())
        progress(seen, changed)
        if highest == HIGHEST:
            progress.end(seen, changed)
            return different_one
        first = highest + 1
        if mails is not None:
            held = sum(len(row[mails] or b"") for row in wanted.values())
            size = max(1, min(2 * size, BYTES_AT_ONCE * size // (held + 1), AT_ONCE))


class Progress:
    """How far a table is, once a second."""

    def __init__(self, name: str):
        self.name, self.last = name, time.monotonic()

    def __call__(self, seen: int, changed: int):
        if time.monotonic() - self.last > 1:
            self.end(seen, changed)

    def end(self, seen: int, changed: int):
        self.last = time.monotonic()
        if seen or changed:
            print(f"{self.name}: {seen:,} rows compared, {changed:,} written", file=sys.stderr, flush=True)


def side(place: str, schema: str, state: bool) -> Side:
    return Server(place, state, schema) if is_url(place) else File(place, state)
