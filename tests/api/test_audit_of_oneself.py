"""audit/?mine: what users see of the audit about their own account."""

import pytest

from support.browsers import ask, credentials
from support.site import Site

pytestmark = pytest.mark.every_engine

MINE, HERS = "192.0.2.1", "192.0.2.7"


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path) -> Site:
    return Site(tmp_path, request.param)


def log_in(site, user="ann", address=MINE):
    browser = site.browser(REMOTE_ADDR=address)
    ask(browser, "?login", auth=credentials(user))
    return browser


def own(browser, **fields) -> list[dict]:
    answer = ask(browser, "audit/?mine", **fields)
    assert answer["status"] == "ok"
    return answer["audit"]


def in_short(rows: list[dict]) -> list[str]:
    """Return who did what with which outcome, newest first."""
    return [
        " ".join(
            str(row[name]) for name in ("audit_user", "audit_module", "audit_action", "audit_status")
        ).replace("  ", "")
        for row in rows
    ]


def test_users_see_who_changed_their_account(site):
    root, ann = log_in(site, "root", HERS), log_in(site)
    ask(root, "pop/?add", pop_user="ann")
    ask(root, "pop/?add", pop_user="bob")
    ask(root, "users/?set_password", user_name="ann", user_authdata="pw")
    ask(ann, "?login", auth=credentials("ann"))
    assert in_short(own(ann)) == ["root users set_password ok", "root pop add ok", "ann ok"]
    assert not [row for row in own(ann) if row["audit_target"] == "bob"]


def test_refused_changes_by_others_are_not_there_so_that_nobody_fills_the_list(site):
    ask(log_in(site, "bob"), "users/?set_password", user_name="ann", user_authdata="x")
    assert in_short(own(log_in(site)))[1:] == []


def test_reads_of_others_and_what_one_does_elsewhere_are_not_in_it(site):
    root, ann = log_in(site, "root"), log_in(site)
    ask(root, "users/?get", user_name="ann", auth=credentials("root"))
    ask(log_in(site, "bob"), "users/?get", user_name="ann")
    ask(ann, "pop/?add", pop_user="bob")
    assert in_short(own(ann)) == ["ann ok"]


def test_only_ones_own_rows_have_an_address(site):
    root, ann = log_in(site, "root", HERS), log_in(site)
    ask(root, "pop/?add", pop_user="ann")
    ask(site.browser(REMOTE_ADDR=HERS), "?login", auth=credentials("ann", "wrong"))
    failed, by_root, log_in_of_ann = own(ann)
    assert failed["audit_user"] == "ann" and failed["audit_status"] == "Username or password is wrong."
    assert (failed["audit_address"], failed["audit_via"]) == (None, None)
    assert (by_root["audit_address"], by_root["audit_via"]) == (None, None)
    assert (log_in_of_ann["audit_address"], log_in_of_ann["audit_via"]) == (MINE, "password")
    assert not {"audit_session", "audit_http"} & failed.keys()


def test_what_is_claimed_without_a_log_in_is_about_nobody_else(site):
    fields = {"user_name": "ann", "user_authdata": "x"}
    ask(site.browser(), "users/?set_password", auth=credentials("bob", "wrong"), **fields)
    ask(site.browser(), "users/?set_password", **fields)
    assert in_short(own(log_in(site))) == ["ann ok"]


def test_a_token_that_somebody_added_is_in_it(site):
    ann = log_in(site)
    ask(ann, "tokens/?add", token_name="one")
    site("tokens/?add", "ann", token_name="two")
    ask(log_in(site, "root"), "tokens/?add", token_name="three")
    assert in_short(own(ann)) == ["ann tokens add ok", "ann tokens add ok", "ann ok"]
    assert [row["audit_target"] for row in own(ann)] == ["two", "one", ""]


def test_pages(site):
    root, ann = log_in(site, "root"), log_in(site)
    for _ in range(5):
        ask(root, "pop/?delete", pop_user="ann")
    every = own(ann)
    assert len(every) == 6
    first = ask(ann, "audit/?mine&limit=2")["audit"]
    rest = own(ann, before=first[-1]["audit_id"])
    assert first + rest == every


def test_addresses_and_delegations_name_their_users(tmp_path):
    site = Site(tmp_path)
    root = log_in(site, "root")
    ask(root, "addresses/?add", address_expression="a@x.org", address_router="store", address_route="ann")
    ask(root, "addresses/?add", address_expression="b@x.org", address_router="redirect", address_route="ann")
    ask(root, "delegates/?user_add", api_user="dele", api_delegate="bob")
    assert [row["audit_target"] for row in own(log_in(site))[1:]] == ["a@x.org"]
    for user in ("dele", "bob"):
        assert own(log_in(site, user))[1]["audit_target"] == "dele bob"


def test_a_later_user_of_the_name_sees_nothing_of_the_one_before(site):
    root = log_in(site, "root")
    ask(root, "pop/?add", pop_user="bob")
    ask(root, "users/?delete", user_name="bob")
    ask(root, "users/?add", user_name="bob", user_authdata="pw")
    assert in_short(own(log_in(site, "bob"))) == ["bob ok", "root users add ok"]


@pytest.mark.sqlite
def test_deleting_a_user_changes_few_rows_however_many_records_are_about_them(site):
    """Others cannot write meanwhile, and anybody can fail to log in as somebody."""
    root = log_in(site, "root")
    ask(root, "pop/?add", pop_user="bob")
    for table in ("audit", "audit_entry", "audit_subject"):
        others = ", ".join(
            name for _, name, *_ in site.state(f"PRAGMA table_info({table})") if name != "audit_id"
        )
        numbers = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000)"
        site.state(
            f"{numbers} INSERT INTO {table} (audit_id, {others})"
            f" SELECT audit_id + n, {others} FROM {table}, number WHERE audit_id = 2"
        )
    state = site.app.state.connect()
    before = state.total_changes
    ask(root, "users/?delete", user_name="bob")
    assert site.app.state.connect() is state and state.total_changes - before < 20
    ask(root, "users/?add", user_name="bob", user_authdata="pw")
    assert in_short(own(log_in(site, "bob"))) == ["bob ok", "root users add ok"]


def test_what_hides_the_records_of_a_former_user_goes_with_the_last_of_them(tmp_path):
    site = Site(tmp_path, audit_lifetime=1000)
    root = log_in(site, "root")
    ask(root, "pop/?add", pop_user="bob")
    ask(root, "users/?delete", user_name="bob")
    ask(root, "users/?delete", user_name="ann")  # no record is about ann
    assert site.state("SELECT COUNT(*) FROM audit_former_user") == [(1,)]
    ask(root, "pop/?add", pop_user="dele")
    assert site.state("SELECT COUNT(*) FROM audit_former_user") == [(1,)]
    site.state("UPDATE audit SET audit_time = audit_time - 90000")
    site.state("UPDATE audit SET audit_time = audit_time - 10000 WHERE audit_target <> 'dele'")
    ask(root, "pop/?delete", pop_user="dele")
    assert site.state("SELECT COUNT(*) FROM audit_former_user") == [(0,)]


def test_addresses_of_a_longer_name_that_is_shortened_to_ones_own_are_not_in_it(tmp_path):
    site = Site(tmp_path)
    root, name = log_in(site, "root"), "n" * 200
    for each in (name, name + "x"):
        ask(root, "users/?add", user_name=each, user_authdata="pw")
    ask(log_in(site, name + "x", HERS), "users/?set_password", user_name=name, user_authdata="x")
    assert not [row for row in own(log_in(site, name)) if row["audit_address"] == HERS]


def test_rows_about_users_are_deleted_with_their_record(tmp_path):
    site = Site(tmp_path, audit_lifetime=1000)
    root = log_in(site, "root")
    ask(root, "pop/?add", pop_user="ann")
    assert site.state("SELECT COUNT(*) FROM audit_subject")[0][0] == 2
    site.state("UPDATE audit SET audit_time = audit_time - 90000")
    site.state("UPDATE audit SET audit_time = audit_time - 10000 WHERE audit_action <> 'add'")
    ask(root, "pop/?delete", pop_user="ann")
    assert site.state("SELECT audit_action FROM audit ORDER BY 1") == [("add",), ("delete",)]
    assert site.state("SELECT COUNT(*) FROM audit_subject")[0][0] == 2
