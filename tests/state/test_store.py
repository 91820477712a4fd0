"""The state database in a file: what a module is told that uses it in the wrong way."""

import pytest

import mailapi
from support.site import Site


@pytest.mark.sqlite
def test_a_query_before_the_state_database_is_open_says_what_to_do(tmp_path):
    state = Site(tmp_path).app.state
    query = mailapi.PreparedQuery(mailapi.peewee.Select(columns=[mailapi.peewee.SQL("1 AS one")]))
    for run in (state.one, state.rows, state.column, state.value, state.execute):
        with pytest.raises(
            RuntimeError, match=r"begin `with state.transaction\(\):` first, or use state.read"
        ):
            run(query)
    assert state.read(query) == [(1,)]
    with state.transaction("DEFERRED"):
        assert state.one(query) == {"one": 1}
