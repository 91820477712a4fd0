"""A process that is killed right after users/?delete was committed: the next user of the name gets nothing."""

import pytest

from support.bearers import make_token, token_ids
from support.mailserver_site import CAROL, add_user, copy_bob

pytestmark = pytest.mark.every_engine


def delete_halfway(site, monkeypatch, user_name: str):
    """Delete a user who has a token and a queued mail, and stop after the commit of the master database."""
    site.sql(
        "INSERT INTO outbox (mail_envelopeto, mail_submitter, mail_data) VALUES ('x@far.org', ?, 'x')",
        user_name,
    )
    make_token(site, user_name)
    with monkeypatch.context() as killed:
        killed.setattr(site.app, "notify_deleted", lambda user_names: None)
        assert site("users/?delete", user_name=user_name)["delete"] == "ok"


def has_nothing(site, user_name: str) -> bool:
    """Return whether a new user has neither tokens nor queued mails."""
    assert len(site("queue/?get")["queue"]) == 1
    return not site("queue/?get", user=user_name)["queue"] and not token_ids(site, user_name)


def test_what_an_interrupted_deletion_has_left_is_not_the_next_users(site, monkeypatch):
    delete_halfway(site, monkeypatch, "bob")
    assert site("users/?add", user_name="bob", user_authdata="pw")["user"] is True
    own = site("audit/?mine", user="bob")["audit"]
    assert [row["audit_action"] for row in own] == ["add"]
    assert has_nothing(site, "bob")


def test_nor_that_of_a_user_who_is_imported(site, monkeypatch):
    make_token(site, "ann")
    delete_halfway(site, monkeypatch, "bob")
    assert site("users/?import", file="user_name,password\nother,pw\nbob,pw\n")["imported"] == 2
    assert site("audit/?mine", user="bob")["audit"] == [] and has_nothing(site, "bob")
    assert len(token_ids(site, "ann")) == 1


def test_adding_a_user_deletes_nothing_of_others(site):
    make_token(site, "ann")
    site("users/?add", user_name="new", user_authdata="pw")
    make_token(site, "new")
    assert "UNIQUE" in site("users/?add", user_name="new")["status"]
    assert len(token_ids(site, "ann")) == len(token_ids(site, "new")) == 1


########## With a mail server ######################################################################


def test_a_new_user_of_the_mail_server_gets_nothing_either(site_with_mailserver, monkeypatch):
    assert add_user(site_with_mailserver, CAROL)["user"] is True
    delete_halfway(site_with_mailserver, monkeypatch, CAROL)
    assert add_user(site_with_mailserver, CAROL)["user"] is True
    assert has_nothing(site_with_mailserver, CAROL)


@pytest.mark.parametrize("how", ["add", "import"])
def test_a_user_whom_the_mail_server_had_before_keeps_everything(site_with_mailserver, monkeypatch, how):
    site = site_with_mailserver
    copy_bob(site, CAROL)
    site("users/?delete", user_name=CAROL)
    copy_bob(site, CAROL)
    make_token(site, CAROL, password="test")
    if how == "add":
        assert site("users/?add", user_name=CAROL)["user"] is True
    else:
        assert site("users/?import", file=f"user_name\n{CAROL}\n")["imported"] == 1
    assert len(site("tokens/?get", user=CAROL, password="test")["tokens"]) == 1
