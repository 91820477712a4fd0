"""The threads of `mailapi serve`. One thread at a time serves all connections: it waits for requests and answers them.

If an answer takes long, another thread takes over the connections, so that other requests do not wait. The main thread
checks for such answers, and handles signals.
"""

import collections
import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from waitress import wasyncore

from .poller import Poller

if TYPE_CHECKING:
    from .channel import Channel

log = logging.getLogger("mailapi.serving")
# The thread that has read a request also answers it: to hand it to another thread takes longer than most answers.
PATIENCE = 0.002  # seconds that the loop waits for an answer
IDLE_CHECKS = 100  # checks in a row without an answer, after which the main thread sleeps until there is one
SECONDS_TO_ANSWER = 5  # after SIGTERM, for answers that have begun
SECONDS_TO_SEND = 5  # after that, for answers that are not sent yet
SECONDS_TO_JOIN = 1  # after that, for threads to end


class Loop:
    """The threads of the server, which take turns: the thread whose turn it is waits for events on all connections.

    This is called "running the loop". The thread also answers the requests that arrive. If an answer takes long, the
    turn goes to a spare thread, one that has nothing to do. `threads`: how many, without the main thread. waitress
    adds requests by `add_task`.
    """

    def __init__(self, threads: int):
        self.poller = Poller()
        self.threads = [
            threading.Thread(target=self.work, args=[n == 0], daemon=True) for n in range(threads)
        ]
        self.tasks: collections.deque[Channel] = collections.deque()  # channels with a request to answer
        self.lock = threading.Lock()  # for `tasks` and the next four
        self.turn = 0  # how often a thread has taken over the loop
        self.began: float | None = None  # when the loop began the answer that it is at
        # The threads that wait for their turn, each by the lock for whose release it waits.
        self.spare: list[threading.Lock] = []
        self.answering = 0  # requests
        self.ending = self.over = self.failed = False
        self.sleeping, self.alarm = False, locked()  # the main thread

    def add_task(self, channel: "Channel"):
        """Add a connection to the queue `tasks`: its next request is to be answered. waitress calls this.

        The thread that waits for events on all connections empties the queue. Any other thread must call
        `poller.note_change` after this, to wake that thread.
        """
        self.tasks.append(channel)

    ########## The main thread

    def run(self):
        """Serve requests until `stop` is called. Then finish and send the answers that have begun.

        RuntimeError if a thread has failed.
        """
        for thread in self.threads:
            thread.start()
        self.check_until(lambda: self.ending)
        self.poller.changed.extend(list(self.poller.map.values()))  # they are not readable any more
        self.poller.wake()
        self.check_until(lambda: self.failed or not self.tasks and not self.answering, SECONDS_TO_ANSWER)
        self.check_until(
            lambda: self.failed or not any(map(unsent, list(self.poller.map.values()))), SECONDS_TO_SEND
        )
        self.close()
        if self.failed:
            raise RuntimeError("The server's loop failed.")

    def check_until(self, reached: Callable[[], bool], seconds: float = math.inf):
        """Check every 2 ms for a slow answer, until `reached` returns True or `seconds` have passed.

        A slow answer keeps its thread from waiting for further requests. Then a spare thread, which has nothing to do,
        begins to wait for them. The main thread calls this.
        """
        idle, until = 0, time.monotonic() + seconds
        while not reached() and time.monotonic() < until:
            time.sleep(PATIENCE)
            idle = 0 if self.replace_busy_thread() else idle + 1
            if idle > IDLE_CHECKS and not self.ending:
                self.sleep_until_answer()
                idle = 0

    def replace_busy_thread(self) -> bool:
        """Let a spare thread wait for requests if the thread that does so has been answering one for over 2 ms.

        A spare thread has nothing else to do. Return whether the first thread was answering a request at all.
        """
        began = self.began
        if began is not None and time.monotonic() - began > PATIENCE:
            with self.lock:
                if self.began == began:  # it began because there was a spare thread, and that is still there
                    self.turn, self.began = self.turn + 1, None
                    self.spare.pop().release()
        return began is not None

    def sleep_until_answer(self):
        """Put the main thread to sleep while there is no answer to check: until one begins, or `stop` is called."""
        self.sleeping = True
        if self.began is None and not self.ending:
            self.alarm.acquire()
        self.sleeping = False

    def wake_main_thread(self):
        """End the sleep of the main thread."""
        with contextlib.suppress(RuntimeError):  # another thread did so
            self.alarm.release()

    def stop(self):
        """Make `run` end. Threads and signal handlers may call this, since it waits for no lock."""
        self.ending = True
        self.wake_main_thread()

    def close(self):
        """End the threads, then close all connections and files. If a thread does not end in time, close nothing."""
        with self.lock:
            self.over = True
            for turn in self.spare:
                turn.release()
        self.poller.wake()
        until = time.monotonic() + SECONDS_TO_JOIN
        for thread in self.threads:
            thread.join(max(0, until - time.monotonic()))
        if not any(thread.is_alive() for thread in self.threads):
            self.poller.close()

    ########## The other threads

    def work(self, has_loop: bool):
        """Run one of the threads until the server ends: when it is its turn, wait for events on all connections.

        Otherwise answer a request that no other thread can answer, or wait for the next turn. `has_loop`: True for the
        thread that has the first turn.
        """
        turn = locked()
        try:
            while not self.over:
                if has_loop:
                    self.run_loop()
                if channel := self.take_task(turn):
                    self.answer(channel)
                else:
                    turn.acquire()
                has_loop = not channel
        except BaseException:
            log.exception("the loop failed")
            self.failed = True
            self.stop()

    def take_task(self, turn: threading.Lock) -> "Channel | None":
        """Return a connection whose request the current thread must answer, because no thread is spare.

        Without such a request, return None: the current thread is spare now. It must wait until its lock `turn` is
        released, and then wait for events on all connections.
        """
        with self.lock:
            if self.tasks and not self.spare:
                self.answering += 1
                return self.tasks.popleft()
            self.spare.append(turn)
            if self.over:  # `close` has released the others
                turn.release()
            return None

    def answer(self, channel: "Channel"):
        """Answer the next request of a connection. The caller must have added 1 to `self.answering`."""
        try:
            channel.service()
        except BaseException:
            log.exception("a request failed")
            channel.close_soon()
        with self.lock:
            self.answering -= 1
        self.poller.note_change(channel)

    def run_loop(self):
        """Wait for events on all connections and handle them, until the server ends or a spare thread takes over."""
        turn = self.turn
        self.poller.thread = threading.get_ident()  # first: threads that add a task from now on wake this one
        while not self.over:
            for dispatcher, events in self.poller.poll(wait=not (self.tasks and self.spare)):
                wasyncore.readwrite(dispatcher, events)
                if self.tasks and not self.answer_tasks(turn):
                    return
            if self.tasks and not self.answer_tasks(turn):
                return

    def answer_tasks(self, turn: int) -> bool:
        """Answer the requests in the queue `tasks`. Return False if a spare thread has taken over this thread's turn.

        The spare thread then waits for events on all connections. That happens during a slow answer. Stop early if no
        thread is spare. `turn`: the value of `self.turn` when this thread began to wait for events.
        """
        for _ in range(len(self.tasks)):
            with self.lock:
                if not self.tasks or not self.spare:
                    return True
                channel = self.tasks.popleft()
                self.answering += 1
                self.began = time.monotonic()
            if self.sleeping:
                self.wake_main_thread()
            self.answer(channel)
            with self.lock:
                if self.turn != turn:
                    return False
                self.began = None
        return True


def locked() -> threading.Lock:
    """Return a new lock that is already acquired."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def unsent(dispatcher) -> int:
    """Return how many bytes a connection still has to send. Return 0 for any other object, such as a server."""
    return getattr(dispatcher, "total_outbufs_len", 0)
