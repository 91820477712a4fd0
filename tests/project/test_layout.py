"""The layout of modules/: only what modulelist can name, a folder for each subject, and imports that go downwards."""

import ast

import pytest

import mailapi
from support.site import ROOT

MODULES = ROOT / "modules"
BELOW = {  # folder → those whose files it may import, beside its own and mailapi.py; "" has the API modules
    "openapi": set(),
    "answers": {"openapi"},
    "directory": {"openapi"},
    "mariadb": set(),
    "http": {"openapi"},
    "state": {"http"},
    "clients": {"directory", "http", "openapi"},
    "mail": {"clients", "mariadb", "directory", "openapi"},
    "provisioning": {"clients", "mariadb", "directory", "state", "openapi"},
    "web": {"mail", "http"},
    "": {
        "web",
        "mail",
        "provisioning",
        "clients",
        "mariadb",
        "directory",
        "http",
        "state",
        "openapi",
        "answers",
    },
    "commands": {"", "mail", "provisioning", "clients", "mariadb", "directory", "http", "state", "openapi"},
}
FILES = sorted(MODULES.rglob("*.py"))


def imported(path) -> set[str]:
    """Return the folders of modules/ that a file imports from."""
    folder, found = folder_of(path), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("mailapi_modules") for alias in node.names), (
                "import relatively"
            )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not node.module.startswith("mailapi_modules"), "import relatively"
        elif isinstance(node, ast.ImportFrom) and folder and node.level == 1:
            found.add(folder)
        elif isinstance(node, ast.ImportFrom):
            first = (node.module or "").partition(".")[0]
            found |= {
                name if name in BELOW else "" for name in ([first] if first else [a.name for a in node.names])
            }
    return found


def folder_of(path) -> str:
    return path.relative_to(MODULES).parent.as_posix().removeprefix(".")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_downwards_only(path):
    folder = folder_of(path)
    assert imported(path) <= BELOW[folder] | ({folder} if folder else set())


def test_the_core_imports_nothing_of_the_modules():
    for node in ast.walk(ast.parse((ROOT / "mailapi.py").read_text())):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "modules" not in ast.unparse(node)


def test_modules_has_the_api_modules_and_a_folder_for_each_subject():
    files = {path.stem for path in MODULES.glob("*.py")}
    folders = {path.name for path in MODULES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == BELOW.keys() - {""} and not folders & files
    for name in files:
        loaded = mailapi.load_file(MODULES / f"{name}.py")
        assert any(
            isinstance(found, type)
            and issubclass(found, mailapi.Module)
            and found.__module__ == loaded.__name__
            for found in vars(loaded).values()
        ), f"{name}.py has no class that modulelist can name"
