"""Where mailapi answers differently on purpose (docs/wire.md section 5): roles, data, mail, sessions and the database.

The rows about what a request may look like are in test_differences_input.py.
"""

import contextlib
import hashlib
import json
import re
import sqlite3
import threading
from pathlib import Path

import pytest

import mailapi
from support.both_generations import (
    address,
    changed,
    done,
    mail,
    mails,
    refused,
    stored,
    user_database,
    who,
    word,
)
from support.browsers import ask, log_in
from support.site import Site, authdata

pytestmark = pytest.mark.every_engine

ROWS = [f"f{number:02}" for number in range(1, 41)]
WRONG = "Username or password is wrong."
DUPLICATE_PERMISSION = {
    9: "UNIQUE constraint failed: api_access.api_user, api_access.api_permission",
    8: "UNIQUE constraint failed: api_access.api_user, api_access.api_right",
}


def orders(answer) -> list:
    return [row["address_order"] for row in answer["addresses"]]


########## Users ###################################################################################


def test_f01_adding_an_existing_user_changes_nothing(either):
    answer = refused(
        either,
        "users/?add",
        "UNIQUE constraint failed: users.user_name",
        user_name="bob",
        user_authdata="new",
        user_alias="ann",
        user_permissions=["admin"],
    )
    assert answer["user"] is False
    assert either("pop/?get", user="bob")[word(either) + "s"] == []


def test_f01_a_user_is_added_whole_or_not_at_all(either):
    again = refused(
        either,
        "users/?add",
        DUPLICATE_PERMISSION[either.generation],
        user_name="new",
        user_permissions=["other", "other"],
    )
    alias = refused(
        either, "users/?add", "FOREIGN KEY constraint failed", user_name="new", user_alias="nobody"
    )
    blank = refused(
        either, "users/?add", f"No {word(either)} is set.", user_name="new", user_permissions=["x", ""]
    )
    assert again["user"] is alias["user"] is blank["user"] is False
    assert done(either, "users/?add", user_name="new", user_permissions=["other"])["user"] is True


@pytest.mark.parametrize(
    "action, field",
    [("delete_permission", "permission"), ("delete-permission", "right"), ("delete_right", "right")],
)
def test_f02_delete_permission_deletes_that_one(either, action, field):
    for user, permission in [("ann", "admin"), ("ann", "other"), ("bob", "other")]:
        either.sql("INSERT INTO api_access VALUES (?, ?)", user, permission)
    for user in ("bob", "dele"):
        refused(
            either,
            f"users/?{action}",
            "Not allowed.",
            user=user,
            user_name="ann",
            **{f"user_{field}": "other"},
        )
    done(either, f"users/?{action}", user_name="ann", **{f"user_{field}": "other"})
    rows = either.sql("SELECT * FROM api_access ORDER BY 1, 2")
    assert rows == [("ann", "admin"), ("bob", "other"), ("dele", "delegate"), ("root", "admin")]


def test_f03_a_plain_user_sets_their_own_password(either):
    before = either.dump()
    done(either, "users/?set_password", user="ann", user_name="ann", user_authdata="new")
    assert either("pop/?get", user="ann", password="new")["login"] is True
    assert either("pop/?get", user="ann")["status"] == WRONG
    assert len(set(either.dump()) ^ set(before)) == 2  # the row as it was and as it is
    refused(either, "users/?set_password", "Not allowed.", user="bob", user_name="ann", user_authdata="x")
    refused(either, "users/?set_password", "Not allowed.", user="dele", user_name="bob", user_authdata="x")


@pytest.mark.parametrize("user, victim", [("ann", "bob"), ("ann", "ann"), ("dele", "bob"), ("dele", "dele")])
def test_f04_deleting_a_user_takes_an_admin_or_their_delegate(either, user, victim):
    answer = refused(either, "users/?delete", "Not allowed.", user=user, user_name=victim)
    assert "delete" not in answer
    assert done(either, "users/?delete", user="dele", user_name="ann")["delete"] == "ok"


def test_f05_a_delegate_may_not_add_users(either):
    for user in ("dele", "bob"):
        refused(either, "users/?add", "Not allowed", user=user, user_name="new")


@pytest.mark.parametrize("generation", [9, 8])
def test_f05_with_delegates_add_users_the_new_user_is_delegated(tmp_path, generation):
    site = Site(tmp_path, generation, delegates_add_users=True)
    for field in ("user_permissions", "user_rights"):
        refused(site, "users/?add", "Not allowed", user="dele", user_name="new", **{field: ["other"]})
    refused(site, "users/?add", "Not allowed", user="bob", user_name="new")
    refused(site, "users/?add", "UNIQUE constraint failed: users.user_name", user="dele", user_name="bob")
    assert done(site, "users/?add", user="dele", user_name="new", user_authdata="pw")["user"] is True
    assert site.sql("SELECT * FROM api_user_delegates") == [("dele", "ann"), ("dele", "new")]
    assert site.sql("SELECT * FROM api_access WHERE api_user = 'new'") == []
    assert site("pop/?get", user="new")["login"] is True


@pytest.mark.parametrize("fields", [{}, {"username": "ann"}, {"user_name": "ann"}])
def test_f06_one_user_is_a_list_of_one_object(either, fields):
    either.sql("INSERT INTO popd (pop_user) VALUES ('ann')")
    user = {
        "user_name": "ann",
        "user_login": 1,
        "user_alias": None,
        "modules": {"User": True, "POP": True},
        f"user_{word(either)}s": [],
    }
    for caller in ("ann", "dele", "root") if fields else ("ann",):
        assert done(either, "users/?get", user=caller, **fields)["users"] == [user]
    assert either("users/?get", user="bob", username="bob")["users"][0]["modules"] == {"User": True}
    assert either("users/?get", username="nologin")["users"][0]["modules"] == []


def test_f23_delegations_are_the_admins_and_visible_to_whom_they_concern(either):
    for user in ("ann", "dele"):
        for action in ("user_add", "user_delete"):
            refused(
                either, f"delegates/?{action}", "Not allowed.", user=user, api_user="dele", api_delegate="ann"
            )
        for action in ("address_add", "address_delete"):
            refused(
                either,
                f"delegates/?{action}",
                "Not allowed.",
                user=user,
                api_user="dele",
                api_expression="%@corp.org",
            )
    assert done(either, "delegates/?get", user="bob")["delegates"] == {"users": [], "addresses": []}
    address(either, 10, "sales@corp.org", "ann")
    either.sql("INSERT INTO api_address_delegates VALUES ('dele', '%@else.org')")
    assert done(either, "delegates/?get", user="ann")["delegates"] == {
        "users": [{"api_user": "dele", "api_delegate": "ann"}],
        "addresses": [{"api_user": "dele", "api_expression": "%@corp.org"}],
    }


def test_f24_what_the_database_refuses_is_the_status(either):
    either.sql("INSERT INTO popd (pop_user) VALUES ('ann')")
    foreign = "FOREIGN KEY constraint failed"
    refused(either, "pop/?add", foreign, pop_user="nobody")
    refused(either, "pop/?add", "UNIQUE constraint failed: popd.pop_user", pop_user="ann")
    refused(either, "users/?add_permission", foreign, user_name="nobody", user_permission="admin")
    refused(either, "users/?update_permissions", foreign, user_name="nobody", user_permissions=["admin"])
    refused(
        either,
        "users/?add_permission",
        DUPLICATE_PERMISSION[either.generation],
        user_name="root",
        user_permission="admin",
    )
    refused(either, "delegates/?user_add", foreign, api_user="dele", api_delegate="nobody")
    refused(either, "delegates/?address_add", foreign, api_user="nobody", api_expression="%")


@pytest.mark.parametrize("action, event", [("delete", "DELETE"), ("set_password", "UPDATE")])
def test_f24_a_users_row_that_the_database_keeps_is_not_answered_ok(either, action, event):
    either.sql(
        f"CREATE TRIGGER keep BEFORE {event} ON users BEGIN SELECT RAISE(ABORT, 'kept for the audit'); END"
    )
    answer = refused(either, f"users/?{action}", "kept for the audit", user_name="ann", user_authdata="new")
    assert "delete" not in answer and answer["login"] is True


def test_f28_every_password_has_its_own_salt_of_128_bits(either):
    done(either, "users/?add", user_name="new", user_authdata="sesame")
    for name in ("ann", "bob"):
        done(either, "users/?set_password", user_name=name, user_authdata="sesame")
    rows = either.sql("SELECT user_authdata FROM users WHERE user_name IN ('ann', 'bob', 'new')")
    salts = [re.fullmatch("([0-9a-f]{32}):[0-9a-f]{64}", row[0])[1] for row in rows]
    assert len(set(salts)) == 3
    assert [row[0] for row in rows] == [
        f"{s}:{hashlib.sha256((s + 'sesame').encode()).hexdigest()}" for s in salts
    ]


@pytest.mark.parametrize("nothing", ["", None])
def test_f34_an_alias_can_be_taken_away(either, nothing):
    alias = "SELECT user_alias FROM users WHERE user_name = 'bob'"
    done(either, "users/?update_alias", user_name="bob", user_alias="ann")
    assert either.sql(alias) == [("ann",)]
    refused(either, "users/?update_alias", "No alias set.", user_name="bob")
    refused(either, "users/?update_alias", "Not allowed.", user="bob", user_name="bob", user_alias=nothing)
    refused(
        either, "users/?update_alias", "Cannot alias to the same user.", user_name="bob", user_alias="bob"
    )
    done(either, "users/?update_alias", user_name="bob", user_alias=nothing)
    assert either.sql(alias) == [(None,)]


@pytest.mark.parametrize("alias", ["0", 0, False, []])
def test_f34_only_an_empty_alias_clears_not_whatever_php_calls_empty(either, alias):
    either.sql("UPDATE users SET user_alias = 'ann' WHERE user_name = 'bob'")
    refused(either, "users/?update_alias", "No alias set.", user_name="bob", user_alias=alias)


########## Addresses ###############################################################################


def test_f07_a_delegate_changes_only_rows_that_are_theirs_before_and_after(either):
    address(either, 10, "sales@corp.org", "ann")
    address(either, 20, "boss@other.org", "bob")
    no = f"No {word(either)} to update this to address"
    refused(either, "addresses/?update", no, user="dele", **changed(either, 20, "boss@other.org", "ann"))
    refused(either, "addresses/?update", no, user="dele", **changed(either, 10, "%", "ann"))
    refused(
        either,
        "addresses/?delete",
        "No access.",
        user="dele",
        address_expression="boss@other.org",
        address_order=20,
    )
    refused(
        either,
        "addresses/?update",
        f"No {word(either)} to update an address.",
        user="ann",
        **changed(either, 10, "sales@corp.org", "ann"),
    )
    if either.generation == 9:
        refused(either, "addresses/?update", no, user="dele", **changed(either, 20, "sales@corp.org", "ann"))
        refused(either, "addresses/?update", no, user="dele", **changed(either, 10, "sales@other.org", "ann"))
        refused(either, "addresses/?update", no, user="dele", **changed(either, 99, "sales@corp.org", "ann"))
        refused(
            either,
            "addresses/?delete",
            "No access.",
            user="dele",
            address_expression="sales@corp.org",
            address_order=20,
        )
        refused(
            either,
            "addresses/?delete",
            "No access.",
            user="dele",
            address_expression="boss@other.org",
            address_order=10,
        )
    done(either, "addresses/?update", user="dele", **changed(either, 10, "sales@corp.org", "bob"))
    assert stored(either)[0][-1] == "bob"
    done(either, "addresses/?delete", user="dele", address_expression="sales@corp.org", address_order=10)
    assert [row[0] for row in stored(either)] == ["boss@other.org"]


def test_f07_the_claimed_expression_selects_no_other_rows(either):
    """In generation 8 the row is found by its expression, which is not a pattern then."""
    address(either, 10, "sales@corp.org", "ann")
    before = stored(either)
    either("addresses/?update", **changed(either, 11, "%@corp.org", "bob"))
    either("addresses/?delete", address_expression="%@corp.org", address_order=11)
    assert stored(either) == before


def test_f08_addresses_are_seen_by_whom_they_concern(either):
    address(either, 10, "ann@one.org", "ann")
    address(either, 20, "bob@one.org", "bob")
    address(either, 30, "x@corp.org", "bob")
    either.sql("INSERT INTO api_address_delegates VALUES ('ann', '%')")  # without the permission: nothing
    for user, seen in {
        "root": [30, 20, 10],
        "dele": [30, 10],
        "bob": [30, 20],
        "ann": [10],
        "nologin": [],
    }.items():
        either.sql("UPDATE users SET user_authdata = ? WHERE user_name = ?", authdata("pw"), user)
        assert orders(done(either, "addresses/?get", user=user)) == seen
        for owner, theirs in {"ann": [10], "bob": [30, 20], "nobody": []}.items():
            answer = done(either, "addresses/?get", user=user, address_user=owner)
            assert orders(answer) == [order for order in theirs if order in seen]
        for order, expression in [(10, "ann@one.org"), (20, "bob@one.org"), (30, "x@corp.org"), (99, "%")]:
            visible = [order] if order in seen else []
            assert orders(done(either, "addresses/?get", user=user, address_expression=expression)) == visible
            if either.generation == 9:
                answer = either("addresses/?get", user=user, address_order=order)
                assert answer["status"] == ("ok" if visible or user == "root" else "Not authorized.")
                assert orders(answer) == visible
                assert orders(done(either, f"addresses/?get&test={expression}", user=user)) == visible


def test_f08_other_delegates_delegations_do_not_count(either):
    address(either, 20, "bob@one.org", "bob")
    either.sql("INSERT INTO api_access VALUES ('ann', 'delegate')")
    either.sql("INSERT INTO api_address_delegates VALUES ('ann', '%@one.org')")
    assert orders(done(either, "addresses/?get", user="ann")) == [20]
    assert orders(done(either, "addresses/?get", user="dele")) == []
    if either.generation == 9:
        assert (
            refused(either, "addresses/?get", "Not authorized.", user="dele", address_order=20)["addresses"]
            == []
        )


def test_f09_all_delegated_expressions_count(either):
    for expression in ("%@two.org", "info@three.org"):
        either.sql("INSERT INTO api_address_delegates VALUES ('dele', ?)", expression)
    names = ["a@corp.org", "a@two.org", "info@three.org"]
    for order, expression in enumerate([*names, "a@three.org"], 1):
        address(either, order, expression, "bob")
    seen = done(either, "addresses/?get", user="dele")["addresses"]
    assert [row["address_expression"] for row in seen] == names[::-1]
    for order, expression in enumerate(names, 1):
        done(either, "addresses/?update", user="dele", **changed(either, order, expression, "ann"))
    refused(
        either,
        "addresses/?update",
        f"No {word(either)} to update this to address",
        user="dele",
        **changed(either, 4, "a@three.org", "ann"),
    )


def test_f09_an_admin_who_is_a_delegate_too_sees_everything(either):
    either.sql("INSERT INTO api_access VALUES ('dele', 'admin')")
    address(either, 10, "a@corp.org", "bob")
    address(either, 20, "a@else.org", "bob")
    assert orders(done(either, "addresses/?get", user="dele")) == [20, 10]
    done(either, "addresses/?delete", user="dele", address_expression="a@else.org", address_order=20)
    assert [row[1] for row in stored(either)] == [10]


def test_f11_two_rows_as_get_returns_them_switch_places(either):
    address(either, 10, "a@corp.org", "ann")
    address(either, 20, "b@corp.org", "bob")
    second, first = done(either, "addresses/?get", user="dele")["addresses"]
    done(either, "addresses/?switch", user="dele", address1=first, address2=second)
    rows = [(row[0], row[1], row[-1]) for row in stored(either)]
    assert rows == [("b@corp.org", 10, "bob"), ("a@corp.org", 20, "ann")]
    refused(either, "addresses/?switch", "Address not found.", user="dele", address1=first, address2=second)


def test_f11_both_rows_of_a_switch_are_checked(either):
    for order, expression in enumerate(["a@corp.org", "b@corp.org", "c@else.org"], 1):
        address(either, order, expression, "ann")
    third, second, first = done(either, "addresses/?get")["addresses"]
    lie = third | {"address_expression": "a@corp.org"}
    for pair in [(first, third), (third, first)]:
        refused(either, "addresses/?switch", "No access.", user="dele", address1=pair[0], address2=pair[1])
    for pair in [(first, lie), (lie, first)]:
        refused(
            either, "addresses/?switch", "Address not found.", user="dele", address1=pair[0], address2=pair[1]
        )
    for user in ("ann", "bob"):
        refused(either, "addresses/?switch", "No access.", user=user, address1=first, address2=second)
    done(either, "addresses/?switch", address1=first, address2=third)
    assert [row[0] for row in stored(either)] == ["c@else.org", "b@corp.org", "a@corp.org"]


QUEUED = {"mail_remote": None, "mail_envelopefrom": "a@from.example", "mail_envelopeto": "info@else.example"}
LOST, KEPT = (
    {"accepted": False, "stored": None, "queued": None},
    {"accepted": True, "stored": None, "queued": None},
)


@pytest.mark.parametrize(
    "router, route, decision",
    [
        ("store", "ann", KEPT | {"stored": "ann"}),
        ("store", None, LOST),
        ("store", "nobody", LOST),
        ("redirect", "(to-local)@else.example", KEPT | {"queued": QUEUED}),
        ("redirect", None, LOST),
        (
            "handoff",
            "relay.example",
            KEPT | {"queued": QUEUED | {"mail_remote": "relay.example", "mail_envelopeto": "info@one.org"}},
        ),
        ("handoff", None, LOST),
        ("reject", None, LOST),
        ("drop", None, KEPT),
    ],
)
def test_f12_the_routing_test_says_what_happens_to_incoming_mail(site, router, route, decision):
    address(site, 10, "%", "bob")
    address(site, 20, "%@ONE.org", route, router)
    before = site.dump()
    asked = {"address_expression": "info@one.org", "address_routing": "inrouter", "sender": "a@from.example"}
    answer = done(site, "addresses/?test", **asked)
    assert answer["steps"][0] == "Address matched: %@ONE.org" and len(answer["steps"]) > 1
    assert answer["decision"] == decision
    hidden = done(site, "addresses/?test", user="bob", **asked)
    assert hidden["steps"] == ["Address not found."] and hidden["decision"] == LOST
    assert site.dump() == before


@pytest.mark.parametrize(
    "router, route, decision",
    [
        ("store", None, KEPT | {"stored": "ann"}),
        ("forward", "info@else.example", KEPT | {"queued": QUEUED}),
        ("drop", None, KEPT),
        ("reject", None, LOST),
    ],
)
def test_f12_generation_8_routes_by_the_user(site8, router, route, decision):
    address(site8, 10, "%@one.org", "ann")
    site8.sql("INSERT INTO msa VALUES ('ann', ?, ?, 'drop', NULL)", router, route)
    answer = done(
        site8,
        "addresses/?test",
        address_expression="info@one.org",
        address_routing="inrouter",
        sender="a@from.example",
    )
    assert answer["steps"][0] == "Address matched: %@one.org"
    assert answer["decision"] == decision


def test_f12_outgoing_mail_is_tested_only_for_oneself_or_on_behalf(site):
    address(site, 10, "ann@one.org", "ann")
    site.sql("INSERT INTO smtpd VALUES ('ann', 'defined', NULL)")
    asked = {
        "address_expression": "ann@one.org",
        "address_routing": "outrouter",
        "recipient": "x@far.example",
    }
    queued = {"mail_remote": None, "mail_envelopefrom": "ann@one.org", "mail_envelopeto": "x@far.example"}
    for user in ("ann", "dele", "root"):
        answer = done(site, "addresses/?test", user=user, smtpd_user="ann", **asked)
        assert answer["decision"] == KEPT | {"queued": queued}
    answer = refused(site, "addresses/?test", "Not allowed.", user="bob", smtpd_user="ann", **asked)
    assert "decision" not in answer
    hidden = done(site, "addresses/?test", user="bob", **asked)
    assert (hidden["steps"], hidden["decision"]) == (["Address not found."], LOST)
    asked["address_expression"] = "other@one.org"
    assert done(site, "addresses/?test", smtpd_user="ann", **asked)["decision"] == LOST


########## SMTPD and MSA ###########################################################################


def test_f13_smtpd_add_stores_the_row(site):
    for user, name in [("root", "bob"), ("dele", "ann")]:
        answer = done(
            site, "smtpd/?add", user=user, smtpd_user=name, smtpd_router="handoff", smtpd_route="relay"
        )
        assert site.sql("SELECT * FROM smtpd WHERE rowid = ?", answer["smtpd"]) == [
            (name, "handoff", "relay")
        ]
    refused(site, "smtpd/?add", "Not allowed.", user="bob", smtpd_user="bob", smtpd_router="any")
    unique, foreign = "UNIQUE constraint failed: smtpd.smtpd_user", "FOREIGN KEY constraint failed"
    assert refused(site, "smtpd/?add", unique, smtpd_user="bob", smtpd_router="any")["smtpd"] == -1
    assert refused(site, "smtpd/?add", foreign, smtpd_user="nobody", smtpd_router="any")["smtpd"] == -1


def test_f29_the_route_of_the_router_store_is_that_users_database(site8):
    def databases():
        return dict(site8.sql("SELECT user_name, user_database FROM users WHERE user_database IS NOT NULL"))

    row = {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "drop"}
    done(site8, "msa/?add", **row, msa_inroute="/var/mail/ann.db3")
    assert databases() == {"ann": "/var/mail/ann.db3"}
    done(site8, "msa/?update", **row, msa_inroute="/var/mail/new.db3")
    assert databases() == {"ann": "/var/mail/new.db3"}
    done(site8, "msa/?update", **row)
    done(site8, "msa/?update", **row | {"msa_inrouter": "forward"}, msa_inroute="a@else.example")
    assert databases() == {"ann": "/var/mail/new.db3"}
    answer = refused(site8, "msa/?add", "UNIQUE constraint failed: msa.msa_user", **row, msa_inroute="/x")
    assert answer["msa"] == -1
    refused(site8, "msa/?update", "Not allowed.", user="ann", **row, msa_inroute="/x")
    done(site8, "msa/?update", **row, msa_inroute="")
    assert databases() == {}


########## Mailbox #################################################################################


@pytest.mark.parametrize("caller", ["bob", "dele", "root"])
@pytest.mark.parametrize("action", ["read", "unread", "delete"])
def test_f14_nobody_touches_the_mail_of_others(either, caller, action):
    path = user_database(either, "ann", caller)
    there = mail(either, "ann", path=path)
    here = mail(either, "ann")
    either.sql("UPDATE mailbox SET mail_read = 1")
    kept = mails(path)
    for fields in (
        {"mail_id": here},
        {"mail_id": here, "mail_sourcedb": "master"},
        {"mail_id": there, "mail_sourcedb": "user"},
        {"mail_id": 999},
    ):
        answer = refused(either, f"mailbox/?{action}", "mail not found", user=caller, **fields)
        assert "mail" not in answer
    assert mails(path) == kept
    done(either, f"mailbox/?{action}", user="ann", mail_id=there, mail_sourcedb="user")
    assert mails(path) == {"read": [(1, "ann", 1)], "unread": [(1, "ann", 0)], "delete": []}[action]


def test_f15_mail_is_listed_from_both_databases(either):
    path = user_database(either, "ann", "bob")
    mail(either, "ann"), mail(either, "bob", path=path)
    mail(either, "ann", path=path), mail(either, "bob")
    done(either, "mailbox/?read", user="ann", mail_id=1, mail_sourcedb="master")

    def listed(**fields):
        rows = done(either, "mailbox/?get", user="ann", **fields)["mails"]
        assert {row["mail_user"] for row in rows} <= {"ann"}
        return sorted((row["mail_sourcedb"], row["mail_id"], row["mail_read"]) for row in rows)

    for everything in ({}, *({"mail_only_unread": no} for no in (False, 0, "0", "", None))):
        assert listed(**everything) == [("master", 1, 1), ("user", 2, 0)]
    for yes in (True, 1, "1"):
        assert listed(mail_only_unread=yes) == [("user", 2, 0)]


def test_f15_a_missing_user_database_is_a_warning_and_is_not_made(either):
    missing = either.file.parent / "missing.db3"
    either.sql("UPDATE users SET user_database = ? WHERE user_name = 'ann'", str(missing))
    mail(either, "ann")
    answer = either("mailbox/?get", user="ann")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: ann")
    assert len(answer["mails"]) == 1 and not missing.exists()


def test_f16_bytes_that_are_not_utf8_are_replaced(either):
    raw = b"Subject: gr\xfc\xdfe\r\nFrom: \xff@one.org\r\n\r\nsch\xf6n\r\n"
    mail_id = mail(either, "ann", raw)
    either.sql("UPDATE mailbox SET mail_envelopefrom = CAST(x'ff40' AS TEXT)")
    listed = done(either, "mailbox/?get", user="ann")["mails"][0]
    assert (listed["mail_subject"], listed["mail_from"]) == ("gr\ufffd\ufffde", "\ufffd@one.org")
    assert (listed["mail_envelopefrom"], listed["mail_data"]) == ("\ufffd@", None)
    shown = done(either, "mailbox/?read", user="ann", mail_id=mail_id)["mail"]
    assert shown["mail_data"] == raw.decode(errors="replace")
    assert shown["mail_body"] == "sch\ufffdn\r\n"
    assert either.sql("SELECT CAST(mail_data AS BLOB) FROM mailbox") == [(raw,)]


def test_f16_a_broken_byte_in_any_column_does_not_empty_a_list(either):
    address(either, 10, "a@corp.org", "ann")
    either.sql("UPDATE addresses SET address_expression = CAST(x'61ff' AS TEXT)")
    assert done(either, "addresses/?get")["addresses"][0]["address_expression"] == "a\ufffd"


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_f31_header_values_are_stripped_and_unfolded(either, newline):
    raw = newline.join(
        [b"Subject:   Hello", b" folded", b"\tworld  ", b"To:ann@one.org", b"From:", b" a@b.org"]
    )
    mail_id = mail(either, "ann", raw + 2 * newline)
    for row in (
        either("mailbox/?get", user="ann")["mails"][0],
        either("mailbox/?read", user="ann", mail_id=mail_id)["mail"],
    ):
        assert row["mail_subject"] == "Hello folded\tworld"
        assert (row["mail_to"], row["mail_from"]) == ("ann@one.org", "a@b.org")


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_f31_the_line_break_before_a_boundary_is_not_part_of_the_text(either, newline):
    lines = [
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        "one",
        "",
        "--b",
        "",
        "two",
        "--b",
        "Content-Type: text/plain",
        "",
        "  ",
        "--b--",
        "",
    ]
    mail_id = mail(either, "ann", newline.join(lines).encode())
    body = either("mailbox/?read", user="ann", mail_id=mail_id)["mail"]["mail_body"]
    assert body == f"one{newline}\n----\ntwo\n----\n"


########## Sessions ################################################################################


REVOKED = {
    "api": lambda site: site(
        f"users/?delete_{word(site)}", user_name="dele", **{f"user_{word(site)}": "delegate"}
    ),
    "list": lambda site: site("users/?update_permissions", user_name="dele", user_permissions=[]),
    "undelegated": lambda site: site("delegates/?user_delete", api_user="dele", api_delegate="ann"),
    "file": lambda site: site.sql("DELETE FROM api_access WHERE api_user = 'dele'"),
    "undelegated in the file": lambda site: site.sql("DELETE FROM api_user_delegates"),
}


@pytest.mark.parametrize("how", REVOKED)
def test_f19_what_was_revoked_is_gone_on_the_next_request(either, how):
    browser = log_in(either, "dele")
    assert ask(browser, "pop/?add", pop_user="ann")["status"] == "ok"
    REVOKED[how](either)
    before = either.dump()
    assert ask(browser, "pop/?delete", pop_user="ann")["status"] == "Not allowed."
    assert either.dump() == before
    assert who(browser) == "dele"


def test_f19_an_undelegated_expression_and_a_new_permission_count_at_once(either):
    address(either, 10, "a@corp.org", "bob")
    browser = log_in(either, "dele")
    assert orders(ask(browser, "addresses/?get")) == [10]
    either("delegates/?address_delete", api_user="dele", api_expression="%@corp.org")
    assert orders(ask(browser, "addresses/?get")) == []
    either(f"users/?add_{word(either)}", user_name="dele", **{f"user_{word(either)}": "admin"})
    assert orders(ask(browser, "addresses/?get")) == [10]


def test_f19_a_deleted_users_sessions_end(either):
    ann, bob = log_in(either, "ann"), log_in(either, "bob")
    either("users/?delete", user_name="ann")
    either.sql("DELETE FROM users WHERE user_name = 'bob'")
    assert who(ann) is None and who(bob) is None
    for name in ("ann", "bob"):
        done(either, "users/?add", user_name=name, user_authdata="pw")
    assert who(ann) is None and who(bob) is None


def test_f19_a_session_does_not_come_back_with_the_users_old_row(either):
    browser = log_in(either, "ann")
    row = either.sql("SELECT user_name, user_authdata FROM users WHERE user_name = 'ann'")[0]
    either("users/?delete", user_name="ann")
    either.sql("INSERT INTO users (user_name, user_authdata) VALUES (?, ?)", *row)
    assert who(browser) is None


CHANGES = {
    "admin": lambda site: done(site, "users/?set_password", user_name="ann", user_authdata="new"),
    "the same": lambda site: done(site, "users/?set_password", user_name="ann", user_authdata="pw"),
    "delegate": lambda site: done(
        site, "users/?set_password", user="dele", user_name="ann", user_authdata="new"
    ),
    "taken away": lambda site: done(site, "users/?set_password", user_name="ann", user_authdata=""),
    "file": lambda site: site.sql(
        "UPDATE users SET user_authdata = ? WHERE user_name = 'ann'", authdata("new")
    ),
}


@pytest.mark.parametrize("how", CHANGES)
def test_f19_a_changed_password_ends_the_users_sessions(either, how):
    first, second, bob = log_in(either, "ann"), log_in(either, "ann"), log_in(either, "bob")
    CHANGES[how](either)
    assert who(first) is None and who(second) is None
    assert who(bob) == "bob"


def test_f19_the_session_that_changed_the_password_lives_on(either):
    for user in ("ann", "root"):
        first, second = log_in(either, user), log_in(either, user)
        assert ask(first, "users/?set_password", user_name=user, user_authdata="new")["status"] == "ok"
        assert (who(first), who(second)) == (user, None)
    third = either.browser()  # log-in and change in one request
    ask(
        third,
        "users/?set_password",
        user_name="ann",
        user_authdata="newer",
        auth={"user_name": "ann", "password": "new"},
    )
    assert who(third) == "ann"


########## The database ############################################################################


def files(site) -> list:
    """What is in a site's folder, but for -wal and -shm: they go when an app that is no more lets go of them."""
    return sorted(file for file in site.dbpath.parent.rglob("*") if not file.name.endswith(("-wal", "-shm")))


def test_f26_a_missing_database_is_not_created(either):
    done(either, "pop/?get")
    for path in (either.dbpath, either.dbpath.parent / "nowhere" / "master.db3"):
        either.dbpath.unlink(missing_ok=True)
        before = files(either)
        for url in ("users/?get", "users/?add", "?logout"):
            answer = either(url, check=500, user_name="new")
            assert answer["status"].startswith("The database cannot be opened")
            assert "login" not in answer and answer["session"] is False
        assert files(either) == before
        either.app = mailapi.create_app(either.config | {"dbpath": str(path.parent / "nowhere" / path.name)})


@contextlib.contextmanager
def daemon(path, *statements):
    """Another process that holds the file while the block runs."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for statement in statements:
            connection.execute(statement).fetchall()
        yield connection
    finally:
        connection.close()


def busy(site, url, user="root", **fields):
    before = site.dump() if "get" not in url else None
    body = {"auth": {"user_name": user, "password": "pw"}, **fields}
    answer = site.browser().post("/" + url, json.dumps(body), status=503)
    assert answer.json["status"] == "The database is busy. Try again."
    assert "login" not in answer.json and int(answer.headers["Retry-After"]) > 0
    assert before is None or site.dump() == before


@pytest.mark.parametrize(
    "held",
    [["BEGIN EXCLUSIVE"], ["BEGIN IMMEDIATE"], ["BEGIN", "SELECT * FROM users"]],
    ids=["exclusive", "writer", "reader"],
)
def test_f36_a_write_that_finds_the_file_locked_is_not_answered_ok(either, held):
    """The reader lets the statements pass and makes COMMIT fail."""
    done(either, "pop/?get")
    either.app.db.database.timeout = 0.2
    before = either.dump()
    with daemon(either.dbpath, *held):
        answer = either("pop/?add", pop_user="ann", check=503)
        assert answer["status"] == "The database is busy. Try again." and "login" not in answer
        if held[0] == "BEGIN EXCLUSIVE":
            busy(either, "users/?get")
            busy(either, "?get_modules")
        else:
            busy(either, "users/?set_password", user_name="ann", user_authdata="new")
            done(either, "users/?get")
    assert either.dump() == before
    done(either, "pop/?add", pop_user="ann")


def test_f36_five_seconds_are_waited_and_no_more(site):
    for store in (site.app.db, site.app.state):
        assert store.connect().execute("PRAGMA busy_timeout").fetchall() == [(5000,)]
    with daemon(site.dbpath, "BEGIN EXCLUSIVE") as connection:
        busy(site, "users/?get")
        timer = threading.Timer(0.5, connection.rollback)
        timer.start()
        done(site, "pop/?add", pop_user="ann")
        timer.join()
    assert site.sql("SELECT pop_user FROM popd") == [("ann",)]


def test_f36_a_locked_user_database_is_busy_too(site):
    path = user_database(site, "ann")
    mail_id = mail(site, "ann", path=path)
    with daemon(path, "BEGIN EXCLUSIVE"):
        busy(site, "mailbox/?delete", user="ann", mail_id=mail_id, mail_sourcedb="user")
    assert mails(path) == [(mail_id, "ann", 0)]


def test_every_row_has_a_test():
    here = Path(__file__).parent
    text = "".join((here / name).read_text() for name in ("test_differences.py", "test_differences_input.py"))
    assert [row for row in ROWS if f"\ndef test_{row}_" not in text] == []
