"""Searches of a large mailbox take long: one user has three at the same time at most, so that others are answered."""

import contextlib

import pytest
from mailapi_modules.mail import queue_owners

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.outgoing import queue_mail

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
