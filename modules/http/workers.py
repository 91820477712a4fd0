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


# The supervisor has no threads, opens no database and answers no request.
class Workers:
    """A supervisor that starts `number` worker processes, and replaces those that end.

    `work`: the function that each worker calls, with the file descriptor of a pipe. The pipe is closed when the
    supervisor ends for any reason. The worker must end then, too.
    """

    def __init__(self, number: int, work: Callable[[int], None]):
        self.number, self.work = number, work
        self.started: dict[int, float] = {}  # process id → when
        self.ending = False

    def run(self):
        """Start the workers, and replace those that end, until SIGTERM or SIGINT. Return when all have ended."""
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
        """Start a worker process, unless the supervisor is ending. If the system refuses, try again every second."""
        while not self.ending and not self.fork():
            time.sleep(PAUSE)

    def fork(self) -> bool:
        """Start a worker process, unless the supervisor is ending. Return False if the system refuses."""
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
        """Turn the current process, which was just forked, into a worker: call `self.work`, then end the process."""
        status = 1
        try:
            os.close(self.lifeline_writer)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A terminal sends it to all processes, and the supervisor passes it on.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        """Send SIGTERM to all workers, and set an alarm to kill those that are too slow. This is a signal handler."""
        if not self.ending:
            self.ending = True
            signal.alarm(SECONDS_TO_END)
            self.send(signal.SIGTERM)

    def kill(self, *_):
        """Kill the workers that have not ended in time. This is the signal handler of the alarm."""
        log.error("%d workers did not end within %d s and are killed", len(self.started), SECONDS_TO_END)
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals):
        for pid in list(self.started):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)


def handle_end_signals(handler: Callable):
    """Call `handler` on SIGTERM and SIGINT. A signal that is ignored already, as under nohup, stays ignored."""
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_in_time():
    """Let the system kill this worker process if it has not ended in 15 s. Call this when its supervisor died."""
    signal.alarm(SECONDS_TO_END)


def describe(status: int) -> str:
    """Return how a process ended, such as "exit status 1". `status`: its wait status, from os.wait()."""
    code = os.waitstatus_to_exitcode(status)
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def can_fork() -> bool:
    return hasattr(os, "fork")


def usual_number(most: int) -> int:
    """Return the default number of workers: one less than the usable processor cores, but at least 1 and at most 4.

    `most`: a further upper limit.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on Linux; or forbidden by a filter of system calls
        cores = os.cpu_count() or 1
    return max(1, min(cores - 1, MOST_BY_DEFAULT, most)) if can_fork() else 1
