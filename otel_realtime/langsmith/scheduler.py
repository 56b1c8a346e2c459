"""Runs tasks on a few daemon threads, now or when they are due again.

A task returns None when it is finished, or how long to wait before it is run once more; so a
delivery that keeps failing occupies no thread while it waits.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Again:
    """Run the task again after this long; ``firm``: a server asked for it, so do not hurry it."""

    after_s: float
    firm: bool = False


Task = Callable[[], "Again | None"]


@dataclass(order=True, slots=True)
class _Entry:
    due: float
    number: int
    task: Task = field(compare=False)
    firm: bool = field(compare=False, default=False)


class Scheduler:
    """A pool of daemon threads, started when there is something to do.

    Args:
        name: of the threads.
        threads: how many there are at most.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a fork's child: forget all tasks; the threads do not exist there."""
        self._changed = threading.Condition()
        self._entries: list[_Entry] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0
        self._stopped = False

    def submit(self, task: Task, after_s: float = 0.0) -> bool:
        """Have a task run; False when the scheduler is stopped."""
        with self._changed:
            if self._stopped:
                return False
            self._push(task, Again(after_s))
            if self._idle < len(self._entries) and self._threads < self._limit:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
            return True

    def hurry(self) -> None:
        """Run everything that waits for our own backoff now."""
        with self._changed:
            for entry in self._entries:
                if not entry.firm:
                    entry.due = 0.0
            heapq.heapify(self._entries)
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads after the tasks they are running; the others are forgotten."""
        with self._changed:
            self._stopped = True
            self._entries.clear()
            self._changed.notify_all()

    def _push(self, task: Task, again: Again) -> None:
        due = time.monotonic() + again.after_s
        heapq.heappush(self._entries, _Entry(due, next(self._numbers), task, again.firm))
        self._changed.notify()

    def _run(self) -> None:
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            while (task := self._next()) is not None:
                again = self._call(task)
                if again is not None:
                    with self._changed:
                        if not self._stopped:
                            self._push(task, again)

    def _call(self, task: Task) -> Again | None:
        try:
            return task()
        except Exception:
            logger.warning("a delivery to LangSmith failed", exc_info=True)
            return None

    def _next(self) -> Task | None:
        with self._changed:
            while not self._stopped:
                wait_s = self._entries[0].due - time.monotonic() if self._entries else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._entries).task
                self._idle += 1
                try:
                    self._changed.wait(wait_s)
                finally:
                    self._idle -= 1
            return None
