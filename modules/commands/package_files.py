"""Reads text files that come with mailapi, also from within mailapi.pyz."""

import importlib.abc
from pathlib import Path
from typing import cast


def read_package_file(path: Path) -> str:
    """Return the text of a file that comes with mailapi, also from within mailapi.pyz. OSError if it is missing."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(path)).decode()


def is_module(name: str) -> bool:
    """Return whether a module of this name, such as "queue", comes with mailapi."""
    try:
        return name.isidentifier() and "(Module)" in read_package_file(
            Path(__file__).parents[1] / f"{name}.py"
        )
    except OSError:
        return False


def read_schema() -> str:
    """Return the SQL that creates a master database with schema version 9."""
    return read_package_file(Path(__file__).with_name("schema9.sql"))
