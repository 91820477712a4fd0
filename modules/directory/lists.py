"""Lists in answers: all rows of a query, or one page of them if the request has `limit`, `after` or `search`.

The JSON text of a whole list is made by the database. A page takes the same time wherever it is in the list.
"""

import sqlite3

from peewee import Field, OperationalError, Select, fn

from mailapi import PreparedQuery, RawJSON, Store, param, php_text

PAGE_QUERY = {"after": php_text, "search": php_text}  # fields in the URL's query of a list, beside limit
LAST_CHARACTER = "\U0010ffff"
NO_LIMIT = 2**63 - 1


class ListQuery(PreparedQuery):
    """A query for a list in the order of the column `key`, which has an index. It is read whole or page by page.

    A search finds a text anywhere in the column `searched`. If `searched` is None, it finds keys that begin with the
    text. `nested` has the names of columns that contain JSON.
    """

    query: Select

    def __init__(
        self, query: Select, key: Field, searched: Field | None = None, descending: bool = False, nested=()
    ):
        super().__init__(query, nested)
        self.key, self.searched, self.descending = key, searched, descending
        self.pages: dict[tuple[bool, bool], PreparedQuery] = {}

    def page(self, call, limited: bool = True) -> tuple[PreparedQuery, dict]:
        """Return (query, parameters) for the page that a request asks for by `after`, `search` and `limit`.

        With limited=False, the query ignores `limit` and returns all rows from the start of the page.
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
        """Return the query for a page of the list, with the parameters `after`, `search` and `limit`.

        `after`: whether the page begins after a key, not at the start of the list. `search`: whether it has only rows
        that match a search.
        """
        query, key = self.query, self.key
        if after:
            query = query.where(key < param("after") if self.descending else key > param("after"))
        if search and self.searched is not None:
            query = query.where(fn.INSTR(self.searched, param("search")) > 0)
        elif search:
            query = query.where(key >= param("search"), key < param("search_end"))
        return PreparedQuery(query.limit(param("limit")))


def asks_for_page(call) -> bool:
    """Return whether a request asks for one page of a list: whether it has `limit`, `after` or `search`."""
    return call.limit is not None or not call.query.keys().isdisjoint(PAGE_QUERY)


def rows(call, query: ListQuery, **values) -> list[dict]:
    """Return the rows of a list, or of its page if a request asks for one by `limit`, `after` or `search`: [{…}, …].

    `values` are the query's parameters.
    """
    if not asks_for_page(call):
        return call.db.rows(query, **values)
    page, more = query.page(call)
    return call.db.rows(page, **values, **more)


def page_of_rows(call, rows: list[dict], key: str) -> list[dict]:
    """Return those of `rows` that are on the page that a request asks for by `after`, `search` and `limit`.

    `rows` is a list in memory, in the order of the text column `key`. The keys on the page come after the text
    `after`, and begin with the text `search`.
    """
    after, search = call.query.get("after"), call.query.get("search") or ""
    page = [row for row in rows if row[key].startswith(search) and (after is None or row[key] > after)]
    return page[: call.limit]


def listing(call, query: ListQuery, **values) -> RawJSON | list[dict]:
    """Return a whole list, or the page of it that the request asks for. `values` are the query's parameters.

    A whole list is JSON text that SQLite makes, since that is faster. If SQLite cannot, and for a page, the result is
    a list of dictionaries.
    """
    if call.query or call.limit:
        return rows(call, query, **values)
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def whole_list(call, query: PreparedQuery, **values) -> RawJSON | list[dict]:
    """Return all rows of a query, even if the request asks for a page. `values` are the query's parameters.

    The result is JSON text that SQLite makes, since that is faster, or else a list of dictionaries.
    """
    return call.encodes and encoded(call.db, query, values) or call.db.rows(query, **values)


def encoded(store: Store, query: PreparedQuery, values: dict) -> RawJSON | None:
    """Return all rows of a query as JSON text that SQLite makes, in less than half the time that Python would take.

    Return None if that is not possible: for BLOBs, for text that is not UTF-8, and for databases on a server.
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
    """Convert the SELECT statement `sql` to one that returns all rows as one JSON list.

    `cursor` describes the statement's columns. `nested` names those that contain JSON, which is put into the list as
    it is.
    """
    pairs = ", ".join(
        f"'{name}', " + (f'json("{name}")' if name in nested else f'"{name}"')
        for name, *_ in cursor.description
    )
    return f"SELECT CAST(json_group_array(json_object({pairs})) AS BLOB) FROM ({sql})"
