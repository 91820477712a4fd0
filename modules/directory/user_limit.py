"""A limit for the requests of one user that run at the same time."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps

from mailapi import ApiError, Config

# One less than SLOTS in clients/base.py, which only installations with services load.
MOST_SERVICE_REQUESTS = 5


def still_running(what: str = "searches") -> ApiError:
    """Return the error (HTTP 503) for one request too many of a user. `what`: the word for them."""
    return ApiError(f"Your other {what} are still running. Try again.", http=503, retry_after=1, code="busy")


class UserLimit:
    """Limits how many requests of one user run at the same time in a process.

    `most`: the highest number. Further requests are refused after `wait` seconds, with the error that `refusal`
    returns.
    """

    def __init__(self, most: int, wait: float = 0, refusal: Callable[[], ApiError] = still_running):
        self.most, self.wait, self.refusal, self.running = most, wait, refusal, Counter[str | None]()
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, user_name: str | None, weight: int = 1):
        """Count one more running request of this user while a `with` block runs.

        `weight`: as how many requests it counts; what counts more than `most` (see the class) counts as `most`.
        ApiError if so many requests of the user are running that together they would count more than that.
        """
        weight = min(weight, self.most)
        with self.changed:
            if not self.changed.wait_for(lambda: self.running[user_name] + weight <= self.most, self.wait):
                raise self.refusal()
            self.running[user_name] += weight
        try:
            yield
        finally:
            with self.changed:
                self.running[user_name] -= weight
                if not self.running[user_name]:
                    del self.running[user_name]
                self.changed.notify_all()


def service_requests(config: Config) -> UserLimit:
    """Return the limit for the requests of one user that use services. It leaves one slot of a service to others.

    Further calls with the same `config` return the same object, so that modules share it.
    """
    return vars(config).setdefault(
        "service_requests", UserLimit(MOST_SERVICE_REQUESTS, 0.1, partial(still_running, "requests"))
    )


def service_turn(call, uses_service: bool) -> contextlib.AbstractContextManager:
    """Return a context manager that counts the request among service_requests(). If not `uses_service`, do nothing."""
    return service_requests(call.config).of(call.user_name) if uses_service else contextlib.nullcontext()


def limited(action: Callable) -> Callable:
    """Decorate an action of a module, so that the UserLimit in the module's attribute `requests` counts its requests.

    A request with a large body, which stays in memory until it is answered, counts more: those of one user can have
    half of the setting max_bodies at the same time. One alone is always admitted.
    """

    @wraps(action)
    def run(module, call):
        limit: UserLimit = module.requests
        share = 2 * limit.most * call.app.large_bodies.of_thread() // call.config.max_bodies
        with limit.of(call.user_name, 1 + share):
            return action(module, call)

    return run
