"""Build mailapi.pyz: mailapi and the packages that it needs in one file, which any Python from 3.11 on runs.

`make pyz` calls it. The bytes of the file depend only on the commit and on the versions of the packages that are
installed: its entries are sorted, not compressed, and have the commit's time. It has sources only, since bytecode is
for one version of Python; `mailapi.pyz compile` adds bytecode.
"""

import os
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["mariadb"]]
LICENCE = re.compile("LICEN[CS]E|COPYING|NOTICE", re.IGNORECASE)
START = b'''"""Start mailapi: as a CGI script where a web server runs it, else as the command line."""

import os
import sys

if sys.version_info < (3, 11):
    sys.exit("mailapi needs Python 3.11 or later.")

import mailapi

sys.exit(mailapi.load_part("http.cgi").run() if "GATEWAY_INTERFACE" in os.environ else mailapi.main())
'''


def main():
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist/mailapi.pyz")
    target.parent.mkdir(parents=True, exist_ok=True)
    packages = installed_packages()
    entries = own_files(packages)
    for package in packages.values():
        entries |= package_files(package)
    with open(target, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        write_archive(file, entries)
    target.chmod(0o755)
    versions = ", ".join(f"{package.name} {package.version}" for package in packages.values())
    print(f"Wrote {target} with {versions}.")


def installed_packages() -> dict[str, metadata.Distribution]:
    """Return by name the installed packages that mailapi needs, and those that these packages need."""
    found, wanted = {}, list(REQUIREMENTS)
    while wanted:
        name = re.match(r"[\w.-]+", wanted.pop(0))[0].lower()
        if name not in found:
            found[name] = metadata.distribution(name)
            wanted += [more for more in found[name].requires or [] if ";" not in more]
    return dict(sorted(found.items()))


def own_files(packages: dict[str, metadata.Distribution]) -> dict[str, bytes]:
    """Return the content of mailapi's own entries in the archive, by path.

    Its modules are in the folder mailapi_modules, as in the wheel. `packages` are those that mailapi requires.
    """
    entries = {"__main__.py": START}
    for name in ("mailapi.py", "config.sample.py"):
        entries[name] = (ROOT / name).read_bytes()
    for file in (ROOT / "modules").rglob("*"):
        if file.suffix in (".py", ".sql", ".html", ".css", ".js", ".svg", ".txt"):
            entries[f"mailapi_modules/{file.relative_to(ROOT / 'modules').as_posix()}"] = file.read_bytes()
    version = re.search('__version__ = "(.*)"', entries["mailapi.py"].decode())[1]
    pinned = [f"{package.name}=={package.version}" for package in packages.values()]
    return entries | package_info("mailapi", version, {"LICENSE": (ROOT / "LICENSE").read_bytes()}, pinned)


def package_files(package: metadata.Distribution) -> dict[str, bytes]:
    """Return the content of a package's entries in the archive, by path: Python sources, metadata and licences.

    Compiled files, which are for one kind of machine, and scripts are left out. Exit if the package has no licence.
    """
    sources, licences = {}, {}
    for file in package.files:
        if file.suffix == ".py" and ".." not in file.parts:
            sources[str(file)] = file.read_binary()
        elif file.parts[0].endswith(".dist-info") and LICENCE.match(file.name):
            licences[file.name] = file.read_binary()
    if not licences:
        sys.exit(
            f"{package.name} {package.version} came without its licence, so that it cannot be passed on."
        )
    return sources | package_info(package.name, package.version, licences)


def package_info(name: str, version: str, licences: dict[str, bytes], requires=()) -> dict[str, bytes]:
    """Return the content of a package's metadata entries (NAME-VERSION.dist-info), by path.

    They are written anew, because an installer's metadata differs from version to version. `licences` has texts by
    file name, `requires` has requirements such as "peewee==3.18".
    """
    folder = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"License-File: {licence}" for licence in sorted(licences)]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    info = {f"{folder}/METADATA": "".join(f"{line}\n" for line in lines).encode()}
    return info | {f"{folder}/licenses/{licence}": text for licence, text in licences.items()}


def write_archive(file, entries: dict[str, bytes]):
    """Write a ZIP file with these entries, a mapping of path to content, and with their folders.

    Python before 3.13 needs the folders.
    """
    folders = {f"{folder}/": b"" for name in entries for folder in PurePosixPath(name).parents if folder.name}
    built_at = time.gmtime(commit_time())[:6]
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in sorted((entries | folders).items()):
            entry = zipfile.ZipInfo(name, built_at)
            entry.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
            archive.writestr(entry, content)


def commit_time() -> int:
    """Return the time of the commit, in seconds since 1970: two builds of one commit are the same bytes."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
