"""``otel-realtime recover --watch``: delivers data that processes leave in a state directory, as it appears.

It looks for the same data as a single recovery: everything under an instance id whose lock is free. That
is the data of a dead process, and data that a live one has released (``Settings.deliver = "worker"``). The
lock decides, never a pid, so it works as well in another container with a PID namespace of its own, and
each of several watchers takes what the others have not.

A unit is all data under one id. Units are handled in parallel::

    appears -> taken: rendered, sent -+-> delivered, deleted
       ^                              +-> on its way: LangSmith is slow or away; the sender retries
       +-- after a pause that grows --+-> left: refused, no key, cannot be read
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from otel_realtime.background import Worker
from otel_realtime.diagnostics import logger_of
from otel_realtime.langsmith.statuses import Backoff
from otel_realtime.recovery.deliver import Destinations
from otel_realtime.recovery.sweep import DeadProcess, Report, instances, misplaced
from otel_realtime.settings import Settings
from otel_realtime.state import owner
from otel_realtime.state.bounds import alone, tidy_but, units_of
from otel_realtime.state.quota import quota_of

logger = logger_of(__name__)

#: Maximum number of units that are rendered and sent, and of units that wait for LangSmith's answer.
_AT_WORK: Final = 4
_ON_THEIR_WAY: Final = 8
#: Longest wait for a single delivery before the rest of its unit is handled, in seconds. A delivery that
#: is not answered by then and cannot be checked later is sent again, so this is not a small number.
_EACH_S: Final = 10.0
#: A unit on its way is kept until it is answered: for ten years, because lock timeouts are limited.
_FOREVER_S: Final = 315_360_000.0
#: Interval at which answers are checked, in seconds.
_POLL_S: Final = 0.2
#: Pauses before a unit that was left is tried again.
_PAUSES: Final = Backoff(first_s=5.0, ceiling_s=300.0)

#: Receives one row: its kind (``conversation``, ``spans``, ``unreadable``), and its values.
Tell = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class Totals:
    """The result of a watch.

    Attributes:
        delivered: number of conversations that were delivered.
        spans: number of spans of the spool that were delivered.
        left: number of units that are still on disk and belong to no live process.
    """

    delivered: int = 0
    spans: int = 0
    left: int = 0


@dataclass(slots=True)
class _Unit:
    """All data under one instance id, while it is handled.

    Attributes:
        instance: the id.
        to: its destinations.
        report: its results.
        locks: hold the id's lock while a delivery is in progress.
        process: delivers it.
        late: a delivery is in progress.
        over: it was handled, and no delivery is in progress; set by the thread that handled it.
    """

    instance: str
    to: Destinations
    report: Report
    process: DeadProcess
    locks: ExitStack = field(default_factory=ExitStack)
    late: bool = False
    over: bool = False

    def take(self) -> None:
        """Deliver it, on a thread of the watch."""
        try:
            self.late = self.process.recover(self.locks)
        finally:
            self.over = not self.late

    def conclude(self) -> None:
        """Count what was answered, and release the lock."""
        try:
            if self.late:
                self.process.conclude()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Stop its senders, and release the lock; data that is not accepted stays."""
        self.to.close()
        self.locks.close()


class Watch:
    """Watches one state directory; used by one thread, which must be the main one to get signals.

    Args:
        settings: the state directory and its bounds.
        interval_s: time between two looks at the directory, in seconds.
        grace_s: time for delivering the remaining data after SIGTERM, in seconds.
        tell: called for everything that was delivered, and once for what was not.
    """

    def __init__(
        self, settings: Settings, *, interval_s: float, grace_s: float, tell: Tell
    ) -> None:
        self._settings = settings
        self._state_dir = settings.state_dir
        self._interval_s = max(interval_s, _POLL_S)
        self._grace_s = grace_s
        self._tell = tell
        self._totals = Totals()
        self._worker = Worker("otel-realtime-watch", _AT_WORK)
        self._busy: dict[str, _Unit] = {}
        #: Units that were left: failures in a row, and when to try again (``monotonic``).
        self._left: dict[str, tuple[int, float]] = {}
        self._said: set[tuple[str, ...]] = set()
        #: Units that were tried since SIGTERM; ``None`` before.
        self._tried: set[str] | None = None

    def run(self) -> Totals:
        """Watch until SIGTERM, then deliver the remaining data within the grace period, and return."""
        quota_of(self._state_dir).limit(self._settings.state_max_mb * 1_000_000)
        with alone(), _terminating() as signals:
            try:
                self._watch(signals)
                self._drain(signals)
            finally:
                self._stop()
        self._totals.left = len(self._left)
        return self._totals

    def _watch(self, signals: _Signals) -> None:
        due = 0.0
        while not signals.count:
            now = time.monotonic()
            if now >= due:
                due = now + self._interval_s
                self._look()
            self._settle()
            wait_s = _POLL_S if self._busy else max(due - time.monotonic(), 0.0)
            signals.wait(min(wait_s, max(due - time.monotonic(), 0.0)))

    def _drain(self, signals: _Signals) -> None:
        """Deliver the remaining data, trying each unit once more; a second signal ends that, too."""
        deadline, self._tried = time.monotonic() + self._grace_s, set()
        self._left = {instance: (failures, 0.0) for instance, (failures, _) in self._left.items()}
        while signals.count < 2 and time.monotonic() < deadline:
            self._look()
            self._settle()
            if not self._busy:
                return
            signals.wait(min(_POLL_S, max(deadline - time.monotonic(), 0.0)))

    def _stop(self) -> None:
        for unit in self._busy.values():
            # A unit that a thread still handles ends with this process, which holds its lock.
            self._left.setdefault(unit.instance, (1, 0.0))
            if unit.late:
                unit.let_go()
        self._worker.stop(0)

    # -- units -------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Take the units that belong to no live process."""
        if not self._state_dir.is_dir():
            return
        for path, why in misplaced(self._state_dir):
            self._say("unreadable", {"path": path.name, "why": why})
        busy = self._busy.keys()
        tidy_but(self._settings, lambda: _paths_of(self._state_dir, set(busy)))
        found, now = instances(self._state_dir), time.monotonic()
        for gone in self._left.keys() - set(
            found
        ):  # another watcher delivered it, or it was too old
            del self._left[gone]
        for instance in found:
            if len(self._busy) >= _AT_WORK + _ON_THEIR_WAY:
                return
            if instance in busy or self._left.get(instance, (0, 0.0))[1] > now:
                continue
            if self._tried is not None and instance in self._tried:
                continue
            # Checked first, because most belong to live processes: nothing is created for those.
            if not owner.lives(self._state_dir, instance):
                self._take(instance)

    def _take(self, instance: str) -> None:
        if self._tried is not None:
            self._tried.add(instance)
        to = Destinations(self._settings, time.monotonic() + _FOREVER_S)
        report = Report()
        process = DeadProcess(
            self._state_dir, instance, to, report, partial(logger.debug, "%s"), each_s=_EACH_S
        )
        unit = self._busy[instance] = _Unit(instance, to, report, process)
        self._worker.submit(unit.take)

    def _settle(self) -> None:
        """Conclude the units that are over, or have been answered."""
        for unit in list(self._busy.values()):
            if unit.over or (unit.late and unit.process.is_settled):
                unit.conclude()
                del self._busy[unit.instance]
                self._report(unit)

    def _report(self, unit: _Unit) -> None:
        report = unit.report
        for row in report.conversations:
            if row["id"] is not None:  # otherwise it is also among the unreadable ones
                self._say("conversation", row)
        if report.spans:
            self._say("spans", {"delivered": report.spans, "left": report.spans_left})
        for unreadable in report.unreadable:
            self._say("unreadable", unreadable)
        self._totals.delivered += len(report.conversations) - report.left
        self._totals.spans += report.spans
        if report.complete:
            self._left.pop(unit.instance, None)
            return
        failures = self._left.get(unit.instance, (0, 0.0))[0] + 1
        self._left[unit.instance] = failures, time.monotonic() + _PAUSES.wait_s(failures)

    def _say(self, kind: str, row: dict[str, Any]) -> None:
        """Report a row; report one that is tried again and again only if something is new."""
        key = (kind, *map(str, row.values()))
        if kind == "spans" or key not in self._said:
            self._tell(kind, row)
        if not row.get("delivered"):
            self._said.add(key)


def _paths_of(state_dir: Path, instances: set[str]) -> set[Path]:
    """Return the paths under these ids, none of which may be deleted by the bounds."""
    return {unit.path for unit in units_of(state_dir) if unit.instance in instances}


class _Signals:
    """SIGTERM as an event that can be waited for.

    Attributes:
        count: number of signals so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)

    def came(self, *_: object) -> None:
        """Note a signal; called between two steps of the main thread, so it takes no lock."""
        self.count += 1
        with suppress(OSError):
            os.write(self._writes, b".")

    def wait(self, timeout_s: float) -> None:
        """Wait for the next signal."""
        ready, _, _ = select.select([self._reads], [], [], timeout_s)
        if ready:
            os.read(self._reads, 64)

    def close(self) -> None:
        os.close(self._reads)
        os.close(self._writes)


@contextmanager
def _terminating() -> Iterator[_Signals]:
    """Only count SIGTERM within the block."""
    signals = _Signals()
    before = signal.signal(signal.SIGTERM, signals.came)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
        signals.close()


def describe(kind: str, row: dict[str, Any]) -> str:
    """Return a row as one line for human readers."""
    if kind == "conversation":
        how = "delivered" if row["delivered"] else "left"
        return f"conversation {row['thread_id']} ({row['id']}): {how}: {row['what']}"
    if kind == "spans":
        return f"{row['delivered']} spans delivered, {row['left']} left"
    return f"{row['path']}: left: {row['why']}"


#: The folders below the state directory.
FOLDERS: Final = (owner.CONVERSATIONS, owner.OWNERS, owner.SPOOL)
