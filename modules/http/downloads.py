"""The HTTP headers of downloads: files that actions return in place of JSON."""

import re
import urllib.parse

from mailapi import File


def headers(file: File) -> list[tuple[str, str]]:
    """Return the HTTP headers of a download, as [(name, value), …]. They make a browser save the file, not show it."""
    return [
        ("Content-Type", file.content_type),
        ("Content-Disposition", disposition(file.name)),
        ("Content-Security-Policy", "default-src 'none'; sandbox"),
    ]


def disposition(name: str) -> str:
    """Return the value of the header Content-Disposition with which a browser saves a file as `name` (RFC 6266).

    Characters that file names must not have, such as slashes, become "_". Long names are cut.
    """
    name = (
        "".join(c if c.isprintable() and c not in '"*/:<>?\\|' else "_" for c in name).strip(" .") or "file"
    )
    stem, _, ending = name.rpartition(".")
    name = f"{stem[:100]}.{ending}" if 0 < len(ending) <= 10 and stem else name[:100]
    ascii_only = re.sub(r"[^\w !#$&'()+,.=@^`{}~-]", "_", name, flags=re.ASCII)
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{urllib.parse.quote(name, safe='')}"
