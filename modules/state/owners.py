"""Owners of files that root makes for the service."""

import contextlib
import os


def chown_like(file: str | os.PathLike | int, model: str | os.PathLike):
    """Give a path or an open file the owner and group of another file, such as its folder, so that the service can
    use it. Only root can: for other users, and on file systems without owners, nothing is done."""
    if os.geteuid() == 0:
        status = os.stat(model)
        with contextlib.suppress(OSError):
            os.chown(file, status.st_uid, status.st_gid, follow_symlinks=isinstance(file, int))
