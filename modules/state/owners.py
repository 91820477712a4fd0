"""The owner of files that root creates, for example by `mailapi init`: the service must be able to use them."""

import contextlib
import os


def chown_like(file: str | os.PathLike | int, model: str | os.PathLike):
    """Give a file the owner and group of another file, `model`, such as its folder.

    `file`: a path or a file descriptor. Does nothing if the process does not run as root, or the file system has no
    owners.
    """
    if os.geteuid() == 0:
        status = os.stat(model)
        with contextlib.suppress(OSError):
            os.chown(file, status.st_uid, status.st_gid, follow_symlinks=isinstance(file, int))
