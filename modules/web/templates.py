"""The panel's templates and static files, read from modules/web/ or from mailapi.pyz, each once."""

import importlib.abc
import urllib.parse
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from bottle import SimpleTemplate, html_escape

from mailapi import readable


def read_file(name: str) -> bytes:
    """Return the bytes of a file below modules/web/; also in mailapi.pyz, where they are a part of the archive."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(Path(__file__).with_name(name.split("/")[0]) / name.split("/")[1]))


def text_of(value) -> str:
    """Convert a value to text for a template: "" for None; in BLOBs, U+FFFD for bytes that are not UTF-8."""
    if isinstance(value, str):
        return value
    return "" if value is None else readable(value) if isinstance(value, (bytes, memoryview)) else str(value)


class Template(SimpleTemplate):
    """A template of the panel. It can include others in its folder. All values are escaped, whatever their type."""

    def prepare(self, **options):
        super().prepare(**options)
        self._str, self._escape = text_of, lambda value: html_escape(text_of(value))

    def _include(self, _env, _name=None, **kwargs):
        return SimpleNamespace(**template(_name).execute(_env["_stdout"], _env | kwargs))


@cache
def template(name: str) -> Template:
    """Return a template. Those of whole pages, and what they include, have the functions in macros.html as `m`."""
    source = read_file(f"templates/{name}.html").decode()
    is_page = 'rebase("layout"' in source
    return Template('% m = include("macros")\n' * is_page + source)


def link(page: str, **query) -> str:
    """Return the address of a page, relative to the panel's."""
    return page + ("?" + urllib.parse.urlencode(query, errors="replace") if query else "")


def moment(seconds) -> tuple[str, str] | None:
    """Return a time, in seconds since 1970, for <time datetime> and for people; None if it is no time."""
    try:
        time = datetime.fromtimestamp(int(float(seconds)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return (
        (time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d %H:%M")) if time.year > 1970 else None
    )


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return (
        f"{count} B"
        if count < 1024
        else f"{count // 1024} KB"
        if count < 2**20
        else f"{count / 2**20:.1f} MB"
    )


SHARED = {"link": link, "moment": moment, "size": size}


def render(name: str, **values) -> str:
    return template(name).render(SHARED, values)
