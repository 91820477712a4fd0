"""The progress of long commands, printed to standard error."""

import sys
import time


class TerminalLine:
    """A line on the terminal that each call replaces. Without a terminal nothing is printed."""

    text = ""

    def __call__(self, text: str):
        """Replace the line's text; "" clears the line before the command's output."""
        if sys.stderr.isatty() and text != self.text:
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
            self.text = text

    def count(self, done: int, total: int, before: str = "", after: str = ""):
        """Show the text `before`, "3 of 10", and the text `after`. When all are done, end the line."""
        self(f"{before}{done:,} of {total:,}{after}")
        if done >= total and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
            self.text = ""


class RowCounts:
    """Counts of a table's rows, printed at most once a second and at the end, also if standard error is a file."""

    def __init__(self, table: str):
        self.table, self.written_at = table, time.monotonic()

    def __call__(self, compared: int, changed: int):
        if time.monotonic() - self.written_at > 1:
            self.write(compared, changed)

    def write(self, compared: int, changed: int):
        """Print the counts now, unless both are 0."""
        self.written_at = time.monotonic()
        if compared or changed:
            print(
                f"{self.table}: {compared:,} rows compared, {changed:,} written", file=sys.stderr, flush=True
            )
