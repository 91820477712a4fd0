"""The owner of files that root creates, for example by `mailapi init`, so that the service can use them."""

import contextlib
import os


def chown_like(file: str | os.PathLike | int, model: str | os.PathLike):
    """Give `file`, a path or a file descriptor, the owner and group of `model`, which may be its folder.

    Do nothing if the process does not run as root, or if the file system has no owners.
    """
    if os.geteuid() == 0:
        status = os.stat(model)
        with contextlib.suppress(OSError):
            os.chown(file, status.st_uid, status.st_gid, follow_symlinks=isinstance(file, int))
