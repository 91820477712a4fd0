"""A process that is killed right after users/?delete was committed: the next user of the name gets nothing."""

import pytest
from mailapi_modules.directory import deleted_names, new_users
from mailapi_modules.provisioning import two_phase

from support.bearers import ask_with_token, make_token, token_ids
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


class Killed(BaseException):
    """What ends a request in place of SIGKILL."""


@pytest.mark.parametrize("how", ["add", "import"])
def test_nor_that_of_a_user_after_whose_addition_the_process_is_killed(site, monkeypatch, how):
    delete_halfway(site, monkeypatch, "bob")
    place, name = (site.app, "run_write") if how == "add" else (new_users, "insert_users")
    add = getattr(place, name)

    def add_and_die(*args):
        add(*args)
        raise Killed

    with monkeypatch.context() as killed, pytest.raises(Killed):
        killed.setattr(place, name, add_and_die)
        if how == "add":
            site("users/?add", user_name="bob", user_authdata="pw")
        else:
            site("users/?import", file="user_name,password\nbob,pw\n")
    assert site("audit/?mine", user="bob")["audit"] == [] and has_nothing(site, "bob")


def test_an_addition_that_is_refused_deletes_nothing_of_anybody(site, monkeypatch):
    """Neither of somebody who exists again, nor because of somebody who may not add users."""
    delete_halfway(site, monkeypatch, "bob")
    restricted = make_token(site, "root", token_name="reads", token_reads_only=True)
    notified = []
    monkeypatch.setattr(site.app, "notify_deleted", notified.extend)
    assert site("users/?add", user="ann", user_name="bob")["status"] == "Not allowed"
    assert "read" in ask_with_token(site, restricted, "users/?add", fields={"user_name": "bob"})["status"]
    assert site("users/?add", user_name="")["status"] == "Username is not set."
    assert notified == []
    assert site("users/?add", user_name="bob", user_authdata="pw")["user"] is True
    assert notified.pop() == "bob"
    assert site("users/?add", user_name="bob")["user"] is False
    assert site("users/?import", file="user_name\nbob\n")["status"] != "ok"
    assert notified == []


def test_only_an_admin_has_a_long_name_compared_with_those_of_deleted_users(site, monkeypatch):
    """A megabyte of some letters takes seconds."""
    compared = []
    monkeypatch.setattr(deleted_names, "recorded", lambda state, names: compared.extend(names) or [])
    for name, user in (("x" * 1001, "ann"), ("", "root"), ("x" * 1000, "ann"), ("y" * 200, "root")):
        site("users/?add", user=user, user_name=name)
    assert compared == ["x" * 1000, "y" * 200]


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


def test_nor_where_the_mail_server_had_not_deleted_the_user_yet(site_with_mailserver, monkeypatch):
    site = site_with_mailserver
    assert add_user(site, CAROL)["user"] is True
    with monkeypatch.context() as killed:
        killed.setattr(two_phase.PreparedChange, "commit", two_phase.PreparedChange.leave)
        delete_halfway(site, monkeypatch, CAROL)
    assert add_user(site, CAROL)["user"] is True
    assert has_nothing(site, CAROL)


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
