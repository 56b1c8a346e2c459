"""Bounds of the state directory: undelivered data is deleted if it is too old, or too much.

The oldest data is deleted first, conversations and batches of spans alike. Data of a live
conversation or of another live process is never touched.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_realtime import diagnostics
from otel_realtime.diagnostics import logger_of
from otel_realtime.state import owner, spool
from otel_realtime.state.files import is_folder
from otel_realtime.state.quota import quota_of

if TYPE_CHECKING:
    from otel_realtime.settings import Settings

logger = logger_of(__name__)

_DAY_S: Final = 86_400.0
_EVERY_S: Final = 60.0
#: Record locks do not exclude threads of one process: a thread that takes over dead processes holds this.
_busy = threading.Lock()
_last: dict[Path, float] = {}


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that is deleted as a whole: a conversation's folder, or a batch of spans."""

    path: Path
    instance: str
    changed: float
    size: int

    def remove(self) -> bool:
        """Delete it; return ``False`` if it was already gone, or cannot be deleted."""
        if not os.path.lexists(self.path):
            return False
        if is_folder(self.path):
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            spool.remove(self.path)
        return not os.path.lexists(self.path)


@contextmanager
def alone(*, wait: bool = True) -> Iterator[bool]:
    """Be the only thread of this process that takes over dead ones; ``False`` if there is another."""
    lock = _busy
    mine = lock.acquire(blocking=wait)
    try:
        yield mine
    finally:
        if mine:
            lock.release()


def _after_fork() -> None:
    """Replace the lock: the child has none of the threads that may hold it."""
    global _busy
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def tidy_sometimes(settings: Settings, live: Collection[Path]) -> None:
    """Run ``tidy``, but not more than once a minute, and not while a recovery is running."""
    now, state_dir = time.monotonic(), settings.state_dir
    if now - _last.get(state_dir, -_EVERY_S) < _EVERY_S:
        return
    with alone(wait=False) as mine:
        if mine:
            _last[state_dir] = now
            tidy(settings, live)


def tidy_but(settings: Settings, busy: Callable[[], Collection[Path]]) -> None:
    """Run ``tidy`` for a caller that is ``alone`` all the time, but not more than once a minute.

    Args:
        settings: the bounds and the directory.
        busy: returns the data that is being delivered, which stays.
    """
    now, state_dir = time.monotonic(), settings.state_dir
    if now - _last.get(state_dir, -_EVERY_S) >= _EVERY_S:
        _last[state_dir] = now
        tidy(settings, busy())


def make_room(settings: Settings, live: Collection[Path], needed: int) -> None:
    """Delete the oldest data to make room for a write, and measure what is left.

    Args:
        settings: the bounds and the directory.
        live: folders that stay.
        needed: bytes that must be free.
    """
    with alone(wait=False) as mine:
        if mine:
            tidy(settings, live, needed)
        else:  # a recovery is running
            found = sum(unit.size for unit in units_of(settings.state_dir))
            quota_of(settings.state_dir).measured(found)


def tidy(settings: Settings, live: Collection[Path], needed: int = 0) -> int:
    """Keep the state directory within ``state_max_mb`` and ``state_max_age_days``.

    The caller must be ``alone``.

    Args:
        settings: the bounds and the directory.
        live: folders of this process's live conversations.
        needed: bytes that must be free in addition.

    Returns:
        Number of conversations and batches that were deleted.
    """
    units = sorted(units_of(settings.state_dir), key=lambda unit: unit.changed)
    used = sum(unit.size for unit in units)
    quota_of(settings.state_dir).measured(used)
    too_much = used + needed - settings.state_max_mb * 1_000_000
    oldest = time.time() - settings.state_max_age_days * _DAY_S
    if too_much <= 0 and not (units and units[0].changed < oldest):
        return 0
    gone: list[Unit] = []
    with ExitStack() as stack:
        ours: dict[str, bool] = {owner.instance_id(): True}
        for unit in units:
            if unit.changed >= oldest and too_much <= 0:
                break
            if unit.path in live:
                continue
            if unit.instance not in ours:
                lock = owner.taken_over(settings.state_dir, unit.instance)
                try:
                    ours[unit.instance] = stack.enter_context(lock)
                except OSError:  # a name too long, a folder in the lock's place: not ours to touch
                    ours[unit.instance] = False
            if ours[unit.instance] and unit.remove():
                gone.append(unit)
                too_much -= unit.size
    if gone:
        quota_of(settings.state_dir).measured(used - sum(unit.size for unit in gone))
        _tell(gone, settings)
    return len(gone)


def _tell(gone: list[Unit], settings: Settings) -> None:
    batches = sum(unit.path.suffix == spool.SUFFIX for unit in gone)
    diagnostics.lose(diagnostics.BATCH, batches)
    diagnostics.lose(diagnostics.CONVERSATION, len(gone) - batches)
    logger.warning(
        "%d undelivered conversations and %d batches of spans (%.1f MB), the oldest, were deleted "
        "from %s to stay within state_max_mb=%g and state_max_age_days=%g",
        len(gone) - batches,
        batches,
        sum(unit.size for unit in gone) / 1_000_000,
        settings.state_dir,
        settings.state_max_mb,
        settings.state_max_age_days,
    )


def units_of(state_dir: Path) -> Iterator[Unit]:
    """Yield all units; one that vanishes meanwhile was delivered, and is left out."""
    for folder in _in(state_dir / owner.CONVERSATIONS):
        own = _look(folder)
        if own is None:
            continue
        inside = _in(folder) if is_folder(folder) else []
        parts = [part for part in map(_look, inside) if part is not None] or [own]
        changed, size = max(when for when, _ in parts), sum(size for _, size in parts)
        yield Unit(folder, owner.owner_of(folder), changed, size)
    for instance in _in(state_dir / owner.SPOOL):
        for path in spool.files(instance):
            found = _look(path)
            if found is not None:
                yield Unit(path, instance.name, *found)


def _in(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _look(path: Path) -> tuple[float, int] | None:
    """Return its modification time and its size in bytes; ``None`` if it is gone."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_mtime, found.st_size
