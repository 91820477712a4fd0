"""Prints the results of `mailapi check`, one line for each."""

import grp
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import mailapi


class Report:
    """Prints the result of each check as a line: good, warning or error. `failed` is True after the first error.

    If `quiet` is True, only errors are printed.
    """

    def __init__(self, quiet: bool):
        self.quiet, self.failed = quiet, False

    def good(self, line: str):
        if not self.quiet:
            print(f"ok    {mailapi.printable(line)}")

    def bad(self, line: str):
        self.failed = True
        print(f"FAIL  {mailapi.printable(line)}")

    def warn(self, line: str):
        """Print a warning, which does not change the exit status of `mailapi check`."""
        if not self.quiet:
            print(f"warn  {mailapi.printable(line)}")

    def result(self, passed: bool, good: str, bad: str):
        """Print the line `good` if `passed` is True; otherwise print the line `bad` as an error."""
        return self.good(good) if passed else self.bad(bad)


def describe(path: Path) -> str:
    """Return a text about the owner, group and mode of a file: "owner root, group mail, mode -rw-rw----"."""
    status = path.stat()
    return (
        f"owner {name_of(pwd.getpwuid, status.st_uid)}, group {name_of(grp.getgrgid, status.st_gid)}, "
        f"mode {stat.filemode(status.st_mode)}"
    )


def name_of(find: Callable, number: int) -> str:
    """Return the name of the user or group with the ID `number`, or the ID as text if it has no name.

    `find` is the function that looks it up: pwd.getpwuid or grp.getgrgid.
    """
    try:
        return find(number)[0]
    except KeyError:
        return str(number)
