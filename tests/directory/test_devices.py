"""users/?device_add: a program of the user has a log-in of its own, which the daemons take for the user's."""

import re

import pytest

from support.accounts import WRONG_CREDENTIALS
from support.both_generations import assert_refused
from support.command_line import run_mailapi
from support.daemons import daemon_log_in
from support.site import OPTIONAL, Site, authdata

pytestmark = pytest.mark.every_engine


def add_device(site, label="phone", user="ann", owner="ann") -> str:
    """Add a device and return its password."""
    answer = site("users/?device_add", user=user, user_name=owner, device_name=label)
    assert answer["status"] == "ok"
    device = answer["device"]
    assert (device["user_name"], device["device_name"]) == (f"{owner}~{label}", label)
    return device["password"]


def labels(site, user="ann", **fields) -> list:
    """Return the names of the devices that an answer lists."""
    return [row["device_name"] for row in site("users/?device_get", user=user, **fields)["devices"]]


def test_a_devices_password_opens_the_owners_mailbox(either):
    password = add_device(either)
    assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", password)
    assert daemon_log_in(either, "ann~phone", password) == "ann"
    assert daemon_log_in(either, "ann", password) is None
    assert daemon_log_in(either, "ann~phone", "pw") is None


def test_each_device_has_a_password_and_loses_it_alone(site):
    phone, tablet = add_device(site), add_device(site, "tablet")
    assert labels(site) == ["phone", "tablet"]
    assert site("users/?device_delete", user="ann", user_name="ann", device_name="phone")["status"] == "ok"
    assert labels(site) == ["tablet"]
    assert (
        daemon_log_in(site, "ann~phone", phone) is None and daemon_log_in(site, "ann~tablet", tablet) == "ann"
    )
    assert_refused(site, "users/?device_delete", "Device not found.", user_name="ann", device_name="phone")


def test_who_may_act_for_the_user_has_the_same_actions(site):
    add_device(site, user="dele")
    assert labels(site, "dele", user_name="ann") == labels(site, "root", user_name="ann") == ["phone"]
    assert labels(site, "bob") == [] and labels(site, "root") == []
    for user in ("bob", "dele"):
        refused = site("users/?device_get", user=user, user_name="root")
        assert refused["status"] == "Not allowed." and "devices" not in refused


def test_a_device_is_no_user_of_the_api(either):
    everybody = either("users/?get")["users"]
    password = add_device(either)
    assert either("users/?get")["users"] == everybody
    assert either("users/?get&limit=100&search=ann")["users"] == [everybody[0]]
    assert either("users/?get", user="dele")["users"] == either("users/?get&limit=9", user="dele")["users"]
    assert [row["user_name"] for row in either("users/?get", user="dele")["users"]] == ["ann", "dele"]
    assert either("users/?get", username="ann~phone")["users"] == []
    answer = either("?get_modules", user="ann~phone", password=password)
    assert (answer["status"], answer["login"]) == (WRONG_CREDENTIALS, False)


def test_a_device_is_in_no_list_where_another_database_has_users_too(tmp_path):
    site = Site(tmp_path, extra=OPTIONAL)
    everybody = site("users/?get")["users"]
    add_device(site)
    assert site("users/?get")["users"] == everybody
    assert site("accounts/?provision", user_name="ann~phone")["status"] == "There is no such user."


def test_a_devices_own_session_ends_when_a_user_becomes_one(site):
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('ann~old', ?)", authdata("pw"))
    browser = site.browser()
    browser.post_json("/", {"auth": {"user_name": "ann~old", "password": "pw"}})
    assert browser.post("/").json["login"] is True
    site.sql("UPDATE users SET user_alias = 'ann' WHERE user_name = 'ann~old'")
    assert browser.post("/").json["login"] is False and labels(site) == ["old"]


def test_a_device_has_neither_permissions_nor_delegations(either):
    add_device(either)
    word = "right" if either.generation == 8 else "permission"
    for url, fields in (
        (f"users/?add_{word}", {"user_name": "ann~phone", f"user_{word}": "admin"}),
        (f"users/?update_{word}s", {"user_name": "ann~phone", f"user_{word}s": ["admin"]}),
        ("delegates/?user_add", {"api_user": "ann~phone", "api_delegate": "bob"}),
        ("delegates/?user_add", {"api_user": "bob", "api_delegate": "ann~phone"}),
        ("delegates/?address_add", {"api_user": "ann~phone", "api_expression": "%@corp.org"}),
    ):
        assert_refused(either, url, "A device has neither permissions nor delegations.", **fields)


def test_when_the_owner_is_deleted_the_devices_go_too(either):
    password = add_device(either)
    add_device(either, user="bob", owner="bob")
    assert either("users/?delete", user_name="ann")["status"] == "ok"
    assert either.sql("SELECT user_name FROM users WHERE instr(user_name, '~') > 0") == [("bob~phone",)]
    assert daemon_log_in(either, "ann~phone", password) is None
    assert either("users/?add", user_name="ann", user_authdata="pw")["user"] is True and labels(either) == []


def test_when_the_owner_is_suspended_the_devices_stop(either):
    password = add_device(either)
    either("users/?suspend", user_name="ann")
    assert daemon_log_in(either, "ann~phone", password) is None
    before = either.dump()
    refused = either("users/?device_add", user_name="ann", device_name="new")
    assert refused["status"] == "This user is suspended." and either.dump() == before
    assert either("users/?set_password", user_name="ann~phone", user_authdata="other")["status"] == "ok"
    assert daemon_log_in(either, "ann~phone", "other") is None
    either("users/?restore", user_name="ann")
    assert daemon_log_in(either, "ann~phone", "other") == "ann"


def test_a_device_that_was_suspended_alone_stays_so(site):
    password = add_device(site)
    tablet = add_device(site, "tablet")
    for action, name in (("suspend", "ann~phone"), ("suspend", "ann"), ("restore", "ann")):
        assert site(f"users/?{action}", user_name=name)["status"] == "ok"
    assert daemon_log_in(site, "ann~phone", password) is None
    assert daemon_log_in(site, "ann~tablet", tablet) == "ann"
    assert site("users/?restore", user_name="ann~phone")["status"] == "ok"
    assert daemon_log_in(site, "ann~phone", password) == "ann"


@pytest.mark.parametrize("first", ["ann~phone", "ann"])
def test_a_device_is_not_restored_while_its_owner_is_suspended(either, first):
    password = add_device(either)
    either("users/?suspend", user_name=first)
    either("users/?suspend", user_name="ann")
    before = either.dump()
    assert either("users/?restore", user_name="ann~phone")["status"] == "User ann is suspended."
    assert either.dump() == before and daemon_log_in(either, "ann~phone", password) is None
    assert either("users/?restore", user_name="ann")["status"] == "ok"


def test_a_new_password_of_the_owner_leaves_the_devices_alone(site):
    password = add_device(site)
    site("users/?set_password", user="ann", user_name="ann", user_authdata="new")
    assert daemon_log_in(site, "ann~phone", password) == "ann"


@pytest.mark.parametrize(
    "label", ["a b", "a~b", "a@b", "a/b", "../a", "*", "%", "", "x" * 65, "a\u200bb", "ａ", "0"]
)
def test_names_that_no_device_may_have(site, label):
    status = "Device name is not set." if label in ("", "0") else "Device name is not allowed."
    assert_refused(site, "users/?device_add", status, user_name="ann", device_name=label)


def test_a_name_is_given_once(site):
    add_device(site)
    for label in ("phone", "Phone"):
        assert_refused(
            site, "users/?device_add", "This device name is taken.", user_name="ann", device_name=label
        )
    site.sql("INSERT INTO users (user_name) VALUES ('ann~theirs')")
    assert_refused(
        site, "users/?device_add", "This device name is taken.", user_name="ann", device_name="theirs"
    )


def test_who_can_have_no_device(site):
    add_device(site)
    site.sql("INSERT INTO users (user_name, user_alias) VALUES ('annie', 'ann')")
    for owner, status in (
        ("nobody", "There is no such user."),
        ("annie", "An alias has no devices."),
        ("ann~phone", "An alias has no devices."),
    ):
        assert_refused(site, "users/?device_add", status, user_name=owner, device_name="x")


def test_a_user_has_50_devices_at_most(site):
    rows = [(f"ann~d{number}", authdata("pw"), "ann") for number in range(50)]
    site.insert_many("INSERT INTO users (user_name, user_authdata, user_alias) VALUES (?, ?, ?)", rows)
    assert_refused(
        site,
        "users/?device_add",
        "Too many devices: 50 at most. Delete one first.",
        user_name="ann",
        device_name="phone",
    )


def test_neither_add_nor_an_alias_makes_a_device(site):
    status = "A device is added by device_add."
    assert_refused(site, "users/?add", status, user_name="ann~x", user_alias="ann", user_authdata="pw")
    site.sql("INSERT INTO users (user_name, user_authdata) VALUES ('ann~x', ?)", authdata("pw"))
    assert_refused(site, "users/?update_alias", status, user_name="ann~x", user_alias="ann")
    assert site("users/?update_alias", user_name="ann~x", user_alias="bob")["status"] == "ok"


def test_an_import_may_have_devices_but_not_of_who_is_suspended(site):
    site("users/?suspend", user_name="bob")
    lines = ["user_name,password,user_alias", "ann~a,secret,ann", "bob~b,secret,bob", "bobby,secret,bob"]
    answer = site("users/?import", file="\n".join(lines))
    assert answer["problems"] == [{"line": 3, "status": "User bob is suspended."}]
    answer = site("users/?import", file="\n".join(lines[:2] + lines[3:]))
    assert answer["imported"] == 2 and labels(site) == ["a"]
    assert daemon_log_in(site, "ann~a", "secret") == "ann"


def test_an_import_gives_no_permissions_to_a_device(site):
    answer = site("users/?import", file="user_name,user_alias,user_permissions\nbob~x,bob,admin\n")
    assert answer["problems"] == [{"line": 2, "status": "A device has neither permissions nor delegations."}]
    assert not site.sql("SELECT 1 FROM users WHERE user_name = 'bob~x'")


def test_the_password_of_a_deleted_device_is_not_kept(site):
    add_device(site)
    site("users/?suspend", user_name="ann")
    site("users/?device_delete", user_name="ann", device_name="phone")
    assert site.state("SELECT user_name FROM suspension") == [("ann",)]


def test_a_token_adds_no_device_of_its_user(site):
    token = site("tokens/?add", user="ann", token_name="t")["token"]
    bearer = site.browser(HTTP_AUTHORIZATION=f"Bearer {token}")
    answer = bearer.post_json("/users/?device_add", {"user_name": "ann", "device_name": "phone"}).json
    assert answer["status"] == "A token cannot add a device of its user." and labels(site) == []


def test_the_password_is_shown_once_and_recorded_nowhere(site):
    password = add_device(site)
    audit = site("audit/?get")
    assert password not in str([audit, site("users/?device_get", user="ann"), site.dump()])
    assert "ann phone" in [row["audit_target"] for row in audit["audit"]]


def test_with_a_mailserver_there_are_none(tmp_path):
    site = Site(tmp_path, mailserver="mysql://u:p@127.0.0.1:1/x")
    for action in ("device_add", "device_get", "device_delete"):
        answer = site(f"users/?{action}", user_name="bob", device_name="phone")
        assert answer["status"] == "Devices cannot be used with a mailserver."


@pytest.mark.sqlite
@pytest.mark.slow
def test_check_names_strays_and_devices_of_the_suspended(site):
    add_device(site)
    add_device(site, user="bob", owner="bob")
    (site.file.parent / "config.py").write_text("\n".join(f"{k} = {v!r}" for k, v in site.config.items()))
    site.sql("PRAGMA foreign_keys = OFF")
    site.sql("UPDATE users SET user_alias = NULL WHERE user_name = 'bob~phone'")  # ON DELETE SET NULL
    site.sql("DELETE FROM users WHERE user_name = 'bob'")
    site("users/?suspend", user_name="ann")
    site.sql("UPDATE users SET user_authdata = ? WHERE user_name = 'ann~phone'", authdata("theirs"))
    said = run_mailapi(site.file.parent, "check", check=1)
    assert "warn  User: user 'bob~phone' is named like a device of 'bob', and is none" in said
    assert "FAIL  User: device ann~phone of ann, who is suspended, can log in" in said
    run_mailapi(site.file.parent, "check", "--repair")
    assert daemon_log_in(site, "ann~phone", "theirs") is None


@pytest.mark.sqlite
@pytest.mark.slow
def test_the_command_line_has_the_same(site):
    (site.file.parent / "config.py").write_text("\n".join(f"{k} = {v!r}" for k, v in site.config.items()))
    folder = site.file.parent
    said = run_mailapi(folder, "call", "users", "device_add", "user_name=ann", "device_name=phone")
    assert '"user_name": "ann~phone"' in said
    assert "ann~phone" in run_mailapi(folder, "call", "--as", "ann", "users", "device_get")
    said = run_mailapi(folder, "call", "users", "device_get", check=1)
    assert "Name the user with --as USER." in said
    assert "There is no user ann~phone." in run_mailapi(
        folder, "call", "--as", "ann~phone", "users", "get", check=1
    )
