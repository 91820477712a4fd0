"""All services of an installation at once."""

import pytest

SERVICE_MODULE = {"Service": "modules/services.py"}
SERVICE_KINDS = ["smtp", "imap", "pop", "dav", "antispam", "antivirus", "managesieve"]


@pytest.fixture
def settings_of_every_service(request):
    """The settings of all services, in the order of the table in the docs."""
    servers = [
        request.getfixturevalue(name) for name in ("smtp_sink", "dovecot", "radicale", "spamd", "clamd")
    ]
    found = {kind: setting for server in servers for kind, setting in server.setting.items()}
    return {kind: found[kind] for kind in SERVICE_KINDS}
