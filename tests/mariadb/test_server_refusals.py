"""A server of the master and the state database that refuses: privileges, read-only, log-ins, size and TLS."""

import logging
import subprocess

import pytest

import mailapi
from support.command_line import run_mailapi
from support.failures import SECRETS, UNREACHABLE, UNUSABLE
from support.instances import free_port, require_program
from support.mariadb import MariaDBServer as MariaDB
from support.pages import code_in, read_page, section
from support.shared import SiteOnServer, create_master_database
from support.site import authdata

pytestmark = pytest.mark.usefixtures("no_secrets")


@pytest.fixture
def site(site_on_mariadb):
    return site_on_mariadb


########## Refused by the server ###################################################################


@pytest.fixture
def guest(mariadb, database):
    """The URL of a user with few privileges, which are granted in the test."""
    mariadb.sql("CREATE USER guest@'127.0.0.1' IDENTIFIED BY 'pw-of-guest'")
    yield f"mysql://guest:pw-of-guest@127.0.0.1:{mariadb.port}/{database.name}"
    mariadb.sql("DROP USER guest@'127.0.0.1'")


def test_the_privileges_of_the_documentation_are_enough(tmp_path, mariadb, database):
    url = f"mysql://mailapi:pw-of-mailapi@127.0.0.1:{mariadb.port}/{database.name}"
    recipe = code_in(section(read_page("how-to/mariadb.md"), "Set up the server"), "sql")
    recipe = recipe.replace("'secret' REQUIRE SSL", "'pw-of-mailapi'")
    recipe = recipe.replace("DATABASE mailapi", f"DATABASE IF NOT EXISTS {database.name}")
    recipe = recipe.replace("10.0.0.%", "127.0.0.1").replace("mailapi.*", f"{database.name}.*")
    packet = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    try:
        for statement in filter(str.strip, recipe.split(";")):
            mariadb.sql(statement)
        assert "Created" in run_mailapi(tmp_path, "init", "--dbpath", url, "--admin", "root")
        assert "FAIL" not in run_mailapi(tmp_path, "check")
        site = SiteOnServer(tmp_path / "site", url, state=str(tmp_path / "state"))
        database.sql("UPDATE users SET user_authdata = %s", authdata("pw"))
        assert site("users/?add", user_name="new")["status"] == "ok"
        mariadb.sql(f"REVOKE ALL ON {database.name}.* FROM mailapi@'127.0.0.1'")
        mariadb.sql(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {database.name}.* TO mailapi@'127.0.0.1'"
        )
        for (table,) in database.sql(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            " AND table_name IN ('session', 'audit', 'mailapi_turn')"
        ):
            database.sql(f"DROP TABLE {table}")
        daily = SiteOnServer(tmp_path / "daily", url)
        assert daily("users/?delete", user_name="new")["status"] == "ok" and daily("audit/?get")["audit"]
    finally:
        mariadb.sql("DROP USER IF EXISTS mailapi@'127.0.0.1'")
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {packet}")


def test_a_read_only_server(tmp_path, database, mariadb, guest):
    mariadb.sql(f"GRANT ALL ON {database.name}.* TO guest@'127.0.0.1'")
    create_master_database(database.url)
    state = SiteOnServer(tmp_path / "both", guest)
    site = SiteOnServer(tmp_path / "master", guest, state=str(tmp_path / "state"))
    assert state("?login")["login"] is True
    before = database.sql("SELECT * FROM users")
    mariadb.sql("SET GLOBAL read_only = 1")
    try:
        answer = site("users/?add", user_name="new")
        assert (answer["status"], answer["login"]) == ("attempt to write a readonly database", True)
        assert site("users/?get")["status"] == "ok"
        for password in ("wrong", "pw"):  # nobody gets in while failures cannot be counted
            answer = state("?login", password=password, check=500)
            assert (
                answer["status"] == "The state database cannot be used: attempt to write a readonly database."
            )
    finally:
        mariadb.sql("SET GLOBAL read_only = 0")
    assert database.sql("SELECT * FROM users") == before
    assert state("users/?add", user_name="new")["status"] == "ok"


def test_a_user_without_privileges(tmp_path, database, mariadb, guest, caplog):
    create_master_database(database.url)
    site = SiteOnServer(tmp_path / "master", guest, state=str(tmp_path / "state"))
    assert site("users/?get", check=503)["status"] == UNREACHABLE and "Access denied" in caplog.text
    mariadb.sql(f"GRANT SELECT ON {database.name}.* TO guest@'127.0.0.1'")
    assert site("users/?get")["status"] == "ok"
    assert site("users/?add", check=500, user_name="new")["status"] == UNUSABLE
    mariadb.sql(f"GRANT SELECT, INSERT, UPDATE ON {database.name}.* TO guest@'127.0.0.1'")
    assert site("users/?add", user_name="new")["status"] == "ok"
    assert site("users/?delete", check=500, user_name="new")["status"] == UNUSABLE
    assert "DELETE command denied" in caplog.text
    assert len(database.sql("SELECT 1 FROM users WHERE user_name = 'new'")) == 1
    both = SiteOnServer(tmp_path / "both", guest)
    assert both("?login", check=500)["status"] == "The state database cannot be used. The log has the cause."
    assert "CREATE command denied" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("se%2Fcret%40", "pw-of-nobody"),
        lambda url: url.replace("mail:", "nobody:"),
        lambda url: url[:-1] + "-none",
        lambda url: url.replace("127.0.0.1", "nowhere.invalid"),
        lambda url: url.rpartition(":")[0] + f":{free_port()}/db",
    ],
)
def test_a_server_that_lets_nobody_in(tmp_path, database, change, caplog):
    site = SiteOnServer(tmp_path, change(database.url))
    answer = site.answer("?login", 503, auth={"user_name": "root", "password": "pw"})
    assert (
        answer.json["status"] == UNREACHABLE
        and "login" not in answer.json
        and answer.headers["Retry-After"] == "5"
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    with pytest.raises(mailapi.ApiError):
        create_master_database(change(database.url))


@pytest.mark.parametrize("key", ["dbpath", "state"])
@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:se/cret@h/x",
        "mysql://u:se%2Fcret@[::1/x",
        "mysql://u:se%2Fcret\u2100@h/x",
        "mysql://u:se%2Fcret@h",
        "mysql://u:se%2Fcret@h:0/x",
        "mysql://u:se%2Fcret@h:66000/x",
        "mysql://u:se%2Fcret@h,/x",
        "mysql://u:se%2Fcret@h:y/x",
        "mysql://u:se%2Fcret@h/x?max_connections=0",
        "mysql://u:se%2Fcret@h/x?max_connections=y",
        "mysql://u:se%2Fcret@h/x?max_connections=true",
        "mysql://u:se%2Fcret@h/x?charset=latin1",
        "mysql://u:se%2Fcret@h/x?ssl_verify_identity=true",
        "mysql://u:se%2Fcret@h/x?colour=red",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(tmp_path, url, key):
    with pytest.raises(mailapi.ConfigError) as refused:
        SiteOnServer(tmp_path, **{"url": "x.db3"} | {"url" if key == "dbpath" else key: url})
    assert not [secret for secret in SECRETS if secret in str(refused.value)]


def test_a_mail_that_is_too_large_for_the_server(tmp_path, database, mariadb):
    create_master_database(database.url)
    [(before,)] = mariadb.sql("SELECT @@GLOBAL.max_allowed_packet")
    mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        site = SiteOnServer(tmp_path, database.url)
        site("addresses/?add", address_expression="ann@one.org", address_router="store", address_route="ann")
        site("smtpd/?add", smtpd_user="ann", smtpd_router="any")
        mail = {"user": "ann", "to": "x@else.example", "subject": "large"}
        assert site("mailbox/?send", **mail, text="x" * 100_000)["status"] == "ok"
        answer = site("mailbox/?send", check=413, **mail, text="x\n" * 500_000)
        assert (
            answer["status"]
            == "Too large for the database, which takes 1,048,576 bytes at once (max_allowed_packet)."
        )
        assert database.sql("SELECT COUNT(*) FROM outbox") == [(1,)]
    finally:
        mariadb.sql(f"SET GLOBAL max_allowed_packet = {before}")


########## TLS #####################################################################################


def certificates(folder):
    """Two authorities, ca and other; a certificate for 127.0.0.1 by the first."""

    def openssl(*words):
        subprocess.run([require_program("openssl"), *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("ca", "other"):
        openssl(
            "req",
            "-x509",
            *key,
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    for name, host in (("server", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.example")):
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "names").write_text(f"subjectAltName={host}\n")
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            f"{name}.pem",
        )


def test_tls(tmp_path, caplog):
    certificates(tmp_path)
    server = MariaDB(
        tmp_path / "server",
        *(
            f"--ssl-{what}={tmp_path / file}"
            for what, file in (("ca", "ca.pem"), ("cert", "server.pem"), ("key", "server.key"))
        ),
    )
    try:
        server.sql("ALTER USER mail@'127.0.0.1' REQUIRE SSL")
        server.sql("CREATE DATABASE db")
        url, ca = server.url("db"), tmp_path / "ca.pem"
        create_master_database(f"{url}?ssl_ca={ca}")
        site = SiteOnServer(tmp_path / "site", f"{url}?ssl_ca={ca}&ssl_verify_identity=true")
        assert site("?login")["login"] is True
        site.app.db.connect()
        assert site.app.db.run("SHOW STATUS WHERE Variable_name = 'Ssl_cipher'").fetchone()[1]
        site.app.db.release()
        assert SiteOnServer(tmp_path / "any", url)("?login")["login"] is True  # encrypted, to whoever it is
        wrong = SiteOnServer(tmp_path / "wrong", f"{url}?ssl_ca={tmp_path / 'other.pem'}")
        assert (
            wrong("?login", check=503)["status"] == UNREACHABLE and "certificate verify failed" in caplog.text
        )
        missing = SiteOnServer(tmp_path / "missing", f"{url}?ssl_ca={tmp_path / 'missing.pem'}")
        assert missing("?login", check=503)["status"] == UNREACHABLE and "No such file" in caplog.text
        server.options[1:] = [
            f"--ssl-cert={tmp_path / 'elsewhere.pem'}",
            f"--ssl-key={tmp_path / 'elsewhere.key'}",
        ]
        server.stop(), server.start()
        assert (
            site("?login", check=503)["status"] == UNREACHABLE and "not valid for '127.0.0.1'" in caplog.text
        )
        server.sql("ALTER USER mail@'127.0.0.1' REQUIRE NONE")
        server.options[:] = ["--skip-ssl"]
        server.stop(), server.start()
        caplog.clear()
        assert (
            site("?login", check=503)["status"] == UNREACHABLE and "SSL" in caplog.text
        )  # nobody in between strips it off
    finally:
        server.stop()
