"""The panel's HTML templates, and functions that they use."""

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
    """Return the bytes of a file below modules/web/, such as "static/panel.css", also from a zip archive."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(Path(__file__).with_name(name.split("/")[0]) / name.split("/")[1]))


def text_of(value) -> str:
    """Convert a value to text for a template. None becomes "", and bytes are decoded as UTF-8.

    Invalid bytes become U+FFFD.
    """
    if isinstance(value, str):
        return value
    return "" if value is None else readable(value) if isinstance(value, (bytes, memoryview)) else str(value)


class Template(SimpleTemplate):
    """A template that escapes all values, and can include other templates of the panel."""

    def prepare(self, **options):
        super().prepare(**options)
        self._str, self._escape = text_of, lambda value: html_escape(text_of(value))

    def _include(self, _env, _name=None, **kwargs):
        return SimpleNamespace(**template(_name).execute(_env["_stdout"], _env | kwargs))


@cache
def template(name: str) -> Template:
    """Return the template in the file templates/`name`.html."""
    source = read_file(f"templates/{name}.html").decode()
    is_page = 'rebase("layout"' in source
    return Template('% m = include("macros")\n' * is_page + source)


def link(page: str, /, **query) -> str:
    """Return the URL of a page of the panel with a query, such as "person?user_name=bob"."""
    return page + ("?" + urllib.parse.urlencode(query, errors="replace") if query else "")


def moment(seconds) -> tuple[str, str] | None:
    """Convert seconds since 1970 to ("2026-08-01T09:00:00Z", "2026-08-01 09:00"), in UTC.

    Return None if the value is no time.
    """
    try:
        time = datetime.fromtimestamp(int(float(seconds)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return (
        (time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%d %H:%M")) if time.year > 1970 else None
    )


def size(count: int) -> str:
    """Convert a number of bytes to text for people, such as "12 KB"."""
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
