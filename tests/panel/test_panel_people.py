"""The panel's pages about people, for each role, without a script."""

import pytest

from support.panel import Panel, panel_site

pytestmark = pytest.mark.every_engine


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    return panel_site(tmp_path, request.param)


def rows(site, table, *columns):
    return site.sql(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1")


def test_the_list_has_those_whom_the_visitor_manages(site):
    root, dele = Panel(site), Panel(site, "dele")
    root.get("people")
    root.shows("ann", "bob", "dele", "nologin", "root")
    dele.get("people")
    dele.shows("ann", "dele")
    dele.lacks("bob", "root", "Add a person")
    Panel(site, "ann").get("people", 403)


def test_search_and_pages_by_key(site):
    site.insert_many(
        "INSERT INTO users (user_name) VALUES (?)", [[f"person{number:03}"] for number in range(250)]
    )
    root = Panel(site)
    root.get("people?search=person")
    pages = [root.page]
    while root.page.html.select("a[rel=next]"):
        root.page = root.page.click("Next page")
        pages.append(root.page)
    names = [link.text for page in pages for link in page.html.select("tbody a")]
    assert names == [f"person{number:03}" for number in range(250)] and len(pages) == 3
    root.page = root.page.click("First page")
    assert root.page.html.select("tbody a")[0].text == "person000"
    root.get("people?search=nobody")
    root.shows("Nobody's name begins so.")


def test_an_administrator_adds_a_person_with_everything(site):
    root = Panel(site)
    root.get("person-add")
    root.submit(
        "add-person",
        user_name="carol@corp.org",
        user_authdata="secret",
        also=["address", "sending", "pop"],
        user_permissions=["delegate"],
    )
    root.shows("The person was added.", "carol@corp.org", "May collect mail over POP3.")
    assert "secret" not in root.page.text
    assert site("users/?get", user="carol@corp.org", password="secret")["login"]
    assert ("carol@corp.org", "delegate") in site.sql("SELECT * FROM api_access")
    assert [row[0] for row in rows(site, "addresses", "address_expression")] == ["carol@corp.org"]
    sending = "smtpd" if site.generation == 9 else "msa"
    assert site(f"{sending}/?get")[sending][0][f"{sending}_user"] == "carol@corp.org"


def test_a_name_that_is_refused_stays_in_its_field(site):
    root = Panel(site)
    root.get("person-add")
    root.submit("add-person", user_name="ann", user_permissions=["delegate"], check=200)
    assert root.errors() == {"user_name": "There is one already."}
    form = root.form("add-person")
    assert form["user_name"].value == "ann" and form["user_authdata"].value == ""
    assert [box.checked for box in form.fields["user_permissions"]] == [False, True]
    root.submit("add-person", user_name="main", check=200)
    assert list(root.errors()) == ["user_name"]


def test_a_person_without_more_is_added_and_told_what_is_missing(site):
    root = Panel(site)
    root.get("person-add")
    root.submit("add-person", user_name="carol", also=[])
    root.shows("Cannot log in: there is no password.", "No address stores mail", "May not send mail.")
    root.shows("May not collect mail over POP3.")


def test_delegates_add_people_where_that_is_configured(tmp_path):
    site = panel_site(tmp_path, delegates_add_users=True)
    dele = Panel(site, "dele")
    dele.get("people")
    dele.page = dele.page.click("Add a person")
    dele.lacks("Administrator")
    dele.submit("add-person", user_name="new@corp.org", also=["address", "sending", "pop"])
    dele.shows("The person was added.", "new@corp.org")
    dele.get("person-add")
    dele.submit("add-person", user_name="new@other.org", check=200)
    assert dele.errors() == {"user_name": "Not allowed"}


def test_delegates_add_nobody_otherwise(site):
    dele = Panel(site, "dele")
    dele.get("person-add", 403)


def test_passwords_are_set_and_removed(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("set-password", user_authdata="one", again="two", check=200)
    assert root.errors() == {"user_authdata": "The two passwords differ. Type both again."}
    root.submit("set-password", user_authdata="", again="", check=200)
    assert site("users/?get", user="ann")["login"]
    root.submit("set-password", user_authdata=" one ", again=" one ")
    root.shows("The password was set.")
    assert site("users/?get", user="ann", password=" one ")["login"]
    root.submit("remove-password")
    root.shows("The password was removed.", "Cannot log in: there is no password.")
    assert rows(site, "users", "user_name", "user_authdata")[0] == ("ann", None)


def test_a_person_is_suspended_and_restored(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("suspend")
    root.shows("The person is suspended and cannot log in.", "Restore after a suspension")
    assert not site("users/?get", user="ann")["login"]
    root.submit("restore")
    root.shows("The person can log in again.")
    assert site("users/?get", user="ann")["login"]
    root.get("person?user_name=root")
    root.lacks("Suspend")
    root.get("person?user_name=nologin")
    root.submit("restore", check=200)
    root.shows("This user is not suspended.")


def test_devices(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("add-device", device_name="a/b", check=200)
    assert root.errors() == {"device_name": "Device name is not allowed."}
    root.submit("add-device", device_name="phone")
    root.shows("The device was added.", "ann~phone", "It is shown only now")
    secret = root.page.html.code.text
    root.get("person?user_name=ann")
    assert secret not in root.page.text and secret not in str(site("audit/?get"))
    ann = Panel(site, "ann")
    ann.get("account")
    ann.shows("ann~phone")
    ann.submit("delete-own-device")
    ann.submit("add-own-device", device_name="tablet")
    ann.shows("ann~tablet")
    root.get("person?user_name=ann")
    root.submit("delete-device")
    root.lacks("ann~tablet")


def test_alias_and_permissions(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("set-alias", user_alias="bob")
    root.shows("Saved.")
    assert root.form("set-alias")["user_alias"].value == "bob"
    root.submit("set-alias", user_alias="nobody", check=200)
    assert root.errors() == {"user_alias": "There is no such person, or you do not manage them."}
    root.submit("set-alias", user_alias="")
    root.submit("set-permissions", user_permissions=["delegate"])
    assert ("ann", "delegate") in site.sql("SELECT * FROM api_access")
    root.submit("set-permissions", user_permissions=[])
    assert "ann" not in [row[0] for row in site.sql("SELECT * FROM api_access")]


def test_permissions_of_no_module_stay(site):
    site.sql("INSERT INTO api_access VALUES ('ann', 'special')")
    root = Panel(site)
    root.get("person?user_name=ann")
    root.shows("special")
    root.submit("set-permissions", user_permissions=["delegate", "special"])
    assert sorted(site.sql("SELECT * FROM api_access WHERE api_user = 'ann'")) == [
        ("ann", "delegate"),
        ("ann", "special"),
    ]


def test_permissions_that_somebody_else_has_changed_meanwhile_stay_as_they_are_now(site):
    site("users/?add_permission", user_name="ann", user_permission="admin")
    root = Panel(site)
    root.get("person?user_name=ann")
    for action, permission in (("delete_permission", "admin"), ("add_permission", "special")):
        site(f"users/?{action}", user_name="ann", user_permission=permission)
    root.submit("set-permissions", user_permissions=["admin", "delegate"])
    assert sorted(site.sql("SELECT * FROM api_access WHERE api_user = 'ann'")) == [
        ("ann", "delegate"),
        ("ann", "special"),
    ]


def test_sending(site):
    root = Panel(site)
    module, out = ("smtpd", "") if site.generation == 9 else ("msa", "out")
    router, route = f"{module}_{out}router", f"{module}_{out}route"
    root.get("person?user_name=ann")
    root.submit("add-sending", **{router: "handoff", route: ""}, check=200)
    root.shows("Router handoff needs an argument")
    assert root.form("add-sending")[router].value == "handoff"
    root.submit("add-sending", **{router: "any"})
    root.submit("set-sending", **{router: "handoff", route: "relay.example.org"})
    assert root.form("set-sending")[route].value == "relay.example.org"
    root.submit("stop-sending")
    root.shows("May not send mail.", "This person can no longer send mail.")


def test_pop(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("pop-on")
    site.sql("UPDATE popd SET pop_lock = 1")
    root.get("person?user_name=ann")
    root.shows("The mailbox is locked by a POP3 session.")
    root.submit("pop-unlock")
    root.lacks("The mailbox is locked")
    root.submit("pop-off")
    root.shows("May not collect mail over POP3.")


def test_delegations_in_both_directions(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.shows("Managed by", "dele", "Manages nobody.")
    root.submit("delete-managed", {"api_user": "dele"})
    root.shows("Only administrators manage this person.")
    root.submit("add-manager", api_user="nobody", check=200)
    assert root.errors() == {"api_user": "There is no such person, or you do not manage them."}
    root.submit("add-manager", api_user="bob")
    root.submit("add-managed", api_delegate="dele")
    root.submit("add-expression", api_expression="%@ann.org")
    root.shows("%@ann.org")
    assert sorted(site.sql("SELECT * FROM api_user_delegates")) == [("ann", "dele"), ("bob", "ann")]
    root.submit("delete-expression")
    assert site.sql("SELECT * FROM api_address_delegates WHERE api_user = 'ann'") == []


def test_a_delegate_sees_what_a_delegate_may(site):
    dele = Panel(site, "dele")
    dele.get("person?user_name=ann")
    dele.shows("Access", "POP3", "Danger zone")
    dele.lacks("Permissions", "Delegations", "Recent activity", "Opens the mailbox of")
    dele.submit("pop-on")
    dele.submit("set-password", user_authdata="new", again="new")
    assert site("users/?get", user="ann", password="new")["login"]
    for other in ("bob", "root", "nobody"):
        dele.get(f"person?user_name={other}", 404 if other == "" else 403)


@pytest.mark.parametrize("form", ["set-permissions", "set-alias", "add-managed", "add-expression"])
def test_a_delegate_is_refused_what_is_not_shown(site, form):
    dele = Panel(site, "dele")
    dele.get("person?user_name=ann")
    fields = dict(dele.form("set-password").submit_fields()) | {
        "form": form,
        "user_permissions": "admin",
        "user_alias": "dele",
        "api_user": "dele",
        "api_delegate": "root",
        "api_expression": "%",
    }
    before = site.dump()
    dele.page = dele.browser.post("/panel/person?user_name=ann", fields)
    assert dele.page.html.select("[role=alert]") and site.dump() == before


def test_a_person_is_deleted_after_a_question(site):
    root = Panel(site)
    root.get("person-add")
    root.submit("add-person", user_name="carol@corp.org", also=["address"])
    root.page = root.page.click("Delete this person")
    root.shows("carol@corp.org and all their mail", "These addresses will then lead nowhere")
    root.submit("delete-person")
    root.shows("The person was deleted.")
    assert root.page.request.path == "/panel/people"
    assert ("carol@corp.org",) not in rows(site, "users", "user_name")
    root.get("person?user_name=carol@corp.org", 404)


def test_changes_are_in_the_audit_as_those_of_the_api(site):
    root = Panel(site)
    root.get("person?user_name=ann")
    root.submit("pop-on")
    row = site("audit/?get", audit_module="pop")["audit"][0]
    assert (row["audit_user"], row["audit_via"], row["audit_action"]) == ("root", "session", "add")
    assert (row["audit_target"], row["audit_status"]) == ("ann", "ok") and row["audit_session"]
    Panel(site, "dele").get("person?user_name=bob", 403)
    assert site("audit/?get", audit_user="dele", audit_module="users")["audit"][0]["audit_action"] == "get"


def test_people_are_imported_after_a_check(site):
    root = Panel(site)
    root.get("people")
    root.page = root.page.click("Import people")
    lines = "user_name,user_permissions\nzoe,delegate\nann,\nmain,\n"
    form = root.form("import-people")
    form["file"] = lines
    root.page = form.submit("change", value="check")
    root.shows("2 of 3 users cannot be imported; nothing was changed.")
    problems = [[cell.text for cell in row.select("td, th")] for row in root.page.html.select("tbody tr")]
    assert [line for line, _ in problems] == ["3", "4"] and problems[0][1] == "Username ann is taken."
    assert root.form("import-people")["file"].value.split() == lines.split()
    for change in ("check", "import"):
        form = root.form("import-people")
        form["file"] = "user_name,password\nzoe,secret\n"
        root.page = form.submit("change", value=change).maybe_follow()
        assert "secret" not in root.page.text
        root.shows("it has 1 people" if change == "check" else "The people of the file were added: 1.")
    assert site("users/?get", user="zoe", password="secret")["login"]


def test_a_file_is_imported(site):
    root = Panel(site)
    root.get("people-import")
    fields = [
        pair
        for pair in root.form("import-people").submit_fields("change")
        if pair[0] not in ("chosen", "change")
    ]
    fields.append(("change", "import"))
    file = ("chosen", "people.csv", b"\xef\xbb\xbfuser_name\nzoe\n", "text/csv")
    root.page = root.browser.post("/panel/people-import", fields, upload_files=[file], status=303).follow()
    root.shows("zoe", "The people of the file were added: 1.")
    Panel(site, "dele").get("people-import", 403)


def test_a_script_that_shows_progress_is_told_the_next_page(site):
    """XMLHttpRequest would follow a redirect, and the page that says what was done would be lost."""
    root = Panel(site)
    root.get("people-import")
    form = dict(root.form("import-people").submit_fields("change")) | {"file": "user_name\nzoe\n"}
    fields = {"token": form["token"], "form": form["form"], "file": form["file"], "change": "import"}
    answer = root.browser.post("/panel/people-import", fields | {"by": "script"}, status=201)
    assert answer.headers["Location"] == "people"
    root.get("people")
    root.shows("The people of the file were added: 1.")


def test_tokens_of_a_person(site):
    site("tokens/?add", user="ann", token_name="backup")
    root = Panel(site)
    root.get("person?user_name=ann")
    root.shows("backup", "never used")
    root.submit("delete-token")
    root.shows("The token was deleted.")
    assert site("tokens/?get", user="ann")["tokens"] == []
