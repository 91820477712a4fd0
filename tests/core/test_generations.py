"""Both generations behind one API: spellings, and modules that stand in for each other."""

import os

import pytest

from support.command_line import run_mailapi
from support.counting import statements
from support.second_wire import outcome, send
from support.site import Site

pytestmark = pytest.mark.every_engine

MSA = {"User": "modules/users.py", "MSA": "modules/msa.py", "Address": "modules/addresses.py"}
SMTPD = {"User": "modules/users.py", "SMTPD": "modules/smtpd.py"}
ROUTERS = {"msa_user": "ann", "msa_inrouter": "store", "msa_outrouter": "any"}


@pytest.mark.parametrize("action", ["add_right", "add-right", "add_permission", "add-permission"])
@pytest.mark.parametrize("field", ["user_right", "user_permission"])
def test_both_spellings_work_in_both_generations(either, action, field):
    assert either(f"users/?{action}", user_name="ann", **{field: "special"})["status"] == "ok"
    assert ("ann", "special") in either.sql("SELECT * FROM api_access")
    for update in ("update_rights", "update-permissions"):
        assert either(f"users/?{update}", user_name="ann", **{field + "s": []})["status"] == "ok"
    assert ("ann", "special") not in either.sql("SELECT * FROM api_access")


def test_answers_have_the_field_names_of_their_generation(both):
    site, site8 = both
    assert site("users/?add_right", user_name="ann")["status"] == "No permission is set."
    assert site8("users/?add_permission", user_name="ann")["status"] == "No right is set."
    assert site8("users/?update_rights", user_name="ann")["status"] == "No rights is set."
    assert site("users/?get", username="root")["users"][0]["user_permissions"] == ["admin"]
    assert site8("users/?get", username="root")["users"][0]["user_rights"] == ["admin"]
    assert site8("users/?get")["rights"] == {"admin": True} and "permissions" not in site8("users/?get")
    assert (site8("users/?get")["api_version"], site8("users/?get")["schema_version"]) == (8, 8)
    assert (
        site8("addresses/?add", user="ann", address_expression="x", address_user="ann")["status"]
        == "No right to add an address."
    )


def test_list_of_users_has_each_generations_columns(both):
    site, site8 = both
    new, old = site("users/?get")["users"][0], site8("users/?get")["users"][0]
    assert list(new) == [
        "user_name",
        "has_login",
        "user_alias",
        "user_database",
        "link_count",
        "mails",
        "modules",
    ]
    assert list(old) == ["user_name", "user_login", "user_alias", "modules"]


def test_generation_8_updates_and_deletes_addresses_by_expression(site8):
    for order, user in ((1, "ann"), (2, "bob")):
        site8("addresses/?add", address_expression=f"{user}@corp.org", address_user=user, address_order=order)
    assert (
        site8("addresses/?update", address_expression="ann@corp.org", address_user="bob", address_order=9)[
            "status"
        ]
        == "ok"
    )
    assert (
        site8("addresses/?update", address_expression="ann@corp.org", address_user="bob", address_order=2)[
            "status"
        ]
        == "UNIQUE constraint failed: addresses.address_order"
    )
    assert (
        site8("addresses/?update", address_expression="ann@corp.org", address_order=9)["status"]
        == "We want also an username."
    )
    assert (
        site8("addresses/?update", address_expression="ann@corp.org", address_user="bob")["status"]
        == "We want also an order."
    )
    assert site8("addresses/?delete", address_expression="bob@corp.org")["status"] == "ok"
    assert site8.sql("SELECT * FROM addresses") == [("ann@corp.org", 9, "bob")]


def test_a_client_for_8_manages_routers_on_9(tmp_path):
    site = Site(tmp_path, modulelist=MSA)
    assert isinstance(site("msa/?add", **ROUTERS)["msa"], int)
    assert site.sql("SELECT * FROM smtpd") == [("ann", "any", None)]
    assert site("msa/?add", **ROUTERS) | {
        "msa": -1,
        "status": "UNIQUE constraint failed: smtpd.smtpd_user",
    } == site("msa/?add", **ROUTERS)
    row = {
        "msa_user": "ann",
        "msa_inrouter": "drop",
        "msa_inroute": None,
        "msa_outrouter": "any",
        "msa_outroute": None,
    }
    assert site("msa/?get")["msa"] == [row]
    for order, expression in ((3, "second@x"), (5, "first@x")):
        site(
            "addresses/?add",
            address_expression=expression,
            address_router="store",
            address_route="ann",
            address_order=order,
        )
    row |= {"msa_inrouter": "store", "msa_inroute": "first@x"}
    assert site("msa/?get", msa_user="ann")["msa"] == [row]
    assert (
        site("msa/?update", **row | {"msa_outrouter": "handoff", "msa_outroute": "relay"})["status"] == "ok"
    )
    assert site.sql("SELECT * FROM smtpd") == [("ann", "handoff", "relay")]
    assert site("msa/?delete", msa_user="ann")["status"] == "ok"
    assert site("msa/?get")["msa"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"msa_inrouter": "drop"},
        {"msa_inrouter": "forward", "msa_inroute": "a@b"},
        {"msa_inroute": "/var/mail/ann.db3"},
    ],
)
def test_incoming_mail_is_not_set_in_msa_on_9(tmp_path, change):
    site = Site(tmp_path, modulelist=MSA)
    before = site.dump()
    for action in ("add", "update"):
        assert "addresses/" in site(f"msa/?{action}", **ROUTERS | change)["status"]
    assert site.dump() == before


def test_the_module_of_the_other_generation_answers_under_its_own_path(tmp_path):
    site = Site(tmp_path, modulelist=MSA)
    assert site("smtpd/?add", smtpd_user="ann", smtpd_router="any")["status"] == "ok"
    assert site("smtpd/?get", smtpd_user="ann")["smtpd"] == [
        {"smtpd_user": "ann", "smtpd_router": "any", "smtpd_route": None}
    ]
    assert site("?get_modules")["modules"] == ["User", "MSA", "Address"]
    assert site("users/?get", username="ann")["users"][0]["modules"] == {"User": True, "MSA": True}
    (tmp_path / "old").mkdir()
    old = Site(tmp_path / "old", generation=8, modulelist=SMTPD)
    assert old("msa/?add", **ROUTERS)["status"] == "ok"
    assert old("smtpd/?get", check=404)["status"] == "Unknown module smtpd."
    assert old("users/?get", username="ann")["users"][0]["modules"] == {"User": True, "SMTPD": True}


def test_a_module_that_is_not_in_modulelist_does_not_stand_in(both):
    site, site8 = both
    assert site("msa/?get", check=404)["status"] == "Unknown module msa."
    assert site8("smtpd/?get", check=404)["status"] == "Unknown module smtpd."


@pytest.mark.parametrize(("generation", "asked", "meant"), [(8, "smtpd", "msa"), (9, "msa", "smtpd")])
def test_the_second_wire_names_the_module_of_this_generation(tmp_path, generation, asked, meant):
    site = Site(tmp_path, generation=generation, modulelist=SMTPD)
    answer = send(site, f"{asked}/get")
    assert outcome(answer) == (404, "unknown_module", None, f"Unknown module {asked}: did you mean {meant}?")


def test_check_says_which_module_stands_in(tmp_path):
    site = Site(tmp_path, modulelist=MSA)
    (tmp_path / "config.py").write_text(f"dbpath = {site.place!r}\nmodulelist = {MSA!r}\n")
    assert "MSA is not of generation 9: SMTPD serves at smtpd/" in run_mailapi(tmp_path, "check")


def test_a_database_migrated_while_it_is_served_is_served_as_generation_9(site8, tmp_path):
    assert site8("msa/?add", **ROUTERS)["api_version"] == 8
    (tmp_path / "config.py").write_text(f"dbpath = {str(site8.dbpath)!r}\nmodulelist = {SMTPD!r}\n")
    run_mailapi(tmp_path, "migrate")
    assert site8("smtpd/?get")["smtpd"] == [{"smtpd_user": "ann", "smtpd_router": "any", "smtpd_route": None}]
    assert site8("users/?get")["api_version"] == 9


@pytest.mark.sqlite
def test_the_schema_version_is_read_in_the_transaction_only_while_nobody_writes(site):
    assert site("pop/?get")["status"] == "ok"
    seen = statements(site, lambda: site("pop/?get"))
    assert len([sql for sql in seen if '"meta"' in sql]) == 1


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("version", "http", "sentence"),
    [
        (7, 200, "Api version and schema version is not the same."),
        (9, 503, "The database has been migrated. Try again."),
    ],
)
def test_another_schema_version_is_seen_though_the_file_seems_unchanged(site8, version, http, sentence):
    assert site8("users/?get")["api_version"] == 8
    before = os.stat(site8.dbpath)
    site8.sql(f"UPDATE meta SET value = {version} WHERE key = 'schema_version'")
    os.utime(site8.dbpath, ns=(before.st_atime_ns, before.st_mtime_ns))  # as when it is written to a WAL
    assert site8("users/?get", check=http)["status"] == sentence
    site8.sql("UPDATE meta SET value = 8 WHERE key = 'schema_version'")
    assert site8("users/?get")["api_version"] == 8


def test_msa_routers_that_lose_mail_are_refused(site8):
    for change, sentence in (
        ({"msa_inrouter": "redirect"}, "Unknown router redirect."),
        ({"msa_outrouter": "store"}, "Unknown router store."),
        ({"msa_inrouter": "forward"}, "Router forward needs an argument (msa_inroute)."),
        ({"msa_outrouter": "handoff"}, "Router handoff needs an argument (msa_outroute)."),
    ):
        for action in ("add", "update"):
            assert site8(f"msa/?{action}", **ROUTERS | change)["status"] == sentence
    assert site8.sql("SELECT * FROM msa") == []
