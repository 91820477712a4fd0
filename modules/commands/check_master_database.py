"""Checks the content of the master database for `mailapi check`: schema, tables, rows and permissions."""

import sqlite3
from pathlib import Path

from peewee import fn

import mailapi

from ..directory.permissions import CORE_PERMISSIONS, declared_permissions
from ..mariadb.url import without_password
from .check_report import Report


def check_master_database(report: Report, app: mailapi.Application):
    """Check the master database's schema, tables, rows and permissions, and print the results."""
    location = without_password(app.config.dbpath)
    try:
        generation = app.generation()
        report.good(f"database: {location}, generation {generation.number}")
        (check_server if mailapi.is_url(app.config.dbpath) else check_file)(report, app)
        check_modules(report, app, generation)
        check_permissions(report, app, generation)
    except mailapi.SchemaMismatch as mismatch:
        version = mismatch.answer["schema_version"]
        harm = "NULL, which crashes the mail daemons" if version is None else f"{version}, not 8 or 9"
        report.bad(f"database: {location}: {mismatch} schema_version in its table meta is {harm}")
    except (mailapi.ApiError, mailapi.peewee.PeeweeException, sqlite3.Error) as error:
        report.bad(f"database: {location}: {error}")


def check_server(report: Report, app: mailapi.Application):
    """Check a master database on a server: the setting max_allowed_packet, and the collations of columns."""
    with app.db.transaction("DEFERRED"):
        packet = app.db.run("SELECT @@max_allowed_packet").fetchone()[0]
        columns = app.db.run("""SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE
            TABLE_SCHEMA = DATABASE() AND COLLATION_NAME NOT IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')""").fetchall()
    need = 2 * app.config.max_message + 2**20
    report.result(
        packet >= need,
        f"max_allowed_packet: {packet:,} bytes",
        f"max_allowed_packet: {packet:,} bytes are too few for a mail of max_message: set {need:,} or more",
    )
    report.result(
        not columns,
        "collation: text is compared byte for byte",
        "collation: not byte for byte: " + ", ".join(".".join(column) for column in columns),
    )


def check_file(report: Report, app: mailapi.Application):
    """Check a master database in a SQLite file: its journal mode, integrity and foreign keys."""
    run = app.db.connect().execute
    journal = run("PRAGMA journal_mode").fetchone()[0]
    report.result(
        journal == "delete",
        "journal mode: delete, as the mail daemons use it",
        f"journal mode: {journal}; the daemons expect delete: another mode leaves files that lock them out",
    )
    problems = [row[0] for row in run("PRAGMA integrity_check(3)") if row[0] != "ok"]
    report.result(not problems, "integrity: ok", f"integrity: {'; '.join(problems)}")
    broken = run("PRAGMA foreign_key_check").fetchall()
    report.result(
        not broken,
        "foreign keys: ok",
        f"foreign keys: {len(broken)} rows refer to nothing: "
        + ", ".join(f"{table} row {row} to {parent}" for table, row, parent, _ in broken[:3]),
    )


def check_modules(report: Report, app: mailapi.Application, generation: mailapi.Generation):
    """Check that each module's columns exist, and that no row makes the mail daemons fail. Print the results.

    Also print which modules the schema version replaces by another one, as version 9 replaces MSA by SMTPD.
    `generation` is the database's schema version.
    """
    for name, module in app.listed().items():
        if other := module.stand_ins.get(generation.number):
            path = Path(other[1]).stem
            report.good(
                f"modules: {name} is not of generation {generation.number}: {other[0]} serves at {path}/"
            )
        if generation.number not in module.generations:
            continue
        try:
            check_module(report, app, name, module, generation)
        except mailapi.peewee.PeeweeException as error:
            report.bad(f"schema: {name}: {error}")


def check_module(
    report: Report,
    app: mailapi.Application,
    name: str,
    module: mailapi.Module,
    generation: mailapi.Generation,
):
    """Check that the tables of a module have no row that makes the mail daemons fail, and print the results.

    Such a row is, for example, a mail without content. `name` is the module's name in the setting modulelist.
    `generation` is the database's schema version. PeeweeException if a column is missing.
    """
    if active := module.active_in(generation):
        for query in active.rows:
            app.db.column(query.limit(1))
    dangerous_rows = module.dangerous_rows.get(generation.number, {}) | {
        sentence: query for sentence, query in module.dangerous_rows.items() if isinstance(sentence, str)
    }
    for sentence, query in dangerous_rows.items():
        for row in app.db.column(query):
            report.bad(f"{name}: {row} {sentence}")
    report.good(f"schema: {name}")


def check_permissions(report: Report, app: mailapi.Application, generation: mailapi.Generation):
    """Print a warning for each unknown permission, and for each delegate who lacks the permission `delegate`.

    A delegate is a user who may manage certain other users or addresses.
    """
    access, word = generation.access, generation.permission
    valid = [each["permission"] for each in declared_permissions(app)]
    unknown = access.select(access.api_permission, access.api_user).where(access.api_permission.not_in(valid))
    users: dict[str, list] = {}
    for permission, user in app.db.fetch(unknown.order_by(access.api_permission, access.api_user), {})[1]:
        users.setdefault(permission, []).append(user)
    for permission, names in users.items():
        report.warn(f"{word}s: {permission!r} means nothing here: {first_three(names)}")
    entitled = access.select(access.api_user).where(access.api_permission.in_(list(CORE_PERMISSIONS)))
    for delegate, objects in (
        (mailapi.ApiUserDelegates.api_user, "users"),
        (mailapi.ApiAddressDelegates.api_user, "address expressions"),
    ):
        rows = delegate.model.select(delegate, fn.COUNT(delegate)).where(delegate.not_in(entitled))
        for user, number in app.db.fetch(rows.group_by(delegate).order_by(delegate), {})[1]:
            report.warn(f"delegations: {user} has {number} {objects}, and no {word} delegate to use that")


def first_three(names: list[str]) -> str:
    """Join the first three names, and the number of further ones: "ann, ben, cat and 7 more"."""
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
