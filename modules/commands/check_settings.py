"""Parts of `mailapi check`: config.py, the state database's tables, folder and owner, permissions and delegations."""

import ast
import contextlib
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from peewee import fn

import mailapi

PERMISSIONS = {"admin", "delegate"}  # what modules know besides, they say (Module.permissions)


def check_config_file(report, config: str, app: mailapi.Application):
    """Report passwords in config.py that others can read, and a config.py that others can change."""
    path = Path(config).resolve()
    mode = path.stat().st_mode if open_to_others(path) else 0
    if mode & stat.S_IROTH and holds_secrets(path, app.config):
        report.bad(
            f"config: {config} has passwords in it, and everybody on this machine can read it: chmod o-r"
        )
    if mode & stat.S_IWOTH:
        report.bad(f"config: everybody on this machine can write to {config}, which the API runs: chmod o-w")


def open_to_others(path: Path) -> bool:
    """Return whether everybody gets through the folders above a file."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def holds_secrets(path: Path, config: mailapi.Config) -> bool:
    """Return whether one of the passwords stands in the file itself: it may also come from another file."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    secrets = [secret for key in mailapi.OPTIONS for secret in passwords(getattr(config, key))]
    return any(secret in text for secret in secrets for text in texts)


def passwords(value) -> Iterator[str]:
    """Yield the passwords in a value of the config: of URLs, and under keys of that name."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from [entry] if key == "password" and isinstance(entry, str) else passwords(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from passwords(entry)
    elif isinstance(value, str) and (found := re.match("[a-z0-9+.-]+://([^/]*)@", value)):
        yield from filter(None, [found[1].partition(":")[2]])


def check_state_schemas(report, app: mailapi.Application):
    """Report modules whose tables SQLite refuses, or refuses where they are there already."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(mailapi.STATE_SCHEMA)
        for name, module in app.listed().items():
            try:
                for _ in range(2):
                    connection.executescript(module.state_schema)
                if module.state_schema.strip() and not sqlite3.complete_statement(module.state_schema):
                    raise sqlite3.OperationalError("it does not end with a semicolon")
            except (sqlite3.Error, sqlite3.Warning) as error:
                report.bad(f"state: the state_schema of {name} is refused, and nobody can log in: {error}")


def check_permissions(report, app: mailapi.Application, generation: mailapi.Generation):
    """Warn of permissions that nothing knows, and of delegations of users who have no permission to use them."""
    access, word = generation.access, generation.permission
    known = PERMISSIONS.union(*(module.permissions for module in app.modules.values()))
    odd = access.select(access.api_permission, access.api_user).where(access.api_permission.not_in(known))
    users: dict[str, list] = {}
    for permission, user in app.db.fetch(odd.order_by(access.api_permission, access.api_user), {})[1]:
        users.setdefault(permission, []).append(user)
    for permission, names in users.items():
        report.warn(f"{word}s: {permission!r} means nothing here: {some(names)}")
    may = access.select(access.api_user).where(access.api_permission.in_(PERMISSIONS))
    for table, what in (
        (mailapi.ApiUserDelegates, "users"),
        (mailapi.ApiAddressDelegates, "address expressions"),
    ):
        rows = table.select(table.api_user, fn.COUNT(table.api_user)).where(table.api_user.not_in(may))
        for user, number in app.db.fetch(rows.group_by(table.api_user).order_by(table.api_user), {})[1]:
            report.warn(f"delegations: {user} has {number} {what}, and no {word} delegate to use that")


def some(names: list[str]) -> str:
    return ", ".join(map(str, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_state_folder(report, path: Path) -> bool:
    """Return whether SQLite can make files in the folder of the state database; report it where not."""
    folder = Path(os.path.realpath(path)).parent
    try:
        probe = folder / f".mailapi-check-{os.getpid()}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
        return True
    except OSError as error:
        report.bad(f"state: {folder} cannot be written to: {error.strerror}")
        return False


def check_state_owner(report, path: Path, described):
    """Report a state database of root's in another user's folder, and side files that are not its owner's."""
    path = Path(os.path.realpath(path))
    seen, folder = path.stat(), path.parent.stat()
    if seen.st_uid == 0 != folder.st_uid:
        report.bad(
            f"state: {path} belongs to root, its folder to somebody else, who cannot use it "
            f"({described(path.parent)}): chown it"
        )
    for side in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        if side.exists() and side.stat().st_uid != seen.st_uid:
            report.bad(f"state: {side} belongs to somebody else ({described(side)}) and may lock others out")
