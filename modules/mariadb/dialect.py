"""Translation of SQL text from SQLite's dialect to MariaDB's and MySQL's, and of their error messages to SQLite's.

queries.py translates queries that peewee builds.
"""

import re
from collections.abc import Callable
from functools import lru_cache, reduce

# As in SQLite: "double quotes" for names, || joins text. Values that do not fit are refused.
SQL_MODE = "ANSI_QUOTES,PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO"

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
LIKE = re.compile(rf"(?<!\|\| )({OPERAND}) LIKE ({OPERAND})(?! \|\|)", re.IGNORECASE)
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
    sql, translated_likes = LIKE.subn(
        r"(LCASE(\1) LIKE LCASE(\2) ESCAPE '\\0' AND LOWER(\1) LIKE LOWER(\2) ESCAPE '\\0')", sql
    )
    if translated_likes != likes:
        raise ValueError(f"a LIKE that would not be SQLite's: {sql}")
    return LOWER.sub(lambda match: reduce(fold, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", match[1]), sql)


def fold(expression: str, letter: str) -> str:
    """Return SQL that replaces a capital letter by the small one: fold("name", "A") gives "REPLACE(name, 'A', 'a')"."""
    return f"REPLACE({expression}, '{letter}', '{letter.lower()}')"


TABLE = re.compile(
    r'^\s*(?:INSERT|REPLACE|UPDATE|DELETE)\s+(?:IGNORE\s+)?(?:INTO\s+|FROM\s+)?"?(\w+)"?', re.IGNORECASE
)
UNIQUE, NOT_NULL, NO_DEFAULT, HAS_CHILDREN, NO_PARENT = 1062, 1048, 1364, 1451, 1452
READ_ONLY = {1290, 1792, 1836}


def refusal(code: int, message: str, sql: str, columns_of: Callable[[str, str], list[str]]) -> str | None:
    """Return SQLite's message for an error of MariaDB, such as "UNIQUE constraint failed: users.user_name", or None.

    `code` and `message`: MariaDB's error. `sql`: the statement that failed. `columns_of`: a function that takes the
    names of a table and of its unique key, and returns the key's columns. Return None if SQLite has no such error.
    """
    match = TABLE.match(sql)
    table = match[1] if match else ""
    if code == UNIQUE:
        key = re.search("for key '(?:[^']*[.])?([^'.]*)'$", message)
        columns = columns_of(table, key[1]) if key else []
        return "UNIQUE constraint failed: " + ", ".join(f"{table}.{column}" for column in columns)
    if code in (NOT_NULL, NO_DEFAULT):
        column = re.search("'([^']*)'", message)
        return f"NOT NULL constraint failed: {table}.{column and column[1]}"
    if code in (HAS_CHILDREN, NO_PARENT):
        return "FOREIGN KEY constraint failed"
    if code in READ_ONLY:
        return "attempt to write a readonly database"
    return None
