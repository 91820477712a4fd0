"""The antispam and antivirus services: what is clean, spam or a virus."""

import base64

import pytest

from support.servers import EICAR, GTUBE
from support.services import CLEAN_MAIL, site_with_services

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scanners(tmp_path_factory, spamd, clamd):
    return site_with_services(tmp_path_factory.mktemp("scanners"), spamd, clamd)


def test_clean_text_is_clean(scanners):
    answer = scanners("services/?scan", user="bob", message=CLEAN_MAIL)
    assert answer["status"] == "ok" and answer["antivirus"] == {"clean": True, "signature": None}
    assert (
        answer["antispam"]["spam"] is False
        and answer["antispam"]["score"] < answer["antispam"]["threshold"] == 5
    )


def test_spam_is_spam(scanners):
    found = scanners("services/?scan", user="bob", message=CLEAN_MAIL + GTUBE)["antispam"]
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
    site = site_with_services(tmp_path, antivirus=f"clamd://{clamd.ports['unix']}")
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
