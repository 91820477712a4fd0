"""The audit's record of a request: the fields that a module declares as identifiers, and never a secret."""

import json
import logging
import textwrap

import pytest

import mailapi
from support.command_line import run_mailapi, run_on_terminal
from support.site import MODULES, OPTIONAL, Site

VAULT = '''
    """Vault: somebody else's module, which needs secrets."""

    from mailapi import Module, anyone, endpoint, secret


    class Vault(Module):
        {identifiers}

        @endpoint(required={{"user_name": "Whose?", "password": "Which password?", "key": "Which key?"}},
                  optional={{"key": secret}}, allow=anyone)
        def open(self, call):
            """Open it."""
            return {{"length": len(call.body["key"])}}
'''


@pytest.fixture(params=["", 'identifiers = ("user_name",)'], ids=["as_before", "with_identifiers"])
def vault(request, tmp_path) -> Site:
    file = tmp_path / "vault.py"
    file.write_text(textwrap.dedent(VAULT.format(identifiers=request.param)))
    site = Site(tmp_path, extra={"Vault": str(file)})
    site.named = bool(request.param)
    return site


def test_a_secret_that_a_module_needs_is_neither_recorded_nor_logged(vault, caplog):
    caplog.set_level(logging.DEBUG)
    fields = {"user_name": "ann", "password": "open-sesame", "key": "k3y-of-ann"}
    for auth in ({"user_name": "bob", "password": "pw"}, {}):
        vault.raw("vault/?open", json.dumps(fields | {"auth": auth}).encode())
    vault(
        "vault/?open", user="bob", password="wrong", **{name: fields[name] for name in ("user_name", "key")}
    )
    stored = b"".join(file.read_bytes() for file in vault.file.parent.glob("master.db3.state*")).decode(
        "latin-1"
    )
    answer = json.dumps(vault("audit/?get"))
    targets = [row["audit_target"] for row in vault("audit/?get", audit_module="vault")["audit"]]
    assert len(targets) == 2 and set(targets) == ({"ann", ""} if vault.named else {""})
    for secret in ("open-sesame", "k3y-of-ann"):
        assert all(secret not in words for words in (stored, answer, caplog.text))


def test_a_secret_cannot_be_declared_as_an_identifier():
    with pytest.raises(TypeError, match="key is no identifier"):

        class Leaking(mailapi.Module):
            identifiers = ("key",)

            @mailapi.endpoint(
                required={"key": "Which?"}, optional={"key": mailapi.secret}, allow=mailapi.anyone
            )
            def open(self, call):
                """Open."""


SHORT = {mailapi.php_text, mailapi.whole_number, mailapi.optional_number, mailapi.address}
ALSO = {
    "address_order",
    "address_old_order",
    "mail_id",
    "part",
    "address1",
    "address2",
    "addresses",
    "sender",
    "recipients",
    "script_name",
}  # ids, addresses, a short name


@pytest.mark.parametrize("generation", [9, 8])
def test_every_needed_field_of_ours_is_an_identifier_and_short(tmp_path, generation):
    """A field that is needed and must not be in the audit has to be left out on purpose, here too."""
    app = Site(tmp_path, generation, OPTIONAL | {"MSA": "modules/msa.py"}).app
    for module in app.modules.values():
        for endpoint in module.endpoints.values():
            kinds = endpoint.fields(mailapi.GENERATIONS[generation])
            for name in endpoint.needed(mailapi.GENERATIONS[generation]):
                assert name in endpoint.identifiers, (module.path, endpoint.name, name)
                assert kinds[name] in SHORT or name in ALSO, (module.path, endpoint.name, name)


########## Secrets on the command line #############################################################


@pytest.fixture
def folder(vault, tmp_path):
    modules = MODULES | {"Vault": str(tmp_path / "vault.py")}
    (tmp_path / "config.py").write_text(f"dbpath = {vault.place!r}\nmodulelist = {modules!r}\n")
    return tmp_path


@pytest.mark.sqlite
@pytest.mark.parametrize("asked_for", [[], ["key"], ["key=-"]])
def test_the_command_line_reads_a_secret_without_echo(folder, asked_for):
    said = run_on_terminal(
        folder,
        "call",
        "vault",
        "open",
        "user_name=ann",
        "password=x",
        *asked_for,
        answers=[(b"key: ", b"k3y-of-ann\n")],
    )
    assert b"length: 10" in said and b"k3y" not in said


@pytest.mark.sqlite
def test_the_command_line_asks_for_a_password_that_is_only_named(folder):
    said = run_on_terminal(
        folder,
        "call",
        "users",
        "set_password",
        "user_name=bob",
        "user_authdata",
        answers=[(b"user_authdata: ", b"fresh-one\n")],
    )
    assert b"ok" in said and b"fresh" not in said
    app = mailapi.create_app(folder / "config.py")
    app.db.connect()
    assert mailapi.verify("fresh-one", app.credentials("bob")["user_authdata"])


@pytest.mark.sqlite
def test_without_a_terminal_nothing_is_asked_for(folder):
    assert "Which key?" in run_mailapi(
        folder, "call", "vault", "open", "user_name=ann", "password=x", check=1
    )
