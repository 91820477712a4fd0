"""A limit for what one user may have running at the same time."""

import contextlib
import threading
from collections import Counter

from mailapi import ApiError


class UserLimit:
    """Lets at most `most` requests of a user run at the same time in this process, so that threads are left for others."""

    def __init__(self, most: int):
        self.most, self.running, self.lock = most, Counter[str | None](), threading.Lock()

    @contextlib.contextmanager
    def of(self, user_name: str | None):
        """Count a request of the user while a block runs; ApiError (HTTP 503) where too many run already."""
        with self.lock:
            if self.running[user_name] >= self.most:
                raise ApiError(
                    "Your other searches are still running. Try again.", http=503, retry_after=1, code="busy"
                )
            self.running[user_name] += 1
        try:
            yield
        finally:
            with self.lock:
                self.running[user_name] -= 1
                if not self.running[user_name]:
                    del self.running[user_name]
