"""Lists: all rows of a query, encoded by the database, or a page of them, which costs the same wherever it is."""

import sqlite3

from peewee import Field, OperationalError, Select, fn

from mailapi import PreparedQuery, RawJSON, Store, param, php_text

PAGE_QUERY = {"after": php_text, "search": php_text}  # of a list's query, beside limit
LAST_CHARACTER = "\U0010ffff"
NO_LIMIT = 2**63 - 1


class ListQuery(PreparedQuery):
    """The query of a list that is ordered by `key`, which has an index, and the queries of its pages.

    A search finds any part of the column `searched`; without one it finds the beginning of the key, by the index.
    """

    query: Select

    def __init__(
        self, query: Select, key: Field, searched: Field | None = None, descending: bool = False, nested=()
    ):
        super().__init__(query, nested)
        self.key, self.searched, self.descending = key, searched, descending
        self.pages: dict[tuple[bool, bool], PreparedQuery] = {}

    def page(self, call, limited: bool = True) -> tuple[PreparedQuery, dict]:
        """Return the query of the page that the client asks for, and its values; without `limited` of all that follows."""
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
        query, key = self.query, self.key
        if after:
            query = query.where(key < param("after") if self.descending else key > param("after"))
        if search and self.searched is not None:
            query = query.where(fn.INSTR(self.searched, param("search")) > 0)
        elif search:
            query = query.where(key >= param("search"), key < param("search_end"))
        return PreparedQuery(query.limit(param("limit")))


def asks_for_page(call) -> bool:
    """Check whether the client asks for a part of a list."""
    return call.limit is not None or not call.query.keys().isdisjoint(PAGE_QUERY)


def rows(call, query: ListQuery, **values) -> list[dict]:
    """Return the rows of a list or of the page that the client asks for."""
    if not asks_for_page(call):
        return call.db.rows(query, **values)
    page, more = query.page(call)
    return call.db.rows(page, **values, **more)


def listing(call, query: ListQuery, **values) -> RawJSON | list[dict]:
    """Return a list or the page that the client asks for; a whole list as whole_list does."""
    if call.query or call.limit:
        return rows(call, query, **values)
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def whole_list(call, query: PreparedQuery, **values) -> RawJSON | list[dict]:
    """Return all rows, encoded by the database where the answer goes out as JSON and the database can."""
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def encoded(store: Store, query: PreparedQuery, values: dict) -> RawJSON | None:
    """Return the rows as JSON that SQLite makes, in less than half of the time that `rows` and mailapi.encode take.

    None where it cannot, or would make something else: for BLOBs, text that is not UTF-8, and on a server.
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
    """Return SQL whose only value is the JSON list of the rows of `sql`, in their order."""
    pairs = ", ".join(
        f"'{name}', " + (f'json("{name}")' if name in nested else f'"{name}"')
        for name, *_ in cursor.description
    )
    return f"SELECT CAST(json_group_array(json_object({pairs})) AS BLOB) FROM ({sql})"
