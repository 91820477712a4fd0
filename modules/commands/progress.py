"""Progress of long commands, on standard error."""

import sys
import time


class TerminalLine:
    """A line on a terminal that each report replaces; nothing where standard error is no terminal."""

    text = ""

    def __call__(self, text: str):
        """Replace the line; an empty text clears it for the command's output."""
        if sys.stderr.isatty() and text != self.text:
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
            self.text = text

    def count(self, done: int, total: int, before: str = "", after: str = ""):
        """Show how many are done, between two texts; the last count ends the line."""
        self(f"{before}{done:,} of {total:,}{after}")
        if done >= total and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
            self.text = ""


class RowCounts:
    """Lines with the row counts of a table, one a second and one at the end, also into a file."""

    def __init__(self, table: str):
        self.table, self.written_at = table, time.monotonic()

    def __call__(self, compared: int, changed: int):
        if time.monotonic() - self.written_at > 1:
            self.write(compared, changed)

    def write(self, compared: int, changed: int):
        """Print the counts now; nothing for an empty table."""
        self.written_at = time.monotonic()
        if compared or changed:
            print(
                f"{self.table}: {compared:,} rows compared, {changed:,} written", file=sys.stderr, flush=True
            )
