"""A process that is killed right after users/?delete was committed: the next user of the name gets nothing."""

import pytest

from support.bearers import make_token, token_ids

pytestmark = pytest.mark.every_engine


def test_what_an_interrupted_deletion_has_left_is_not_the_next_users(site, monkeypatch):
    site.sql(
        "INSERT INTO outbox (mail_envelopeto, mail_submitter, mail_data) VALUES ('x@far.org', 'bob', 'x')"
    )
    make_token(site)
    with monkeypatch.context() as killed:
        killed.setattr(site.app, "notify_deleted", lambda user_names: None)
        site("users/?delete", user_name="bob")
    assert site("users/?add", user_name="bob", user_authdata="pw")["user"] is True
    own = site("audit/?mine", user="bob")["audit"]
    assert [row["audit_action"] for row in own] == ["add"]
    assert site("queue/?get", user="bob")["queue"] == [] and token_ids(site, "bob") == []
    assert len(site("queue/?get")["queue"]) == 1


def test_adding_a_user_deletes_nothing_of_others(site):
    make_token(site, "ann")
    site("users/?add", user_name="new", user_authdata="pw")
    make_token(site, "new")
    assert "UNIQUE" in site("users/?add", user_name="new")["status"]
    assert len(token_ids(site, "ann")) == len(token_ids(site, "new")) == 1
