"""Lists: all rows of a query as JSON made by the database, or one page of them, at a cost that does not grow."""

import sqlite3

from peewee import Field, OperationalError, Select, fn

from mailapi import PreparedQuery, RawJSON, Store, param, php_text

PAGE_QUERY = {"after": php_text, "search": php_text}  # fields in the URL's query of a list, beside limit
LAST_CHARACTER = "\U0010ffff"
NO_LIMIT = 2**63 - 1


class ListQuery(PreparedQuery):
    """A query that lists rows in the order of `key`, an indexed column, with variants that return one page.

    `searched` is the column in which a search looks for a text anywhere. If it is None, a search finds the rows whose
    key begins with the text. `nested` names columns that contain JSON.
    """

    query: Select

    def __init__(
        self, query: Select, key: Field, searched: Field | None = None, descending: bool = False, nested=()
    ):
        super().__init__(query, nested)
        self.key, self.searched, self.descending = key, searched, descending
        self.pages: dict[tuple[bool, bool], PreparedQuery] = {}

    def page(self, call, limited: bool = True) -> tuple[PreparedQuery, dict]:
        """Return the query and its parameters for the page that a request asks for (`after`, `search`, `limit`).

        `limited=False` ignores the limit and selects all rows from the start of the page.
        """
        after, search = call.query.get("after"), call.query.get("search")
        kind = after is not None, bool(search)
        if kind not in self.pages:
            self.pages[kind] = self.page_query(*kind)
        values = {"after": after, "search": search, "limit": NO_LIMIT}
        if search and self.searched is None:
            values["search_end"] = search + LAST_CHARACTER
        if limited and call.limit:
            values["limit"] = min(call.limit, NO_LIMIT)
        return self.pages[kind], values

    def page_query(self, after: bool, search: bool) -> PreparedQuery:
        """Build the query for pages that begin after a key (`after`), are searched (`search`), or both."""
        query, key = self.query, self.key
        if after:
            query = query.where(key < param("after") if self.descending else key > param("after"))
        if search and self.searched is not None:
            query = query.where(fn.INSTR(self.searched, param("search")) > 0)
        elif search:
            query = query.where(key >= param("search"), key < param("search_end"))
        return PreparedQuery(query.limit(param("limit")))


def asks_for_page(call) -> bool:
    """Check whether a request asks for a part of a list, by `limit`, `after` or `search`."""
    return call.limit is not None or not call.query.keys().isdisjoint(PAGE_QUERY)


def rows(call, query: ListQuery, **values) -> list[dict]:
    """Return the rows of a list, or of the page that the request asks for. `values` are the query's parameters."""
    if not asks_for_page(call):
        return call.db.rows(query, **values)
    page, more = query.page(call)
    return call.db.rows(page, **values, **more)


def listing(call, query: ListQuery, **values) -> RawJSON | list[dict]:
    """Return a list, or the page that the request asks for.

    `values` are the query's parameters. A whole list may come as ready JSON (RawJSON), which is faster than rows.
    """
    if call.query or call.limit:
        return rows(call, query, **values)
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def whole_list(call, query: PreparedQuery, **values) -> RawJSON | list[dict]:
    """Return all rows of a query, as JSON made by the database (RawJSON) if possible, because that is faster."""
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def encoded(store: Store, query: PreparedQuery, values: dict) -> RawJSON | None:
    """Let SQLite return the rows as one JSON list, in less than half the time that Python takes to encode them.

    Returns None if SQLite cannot, or would return other JSON than mailapi: for BLOBs and for text that is not UTF-8.
    Also None if the database is on a server.
    """
    if not store.encodes_json:
        return None
    sql, bind = store.compile(query)
    try:
        if not query.json_sql:
            cursor = store.run(f"SELECT * FROM ({sql}) LIMIT 0", bind(values) if bind else ())
            query.json_sql = json_sql(sql, cursor, query.nested)
        payload = store.run(query.json_sql, bind(values) if bind else ()).fetchone()[0]
        return RawJSON(payload) if payload.isascii() or payload.decode() else None
    except (OperationalError, UnicodeDecodeError):
        return None


def json_sql(sql: str, cursor: sqlite3.Cursor, nested: tuple) -> str:
    """Return an SQL statement whose only value is the JSON list of the rows that the statement `sql` returns.

    `cursor` describes the columns of `sql`. `nested` names those that contain JSON already.
    """
    pairs = ", ".join(
        f"'{name}', " + (f'json("{name}")' if name in nested else f'"{name}"')
        for name, *_ in cursor.description
    )
    return f"SELECT CAST(json_group_array(json_object({pairs})) AS BLOB) FROM ({sql})"
