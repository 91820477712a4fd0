"""The panel's script in Chromium: filtering, secrets, questions in dialogs, progress."""

import pytest
from selenium.webdriver.common.keys import Keys

from support.panel import add_mail
from support.panel_browser import fill_site, violations

pytestmark = pytest.mark.slow
FOCUSED = "return document.activeElement.textContent"


@pytest.fixture
def site(panel_server):
    fill_site(panel_server.site)
    return panel_server.site


def names(site) -> set[str]:
    return {name for (name,) in site.sql("SELECT user_name FROM users")}


def test_rows_are_filtered_and_times_are_local(person, site):
    person.log_in("root")
    person.get("people")
    person.find("body")[0].send_keys("/")
    person.keys("bo")
    assert [row.text.split()[0] for row in person.find("tbody tr") if row.is_displayed()] == ["bob"]
    person.get("queue")
    time = person.find("td time")[0]
    exact = time.get_attribute("datetime")
    assert exact.endswith("Z") and time.text not in exact
    person.check_quiet()


def test_passwords_can_be_seen_and_secrets_copied(person, site):
    person.log_in("root")
    person.get("account")
    field = person.find("#own-password-user_authdata")[0]
    person.find("#own-password-user_authdata-shown")[0].click()
    assert field.get_attribute("type") == "text"
    person.fill("add-token", token_name="backup")
    person.shows("This is the new secret.")
    assert person.find("code + button")
    person.driver.refresh()  # it repeats nothing
    assert not person.find("code")
    assert site.state("SELECT COUNT(*) FROM token WHERE token_user = 'root'") == [(1,)]
    person.check_quiet()


def test_a_person_is_deleted_after_a_question_in_a_dialog(person, site):
    person.log_in("root")
    person.get("person?user_name=ann")
    dialog = person.open_dialog("a[data-asks]")
    assert dialog.accessible_name == "Delete this person" and dialog.aria_role == "dialog"
    assert "ann and all their mail" in dialog.text and "%@corp.org" in dialog.text
    assert person.run(FOCUSED) == "Cancel"
    for _ in range(5):  # the focus stays in the dialog
        person.keys(Keys.TAB)
        assert person.run("return !document.activeElement.closest('main, header, footer')")
    person.keys(Keys.ESCAPE)
    person.wait.until(lambda driver: person.run(FOCUSED) == "Delete this person")
    assert not person.find("dialog") and "ann" in names(site)
    person.open_dialog("a[data-asks]")
    person.answer("button.danger")
    person.shows("The person was deleted.")
    assert "ann" not in names(site)
    person.check_quiet()


def test_when_the_session_has_ended_a_question_leads_to_the_log_in(person, site):
    person.log_in("root")
    person.get("person?user_name=ann")
    person.open_dialog("a[data-asks]")
    site("users/?set_password", user_name="root", user_authdata="new")
    person.answer("button.danger")
    person.shows("Log in", "h1")
    person.log_in("root", "new")
    person.get("person?user_name=ann")
    site("users/?set_password", user="root", password="new", user_name="root", user_authdata="newer")
    person.press("a[data-asks]")
    person.shows("Log in", "h1")
    assert "ann" in names(site)


def test_a_question_about_an_account_has_its_choice(person, site):
    person.log_in("root")
    person.get("service-account?user_name=ann")
    dialog = person.open_dialog("a[data-asks]")
    assert "Also delete all data at the services" in dialog.text
    assert len(person.find("dialog input[type=checkbox]")) == 1 and violations(person.driver) == {}
    person.check_quiet()


def test_when_the_session_has_ended_a_mail_comes_back_after_the_log_in(person, site):
    person.log_in("ann")
    person.get("write")
    site("users/?set_password", user_name="ann", user_authdata="new")
    person.find("#send-mail-text")[0].send_keys("Größe\n\n% <b>")
    person.find("#send-mail-to")[0].send_keys("far@example.org")
    person.find("form[data-progress] .buttons button")[0].click()
    person.shows("Your session has ended.")
    assert violations(person.driver) == {}
    person.find("#user")[0].send_keys("ann")
    person.search("#password", "new")
    person.shows("nothing was changed. Send it again.", "[role=alert]")
    assert person.find("#send-mail-text")[0].get_attribute("value") == "Größe\n\n% <b>"
    person.press("form[data-progress] .buttons button")
    person.shows("The mail was queued for delivery.")
    person.check_quiet()


def test_what_was_typed_stays_when_it_cannot_be_processed(person, site):
    person.log_in("ann")
    person.get("write")
    person.find("#send-mail-to")[0].send_keys("far@example.org")
    person.run("document.querySelector('#send-mail-text').value = 'x'.repeat(2 ** 20 + 1)")
    person.find("form[data-progress] .buttons button")[0].click()
    person.shows("Request body too large.", "[role=status]")
    assert person.find("#send-mail-to")[0].get_attribute("value") == "far@example.org"
    person.run("document.querySelector('#send-mail-text').value = 'Hello'")
    person.press("form[data-progress] .buttons button")
    person.shows("The mail was queued for delivery.")


@pytest.mark.parametrize("change, title", [("bounce", "Return to sender"), ("retry", "Try again now")])
def test_mails_of_the_queue_are_changed_after_a_question(person, site, change, title):
    person.log_in("root")
    person.get("queue")
    dialog = person.open_dialog(f"button[value={change}]")
    assert "No mail was selected" in dialog.text
    person.keys(Keys.ENTER)
    person.wait.until(lambda driver: not person.find("dialog"))
    person.find("tbody input")[0].click()
    dialog = person.open_dialog(f"button[value={change}]")
    assert dialog.accessible_name == title and dialog.text.count("→") == 1
    person.answer()
    person.shows("The mails w")
    person.check_quiet()


def test_a_token_and_a_mail_are_deleted_after_a_question(person, site):
    person.log_in("root")
    person.get("person?user_name=ann")
    dialog = person.open_dialog("[data-confirm]")
    assert dialog.accessible_name == "Delete backup on the file server"
    person.keys(Keys.ENTER)  # Cancel has the focus
    person.wait.until(lambda driver: not person.find("dialog"))
    assert site.state("SELECT COUNT(*) FROM token") == [(1,)]
    person.open_dialog("[data-confirm]")
    person.answer()
    person.shows("The token was deleted.")
    assert site.state("SELECT COUNT(*) FROM token") == [(0,)]
    person.log_in("ann")
    mail_id = add_mail(site)
    person.get(f"message?mail_id={mail_id}")
    person.open_dialog("[data-confirm]")
    person.answer()
    person.shows("The mail was deleted.")
    assert site.sql("SELECT mail_id FROM mailbox WHERE mail_id = ?", mail_id) == []
    person.check_quiet()


# Records what the progress shows: the text, and whether the bar has a value or only says that something goes on.
RECORD = """
window.shown = [];
new MutationObserver(() => {
  const bar = document.querySelector("progress");
  const last = bar && [document.getElementById("progress-text").textContent, bar.position >= 0];
  if (last && String(last) !== String(window.shown.at(-1))) window.shown.push(last);
}).observe(document.body, { childList: true, subtree: true, characterData: true, attributes: true });
"""


def test_an_import_shows_its_progress_and_what_was_done(person, site, tmp_path):
    person.log_in("root")
    person.get("people-import")
    file = tmp_path / "people.csv"
    file.write_text("user_name,password\nann,x\n" + "".join(f"new{n:05},secret\n" for n in range(20_000)))
    person.find("#chosen")[0].send_keys(str(file))
    person.run(RECORD)
    person.find("button[value=import]")[0].click()
    person.shows("1 of 20001 users cannot be imported; nothing was changed.", "[role=alert]")
    shown = person.run("return window.shown")
    assert [text for text, _ in shown][0] == "The form is being sent."
    assert shown[-1][0].startswith("Everything was sent.") and shown[-1][1] is False
    assert person.find("[role=status]") == [] and person.find("progress") == []
    assert len(names(site)) == 5

    file.write_text(file.read_text().replace("ann,x\n", ""))
    person.find("#chosen")[0].send_keys(str(file))
    person.find("button[value=check]")[0].click()
    person.shows("The file is good: it has 20000 people.", "[role=status]")
    assert len(names(site)) == 5
    person.find("#chosen")[0].send_keys(str(file))
    person.press("button[value=import]")
    person.shows("The people of the file were added: 20000.", "[role=status]")
    assert person.find("tbody th")[-1].text.startswith("new") and len(names(site)) == 20_005
    person.check_quiet()


def test_a_broken_connection_is_told(person, panel_server, site):
    person.log_in("ann")
    person.get("write")
    panel_server.process.kill()
    panel_server.process.wait()
    person.find("#send-mail-to")[0].send_keys("far@example.org")
    person.find("form[data-progress] .buttons button")[0].click()
    person.shows("The connection broke.", "[role=status]")
    assert person.find("#send-mail-to")[0].get_attribute("value") == "far@example.org"
