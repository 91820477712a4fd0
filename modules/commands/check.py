"""Check config, database, schema, modules and file permissions; one line each."""

import grp
import os
import pwd
import stat
from pathlib import Path

import mailapi

from ..commands.check_service import check_service
from ..commands.check_settings import (
    check_config_file,
    check_permissions,
    check_state_folder,
    check_state_owner,
    check_state_schemas,
)


def options(parser):
    parser.add_argument("--daemon", metavar="USER", help="the user that the mail daemons run as")
    parser.add_argument(
        "--service", metavar="USER", help="the user that the API runs as: look as they do (as root)"
    )
    parser.add_argument(
        "--repair", action="store_true", help="mend what modules keep out of step with the database"
    )


def run(args):
    report = Report()
    for user in filter(None, (args.daemon, args.service)):
        if not is_user(user):
            raise mailapi.ConfigError(f"There is no user {user} on this system.")
    try:
        app = mailapi.create_app(args.config)
    except mailapi.ConfigError as error:
        report.bad(f"config: {error}")
        return 1
    report.good(f"config: {args.config}")
    check_config_file(report, args.config, app)
    report.good(f"modules: {', '.join(app.listed()) or 'none'}")
    try:
        generation = app.generation()
        report.good(
            f"database: {mailapi.without_password(app.config.dbpath)}, generation {generation.number}"
        )
        (check_server if mailapi.is_url(app.config.dbpath) else check_file)(report, app)
        check_modules(report, app, generation)
        check_permissions(report, app, generation)
    except (mailapi.ApiError, mailapi.peewee.PeeweeException) as error:
        report.bad(f"database: {mailapi.without_password(app.config.dbpath)}: {error}")
    check_files(report, app, args.daemon)
    if args.service:  # before the state database is open here, and has side files
        check_service(report, args.config, app, args.service, described)
    check_state_schemas(report, app)
    check_state(report, app)
    check_elsewhere(report, app, args.repair)
    return 1 if report.failed else 0


class Report:
    failed = False

    def good(self, line: str):
        print(f"ok    {mailapi.printable(line)}")

    def bad(self, line: str):
        self.failed = True
        print(f"FAIL  {mailapi.printable(line)}")

    def warn(self, line: str):
        """Say what is odd but may be meant: it does not count for the exit status."""
        print(f"warn  {mailapi.printable(line)}")

    def tell(self, good: bool, line: str, otherwise: str):
        return self.good(line) if good else self.bad(otherwise)


def check_server(report: Report, app: mailapi.Application):
    """Whether what differs by installation is as the API needs it."""
    with app.db.transaction("DEFERRED"):
        packet = app.db.run("SELECT @@max_allowed_packet").fetchone()[0]
        columns = app.db.run("""SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE
            TABLE_SCHEMA = DATABASE() AND COLLATION_NAME NOT IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')""").fetchall()
    need = 2 * app.config.max_message + 2**20
    report.tell(
        packet >= need,
        f"max_allowed_packet: {packet:,} bytes",
        f"max_allowed_packet: {packet:,} bytes are too few for a mail of max_message: set {need:,} or more",
    )
    report.tell(
        not columns,
        "collation: text is compared byte for byte",
        "collation: not byte for byte: " + ", ".join(".".join(column) for column in columns),
    )


def check_file(report: Report, app: mailapi.Application):
    run = app.db.connect().execute
    journal = run("PRAGMA journal_mode").fetchone()[0]
    report.tell(
        journal == "delete",
        "journal mode: delete, as the mail daemons use it",
        f"journal mode: {journal}; the daemons expect delete: another mode leaves files that lock them out",
    )
    problems = [row[0] for row in run("PRAGMA integrity_check(3)") if row[0] != "ok"]
    report.tell(not problems, "integrity: ok", f"integrity: {'; '.join(problems)}")
    broken = run("PRAGMA foreign_key_check").fetchall()
    report.tell(
        not broken,
        "foreign keys: ok",
        f"foreign keys: {len(broken)} rows refer to nothing: "
        + ", ".join(f"{table} row {row} to {parent}" for table, row, parent, _ in broken[:3]),
    )


def check_modules(report: Report, app: mailapi.Application, generation: mailapi.Generation):
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


def check_module(report, app, name, module, generation):
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


def check_files(report: Report, app: mailapi.Application, daemon: str | None):
    database = Path(app.config.dbpath)
    if not database.exists():
        return
    folder = database.parent
    for user in filter(None, [pwd.getpwuid(os.geteuid()).pw_name, daemon]):
        for path, need in ((database, "read and written"), (folder, "written to, for the journal")):
            report.tell(
                may_write(user, path),
                f"files: {path} can be {need} by {user}",
                f"files: {path} cannot be {need} by {user} ({described(path)})",
            )
    for left in sorted(folder.glob(database.name + "-*")):
        same = left.stat().st_uid == database.stat().st_uid or may_write(daemon or "", left)
        report.tell(
            same,
            f"files: {left} belongs to the database's owner",
            f"files: {left} belongs to somebody else ({described(left)}) and may lock others out",
        )


def check_state(report: Report, app: mailapi.Application):
    url, path = mailapi.is_url(app.config.state), Path(app.config.state)
    if not url and not check_state_folder(report, path):
        return
    if not url and not path.exists():
        report.good(f"state: {path} will be made by the first log-in")
        return
    shown = mailapi.without_password(app.config.state) if url else f"{path} ({described(path)})"
    try:
        with app.state.transaction():
            pass
        report.good(f"state: {shown}")
        if not url:
            check_state_owner(report, path, described)
    except mailapi.ApiError as error:
        report.bad(f"state: {shown}: {error.status}")


def check_elsewhere(report: Report, app: mailapi.Application, repair: bool):
    """What modules keep in databases of their own."""
    for name, module in app.listed().items():
        try:
            for good, line in module.check(repair):
                (report.warn if good is None else report.good if good else report.bad)(f"{name}: {line}")
        except (mailapi.ApiError, mailapi.peewee.PeeweeException) as error:
            report.bad(f"{name}: {error}")


def may_write(user: str, path: Path) -> bool:
    """Whether a user may read and write a file, or enter and change a folder, going by owner, group, mode."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return False
    seen = path.stat()
    bits = 0o7 if stat.S_ISDIR(seen.st_mode) else 0o6
    groups = os.getgrouplist(user, entry.pw_gid)
    shift = 6 if seen.st_uid == entry.pw_uid else 3 if seen.st_gid in groups else 0
    return entry.pw_uid == 0 or (seen.st_mode >> shift) & bits == bits


def is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def described(path: Path) -> str:
    seen = path.stat()
    return (
        f"owner {name_of(pwd.getpwuid, seen.st_uid)}, group {name_of(grp.getgrgid, seen.st_gid)}, "
        f"mode {stat.filemode(seen.st_mode)}"
    )


def name_of(find, number: int) -> str:
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
