"""The panel: a form whose session has ended while somebody filled it in."""

import pytest
import webtest

import mailapi
from support.panel import Panel, panel_site

pytestmark = pytest.mark.every_engine


@pytest.fixture
def site(tmp_path):
    return panel_site(tmp_path)


def end_session(root: Panel):
    """End the sessions of the user, who gets the password "new"."""
    root.site("users/?set_password", user_name=root.user, user_authdata="new")


def submit_after_session(root: Panel):
    """Submit the form that adds dora, after its session has ended. The log-in page follows."""
    root.get("person-add")
    end_session(root)
    root.submit("add-person", user_name="dora", check=200)


def log_in(root: Panel, password: str = "new", user: str = ""):
    """Log in on the page that is shown."""
    form = root.page.forms[0]
    root.fill(form, user_name=user or root.user, password=password)
    root.page = form.submit(status="*")


def names(site) -> set[str]:
    return {name for (name,) in site.sql("SELECT user_name FROM users")}


def test_after_a_new_log_in_a_form_has_what_was_typed(site):
    root = Panel(site)
    root.get("person-add")
    end_session(root)
    root.submit("add-person", user_name="dora", user_authdata="secret", user_permissions=["admin"], check=200)
    root.shows("Your session has ended.", "Password")
    assert root.page.request.path_qs == "/panel/person-add" and root.page.forms[0]["user_name"].value == ""
    assert "secret" not in root.page.text
    log_in(root, "wrong")
    root.shows("Username or password is wrong.")
    log_in(root)
    root.shows("nothing was changed. Send it again.", "Log out")
    form = root.form("add-person")
    assert form["user_name"].value == "dora" and form["user_authdata"].value == ""
    assert [box.checked for box in form.fields["user_permissions"] if box._value == "admin"] == [True]
    assert "dora" not in names(site)
    root.submit("add-person")
    root.shows("The person was added.")


def test_a_mail_comes_back_without_its_attachments(site):
    site("addresses/?add", address_expression="ann@corp.org", address_router="store", address_route="ann")
    site("smtpd/?add", smtpd_user="ann", smtpd_router="defined")
    ann = Panel(site, "ann")
    ann.get("write")
    end_session(ann)
    text = "Größe & <b>\r\n\r\n% end {{x}}"
    files = [webtest.Upload("notes.txt", b"x" * 300_000)]
    ann.submit("send-mail", to="far@example.org", text=text, attachments=files, check=200)
    ann.shows("Your session has ended.")
    log_in(ann)
    form = ann.form("send-mail")
    assert form["to"].value == "far@example.org" and form["text"].value == text
    ann.submit("send-mail")
    assert site.sql("SELECT mail_envelopeto FROM outbox") == [("far@example.org",)]


@pytest.mark.parametrize("text", ["ж" * 30_000, "x" * 190_000])
def test_a_long_mail_comes_back(site, text):
    ann = Panel(site, "ann")
    ann.get("write")
    end_session(ann)
    files = [webtest.Upload("notes.txt", b"x" * 300_000)]
    ann.submit("send-mail", to="far@example.org", text=text, attachments=files, check=200)
    log_in(ann, "wrong")
    log_in(ann)
    assert ann.form("send-mail")["text"].value == text


@pytest.mark.parametrize("text", ["ж" * 60_000, "x" * 300_000])
def test_a_mail_too_long_to_come_back_is_refused(site, text):
    ann = Panel(site, "ann")
    ann.get("write")
    end_session(ann)
    ann.submit("send-mail", to="far@example.org", text=text, check=413)
    ann.shows("Request body too large.")


@pytest.mark.parametrize(
    "lines, left", [("user_name\r\ndora", "user_name\r\ndora"), ("user_name,password\r\ndora,secret", "")]
)
def test_people_to_import_come_back_without_passwords(site, lines, left):
    root = Panel(site)
    root.get("people-import")
    end_session(root)
    root.submit("import-people", file=lines, check=200)
    assert "secret" not in root.page.text
    log_in(root)
    assert root.form("import-people")["file"].value.strip() == left


def test_a_form_of_an_earlier_session_comes_back(site):
    root = Panel(site)
    root.get("person-add")
    form = root.form("add-person")
    form["user_name"] = "dora"
    root.page.forms[0].submit()
    root.page = root.browser.get("/panel/log-in")
    log_in(root, "pw")
    root.page = form.submit(status=403)
    root.shows("nothing was changed. Send it again.")
    assert "dora" not in names(site)
    root.submit("add-person")
    assert "dora" in names(site)


def test_a_log_in_with_a_form_while_there_is_a_session_changes_nothing(site):
    root = Panel(site)
    submit_after_session(root)
    form = root.page.forms[0]
    root.page = root.browser.get("/panel/log-in")
    log_in(root)
    root.page = form.submit()
    root.shows("nothing was changed. Send it again.")
    assert root.form("add-person")["user_name"].value == "dora" and "dora" not in names(site)


def test_somebody_else_who_logs_in_sees_only_their_own_pages(site):
    root = Panel(site)
    submit_after_session(root)
    form = root.page.forms[0]
    log_in(root, "pw", user="ann")
    assert root.page.status_int == 403
    root.shows("Your permissions do not include this.")
    root.page = form.submit(status=403)
    root.page = root.browser.get("/panel/log-in")
    log_in(root)
    root.fill(form, user_name="ann", password="pw")
    root.page = form.submit(status=403)
    root.shows("Your permissions do not include this.")


def test_a_log_in_counts_although_somebody_else_has_logged_in_meanwhile(site):
    ann = Panel(site, "ann")
    ann.get("write")
    end_session(ann)
    ann.submit("send-mail", to="far@example.org", text="Hello", check=200)
    form = ann.page.forms[0]
    ann.page = ann.browser.get("/panel/log-in")
    log_in(ann, "pw", user="bob")
    ann.fill(form, user_name="ann", password="wrong")
    ann.page = form.submit()
    ann.shows("Username or password is wrong.")
    log_in(ann)
    assert ann.form("send-mail")["text"].value == "Hello"
    assert ann.page.html.select_one(".who .name").text == "ann"
    ann.get("people-import", 403)


def test_the_audit_names_the_user_of_a_refused_log_in(site):
    root = Panel(site)
    submit_after_session(root)
    log_in(root, "wrong", user="ann")
    [row] = site("audit/?get", password="new", audit_module="panel", audit_user="ann")["audit"]
    assert row["audit_status"] == "Username or password is wrong." and row["audit_via"] == "password"


def test_a_log_out_of_an_ended_session_leads_to_the_log_in(site):
    root = Panel(site)
    end_session(root)
    root.page = root.page.forms[0].submit(status=303).follow()
    root.shows("You have logged out.")
    log_in(root)
    root.page = root.page.follow()
    root.shows("Overview")


def test_no_field_with_a_secret_is_sent_back(site):
    for form in mailapi.load_part("web.site").FORMS.values():
        if form.action and form.action[0] != "sending":
            declared = site.app.modules[form.action[0]].endpoints[form.action[1]]
            secrets = {name for name, kind in declared.optional.items() if kind is mailapi.secret}
            assert secrets <= set(mailapi.load_part("web.pages").NOT_SENT_BACK)


@pytest.mark.parametrize("typed", ["", "x", "&" * 3000, "form=add-person", "form=send-mail", "%ff%00=%"])
def test_a_log_in_with_hostile_fields(site, typed):
    fields = {"typed": typed, "user_name": "root", "password": "pw"}
    assert site.browser().post("/panel/person-add", fields, status=[200, 400, 403])
