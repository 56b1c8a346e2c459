"""The background worker that runs everything this package does outside of the app's task.

A job is a callable. It returns ``None`` when it is finished, or ``Again`` to run again later, so a
delivery that keeps failing occupies no thread while it waits::

    submit -> waiting (due now or later) -> running -> finished
                 ^                             |  |
                 +------- Again(after_s) ------+  +--> failed: it raised; counted, logged once

A worker guarantees four things:

- *Jobs also run without a thread.* If a thread cannot be started (a container's pid limit; from
  Python 3.12 an exiting interpreter starts none), the next call tries again, and a caller blocked
  in ``wait_until`` runs the jobs itself.
- *No job ends the thread.* An exception, even ``SystemExit``, ends only the job that raised it; a job
  submitted with ``repeats`` runs again.
- *A dead thread is replaced.* Liveness is read from the thread, never stored.
- *A slow job does not delay the others*, if the worker has a ``patience_s``: after that time the job no
  longer counts as running, so the next one starts on another thread.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import weakref
from collections.abc import Callable
from contextvars import Context

# Bound at import, so that an app's test that patches ``time.sleep`` does not affect our threads.
from time import monotonic, sleep
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)

#: Polling interval of ``wait_until``; polling is needed because a thread that dies sends no notification.
_POLL_S: Final = 0.05
#: An extra thread, started because of a slow job, ends after it has been idle for this time.
SURPLUS_S: Final = 1.0
#: Pause after waiting for the next job failed, and number of consecutive failures that end the thread.
_REST_S: Final = 0.05
_MAX_BROKEN_WAITS: Final = 100
#: Delay after which a job with ``repeats`` runs again if it raised.
_FAULT_S: Final = 1.0

#: Part of Python's error message (3.12 and later) for a thread started while the interpreter exits.
_EXITING: Final = "interpreter shutdown"


class Again:
    """Return value of a job that is to run again.

    Attributes:
        after_s: delay, in seconds.
        floor_s: part of the delay that ``hurry`` does not shorten, in seconds: the delay that a
            server asked for (``Retry-After``), or one that keeps a caller that flushes constantly
            from repeating a request constantly.
    """

    __slots__ = ("after_s", "floor_s")

    def __init__(self, after_s: float, *, floor_s: float = 0.0) -> None:
        self.after_s = after_s
        self.floor_s = min(floor_s, after_s)


Job = Callable[[], "Again | None"]
OnFault = Callable[[BaseException], object]


class Ticket:
    """A submitted job, the time (``monotonic``) at which it is due, and its earliest time if hurried."""

    __slots__ = ("_number", "cancelled", "due", "earliest", "job", "on_fault", "repeats")

    def __init__(
        self,
        number: int,
        job: Job,
        due: float,
        on_fault: OnFault | None,
        repeats: bool = False,
    ) -> None:
        self._number = number
        self.job = job
        self.due = due
        self.earliest = 0.0
        self.on_fault = on_fault
        self.repeats = repeats
        self.cancelled = False

    def __lt__(self, other: Ticket) -> bool:
        # Order of the heap: jobs due at the same time run in the order of submission.
        return (self.due, self._number) < (other.due, other._number)

    def cancel(self) -> None:
        """Cancel the job; a job that is already running completes."""
        self.cancelled = True


class Worker:
    """Runs jobs on a bounded number of daemon threads, started by the first job or by ``start``.

    All methods are thread-safe.

    Args:
        name: name of the threads.
        threads: maximum number of jobs at a time.
        patience_s: number of seconds after which a running job no longer counts towards
            ``threads``; ``None`` means that it always counts.
        most: maximum number of threads, including those with slow jobs; at least ``threads``.
    """

    def __init__(
        self, name: str, threads: int = 1, *, patience_s: float | None = None, most: int = 0
    ) -> None:
        self._name = name
        self._at_a_time = threads
        self._patience_s = patience_s
        self._limit = max(threads, most)
        self._numbers = itertools.count()
        self.reset_after_fork()
        _workers.add(self)

    def reset_after_fork(self) -> None:
        """Forget all jobs, in a forked child, which has none of the parent's threads."""
        # A new condition: a thread of the parent may have held the old one during the fork.
        self._changed = threading.Condition()
        self._waiting: list[Ticket] = []
        self._threads: list[threading.Thread] = []
        self._running: dict[Ticket, float] = {}  # job -> when it started (``monotonic``)
        self._idle = 0
        self._unfinished = 0
        self._failed = 0
        self._hurries = 0
        self._stopped = False

    # -- jobs --------------------------------------------------------------------------------------

    def submit(
        self,
        job: Job,
        *,
        after_s: float = 0.0,
        on_fault: OnFault | None = None,
        repeats: bool = False,
    ) -> Ticket | None:
        """Schedule a job.

        Args:
            job: callable to run.
            after_s: delay, in seconds.
            on_fault: called on the job's thread with the exception if the job raises.
            repeats: whether the job lives as long as the process: if it raises, it runs again after
                a second.

        Returns:
            The job's ticket; ``None`` if the worker is stopped.
        """
        with self._changed:
            if self._stopped:
                return None
            due = monotonic() + after_s
            ticket = Ticket(next(self._numbers), job, due, on_fault, repeats)
            heapq.heappush(self._waiting, ticket)
            self._unfinished += 1
            self._ensure_threads()
            self._changed.notify()
        return ticket

    def start(self) -> None:
        """Start a thread in advance, because an exiting interpreter can no longer start one."""
        with self._changed:
            if not self._stopped and not self._alive():
                self._start_thread()

    def hurry(self) -> None:
        """Run all waiting jobs now, or when the ``floor_s`` of their delay has passed.

        A job that is running now and returns ``Again`` runs again after its ``floor_s``, by default at once.
        """
        with self._changed:
            self._hurries += 1  # ``_execute`` compares it to detect a hurry during its job
            for ticket in self._waiting:
                ticket.due = min(ticket.due, ticket.earliest)
            heapq.heapify(self._waiting)
            self._ensure_threads()
            self._changed.notify_all()

    # -- waiting -----------------------------------------------------------------------------------

    def wait_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``done()`` is true; it is evaluated under the worker's lock after each job.

        Without a live worker thread, the jobs run on the calling thread.

        Args:
            done: condition to wait for.
            timeout_s: longest wait, in seconds.

        Returns:
            ``False`` on timeout.
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
                    self._changed.wait(min(left_s, _POLL_S))
                    continue
                ticket = self._take_due()
            if ticket is None:
                sleep(min(left_s, _POLL_S))
            else:  # outside the lock: a job may submit others
                self._execute(ticket)

    def flush(self, timeout_s: float) -> bool:
        """Run all jobs now and wait until they are finished.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``False`` on timeout, or if a job failed since the previous call.
        """
        self.hurry()
        finished = self.wait_until(lambda: self._unfinished == 0, timeout_s)
        with self._changed:
            failed, self._failed = self._failed, 0
        return finished and not failed

    def stop(self, timeout_s: float) -> bool:
        """Discard the waiting jobs, and end each thread after the job that it is running.

        Args:
            timeout_s: longest wait, in seconds.

        Returns:
            ``False`` if a thread is still running after that time.
        """
        with self._changed:
            self._stopped = True
            self._unfinished -= len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            threads = list(self._threads)
        deadline = monotonic() + timeout_s
        for thread in threads:
            if thread is not threading.current_thread():  # a job may stop its own worker
                thread.join(max(deadline - monotonic(), 0.0))
        return not any(thread.is_alive() for thread in threads)

    def resume(self) -> None:
        """Accept jobs again after ``stop``."""
        with self._changed:
            self._stopped = False

    # -- threads -----------------------------------------------------------------------------------

    @property
    def has_thread(self) -> bool:
        """Whether there is a live thread to run jobs."""
        with self._changed:
            return self._alive()

    # Methods up to ``_start_thread`` are called with the lock held.

    def _alive(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return bool(self._threads)

    def _ensure_threads(self) -> None:
        """Start a thread if more jobs are waiting than threads are idle."""
        if not self._waiting or self._stopped:
            return
        if not self._alive():
            self._idle = 0  # a thread that died while it waited did not decrement the count
            self._running.clear()
        # At most ``_at_a_time`` idle threads are needed, however many jobs wait for a slow one.
        wanted = min(len(self._waiting), self._at_a_time)
        if self._idle < wanted and len(self._threads) < self._limit:
            self._start_thread()

    def _start_thread(self) -> None:
        several = self._at_a_time > 1 or self._threads
        name = f"{self._name}-{len(self._threads) + 1}" if several else self._name
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            # In an empty context: OpenTelemetry's ThreadingInstrumentor and a free-threaded Python pass on
            # the context of the starting thread, which would stay current, and in memory, permanently.
            # https://docs.python.org/3/library/threading.html#threading.Thread
            Context().run(thread.start)
        except RuntimeError as error:  # no thread left, or exiting interpreter: retried later
            if _EXITING in str(error):  # the caller that waits for the jobs at exit runs them
                return
            diagnostics.warn_once(
                ("thread", self._name),
                "cannot start thread %s (%s): recording and delivery are delayed until a thread can "
                "be started; check the thread limit of the process",
                self._name,
                error,
            )
            return
        self._threads.append(thread)

    def _run(self) -> None:
        # The app's HTTP instrumentation must not trace our own deliveries.
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        broken_waits = 0
        with suppress_instrumentation():
            while broken_waits < _MAX_BROKEN_WAITS:
                try:
                    ticket = self._next()
                except BaseException as error:  # noqa: BLE001 - e.g. a patched wait()
                    diagnostics.report(f"{self._name}: waiting", error)
                    broken_waits += 1
                    sleep(_REST_S)
                    continue
                if ticket is None:
                    return
                broken_waits = 0
                self._execute(ticket)
                del ticket  # otherwise an idle thread keeps its last job (a whole call) in memory

    def _next(self) -> Ticket | None:
        """Wait for a job that is due; return ``None`` if this thread must end."""
        changed = self._changed
        with changed:
            while not self._stopped and changed is self._changed:
                full_s = self._full_s()
                ticket = None if full_s else self._take_due()
                if ticket is not None:
                    self._ensure_threads()  # another thread must wait for the next job
                    self._mention_slow_jobs()
                    return ticket
                wait_s = None
                if self._waiting:
                    wait_s = max(self._waiting[0].due - monotonic(), full_s)
                surplus = len(self._threads) > self._at_a_time and wait_s is None
                self._idle += 1
                try:
                    woken = changed.wait(SURPLUS_S if surplus else wait_s)
                finally:
                    self._idle = max(self._idle - 1, 0)
                if surplus and not woken and not self._waiting and self._leave():
                    return None
            return None

    def _leave(self) -> bool:
        """Remove this thread from the list if it is not needed; called with the lock held."""
        if len(self._threads) <= self._at_a_time:
            return False
        self._threads = [each for each in self._threads if each is not threading.current_thread()]
        return True

    def _full_s(self) -> float:
        """Return for how many seconds no further job may start; 0 means that one may start now."""
        if self._patience_s is None:
            return 0.0
        since = monotonic() - self._patience_s
        began = sorted(start for start in self._running.values() if start > since)
        # There is room once the oldest of the jobs that fill the limit no longer counts.
        return began[-self._at_a_time] - since if len(began) >= self._at_a_time else 0.0

    def _mention_slow_jobs(self) -> None:
        """Warn once that a job starts although a slow job is still running."""
        if self._patience_s is not None and len(self._running) > self._at_a_time:
            diagnostics.warn_once(
                ("slow", self._name),
                "a job of %s has been running for more than %g s: a server, a disk or a function of "
                "the app is slow; other jobs go on beside it, on at most %d threads",
                self._name,
                self._patience_s,
                self._limit,
            )

    def _take_due(self) -> Ticket | None:
        """Remove a job that is due and return it for execution; ``None`` if no job is due."""
        ticket = self._pop_due()
        if ticket is not None:
            self._running[ticket] = monotonic()
        return ticket

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
        except BaseException as error:  # noqa: BLE001 - ends this job, not the thread
            failed = True
            diagnostics.report(self._name, error)
            self._call_on_fault(ticket, error)
            if ticket.repeats:
                again = Again(_FAULT_S, floor_s=_FAULT_S)
        with changed:
            if changed is not self._changed:
                return  # reset meanwhile: it is no longer a job of this process
            self._failed += failed
            self._running.pop(ticket, None)
            if again is None or self._stopped:
                self._unfinished -= 1
            else:
                # A hurry during the job could not find it among the waiting jobs.
                hurried, now = hurries != self._hurries, monotonic()
                ticket.due = now + (again.floor_s if hurried else again.after_s)
                ticket.earliest = now + again.floor_s if again.floor_s else 0.0
                heapq.heappush(self._waiting, ticket)
            self._changed.notify_all()

    def _call_on_fault(self, ticket: Ticket, error: BaseException) -> None:
        if ticket.on_fault is None:
            return
        try:
            ticket.on_fault(error)
        except BaseException as fault:  # noqa: BLE001 - as above
            diagnostics.report(f"{self._name}: on_fault", fault)


#: All workers, to be reset in a forked child.
_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _after_fork() -> None:
    for worker in list(_workers):
        worker.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
