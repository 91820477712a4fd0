"""Reads the files that come with mailapi, also from within mailapi.pyz."""

import importlib.abc
import pkgutil
import re
import sys
from pathlib import Path
from typing import cast


def read_package_file(path: Path) -> str:
    """Return the text of a file that comes with mailapi, also from within mailapi.pyz. OSError if it is missing."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(path)).decode()


def installed_modules() -> dict[str, str]:
    """Return the file of each module that comes with mailapi, by class name: {"User": "modules/users.py", …}."""
    files = {}
    for _, module, _ in pkgutil.iter_modules(sys.modules["mailapi_modules"].__path__):
        source = read_package_file(Path(__file__).parents[1] / f"{module}.py")
        for name in re.findall(r"^class (\w+)\(Module\)", source, re.MULTILINE):
            files[name] = f"modules/{module}.py"
    return files


def read_schema() -> str:
    """Return the SQL that creates a master database with schema version 9."""
    return read_package_file(Path(__file__).with_name("schema9.sql"))
