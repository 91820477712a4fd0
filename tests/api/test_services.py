"""The services of an installation, each a real server: asked, provisioned, purged, scanned with, filtered by."""

import base64
import contextlib
import email
import imaplib
import json
import re
import smtplib
import subprocess
import sys

import pytest
from mailapi_modules.clients.base import Client, ServiceDown, clients

import mailapi
from support.command_line import CONFIG, on_terminal, run
from support.daemons import nobody_holds
from support.every_service import KINDS, SERVICE
from support.servers import EICAR, GTUBE, MASTER
from support.site import MODULES, ROOT, Site

pytestmark = pytest.mark.slow

GOOD = 'require "fileinto";\nif header :contains "subject" "invoice" { fileinto "Archive"; }\n'
BROKEN = 'require "fileinto";\nif header :contains "subject" { fileinto ;\n'


def with_services(tmp_path, *servers, **services) -> Site:
    for server in servers:
        services |= server.setting
    return Site(tmp_path, extra=SERVICE, services=services)


def client_of(server, kind, **setting):
    """A client of one service, its setting changed where that is wanted."""
    given = server.setting[kind]
    given = {"url": given} if isinstance(given, str) else given
    given = {key: value for key, value in (given | setting).items() if value is not None}
    return clients(mailapi.Config("", {}, services={kind: given}))[kind]


def mailbox(dovecot, user, folder="INBOX"):
    """The messages in a user's folder, as IMAP has them."""
    imap = imaplib.IMAP4("127.0.0.1", dovecot.ports["imap"])
    imap.login(user, "pw")
    if imap.select(folder)[0] != "OK":
        return None
    found = [imap.fetch(number, "(RFC822)")[1][0][1] for number in imap.search(None, "ALL")[1][0].split()]
    imap.logout()
    return found


def deliver(dovecot, user, subject):
    """A mail for the user, brought by LMTP, which filters it."""
    with smtplib.LMTP("127.0.0.1", dovecot.ports["lmtp"]) as lmtp:
        lmtp.sendmail("a@from.example", [user], f"Subject: {subject}\r\nFrom: a@from.example\r\n\r\ntext\r\n")


########## services/?get #########################################################################


def test_every_service_says_what_it_is(tmp_path, every):
    site = Site(tmp_path, extra=SERVICE, services=every)
    rows = site("services/?get")["services"]
    assert [row["kind"] for row in rows] == KINDS
    assert all(row["up"] and row["error"] is None and 0 < row["latency"] < 2000 for row in rows), rows
    said = {row["kind"]: row["version"] for row in rows}
    assert "Dovecot" in said["imap"] and "Dovecot" in said["pop"] and "Pigeonhole" in said["managesieve"]
    assert "SMTP" in said["smtp"] and "calendar-access" in said["dav"]
    assert said["antispam"].startswith("SPAMD/") and said["antivirus"].startswith("ClamAV ")
    assert {row["kind"]: row["url"] for row in rows} == {
        kind: setting if isinstance(setting, str) else setting["url"] for kind, setting in every.items()
    }


def test_a_table_on_a_terminal_and_json_otherwise(tmp_path, dovecot):
    with_services(tmp_path, dovecot)
    (tmp_path / "config.py").write_text(
        CONFIG.replace("}\n", f', "Service": "modules/services.py"}}\nservices = {dovecot.setting!r}\n')
    )
    answer = json.loads(run(tmp_path, "call", "services", "get"))
    assert [row["up"] for row in answer["services"]] == [True] * 3
    shown = on_terminal(tmp_path, "call", "services", "get").decode()
    assert "kind" in shown.splitlines()[0] and "Dovecot" in shown and "{" not in shown
    assert MASTER["password"] not in shown + json.dumps(answer)


def test_master_credentials_show_nowhere(tmp_path, dovecot, caplog):
    site = with_services(tmp_path, dovecot, imap={"url": "imap://127.0.0.1:1"} | MASTER)
    seen = json.dumps([site("services/?get"), site("services/?quota"), site("services/?sieve_list")])
    service = site.app.modules["services"]
    seen += repr(site.app.config) + repr(service) + repr(service.clients) + repr(vars(service.clients["pop"]))
    assert MASTER["password"] not in seen + caplog.text


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
        Site(tmp_path, extra=SERVICE, services=services)
    assert str(refused.value) == sentence and "geheim" not in str(refused.value)


def test_the_configuration_in_the_docs_works(tmp_path, monkeypatch):
    import builtins
    import io

    [sample] = re.findall("```python\n(.*?)```", (ROOT / "docs/services.md").read_text(), re.DOTALL)
    names = {"open": lambda path: io.StringIO("secret\n")}
    exec(sample, {"__builtins__": builtins} | names, given := names)
    site = Site(tmp_path, modulelist=given["modulelist"], services=given["services"])
    assert list(site.app.modules["services"].clients) == KINDS


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
    assert loaded(SERVICE, {}) == ["mailapi_modules.clients.base"]
    assert loaded(SERVICE, {"antivirus": "clamd://127.0.0.1"}) == [
        "mailapi_modules.clients.base",
        "mailapi_modules.clients.scanners",
    ]


########## IMAP and POP ##########################################################################


@pytest.mark.parametrize("by", ["master", "own password"])
def test_mail_is_provisioned_once_and_stays(dovecot, by):
    imap = (
        client_of(dovecot, "imap") if by == "master" else client_of(dovecot, "imap", user=None, password=None)
    )
    imap.provision("mail", "bob", None if by == "master" else "pw")
    deliver(dovecot, "bob", "kept")
    imap.provision("mail", "bob", None if by == "master" else "pw")
    with imap.session("bob", "pw") as session:
        names = {line.split(b'" ')[-1].decode().strip('"') for line in session.list()[1]}
        subscribed = {line.split(b'" ')[-1].decode().strip('"') for line in session.lsub()[1]}
    assert names == subscribed == {"INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive"}
    assert b"Subject: kept" in mailbox(dovecot, "bob")[-1]


def test_purged_mail_is_gone_and_others_stay(dovecot):
    imap = client_of(dovecot, "imap")
    for user in ("bob", "ann"):
        imap.provision("mail", user, None)
        deliver(dovecot, user, "hello")
    with imap.session("bob", None) as session:
        session.create('"With \\"quotes\\" and &AOQ-"')
        session.create("Archive.2026")
    imap.purge("mail", "bob")
    with imap.session("bob", None) as session:
        assert [line.split(b'" ')[-1] for line in session.list()[1]] == [b"INBOX"]
    assert mailbox(dovecot, "bob") == [] and mailbox(dovecot, "ann")
    imap.purge("mail", "bob")


def test_purged_filters_are_gone_and_others_stay(dovecot):
    sieve = client_of(dovecot, "managesieve")
    for user in ("bob", "ann"):
        for name in ('a "b" \\c', "ü"):
            sieve.put(user, None, name, "keep;")
        sieve.activate(user, None, "ü")
    for _ in range(2):
        sieve.purge("mail", "bob")
        assert sieve.scripts("bob", None) == []
    assert [row["active"] for row in sieve.scripts("ann", None)] == [False, True]
    sieve.purge("mail", "ann")


@pytest.mark.parametrize(
    ("kind", "act"),
    [
        ("imap", lambda client: client.provision("mail", "ann", "wrong")),
        ("imap", lambda client: client.quota("ann", "wrong")),
        ("managesieve", lambda client: client.scripts("ann", "wrong")),
    ],
)
def test_a_wrong_password_is_named_and_not_repeated(dovecot, kind, act):
    with pytest.raises(
        ServiceDown, match=f"The {kind} service cannot be used: it refused the log-in."
    ) as refused:
        act(client_of(dovecot, kind, user=None, password=None))
    assert "wrong" not in str(refused.value)


def test_without_master_credentials_the_own_password_is_needed(tmp_path, dovecot):
    url = dovecot.setting["imap"]["url"]
    site = with_services(tmp_path, imap=url, managesieve=dovecot.setting["managesieve"]["url"])
    browser = site.browser()
    auth = {"auth": {"user_name": "ann", "password": "pw"}}
    assert browser.post_json("/services/?quota", auth).json["quota"]
    for action, kind in (("quota", "imap"), ("sieve_list", "managesieve")):
        assert browser.post_json(f"/services/?{action}", {}).json["status"] == (
            f"The {kind} service cannot be used: it has no master credentials, and the user's password was not given."
        )
        assert browser.post_json(f"/services/?{action}", auth).json["status"] == "ok"


def test_quota_is_ones_own(tmp_path, dovecot):
    site = with_services(tmp_path, dovecot)
    client_of(dovecot, "imap").purge("mail", "bob")
    assert site("services/?quota", user="bob")["quota"] == [
        {"resource": "STORAGE", "used": 0, "limit": 524288}
    ]
    for _ in range(20):
        deliver(dovecot, "bob", "x" * 300)
    assert site("services/?quota", user="bob")["quota"][0]["used"] > 0
    assert site("services/?quota", user="nologin")["login"] is False


def test_whose_must_be_said_on_the_command_line(tmp_path, dovecot):
    with_services(tmp_path, dovecot)
    (tmp_path / "config.py").write_text(
        f'dbpath = "master.db3"\nmodulelist = {SERVICE!r}\nservices = {dovecot.setting!r}\n'
    )
    assert "Say whose (--as)." in run(tmp_path, "call", "services", "quota", check=1)
    assert "STORAGE" in run(tmp_path, "call", "--as", "ann", "services", "quota")


@pytest.mark.parametrize("kind", ["imap", "managesieve"])
def test_no_password_without_tls_where_the_service_is_elsewhere(dovecot, kind, monkeypatch):
    """STARTTLS is used, and the certificate must be right; `plain` False says the same of this machine."""
    use = {
        "imap": lambda client: client.quota("ann", None),
        "managesieve": lambda client: client.scripts("ann", None),
    }
    with pytest.raises(ServiceDown, match="self-signed certificate"):
        use[kind](client_of(dovecot, kind, plain=False))
    monkeypatch.setenv("SSL_CERT_FILE", str(dovecot.folder / "cert.pem"))
    use[kind](client_of(dovecot, kind, plain=False))
    assert (
        clients(
            mailapi.Config(
                "",
                {},
                services={
                    kind: dovecot.setting[kind]
                    | {"url": {"imap": "imap://mail.example", "managesieve": "sieve://mail.example"}[kind]}
                },
            )
        )[kind].encrypt
        is True
    )


def test_imaps(dovecot, monkeypatch):
    url = f"imaps://localhost:{dovecot.ports['imaps']}"
    with pytest.raises(ServiceDown, match="self-signed certificate"):
        client_of(dovecot, "imap", url=url).ping()
    monkeypatch.setenv("SSL_CERT_FILE", str(dovecot.folder / "cert.pem"))
    imap = client_of(dovecot, "imap", url=url)
    assert "Dovecot" in imap.ping() and imap.quota("ann", None)


########## Filters ###############################################################################


@pytest.fixture(scope="module")
def with_dovecot(tmp_path_factory, dovecot):
    client_of(dovecot, "imap").provision("mail", "bob", None)
    return with_services(tmp_path_factory.mktemp("filters"), dovecot)


@pytest.fixture
def filters(with_dovecot):
    """A site whose user bob has no filter scripts."""
    site = with_dovecot
    site("services/?sieve_deactivate", user="bob")
    for script in site("services/?sieve_list", user="bob")["scripts"]:
        site("services/?sieve_delete", user="bob", script_name=script["script_name"])
    return site


def test_mail_is_filtered_by_the_active_script(filters, dovecot):
    def ask(action, **fields):
        return filters(f"services/?sieve_{action}", user="bob", **fields)

    refused = ask("put", script_name="mine", script=BROKEN)["status"]
    assert refused.startswith("mine: line 3: error: ") and "\r" not in refused
    assert ask("list")["scripts"] == []
    assert ask("put", script_name="mine", script=GOOD)["status"] == "ok"
    assert ask("list")["scripts"] == [{"script_name": "mine", "active": False}]
    deliver(dovecot, "bob", "invoice 1")
    assert ask("activate", script_name="mine")["status"] == "ok"
    assert ask("list")["scripts"] == [{"script_name": "mine", "active": True}]
    assert ask("get", script_name="mine")["script"] == GOOD
    deliver(dovecot, "bob", "invoice 2")
    assert any(b"invoice 1" in mail for mail in mailbox(dovecot, "bob"))
    assert not any(b"invoice 2" in mail for mail in mailbox(dovecot, "bob"))
    assert any(b"invoice 2" in mail for mail in mailbox(dovecot, "bob", "Archive"))
    assert "active" in ask("delete", script_name="mine")["status"].lower()
    assert ask("deactivate")["status"] == ask("delete", script_name="mine")["status"] == "ok"
    assert ask("list")["scripts"] == []


def test_scripts_are_ones_own(filters):
    filters("services/?sieve_put", user="bob", script_name="secret", script="keep;")
    assert filters("services/?sieve_list", user="ann")["scripts"] == []
    assert filters("services/?sieve_get", user="ann", script_name="secret")["status"] != "ok"
    assert filters("services/?sieve_delete", user="dele", script_name="secret")["status"] != "ok"
    assert filters("services/?sieve_get", user="bob", script_name="secret")["script"] == "keep;"


@pytest.mark.parametrize(
    "name",
    [
        'a"b',
        "a\\",
        '\\"',
        'x" {5+}',
        "{5+}",
        "OK",
        '" ACTIVE',
        "a b",
        "ümläut",
        "NO",
        "äöü" * 20,
        "x;DELETESCRIPT y",
    ],
)
def test_any_name_comes_back_as_it_was(filters, name):
    assert (
        filters("services/?sieve_put", user="bob", script_name=name, script=f"# {name}\nkeep;")["status"]
        == "ok"
    )
    assert filters("services/?sieve_list", user="bob")["scripts"] == [{"script_name": name, "active": False}]
    assert filters("services/?sieve_get", user="bob", script_name=name)["script"] == f"# {name}\nkeep;"


@pytest.mark.parametrize(
    "name",
    [
        'a\r\nDELETESCRIPT "kept"',
        "a\nLOGOUT",
        "a\rb",
        "a\tb",
        "a\u2028b",
        "x" * 129,
        "\x7f",
        "\x85",
        ["a"],
        True,
    ],
)
def test_a_name_that_none_can_have_is_refused_before_it_is_sent(filters, name):
    filters("services/?sieve_put", user="bob", script_name="kept", script="keep;")
    for action in ("put", "get", "activate", "delete"):
        answer = filters(f"services/?sieve_{action}", user="bob", check=400, script_name=name, script="keep;")
        assert answer["status"] == "Invalid value for script_name."
    assert filters("services/?sieve_list", user="bob")["scripts"] == [
        {"script_name": "kept", "active": False}
    ]


@pytest.mark.parametrize(
    "script",
    [
        'keep;\r\nDELETESCRIPT "kept"\r\n',
        "# {5+}\r\nkeep;",
        '# "quoted\\"\r\nkeep;',
        "# {3}\r\nkeep;\r\nOK\r\n# x",
        "keep;\n\n",
    ],
)
def test_nothing_in_a_script_ends_it(filters, script):
    filters("services/?sieve_put", user="bob", script_name="kept", script="keep;")
    status = filters("services/?sieve_put", user="bob", script_name="other", script=script)["status"]
    names = [row["script_name"] for row in filters("services/?sieve_list", user="bob")["scripts"]]
    if status == "ok":
        assert filters("services/?sieve_get", user="bob", script_name="other")["script"] == script
    assert names == (["kept", "other"] if status == "ok" else ["kept"])


@pytest.mark.parametrize(
    "user_name",
    [
        'ann" "',
        "ann\r\nLOGOUT",
        "ann*master",
        "master",
        "ann\\",
        "../ann",
        "%u",
        "nobody",
        " ann",
        "ann\xa0",
        "an\xadn",
        "ａnn",
    ],
)
def test_no_user_name_reaches_anothers_scripts_or_mail(filters, dovecot, user_name):
    filters("services/?sieve_put", user="ann", script_name="anns", script="keep;")
    for kind, act in (
        ("managesieve", lambda client: client.scripts(user_name, None)),
        ("imap", lambda client: client.quota(user_name, None)),
    ):
        with pytest.raises(ServiceDown, match="it refused the log-in|it takes no such user name"):
            act(client_of(dovecot, kind))


########## Scanners ##############################################################################


CLEAN = (
    "From: Ann <ann@one.org>\r\nTo: Bob <bob@one.org>\r\nSubject: Lunch\r\n"
    "Date: Mon, 01 Jun 2026 12:00:00 +0000\r\nMessage-ID: <1@one.org>\r\n"
    "Received: from one.org (one.org [192.0.2.1]) by two.org; Mon, 01 Jun 2026 12:00:01"
    " +0000\r\n\r\nShall we have lunch at noon?\r\n"
)


@pytest.fixture(scope="module")
def scanners(tmp_path_factory, spamd, clamd):
    return with_services(tmp_path_factory.mktemp("scanners"), spamd, clamd)


def test_clean_text_is_clean(scanners):
    answer = scanners("services/?scan", user="bob", message=CLEAN)
    assert answer["status"] == "ok" and answer["antivirus"] == {"clean": True, "signature": None}
    assert (
        answer["antispam"]["spam"] is False
        and answer["antispam"]["score"] < answer["antispam"]["threshold"] == 5
    )


def test_spam_is_spam(scanners):
    found = scanners("services/?scan", user="bob", message=CLEAN + GTUBE)["antispam"]
    assert found["spam"] is True and found["score"] > 900 and "GTUBE" in found["rules"]


@pytest.mark.parametrize("how", ["text", "base64", "base64 in lines"])
def test_a_virus_is_named(scanners, how):
    fields = (
        {"message": EICAR}
        if how == "text"
        else {
            "encoding": "base64",
            "message": {"base64": base64.b64encode, "base64 in lines": base64.encodebytes}[how](
                EICAR.encode()
            ).decode(),
        }
    )
    answer = scanners("services/?scan", user="bob", **fields)
    assert answer["antivirus"]["clean"] is False and "Eicar" in answer["antivirus"]["signature"]


def test_scan_over_a_unix_socket(tmp_path, clamd):
    site = with_services(tmp_path, antivirus=f"clamd://{clamd.ports['unix']}")
    assert site("services/?scan", message=EICAR)["antivirus"]["clean"] is False
    assert list(site("services/?scan", message="x"))[-1] == "antivirus"  # and no antispam


def test_what_a_scanner_does_not_take(scanners, monkeypatch):
    answer = scanners("services/?scan", message="x" * 3_000_000)
    assert (
        answer["status"] == "The antivirus service refused the message: INSTREAM size limit exceeded. ERROR"
    )
    assert answer["antispam"]["spam"] in (True, False)  # the other one's answer is there all the same
    for fields in (
        {"message": "%%%", "encoding": "base64"},
        {"message": "x", "encoding": "gzip"},
        {"message": ["x"]},
    ):
        assert scanners("services/?scan", check=400, **fields)["status"].startswith("Invalid value for ")
    assert scanners("services/?scan")["status"] == "No message is set."
    monkeypatch.setattr(scanners.app.config, "max_message", 1_500_000)
    assert (
        scanners("services/?scan", check=413, message="x" * 1_600_000)["status"] == "Request body too large."
    )


########## SMTP ##################################################################################


@pytest.fixture(scope="module")
def with_smtp(tmp_path_factory, smtp_sink):
    site = with_services(tmp_path_factory.mktemp("smtp"), smtp_sink)
    site.sql(
        "INSERT INTO addresses VALUES ('ann@one.org', 10, 'store', 'ann'), ('%@corp.org', 11, 'store', 'ann'),"
        " ('bob@one.org', 12, 'store', 'bob'), ('%@drop.org', 13, 'drop', NULL)"
    )
    site.sql("INSERT INTO smtpd VALUES ('ann', 'defined', NULL)")
    site.sink = smtp_sink.folder / "mail/new"
    return site


@pytest.fixture
def sender(with_smtp):
    """A site whose SMTP server has got no mail yet."""
    for mail in with_smtp.sink.glob("*"):
        mail.unlink()
    return with_smtp


def send(site, **fields):
    return site(
        "services/?send",
        user="ann",
        **{"sender": "ann@one.org", "recipients": ["to@else.example"], "message": "Subject: hello\n\ntext\n"}
        | fields,
    )


def test_a_message_is_handed_over(sender):
    assert (
        send(sender, recipients=["to@else.example", "two@else.example"], sender="sales@corp.org")["status"]
        == "ok"
    )
    [mail] = [email.message_from_bytes(file.read_bytes()) for file in sender.sink.iterdir()]
    assert (mail["Subject"], mail["X-MailFrom"]) == ("hello", "sales@corp.org")
    assert mail["X-RcptTo"] == "to@else.example, two@else.example" and mail.get_payload() == "text\n"


def test_all_recipients_or_none(sender):
    answer = send(sender, recipients=["to@else.example", "refused@else.example"])
    assert answer["status"] == "The smtp service refused refused@else.example: 550 5.1.1 No such user"
    assert list(sender.sink.iterdir()) == []


@pytest.mark.parametrize(
    "address", ["bob@one.org", "ann@two.org", "x@drop.org", "%@corp.org%", "_nn@one.org"]
)
def test_only_ones_own_addresses_send(sender, address):
    assert send(sender, sender=address)["status"] == "Not allowed to send from this address."
    assert list(sender.sink.iterdir()) == []


@pytest.mark.parametrize(
    ("router", "status"),
    [
        ("any", "ok"),
        ("handoff", "ok"),
        ("drop", "Not allowed to send from this address."),
        ("reject", "Not allowed to send from this address."),
        (None, "Not allowed to send from this address."),
    ],
)
def test_the_out_router_decides(sender, router, status):
    sender.sql("DELETE FROM smtpd WHERE smtpd_user = 'bob'")
    if router:
        sender.sql("INSERT INTO smtpd VALUES ('bob', ?, 'relay.example')", router)
    answer = sender(
        "services/?send", user="bob", sender="x@y.org", recipients=["to@else.example"], message="x"
    )
    assert answer["status"] == status and len(list(sender.sink.iterdir())) == (status == "ok")


@pytest.mark.parametrize("field", ["sender", "recipients"])
@pytest.mark.parametrize(
    "address",
    [
        "a@one.org>\r\nRCPT TO:<x@y",
        "a@one.org> SIZE=1",
        "<a@one.org>",
        "a b@one.org",
        "a@one.org\n",
        "a@one.org\x7f",
        "x" * 250 + "@one.org",
        "a@one.org\u2028",
    ],
)
def test_no_address_is_a_command(sender, field, address):
    answer = sender(
        "services/?send",
        user="ann",
        check=400,
        message="x",
        **{
            "sender": "ann@one.org",
            "recipients": ["to@else.example"],
            field: address if field == "sender" else [address],
        },
    )
    assert answer["status"] == f"Invalid value for {field}." and list(sender.sink.iterdir()) == []


@pytest.mark.parametrize("end", ["\n.\n", "\r\n.\r\n", "\r.\r", "\n.\r\n", "\r\n.\n"])
def test_no_message_is_two(sender, end):
    body = (
        f"Subject: one\n\nfirst{end}MAIL FROM:<root@one.org>\nRCPT TO:<x@y.z>\nDATA\nSubject: two\n\nsecond"
    )
    assert send(sender, message=body)["status"] == "ok"
    [mail] = [file.read_bytes() for file in sender.sink.iterdir()]
    assert b"second" in mail and mail.count(b"X-MailFrom") == 1 and b"\n.\n" in mail


def test_eight_bits_and_base64_arrive_as_they_are(sender):
    raw = "Subject: ä\r\nContent-Transfer-Encoding: 8bit\r\n\r\n".encode() + bytes(range(128, 256)) + b"\r\n"
    assert send(sender, message=base64.b64encode(raw).decode(), encoding="base64")["status"] == "ok"
    [mail] = [file.read_bytes() for file in sender.sink.iterdir()]
    assert bytes(range(128, 256)) in mail


def test_a_large_message_is_handed_over(sender):
    assert (
        send(sender, message="Subject: large\n\n" + "x" * 70 + ("\n" + "x" * 70) * 30_000)["status"] == "ok"
    )
    [mail] = [file.stat().st_size for file in sender.sink.iterdir()]
    assert mail > 2_000_000


def test_what_was_written_is_not_in_the_audit(sender, filters):
    send(sender, sender="bob@one.org", message="Subject: secret-one\n\nsecret-two")
    filters("services/?sieve_put", user="bob", script_name="kept", script="# secret-three\nkeep;")
    for site, action, target in (
        (sender, "send", "bob@one.org ['to@else.example']"),
        (filters, "sieve_put", "kept"),
    ):
        rows = site("audit/?get", audit_module="services", audit_action=action)["audit"]
        assert rows[0]["audit_target"] == target and "secret-" not in json.dumps(rows)


def test_what_is_missing_to_send(sender):
    assert send(sender, sender="")["status"] == "Sender is not set."
    assert send(sender, recipients=[])["status"] == "No recipient is set."
    assert send(sender, message="")["status"] == "No message is set."
    answer = sender(
        "services/?send", user="ann", check=400, sender="ann@one.org", recipients=[""], message="x"
    )
    assert answer["status"] == "Invalid value for recipients."


########## No transaction is held meanwhile ######################################################


def test_the_database_is_free_while_a_service_is_asked(tmp_path, spamd, monkeypatch):
    site, free = with_services(tmp_path, spamd), []
    conversation = Client.conversation

    @contextlib.contextmanager
    def watched(client, *limits, **more):
        with conversation(client, *limits, **more) as connection:
            yield connection
            free.append(nobody_holds(site.dbpath))

    monkeypatch.setattr(Client, "conversation", watched)
    assert site("services/?scan", message=CLEAN)["status"] == "ok" and free == [True]
