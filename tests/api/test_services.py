"""services/: what is configured and refused at start, and what is shown of it."""

import contextlib
import json
import re
import subprocess
import sys

import pytest
from mailapi_modules.clients.base import Client

import mailapi
from support.command_line import CONFIG, run_mailapi, run_on_terminal
from support.daemons import file_is_free
from support.every_service import SERVICE_KINDS, SERVICE_MODULE
from support.servers import MASTER_USER
from support.services import CLEAN_MAIL, site_with_services
from support.site import MODULES, ROOT, Site

pytestmark = pytest.mark.slow


########## services/?get #########################################################################


def test_every_service_says_what_it_is(tmp_path, settings_of_every_service):
    site = Site(tmp_path, extra=SERVICE_MODULE, services=settings_of_every_service)
    rows = site("services/?get")["services"]
    assert [row["kind"] for row in rows] == SERVICE_KINDS
    assert all(row["up"] and row["error"] is None and 0 < row["latency"] < 2000 for row in rows), rows
    said = {row["kind"]: row["version"] for row in rows}
    assert "Dovecot" in said["imap"] and "Dovecot" in said["pop"] and "Pigeonhole" in said["managesieve"]
    assert "SMTP" in said["smtp"] and "calendar-access" in said["dav"]
    assert said["antispam"].startswith("SPAMD/") and said["antivirus"].startswith("ClamAV ")
    assert {row["kind"]: row["url"] for row in rows} == {
        kind: setting if isinstance(setting, str) else setting["url"]
        for kind, setting in settings_of_every_service.items()
    }


def test_a_table_on_a_terminal_and_json_otherwise(tmp_path, dovecot):
    site_with_services(tmp_path, dovecot)
    (tmp_path / "config.py").write_text(
        CONFIG.replace("}\n", f', "Service": "modules/services.py"}}\nservices = {dovecot.setting!r}\n')
    )
    answer = json.loads(run_mailapi(tmp_path, "call", "services", "get"))
    assert [row["up"] for row in answer["services"]] == [True] * 3
    shown = run_on_terminal(tmp_path, "call", "services", "get").decode()
    assert "kind" in shown.splitlines()[0] and "Dovecot" in shown and "{" not in shown
    assert MASTER_USER["password"] not in shown + json.dumps(answer)


def test_master_credentials_show_nowhere(tmp_path, dovecot, caplog):
    site = site_with_services(tmp_path, dovecot, imap={"url": "imap://127.0.0.1:1"} | MASTER_USER)
    seen = json.dumps([site("services/?get"), site("services/?quota"), site("services/?sieve_list")])
    service = site.app.modules["services"]
    seen += repr(site.app.config) + repr(service) + repr(service.clients) + repr(vars(service.clients["pop"]))
    assert MASTER_USER["password"] not in seen + caplog.text


########## Configuration #########################################################################


@pytest.mark.parametrize(
    ("services", "sentence"),
    [
        ("imap://127.0.0.1", "services must be a mapping."),
        (
            {"ftp": "ftp://127.0.0.1"},
            "services: ftp is none of smtp, imap, pop, dav, antispam, antivirus, managesieve.",
        ),
        ({"imap": "pop3://127.0.0.1"}, "services: the URL of imap must begin with imap:// or imaps://."),
        ({"imap": "127.0.0.1"}, "services: the URL of imap must begin with imap:// or imaps://."),
        ({"imap": "imap://"}, "services: the URL of imap names no host."),
        ({"antivirus": "clamd://"}, "services: the URL of antivirus names no host."),
        ({"imap": "imap://:143"}, "services: the URL of imap names no host."),
        ({"imap": "imap://ho st"}, "services: the URL of imap names no host."),
        ({"imap": "imap://host:0"}, "services: the URL of imap names no host."),
        ({"imap": "imap://host:99999"}, "services: the URL of imap cannot be read."),
        ({"imap": "imap://[::1"}, "services: the URL of imap cannot be read."),
        ({"imap": "imap://host/folder"}, "services: the URL of imap must end with the host or the port."),
        ({"dav": "https://host/?x"}, "services: the URL of dav must end with the host or the port."),
        (
            {"imap": "imap://master:geheim@host"},
            "services: user and password of imap belong beside its url, not in it.",
        ),
        (
            {"imap": {"user": "m", "password": "geheim"}},
            "services: imap must be a URL, or a mapping with one.",
        ),
        ({"imap": 143}, "services: imap must be a URL, or a mapping with one."),
        ({"imap": {"url": 143}}, "services: url of imap must be text."),
        ({"imap": {"url": ""}}, "services: url of imap must be text."),
        (
            {"imap": {"url": "imap://host", "user": "m"}},
            "services: imap needs user and password, or neither.",
        ),
        (
            {"imap": {"url": "imap://host", "plain": "geheim"}},
            "services: plain of imap must be True or False.",
        ),
        (
            {"imap": {"url": "imap://host", "secret": "geheim"}},
            "services: imap takes url, user, password, plain, not secret.",
        ),
        ({"pop": {"url": "pop3://host", "user": "geheim"}}, "services: pop takes url, not user."),
        (
            {"dav": "http://dav.example"},
            "services: passwords would go to dav unencrypted: give an https:// URL, or say plain.",
        ),
        (
            {"dav": {"url": "https://host", "user_header": "X-User: root\r\nX"}},
            "services: user_header of dav must be the name of an HTTP header.",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_at_start(tmp_path, services, sentence):
    with pytest.raises(mailapi.ConfigError) as refused:
        Site(tmp_path, extra=SERVICE_MODULE, services=services)
    assert str(refused.value) == sentence and "geheim" not in str(refused.value)


def test_the_configuration_in_the_docs_works(tmp_path, monkeypatch):
    import builtins
    import io

    [sample] = re.findall("```python\n(.*?)```", (ROOT / "docs/how-to/services.md").read_text(), re.DOTALL)
    names = {"open": lambda path: io.StringIO("secret\n")}
    exec(sample, {"__builtins__": builtins} | names, given := names)
    site = Site(tmp_path, modulelist=given["modulelist"], services=given["services"])
    assert list(site.app.modules["services"].clients) == SERVICE_KINDS


def test_what_is_not_configured_is_not_loaded():
    """Neither the clients nor the libraries under them, for an installation without services or without some."""
    program = """if True:
        import sys, mailapi
        mailapi.create_app({"dbpath": "x", "modulelist": %r, "services": %r})
        print(*sorted({"imaplib", "smtplib", "poplib", "mailapi_modules.clients.base", "mailapi_modules.clients.smtp",
                       "mailapi_modules.clients.imap", "mailapi_modules.clients.pop3",
                       "mailapi_modules.clients.dav", "mailapi_modules.clients.scanners",
                       "mailapi_modules.clients.managesieve", "mailapi_modules.clients.dav_proxy"} & set(sys.modules)))
    """

    def loaded(modulelist, services):
        return subprocess.run(
            [sys.executable, "-c", program % (modulelist, services)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.split()

    assert loaded(MODULES, {}) == [] == loaded(MODULES, {"imap": "imap://127.0.0.1"})
    assert loaded(SERVICE_MODULE, {}) == ["mailapi_modules.clients.base"]
    assert loaded(SERVICE_MODULE, {"antivirus": "clamd://127.0.0.1"}) == [
        "mailapi_modules.clients.base",
        "mailapi_modules.clients.scanners",
    ]


########## No transaction is held meanwhile ######################################################


def test_the_database_is_free_while_a_service_is_asked(tmp_path, spamd, monkeypatch):
    site, free = site_with_services(tmp_path, spamd), []
    conversation = Client.conversation

    @contextlib.contextmanager
    def watched(client, *limits, **more):
        with conversation(client, *limits, **more) as connection:
            yield connection
            free.append(file_is_free(site.dbpath))

    monkeypatch.setattr(Client, "conversation", watched)
    assert site("services/?scan", message=CLEAN_MAIL)["status"] == "ok" and free == [True]
