"""The lines that `mailapi check` prints."""

import grp
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import mailapi


class Report:
    """The printed lines. `failed` becomes true when a line reports an error."""

    failed = False

    def good(self, line: str):
        print(f"ok    {mailapi.printable(line)}")

    def bad(self, line: str):
        self.failed = True
        print(f"FAIL  {mailapi.printable(line)}")

    def warn(self, line: str):
        """Print a warning about something that may be intended. It does not change the exit status."""
        print(f"warn  {mailapi.printable(line)}")

    def result(self, passed: bool, good: str, bad: str):
        """Print the line `good` if the check has passed, otherwise the line `bad`."""
        return self.good(good) if passed else self.bad(bad)


def describe(path: Path) -> str:
    """Return a file's owner, group and mode as text: "owner root, group mail, mode -rw-rw----"."""
    status = path.stat()
    return (
        f"owner {name_of(pwd.getpwuid, status.st_uid)}, group {name_of(grp.getgrgid, status.st_gid)}, "
        f"mode {stat.filemode(status.st_mode)}"
    )


def name_of(find: Callable, number: int) -> str:
    """Return the name of a user or group id, or the number as text without one. find: pwd.getpwuid or grp.getgrgid."""
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
