"""Translation of SQL text, and of queries that peewee builds, from SQLite's dialect to MariaDB's and MySQL's."""

import re
from collections.abc import Callable
from functools import lru_cache, reduce
from string import ascii_uppercase

import peewee
from peewee import OP, SQL, Cast, Expression, Function, Node, NodeList, fn

# As in SQLite: "double quotes" for names, || joins text. Values that do not fit are refused.
SQL_MODE = "ANSI_QUOTES,PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO"
# The first statement of a connection. The server may have other values for all connections, such as foreign_key_checks
# = 0 for an import: a deleted user's permissions would stay for the next user of that name.
SET_SESSION = f"""SET SESSION sql_mode = '{SQL_MODE}', foreign_key_checks = 1, unique_checks = 1, completion_type = 0,
    sql_select_limit = {2**64 - 1}, sql_big_selects = 1, sql_safe_updates = 0, sql_notes = 1, max_error_count = 65535"""

OPERAND = r'(?:%\(\d+\)s|"\w+"(?:\."\w+")?|\b(?!NOT\b)[a-z_]\w*(?:\.\w+)?(?![\w.(]))'
REPLACEMENTS = {
    r"\bCAST\(((?:[^()]|\([^()]*\))*) AS (?:BLOB|TEXT)\)": r"CAST(\1 AS BINARY)",
    r"\bAS MATERIALIZED \(": "AS (",
    r"\bINSERT OR REPLACE INTO\b": "REPLACE INTO",
    r"\bINSERT OR IGNORE INTO\b": "INSERT IGNORE INTO",
    r"\bIIF\(": "IF(",
    r"\blength\(": "CHAR_LENGTH(",
    rf"\bjson_each\(({OPERAND})\)": r"JSON_TABLE(\1, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed",
}
RULES = [(re.compile(pattern, re.IGNORECASE), text) for pattern, text in REPLACEMENTS.items()]
LIKE_OF_OPERANDS = re.compile(rf"(?<!\|\| )({OPERAND}) LIKE ({OPERAND})(?! \|\|)", re.IGNORECASE)
ANY_LIKE = re.compile(r"\bLIKE\b", re.IGNORECASE)
LOWER = re.compile(rf"\bLOWER\(({OPERAND})\)", re.IGNORECASE)


@lru_cache(maxsize=1000)
def translated(sql: str) -> str:
    """Translate SQL from SQLite's dialect to MariaDB's. Its parameters `?` become `%(0)s`, `%(1)s` and so on.

    ValueError for a LIKE that cannot be translated.
    """
    pieces = sql.replace("%", "%%").split("?")
    sql = pieces[0] + "".join(f"%({n})s{piece}" for n, piece in enumerate(pieces[1:]))
    for pattern, text in RULES:
        sql = pattern.sub(text, sql)
    # SQLite ignores the case of A to Z only. The server's LCASE ignores more, but is faster: it leaves few rows to the
    # exact comparison. ESCAPE '' would mean \ to MariaDB, so the escape is NUL, which no text has.
    likes = len(ANY_LIKE.findall(sql))
    sql, translated_likes = LIKE_OF_OPERANDS.subn(
        r"(LCASE(\1) LIKE LCASE(\2) ESCAPE '\\0' AND LOWER(\1) LIKE LOWER(\2) ESCAPE '\\0')", sql
    )
    if translated_likes != likes:
        raise ValueError(f"a LIKE that would not be SQLite's: {sql}")
    return LOWER.sub(lambda match: reduce(fold, ascii_uppercase, match[1]), sql)


def fold(expression: str, letter: str) -> str:
    """Return SQL that replaces a capital letter by the small one: fold("name", "A") gives "REPLACE(name, 'A', 'a')"."""
    return f"REPLACE({expression}, '{letter}', '{letter.lower()}')"


########## Queries of peewee ########################################################################


class ServerSQL(SQL):
    """Text in MariaDB's dialect, in a peewee query. Text of the class SQL is translated from SQLite's dialect."""


# A pattern has no escape character in SQLite. ESCAPE '' would mean \ to MariaDB, so it is NUL, which no text has.
WITHOUT_ESCAPE = ServerSQL(r"ESCAPE '\0'")
LIKE, AND = ServerSQL("LIKE"), ServerSQL("AND")


def arguments(function: Function) -> tuple:
    return tuple(function.arguments or ())


def renamed(name: str) -> Callable[[Function], Node]:
    """Return a function that copies a peewee Function node under another name, `name`.

    For example, renamed("IF") turns fn.IIF(a, b, c) into fn.IF(a, b, c).
    """
    return lambda function: Function(name, arguments(function))


def in_lower_case(value) -> Node:
    """Return SQL that converts A to Z in a value to lower case, as LOWER does in SQLite."""
    # MariaDB's LOWER converts more letters.
    letters = [(ServerSQL(f"'{letter}'"), ServerSQL(f"'{letter.lower()}'")) for letter in ascii_uppercase]
    return reduce(lambda folded, pair: fn.REPLACE(folded, *pair), letters, value)


def like(expression: Expression) -> Node:
    """Return MariaDB's SQL for a LIKE of SQLite, which ignores the case of A to Z only."""
    # The SQL first compares by the server's LCASE, which ignores the case of all letters, but is fast: only few rows
    # are left for the exact comparison.
    value, pattern = expression.lhs, expression.rhs
    fast = (fn.LCASE(value), LIKE, fn.LCASE(pattern), WITHOUT_ESCAPE)
    exact = (in_lower_case(value), LIKE, in_lower_case(pattern), WITHOUT_ESCAPE)
    return NodeList((*fast, AND, *exact), parens=True)


def json_table(function: Function) -> Node:
    """Return MariaDB's SQL for a call of json_each: a table with a row for each element of a JSON list of numbers."""
    path = ServerSQL("'$[*]' COLUMNS (value BIGINT PATH '$')")
    return NodeList((fn.JSON_TABLE(*arguments(function), path), ServerSQL("AS listed")))


FUNCTIONS: dict[str, Callable[[Function], Node]] = {
    "lower": lambda function: in_lower_case(*arguments(function)),
    "length": renamed("CHAR_LENGTH"),
    "iif": renamed("IF"),
    "json_each": json_table,
}


def server_text(text: SQL) -> ServerSQL:
    """Translate SQL text to MariaDB's dialect. ValueError if the order or number of its parameters would change."""
    sql = translated(text.sql)
    numbers = re.findall(r"%\((\d+)\)s", sql)
    if numbers != [str(number) for number in range(len(numbers))]:
        raise ValueError(f"SQL text whose parameters cannot stay in their order: {text.sql}")
    return ServerSQL(re.sub(r"%\(\d+\)s", "%s", sql), text.params)


def server_node(node):
    """Translate a part of a peewee query to MariaDB's dialect. Return it unchanged if it is the same there.

    ValueError for an operator that MariaDB lacks.
    """
    if type(node) is SQL:
        return server_text(node)
    if isinstance(node, Function):
        return FUNCTIONS.get((node.name or "").lower(), lambda function: function)(node)
    if isinstance(node, Cast) and node._cast in ("BLOB", "TEXT"):
        return Cast(node.node, "BINARY")
    if isinstance(node, Expression) and node.op == OP.ILIKE:
        return like(node)
    if isinstance(node, Expression) and node.op in (OP.LIKE, OP.MOD):
        raise ValueError(f"an operator that the server lacks: {node.op}")
    return node


class ServerContext(peewee.Context):
    """A Context of peewee that writes queries as SQL text in the dialect of a MariaDB server."""

    def sql(self, obj):
        return super().sql(server_node(obj))


class ServerDialect(peewee.SqliteDatabase):
    """A peewee database without a connection, which only converts queries to MariaDB's SQL text for PyMySQL."""

    param = "%s"
    context_class = ServerContext

    def conflict_statement(self, on_conflict, query):
        """Return the beginning of an INSERT with `on_conflict`: "REPLACE" or "INSERT IGNORE".

        REPLACE overwrites a row that has the same key; INSERT IGNORE keeps it. `query` is not used.
        """
        begins = {"REPLACE": "REPLACE", "IGNORE": "INSERT IGNORE"}
        return ServerSQL(begins[on_conflict._action])
