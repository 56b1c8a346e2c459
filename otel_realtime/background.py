"""One kind of background worker for everything this package does off the app's task.

A job is a callable. It returns None when it is finished, or ``Again`` to be run once more later, so
a delivery that keeps failing occupies no thread while it waits::

    submit -> waiting (due now or later) -> running -> finished
                 ^                             |  |
                 +------- Again(after_s) ------+  +--> failed: it raised; counted, logged once

A worker keeps three promises:

- *No thread is no excuse.* A thread that cannot be started (a container's pid limit, an interpreter
  that is exiting: Python 3.12 starts none then) is tried again at the next call, and a caller that
  waits (``wait_until``) meanwhile runs the jobs itself.
- *No job ends the thread.* Whatever a job raises, ``SystemExit`` included, costs that job only.
- *A thread that died is replaced.* Liveness is asked of the thread, never remembered.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable

# Bound here: an app's test that replaces ``time.sleep`` or ``time.monotonic`` means its own calls.
from time import monotonic, sleep
from typing import Final

from otel_realtime import diagnostics

logger = logging.getLogger(__name__)

#: Longest sleep of a caller in ``wait_until`` between two looks at what it waits for.
_LOOK_S: Final = 0.05
#: A thread that cannot wait for its next job rests this long, and gives up after so many times.
_REST_S: Final = 0.05
_MAX_BROKEN_WAITS: Final = 100


class Again:
    """What a job returns to be run again.

    Attributes:
        after_s: seconds from now.
        firm: a server asked for this wait, so ``hurry`` leaves it alone.
    """

    __slots__ = ("after_s", "firm")

    def __init__(self, after_s: float, *, firm: bool = False) -> None:
        self.after_s = after_s
        self.firm = firm


Job = Callable[[], "Again | None"]
OnFault = Callable[[BaseException], object]


class Ticket:
    """One submitted job."""

    __slots__ = ("_number", "cancelled", "due", "firm", "job", "on_fault")

    def __init__(self, number: int, job: Job, due: float, on_fault: OnFault | None) -> None:
        self._number = number
        self.job = job
        self.due = due
        self.firm = False
        self.on_fault = on_fault
        self.cancelled = False

    def __lt__(self, other: Ticket) -> bool:
        return (self.due, self._number) < (other.due, other._number)

    def cancel(self) -> None:
        """Do not run the job, unless it is running already."""
        self.cancelled = True


class Worker:
    """Runs jobs on a few daemon threads; they start with the first job or ``start``.

    Args:
        name: of the threads.
        threads: how many there are at most.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._name = name
        self._limit = threads
        self._numbers = itertools.count()
        self.reset_after_fork()
        _workers.add(self)

    def reset_after_fork(self) -> None:
        """In a fork's child: forget all jobs; the threads do not exist there."""
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._unfinished = 0
        self._failed = 0
        self._hurries = 0
        self._stopped = False

    # -- jobs ------------------------------------------------------------------------------------

    def submit(
        self, job: Job, *, after_s: float = 0.0, on_fault: OnFault | None = None
    ) -> Ticket | None:
        """Have a job run.

        Args:
            job: what to run.
            after_s: seconds from now.
            on_fault: called, on the job's thread, with what the job raised.

        Returns:
            Its ticket; None when the worker is stopped.
        """
        ticket = Ticket(next(self._numbers), job, monotonic() + after_s, on_fault)
        with self._changed:
            if self._stopped:
                return None
            heapq.heappush(self._waiting, ticket)
            self._unfinished += 1
            self._ensure_threads()
            self._changed.notify()
        return ticket

    def start(self) -> None:
        """Start a thread now: later may be too late, an exiting interpreter starts none."""
        with self._changed:
            if not self._stopped and not self._alive():
                self._start_thread()

    def hurry(self) -> None:
        """Run everything that waits for our own backoff now; what runs, once more if it wants to."""
        with self._changed:
            self._hurries += 1
            for ticket in self._waiting:
                if not ticket.firm:
                    ticket.due = 0.0
            heapq.heapify(self._waiting)
            self._ensure_threads()
            self._changed.notify_all()

    # -- waiting ---------------------------------------------------------------------------------

    def wait_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``done()``, which is asked again after each job.

        Without a living thread the jobs run here, on the caller's.

        Returns:
            False if that took longer than ``timeout_s`` seconds.
        """
        deadline = monotonic() + timeout_s
        while True:
            with self._changed:
                if done():
                    return True
                left_s = deadline - monotonic()
                if left_s <= 0:
                    return False
                self._ensure_threads()
                if self._alive():
                    self._changed.wait(min(left_s, _LOOK_S))
                    continue
                ticket = self._pop_due()
            if ticket is None:
                sleep(min(left_s, _LOOK_S))
            else:
                self._execute(ticket)

    def flush(self, timeout_s: float) -> bool:
        """Wait until every job is finished.

        Returns:
            False if that took longer than ``timeout_s`` seconds, or a job failed since the last
            call.
        """
        self.hurry()
        finished = self.wait_until(lambda: self._unfinished == 0, timeout_s)
        with self._changed:
            failed, self._failed = self._failed, 0
        return finished and not failed

    def stop(self, timeout_s: float) -> bool:
        """Forget the jobs that wait, and end the threads after the ones they run.

        Returns:
            False if a thread still runs after ``timeout_s`` seconds.
        """
        with self._changed:
            self._stopped = True
            self._unfinished -= len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        deadline = monotonic() + timeout_s
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(deadline - monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)

    def resume(self) -> None:
        """Take jobs again after ``stop``."""
        with self._changed:
            self._stopped = False

    # -- threads ---------------------------------------------------------------------------------

    def _alive(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return bool(self._threads)

    def _ensure_threads(self) -> None:
        """Start a thread if jobs wait that no idle one will take."""
        if not self._waiting or self._stopped:
            return
        if not self._alive():
            self._idle = 0
        if self._idle < len(self._waiting) and len(self._threads) < self._limit:
            self._start_thread()

    def _start_thread(self) -> None:
        name = f"{self._name}-{len(self._threads) + 1}" if self._limit > 1 else self._name
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # out of threads, or exiting: the next call tries again
            diagnostics.warn_once(
                ("thread", self._name), "%s: no thread can be started (%s)", self._name, error
            )
            return
        self._threads.append(thread)

    def _run(self) -> None:
        # What a delivery does must not be traced by the app's other instrumentations.
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        broken_waits = 0
        with suppress_instrumentation():
            while broken_waits < _MAX_BROKEN_WAITS:
                try:
                    ticket = self._next()
                except BaseException as error:  # noqa: BLE001 - a patched wait() must not end us
                    diagnostics.report(f"{self._name}: waiting", error)
                    broken_waits += 1
                    sleep(_REST_S)
                    continue
                if ticket is None:
                    return
                broken_waits = 0
                self._execute(ticket)

    def _next(self) -> Ticket | None:
        """Wait for a job that is due; None when the worker is stopped, or was reset."""
        changed = self._changed
        with changed:
            while not self._stopped and changed is self._changed:
                ticket = self._pop_due()
                if ticket is not None:
                    return ticket
                wait_s = self._waiting[0].due - monotonic() if self._waiting else None
                self._idle += 1
                try:
                    changed.wait(wait_s)
                finally:
                    self._idle = max(self._idle - 1, 0)
            return None

    def _pop_due(self) -> Ticket | None:
        while self._waiting and (self._waiting[0].cancelled or self._waiting[0].due <= monotonic()):
            ticket = heapq.heappop(self._waiting)
            if not ticket.cancelled:
                return ticket
            self._unfinished -= 1
        return None

    def _execute(self, ticket: Ticket) -> None:
        again: Again | None = None
        failed, hurries, changed = False, self._hurries, self._changed
        try:
            again = ticket.job()
        except BaseException as error:  # noqa: BLE001 - costs this job, not the thread
            failed = True
            diagnostics.report(self._name, error)
            self._tell(ticket, error)
        with changed:
            if changed is not self._changed:
                return  # reset meanwhile: not a job of this process any more
            self._failed += failed
            if again is None or self._stopped:
                self._unfinished -= 1
            else:
                hurried = hurries != self._hurries and not again.firm
                ticket.due = 0.0 if hurried else monotonic() + again.after_s
                ticket.firm = again.firm
                heapq.heappush(self._waiting, ticket)
            self._changed.notify_all()

    def _tell(self, ticket: Ticket, error: BaseException) -> None:
        if ticket.on_fault is None:
            return
        try:
            ticket.on_fault(error)
        except BaseException as fault:  # noqa: BLE001 - as above
            diagnostics.report(f"{self._name}: on_fault", fault)


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _after_fork() -> None:
    for worker in list(_workers):
        worker.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
