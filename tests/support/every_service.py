"""All services of an installation at once."""

import pytest

SERVICE = {"Service": "modules/services.py"}
KINDS = ["smtp", "imap", "pop", "dav", "antispam", "antivirus", "managesieve"]


@pytest.fixture
def every(request):
    """The settings of all services, in the order of the table in the docs."""
    servers = [
        request.getfixturevalue(name) for name in ("smtp_sink", "dovecot", "radicale", "spamd", "clamd")
    ]
    found = {kind: setting for server in servers for kind, setting in server.setting.items()}
    return {kind: found[kind] for kind in KINDS}
