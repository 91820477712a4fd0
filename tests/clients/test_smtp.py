"""The smtp service: its credentials are nobody else's business."""

import pytest
from mailapi_modules.clients.base import ServiceDown, clients
from mailapi_modules.clients.deadline import Deadline, failure_reason

import mailapi
from support import hostile


@pytest.mark.parametrize("mechanism", [b"PLAIN", b"LOGIN", b"CRAM-MD5"])
def test_a_password_that_cannot_be_sent_is_not_shown_to_senders(mechanism):
    hello = b"250-smtp.example\r\n250 AUTH " + mechanism + b"\r\n"
    with hostile.misbehaving_server(
        hostile.repeating(b"220 hello\r\n" + hello + b"334 dGVzdA==\r\n" * 3)
    ) as port:
        setting = {"url": f"smtp://127.0.0.1:{port}", "user": "mailapi", "password": "Geheimniß"}
        smtp = clients(mailapi.Config("", {}, services={"smtp": setting}))["smtp"]
        with pytest.raises(ServiceDown) as refused:
            smtp.send("ann@one.org", ["bob@one.org"], b"Subject: hello\r\n")
    sentence = "The smtp service cannot be used: its user and password in config.py must be ASCII."
    assert (refused.value.status, refused.value.audit) == (sentence, sentence)


def test_text_that_cannot_be_encoded_is_in_no_sentence():
    for fail in (lambda: "Geheimniß".encode("ascii"), lambda: "Geheimniß".encode().decode("ascii")):
        with pytest.raises(UnicodeError) as failed:
            fail()
        assert failure_reason(failed.value, Deadline(60, 0)) == "ordinal not in range(128)"
