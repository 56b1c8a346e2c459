"""One pass over a state directory: whatever belongs to a dead process is delivered.

A process is dead when its record lock is free; the lock is held here while its things are worked
on. The conversations of this process and of any other that lives are not touched. Whatever one file,
folder or owner holds, the others are delivered; what could not be read is named in the report.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from otel_realtime.errors import NewerFormatError, RecordingError
from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.encoding import Batch
from otel_realtime.langsmith.ids import run_id
from otel_realtime.recovery.deliver import Destinations, NotDelivered, deliver, is_claimed
from otel_realtime.recovery.replay import Replayed, replay
from otel_realtime.settings import Settings
from otel_realtime.state import owner, spool
from otel_realtime.state.bounds import alone, tidy
from otel_realtime.state.journal import JOURNAL

logger = logging.getLogger(__name__)

#: A lock file without anything else may belong to a process that is just starting.
_NEW_S: Final = 60.0
#: What a log line names of what could not be read.
_NAMED: Final = 5
_PATH_CHARACTERS: Final = 200
Say = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What a sweep came to.

    Attributes:
        conversations: one row for each: ``id``, ``thread_id``, ``delivered``, ``what``.
        spans: spans of the spool that were delivered.
        spans_left: spans of the spool that were not.
        unreadable: one row for each other thing that could not be read: ``path`` below the state
            directory, ``why``. It stays where it is.
    """

    conversations: list[dict[str, Any]] = field(default_factory=list)
    spans: int = 0
    spans_left: int = 0
    unreadable: list[dict[str, str]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Conversations that are still on disk."""
        return sum(not row["delivered"] for row in self.conversations)

    @property
    def complete(self) -> bool:
        """True if nothing was left behind."""
        return not (self.left or self.spans_left or self.unreadable)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "delivered": len(self.conversations) - self.left,
            "left": self.left,
            "spans_delivered": self.spans,
            "spans_left": self.spans_left,
            "conversations": self.conversations,
            "unreadable": self.unreadable,
        }


def recover(
    settings: Settings,
    *,
    timeout_s: float,
    live: Callable[[], set[Path]] = set,
    say: Say = logger.info,
) -> Report:
    """Deliver what dead processes left.

    Args:
        settings: the state directory and its bounds.
        timeout_s: nothing is waited for longer than this in all; the rest is left for next time.
        live: returns the folders of this process's conversations that go on.
        say: told of each step in one line.
    """
    report, state_dir = Report(), settings.state_dir
    if not owner.CAN_LOCK:
        say("recovery needs POSIX record locks, which this system does not have")
        return report
    with alone():
        tidy(settings, live())
        names = instances(state_dir)
        if not names:
            return report
        to = Destinations(settings, time.monotonic() + timeout_s)
        try:
            for name in names:
                _recover_instance(_DeadProcess(state_dir, name, to, report, say))
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


def _recover_instance(process: _DeadProcess) -> None:
    """Deliver what one process left; nothing it holds is in the way of the others."""
    try:
        with owner.taken_over(process.state_dir, process.instance) as mine:
            if mine:
                process.deliver_all()
    except Exception as error:  # noqa: BLE001 - named in the report
        process.cannot_read(process.state_dir / owner.OWNERS / f"{process.instance}.lock", error)


def has_work(state_dir: Path) -> bool:
    """Return whether another process left anything here; cheap."""
    return bool(instances(state_dir))


def instances(state_dir: Path) -> list[str]:
    """Ids of all processes that left something, those with a lock file only included."""
    found = {owner.owner_of(path): None for path in _in(state_dir / owner.CONVERSATIONS)}
    found.update({path.name: None for path in _in(state_dir / owner.SPOOL)})
    now = time.time()
    for path in _in(state_dir / owner.OWNERS):
        if path.suffix == ".lock" and now - _changed(path) > _NEW_S:
            found.setdefault(path.stem)
    return [name for name in found if name != owner.instance_id()]


def _in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=_changed)
    except OSError:
        return []


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class _DeadProcess:
    """What one dead process left; its lock is held while it is delivered."""

    def __init__(
        self, state_dir: Path, instance: str, to: Destinations, report: Report, say: Say
    ) -> None:
        self.state_dir = state_dir
        self.instance = instance
        self._to = to
        self._report = report
        self._say = say
        self._spool = state_dir / owner.SPOOL / instance
        self._spooled: set[int] = set()
        #: Roots that went into the spool and are delivered by the runs API after all.
        self._roots: set[int] = set()

    def deliver_all(self) -> None:
        """Deliver all of it, and leave no trace of the process if all was accepted."""
        self._look_into_spool()
        for folder in self._conversations():
            self._conversation(folder)
        self._send_spool()
        self._clean_up()

    def cannot_read(self, path: Path, error: object) -> None:
        """Name something that stays where it is."""
        where = str(path.relative_to(self.state_dir))
        why = str(error) or type(error).__name__
        if path.parent.name == owner.CONVERSATIONS:
            self._report.conversations.append(
                {"id": None, "thread_id": None, "delivered": False, "what": why}
            )
        self._report.unreadable.append({"path": where[:_PATH_CHARACTERS], "why": why})
        self._say(f"{where}: left: {why}")

    def _conversations(self) -> Iterator[Path]:
        for folder in _in(self.state_dir / owner.CONVERSATIONS):
            if owner.owner_of(folder) == self.instance:
                yield folder

    # -- conversations ---------------------------------------------------------------------------

    def _conversation(self, folder: Path) -> None:
        try:
            found = replay(folder)
        except NewerFormatError as error:
            self.cannot_read(folder, error)
            return
        except RecordingError as error:
            self._without_header(folder, str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever stands in it costs this one only
            self.cannot_read(folder, f"{type(error).__name__}: {error}")
            return
        try:
            if found.by_otlp and is_claimed(found, self._spooled):
                self._roots.add(found.header.root_span_id)
            what, delivered = deliver(found, self._to, self._spooled), True
        except NotDelivered as reason:
            what, delivered = str(reason), False
        except Exception as error:
            logger.warning("cannot recover a conversation", exc_info=True)
            what, delivered = f"{type(error).__name__}: {error}", False
        if delivered:
            shutil.rmtree(folder, ignore_errors=True)
        self._tell(found, delivered, what)

    def _without_header(self, folder: Path, why: str) -> None:
        """Nothing was sent before the journal's first line stood: without it nothing is missing."""
        try:
            with (folder / JOURNAL).open("rb") as journal:
                stillborn = not journal.readline().endswith(b"\n")
        except FileNotFoundError:
            stillborn = True
        except OSError:
            stillborn = False
        if stillborn:
            shutil.rmtree(folder, ignore_errors=True)
            return
        self.cannot_read(folder, why)

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
        for path in spool.files(self._spool):
            try:
                self._spooled |= encoding.span_ids(spool.read(path)[1])
            except Exception as error:  # noqa: BLE001 - whatever it holds, it stays
                self.cannot_read(path, error)

    def _send_spool(self) -> None:
        waiting: dict[tuple[str, str], list[Path]] = {}
        counts: dict[Path, int] = {}
        for path in spool.files(self._spool):
            try:
                label, body = spool.read(path)
                encoding.span_ids(body)
            except Exception:  # noqa: BLE001 - named already
                continue
            counts[path] = label.spans
            waiting.setdefault((label.api_url, label.project), []).append(path)
        for (api_url, project), paths in waiting.items():
            try:
                exporter = self._to.langsmith(api_url, project).spans
                for path in paths:
                    self._adopt(exporter, path)
                exporter.flush(self._to.left_s)
            except NotDelivered as reason:
                self._say(f"spans of {len(paths)} batches are left: {reason}")
        left = sum(count for path, count in counts.items() if path.exists())
        self._report.spans += sum(counts.values()) - left
        self._report.spans_left += left
        if counts:
            self._say(f"{sum(counts.values()) - left} spans delivered, {left} left")

    def _adopt(self, exporter: Any, path: Path) -> None:
        label, body = spool.read(path)
        batch: Batch | None = Batch(body, label.spans, 0, label.size)
        if self._roots and not self._roots.isdisjoint(encoding.span_ids(body)):
            batch = encoding.without(body, self._roots)
            if batch is None:
                spool.remove(path)
                return
        exporter.adopt(batch, path)

    # -- afterwards ------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Remove the process's lock if nothing of it is left."""
        for part in self._spool.glob("*.part"):
            spool.remove(part)
        try:
            if self._spool.exists():
                self._spool.rmdir()
        except OSError:
            return
        if next(self._conversations(), None) is None:
            (self.state_dir / owner.OWNERS / f"{self.instance}.lock").unlink(missing_ok=True)
