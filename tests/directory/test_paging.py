"""Lists in pages: `after`, `search` and `limit` in the query, beside the full list."""

import pytest

from support.counting import statements

pytestmark = pytest.mark.every_engine

NAMES = [f"u{n:03}" for n in range(40)]
LISTS = {"users": ("users", "user_name"), "pop": ("pop", "pop_user"), "senders": None}
SENDERS = {9: ("smtpd", "smtpd_user"), 8: ("msa", "msa_user")}


@pytest.fixture
def crowd(either):
    """Forty users more, a third with mail and an address, every second with POP and SMTP."""
    table = "smtpd (smtpd_user)" if either.generation == 9 else "msa (msa_user)"
    address = (
        "addresses (address_expression, address_router, address_route) VALUES (?, 'store', ?)"
        if either.generation == 9
        else "addresses (address_expression, address_user) VALUES (?, ?)"
    )
    for number, name in enumerate(reversed(NAMES)):
        either.sql("INSERT INTO users (user_name) VALUES (?)", name)
        if number % 2:
            either.sql("INSERT INTO popd (pop_user) VALUES (?)", name)
            either.sql(f"INSERT INTO {table} VALUES (?)", name)
        if number % 3 == 0:
            either.sql(
                "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom) VALUES (?, '', '')", name
            )
            either.sql(f"INSERT INTO {address}", f"{name}@corp.org", name)
    return either


def pages(site, name: str, key: str, limit: int, user="root") -> list[list]:
    found, more = [], ""
    while True:
        page = site(f"{name}/?get&limit={limit}{more}", user=user)[name]
        if not page:
            return found
        assert len(page) <= limit
        found.append(page)
        assert len(found) < 100
        more = f"&after={page[-1][key]}"


@pytest.mark.parametrize(
    "kind, user",
    [
        (kind, user)
        for kind in LISTS
        for user in ("root", "dele", "ann")
        if (kind, user) != ("senders", "ann")
    ],
)
def test_pages_together_are_the_full_list(crowd, kind, user):
    name, key = LISTS[kind] or SENDERS[crowd.generation]
    crowd.sql("INSERT INTO api_user_delegates SELECT 'dele', user_name FROM users WHERE user_name > 'u020'")
    whole = crowd(f"{name}/?get", user=user)[name]
    for limit in (1, 7, 1000):
        assert [row for page in pages(crowd, name, key, limit, user) for row in page] == whole
    assert user != "root" or len(whole) > 15


def test_addresses_come_in_pages_by_their_order(crowd):
    for user in ("root", "dele"):
        whole = crowd("addresses/?get", user=user)["addresses"]
        assert len(whole) == 14 and whole == sorted(whole, key=lambda row: -row["address_order"])
        assert [row for page in pages(crowd, "addresses", "address_order", 3, user) for row in page] == whole


def test_names_are_searched_by_their_beginning(crowd):
    def found(more=""):
        return [row["user_name"] for row in crowd(f"users/?get&search=u01{more}")["users"]]

    assert found() == NAMES[10:20]
    assert found("&limit=3&after=u014") == NAMES[15:18]
    assert crowd("users/?get&search=U01")["users"] == [] and crowd("users/?get&search=%25")["users"] == []
    assert [row["pop_user"] for row in crowd("pop/?get&search=u00")["pop"]] == NAMES[0:10:2]


def test_addresses_are_searched_anywhere(crowd):
    for user in ("root", "dele"):
        found = crowd("addresses/?get&search=03", user=user)["addresses"]
        everything = crowd("addresses/?get", user=user)["addresses"]
        assert (
            found == [row for row in everything if "03" in row["address_expression"]] and 1 < len(found) < 6
        )
    assert crowd("addresses/?get&search=%25")["addresses"] == []


def test_a_page_of_nobody_elses(crowd):
    assert [row["user_name"] for row in crowd("users/?get&after=a", user="ann")["users"]] == ["ann"]
    assert crowd("pop/?get&search=u", user="ann")["pop"] == []
    assert crowd("addresses/?get&search=u", user="ann")["addresses"] == []


@pytest.mark.parametrize("wrong", ["after=x", "after=1.5x", "search=a%00b"])
def test_what_no_page_begins_after_is_refused(site, wrong):
    answer = site(f"addresses/?get&{wrong}", check=400)
    assert answer["status"] in ("Invalid value for after.", "Invalid value for search.")


@pytest.mark.parametrize("user", ["root", "dele"])
@pytest.mark.parametrize("query", ["", "&limit=7", "&after=u012&limit=5", "&search=u02"])
def test_a_brief_list_has_the_same_users_without_their_modules_and_mails(crowd, user, query):
    crowd.sql("INSERT INTO api_user_delegates SELECT 'dele', user_name FROM users WHERE user_name > 'u020'")
    whole = crowd(f"users/?get{query}", user=user)["users"]
    brief = crowd(f"users/?get{query}&brief=1", user=user)["users"]
    assert [row["user_name"] for row in brief] == [row["user_name"] for row in whole]
    for row, full in zip(brief, whole):
        assert not row.keys() & {"modules", "mails"}
        assert row["user_login"] == full.get("has_login", full.get("user_login"))
        assert row.get("link_count") == full.get("link_count") and row["user_alias"] == full["user_alias"]


def test_a_brief_list_does_not_look_at_mail(crowd):
    brief, whole = (
        statements(crowd, lambda query=query: crowd(f"users/?get&limit=7{query}"))
        for query in ("&brief=1", "")
    )
    assert brief and not [sql for sql in brief if "mailbox" in sql]
    assert [sql for sql in whole if "mailbox" in sql]
