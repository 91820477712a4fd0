"""Print the config.py that does what the PHP API's config.php does; no PHP is run.

It reads the PHP variables $dbpath, $modulelist and $debugFlag. Values may be text, true, false and arrays, and text
that is joined by dots, with __DIR__.
"""

import pkgutil
import re
import sys
from pathlib import Path

import mailapi

from .package_files import read_package_file

TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*?(?=\?>|\n|\Z)|\#(?!\[)[^\n]*?(?=\?>|\n|\Z)|/\*.*?(?:\*/|\Z))
  | (?P<text>'(?>(?:[^'\\]|\\.)*)'|"(?>(?:[^"\\]|\\.)*)")
  | (?P<name>\$?[A-Za-z_]\w*)
  | (?P<number>\d+)
  | (?P<sign>=>|::|'(?>(?:[^'\\]|\\.)*)|"(?>(?:[^"\\]|\\.)*)|.)
""",
    re.VERBOSE | re.DOTALL,
)
KEYS = ("dbpath", "modulelist", "debugFlag")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "$": "$", '"': '"', "\\": "\\"}


def options(parser):
    parser.add_argument("php", metavar="CONFIG.PHP", help="the PHP API's config file")


def run(args):
    path = Path(args.php)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise mailapi.ConfigError(f"{path} cannot be read: {error}.") from error
    print(config_py(Reader(source, path).assignments(), path), end="")


def config_py(values: dict, path: Path) -> str:
    """Return the text of a config.py for the values in a PHP config. path: the PHP file, for messages."""
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
    return "\n".join([*lines, "}", "", f"debug = {bool(values.get('debugFlag', False))}", ""])


def module_names(modulelist, files: dict, path: Path) -> list[str]:
    """Return the class names in the PHP array $modulelist, where they are keys or values."""
    if not isinstance(modulelist, dict):
        raise mailapi.ConfigError(f"{path}: $modulelist is no array.")
    return [
        str(value if isinstance(key, int) or value in files else key) for key, value in modulelist.items()
    ]


def installed_modules() -> dict[str, str]:
    """Return the modules that come with mailapi, by class name, such as {"Users": "modules/users.py"}."""
    files = {}
    for _, module, _ in pkgutil.iter_modules(sys.modules["mailapi_modules"].__path__):
        source = read_package_file(Path(__file__).parents[1] / f"{module}.py")
        for name in re.findall(r"^class (\w+)\(Module\)", source, re.MULTILINE):
            files[name] = f"modules/{module}.py"
    return files


class Reader:
    """Reads the assignments to variables in a PHP file, without running it."""

    def __init__(self, source: str, path: Path):
        self.path, self.source = path, source
        self.tokens = [
            (match.lastgroup or "", match[0], match.start())
            for match in TOKEN.finditer(source)
            if match.lastgroup != "space"
        ]
        self.position = 0

    def assignments(self) -> dict:
        """Return the values of the variables and constants in KEYS. The last assignment to each counts."""
        values = {}
        while self.position < len(self.tokens):
            _, word, _ = self.take()
            key = word.removeprefix("$")
            if key in KEYS and self.peek() == "=":
                self.take()
                values[key] = self.expression()
            elif word == "define" and self.peek() == "(":
                self.take()
                key = self.expression()
                self.expect(",")
                values |= {key: self.expression()} if key in KEYS else {}
        return values

    def take(self) -> tuple[str, str, int]:
        """Read the next token: its kind, its text, and its position in the source."""
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
        line = self.source.count("\n", 0, token[2]) + 1
        return mailapi.ConfigError(f"{self.path}, line {line}: cannot read {token[1]} without running PHP.")

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
        """Read an array up to its closing bracket `end`. Values without a key get the next number as key."""
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
