"""Fixtures that all tests share, and which tests run, in which order."""

import pytest

pytest.register_assert_rewrite("support")  # before anything of it is imported

from support import engines  # noqa: E402
from support.site import OPTIONAL, Site  # noqa: E402

pytest_plugins = [
    "support.accounts",
    "support.chromium",
    "support.command_line",
    "support.dav",
    "support.deployment",
    "support.dovecot",
    "support.every_service",
    "support.failed_log_ins",
    "support.failures",
    "support.fuzzed_site",
    "support.imap_mailbox",
    "support.mailserver_site",
    "support.mariadb",
    "support.outgoing",
    "support.panel_browser",
    "support.servers",
    "support.services",
    "support.slow_clients",
]  # imported instead, a server would be started for each file


def pytest_collection_modifyitems(config, items):
    """Leave out what is not for the engine. Begin with what is slow, so that no worker is left alone with it."""
    if engines.ENGINE != "sqlite":
        left_out = [
            item
            for item in items
            if not item.get_closest_marker("every_engine") or item.get_closest_marker("sqlite")
        ]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def engine():
    yield
    engines.give_back_databases()


@pytest.fixture
def site(tmp_path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def site8(tmp_path) -> Site:
    return Site(tmp_path, generation=8)


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def either(request, tmp_path) -> Site:
    """The same installation in both generations, one test each."""
    return Site(tmp_path, generation=request.param)


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def either_with_all_modules(request, tmp_path) -> Site:
    return Site(tmp_path, request.param, OPTIONAL)


@pytest.fixture
def both(tmp_path) -> tuple[Site, Site]:
    """The two generations side by side: 9 and 8."""
    folders = [tmp_path / "9", tmp_path / "8"]
    for folder in folders:
        folder.mkdir()
    return Site(folders[0]), Site(folders[1], generation=8)
