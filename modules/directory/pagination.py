"""Pages of a list, by the key of the last entry that the client has: the last page costs what the first one does."""

import dataclasses

from peewee import Field, Select, fn

from mailapi import PreparedQuery

LAST_CHARACTER = "\U0010ffff"


@dataclasses.dataclass(frozen=True)
class KeysetPagination:
    """The column that a list is ordered by, which has an index, and the column that is searched.

    A search finds any part of `searched`; without one it finds the beginning of the key, by the index.
    """

    key: Field
    searched: Field | None = None
    descending: bool = False

    def of(
        self, query: Select, after=None, search: str | None = None, limit: int | None = None
    ) -> PreparedQuery:
        """Return the query of the first `limit` entries after the key `after` that match the search."""
        if after is not None:
            query = query.where(self.key < after if self.descending else self.key > after)
        if search and self.searched is not None:
            query = query.where(fn.INSTR(self.searched, search) > 0)
        elif search:
            query = query.where(self.key >= search, self.key < search + LAST_CHARACTER)
        return PreparedQuery(query if limit is None else query.limit(min(limit, 2**63 - 1)))
