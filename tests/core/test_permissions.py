"""Permissions: every line of support/permission_table.py, asked over HTTP (docs/wire.md section 4)."""

import pytest

from support.permission_table import (
    ADDRESS_FIELDS,
    MAY_NOT_ADD,
    NO_USER_NAME,
    NOT_ALLOWED,
    OK,
    PREPARATIONS,
    READS,
    ROLES,
    TABLE,
    add_targets,
    ask_as,
)
from support.site import OPTIONAL, Site

pytestmark = pytest.mark.every_engine

ELSEWHERE = {"tokens", "audit", "accounts", "services"}  # what they change is not in the master database


@pytest.fixture
def site_with_targets(either_with_all_modules):
    add_targets(either_with_all_modules)
    return either_with_all_modules


@pytest.mark.parametrize(
    ("generation", "path", "action", "fields", "statuses"),
    [(g, *line[:3], line[4:]) for line in TABLE for g in line[3]],
)
def test_each_action_answers_each_role_as_the_table_says(
    tmp_path, generation, path, action, fields, statuses
):
    """The status is that of the table; a refused action changes nothing, and an allowed one changes something."""
    site = Site(tmp_path, generation, OPTIONAL)
    add_targets(site)
    site.sql(PREPARATIONS.get((path, action), "SELECT 1"))
    before, saved = site.dump(), site.save()
    seen, expected = {}, {}
    for role, status in zip(ROLES, (*statuses, NO_USER_NAME)):
        answer = ask_as(site, path, action, fields, role)
        seen[role] = answer["status"], answer["login"], site.dump() != before
        word = "permission" if generation == 9 else "right"
        expected[role] = (
            status.format(word),
            role != "nobody",
            (status == OK and action not in READS and path not in ELSEWHERE),
        )
        if seen[role][2]:
            site.restore(saved)
    assert seen == expected


def test_a_stranger_learns_nothing(site_with_targets):
    for path, action, fields, generations, *_ in TABLE:
        if site_with_targets.generation in generations:
            answer = ask_as(site_with_targets, path, action, fields, "nobody")
            assert list(answer) == ["status", "debug", "api_version", "schema_version", "session", "login"]


@pytest.mark.parametrize("role", ["foreign", "undelegated"])
def test_refused_get_shows_no_row(site_with_targets, role):
    field = "smtpd_user" if site_with_targets.generation == 9 else "msa_user"
    module = field.removesuffix("_user")
    for path, fields in (
        ("users", {"username": "USER"}),
        ("pop", {"pop_user": "USER"}),
        (module, {field: "USER"}),
        ("addresses", {"address_user": "USER"}),
        ("addresses", {"address_expression": "ADDRESS"}),
    ):
        assert not ask_as(site_with_targets, path, "get", fields, role).get(path)


def test_every_action_has_a_line(either_with_all_modules):
    """A new endpoint without a line above, or a line without an endpoint, fails here."""
    generation = either_with_all_modules.generation
    actions = {
        (path, name)
        for path, module in either_with_all_modules.app.modules.items()
        for name in module.endpoints
        if generation in module.generations
    }
    assert actions == {
        (path, action) for path, action, _, generations, *_ in TABLE if generation in generations
    }


def test_module_of_the_other_generation_is_unknown(either_with_all_modules):
    other = "msa" if either_with_all_modules.generation == 9 else "smtpd"
    answer = either_with_all_modules(f"{other}/?get", check=404)
    assert answer["status"] == f"Unknown module {other}." and "login" not in answer


@pytest.mark.parametrize("permission", ["Admin", "admin ", "delegates", "%"])
def test_only_the_exact_word_counts_as_a_permission(site, permission):
    site.sql("INSERT INTO api_access VALUES ('bob', ?)", permission)
    assert site("pop/?add", user="bob", pop_user="ann")["status"] == NOT_ALLOWED


@pytest.mark.sqlite
def test_a_permission_or_delegation_stored_as_a_blob_does_not_count(either):
    """It is answered, not an error: the caller's other permissions and delegations count."""
    either.sql("INSERT INTO api_access VALUES ('dele', ?)", b"admin")
    either.sql("INSERT INTO api_address_delegates VALUES ('dele', ?)", b"%")
    word = "permissions" if either.generation == 9 else "rights"
    for url in ("users/?get", "addresses/?get", "delegates/?get"):
        answer = either(url, user="dele")
        assert answer["status"] == OK and answer[word] == {"delegate": True}
    fields = {"address_router": "drop", "address_user": "ann"}
    added = either("addresses/?add", user="dele", address_expression="a@corp.org", **fields)
    other = either("addresses/?add", user="dele", address_expression="a@other.org", **fields)
    assert added["status"] == OK and other["status"] != OK
    assert either("pop/?add", user="dele", pop_user="bob")["status"] == NOT_ALLOWED


def test_delegations_count_only_with_the_permission_delegate(site):
    site.sql("INSERT INTO api_user_delegates VALUES ('bob', 'ann')")
    site.sql("INSERT INTO api_address_delegates VALUES ('bob', '%')")
    assert site("users/?delete", user="bob", user_name="ann")["status"] == NOT_ALLOWED
    assert site("addresses/?add", user="bob", **ADDRESS_FIELDS)["status"] == MAY_NOT_ADD.format("permission")


def test_a_permission_given_or_taken_counts_on_the_next_request(either_with_all_modules):
    browser = either_with_all_modules.browser()
    browser.post_json("/?get_modules", {"auth": {"user_name": "bob", "password": "pw"}})
    either_with_all_modules.sql("INSERT INTO api_access VALUES ('bob', 'admin')")
    assert browser.post_json("/pop/?add", {"pop_user": "ann"}).json["status"] == OK
    either_with_all_modules.sql("DELETE FROM api_access WHERE api_user = 'bob'")
    assert browser.post_json("/pop/?delete", {"pop_user": "ann"}).json["status"] == NOT_ALLOWED
