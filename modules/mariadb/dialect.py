"""SQL for MariaDB and MySQL: the core's queries as they are for SQLite, put into their dialect, and what they refuse."""

import re
from functools import lru_cache, reduce

# As SQLite is: names in "double quotes", || joins text, nothing is cut or rounded to fit.
SQL_MODE = "ANSI_QUOTES,PIPES_AS_CONCAT,NO_AUTO_VALUE_ON_ZERO,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO"

OPERAND = r'(?:%\(\d+\)s|"\w+"(?:\."\w+")?|\b(?!NOT\b)[a-z_]\w*(?:\.\w+)?(?![\w.(]))'
SAME_BUT_FOR_THE_NAME = {
    r"\bCAST\(((?:[^()]|\([^()]*\))*) AS (?:BLOB|TEXT)\)": r"CAST(\1 AS BINARY)",
    r"\bAS MATERIALIZED \(": "AS (",
    r"\bINSERT OR REPLACE INTO\b": "REPLACE INTO",
    r"\bINSERT OR IGNORE INTO\b": "INSERT IGNORE INTO",
    r"\bIIF\(": "IF(",
    r"\blength\(": "CHAR_LENGTH(",
    rf"\bjson_each\(({OPERAND})\)": r"JSON_TABLE(\1, '$[*]' COLUMNS (value BIGINT PATH '$')) AS listed",
}
RULES = [(re.compile(pattern, re.IGNORECASE), text) for pattern, text in SAME_BUT_FOR_THE_NAME.items()]
LIKE = re.compile(rf"(?<!\|\| )({OPERAND}) LIKE ({OPERAND})(?! \|\|)", re.IGNORECASE)
LIKE_AT_ALL = re.compile(r"\bLIKE\b", re.IGNORECASE)
LOWER = re.compile(rf"\bLOWER\(({OPERAND})\)", re.IGNORECASE)


@lru_cache(maxsize=1000)
def translated(sql: str) -> str:
    """A query for SQLite in the server's dialect; its n-th `?` is `%(n)s`, from 0."""
    pieces = sql.replace("%", "%%").split("?")
    sql = pieces[0] + "".join(f"%({n})s{piece}" for n, piece in enumerate(pieces[1:]))
    for pattern, text in RULES:
        sql = pattern.sub(text, sql)
    # SQLite folds A to Z only. What the server folds is more, and faster: few rows are left to be looked at twice. To
    # MariaDB '' escapes as \ does; NUL is in no text.
    likes = len(LIKE_AT_ALL.findall(sql))
    sql, put = LIKE.subn(
        r"(LCASE(\1) LIKE LCASE(\2) ESCAPE '\\0' AND LOWER(\1) LIKE LOWER(\2) ESCAPE '\\0')", sql
    )
    if put != likes:
        raise ValueError(f"a LIKE that would not be SQLite's: {sql}")
    return LOWER.sub(lambda found: reduce(fold, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", found[1]), sql)


def fold(expression: str, letter: str) -> str:
    return f"REPLACE({expression}, '{letter}', '{letter.lower()}')"


TABLE = re.compile(
    r'^\s*(?:INSERT|REPLACE|UPDATE|DELETE)\s+(?:IGNORE\s+)?(?:INTO\s+|FROM\s+)?"?(\w+)"?', re.IGNORECASE
)
UNIQUE, NOT_NULL, NO_DEFAULT, HAS_CHILDREN, NO_PARENT = 1062, 1048, 1364, 1451, 1452
READ_ONLY = {1290, 1792, 1836}


def refusal(code: int, message: str, sql: str, columns_of) -> str | None:
    """SQLite's sentence for what the server refused; None where SQLite has none.

    columns_of(table, key) tells the columns of a unique key.
    """
    found = TABLE.match(sql)
    table = found[1] if found else ""
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
