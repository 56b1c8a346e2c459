"""One pass over a state directory: all data of dead processes is delivered.

A process is dead when its record lock is free; the lock is held here while the process's data is
handled. Conversations of this process and of any other live process are not touched. Whatever one file,
folder or owner contains, the others are delivered; unreadable data is named in the report.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import NewerFormatError, RecordingError
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.encoding import Batch
from otel_realtime.langsmith.ids import run_id
from otel_realtime.recovery.combine import combine
from otel_realtime.recovery.deliver import (
    AwaitsExporters,
    Destinations,
    NotDelivered,
    OnItsWay,
    deliver,
    is_claimed,
)
from otel_realtime.recovery.replay import Replayed, replay
from otel_realtime.settings import Settings
from otel_realtime.state import owner, spool
from otel_realtime.state.bounds import alone, tidy
from otel_realtime.state.files import is_folder, remove_folder
from otel_realtime.state.journal import JOURNAL, is_torn
from otel_realtime.state.quota import quota_of

if TYPE_CHECKING:
    from otel_realtime.langsmith.exporter import DirectExporter

logger = logger_of(__name__)

#: A lock file without anything else may belong to a process that is just starting.
_NEW_S: Final = 60.0
#: Limits of what a log line names of unreadable data: number of items, and characters of a path.
_NAMED: Final = 5
_PATH_CHARACTERS: Final = 200
#: Fractions of the remaining time: for all conversations of a process, for each, and for its spool.
_CONVERSATIONS: Final = 2 / 3
_EACH: Final = 1 / 3
_SPOOL: Final = 1 / 2
_EACH_MOST_S: Final = 15.0
Say = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """The result of a sweep.

    Attributes:
        conversations: one row for each: ``id``, ``thread_id``, ``delivered``, ``what``.
        spans: number of spans of the spool that were delivered.
        spans_left: number of spans of the spool that were not.
        spans_lost: number of spans of the spool that LangSmith refused for good.
        unreadable: one row for each item that could not be read: ``path`` below the state
            directory, ``why``. The item stays where it is.
        awaits_exporters: number of conversations left only because the app has no exporters yet.
    """

    conversations: list[dict[str, Any]] = field(default_factory=list)
    spans: int = 0
    spans_left: int = 0
    spans_lost: int = 0
    unreadable: list[dict[str, str]] = field(default_factory=list)
    awaits_exporters: int = 0

    def cannot_read(self, state_dir: Path, path: Path, error: object) -> str:
        """Record an unreadable item, which stays where it is; return the line for the log."""
        where = _plain(str(path.relative_to(state_dir)))[:_PATH_CHARACTERS]
        why = _plain(str(error) or type(error).__name__)
        if path.parent == state_dir / owner.CONVERSATIONS:
            self.conversations.append(
                {"id": None, "thread_id": None, "delivered": False, "what": why}
            )
        self.unreadable.append({"path": where, "why": why})
        return f"{where}: left: {why}"

    @property
    def left(self) -> int:
        """Number of conversations that are still on disk."""
        return sum(not row["delivered"] for row in self.conversations)

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not (self.left or self.spans_left or self.unreadable)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "delivered": len(self.conversations) - self.left,
            "left": self.left,
            "spans_delivered": self.spans,
            "spans_left": self.spans_left,
            "spans_lost": self.spans_lost,
            "conversations": self.conversations,
            "unreadable": self.unreadable,
        }


def recover(
    settings: Settings,
    *,
    timeout_s: float,
    live: Callable[[], set[Path]] = set,
    say: Say = logger.info,
    provider: object = None,
    awaits_exporters: bool = False,
) -> Report:
    """Deliver the data of dead processes.

    Args:
        settings: the state directory and its bounds.
        timeout_s: longest wait in seconds, for everything together; the rest is left for next time.
        live: returns the folders of this process's live conversations.
        say: called with one line for each step.
        provider: the app's ``TracerProvider``, whose processors get the spans that were open;
            ``None``: there is no app.
        awaits_exporters: the provider may still get exporters: the data for them waits.
    """
    report, state_dir = Report(), settings.state_dir
    if not owner.CAN_LOCK:
        say("recovery needs POSIX record locks, which this system does not have")
        return report
    quota_of(state_dir).limit(settings.state_max_mb * 1_000_000)
    with alone(), ExitStack() as locks:
        tidy(settings, live())
        for path, why in misplaced(state_dir):
            say(report.cannot_read(state_dir, path, why))
        names = instances(state_dir)
        if names:
            to = Destinations(
                settings, time.monotonic() + timeout_s, provider, awaits_exporters=awaits_exporters
            )
            processes = (DeadProcess(state_dir, name, to, report, say) for name in names)
            try:
                for process in [process for process in processes if process.recover(locks)]:
                    process.conclude()
            finally:
                to.close()
    if report.unreadable:
        logger.warning(
            "recovery could not read %d files or folders in %s, which stay there: %s",
            len(report.unreadable),
            state_dir,
            "; ".join(f"{row['path']} ({row['why']})" for row in report.unreadable[:_NAMED]),
        )
    return report


def has_work(state_dir: Path) -> bool:
    """Return whether another process left anything here; cheap."""
    return bool(instances(state_dir))


def instances(state_dir: Path) -> list[str]:
    """Return the ids of all processes that left something, including those with only a lock file."""
    found = {owner.owner_of(path): None for path in _in(state_dir / owner.CONVERSATIONS)}
    found.update({path.name: None for path in _in(state_dir / owner.SPOOL)})
    now = time.time()
    for path in _in(state_dir / owner.OWNERS):
        if path.suffix == ".lock" and now - _changed(path) > _NEW_S:
            found.setdefault(path.stem)
    return [name for name in found if name != owner.instance_id()]


def misplaced(state_dir: Path) -> Iterator[tuple[Path, str]]:
    """Yield the state directory's own folders that are not folders or are unreadable, and why."""
    for name in (owner.CONVERSATIONS, owner.OWNERS, owner.SPOOL):
        path = state_dir / name
        if os.path.lexists(path) and not is_folder(path):
            yield path, "not a folder"
            continue
        try:
            os.listdir(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            yield path, error.strerror or type(error).__name__


def _plain(text: str) -> str:
    """Return text that can be written anywhere, in one line, whatever bytes a file's name has."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _in(folder: Path) -> list[Path]:
    if not is_folder(folder):
        return []
    try:
        return sorted(folder.iterdir(), key=_changed)
    except OSError:
        return []


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class DeadProcess:
    """The data of one dead process, whose lock is held while the data is delivered.

    A delivery that LangSmith does not answer holds up nothing else: it gets a share of the time,
    continues in the background while the rest is delivered, and is checked again at the end.

    Args:
        state_dir: the state directory.
        instance: the process's id.
        to: the destinations.
        report: receives the results.
        say: called with one line for each step.
        each_s: longest wait for a single delivery, in seconds, before the rest is handled.
    """

    def __init__(
        self,
        state_dir: Path,
        instance: str,
        to: Destinations,
        report: Report,
        say: Say,
        *,
        each_s: float = _EACH_MOST_S,
    ) -> None:
        self._each_s = each_s
        self.state_dir = state_dir
        self.instance = instance
        self._to = to
        self._report = report
        self._say = say
        self._spool = state_dir / owner.SPOOL / instance
        self._lock = state_dir / owner.OWNERS / f"{instance}.lock"
        #: The parent of each span in the spool, by the span's id, file by file.
        self._batches: dict[Path, dict[int, int]] = {}
        self._spooled: dict[int, int] = {}
        #: Roots that are in the spool, and that the runs API delivers after all.
        self._roots: set[int] = set()
        self._late: list[tuple[Replayed, OnItsWay]] = []
        #: Number of spans to send from each file, and the exporters that send them.
        self._counts: dict[Path, int] = {}
        self._exporters: list[DirectExporter] = []

    def recover(self, locks: ExitStack) -> bool:
        """Deliver the data, and remove all traces of the process if everything was accepted.

        Args:
            locks: keeps the process's lock as long as a delivery is in progress.

        Returns:
            Whether a delivery is in progress, so that ``conclude`` must be called.
        """
        with ExitStack() as lock, self._guarded():
            if not lock.enter_context(owner.taken_over(self.state_dir, self.instance)):
                return False
            self._look_into_spool()
            with self._to.share(_CONVERSATIONS):
                for folder in self._conversations():
                    with self._to.share(_EACH, self._each_s), self._guarded():
                        self._conversation(folder)
            with self._to.share(_SPOOL, self._each_s), self._guarded():
                self._send_spool()
            if self._late or self._on_their_way():
                locks.enter_context(lock.pop_all())
                return True
            self._finish()
        return False

    @property
    def is_settled(self) -> bool:
        """Whether every delivery in progress is answered, so that ``conclude`` does not wait."""
        roots = all(late.is_answered() for _, late in self._late)
        return roots and all(exporter.is_settled for exporter in self._exporters)

    def conclude(self) -> None:
        """Wait for the deliveries in progress, until the deadline."""
        for found, late in self._late:
            with self._guarded():
                self._settle(found, late.settle)
        for exporter in self._exporters:
            exporter.flush(self._to.left_s)
        with self._guarded():
            self._finish()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Limit the effect of an error in the block to this process's data."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - named in the report
            let_through(error)
            self._cannot_read(self._lock, error)

    def _cannot_read(self, path: Path, error: object) -> None:
        self._say(self._report.cannot_read(self.state_dir, path, error))

    def _conversations(self) -> Iterator[Path]:
        for folder in _in(self.state_dir / owner.CONVERSATIONS):
            if owner.owner_of(folder) == self.instance:
                yield folder

    # -- conversations ---------------------------------------------------------------------------

    def _conversation(self, folder: Path) -> None:
        if not is_folder(folder):
            self._cannot_read(folder, "not a folder")
            return
        try:
            found = replay(folder)
        except NewerFormatError as error:
            self._cannot_read(folder, error)
            return
        except RecordingError as error:
            self._without_header(folder, str(error))
            return
        except BaseException as error:  # noqa: BLE001 - its content affects this one only
            let_through(error)
            self._cannot_read(folder, f"{type(error).__name__}: {error}")
            return
        self._settle(found, partial(self._deliver, found))

    def _deliver(self, found: Replayed) -> str:
        if found.by_otlp and is_claimed(found, self._spooled):
            self._roots.add(found.header.root_span_id)
        return deliver(found, self._to, self._spooled)

    def _settle(self, found: Replayed, deliver: Callable[[], str]) -> None:
        try:
            what, delivered = deliver(), True
        except OnItsWay as late:
            self._late.append((found, late))
            return
        except NotDelivered as reason:
            what, delivered = str(reason), False
            self._report.awaits_exporters += isinstance(reason, AwaitsExporters)
        except BaseException as error:
            let_through(error)
            logger.warning("cannot recover a conversation", exc_info=True)
            what, delivered = f"{type(error).__name__}: {error}", False
        self._tell(found, delivered, what)
        if delivered:
            self._delete(found.folder)

    def _without_header(self, folder: Path, why: str) -> None:
        """Delete a folder whose journal has no complete first line: nothing is sent before that line."""
        try:
            stillborn = is_torn(folder)
        except FileNotFoundError:
            stillborn = not (folder / JOURNAL).is_symlink()
        except OSError:
            stillborn = False
        if stillborn:
            shutil.rmtree(folder, ignore_errors=True)
        if os.path.lexists(folder):
            self._cannot_read(folder, why)

    def _delete(self, folder: Path) -> None:
        remove_folder(folder, JOURNAL)
        if os.path.lexists(folder):
            self._cannot_read(folder, "it was delivered, but cannot be deleted")

    def _tell(self, found: Replayed, delivered: bool, what: str) -> None:
        header = found.header
        own = run_id(header.root_span_id)
        self._report.conversations.append(
            {
                "id": own,
                "thread_id": header.who.thread_id,
                "delivered": delivered,
                "what": what,
            }
        )
        how = "delivered" if delivered else "left"
        self._say(f"conversation {header.who.thread_id} ({own}): {how}: {what}")

    # -- spans -----------------------------------------------------------------------------------

    def _look_into_spool(self) -> None:
        if os.path.lexists(self._spool) and not is_folder(self._spool):
            self._cannot_read(self._spool, "not a folder")
            return
        combine(self._spool)
        for path in spool.files(self._spool):
            try:
                self._batches[path] = encoding.span_parents(spool.read(path)[1])
                self._spooled |= self._batches[path]
            except BaseException as error:  # noqa: BLE001 - unreadable, so it stays
                let_through(error)
                self._cannot_read(path, error)

    def _send_spool(self) -> None:
        waiting: dict[tuple[str, str], list[Path]] = {}
        for path, ids in self._batches.items():
            self._counts[path] = len(ids.keys() - self._roots)
            label, _ = spool.read(path)
            waiting.setdefault((label.api_url, label.project), []).append(path)
        for address, paths in waiting.items():
            try:
                exporter = self._to.spans(*address)
            except NotDelivered as reason:
                self._say(f"spans of {len(paths)} batches are left: {reason}")
                continue
            self._exporters.append(exporter)
            for path in paths:
                self._adopt(exporter, path)
            exporter.flush(self._to.left_s)

    def _adopt(self, exporter: DirectExporter, path: Path) -> None:
        label, body = spool.read(path)
        if self._roots.isdisjoint(self._batches[path]):
            exporter.adopt(Batch(body, len(self._batches[path]), 0, label.size), path)
            return
        batch = encoding.without(body, self._roots)
        if batch is None:
            spool.remove(path)
        else:
            exporter.adopt(batch, path)

    def _on_their_way(self) -> bool:
        """Return whether LangSmith has not yet answered for all spans of the spool."""
        return bool(self._exporters) and any(path.exists() for path in self._counts)

    # -- afterwards ------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Count the sent spans, and remove the process's lock if none of its data is left."""
        left = sum(count for path, count in self._counts.items() if path.exists())
        lost = sum(exporter.refused for exporter in self._exporters)
        sent = sum(self._counts.values()) - left - lost
        self._report.spans += sent
        self._report.spans_left += left
        self._report.spans_lost += lost
        if self._counts:
            refused = f", {lost} refused for good" if lost else ""
            self._say(f"{sent} spans delivered, {left} left{refused}")
        for exporter in self._exporters:
            exporter.shutdown(0)
        for part in self._spool.glob("*.part"):
            spool.remove(part)
        try:
            if os.path.lexists(self._spool):
                self._spool.rmdir()
        except OSError:
            return
        if next(self._conversations(), None) is None:
            self._lock.unlink(missing_ok=True)
