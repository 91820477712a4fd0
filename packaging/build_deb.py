"""Build a Debian package of mailapi: mailapi.pyz with a service, a user of its own and /etc/mailapi.

`make deb` calls it. The package needs Debian's python3 alone. The scripts that dpkg runs are in packaging/debian.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
from build_pyz import commit_time  # noqa: E402

SCRIPTS = ROOT / "packaging/debian"
VERSION = re.search('__version__ = "(.*)"', (ROOT / "mailapi.py").read_text(encoding="utf-8"))[1]
PYZ = "usr/lib/mailapi/mailapi.pyz"
PROGRAM = f'#!/bin/sh\nexec /usr/bin/python3 /{PYZ} "$@"\n'
CONTROL = f"""\
Package: mailapi-server
Version: {VERSION}
Architecture: all
Maintainer: the authors of mailapi <mailapi@localhost>
Section: mail
Priority: optional
Depends: python3 (>= 3.11), adduser
Suggests: python3-orjson, python3-nh3, python3-tinycss2
Description: HTTP control plane for a mail server
 mailapi answers in place of the PHP API of cmail: users, addresses,
 routing, POP access, delegates, a web mailbox and the queue, over the same
 databases. It also provisions accounts of an atmail-like suite.
"""
# Lines of config.sample.py, and the lines that replace them in the package's config.
SETTINGS = {
    'dbpath = "data/master.db3"': 'dbpath = "/var/lib/cmail/master.db3"',
    'state = ""': 'state = "/var/lib/mailapi/state.db3"',
}
# Lines of docs/mailapi.service, and the lines that replace them in the package's service.
SERVICE = {
    "/opt/mailapi/bin/mailapi": "/usr/bin/mailapi",
    "Group=cmail": "# The mail daemons' group in its place, if they share the database's files: systemctl edit mailapi\nGroup=mailapi",
    "ReadWritePaths=/var/lib/cmail": "ReadWritePaths=-/var/lib/cmail",
}
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/mailapi",
    "zsh": "usr/share/zsh/vendor-completions/_mailapi",
    "fish": "usr/share/fish/vendor_completions.d/mailapi.fish",
}


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / f"dist/mailapi-server_{VERSION}_all.deb"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mailapi-deb-") as folder:
        tree = Path(folder) / "tree"
        fill(tree)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, target],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"SOURCE_DATE_EPOCH": str(commit_time())},
        )
    print(f"Wrote {target}.")


def fill(tree: Path):
    """Write all files of the package, and those that dpkg reads, into a folder."""
    pyz = tree / PYZ
    pyz.parent.mkdir(parents=True)
    subprocess.run([sys.executable, ROOT / "build_pyz.py", pyz], check=True, stdout=subprocess.DEVNULL)
    write(tree / "usr/bin/mailapi", PROGRAM, 0o755)
    write(tree / "usr/lib/systemd/system/mailapi.service", replaced("docs/mailapi.service", SERVICE))
    write(tree / "etc/mailapi/config.py", replaced("config.sample.py", SETTINGS))
    page = tree / "usr/share/man/man1/mailapi.1.gz"
    write(page, gzip.compress(said(pyz, "man"), mtime=0))
    for shell, path in COMPLETIONS.items():
        write(tree / path, said(pyz, "completion", shell))
    documents = tree / "usr/share/doc/mailapi-server"
    shutil.copytree(ROOT / "docs", documents / "docs", ignore=shutil.ignore_patterns("*.service"))
    shutil.copy(ROOT / "README.md", documents)
    write(documents / "changelog.gz", gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), mtime=0))
    write(documents / "copyright", licences(pyz))
    write(tree / "DEBIAN/control", CONTROL)
    write(tree / "DEBIAN/conffiles", "/etc/mailapi/config.py\n")
    for script in SCRIPTS.iterdir():
        write(tree / "DEBIAN" / script.name, script.read_text(), 0o755)
    built_at = commit_time()
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (built_at, built_at))
        # The umask and the modes of the clone's files do not matter.
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def write(path: Path, content: str | bytes, mode: int = 0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def replaced(file: str, changes: dict[str, str]) -> str:
    """Return the text of a file of the project with these changes. Exit if one of them finds nothing to replace."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for before, after in changes.items():
        if before not in text:
            sys.exit(f"{file} lacks {before!r}.")
        text = text.replace(before, after)
    return text


def said(pyz: Path, *arguments: str) -> bytes:
    """Return what a command of mailapi.pyz prints."""
    return subprocess.run([sys.executable, pyz, *arguments], check=True, stdout=subprocess.PIPE).stdout


def licences(pyz: Path) -> bytes:
    """Return the licences of mailapi and of the packages in mailapi.pyz."""
    with zipfile.ZipFile(pyz) as archive:
        names = [name for name in archive.namelist() if re.search(r"\.dist-info/licenses/.", name)]
        return b"\n".join(
            name.split(".dist-info")[0].encode() + b"\n\n" + archive.read(name) for name in names
        )


if __name__ == "__main__":
    main()
