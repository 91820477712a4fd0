"""Files of environment variables, with lines of KEY=VALUE, such as /etc/atmail/api/api.conf."""

import re
from pathlib import Path

from mailapi import ConfigError

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
QUOTED = re.compile(r"""(?:'([^']*)'|"((?>(?:[^"\\]|\\.)*))")[ \t]*(?:[#;].*)?""")
COMMENT_MARKS = ("#", ";")


def read_text(path: Path) -> str:
    """Return the text of a file. ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def read_environment_file(path: Path) -> dict[str, str]:
    """Return {key: value} for the KEY=VALUE lines in a file. ConfigError if it cannot be read."""
    return {key: value for key, (value, _) in parse(read_text(path))[0].items()}


def parse(text: str) -> tuple[dict[str, tuple[str, int]], list[int]]:
    """Parse lines of KEY=VALUE. Return ({key: (value, line number)}, [number of each invalid line]).

    Values may be in quotes. Comments (after #, or a whole line after ;) and empty lines are ignored. Of a repeated key,
    the last value is returned.
    """
    values: dict[str, tuple[str, int]] = {}
    strange = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        key, equals, text = line.partition("=")
        key, value = key.strip().removeprefix("export ").strip(), read_value(text.strip())
        if equals and value is not None and KEY.fullmatch(key):
            values[key] = value, number
        elif line and not line.startswith(COMMENT_MARKS):
            strange.append(number)
    return values, strange


def read_value(text: str) -> str | None:
    """Return the value in a line KEY=VALUE, without quotes and the comment after it; None if a quote is not closed.

    `text` is the part of the line after the equals sign.
    """
    if text[:1] in ("'", '"'):
        match = QUOTED.fullmatch(text)
        if not match:
            return None
        return match[1] if match[1] is not None else re.sub(r"\\(.)", r"\1", match[2])
    return re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip()
