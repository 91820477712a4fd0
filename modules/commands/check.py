"""Check config, databases, modules and file permissions; print one line for each result."""

import mailapi

from .check_config import check_config_file, check_log_file
from .check_master_database import check_master_database
from .check_master_files import check_master_files, user_exists
from .check_report import Report
from .check_service_user import check_service_user
from .check_state_database import check_state_database, check_state_schemas


def options(parser):
    parser.add_argument("--daemon", metavar="USER", help="the user that the mail daemons run as")
    parser.add_argument(
        "--service",
        metavar="USER",
        help="the user that the API runs as: check what they can access (needs root)",
    )
    parser.add_argument(
        "--repair", action="store_true", help="correct the errors that modules find in their data"
    )
    parser.add_argument("--quiet", action="store_true", help="print only what is wrong, such as for cron")


def run(args):
    report = Report(args.quiet)
    daemon, service = existing_user(report, args.daemon), existing_user(report, args.service)
    try:
        app = mailapi.create_app(args.config)
    except mailapi.ConfigError as error:
        report.bad(f"config: {error}")
        return 1
    report.good(f"config: {args.config}")
    check_config_file(report, args.config, app)
    check_log_file(report, app.config)
    report.good(f"modules: {', '.join(app.listed()) or 'none'}")
    check_master_database(report, app)
    check_master_files(report, app, daemon)
    if service:  # before this process opens the state database, which makes side files
        check_service_user(report, args.config, app, service)
    check_state_schemas(report, app)
    check_state_database(report, app)
    check_module_databases(report, app, args.repair)
    return 1 if report.failed else 0


def existing_user(report: Report, name: str | None) -> str | None:
    """Return `name` if the system has a user of this name; otherwise print an error and return None.

    Return None without an error if `name` is None.
    """
    if name is None or user_exists(name):
        return name
    return report.bad(f"There is no user {name} on this system.")


def check_module_databases(report: Report, app: mailapi.Application, repair: bool):
    """Call the method `check` of each module, which checks the module's own data, and print the results.

    The modules correct errors if `repair` is True.
    """
    for name, module in app.listed().items():
        try:
            for good, line in module.check(repair):
                (report.warn if good is None else report.good if good else report.bad)(f"{name}: {line}")
        except (mailapi.ApiError, mailapi.peewee.PeeweeException) as error:
            report.bad(f"{name}: {error}")
