"""Compare mailapi with the original PHP API, by the requests that clients really send.

Four clients send a request over and over, each the next one when the last one is answered. The mix is two browsers,
a web mailbox and a script that logs in each time, while a mail daemon delivers a mail every second.

CPU is that of the server's workers, divided by the number of requests. The floor is a Bottle app that reads the body
and answers a constant. The original was measured in multiples of the floor under uWSGI; so is mailapi, under any
server. `× own floor` is the multiple of the floor under the same server. All figures are medians of several rounds,
in which the rows take turns; the multiples are those of each round.
"""

import contextlib
import os
import shutil
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench import rows
from bench.databases import ADMIN, FOLDER, MailDaemon, database, execute
from bench.load import Sample, load, log_in
from bench.rows import BY_NAME, MIX_USERS, ORIGINAL_FLOOR, ROWS, Row
from bench.servers import SERVERS, Server, Unavailable, serve

FLOOR_REQUEST = BY_NAME["?get_modules"]
MIX = Row("a mix of these", 0, users=MIX_USERS)
HEAD = (
    "request",
    "users",
    "original, × floor",
    "mailapi, × floor",
    "ratio",
    "× own floor",
    "µs",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "original's p99",
)


@dataclass
class Figures:
    """The measurements of a row under one server."""

    samples: list[Sample] = field(default_factory=list)

    def median(self, figure) -> float:
        """Return the median of a figure of each sample, such as Sample.rate."""
        return statistics.median(map(figure, self.samples))

    def counts(self) -> Counter[str]:
        """Return how many requests of each name were sent."""
        return sum((sample.counts for sample in self.samples), Counter())


class Installation:
    """mailapi under one server, with a database of its own, and sessions of the users that send requests."""

    def __init__(self, stack: contextlib.ExitStack, kind: str, users: int, folder: Path):
        folder.mkdir(parents=True)
        self.users = users
        self.dbpath = Path(shutil.copy(database(users), folder / "master.db3"))
        self.server: Server = stack.enter_context(serve(kind, "mailapi", folder, self.dbpath))
        self.cookies = {user: log_in(self.server.port, user) for user in (ADMIN, rows.READER)}

    def measure(self, row: Row, seconds: float) -> Sample:
        """Send the requests of a row for some seconds, then undo what they have changed in the database."""
        if row is MIX:
            with MailDaemon(self.dbpath, rows.READER):
                return load(self.server, rows.mix(self.cookies), seconds)
        sample = load(self.server, rows.repeated(row, self.cookies), seconds)
        if row.undo:
            execute(self.dbpath, row.undo)
        return sample


class Comparison:
    """mailapi and the floor, the least that an app must do, under one kind of server.

    The floor under uWSGI is the reference: CPU is reported in multiples of it.
    """

    def __init__(self, stack: contextlib.ExitStack, kind: str, chosen: list[Row], folder: Path):
        self.kind, self.rows = kind, {row: Figures() for row in chosen}
        self.floors = {kind: stack.enter_context(serve(kind, "bench.floor", folder / "floor"))}
        self.reference = kind  # the server whose floor is the unit of multiples, if uWSGI is missing
        with contextlib.suppress(Unavailable):
            if kind != "uwsgi":
                self.floors["uwsgi"] = stack.enter_context(serve("uwsgi", "bench.floor", folder / "uwsgi"))
            self.reference = "uwsgi"
        self.floor_figures = {each: Figures() for each in self.floors}
        self.installations = {
            users: Installation(stack, kind, users, folder / str(users))
            for users in sorted({row.users for row in chosen})
        }

    def round(self, seconds: float):
        """Measure the floors and each row once, for some seconds each."""
        for each, server in self.floors.items():
            requests = rows.repeated(FLOOR_REQUEST, {ADMIN: "0" * 64})
            self.floor_figures[each].samples.append(sample := load(server, requests, seconds))
            if sample.unexpected:
                raise AssertionError(f"the floor under {each}: {sample.unexpected[0]}")
        for row, figures in self.rows.items():
            figures.samples.append(self.installations[row.users].measure(row, seconds))

    def report(self, extent: str):
        """Print the table of all rows, and the ratios by which mailapi is judged.

        `extent` is how long it was measured, such as "5 rounds of 1 s".
        """
        print(f"\n### {self.kind}: {extent}, load average {os.getloadavg()[0]:.1f}\n")
        for each, figures in self.floor_figures.items():
            print(
                f"The floor under {each}: {figures.median(Sample.microseconds):.0f} µs, {figures.median(Sample.rate):,.0f} requests/s, "
                f"p50 {figures.median(p50):.1f} ms, p99 {figures.median(p99):.1f} ms."
            )
        print()
        print_table([self.line(row, figures) for row, figures in self.rows.items()])
        ratios = {row: self.ratio(row, figures) for row, figures in self.rows.items() if row is not MIX}
        small = [ratio for row, ratio in ratios.items() if row.users == 5]
        if small:
            print(
                f"\nGeometric mean of the ratios with 5 users: {statistics.geometric_mean(small):.2f}.",
                end=" ",
            )
        worst = max(ratios, key=ratios.get)
        print(f"The largest ratio: {ratios[worst]:.2f}, {worst.name} with {worst.users:,} users.", flush=True)
        for row, figures in self.rows.items():
            print_unexpected(row, figures)

    def ratio(self, row: Row, figures: Figures) -> float:
        """Return mailapi's CPU for a row divided by the original's, both in multiples of their floors."""
        return self.multiple(figures) / self.original(row, figures)

    def multiple(self, figures: Figures, of: str = "") -> float:
        """Return mailapi's CPU as a multiple of the floor's under server `of`, by default the reference."""
        floors = self.floor_figures[of or self.reference].samples
        return statistics.median(
            sample.microseconds() / floor.microseconds() for sample, floor in zip(figures.samples, floors)
        )

    def original(self, row: Row, figures: Figures) -> float:
        """Return the original's CPU for a row as a multiple of its floor.

        For the mix it depends on how many requests of each name were sent.
        """
        return (rows.original_of(figures.counts()) if row is MIX else row.original) / ORIGINAL_FLOOR

    def line(self, row: Row, figures: Figures) -> list[str]:
        """Return the cells of a row in the table."""
        return [
            row.name,
            f"{row.users:,}",
            short(self.original(row, figures)),
            short(self.multiple(figures)),
            f"{self.ratio(row, figures):.2f}",
            short(self.multiple(figures, of=self.kind)),
            f"{figures.median(Sample.microseconds):,.0f}",
            f"{figures.median(Sample.rate):,.0f}",
            short(figures.median(p50)),
            short(figures.median(p99)),
            str(row.original_p99 or ""),
        ]


def print_unexpected(row: Row, figures: Figures):
    """Print how many answers of a row were unexpected (refusals or errors), and the first of them."""
    answers = [answer for sample in figures.samples for answer in sample.unexpected]
    if answers:
        print(f"\n{row.name}: {len(answers)} answers were not as they must be. The first: {answers[0]}")


def p50(sample: Sample) -> float:
    return sample.percentile(50)


def p99(sample: Sample) -> float:
    return sample.percentile(99)


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(lines: list[list[str]]):
    widths = [max(map(len, column)) for column in zip(HEAD, *lines)]
    for cells in [HEAD, ["-" * width for width in widths], *lines]:
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths)) + " |")


def compare(kind: str, chosen: list[Row], rounds: int, seconds: float):
    """Measure the chosen rows under one kind of server, and print the table."""
    folder = FOLDER / f"traffic-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        comparison = Comparison(stack, kind, chosen, folder)
        comparison.round(0)  # warms up
        for figures in [*comparison.rows.values(), *comparison.floor_figures.values()]:
            figures.samples.clear()
        for _ in range(rounds):
            comparison.round(seconds)
        comparison.report(f"{rounds} rounds of {seconds:g} s")


def options(parser):
    parser.add_argument(
        "--server",
        action="append",
        help=f"a kind of server, with its options (default: {', '.join(SERVERS)})",
    )
    parser.add_argument(
        "--users", action="append", type=int, help="one size of database (default: 5, 1000, 20000)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each stretch (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round: whether it works, not how fast"
    )


def run(args):
    rounds, seconds = (1, 0.1) if args.quick else (args.rounds, args.seconds)
    chosen = [row for row in (*ROWS, MIX) if not args.users or row.users in args.users]
    for kind in args.server or SERVERS:
        try:
            compare(kind, chosen, rounds, seconds)
        except Unavailable as error:
            print(f"\n### {kind}: left out. {error}")
