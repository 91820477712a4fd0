"""Compare mailapi with the least that the same requests cost in PHP, on this machine and in one run.

bench/least.php only starts a session, runs the main statements and encodes the answer: without a check, without a
record. No PHP API can take less, the original neither. PHP-FPM with opcache and 4 children is behind nginx, mailapi
under uWSGI with 2 workers. CPU is that of PHP-FPM's children and of uWSGI's workers; nginx does not count. The rows
of mailbox are left out, since PHP has no parser of mails.
"""

import contextlib
import os
import pwd
import shutil
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench import rows
from bench.databases import ADMIN, FOLDER, ROOT, database, execute
from bench.load import Sample, load
from bench.rows import BY_NAME
from bench.servers import SBIN, Server, Unavailable, free_port, running_instance, serve
from bench.traffic import Installation, p99, short

REQUESTS = [BY_NAME[name] for name in BY_NAME if "GET" not in name and "mailbox" not in name]
# One for each client, since PHP locks a session while it is used.
SESSIONS = [letter * 26 for letter in "abcd"]
FPM = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
user = {user}
listen = {folder}/fpm.sock
listen.owner = {user}
pm = static
pm.max_children = 4
"""
NGINX = """
daemon off;
{as_root}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            fastcgi_pass unix:{folder}/fpm.sock;
            fastcgi_param SCRIPT_FILENAME {root}/bench/least.php;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param REQUEST_URI $request_uri;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param SESSIONS {folder}/sessions;
            fastcgi_param DBPATH {folder}/master.db3;
        }}
    }}
}}
"""


def php_fpm() -> str:
    """Return the path of PHP-FPM, whose name ends with its version. Raise Unavailable if it is not installed."""
    for folder in SBIN.split(os.pathsep):
        for program in sorted(Path(folder).glob("php-fpm*"), reverse=True):
            return str(program)
    raise Unavailable("PHP-FPM is not installed: `apt install php-fpm php-sqlite3`.")


@contextlib.contextmanager
def php(folder: Path) -> Iterator[Server]:
    """Run bench/least.php behind nginx during a `with` block, with a database and sessions of ADMIN in `folder`."""
    (folder / "sessions").mkdir(parents=True)
    for session in SESSIONS:
        (folder / "sessions" / f"sess_{session}").write_text(f'user_name|s:{len(ADMIN)}:"{ADMIN}";')
    shutil.copy(database(5), folder / "master.db3")
    values = {
        "folder": folder,
        "port": free_port(),
        "root": ROOT,
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "as_root": "" if os.getuid() else "user root;",
    }
    (folder / "fpm.conf").write_text(FPM.format(**values))
    (folder / "nginx.conf").write_text(NGINX.format(**values))
    fpm = [php_fpm(), "--allow-to-run-as-root", "--fpm-config", folder / "fpm.conf"]
    nginx = ["nginx", "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
    environ = os.environ | {"PATH": SBIN}
    with running_instance(fpm, folder / "fpm", folder / "fpm.sock", env=environ) as process:
        with running_instance(nginx, folder / "nginx", values["port"], env=environ):
            yield Server(values["port"], process.pid)


def options(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each stretch (default: %(default)s)")


def run(args):
    """Print a table: each request's CPU in PHP at least and in mailapi, their ratio, and p99."""
    try:
        compare(args.rounds, args.seconds)
    except Unavailable as error:
        print(f"left out. {error}")


def compare(rounds: int, seconds: float):
    """Measure the floor, PHP and mailapi in turn, for some seconds each, and print the table."""
    folder = FOLDER / f"php-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        least = stack.enter_context(php(folder / "php"))
        mailapi = Installation(stack, "uwsgi", 5, folder / "mailapi")
        floor = stack.enter_context(serve("uwsgi", "bench.floor", folder / "floor"))
        samples = defaultdict(list)
        for turn in range(rounds + 1):
            floors = load(floor, rows.repeated(BY_NAME["?get_modules"], mailapi.cookies), seconds)
            for row in REQUESTS:
                requests = [[row.encoded(client, {ADMIN: id_})] for client, id_ in enumerate(SESSIONS)]
                of_php = load(least, requests, seconds)
                if row.undo:
                    execute(folder / "php/master.db3", row.undo)
                of_mailapi = mailapi.measure(row, seconds)
                for label, sample in (("PHP", of_php), ("mailapi", of_mailapi)):
                    if sample.unexpected:
                        raise AssertionError(f"{label}, {row.name}: {sample.unexpected[0]}")
                if turn:  # the first round warms up
                    samples[row].append((floors, of_php, of_mailapi))
        print_table(samples)


def print_table(samples: dict[rows.Row, list[tuple[Sample, Sample, Sample]]]):
    """Print a row for each request. `samples` has those of the floor, of PHP and of mailapi for each round."""
    print(
        "| request | PHP at least, × floor | mailapi, × floor | mailapi / PHP | p99 of PHP, ms | p99 of mailapi, ms |"
    )
    print("|---|---|---|---|---|---|")
    ratios = []
    for row, rounds in samples.items():
        of_php, of_mailapi = (
            statistics.median(each[i].microseconds() / each[0].microseconds() for each in rounds)
            for i in (1, 2)
        )
        ratios.append(
            statistics.median(
                of_mailapi.microseconds() / of_php.microseconds() for _, of_php, of_mailapi in rounds
            )
        )
        slowest = (statistics.median(p99(each[i]) for each in rounds) for i in (1, 2))
        cells = [short(of_php), short(of_mailapi), f"{ratios[-1]:.2f}", *map(short, slowest)]
        print(f"| {row.name} | " + " | ".join(cells) + " |")
    print(f"\nGeometric mean of mailapi / PHP: {statistics.geometric_mean(ratios):.2f}.")
