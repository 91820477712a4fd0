"""Shows the progress of long commands on standard error."""

import sys
import time


class TerminalLine:
    """A line on the terminal that shows the progress of a command. Without a terminal, nothing is shown."""

    text = ""

    def __call__(self, text: str):
        """Show a text in place of the last one. An empty text clears the line."""
        if sys.stderr.isatty() and text != self.text:
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)
            self.text = text

    def count(self, done: int, total: int, before: str = "", after: str = ""):
        """Show a progress such as "copying: 3 of 10 pages": `before`, `done` of `total`, and `after`.

        End the line when `done` reaches `total`.
        """
        self(f"{before}{done:,} of {total:,}{after}")
        if done >= total and sys.stderr.isatty():
            print(file=sys.stderr, flush=True)
            self.text = ""


class RowCounts:
    """Prints how many rows of a table have been compared and changed, at most once a second."""

    def __init__(self, table: str):
        self.table, self.written_at = table, time.monotonic()

    def __call__(self, compared: int, changed: int):
        if time.monotonic() - self.written_at > 1:
            self.write(compared, changed)

    def write(self, compared: int, changed: int):
        """Print at once how many rows of the table were compared and changed, unless both numbers are 0."""
        self.written_at = time.monotonic()
        if compared or changed:
            print(
                f"{self.table}: {compared:,} rows compared, {changed:,} written", file=sys.stderr, flush=True
            )
