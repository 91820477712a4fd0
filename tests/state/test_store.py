"""The state database in a file: what a module is told that uses it in the wrong way."""

import os

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


@pytest.mark.sqlite
def test_tables_are_added_to_a_file_of_another_owner(tmp_path, monkeypatch):
    """An update adds tables; only the owner of a file can change its mode."""
    site = Site(tmp_path)
    site("tokens/?add", user="ann", token_name="x")
    site.state("DROP TABLE audit_former_user")
    site.app.state.close()

    def refuse(path, mode):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", refuse)
        assert len(site("tokens/?get", user="ann")["tokens"]) == 1
    assert site.state("SELECT COUNT(*) FROM audit_former_user") == [(0,)]


@pytest.mark.sqlite
@pytest.mark.parametrize("generation", [8, 9])
def test_a_master_database_does_not_become_the_state_database(tmp_path, generation):
    """A mistake in config.py would take it away from the mail daemons, which need its mode and journal mode."""
    (tmp_path / "state.db3").symlink_to("master.db3")
    site = Site(tmp_path, generation, state=str(tmp_path / "state.db3"))
    os.chmod(site.dbpath, 0o660)
    before = site.dbpath.read_bytes()
    answer = site("users/?get", user="root", check=500)
    assert answer["status"] == (
        "The state database cannot be used: it is a master database; name another file in config.py."
    )
    assert site.dbpath.read_bytes() == before and site.dbpath.stat().st_mode & 0o777 == 0o660
