"""Write a copy of mailapi.pyz with bytecode for this version of Python, so that CGI scripts start three times as fast.

Other versions of Python can run the copy, too, as it still has the source files.
"""

import importlib.util
import marshal
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import mailapi

UNCHECKED = (1).to_bytes(4, "little")  # flag of a .pyc file that is never compared with its source (PEP 552)


def options(parser):
    parser.add_argument("file", metavar="FILE", help="the copy to write; a file of that name is replaced")


def run(args):
    original = mailapi.HERE
    if not zipfile.is_zipfile(original):
        raise mailapi.ConfigError("Only mailapi.pyz can be compiled; `make pyz` makes one.")
    target = Path(args.file).absolute()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".mailapi-") as folder:
        new = os.path.join(folder, "new")
        with zipfile.ZipFile(original) as archive, open(new, "xb") as file:
            file.write(f"#!{sys.executable}\n".encode())
            copy_compiled(archive, file, target)
        os.chmod(new, 0o755)
        os.replace(new, target)
    print(f"Wrote {args.file}, which starts fast with {sys.executable}.")


def copy_compiled(archive: zipfile.ZipFile, file, target: Path):
    """Copy a ZIP archive to the open file `file`, and add the bytecode of its Python sources.

    `target` is the final path of the copy, which tracebacks show.
    """
    with zipfile.ZipFile(file, "w") as copy:
        for entry in archive.infolist():
            if entry.filename.endswith(".pyc"):
                continue  # made by the Python that compiled the original
            content = archive.read(entry)
            copy.writestr(entry, content)
            if entry.filename.endswith(".py"):
                bytecode = zipfile.ZipInfo(entry.filename + "c", entry.date_time)
                copy.writestr(bytecode, compiled(content, str(target / entry.filename)))


def compiled(source: bytes, path: str) -> bytes:
    """Compile a Python source, and return the content of its .pyc file. Tracebacks show `path` as the source file."""
    code = compile(source, path, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)
