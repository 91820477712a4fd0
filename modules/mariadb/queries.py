"""peewee's queries as SQL of MariaDB and MySQL that means the same as SQLite's; dialect.py does it for SQL text."""

import re
from collections.abc import Callable
from functools import reduce
from string import ascii_uppercase

import peewee
from peewee import OP, SQL, Cast, Expression, Function, Node, NodeList, fn

from .dialect import translated


class ServerSQL(SQL):
    """SQL text that MariaDB gets as it is; other SQL text is in SQLite's dialect and is translated."""


# A pattern has no escape character in SQLite. ESCAPE '' would mean \ to MariaDB, so it is NUL, which no text has.
WITHOUT_ESCAPE = ServerSQL(r"ESCAPE '\0'")
LIKE, AND = ServerSQL("LIKE"), ServerSQL("AND")


def arguments(function: Function) -> tuple:
    return tuple(function.arguments or ())


def renamed(name: str) -> Callable[[Function], Node]:
    """Return the function that makes a call of the server's function out of one of SQLite's."""
    return lambda function: Function(name, arguments(function))


def in_lower_case(value) -> Node:
    """Return a value with A to Z in lower case, as SQLite's LOWER makes it; the server's changes more letters."""
    letters = [(ServerSQL(f"'{letter}'"), ServerSQL(f"'{letter.lower()}'")) for letter in ascii_uppercase]
    return reduce(lambda folded, pair: fn.REPLACE(folded, *pair), letters, value)


def like(expression: Expression) -> Node:
    """Return SQLite's LIKE, which ignores the case of A to Z only.

    The server's LCASE ignores more, but is faster: it leaves few rows to the exact comparison.
    """
    value, pattern = expression.lhs, expression.rhs
    fast = (fn.LCASE(value), LIKE, fn.LCASE(pattern), WITHOUT_ESCAPE)
    exact = (in_lower_case(value), LIKE, in_lower_case(pattern), WITHOUT_ESCAPE)
    return NodeList((*fast, AND, *exact), parens=True)


def listed(function: Function) -> Node:
    """Return the table of the whole numbers in a JSON list, in the column `value`."""
    path = ServerSQL("'$[*]' COLUMNS (value BIGINT PATH '$')")
    return NodeList((fn.JSON_TABLE(*arguments(function), path), ServerSQL("AS listed")))


FUNCTIONS: dict[str, Callable[[Function], Node]] = {
    "lower": lambda function: in_lower_case(*arguments(function)),
    "length": renamed("CHAR_LENGTH"),
    "iif": renamed("IF"),
    "json_each": listed,
}


def server_text(text: SQL) -> ServerSQL:
    """Translate SQL text; ValueError where the server's needs a parameter twice."""
    sql = translated(text.sql)
    numbers = re.findall(r"%\((\d+)\)s", sql)
    if numbers != [str(number) for number in range(len(numbers))]:
        raise ValueError(f"SQL text whose parameters cannot stay in their order: {text.sql}")
    return ServerSQL(re.sub(r"%\(\d+\)s", "%s", sql), text.params)


def server_node(node):
    """Return what means to the server what a node of a query means to SQLite."""
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
    """Writes a query down, node by node."""

    def sql(self, obj):
        return super().sql(server_node(obj))


class ServerDialect(peewee.SqliteDatabase):
    """The names and parameters of PyMySQL under sql_mode ANSI_QUOTES; it only compiles queries."""

    param = "%s"
    context_class = ServerContext

    def conflict_statement(self, on_conflict, query):
        """Return how an INSERT begins that replaces or ignores rows with the same key."""
        begins = {"REPLACE": "REPLACE", "IGNORE": "INSERT IGNORE"}
        return ServerSQL(begins[on_conflict._action])
