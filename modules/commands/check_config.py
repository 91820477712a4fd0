"""Checks config.py for `mailapi check`: who can change it, who can read its passwords, and where the log goes."""

import ast
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import mailapi

from .check_report import Report, describe


def check_config_file(report: Report, config: str, app: mailapi.Application):
    """Print an error if every user of the system can change config.py, or can read passwords in it."""
    path = Path(config).resolve()
    mode = path.stat().st_mode if reachable_by_everybody(path) else 0
    if mode & stat.S_IROTH and has_passwords(path, app.config):
        report.bad(
            f"config: {config} has passwords in it, and everybody on this machine can read it: chmod o-r"
        )
    if mode & stat.S_IWOTH:
        report.bad(f"config: everybody on this machine can write to {config}, which the API runs: chmod o-w")


def check_log_file(report: Report, config: mailapi.Config):
    """Check that this process may write to the file in the setting log_file, if any. Print the result."""
    for path in log_paths(config):
        if not os.path.exists(path):
            report.bad(f"log_file: there is no folder {path}")
        elif os.path.isdir(config.base / config.log_file):
            report.bad(f"log_file: {path} is a folder")
        else:
            report.result(
                os.access(path, os.W_OK, effective_ids=True),
                f"log_file: {path} can be written to",
                f"log_file: {path} cannot be written to ({describe(Path(path))})",
            )


def log_paths(config: mailapi.Config) -> list[str]:
    """Return what the API must be able to write to for its log: the log file, or its folder if it is not made yet.

    Return [] without the setting log_file.
    """
    path = str(config.base / config.log_file)
    return [path if os.path.exists(path) else os.path.dirname(path)] if config.log_file else []


def reachable_by_everybody(path: Path) -> bool:
    """Return whether every user of the system may enter all folders above a file."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def has_passwords(path: Path, config: mailapi.Config) -> bool:
    """Return whether the file `path`, a config.py, contains one of the passwords in `config`, its loaded settings.

    Return False if config.py reads its passwords from other files.
    """
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    secrets = [secret for key in mailapi.OPTIONS for secret in passwords(getattr(config, key))]
    return any(secret in text for secret in secrets for text in texts)


def passwords(value) -> Iterator[str]:
    """Yield the passwords in a setting: those in URLs, and the texts with the key "password" in dictionaries."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from [entry] if key == "password" and isinstance(entry, str) else passwords(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from passwords(entry)
    elif isinstance(value, str) and (match := re.match("[a-z0-9+.-]+://([^/]*)@", value)):
        yield from filter(None, [match[1].partition(":")[2]])
