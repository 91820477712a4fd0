"""A limit for the requests of one user that run at the same time."""

import contextlib
import threading
from collections import Counter

from mailapi import ApiError


class UserLimit:
    """Limits how many requests of one user run at the same time in a process.

    `most`: the highest number. Further requests are refused after `wait` seconds.
    """

    def __init__(self, most: int, wait: float = 0):
        self.most, self.wait, self.running = most, wait, Counter[str | None]()
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, user_name: str | None):
        """Count one more running request of this user while a `with` block runs.

        ApiError (HTTP 503) if `most` requests of the user (see the class) are running already.
        """
        with self.changed:
            if not self.changed.wait_for(lambda: self.running[user_name] < self.most, self.wait):
                raise ApiError(
                    "Your other searches are still running. Try again.", http=503, retry_after=1, code="busy"
                )
            self.running[user_name] += 1
        try:
            yield
        finally:
            with self.changed:
                self.running[user_name] -= 1
                if not self.running[user_name]:
                    del self.running[user_name]
                self.changed.notify_all()
