"""Checks the file and the folder of the master database for `mailapi check`: who owns them and may write to them."""

import os
import pwd
import stat
from pathlib import Path

import mailapi

from .check_report import Report, describe, name_of


def check_master_files(report: Report, app: mailapi.Application, daemon: str | None):
    """Check that this process and the mail daemons may write to the file and the folder of the master database.

    `daemon` is the system user of the mail daemons, which are not checked if it is None. Also check the owners of side
    files, such as journals.
    """
    database = Path(app.config.dbpath)
    if not database.exists():
        return
    folder = database.parent
    for user in (None, daemon) if daemon else (None,):
        name = user or name_of(pwd.getpwuid, os.geteuid())
        for path, need in ((database, "read and written"), (folder, "written to, for the journal")):
            report.result(
                may_write(user, path),
                f"files: {path} can be {need} by {name}",
                f"files: {path} cannot be {need} by {name} ({describe(path)})",
            )
    for side_file in sorted(folder.glob(database.name + "-*")):
        same_owner = side_file.stat().st_uid == database.stat().st_uid
        report.result(
            same_owner or daemon is not None and may_write(daemon, side_file),
            f"files: {side_file} belongs to the database's owner",
            f"files: {side_file} belongs to somebody else ({describe(side_file)}) and may lock others out",
        )


def may_write(user: str | None, path: Path) -> bool:
    """Return whether a user may read and write a file, or enter and change a folder, by its owner, group and mode.

    None for `user` means this process: ask the kernel, since the process may have a user ID without a name.
    """
    if user is None:
        need = os.W_OK | (os.X_OK if path.is_dir() else os.R_OK)
        return os.access(path, need, effective_ids=True)
    entry, status = pwd.getpwnam(user), path.stat()
    bits = 0o7 if stat.S_ISDIR(status.st_mode) else 0o6
    groups = os.getgrouplist(user, entry.pw_gid)
    shift = 6 if status.st_uid == entry.pw_uid else 3 if status.st_gid in groups else 0
    return entry.pw_uid == 0 or (status.st_mode >> shift) & bits == bits


def user_exists(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False
