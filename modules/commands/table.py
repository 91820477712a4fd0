"""Prints the answer of an action on the terminal as tables."""

import json
import os
import re
import shutil
import sys
import time

import mailapi

TIMES = (
    "_time",
    "_created",
    "_expires",
    "_used",
    "_submission",
    "_lasttry",
)  # ends of names of columns: seconds since 1970
FLAGS = (
    "has_login",
    "user_login",
    "mail_read",
    "pop_lock",
    "token_reads_only",
)  # columns whose 1 and 0 are a yes and a no
EXPLAINED = (  # how a database's own sentence begins → what a person should know
    ("FOREIGN KEY constraint failed", "What it names does not exist, or is still used by something else."),
    ("UNIQUE constraint failed", "There is one already."),
)
NARROWEST = 8  # characters that a column keeps when a table is too wide


def print_answer(answer: dict, as_table: bool):
    """Print an action's answer on the terminal: each list in it as a table, and each other value on a line.

    Print all as JSON if `as_table` is False, or if the answer has a value that fits on no line, as {"mail":
    {"mail_subject": "Hello", …}} has. A list of one number or text is one line.
    """
    lists = {name: value for name, value in answer.items() if isinstance(value, list)}
    if not as_table or any(needs_json(value) for value in answer.values()):
        print(json.dumps(answer, ensure_ascii=sys.stdout.isatty(), indent=2, default=mailapi.readable))
        return
    for name, rows in lists.items():
        if len(rows) == 1 and not isinstance(rows[0], dict):
            print(f"{name}: {cell(name, rows[0])}")
        else:
            print_table([row if isinstance(row, dict) else {name: row} for row in rows])
    for name, value in answer.items():
        if not isinstance(value, list) and (name != "status" or value != "ok" or len(answer) == 1):
            print(explained(value) if name == "status" else f"{name}: {cell(name, value)}")


def explained(status: str) -> str:
    """Return a status for the terminal. A sentence of SQLite gets one in front that says what it means."""
    sentence = next((meaning for start, meaning in EXPLAINED if status.startswith(start)), "")
    return f"{sentence} ({mailapi.printable(status)})" if sentence else mailapi.printable(status)


def needs_json(value) -> bool:
    """Return whether a value in an answer is a dictionary that fits on no line: one with values other than numbers.

    {"waiting": 3, "failed": 1}, for example, is printed on a line.
    """
    return isinstance(value, dict) and not all(isinstance(entry, int) for entry in value.values())


def print_table(rows: list[dict]):
    """Print dictionaries as a table with their keys as headings.

    If the terminal is too narrow, leave out empty columns and the common prefix of the headings, and cut wide columns.
    """
    if not rows:
        print("(none)")
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names] + [[cell(name, row.get(name)) for name in names] for row in rows]
    columns = list(zip(*lines))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    if len("  ".join(max(column, key=len) for column in columns)) > width:
        columns = [column for column in columns if any(column[1:])] or columns
        common = len(re.sub("[^_]*$", "", os.path.commonprefix([heading for heading, *_ in columns])))
        columns = [(heading[common:], *cells) for heading, *cells in columns]
    widths = fitting_widths([max(map(len, column)) for column in columns], width)
    for line in zip(*columns):
        print("  ".join(cut(text, size).ljust(size) for text, size in zip(line, widths)).rstrip())


def fitting_widths(widths: list[int], width: int) -> list[int]:
    """Reduce the largest widths of columns until the table fits into `width` characters. Return the new widths."""
    widths = [min(each, max(width, NARROWEST)) for each in widths]  # at once, as a text may have megabytes
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def cut(text: str, size: int) -> str:
    """Return a text cut to at most `size` characters. If it was longer, it ends with an ellipsis."""
    return text if len(text) <= size else text[: size - 1] + "…"


def cell(name: str, value) -> str:
    """Convert a value of the column `name` to a line of text for a table.

    Times are shown as local dates: "2026-01-31 12:00:00". The values of objects in a list are separated by commas.
    """
    if name.endswith(TIMES) and re.fullmatch("[0-9]{1,12}", str(value)) and int(value):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(value)))
    if isinstance(value, bool) or name in FLAGS and value in (0, 1):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{number} {key}" for key, number in value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(
            mailapi.printable([cell(key, part) for key, part in row.items() if part is not None])
            for row in value
        )
    return mailapi.printable(value)
