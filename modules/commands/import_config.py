"""Print a config.py with the settings of the PHP API's config.php, or of an atmail-like suite's api.conf.

config.php is read, but not run. Its settings $dbpath, $modulelist and $debugFlag are converted if they are text, true,
false or arrays. Text may be joined by dots, also with __DIR__. An api.conf has lines of KEY=VALUE. PROVISION, the
databases, and the addresses of services are converted. Comments in the output name the lines that were not understood.
"""

import re
from pathlib import Path

import mailapi

from ..provisioning.environment_file import read_text
from . import import_environment
from .package_files import installed_modules

TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*?(?=\?>|\n|\Z)|\#(?!\[)[^\n]*?(?=\?>|\n|\Z)|/\*.*?(?:\*/|\Z))
  | (?P<text>'(?>(?:[^'\\]|\\.)*)'|"(?>(?:[^"\\]|\\.)*)")
  | (?P<name>\$?[A-Za-z_]\w*)
  | (?P<number>\d+)
  | (?P<sign>=>|===?|::|'(?>(?:[^'\\]|\\.)*)|"(?>(?:[^"\\]|\\.)*)|.)
""",
    re.VERBOSE | re.DOTALL,
)
KEYS = ("dbpath", "modulelist", "debugFlag")
HINTS = {"$debug": ": only $debugFlag switches debug on"}  # statements that look as if they were in KEYS
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "$": "$", '"': '"', "\\": "\\"}


def options(parser):
    parser.add_argument("file", metavar="FILE", help="the PHP API's config.php, or the suite's api.conf")


def run(args):
    path = Path(args.file)
    source = read_text(path)
    if "<?" not in source and path.suffix != ".php":
        print(import_environment.config_py(source, path, installed_modules()), end="")
        return
    reader = Reader(source, path)
    values = reader.assignments()
    print(config_py(values, path) + "".join(f"{line}\n" for line in reader.left_out()), end="")


def config_py(values: dict, path: Path) -> str:
    """Convert the settings of the original PHP API, {"dbpath": …, "modulelist": …}, to the text of a config.py.

    `path` is the path of its PHP file, for messages. ConfigError if a required setting is missing or invalid.
    """
    for key in ("dbpath", "modulelist"):
        if key not in values:
            raise mailapi.ConfigError(f"{path} does not set ${key}.")
    if not isinstance(values["dbpath"], str):
        raise mailapi.ConfigError(f"{path}: $dbpath is no text.")
    files = installed_modules()
    lines = [f"# From {str(path)!r}.", "", f"dbpath = {values['dbpath']!r}", "", "modulelist = {"]
    if not Path(values["dbpath"]).is_absolute():
        lines.insert(
            2, "# Relative to the folder of this file; PHP took it from that of the script which was called."
        )
    for name in module_names(values["modulelist"], files, path):
        if name in files:
            lines.append(f'    "{name}": "{files[name]}",')
        else:
            lines.append(f"    # {ascii(name)}: mailapi has no module of this name")
    debug = ["", f"debug = {bool(values['debugFlag'])}"] if "debugFlag" in values else []
    return "\n".join([*lines, "}", *debug, ""])


def module_names(modulelist, files: dict, path: Path) -> list[str]:
    """Return the class names, such as ["User", …], in the array $modulelist of a PHP file.

    They are its keys, or its values where keys are numbers or values are classes of mailapi. `files` is a dictionary
    whose keys are these classes. `path` is the path of the PHP file, for messages.
    """
    if not isinstance(modulelist, dict):
        raise mailapi.ConfigError(f"{path}: $modulelist is no array.")
    return [
        str(value if isinstance(key, int) or value in files else key) for key, value in modulelist.items()
    ]


class Reader:
    """Reads the values that a PHP file assigns to variables and constants, without running the file."""

    def __init__(self, source: str, path: Path):
        self.path = path
        self.tokens, line = [], 1
        for match in TOKEN.finditer(source):
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup or "", match[0], line))
            line += match[0].count("\n")
        self.position = 0
        self.others: dict[int, str] = {}  # line → how a statement begins there that was not understood

    def left_out(self) -> list[str]:
        """Return comments for the new config.py about those statements of the PHP file that were not understood.

        They do not repeat values, which may be passwords.
        """
        found = [
            f"# Line {line}: {text} was not understood and is left out{HINTS.get(text, '')}."
            for line, text in self.others.items()
        ]
        return ["", *found] if found else []

    def assignments(self) -> dict:
        """Return the settings in the PHP file that mailapi knows, such as {"dbpath": "master.db3"}.

        If one is set several times, its last value is returned.
        """
        values: dict = {}
        begins = False  # a statement, with the next token
        while self.position < len(self.tokens):
            kind, word, line = self.take()
            if word == "<" and self.peek() == "?":  # <?php or <?=
                self.position += 2
                begins = True
            elif word.removeprefix("$") in KEYS and self.peek() == "=":
                self.take()
                values[word.removeprefix("$")] = self.expression()
                begins = False
            elif word == "define" and self.peek() == "(":
                values |= self.definition(line)
                begins = False
            else:
                if begins and kind == "name":
                    self.leave_out(line, word)
                begins = word in (";", "{", "}") or begins and word == "?"
        return values

    def definition(self, line: int) -> dict:
        """Read the arguments of define(NAME, VALUE) in a line. Return {NAME: VALUE}; {} if NAME is no known setting."""
        self.take()
        key = self.expression()
        if key not in KEYS:
            self.leave_out(line, f"define({key!r})")
            return {}
        self.expect(",")
        return {key: self.expression()}

    def leave_out(self, line: int, text: str):
        """Record a statement of the PHP file that was not understood, so that left_out() reports it.

        `text` is the beginning of the statement, and `line` the number of its line.
        """
        kind, following, _ = self.tokens[self.position] if self.position < len(self.tokens) else ("", "", 0)
        if text.lower() in ("include", "include_once", "require", "require_once") and kind == "text":
            text += f" {following}"
        self.others.setdefault(line, " ".join(text.split()))

    def take(self) -> tuple[str, str, int]:
        """Read the next token. Return its kind, its text, and the number of its line: ("number", "7", 3)."""
        if self.position >= len(self.tokens):
            raise mailapi.ConfigError(f"{self.path} ends in the middle of a value.")
        self.position += 1
        return self.tokens[self.position - 1]

    def peek(self) -> str:
        return self.tokens[self.position][1] if self.position < len(self.tokens) else ""

    def expect(self, sign: str):
        if (token := self.take())[1] != sign:
            raise self.unreadable(token)

    def unreadable(self, token) -> mailapi.ConfigError:
        return mailapi.ConfigError(
            f"{self.path}, line {token[2]}: cannot read {token[1]} without running PHP."
        )

    def expression(self):
        value = self.value()
        while self.peek() == ".":
            self.take()
            value = f"{value}{self.value()}"
        return value

    def value(self):
        kind, word, _ = token = self.take()
        if kind == "text":
            return self.text(token)
        if kind == "number":
            return int(word)
        if word.lower() in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[word.lower()]
        if word == "__DIR__":
            return str(self.path.absolute().parent)
        if word == "[":
            return self.array("]")
        if word.lower() == "array" and self.peek() == "(":
            self.take()
            return self.array(")")
        raise self.unreadable(token)

    def text(self, token) -> str:
        inner = token[1][1:-1]
        if token[1][0] == "'":
            return re.sub(r"\\(['\\])", r"\1", inner)
        if re.search(r"(?<!\\)(\\\\)*(\$[A-Za-z_{]|\{\$)", inner):
            raise self.unreadable(token)
        return re.sub(r"\\([ntr$\"\\])", lambda match: ESCAPES[match[1]], inner)

    def array(self, end: str) -> dict:
        """Read a PHP array up to its closing bracket `end`. Return ["a", "b"] as {0: "a", 1: "b"}."""
        values: dict = {}
        while self.peek() != end:
            value = self.expression()
            if self.peek() == "=>":
                arrow = self.take()
                if isinstance(value, dict):
                    raise self.unreadable(arrow)
                values[value] = self.expression()
            else:
                values[len(values)] = value
            if self.peek() != end:
                self.expect(",")
        self.take()
        return values
