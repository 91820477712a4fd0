"""Print the manual page mailapi(1), made from the commands' help. `mailapi man | man -l -` shows it."""

import argparse
import re

import mailapi

from .main import find_commands, make_parser

ENVIRONMENT = {
    "MAILAPI_CONFIG": "The config.py to use where --config does not name one.",
    "PROVISION": "Takes precedence over PROVISION in config.py.",
}
EXIT_STATUS = {
    "0": "Success, also with a warning.",
    "1": "The action was refused, or the command failed; the reason is on standard error.",
    "2": "The command line was wrong.",
    "130": "Interrupted by Ctrl-C.",
}


def options(parser):
    pass


def run(args):
    print("\n".join(manual_page()))


def manual_page() -> list[str]:
    """Return the manual page of mailapi as lines in the markup of man(7)."""
    parser = make_parser()
    lines = [
        f'.TH MAILAPI 1 "" "mailapi {mailapi.__version__}"',
        ".SH NAME",
        r"mailapi \- HTTP control plane for a mail server",
        ".SH SYNOPSIS",
        ".B mailapi",
        r"COMMAND [OPTION]\|.\|.\|.",
        ".SH COMMANDS",
    ]
    for name, sub in parser.get_default("commands").items():
        lines += [f".SS mailapi {escaped(name)}", *paragraphs(find_commands()[name].__doc__)]
        for action in sub._actions:
            if action.help not in (None, argparse.SUPPRESS):
                words = ", ".join(action.option_strings) or action.metavar or action.dest
                value = f" {action.metavar}" if action.option_strings and action.metavar else ""
                lines += definition(words + value, action.help % {"default": action.default})
    for heading, entries in (("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", EXIT_STATUS)):
        lines.append(f".SH {heading}")
        for word, sentence in entries.items():
            lines += definition(word, sentence)
    return lines


def paragraphs(text: str) -> list[str]:
    """Convert the paragraphs of a docstring to lines in the markup of man(7)."""
    return [
        line
        for paragraph in text.strip().split("\n\n")
        for line in (".PP", escaped(" ".join(paragraph.split())))
    ]


def definition(word: str, sentence: str) -> list[str]:
    return [".TP", f"\\fB{escaped(word)}\\fR", escaped(sentence)]


def escaped(text: str) -> str:
    """Escape the special characters of man(7) in a text, so that the text is shown as it is."""
    text = text.replace("\\", "\\e").replace("-", r"\-").replace("`", r"\(ga")
    text = re.sub("[^ -~]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^([.'])", r"\\&\1", text)
