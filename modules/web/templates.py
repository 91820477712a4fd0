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
    """Return the bytes of a file below modules/web/, such as "static/panel.css", also inside mailapi.pyz."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(Path(__file__).with_name(name.split("/")[0]) / name.split("/")[1]))


def text_of(value) -> str:
    """Convert a value to text for a template: None to "", a BLOB by UTF-8, with U+FFFD for invalid bytes."""
    if isinstance(value, str):
        return value
    return "" if value is None else readable(value) if isinstance(value, (bytes, memoryview)) else str(value)


class Template(SimpleTemplate):
    """A template of the panel, which can include others of its folder. It escapes all values, whatever their type."""

    def prepare(self, **options):
        super().prepare(**options)
        self._str, self._escape = text_of, lambda value: html_escape(text_of(value))

    def _include(self, _env, _name=None, **kwargs):
        return SimpleNamespace(**template(_name).execute(_env["_stdout"], _env | kwargs))


@cache
def template(name: str) -> Template:
    """Return the template in the file templates/`name`.html. Templates of whole pages can call macros.html as `m`."""
    source = read_file(f"templates/{name}.html").decode()
    is_page = 'rebase("layout"' in source
    return Template('% m = include("macros")\n' * is_page + source)


def link(page: str, **query) -> str:
    """Return the URL of a page with a query, relative to the panel's: "person?user_name=bob"."""
    return page + ("?" + urllib.parse.urlencode(query, errors="replace") if query else "")


def moment(seconds) -> tuple[str, str] | None:
    """Convert seconds since 1970 to two texts, ("2026-08-01T09:00:00Z", "2026-08-01 09:00"); None if invalid."""
    try:
        time = datetime.fromtimestamp(int(float(seconds)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return (
        (time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d %H:%M")) if time.year > 1970 else None
    )


def size(count: int) -> str:
    """Return a number of bytes as people read it: "12 KB"."""
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
