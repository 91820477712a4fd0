"""Searches of a large mailbox take long: one user has three at the same time at most, so that others are answered."""

import contextlib

import pytest
from mailapi_modules.clients.base import SLOTS
from mailapi_modules.mail import queue_owners

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.every_service import SERVICE_MODULE
from support.outgoing import queue_mail
from support.site import Site

pytestmark = pytest.mark.every_engine
SENTENCE = "Your other searches are still running. Try again."


@pytest.mark.parametrize("url", ["mailbox/?search", "mailbox/?threads"])
def test_a_fourth_search_of_a_user_is_refused_and_other_users_are_answered(site, url):
    fields = {"text": "x"} if "search" in url else {}
    searches = site.app.modules["mailbox"].searches
    with contextlib.ExitStack() as running:
        for _ in range(3):
            running.enter_context(searches.of("ann"))
        refused = site(url, user="ann", check=503, **fields)
        assert refused["status"] == SENTENCE and "mails" not in refused
        assert site(url, user="bob", **fields)["status"] == "ok"
        assert site("mailbox/?get", user="ann")["status"] == "ok"
    assert site(url, user="ann", **fields)["status"] == "ok"
    assert not searches.running


def test_a_search_that_fails_no_longer_counts(site):
    for _ in range(5):
        assert site("mailbox/?search", user="ann", check=400, before="x")["status"].startswith(
            "Invalid value"
        )
    with pytest.raises(RuntimeError), site.app.modules["mailbox"].searches.of("ann"):
        raise RuntimeError
    assert not site.app.modules["mailbox"].searches.running


@pytest.mark.parametrize("action", ["get", "delete"])
def test_a_fourth_look_for_queued_mails_of_a_user_is_refused(site, monkeypatch, action):
    """Each may take ten seconds of CPU time: eight kept all threads of a worker."""
    limit = queue_owners.COMPARISONS
    monkeypatch.setattr(limit, "wait", 0)
    mail_id = queue_mail(site, submitter="ann")
    with contextlib.ExitStack() as running:
        for _ in range(3):
            running.enter_context(limit.of("ann"))
        assert site(f"queue/?{action}", user="ann", check=503, mail_id=mail_id)["status"] == SENTENCE
        for user in ("bob", "root"):
            assert site("queue/?get", user=user)["status"] == "ok"
    assert site(f"queue/?{action}", user="ann", mail_id=mail_id)["status"] == "ok" and not limit.running


########## services/ ###############################################################################

SERVICES = {"smtp": "smtp://127.0.0.1:9", "antivirus": "clamd://127.0.0.1:9"}
BUSY = "Your other requests are still running. Try again."
MAIL = {"sender": "ann@one.org", "recipients": ["to@else.example"], "message": "x"}


@pytest.mark.parametrize("url", ["send", "scan", "quota", "sieve_list"])
def test_a_sixth_request_of_a_user_to_services_is_refused(tmp_path, url):
    """Each may take a minute: six kept everybody from the service."""
    site = Site(tmp_path, extra=SERVICE_MODULE, services=SERVICES)
    site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
    limit = site.app.modules["services"].requests
    with contextlib.ExitStack() as running:
        for _ in range(5):
            running.enter_context(limit.of("ann"))
        assert site(f"services/?{url}", user="ann", check=503, **MAIL)["status"] == BUSY
        assert site(f"services/?{url}", user="bob", **MAIL)["status"] != BUSY
    assert site(f"services/?{url}", user="ann", **MAIL)["status"] != BUSY and not limit.running


def test_settings_in_a_filter_script_count_among_them(tmp_path):
    """Each may take ten seconds, and the service has six slots for all."""
    site = Site(
        tmp_path,
        extra=SERVICE_MODULE | {"Account": "modules/accounts.py"},
        services={"managesieve": "sieve://127.0.0.1:9"},
    )
    limit = site.app.modules["services"].requests
    assert limit.most == SLOTS - 1
    limit.wait = 0
    with contextlib.ExitStack() as running:
        for _ in range(5):
            running.enter_context(limit.of("ann"))
        assert site("accounts/?get", user="ann", user_name="ann")["warning"] == BUSY
        changed = site("accounts/?update", user="ann", check=503, user_name="ann", forward="a@else.example")
        assert changed["status"] == BUSY
        assert site("accounts/?get", user="ann")["status"] == "ok"
    assert "Connection refused" in site("accounts/?get", user="ann", user_name="ann")["warning"]


@pytest.mark.parametrize(
    ("padding", "others"), [(0, 4), (10_000, 4), (600_000, 3), (1_200_000, 2), (5_000_000, 0)]
)
def test_large_messages_of_a_user_take_half_of_the_memory_for_bodies(tmp_path, padding, others):
    """Two of 35 MB, or small ones with much around them, took it all for a minute: others were refused."""
    site = Site(tmp_path, extra=SERVICE_MODULE, services=SERVICES, max_bodies=2**24, max_body=2**24)
    limit, bodies = site.app.modules["services"].requests, site.app.large_bodies
    for running, refused in ((others, False), (others + 1, True)):
        with contextlib.ExitStack() as stack:
            for _ in range(running):
                stack.enter_context(limit.of("ann"))
            answer = site("services/?scan", user="ann", check="*", message="x", unused="y" * padding)
            assert (answer["status"] == BUSY) == refused
    assert not bodies.used and not bodies.of_thread()
    assert site("services/?scan", user="ann", message="x")["status"] != BUSY
