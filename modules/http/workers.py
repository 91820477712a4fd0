"""Worker processes of `mailapi serve`, which share its listening sockets, and the supervisor that starts them."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

log = logging.getLogger("mailapi.serving")
SECONDS_TO_END = 15  # after which a worker is killed
PAUSE = 1  # seconds before the successor of a worker that lived no longer, and before the next try to fork
MOST_BY_DEFAULT = 4
END_SIGNALS = {signal.SIGTERM, signal.SIGINT}


class Workers:
    """The supervisor: starts and replaces a number of processes, each of which calls `work(lifeline)`.

    lifeline: a pipe. At its end, which comes when the supervisor ends in any way, the worker must end, too.
    The supervisor has no threads, opens no database and answers no request.
    """

    def __init__(self, number: int, work: Callable[[int], None]):
        self.number, self.work = number, work
        self.started: dict[int, float] = {}  # process id → when
        self.ending = False

    def run(self):
        """Run the workers until SIGTERM or SIGINT, and until all of them have ended. Replace those that end before."""
        self.lifeline, self.lifeline_writer = os.pipe()
        handle_end_signals(self.end)
        signal.signal(signal.SIGALRM, self.kill)
        for _ in range(self.number):
            self.start()
        while self.started:
            pid, status = os.wait()
            if pid not in self.started:  # a child of the program that became this one, or of a container
                continue
            lived = time.monotonic() - self.started.pop(pid)
            if not self.ending:
                log.error("worker %d ended (%s); another one is started", pid, describe(status))
                time.sleep(PAUSE if lived < PAUSE else 0)
                self.start()

    def start(self):
        """Start a worker, unless the end has come. Try again every second if the system refuses."""
        while not self.ending and not self.fork():
            time.sleep(PAUSE)

    def fork(self) -> bool:
        """Fork a worker, unless the end has come. Return False if the system refuses."""
        signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)  # `end` must see the worker in `started`
        try:
            if not self.ending:
                if not (pid := os.fork()):
                    self.become_worker()
                self.started[pid] = time.monotonic()
        except OSError as error:
            log.error("no worker can be started: %s", error.strerror)
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        return True

    def become_worker(self):
        """Work, and end this process."""
        status = 1
        try:
            os.close(self.lifeline_writer)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(
                signal.SIGINT, signal.SIG_IGN
            )  # a terminal sends it to all; the supervisor passes it on
            signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
            self.work(self.lifeline)
            status = 0
        except BaseException:
            log.exception("a worker failed")
        finally:
            with contextlib.suppress(Exception):  # they may be closed
                sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)

    def end(self, *_):
        """Tell all workers to end, and set a time limit. A signal handler."""
        if not self.ending:
            self.ending = True
            signal.alarm(SECONDS_TO_END)
            self.send(signal.SIGTERM)

    def kill(self, *_):
        """Kill the workers that have not ended in time. A signal handler."""
        log.error("%d workers did not end within %d s and are killed", len(self.started), SECONDS_TO_END)
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals):
        for pid in list(self.started):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)


def handle_end_signals(handler: Callable):
    """Call `handler` at SIGTERM and SIGINT, but still ignore what this process was started to ignore."""
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_in_time():
    """Have the system kill this worker if it does not end by itself. Call it if its supervisor has died."""
    signal.alarm(SECONDS_TO_END)


def describe(status: int) -> str:
    """Return how a process ended, by its wait status."""
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def can_fork() -> bool:
    return hasattr(os, "fork")


def usual_number(most: int) -> int:
    """Return the number of workers to start by default: one for each usable core but one, from 1 to MOST_BY_DEFAULT.

    It is at most `most`. One core is left for the web server, the mail daemons and the disk.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Linux; or forbidden by a filter of system calls
        cores = os.cpu_count() or 1
    return max(1, min(cores - 1, MOST_BY_DEFAULT, most)) if can_fork() else 1
