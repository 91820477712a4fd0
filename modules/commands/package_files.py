"""Files that come with mailapi. In mailapi.pyz they have no path that the system knows."""

import importlib.abc
from pathlib import Path
from typing import cast


def read_package_file(path: Path) -> str:
    """Return the text of a file in the folder or the archive that mailapi is in; OSError where there is none."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(path)).decode()


def read_schema() -> str:
    """Return the SQL statements that make a master database of generation 9."""
    return read_package_file(Path(__file__).with_name("schema9.sql"))
