"""Lines that `mailapi check` prints, and how they describe a file."""

import grp
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import mailapi


class Report:
    """The printed lines; `failed` once one of them reports an error."""

    failed = False

    def good(self, line: str):
        print(f"ok    {mailapi.printable(line)}")

    def bad(self, line: str):
        self.failed = True
        print(f"FAIL  {mailapi.printable(line)}")

    def warn(self, line: str):
        """Print what may be intended; the exit status does not count it."""
        print(f"warn  {mailapi.printable(line)}")

    def result(self, passed: bool, good: str, bad: str):
        """Print one of two lines."""
        return self.good(good) if passed else self.bad(bad)


def describe(path: Path) -> str:
    """Return a file's owner, group and mode."""
    status = path.stat()
    return (
        f"owner {name_of(pwd.getpwuid, status.st_uid)}, group {name_of(grp.getgrgid, status.st_gid)}, "
        f"mode {stat.filemode(status.st_mode)}"
    )


def name_of(find: Callable, number: int) -> str:
    """Return the name of a user or group id, or the number where it has none."""
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
