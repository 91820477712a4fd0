"""The panel's overview, queue, activity and services, for each role, without a script."""

import time

import pytest

from support.instances import free_port
from support.panel import Panel, add_queued, panel_site

pytestmark = pytest.mark.every_engine


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    return panel_site(tmp_path, request.param)


def test_the_overview_says_what_needs_attention(tmp_path):
    site = panel_site(tmp_path, services={"smtp": f"smtp://127.0.0.1:{free_port()}"})
    add_queued(site)
    add_queued(site, failures=2)
    add_queued(site, failures=1, fatal=True)
    site("users/?get", user="ann", password="wrong")
    root = Panel(site)
    root.shows("Mails given up: 1", "Mails that wait after a failure: 1", "Mails not tried yet: 1")
    root.shows("The service smtp does not answer", "Failed log-ins since yesterday: 1")
    dele = Panel(site, "dele")
    dele.shows("Mails given up: 1")
    dele.lacks("service", "log-ins")


@pytest.mark.sqlite
def test_failed_log_ins_are_found_among_many_others(tmp_path):
    site = panel_site(tmp_path)
    site("users/?get", user="ann", password="wrong")
    site.state(
        "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 1500)"
        " INSERT INTO audit (audit_time, audit_user, audit_address, audit_via, audit_session, audit_module,"
        " audit_action, audit_target, audit_status, audit_http)"
        " SELECT ?, 'user' || n, '192.0.2.1', 'password', '', 'users', 'get', '', 'ok', 200 FROM number",
        int(time.time()),
    )
    root = Panel(site)
    root.shows("Failed log-ins since yesterday: 1")


def test_the_overview_has_what_the_check_finds(site):
    module, target = ("smtpd", "smtpd_router") if site.generation == 9 else ("msa", "msa_outrouter")
    site.sql(f"INSERT INTO {module} ({module}_user, {target}) VALUES ('ann', 'nonsense')")
    root = Panel(site)
    root.shows(
        "Found by the check: ann: has",
        "they take it for any" if site.generation == 8 else "it takes it for any",
    )
    Panel(site, "dele").lacks("Found by the check")
    root.get("person?user_name=ann")
    root.submit("stop-sending")
    root.get()
    root.lacks("Found by the check")


def test_the_overview_leads_through_the_first_steps(site):
    root = Panel(site)
    root.shows("Nothing: the queue is empty", "First steps", "Add their addresses")
    assert {"addresses", "address-test"} <= root.links()


def test_users_begin_with_their_mail(site):
    ann = Panel(site, "ann")
    assert ann.page.request.path == "/panel/mail"
    ann.lacks("Overview", "People", "Activity", "Services")
    assert {"mail", "addresses", "queue", "account"} <= ann.links()


def test_the_queue_with_filters_and_failures(site):
    add_queued(site, "one@far.org")
    add_queued(site, "two@far.org", failures=2)
    add_queued(site, "three@near.org", failures=1, fatal=True)
    root = Panel(site)
    root.get("queue")
    root.shows("one@far.org", "two@far.org", "Failures: 2", "450 come back later")
    root.page = root.page.click("failed")
    root.shows("three@near.org")
    root.lacks("one@far.org")
    root.get("queue?mail_envelopeto=@far.org")
    root.shows("one@far.org", "two@far.org")
    root.lacks("three@near.org")
    root.get("queue?mail_state=nonsense", 400)
    root.get("queue?mail_submitter=bob")
    root.shows("No mail fits.")


@pytest.mark.parametrize("change", ["retry", "bounce", "delete"])
def test_several_mails_are_changed_after_a_question(site, change):
    ids = [add_queued(site, f"to{number}@far.org", failures=1) for number in range(3)]
    root = Panel(site)
    root.get("queue")
    form = next(form for form in root.page.forms.values() if form.action == "queue-change")
    for box in form.fields["mail_id"][:2]:
        box.checked = True
    root.page = form.submit("change", value=change)
    root.shows("to0@far.org", "to1@far.org")
    root.lacks("to2@far.org")
    root.submit("change-queue")
    failures = dict(site.sql("SELECT fail_mail, COUNT(*) FROM faillog GROUP BY fail_mail"))
    left = len(site.sql("SELECT mail_id FROM outbox"))
    expected = {
        "retry": ({ids[2]: 1}, 3),
        "bounce": ({ids[0]: 2, ids[1]: 2, ids[2]: 1}, 3),
        "delete": ({ids[2]: 1}, 1),
    }
    assert (failures, left) == expected[change]


def test_nothing_selected_and_mails_of_others(site):
    mail_id = add_queued(site)
    root, bob, ann = Panel(site), Panel(site, "bob"), Panel(site, "ann")
    root.get("queue-change?change=delete")
    root.shows("No mail was selected")
    root.get("queue-change?change=eat", 404)
    bob.get("queue")
    bob.shows("The queue is empty")
    bob.get(f"queue-change?change=delete&mail_id={mail_id}")
    bob.shows("No mail was selected")
    token = bob.page.forms[0]["token"].value
    fields = {"form": "change-queue", "token": token, "change": "delete", "mail_id": mail_id}
    bob.page = bob.browser.post("/panel/queue-change?change=delete", fields)
    bob.shows("mail not found")
    assert site.sql("SELECT COUNT(*) FROM outbox") == [(1,)]
    ann.get(f"queue-change?change=delete&mail_id={mail_id}")
    ann.submit("change-queue")
    assert site.sql("SELECT COUNT(*) FROM outbox") == [(0,)]


def test_pages_of_the_queue(site):
    for number in range(60):
        add_queued(site, f"to{number}@far.org")
    root = Panel(site)
    root.get("queue")
    root.page = root.page.click("Next page")
    root.shows("to50@far.org", "to59@far.org")
    root.lacks("to49@far.org")


def test_the_activity_with_filters(site):
    site("pop/?add", pop_user="ann")
    site("users/?get", user="ann", password="wrong")
    root = Panel(site)
    root.get("activity")
    root.shows("pop add ann", "Username or password is wrong.")
    root.get("activity?audit_user=ann")
    root.lacks("pop add")
    today = time.strftime("%Y-%m-%d", time.gmtime())
    root.get(f"activity?since={today}&until={today}")
    root.shows("pop add ann")
    root.get("activity?until=2020-01-01")
    root.shows("Nothing was recorded that fits the filters.")
    root.get("activity?since=never&until=x&before=y", 400)
    root.get("activity?since=never")
    root.shows("pop add ann")


def test_pages_of_the_activity(site):
    for _ in range(101):
        site("pop/?delete", pop_user="ann")
    root = Panel(site)
    root.get("activity?audit_module=pop")
    assert len(root.page.html.select("tbody tr")) == 100
    root.page = root.page.click("Next page")
    assert len(root.page.html.select("tbody tr")) == 1


def test_services(tmp_path):
    url = f"smtp://127.0.0.1:{free_port()}"
    root = Panel(panel_site(tmp_path, services={"smtp": {"url": url}}))
    root.get("services")
    root.shows("smtp", "down", url)


def test_without_services(site):
    root = Panel(site)
    root.get("services")
    root.shows("No service is configured.")
