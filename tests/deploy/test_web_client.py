"""docs/how-to/web-client.md: its functions, in a page beside the API, in Chromium."""

import re

import pytest

from support.command_line import Server, write_config
from support.pages import read_page
from support.panel import add_mail
from support.site import Site

pytestmark = pytest.mark.slow

FUNCTIONS = "\n".join(
    re.findall(r"^```javascript\n(.*?)^```$", read_page("how-to/web-client.md"), re.MULTILINE | re.DOTALL)
)
# Runs what a test asks for, and returns its value, or what the page shows of the error.
RUN = """
const done = arguments[0];
(async () => { %s })().then((value) => done(value ?? null), (e) => done([e.code, e.field, sentence(e)]));
"""


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    write_config(tmp_path)
    site("addresses/?add", address_expression="ann@corp.org", address_router="store", address_route="ann")
    site("smtpd/?add", smtpd_user="ann", smtpd_router="defined")
    return site


@pytest.fixture
def ask(site, tmp_path, chromium):
    """Return a function that runs a script in the page, with the functions of docs/how-to/web-client.md."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page/index.html").write_text(
        "<!doctype html><title>Client</title><iframe></iframe><script src=client.js></script>"
    )
    (tmp_path / "page/client.js").write_text(FUNCTIONS)
    with Server(tmp_path, "--static", f"/client={tmp_path / 'page'}") as server:
        chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
        chromium.get(server.url + "client/")
        yield lambda script: chromium.execute_async_script(RUN % script)


def test_the_session_goes_from_log_in_to_log_out(ask):
    assert ask("return whoIsLoggedIn()") is None
    assert ask("return logIn('ann', 'wrong')") == [
        "wrong_credentials",
        None,
        "Username or password is wrong.",
    ]
    assert ask("return logIn('ann', 'pw')")["auth_user"] == "ann"
    assert ask("return whoIsLoggedIn()") == "ann"
    ask("return logOut()")
    assert ask("return people()") == ["not_logged_in", None, "Please log in."]


def test_people_come_in_pages_and_errors_name_the_field(ask):
    ask("return logIn('root', 'pw')")
    names = "return (await people(%s)).users.map((user) => user.user_name)"
    first = ask(names % "")
    assert "ann" in first and ask(names % f"'', {first[0]!r}") == first[1:]
    assert ask(names % "'an'") == ["ann"] and ask(names % "'AN'") == []
    add = "return call('users/add', {user_name: 'new', user_authdata: 'x'})"
    assert ask(add)["user"] is True
    assert ask(add) == ["duplicate", "user_name", "There is one already."]
    ask("return call('users/delete', {user_name: 'new'})")
    assert "new" not in ask(names % "")


def test_mail_is_shown_and_answered_with_a_file(ask, site, chromium):
    add_mail(site)
    ask("return logIn('ann', 'pw')")
    shown = ask("""
        const {threads: [thread], next} = await threads();
        const iframe = document.querySelector("iframe"), loaded = new Promise((done) => { iframe.onload = done; });
        const mail = await show(thread.mails[0], iframe);
        await loaded;
        return {next, text: mail.text, file: await (await fetch(mail.links[0])).text()};
    """)
    assert shown["next"] is None and "Hello Ann" in shown["text"] and shown["file"].strip() == "notes"
    chromium.switch_to.frame(0)
    assert "Hello Ann" in chromium.find_element("css selector", "body").text
    chromium.switch_to.default_content()
    sent = ask("""
        const file = new File([new Uint8Array([0, 200, 255])], "picture.png", {type: "image/png"});
        return send({reply_to_mail: 1, text: "Gladly."}, [file]);
    """)
    assert len(sent["queue_ids"]) == 1
    [(recipient, message)] = site.sql("SELECT mail_envelopeto, mail_data FROM outbox")
    message = message if isinstance(message, str) else message.decode()
    assert (
        recipient == "bob@corp.org"
        and "Re: Plans" in message
        and "picture.png" in message
        and "AMj/" in message
    )


def test_a_proxy_that_answers_no_json_is_an_error_without_a_code(ask):
    asked = "window.fetch = async () => new Response('<h1>Too large</h1>', {status: 413}); return people()"
    assert ask(asked) == [None, None, "HTTP 413"]
