"""Chromium, driven by Selenium."""

import pytest
from selenium import webdriver

from support.instances import require_program

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A driver of a new Chromium, which logs what pages ask for and what the browser complains of."""
    options = webdriver.ChromeOptions()
    options.binary_location = require_program("chromium")
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(require_program("chromedriver")))
    yield driver
    driver.quit()
