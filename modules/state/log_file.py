"""The log file: one line in logfmt for each event, such as `time=… level=info msg="…"`."""

import contextlib
import io
import json
import logging
import logging.handlers
import os
import re
import sys
from datetime import datetime
from pathlib import Path

from mailapi import Config

from .owners import chown_like

PLAIN = re.compile(r"[A-Za-z0-9._/@^+-]+")


def logfmt(fields: dict) -> str:
    """Format `fields` as one line in logfmt, such as `level=info msg="two words"`. Leave out fields that are None."""
    return " ".join(f"{quoted(key)}={quoted(value)}" for key, value in fields.items() if value is not None)


def quoted(value) -> str:
    """Return a value as text for logfmt: a plain word unchanged, other text in double quotes with JSON's escapes."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text)


def local_time(seconds: float | None = None) -> str:
    """Return a time as ISO 8601 with this machine's time zone, such as "2025-01-31T12:00:00+01:00".

    `seconds`: the time in seconds since 1970. If it is None, use the present time.
    """
    moment = datetime.now() if seconds is None else datetime.fromtimestamp(seconds)
    return moment.astimezone().isoformat(timespec="seconds")


class LogfmtFormatter(logging.Formatter):
    """Formats a log record as one line of logfmt.

    The record's message becomes the field `msg`. A record that was logged with `extra={"logfmt": fields}` has the
    fields of this dictionary instead.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict = {"time": local_time(record.created), "level": record.levelname.lower()}
        own = getattr(record, "logfmt", None)
        fields |= {"msg": record.getMessage()} if own is None else own
        if record.name != "mailapi":
            fields["logger"] = record.name
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return logfmt(fields)


class LogFile(logging.handlers.WatchedFileHandler):
    """A logging handler that writes to a file, and opens it again after logrotate has renamed it.

    Several processes may write to the same file. Lines that cannot be written go to standard error.
    """

    def __init__(self, path: str):
        super().__init__(path, encoding="utf-8", delay=True)
        self.setFormatter(LogfmtFormatter())
        self.is_obsolete = False

    def _open(self):
        # Whoever owns the folder could have root create or give away any file by a link.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if os.geteuid() else os.O_NOFOLLOW)
        try:
            handle = os.open(self.baseFilename, flags | os.O_CREAT | os.O_EXCL, 0o640)
            chown_like(handle, Path(self.baseFilename).parent)
        except FileExistsError:
            handle = os.open(self.baseFilename, flags, 0o640)
        # Unbuffered: each line is one call of write(2), so that lines of several processes do not mix.
        return io.TextIOWrapper(io.FileIO(handle, "a"), encoding="utf-8", write_through=True)  # type: ignore[type-var]

    def reopen(self):
        """Make the handler open the file again before it writes the next line. Signal handlers may call this."""
        self.is_obsolete = True

    def emit(self, record: logging.LogRecord):
        if self.is_obsolete and self.stream:
            self.is_obsolete = False
            self.stream.close()
            self.stream = None  # type: ignore[assignment]
        try:
            super().emit(record)
        except OSError:  # it cannot be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord):
        with contextlib.suppress(Exception):
            print(self.format(record), file=sys.stderr, flush=True)

    def check(self):
        """Open the log file if it is not open yet. Raise OSError if that is impossible."""
        if self.stream is None:
            self.stream = self._open()
            self._statstream()


def install(config: Config) -> LogFile | None:
    """Write mailapi's log to the file in the setting `log_file`. Return the log handler, or None without this setting.

    The root logger's handlers no longer get the log. If a process has two applications with different files, each
    file gets the lines of both.
    """
    if not config.log_file:
        return None
    path, logger = str(config.base / config.log_file), logging.getLogger("mailapi")
    for handler in logger.handlers:
        if isinstance(handler, LogFile) and handler.baseFilename == os.path.abspath(path):
            return handler
    logger.addHandler(handler := LogFile(path))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler
