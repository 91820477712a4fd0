"""The command line of mailapi. Each file in this folder that has a function `run` is a command.

The first paragraph of the file's docstring is the command's help. The function `options(parser)` declares the
arguments, and `run(args)` returns the exit status, or None for 0.
"""

import argparse
import importlib
import io
import os
import pkgutil
import sqlite3
import sys

import peewee

from mailapi import ApiError, ConfigError, __version__, printable

ANSWERED = (ConfigError, ApiError, peewee.PeeweeException, sqlite3.Error, OSError, ValueError, RecursionError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command of mailapi, and return the exit status. `arguments` is the command line; None means sys.argv."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # letters that the terminal lacks end no command
    args = read_arguments(arguments)
    try:
        return args.run(args) or 0
    except BrokenPipeError:  # the program that reads our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt begins on a new line
        return 130
    except EOFError:
        print("\nmailapi: the input ended before an answer.", file=sys.stderr)
        return 1
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        print(f"mailapi: {printable(f'{what}{error.strerror or error}')}", file=sys.stderr)
        return 1
    except ANSWERED as error:
        print(f"mailapi: {printable(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        if type(error).__module__ != "pymysql.err":  # pymysql is not imported if the databases are files
            raise
        print(f"mailapi: the server refused it: {printable(error.args[-1])}", file=sys.stderr)
        return 1


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    args, late = parser.parse_known_args(arguments)
    if late and (not hasattr(args, "words") or any(argument.startswith("-") for argument in late)):
        parser.error(f"unrecognized arguments: {' '.join(late)}")
    elif late:  # argparse takes no more words after an option
        args.words += late
    return args


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of mailapi's command line.

    The parsed arguments have an attribute `commands`, a dictionary of the commands' parsers by name.
    """
    parser = argparse.ArgumentParser(prog="mailapi", description="HTTP control plane for a mail server.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in sorted(find_commands().items()):
        summary = " ".join(command.__doc__.split("\n\n")[0].split())
        # A command may declare a --help of its own.
        sub = commands.add_parser(
            name, help=summary.rstrip("."), description=summary, conflict_handler="resolve"
        )
        default = os.environ.get("MAILAPI_CONFIG") or "config.py"
        sub.add_argument("--config", default=default, help="the config.py to use (default: %(default)s)")
        command.options(sub)
        sub.set_defaults(run=command.run)
    parser.set_defaults(commands=commands.choices)
    return parser


def find_commands() -> dict:
    """Return the Python module of each command by the command's name, such as "import-config"."""
    names = sorted({module.name for module in pkgutil.iter_modules(sys.modules[__package__].__path__)})
    found = {name: importlib.import_module(f"mailapi_modules.commands.{name}") for name in names}
    return {name.replace("_", "-"): command for name, command in found.items() if hasattr(command, "run")}
