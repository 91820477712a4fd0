"""Copy a master or state database from a file to a server (mysql://…) or back. Run it again if it was interrupted."""

import sys

import mailapi
from mailapi import ConfigError, is_url

from .copy_database import HIGHEST_KEY, LOWEST_KEY, Database
from .copy_mariadb import ServerDatabase
from .copy_sqlite import SqliteFile
from .package_files import read_schema
from .progress import RowCounts

ROWS_AT_ONCE = 2000
BYTES_AT_ONCE = 8 * 1024 * 1024  # of mails, estimated from the size of the last ones read
MOST_PASSES = 5


def options(parser):
    parser.add_argument("source", metavar="FROM", help="a database: FILE or mysql://USER@HOST/DATABASE")
    parser.add_argument("target", metavar="TO", help="a new or empty database, in the same form")
    parser.add_argument("--state", action="store_true", help="FROM and TO are state databases")


def run(args):
    """Copy all tables from the database args.source to the database args.target. Repeat that until both are equal.

    The schema version is written last, so that nobody uses an incomplete copy.
    """
    schema = mailapi.create_app(args.config).state_schema if args.state else read_schema()
    source, target = (open_database(where, schema, args.state) for where in (args.source, args.target))
    with source.opened():
        source.refuse_unless_complete()
        if isinstance(source, SqliteFile):
            schema = source.schema()  # perhaps generation 8's, or with tables that others added
        tables = tables_of(schema)
        check_source(source, target, tables, args.state)
        with target.opened(make=True):
            target.prepare(schema, tables, source.label)
            copy(source, target, tables)
            for table in tables:
                if table.name == "meta":
                    update_table(source, target, table)
            target.finish(tables, source)
    print(f"Copied {source.label} to {target.label}: every row was compared.")


def open_database(location: str, schema: str, is_state: bool) -> Database:
    """Return an object for the database at a path or mysql:// URL. The database is not opened yet.

    `schema` is the SQL that creates its tables. `is_state` is True for a state database (sessions, tokens, …), False
    for a master database (users, mails, …).
    """
    if is_url(location):
        return ServerDatabase(location, is_state, schema)
    return SqliteFile(location, is_state)


def tables_of(schema: str) -> list:
    """Return the tables that the SQL statements `schema` create, as a list of mariadb.tables.Table."""
    from ..mariadb import tables as server_tables

    with server_tables.model(schema) as model:
        return server_tables.tables(model)


def check_source(source: Database, target: Database, tables: list, is_state: bool):
    """Check, before `mailapi copy` writes anything, that the copy will have all that the source has.

    ConfigError if it would lack a column, or a table of a state database (`is_state` is True). If it would lack a
    trigger, or a table that is no part of a master database, only print a note.
    """
    if isinstance(source, ServerDatabase):
        refuse_other_tables(source, tables, is_state)
    if not (source.is_file and target.is_file):  # a file's schema has all columns of a file
        source.refuse_other_columns(tables)
    if isinstance(source, SqliteFile) and not target.is_file and (triggers := source.triggers()):
        print(f"left out, as SQLite's own: the triggers {', '.join(triggers)}", file=sys.stderr)


def refuse_other_tables(source: ServerDatabase, tables: list, is_state: bool):
    """Raise ConfigError if a state database has tables of no module in modulelist, which would not be copied.

    If the source is a master database, only print the names of tables that would not be copied.
    """
    copied = {table.name for table in tables} | {"mailapi_turn"}
    if is_state:
        copied |= {table.name for table in tables_of(read_schema())}
    others = [name for name in source.table_names() if name not in copied]
    if others and is_state:
        raise ConfigError(
            f"No module of modulelist has the tables {', '.join(others)} of {source.label}: "
            "they would be left out."
        )
    if others:
        print(f"left alone, as no part of a master database: {', '.join(others)}", file=sys.stderr)


def copy(source: Database, target: Database, tables: list):
    """Copy rows of all tables except `meta` until source and target are the same.

    ConfigError if the target stores a row differently, or if the source is still changing after MOST_PASSES passes.
    """
    unchanged_since: list[
        int | None
    ] = []  # the source's version at the end of a pass in which it did not change
    for _ in range(MOST_PASSES):
        before = source.version()
        differences = [update_table(source, target, table) for table in tables if table.name != "meta"]
        if source.version() != before:
            continue
        if not (difference := next(filter(None, differences), None)):
            return
        if unchanged_since == [before]:  # the pass before wrote that row
            raise ConfigError(f"{difference}: {target.label} does not keep it as it was written.")
        unchanged_since = [before]
    raise ConfigError(f"{source.label} keeps changing: stop what writes to it, and start again.")


def update_table(source: Database, target: Database, table) -> str:
    """Copy the rows of a table that differ. Return the first of them, such as "users, row 7"; "" if none differ."""
    first, compared, changed, difference, progress = LOWEST_KEY, 0, 0, "", RowCounts(table.name)
    mails = next((index for index, column in enumerate(table.columns) if column.name == "mail_data"), None)
    size = ROWS_AT_ONCE if mails is None else 1
    while True:
        rows = dict(source.rows(table, first, size=size))
        last = max(rows) if len(rows) == size else HIGHEST_KEY
        if keys := update_rows(target, table, rows, dict(target.rows(table, first, last))):
            difference = difference or f"{table.name}, row {min(keys)}"
        compared, changed = compared + len(rows), changed + len(keys)
        progress(compared, changed)
        if last == HIGHEST_KEY:
            progress.write(compared, changed)
            return difference
        first = last + 1
        if mails is not None:
            size = next_size(size, sum(len(row[mails] or b"") for row in rows.values()))


def update_rows(target: Database, table, wanted: dict, present: dict) -> set[int]:
    """Replace, insert and delete rows in a table of `target` to make it equal to the source. Return their keys.

    `wanted` has the source's rows and `present` the target's, as {key: row}, in the same range of keys.
    """
    different = {key: row for key, row in wanted.items() if present.get(key) != row}
    surplus = present.keys() - wanted.keys()
    if outdated := surplus | different.keys() & present.keys():
        target.delete(table, outdated)
    if different:
        target.insert(table, different)
    target.commit()
    return different.keys() | surplus


def next_size(size: int, read: int) -> int:
    """Return how many mails to read in the next batch, so that it probably has at most BYTES_AT_ONCE bytes.

    The last batch had `size` mails with `read` bytes in all. The next one has at most twice as many mails.
    """
    return max(1, min(2 * size, BYTES_AT_ONCE * size // (read + 1), ROWS_AT_ONCE))
