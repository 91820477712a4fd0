"""Reads the files that come with mailapi, also from within mailapi.pyz."""

import importlib.abc
import pkgutil
import re
import sys
import zipfile
from pathlib import Path
from typing import cast

import mailapi


def read_package_file(path: Path) -> str:
    """Return the text of a file that comes with mailapi, also from within mailapi.pyz. OSError if it is missing."""
    loader = cast(importlib.abc.ResourceLoader, __spec__.loader)
    return loader.get_data(str(path)).decode()


def python_sources() -> list[tuple[str, str]]:
    """Return the path, within modules/, and the text of mailapi.py and of each module: [("users.py", "…"), …]."""
    if zipfile.is_zipfile(mailapi.HERE):
        with zipfile.ZipFile(mailapi.HERE) as archive:
            names = [name for name in archive.namelist() if re.match(r"mailapi(_modules/.*)?\.py$", name)]
            return [(name.removeprefix("mailapi_modules/"), archive.read(name).decode()) for name in names]
    core, modules = Path(str(mailapi.__file__)), Path(__file__).parents[1]
    files = [
        (core.name, core),
        *((file.relative_to(modules).as_posix(), file) for file in modules.rglob("*.py")),
    ]
    return [(name, file.read_text(encoding="utf-8")) for name, file in files]


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
