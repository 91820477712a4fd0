"""Copy the master database's file, then migrate the database from schema version 8 to 9.

The migration is one transaction: if the process is killed, the database is as before or fully migrated. Stop the mail
daemons first, since those for schema version 8 cannot read version 9.
"""

import contextlib
import os
import shutil
import sqlite3
import time
from pathlib import Path

import mailapi

from ..mariadb.url import without_password
from ..state.owners import chown_like
from .package_files import read_schema
from .progress import TerminalLine

# The columns of generation 8 in the tables that change; any other column would be lost.
COLUMNS = {
    "addresses": ["address_expression", "address_order", "address_user"],
    "msa": ["msa_user", "msa_inrouter", "msa_inroute", "msa_outrouter", "msa_outroute"],
    "api_access": ["api_user", "api_right"],
}
STEPS = {
    "addresses": """
        INSERT INTO addresses (address_expression, address_order, address_router, address_route)
        SELECT address_expression, address_order,
               CASE WHEN msa_user IS NULL THEN 'drop' WHEN msa_inrouter = 'forward' THEN 'redirect'
                    ELSE msa_inrouter END,
               CASE msa_inrouter WHEN 'store' THEN address_user ELSE msa_inroute END
        FROM old_addresses LEFT JOIN old_msa ON msa_user = address_user ORDER BY address_order""",
    "smtpd": """
        INSERT INTO smtpd (smtpd_user, smtpd_router, smtpd_route)
        SELECT msa_user, msa_outrouter, msa_outroute FROM old_msa ORDER BY old_msa.rowid""",
    "api_access": """
        INSERT INTO api_access (api_user, api_permission)
        SELECT api_user, api_right FROM old_api_access ORDER BY old_api_access.rowid""",
}
SUMMARY = {
    "{} addresses, now with the router {}": """
        SELECT COUNT(*), address_router FROM addresses GROUP BY address_router ORDER BY address_router""",
    "{} MSA rows became SMTPD rows with the router {}": """
        SELECT COUNT(*), smtpd_router FROM smtpd GROUP BY smtpd_router ORDER BY smtpd_router""",
    "{} rights became permissions: {}": """
        SELECT COUNT(*), api_permission FROM api_access GROUP BY api_permission ORDER BY api_permission""",
    "note: {} addresses have a router that generation 9 does not know, which loses mail: {}": """
        SELECT COUNT(*), group_concat(address_expression, ', ') FROM addresses
        WHERE address_router NOT IN ('store', 'redirect', 'handoff', 'reject', 'drop') HAVING COUNT(*)""",
    "note: {} users' SMTPD rows have a router that generation 9 does not know, and takes for any: {}": """
        SELECT COUNT(*), group_concat(smtpd_user, ', ') FROM smtpd
        WHERE smtpd_router NOT IN ('any', 'defined', 'handoff', 'reject', 'drop') HAVING COUNT(*)""",
    "note: {} addresses or users lack the route that their router needs: {}": """
        SELECT COUNT(*), group_concat(name, ', ') FROM (
        SELECT address_expression AS name FROM addresses WHERE address_router IN ('redirect', 'handoff')
        AND COALESCE(address_route, '') = '' UNION ALL
        SELECT smtpd_user FROM smtpd WHERE smtpd_router = 'handoff' AND COALESCE(smtpd_route, '') = '')
        HAVING COUNT(*)""",
    "note: {} users without an MSA row have addresses, whose mail is dropped: {}": """
        SELECT COUNT(*), group_concat(user, ', ') FROM (SELECT DISTINCT address_user AS user FROM old_addresses
        WHERE address_user NOT IN (SELECT msa_user FROM old_msa) ORDER BY 1) HAVING COUNT(*)""",
    "note: {} users had a store route that is not their user_database, which stays as it is: {}": """
        SELECT COUNT(*), group_concat(msa_user, ', ') FROM (SELECT msa_user FROM old_msa
        JOIN users ON user_name = msa_user WHERE msa_inrouter = 'store' AND msa_inroute != ''
        AND msa_inroute IS NOT user_database ORDER BY 1) HAVING COUNT(*)""",
}


def options(parser):
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would become what, and change nothing"
    )


def run(args):
    app = mailapi.create_app(args.config)
    if app.generation().number == 9:
        print(f"Nothing to do: {without_password(app.config.dbpath)} is of generation 9.")
        return
    if mailapi.is_url(app.config.dbpath):
        raise mailapi.ConfigError(
            "Only a file can be migrated: migrate it first, then copy it to the server."
        )
    path = Path(app.config.dbpath)
    app.db.close()
    with contextlib.closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")  # while tables are replaced; `verify` checks them
        connection.execute("PRAGMA legacy_alter_table = ON")  # do not rewrite references to a renamed table
        try:
            connection.execute("BEGIN IMMEDIATE")
            refuse_unknown(connection)
            if not args.dry_run:
                print(f"The database as it was: {copy(path)}")
            migrate(connection)
            connection.execute("ROLLBACK" if args.dry_run else "COMMIT")
        except sqlite3.Error as error:
            raise mailapi.ApiError(f"Not migrated, nothing was changed: {error}.") from error
    print("Dry run: nothing was changed." if args.dry_run else f"{path} is of generation 9 now.")


def refuse_unknown(connection: sqlite3.Connection):
    """Raise ApiError if a table to be replaced has a column, index or trigger that schema version 8 does not have.

    The tables are addresses, msa and api_access. What they have beyond version 8 would be lost.
    """
    for table, expected in COLUMNS.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if columns != expected:
            raise mailapi.ApiError(
                f"Not migrated: the columns of {table} are {', '.join(columns) or 'missing'}; "
                f"expected {', '.join(expected)}."
            )
    names = ", ".join(f"'{table}'" for table in COLUMNS)
    for kind, name in connection.execute(f"""SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL
                                             AND type != 'table' AND tbl_name IN ({names})"""):
        raise mailapi.ApiError(f"Not migrated: the {kind} {name} is not generation 8's; drop it first.")
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE name IN ('smtpd', 'idx_addr_router')"
    ):
        raise mailapi.ApiError(f"Not migrated: there is a {name} already, which generation 8 does not have.")


def copy(path: Path) -> Path:
    """Copy the database file to a new file in its folder, with the same owner and mode. Return the new path.

    Begin a transaction before the call, so that nobody writes to the database. ApiError if the disk is too full.
    """
    size, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if free < 2 * size:  # for the copy and the transaction's journal
        raise mailapi.ApiError(
            f"Not migrated: {2 * size:,} bytes are needed in {path.parent}, {free:,} are free."
        )
    target = path.with_name(f"{path.name}.generation8-{time.strftime('%Y%m%dT%H%M%S')}")
    for leftover in path.parent.glob(path.name + ".generation8-*.part"):
        leftover.unlink()  # a process that was killed left it: no other one has our lock
    part = target.with_name(target.name + ".part")
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)  # not readable by others meanwhile
    chown_like(handle, path)
    os.close(handle)
    with (
        contextlib.closing(sqlite3.connect(part)) as to,
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
    ):
        line = TerminalLine()
        source.backup(
            to, pages=1000, progress=lambda _, left, total: line.count(total - left, total, "copying: ")
        )
    os.chmod(part, path.stat().st_mode & 0o777)
    os.rename(part, target)
    return target


def migrate(connection: sqlite3.Connection):
    """Migrate a database from schema version 8 to 9 in the current transaction, and print what happened to its rows.

    ApiError or sqlite3.Error if the result would be invalid.
    """
    line = TerminalLine()
    counter = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'addresses'").fetchone()
    new = schema_of(read_schema())
    before = {table: count(connection, table) for table in COLUMNS}
    for table in COLUMNS:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for name in ("addresses", "idx_addr_router", "smtpd", "api_access"):
        connection.execute(new[name])
    for number, (table, statement) in enumerate(STEPS.items(), 1):
        connection.execute(statement)
        line.count(number, len(STEPS), f"tables, {table}: ")
    if counter:
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'addresses'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('addresses', ?)", counter)
    summarize(connection, before)
    for table in COLUMNS:
        connection.execute(f"DROP TABLE old_{table}")
    connection.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'")
    verify(connection)


def summarize(connection: sqlite3.Connection, before: dict):
    """Print how many rows were migrated, and notes about unusual rows. ApiError if rows were lost.

    `before` has the number of rows of each table before the migration: {"msa": 3, …}.
    """
    after = {"addresses": "addresses", "msa": "smtpd", "api_access": "api_access"}
    for old, table in after.items():
        if before[old] != (now := count(connection, table)):
            raise mailapi.ApiError(f"Not migrated: {old} has {before[old]} rows, but only {now} came over.")
    for sentence, query in SUMMARY.items():
        for row in connection.execute(query):
            print(mailapi.printable(sentence.format(f"{row[0]:,}", shortened(row[1]))))


def shortened(names: str) -> str:
    return names if len(names) <= 200 else names[:200] + " …"


def count(connection: sqlite3.Connection, table: str) -> int:
    return connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]


def verify(connection: sqlite3.Connection):
    """Raise ApiError if a foreign key refers to a missing row, and sqlite3.Error if a view cannot be read."""
    if broken := connection.execute("PRAGMA foreign_key_check").fetchall():
        raise mailapi.ApiError(
            f"Not migrated: {len(broken)} rows refer to nothing, the first in {broken[0][0]}."
        )
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        connection.execute(f'SELECT 1 FROM "{name}" LIMIT 0')


def schema_of(statements: str) -> dict[str, str]:
    """Return the CREATE statements in SQL text by name: {"users": "CREATE TABLE users …", …}."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(statements)
        return dict(connection.execute("SELECT name, sql FROM sqlite_master"))
