"""Part of `mailapi check`: config.py, its passwords, and who can read or change the file."""

import ast
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import mailapi

from .check_report import Report


def check_config_file(report: Report, config: str, app: mailapi.Application):
    """Print an error if every user of the system can change config.py, or can read it while it contains passwords."""
    path = Path(config).resolve()
    mode = path.stat().st_mode if reachable_by_everybody(path) else 0
    if mode & stat.S_IROTH and has_passwords(path, app.config):
        report.bad(
            f"config: {config} has passwords in it, and everybody on this machine can read it: chmod o-r"
        )
    if mode & stat.S_IWOTH:
        report.bad(f"config: everybody on this machine can write to {config}, which the API runs: chmod o-w")


def reachable_by_everybody(path: Path) -> bool:
    """Return whether every user of the system may enter all folders in which a file is."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)


def has_passwords(path: Path, config: mailapi.Config) -> bool:
    """Return whether the text of the file config.py contains one of the passwords in `config`.

    It may not, because config.py can also read passwords from another file.
    """
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    secrets = [secret for key in mailapi.OPTIONS for secret in passwords(getattr(config, key))]
    return any(secret in text for secret in secrets for text in texts)


def passwords(value) -> Iterator[str]:
    """Yield the passwords in a value of the config: those in URLs, and each text with the key `password`."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from [entry] if key == "password" and isinstance(entry, str) else passwords(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from passwords(entry)
    elif isinstance(value, str) and (match := re.match("[a-z0-9+.-]+://([^/]*)@", value)):
        yield from filter(None, [match[1].partition(":")[2]])
