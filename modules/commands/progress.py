"""Shows the progress of long commands on standard error."""

import sys
import time


class TerminalLine:
    """Shows progress on one line of the terminal, which each new text replaces. Without a terminal, shows nothing."""

    text = ""

    def __call__(self, text: str):
        """Replace the text on the line by `text`. "" empties the line, so that the command's output can follow."""
        if sys.stderr.isatty() and text != self.text:
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
            self.text = text

    def count(self, done: int, total: int, before: str = "", after: str = ""):
        """Replace the text on the line by `before`, "3 of 10" and `after`. When `done` reaches `total`, end the line."""
        self(f"{before}{done:,} of {total:,}{after}")
        if done >= total and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
            self.text = ""


class RowCounts:
    """Prints how many rows of a table were compared and changed: at most once a second, and at the end."""

    def __init__(self, table: str):
        self.table, self.written_at = table, time.monotonic()

    def __call__(self, compared: int, changed: int):
        if time.monotonic() - self.written_at > 1:
            self.write(compared, changed)

    def write(self, compared: int, changed: int):
        """Print the numbers of compared and of changed rows now, unless both are 0."""
        self.written_at = time.monotonic()
        if compared or changed:
            print(
                f"{self.table}: {compared:,} rows compared, {changed:,} written", file=sys.stderr, flush=True
            )
