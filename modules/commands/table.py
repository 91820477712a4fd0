"""Tables of an action's answer for the terminal: columns that fit its width, times as dates."""

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
)  # ends of names of columns: seconds since 1970
FLAGS = (
    "has_login",
    "user_login",
    "mail_read",
    "pop_lock",
    "token_reads_only",
)  # columns whose 1 and 0 are a yes and a no
NARROWEST = 8  # characters that a column keeps when a table is too wide


def print_answer(answer: dict, as_table: bool):
    """Print an answer's lists as tables and its other members below.

    Print JSON if the answer contains objects, or if `as_table` is false.
    """
    lists = [value for value in answer.values() if isinstance(value, list)]
    if not as_table or any(isinstance(value, dict) for value in answer.values()):
        print(json.dumps(answer, ensure_ascii=sys.stdout.isatty(), indent=2, default=mailapi.readable))
        return
    for rows in lists:
        print_table([row if isinstance(row, dict) else {"": row} for row in rows])
    for name, value in answer.items():
        if not isinstance(value, list) and (name != "status" or value != "ok" or len(answer) == 1):
            print(mailapi.printable(value) if name == "status" else f"{name}: {cell(name, value)}")


def print_table(rows: list[dict]):
    """Print rows in columns, with the keys of the dictionaries as headings.

    On a terminal that is too narrow, columns without a value and what all headings begin with are left out, and the
    widest columns are cut short.
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
    """Return the widths of a table's columns, the widest ones made narrower until the table has at most `width`."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def cut(text: str, size: int) -> str:
    """Return a text of at most `size` characters; an ellipsis shows that it was longer."""
    return text if len(text) <= size else text[: size - 1] + "…"


def cell(name: str, value) -> str:
    """Return the value of a column as one line of text without control characters.

    Times are local; of a list of objects the values are separated by commas.
    """
    if value is not None and name.endswith(TIMES) and str(value).isdigit() and int(value) < 2**40:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(value)))
    if isinstance(value, bool) or name in FLAGS and value in (0, 1):
        return "true" if value else "false"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return ", ".join(
            mailapi.printable([part for part in row.values() if part is not None]) for row in value
        )
    return mailapi.printable(value)
