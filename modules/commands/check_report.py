"""The lines that `mailapi check` prints: good, warning or error."""

import grp
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import mailapi


class Report:
    """Prints the results of checks. `failed` is True if one of them was an error."""

    failed = False

    def good(self, line: str):
        print(f"ok    {mailapi.printable(line)}")

    def bad(self, line: str):
        self.failed = True
        print(f"FAIL  {mailapi.printable(line)}")

    def warn(self, line: str):
        """Print a warning, for what may be intended. The exit status stays 0."""
        print(f"warn  {mailapi.printable(line)}")

    def result(self, passed: bool, good: str, bad: str):
        """Print `good` if a check has passed, else print `bad` as an error."""
        return self.good(good) if passed else self.bad(bad)


def describe(path: Path) -> str:
    """Return a file's owner, group and mode: "owner root, group mail, mode -rw-rw----"."""
    status = path.stat()
    return (
        f"owner {name_of(pwd.getpwuid, status.st_uid)}, group {name_of(grp.getgrgid, status.st_gid)}, "
        f"mode {stat.filemode(status.st_mode)}"
    )


def name_of(find: Callable, number: int) -> str:
    """Return the name of a user or group by number; without a name, the number. find: pwd.getpwuid or grp.getgrgid."""
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
