"""The panel's pages about a person's own mail and account, without a script."""

import base64
import email

import pytest

from support.panel import MAIL, Panel, add_mail, panel_site

pytestmark = pytest.mark.every_engine


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def site(request, tmp_path):
    site = panel_site(tmp_path, request.param)
    if request.param == 9:
        site("addresses/?add", address_expression="ann@corp.org", address_router="store", address_route="ann")
        site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
    else:
        site("msa/?add", msa_user="ann", msa_inrouter="store", msa_outrouter="any")
        site("addresses/?add", address_expression="ann@corp.org", address_user="ann")
    return site


def test_mails_are_listed_and_searched(site):
    for number in range(60):
        add_mail(site, message=MAIL.replace("Plans", f"Plan {number}"))
    ann = Panel(site, "ann")
    ann.shows("Plan 59", "Bob Builder", "Unread")
    ann.page = ann.page.click("Next page")
    ann.shows("Plan 9")
    ann.get("mail?text=plan+17")
    ann.shows("Plan 17")
    ann.lacks("Plan 18")
    ann.get("mail?text=nothing")
    ann.shows("No mail fits.")
    ann.get("mail?next=nonsense", 400)
    bob = Panel(site, "bob")
    bob.shows("There is no mail yet.")


def test_a_mail_is_read(site):
    mail_id = add_mail(site)
    ann = Panel(site, "ann")
    ann.page = ann.page.click("Plans")
    ann.shows("Plans", "Bob Builder <bob@corp.org>", "notes.txt")
    frame = ann.page.html.iframe
    assert frame["sandbox"] == ["allow-popups", "allow-popups-to-escape-sandbox"]
    content = ann.browser.get("/panel/" + frame["src"])
    assert "<b>Ann</b>" in content.text and "alert" not in content.text
    policy = content.headers["Content-Security-Policy"]
    assert (
        "default-src 'none'" in policy
        and "sandbox allow-popups" in policy
        and "frame-ancestors 'self'" in policy
    )
    assert ann.page.click("notes.txt").body == b"notes"
    assert ann.page.click("Download the whole message").body == MAIL.encode()
    ann.page = ann.page.click("Show as text")
    assert "Hello Ann" in ann.page.html.pre.text
    assert site.sql("SELECT mail_read FROM mailbox") == [(1,)]
    form = ann.form("change-mail")
    ann.page = form.submit("change", value="unread").follow()
    ann.shows("The mail is unread again.")
    assert ann.browser.get("/panel/unread").text == "1"
    ann.get(f"message?mail_id={mail_id}")
    ann.page = ann.form("change-mail").submit("change", value="delete").follow()
    ann.shows("The mail was deleted.", "There is no mail yet.")
    ann.get(f"message?mail_id={mail_id}", 404)


def test_nobody_reads_the_mail_of_others(site):
    mail_id = add_mail(site)
    for user in ("root", "dele", "bob"):
        other = Panel(site, user)
        for page in ("message", "message-html", "message-raw", "message-part", "write"):
            other.get(f"{page}?mail_id={mail_id}&mail_sourcedb=master&part=1&answer=answer", 404)


def queued(site) -> str:
    [(data,)] = site.sql("SELECT mail_data FROM outbox")
    return data if isinstance(data, str) else bytes(data).decode()


def test_a_mail_is_written(site):
    ann = Panel(site, "ann")
    ann.page = ann.page.click("Write")
    ann.submit("send-mail", to="", subject="Hello", text="One\r\nTwo", check=200)
    assert ann.errors() == {"to": "No recipient is set."}
    assert (
        ann.form("send-mail")["text"].value.split() == ["One", "Two"]
        and ann.form("send-mail")["subject"].value == "Hello"
    )
    ann.fill(ann.form("send-mail"), to="far@example.org, other@example.org")
    fields = [pair for pair in ann.form("send-mail").submit_fields() if pair[0] != "attachments"]
    file = ("attachments", 'a "b".txt', b"content\0\xff", "application/x-thing")
    ann.page = ann.browser.post("/panel/write", fields, upload_files=[file], status=303).follow()
    ann.shows("The mail was queued for delivery.")
    envelopes = [row[0] for row in site.sql("SELECT mail_envelopeto FROM outbox ORDER BY 1")]
    assert envelopes == ["far@example.org", "other@example.org"]
    site.sql("DELETE FROM outbox WHERE mail_envelopeto = 'other@example.org'")
    assert "Subject: Hello" in queued(site) and "From: ann@corp.org" in queued(site)
    assert base64.b64encode(b"content\0\xff").decode() in queued(site)


def test_a_mail_is_answered_and_forwarded(site):
    mail_id = add_mail(site)
    ann = Panel(site, "ann")
    ann.get(f"message?mail_id={mail_id}")
    ann.page = ann.page.click("Answer")
    form = ann.form("send-mail")
    assert form["to"].value == '"Bob Builder" <bob@corp.org>' and form["subject"].value == "Re: Plans"
    assert "Bob Builder <bob@corp.org> wrote:\n> Hello Ann" in form["text"].value
    ann.submit("send-mail", to="far@example.org")
    assert "In-Reply-To: <plans@corp.org>" in queued(site)
    ann.get(f"message?mail_id={mail_id}")
    ann.page = ann.page.click("Forward")
    assert ann.form("send-mail")["subject"].value == "Fwd: Plans" and ann.form("send-mail")["to"].value == ""
    assert "Hello Ann" in ann.form("send-mail")["text"].value


def add_mail_with_files(site, *names: str) -> int:
    """Store a mail with a file of each name, whose content is its name; return the mail's id."""
    head, end = MAIL.rsplit("--b--", 1)
    file = "--b\nContent-Type: text/csv\nContent-Disposition: attachment; filename={0}\n\n{0}\n"
    return add_mail(site, message=head + "".join(map(file.format, names)) + "--b--" + end)


def test_attachments_are_forwarded(site):
    mail_id = add_mail_with_files(site, "one.csv", "two.csv")
    ann = Panel(site, "ann")
    ann.get(f"message?mail_id={mail_id}")
    ann.page = ann.page.click("Forward")
    ann.shows("notes.txt (5 B)", "one.csv (7 B)", "two.csv (7 B)")
    boxes = ann.form("send-mail").fields["part"]
    assert [box.checked for box in boxes] == [True] * 3
    boxes[1].checked = False
    ann.submit("send-mail", to="", check=200)
    boxes = ann.form("send-mail").fields["part"]
    assert ann.errors() and [box.checked for box in boxes] == [True, False, True]
    ann.submit("send-mail", to="far@example.org")
    files = [part for part in email.message_from_string(queued(site)).walk() if part.get_filename()]
    assert [(file.get_filename(), file.get_payload(decode=True)) for file in files] == [
        ("notes.txt", b"notes"),
        ("two.csv", b"two.csv"),
    ]


@pytest.mark.parametrize("name", ["a/b", '"../../x"', '"' + "x" * 400 + '"', '"=?utf-8?q?a=0Ab?="'])
def test_an_attachment_of_any_name_is_forwarded(site, name):
    mail_id = add_mail_with_files(site, name)
    ann = Panel(site, "ann")
    ann.get(f"write?answer=forward&mail_id={mail_id}")
    ann.submit("send-mail", to="far@example.org")
    assert base64.b64encode(name.encode()).decode()[:60] in queued(site)


def test_what_was_typed_stays_if_the_mail_to_forward_is_gone(site):
    mail_id = add_mail(site)
    ann = Panel(site, "ann")
    ann.get(f"write?answer=forward&mail_id={mail_id}")
    site.sql("DELETE FROM mailbox")
    ann.submit("send-mail", to="far@example.org", text="mine", check=200)
    ann.shows("mail not found")
    assert ann.form("send-mail")["text"].value == "mine" and "part" not in ann.form("send-mail").fields
    ann.submit("send-mail")
    assert "mine" in queued(site)


def test_nobody_forwards_the_files_of_others(site):
    mail_id = add_mail(site)
    bob = Panel(site, "bob")
    bob.get("write")
    fields = dict(bob.form("send-mail").submit_fields()) | {"to": "bob@corp.org", "part": "3"}
    bob.browser.post(f"/panel/write?answer=forward&mail_id={mail_id}", fields, status=200)
    assert not site.sql("SELECT * FROM outbox")


@pytest.mark.parametrize("subject", ["RE: Plans", "Re[2]: Plans", "re : Plans"])
def test_the_subject_of_an_answer_to_an_answer_stays(site, subject):
    mail_id = add_mail(site, message=MAIL.replace("Plans", subject))
    ann = Panel(site, "ann")
    ann.get(f"write?answer=answer&mail_id={mail_id}")
    assert ann.form("send-mail")["subject"].value == subject


@pytest.mark.parametrize("subject", ["=?utf-8?q?Pl=01=7Fans?=", "x" * 40_000], ids=["control", "long"])
def test_a_mail_with_any_subject_can_be_forwarded(site, subject):
    mail_id = add_mail(site, message=MAIL.replace("Plans", subject))
    ann = Panel(site, "ann")
    ann.get(f"write?answer=forward&mail_id={mail_id}")
    ann.submit("send-mail", to="far@example.org")
    assert "Hello Ann" in queued(site)


def test_a_refused_sender_is_asked_for_where_it_can_be_seen(site):
    root = Panel(site)
    root.get("write")
    assert not root.page.html.find("details").has_attr("open")
    root.submit("send-mail", to="far@example.org", check=200)
    assert list(root.errors()) == ["from"] and root.page.html.find("details").has_attr("open")


def test_an_answer_that_is_refused_keeps_what_was_typed(site):
    mail_id = add_mail(site)
    ann = Panel(site, "ann")
    ann.get(f"write?answer=answer&mail_id={mail_id}")
    ann.submit("send-mail", to="nonsense <", text="mine", check=200)
    assert ann.form("send-mail")["text"].value == "mine"
    assert ann.form("send-mail")["in_reply_to"].value == "<plans@corp.org>"


def test_ones_own_password(site):
    ann, other = Panel(site, "ann"), Panel(site, "ann")
    ann.get("account")
    ann.submit("own-password", user_authdata="new", again="other", check=200)
    assert ann.errors() == {"user_authdata": "The two passwords differ. Type both again."}
    ann.submit("own-password", user_authdata="new", again="new")
    ann.shows("The password was set.")
    other.get("account", 303)
    assert ann.get("account") and site("users/?get", user="ann", password="new")["login"]


def test_the_own_password_form_changes_nobody_elses(site):
    root = Panel(site)
    root.get("account")
    fields = dict(root.form("own-password").submit_fields()) | {
        "user_name": "ann",
        "user_authdata": "new",
        "again": "new",
    }
    root.browser.post("/panel/account", fields, status=303)
    assert site("users/?get", user="ann")["login"] and site("users/?get", password="new")["login"]


def test_tokens(site):
    ann = Panel(site, "ann")
    ann.get("account")
    ann.shows("You have no tokens.")
    ann.submit("add-token", token_name="", check=200)
    assert list(ann.errors()) == ["token_name"]
    ann.submit("add-token", token_name="x", token_networks="nonsense", check=200)
    assert list(ann.errors()) == ["token_networks"]
    ann.submit(
        "add-token", token_name="backup", token_reads_only=True, token_modules=["Mailbox"], token_networks=""
    )
    ann.shows("The token was made.", "backup", "May only read", "Mailbox")
    secret = ann.page.html.code.text
    assert ann.browser.get("/mailbox/?unread_count", headers={"Authorization": f"Bearer {secret}"}).json[
        "login"
    ]
    ann.get("account")
    assert secret not in ann.page.text and "backup" in ann.text()
    assert secret not in str(site("audit/?get"))
    ann.submit("delete-own-token")
    ann.shows("The token was deleted.", "You have no tokens.")


def test_the_account_shows_no_tokens_of_others(site):
    site("tokens/?add", user="ann", token_name="token of ann")
    root = Panel(site)
    root.get("account")
    root.lacks("token of ann")


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "head",
    [
        "From: =?utf-8?q?evil=40else=2Eexample=2C_=C3=BC?= <bob@corp.org>\nMessage-ID: <a@b>",
        "From: =?utf-8?q?M=C3=BCller=2C_Karl?= <bob@corp.org>\nMessage-ID: no brackets",
        "From: Karl <bob@corp.org>\nMessage-ID: <a@b>\nReferences: <x y@z> <c@d>",
    ],
)
def test_an_answer_goes_to_the_address_alone_whatever_its_name_says(tmp_path, head):
    site = panel_site(tmp_path)
    site("addresses/?add", address_expression="ann@corp.org", address_router="store", address_route="ann")
    site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
    mail_id = add_mail(site, message=f"{head}\nSubject: hi\n\nhi\n")
    ann = Panel(site, "ann")
    ann.get(f"write?answer=answer&mail_id={mail_id}")
    ann.form("send-mail").submit(status=303)
    assert site.sql("SELECT mail_envelopeto FROM outbox") == [("bob@corp.org",)]
