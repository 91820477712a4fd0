"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

LONGEST_WAIT = 60  # seconds: long enough on a busy machine, so that only what never happens fails


def wait_until(happened: Callable[[], object], otherwise: str = "it never happened"):
    """Call `happened` again and again until it returns something true; AssertionError(otherwise) after LONGEST_WAIT."""
    until = time.monotonic() + LONGEST_WAIT
    while not happened():
        if time.monotonic() >= until:
            raise AssertionError(otherwise)
        time.sleep(0.01)
