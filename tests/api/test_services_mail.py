"""The imap and pop services: mail and filters are provisioned and purged, and quota is read."""

import pytest
from mailapi_modules.clients.base import ServiceDown, clients

import mailapi
from support.command_line import run_mailapi
from support.every_service import SERVICE_MODULE
from support.services import deliver_by_lmtp, imap_messages, service_client, site_with_services

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("by", ["master", "own password"])
def test_mail_is_provisioned_once_and_stays(dovecot, by):
    imap = (
        service_client(dovecot, "imap")
        if by == "master"
        else service_client(dovecot, "imap", user=None, password=None)
    )
    imap.provision("mail", "bob", None if by == "master" else "pw")
    deliver_by_lmtp(dovecot, "bob", "kept")
    imap.provision("mail", "bob", None if by == "master" else "pw")
    with imap.session("bob", "pw") as session:
        names = {line.split(b'" ')[-1].decode().strip('"') for line in session.list()[1]}
        subscribed = {line.split(b'" ')[-1].decode().strip('"') for line in session.lsub()[1]}
    assert names == subscribed == {"INBOX", "Drafts", "Sent", "Trash", "Junk", "Archive"}
    assert b"Subject: kept" in imap_messages(dovecot, "bob")[-1]


def test_purged_mail_is_gone_and_others_stay(dovecot):
    imap = service_client(dovecot, "imap")
    for user in ("bob", "ann"):
        imap.provision("mail", user, None)
        deliver_by_lmtp(dovecot, user, "hello")
    with imap.session("bob", None) as session:
        session.create('"With \\"quotes\\" and &AOQ-"')
        session.create("Archive.2026")
    imap.purge("mail", "bob")
    with imap.session("bob", None) as session:
        assert [line.split(b'" ')[-1] for line in session.list()[1]] == [b"INBOX"]
    assert imap_messages(dovecot, "bob") == [] and imap_messages(dovecot, "ann")
    imap.purge("mail", "bob")


def test_purged_filters_are_gone_and_others_stay(dovecot):
    sieve = service_client(dovecot, "managesieve")
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
        act(service_client(dovecot, kind, user=None, password=None))
    assert "wrong" not in str(refused.value)


def test_without_master_credentials_the_own_password_is_needed(tmp_path, dovecot):
    url = dovecot.setting["imap"]["url"]
    site = site_with_services(tmp_path, imap=url, managesieve=dovecot.setting["managesieve"]["url"])
    browser = site.browser()
    auth = {"auth": {"user_name": "ann", "password": "pw"}}
    assert browser.post_json("/services/?quota", auth).json["quota"]
    for action, kind in (("quota", "imap"), ("sieve_list", "managesieve")):
        assert browser.post_json(f"/services/?{action}", {}).json["status"] == (
            f"The {kind} service cannot be used: it has no master credentials, and the user's password was not given."
        )
        assert browser.post_json(f"/services/?{action}", auth).json["status"] == "ok"


def test_quota_is_ones_own(tmp_path, dovecot):
    site = site_with_services(tmp_path, dovecot)
    service_client(dovecot, "imap").purge("mail", "bob")
    assert site("services/?quota", user="bob")["quota"] == [
        {"resource": "STORAGE", "used": 0, "limit": 524288}
    ]
    for _ in range(20):
        deliver_by_lmtp(dovecot, "bob", "x" * 300)
    assert site("services/?quota", user="bob")["quota"][0]["used"] > 0
    assert site("services/?quota", user="nologin")["login"] is False


def test_whose_must_be_said_on_the_command_line(tmp_path, dovecot):
    site_with_services(tmp_path, dovecot)
    (tmp_path / "config.py").write_text(
        f'dbpath = "master.db3"\nmodulelist = {SERVICE_MODULE!r}\nservices = {dovecot.setting!r}\n'
    )
    assert "Name the user with --as USER." in run_mailapi(tmp_path, "call", "services", "quota", check=1)
    assert "STORAGE" in run_mailapi(tmp_path, "call", "--as", "ann", "services", "quota")


@pytest.mark.parametrize("kind", ["imap", "managesieve"])
def test_no_password_without_tls_where_the_service_is_elsewhere(dovecot, kind, monkeypatch):
    """STARTTLS is used, and the certificate must be right; `plain` False says the same of this machine."""
    use = {
        "imap": lambda client: client.quota("ann", None),
        "managesieve": lambda client: client.scripts("ann", None),
    }
    with pytest.raises(ServiceDown, match="self-signed certificate"):
        use[kind](service_client(dovecot, kind, plain=False))
    monkeypatch.setenv("SSL_CERT_FILE", str(dovecot.folder / "cert.pem"))
    use[kind](service_client(dovecot, kind, plain=False))
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
        service_client(dovecot, "imap", url=url).ping()
    monkeypatch.setenv("SSL_CERT_FILE", str(dovecot.folder / "cert.pem"))
    imap = service_client(dovecot, "imap", url=url)
    assert "Dovecot" in imap.ping() and imap.quota("ann", None)
