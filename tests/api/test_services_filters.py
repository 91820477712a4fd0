"""The managesieve service: filter scripts are stored, activated and nobody else's."""

import pytest
from mailapi_modules.clients.base import ServiceDown

from support.services import deliver_by_lmtp, imap_messages, service_client

pytestmark = pytest.mark.slow


GOOD = 'require "fileinto";\nif header :contains "subject" "invoice" { fileinto "Archive"; }\n'
BROKEN = 'require "fileinto";\nif header :contains "subject" { fileinto ;\n'


def test_mail_is_filtered_by_the_active_script(site_without_filters, dovecot):
    def ask(action, **fields):
        return site_without_filters(f"services/?sieve_{action}", user="bob", **fields)

    refused = ask("put", script_name="mine", script=BROKEN)["status"]
    assert refused.startswith("mine: line 3: error: ") and "\r" not in refused
    assert ask("list")["scripts"] == []
    assert ask("put", script_name="mine", script=GOOD)["status"] == "ok"
    assert ask("list")["scripts"] == [{"script_name": "mine", "active": False}]
    deliver_by_lmtp(dovecot, "bob", "invoice 1")
    assert ask("activate", script_name="mine")["status"] == "ok"
    assert ask("list")["scripts"] == [{"script_name": "mine", "active": True}]
    assert ask("get", script_name="mine")["script"] == GOOD
    deliver_by_lmtp(dovecot, "bob", "invoice 2")
    assert any(b"invoice 1" in mail for mail in imap_messages(dovecot, "bob"))
    assert not any(b"invoice 2" in mail for mail in imap_messages(dovecot, "bob"))
    assert any(b"invoice 2" in mail for mail in imap_messages(dovecot, "bob", "Archive"))
    assert "active" in ask("delete", script_name="mine")["status"].lower()
    assert ask("deactivate")["status"] == ask("delete", script_name="mine")["status"] == "ok"
    assert ask("list")["scripts"] == []


def test_scripts_are_ones_own(site_without_filters):
    site_without_filters("services/?sieve_put", user="bob", script_name="secret", script="keep;")
    assert site_without_filters("services/?sieve_list", user="ann")["scripts"] == []
    assert site_without_filters("services/?sieve_get", user="ann", script_name="secret")["status"] != "ok"
    assert site_without_filters("services/?sieve_delete", user="dele", script_name="secret")["status"] != "ok"
    assert site_without_filters("services/?sieve_get", user="bob", script_name="secret")["script"] == "keep;"


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
def test_any_name_comes_back_as_it_was(site_without_filters, name):
    assert (
        site_without_filters("services/?sieve_put", user="bob", script_name=name, script=f"# {name}\nkeep;")[
            "status"
        ]
        == "ok"
    )
    assert site_without_filters("services/?sieve_list", user="bob")["scripts"] == [
        {"script_name": name, "active": False}
    ]
    assert (
        site_without_filters("services/?sieve_get", user="bob", script_name=name)["script"]
        == f"# {name}\nkeep;"
    )


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
def test_a_name_that_none_can_have_is_refused_before_it_is_sent(site_without_filters, name):
    site_without_filters("services/?sieve_put", user="bob", script_name="kept", script="keep;")
    for action in ("put", "get", "activate", "delete"):
        answer = site_without_filters(
            f"services/?sieve_{action}", user="bob", check=400, script_name=name, script="keep;"
        )
        assert answer["status"] == "Invalid value for script_name."
    assert site_without_filters("services/?sieve_list", user="bob")["scripts"] == [
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
def test_nothing_in_a_script_ends_it(site_without_filters, script):
    site_without_filters("services/?sieve_put", user="bob", script_name="kept", script="keep;")
    status = site_without_filters("services/?sieve_put", user="bob", script_name="other", script=script)[
        "status"
    ]
    names = [
        row["script_name"] for row in site_without_filters("services/?sieve_list", user="bob")["scripts"]
    ]
    if status == "ok":
        assert (
            site_without_filters("services/?sieve_get", user="bob", script_name="other")["script"] == script
        )
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
def test_no_user_name_reaches_anothers_scripts_or_mail(site_without_filters, dovecot, user_name):
    site_without_filters("services/?sieve_put", user="ann", script_name="anns", script="keep;")
    for kind, act in (
        ("managesieve", lambda client: client.scripts(user_name, None)),
        ("imap", lambda client: client.quota(user_name, None)),
    ):
        with pytest.raises(ServiceDown, match="it refused the log-in|it takes no such user name"):
            act(service_client(dovecot, kind))
