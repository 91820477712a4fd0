"""Compare mailapi with a floor that answers a constant, under the same server.

CPU is that of the server's workers, divided by the number of requests: the median of interleaved rounds. "computed" is
the same load with no two requests alike. "changed" is one client whose every request follows a change of the database
by another connection, in multiples of the floor under the same load.
"""

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field

from bench.databases import Writer, database
from bench.load import CONNECTIONS, Sample, after_changes, ask, four_connections, log_in, median
from bench.servers import FOLDER, SERVERS, Server, Unavailable, serve

FLOOR = 44  # µs of CPU of a request to the floor where the original was measured
# The original behind nginx and PHP-FPM 8.2: µs of CPU a request, by path and users.
ORIGINAL = {
    "/?get_modules": {5: 316},
    "/users/?get": {5: 763, 1000: 5900, 20000: 118000},
    "/pop/?get": {5: 374, 1000: 487, 20000: 3570},
    "/addresses/?get": {5: 370, 1000: 936, 20000: 17800},
}
SIZES = (5, 1000, 20000)
HEAD = (
    "request",
    "users",
    "bytes",
    "µs",
    "× floor",
    "the original's",
    "ratio",
    "× same size",
    "requests/s",
    "p50 µs",
    "p99 µs",
    "PSS MB",
    "computed: µs",
    "× floor",
    "ratio",
    "p50 µs",
    "p99 µs",
    "changed: µs",
    "× its floor",
)


@dataclass
class Row:
    """One line of the table, with the samples measured so far."""

    kind: str  # of server
    path: str
    users: int
    server: Server
    floor: Server
    cookies: list[str]
    writer: Writer
    size: int = 0  # bytes of the answer
    hot: list[Sample] = field(default_factory=list)
    computed: list[Sample] = field(default_factory=list)
    changed: list[Sample] = field(default_factory=list)
    same_size: list[Sample] = field(default_factory=list)

    def measure(self, seconds: float):
        four_connections(self.server, self.path, self.cookies, seconds)  # warms up after the last change
        self.hot.append(four_connections(self.server, self.path, self.cookies, seconds))
        self.computed.append(four_connections(self.server, self.path, self.cookies, seconds, differ=True))
        self.changed.append(after_changes(self.server, self.path, self.cookies[0], self.writer, seconds / 2))
        self.same_size.append(four_connections(self.floor, f"/{self.size}", self.cookies, seconds))

    def check(self) -> "Row":
        """Check that the answer is the list to be measured, and note its size."""
        answer = json.loads((response := ask(self.server.port, self.path, self.cookies[0])).body)
        listed = answer.get(self.path.split("/")[1], answer.get("modules"))
        if answer["status"] != "ok" or not answer["login"] or len(listed) < self.users // 2:
            raise AssertionError(f"{self.path}: {response.body[:300]}")
        self.size = len(response.body)
        return self

    def original(self) -> float:
        """Return the original's multiple of the floor; 0 where it was not measured with the server and the users."""
        return ORIGINAL[self.path].get(self.users, 0) / FLOOR if self.kind == "uwsgi" else 0

    def line(self, floor: Sample, floor_changed: Sample) -> list[str]:
        hot, computed, changed, same = map(median, (self.hot, self.computed, self.changed, self.same_size))
        multiple, multiple_computed, original = hot.cpu / floor.cpu, computed.cpu / floor.cpu, self.original()
        return [
            self.path,
            f"{self.users:,}",
            f"{self.size:,}",
            f"{hot.cpu:,.0f}",
            short(multiple),
            short(original) if original else "",
            short(multiple / original) if original else "",
            short(hot.cpu / same.cpu),
            f"{hot.rate:,.0f}",
            f"{hot.p50:,.0f}",
            f"{hot.p99:,.0f}",
            f"{hot.pss / 1e6:.1f}",
            f"{computed.cpu:,.0f}",
            short(multiple_computed),
            short(multiple_computed / original) if original else "",
            f"{computed.p50:,.0f}",
            f"{computed.p99:,.0f}",
            f"{changed.cpu:,.0f}",
            short(changed.cpu / floor_changed.cpu),
        ]


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def compare(kind: str, sizes: list[int], rounds: int, seconds: float, paths: list[str]):
    """Measure one kind of server, and print its table."""
    folder = FOLDER / f"{kind}-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        floor = stack.enter_context(serve(kind, "bench.floor", folder / "floor"))
        rows, memory = [], ""
        for users in sizes:
            dbpath = database(users)
            server = stack.enter_context(serve(kind, "mailapi", folder / str(users), dbpath))
            cookies = [log_in(server.port) for _ in range(CONNECTIONS)]
            memory += peak(server, users, cookies[0])
            writer = stack.enter_context(contextlib.closing(Writer(dbpath)))
            rows += [
                Row(kind, path, users, server, floor, cookies, writer).check()
                for path in paths
                if path != "/?get_modules" or users == min(sizes)
            ]
        floors, floors_changed = [], []
        for _ in range(rounds):
            floors.append(four_connections(floor, "/", rows[0].cookies, seconds))
            floors_changed.append(after_changes(floor, "/", rows[0].cookies[0], rows[0].writer, seconds / 2))
            for row in rows:
                row.measure(seconds)
    print_report(
        kind, f"{rounds} rounds of {seconds} s", rows, median(floors), median(floors_changed), memory
    )


def print_report(kind: str, extent: str, rows: list[Row], floor: Sample, floor_changed: Sample, memory: str):
    print(
        f"\n### {kind}: {extent}, load average {os.getloadavg()[0]:.1f}\n\n"
        f"The floor: {floor.cpu:.0f} µs, {floor.rate:,.0f} requests/s, p50 {floor.p50:.0f} µs, p99 {floor.p99:.0f} µs, "
        f'PSS {floor.pss / 1e6:.1f} MB; asked as in "changed" {floor_changed.cpu:.0f} µs.\n'
    )
    table([row.line(floor, floor_changed) for row in rows])
    print(f"\n{memory}", flush=True)


def peak(server: Server, users: int, cookie: str) -> str:
    """Return a line with the memory of a fresh worker before and during users/?get."""
    for _ in range(20):
        ask(server.port, "/?get_modules", cookie)
    before, resident = server.pss(), server.memory("VmRSS")
    server.reset_peak()
    for _ in range(6):
        size = len(ask(server.port, "/users/?get", cookie).body)
    more = max(server.memory("VmHWM") - resident, 0)
    return (
        f"- {users:,} users: PSS of a worker {before / 1e6:.1f} MB; for /users/?get at most {more / 1e6:.1f} MB "
        f"more ({more / size:.1f} × its {size:,} bytes); {server.pss() / 1e6:.1f} MB afterwards\n"
    )


def table(lines: list[list[str]]):
    widths = [max(map(len, column)) for column in zip(HEAD, *lines)]
    for cells in [HEAD, ["-" * width for width in widths], *lines]:
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths)) + " |")


def options(parser):
    parser.add_argument(
        "--server", action="append", choices=SERVERS, help="one kind of server (default: all)"
    )
    parser.add_argument(
        "--users", action="append", type=int, help="one size of database (default: 5, 1000, 20000)"
    )
    parser.add_argument("--path", action="append", choices=ORIGINAL, help="one request (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each stretch (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="one short round: whether it works, not how fast"
    )


def run(args):
    rounds, seconds = (1, 0.2) if args.quick else (args.rounds, args.seconds)
    for kind in args.server or SERVERS:
        try:
            compare(kind, args.users or list(SIZES), rounds, seconds, args.path or list(ORIGINAL))
        except Unavailable as error:
            print(f"\n### {kind}: left out. {error}")
