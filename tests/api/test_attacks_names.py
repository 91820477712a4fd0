"""Names that a delegate could take over by what services or the queue make of them (delegates_add_users)."""

import json

import pytest

import mailapi
from support.outgoing import queue_mail, queued_ids
from support.site import MODULES, OPTIONAL, Site

pytestmark = pytest.mark.every_engine

SERVICES = {"dav": {"url": "http://127.0.0.1:1", "user_header": "X-Remote-User"}}


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def delegating(request, tmp_path) -> Site:
    return Site(tmp_path, request.param, delegates_add_users=True)


@pytest.fixture
def served(tmp_path) -> Site:
    return Site(tmp_path, extra=OPTIONAL, delegates_add_users=True, services=SERVICES)


def add(site: Site, name: str, user: str = "dele") -> str:
    return site("users/?add", user=user, user_name=name, user_authdata="pw")["status"]


########## Hosts ###################################################################################


@pytest.mark.parametrize(
    "name", ["mail.else.example", "::1", "[192.0.2.1]", "localhost", "LocalHost", "max.power", "mail．else"]
)
def test_delegate_cannot_add_a_user_named_like_a_host(delegating, name):
    """Queued mail that came by SMTP has the client's host as its submitter, also mail that comes later."""
    assert add(delegating, name) == "Not allowed"
    queue_mail(delegating, "a@else.example", submitter=name)
    assert queued_ids(delegating, "dele") == []
    assert add(delegating, name, user="root") == "ok"


def test_delegate_cannot_add_a_user_named_like_a_submitter_of_delivered_mail(delegating):
    delegating.sql(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submitter)"
        " VALUES ('bob', 't', 'f', 'relay')"
    )
    assert add(delegating, "relay") == "Not allowed"
    assert add(delegating, "relay2") == "ok"


########## Devices ################################################################################


@pytest.mark.parametrize("name", ["root~phone", "dele~phone", "root～phone", "~"])
def test_delegate_cannot_add_a_user_named_like_a_device(delegating, name):
    """The name would stand between the user and a device of that name, and tell other programs that it is one."""
    before = delegating.dump()
    assert add(delegating, name) == "Not allowed"
    assert delegating.dump() == before


########## Case ####################################################################################

SAME = [
    ("CARL", "carl"),
    ("carl", "CARL"),
    ("Straße", "STRASSE"),
    ("ÉVA", "éva"),
    ("ＣARL", "carl"),
    ("A B", "a  b"),
]


@pytest.mark.parametrize(("name", "existing"), SAME)
def test_delegate_cannot_add_a_name_that_differs_by_case_alone(delegating, name, existing):
    delegating.sql("INSERT INTO users (user_name) VALUES (?)", existing)
    before = delegating.dump()
    assert add(delegating, name) == "Username is not allowed. "
    assert delegating.dump() == before


@pytest.mark.parametrize(("name", "existing"), SAME)
def test_with_services_nobody_adds_a_name_that_differs_by_case_alone(served, name, existing):
    served.sql("INSERT INTO users (user_name) VALUES (?)", existing)
    assert add(served, name, user="root") == "Username is not allowed. "
    (problem,) = served("users/?import", file=json.dumps({"user_name": name}))["problems"]
    assert "looks the same as one that is taken" in problem["status"]
    assert served("users/?import", file="user_name\nNew\nnEw")["problems"][0]["line"] == 3


def test_without_services_an_admin_adds_capitals_beside_small_letters(delegating):
    assert add(delegating, "BOB", user="root") == "ok"


@pytest.mark.sqlite
def test_check_lists_names_that_services_take_for_others(tmp_path, capsys):
    site, config = Site(tmp_path), tmp_path / "config.py"
    for name in ("BOB", "../bob"):
        site.sql("INSERT INTO users (user_name) VALUES (?)", name)
    settings = f"dbpath = {site.place!r}\nmodulelist = {MODULES!r}\n"
    for services, listed in (("", False), (f"services = {SERVICES!r}\n", True)):
        config.write_text(settings + services)
        mailapi.main(["check", "--config", str(config)])
        printed = capsys.readouterr().out
        assert ("users 'BOB', 'bob' are the same to services that ignore case" in printed) is listed
        assert ("user '../bob' is a path or a pattern to services" in printed) is listed


########## Deleted users ###########################################################################


@pytest.mark.parametrize("again", ["carl", "CARL"])
@pytest.mark.parametrize("by", ["root", "dele"])
def test_delegate_cannot_add_the_name_of_a_deleted_user(delegating, by, again):
    """Services may still have that user's calendar, mailbox and filters."""
    assert add(delegating, "carl", user="root") == "ok"
    delegating("delegates/?user_add", api_user="dele", api_delegate="carl")
    assert delegating("users/?delete", user=by, user_name="carl")["delete"] == "ok"
    before = delegating.dump()
    assert add(delegating, again) == "Not allowed"
    assert delegating.dump() == before
    assert add(delegating, "carla") == "ok"
    assert add(delegating, again, user="root") == "ok"


def test_nobody_is_deleted_whose_name_cannot_be_recorded(delegating, monkeypatch):
    def full(*_):
        raise mailapi.ApiError("The state database cannot be written.", http=500)

    module = mailapi.sys.modules["mailapi_modules.directory.deleted_names"]
    monkeypatch.setattr(module, "record", full)
    before = delegating.dump()
    delegating("users/?delete", user="dele", user_name="ann", check=500)
    assert delegating.dump() == before


def test_names_of_deleted_users_are_bounded(delegating):
    """Numbers of a fixed range, so that neither names nor their count fill the disk."""
    module = mailapi.sys.modules["mailapi_modules.directory.deleted_names"]
    for name in ("carl", "CARL", "ｃarl", "x" * 10_000):
        assert 1 <= module.number_of(name) <= module.NUMBERS == 2**24
        delegating("users/?delete", user_name=name)
    assert len(delegating.app.state.column(module.DeletedName.select())) == 2


########## Paths and patterns ######################################################################

ODD = ["../bob", "bob/", "/bob", ".", "..", ".bob", "*", "bob*m", "bob\\", "bob:x", "bob%", "b?b", "bob／"]


@pytest.mark.parametrize("name", [*ODD, "*@corp.org", "../bob@corp.org", ".@corp.org", "a:b@corp.org"])
def test_delegate_cannot_add_a_name_that_is_a_path_or_a_pattern(delegating, name):
    before = delegating.dump()
    assert add(delegating, name) == "Not allowed"
    assert delegating.dump() == before


@pytest.mark.parametrize("kind", ["dav", "imap", "managesieve"])
@pytest.mark.parametrize("name", ODD)
def test_no_service_is_given_a_name_that_is_a_path_or_a_pattern(kind, name):
    """The services are not there: nothing is sent, so that nothing fails."""
    from mailapi_modules.clients.base import ServiceDown, client

    url = {"dav": "http://127.0.0.1:1", "imap": "imap://127.0.0.1:1", "managesieve": "sieve://127.0.0.1:1"}
    credentials = {"user_header": "X-User"} if kind == "dav" else {"user": "master", "password": "pw"}
    service = client(kind, {"url": url[kind]} | credentials)
    for ask in (service.credentials if kind == "dav" else service.sasl_identity,):
        with pytest.raises(ServiceDown, match="takes no such user name"):
            ask(name, "pw")
        ask("bob@corp.org", "pw")


########## Invisible characters ####################################################################


@pytest.mark.parametrize("character", ["\U0001d159", "\U00016fe4", "\U00013441", "\U00013442"])
def test_nobody_gets_a_name_with_a_character_that_shows_nothing(delegating, character):
    for user in ("root", "dele"):
        assert add(delegating, f"bob{character}", user=user) == "Username is not allowed. "


########## Names that take long to compare #########################################################

LONG = {"marks": "a" + "\u0301" * 250 + "\u0323" * 250, "ligatures": "\ufdfa" * 334, "letters": "x" * 1001}


@pytest.mark.parametrize("kind", LONG)
def test_names_that_take_long_to_compare_are_not_added(delegating, kind):
    """Python's unicodedata sorts marks in quadratic time, under the write lock: an hour for a name of 1 MB."""
    for user in ("root", "dele", "ann"):
        assert add(delegating, LONG[kind], user=user) == "Username is not allowed. "
    assert delegating("users/?add", user_name=LONG[kind][:255])["user"] is True
