"""Translation of queries that peewee builds into SQL of MariaDB and MySQL; dialect.py translates SQL text."""

import re
from collections.abc import Callable
from functools import reduce
from string import ascii_uppercase

import peewee
from peewee import OP, SQL, Cast, Expression, Function, Node, NodeList, fn

from .dialect import translated


class ServerSQL(SQL):
    """SQL text in MariaDB's dialect, which is not translated. (Other SQL text is in SQLite's dialect.)"""


# A pattern has no escape character in SQLite. ESCAPE '' would mean \ to MariaDB, so it is NUL, which no text has.
WITHOUT_ESCAPE = ServerSQL(r"ESCAPE '\0'")
LIKE, AND = ServerSQL("LIKE"), ServerSQL("AND")


def arguments(function: Function) -> tuple:
    return tuple(function.arguments or ())


def renamed(name: str) -> Callable[[Function], Node]:
    """Return a function that replaces a call of a function of SQLite by one of MariaDB's function `name`."""
    return lambda function: Function(name, arguments(function))


def in_lower_case(value) -> Node:
    """Return SQL that converts A to Z to lower case, like SQLite's LOWER. (MariaDB's LOWER converts more letters.)"""
    letters = [(ServerSQL(f"'{letter}'"), ServerSQL(f"'{letter.lower()}'")) for letter in ascii_uppercase]
    return reduce(lambda folded, pair: fn.REPLACE(folded, *pair), letters, value)


def like(expression: Expression) -> Node:
    """Return SQL that works as LIKE in SQLite, which ignores the case of A to Z only.

    It compares by the server's LCASE first, which ignores more, but is fast: few rows are left for the exact
    comparison.
    """
    value, pattern = expression.lhs, expression.rhs
    fast = (fn.LCASE(value), LIKE, fn.LCASE(pattern), WITHOUT_ESCAPE)
    exact = (in_lower_case(value), LIKE, in_lower_case(pattern), WITHOUT_ESCAPE)
    return NodeList((*fast, AND, *exact), parens=True)


def listed(function: Function) -> Node:
    """Return SQL for a table of the numbers in a JSON list, one in each row: what json_each does in SQLite."""
    path = ServerSQL("'$[*]' COLUMNS (value BIGINT PATH '$')")
    return NodeList((fn.JSON_TABLE(*arguments(function), path), ServerSQL("AS listed")))


FUNCTIONS: dict[str, Callable[[Function], Node]] = {
    "lower": lambda function: in_lower_case(*arguments(function)),
    "length": renamed("CHAR_LENGTH"),
    "iif": renamed("IF"),
    "json_each": listed,
}


def server_text(text: SQL) -> ServerSQL:
    """Translate SQL text to MariaDB's dialect. ValueError if a parameter would have to be repeated or moved."""
    sql = translated(text.sql)
    numbers = re.findall(r"%\((\d+)\)s", sql)
    if numbers != [str(number) for number in range(len(numbers))]:
        raise ValueError(f"SQL text whose parameters cannot stay in their order: {text.sql}")
    return ServerSQL(re.sub(r"%\(\d+\)s", "%s", sql), text.params)


def server_node(node):
    """Translate a part of a peewee query, such as a function call, to MariaDB's dialect."""
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
    """The peewee class that writes a query as SQL, with each part translated to MariaDB's dialect."""

    def sql(self, obj):
        return super().sql(server_node(obj))


class ServerDialect(peewee.SqliteDatabase):
    """A peewee database that only compiles queries, to MariaDB's dialect and to parameters for PyMySQL."""

    param = "%s"
    context_class = ServerContext

    def conflict_statement(self, on_conflict, query):
        """Return the beginning of an INSERT that replaces or ignores rows whose key exists already."""
        begins = {"REPLACE": "REPLACE", "IGNORE": "INSERT IGNORE"}
        return ServerSQL(begins[on_conflict._action])
