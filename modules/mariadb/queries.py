"""Translation of queries that peewee builds to SQL of MariaDB and MySQL. (dialect.py translates SQL text.)"""

import re
from collections.abc import Callable
from functools import reduce
from string import ascii_uppercase

import peewee
from peewee import OP, SQL, Cast, Expression, Function, Node, NodeList, fn

from .dialect import translated


class ServerSQL(SQL):
    """SQL text in a peewee query that is in MariaDB's dialect already. Other SQL text is translated from SQLite's."""


# A pattern has no escape character in SQLite. ESCAPE '' would mean \ to MariaDB, so it is NUL, which no text has.
WITHOUT_ESCAPE = ServerSQL(r"ESCAPE '\0'")
LIKE, AND = ServerSQL("LIKE"), ServerSQL("AND")


def arguments(function: Function) -> tuple:
    return tuple(function.arguments or ())


def renamed(name: str) -> Callable[[Function], Node]:
    """Return a function that changes the name in a call of a SQL function to `name`, for example from IIF to IF."""
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
    """Return MariaDB's SQL for a call of json_each: a table with the numbers of a JSON list, one in each row."""
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
    """Writes peewee queries as SQL text in MariaDB's dialect."""

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
