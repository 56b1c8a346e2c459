"""How much of ``Settings.state_max_mb`` is in use, counted while this process writes.

``bounds`` measures the contents of a state directory now and then. In between, everything that this
process writes is added: recordings of live conversations, rendered files, spans that wait. Near the
bound the directory is measured again, and the oldest undelivered data is deleted to make room. If
nothing can be deleted, no more audio is recorded and nothing is rendered; a reserve is left for
journals and spans, which are small.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from otel_realtime.state.owner import CONVERSATIONS

#: Fraction of the bound that audio may use.
SOUND: Final = 15 / 16
#: Minimum time between two measurements near the bound, in seconds.
_MEASURE_S: Final = 1.0
_USED_UP: Final = "state_max_mb is used up"

#: Deletes the oldest data and measures; takes the bytes that are needed, and a folder that stays.
MakeRoom = Callable[[int, "Path | None"], object]


class Quota:
    """The use of one state directory's bound; thread-safe. Without a bound nothing is refused."""

    def __init__(self) -> None:
        self._reset()
        self._max_bytes: float | None = None
        self._make_room: MakeRoom | None = None

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._used = 0.0
        self._reserved = 0.0
        self._asked_at = -_MEASURE_S

    def reset_after_fork(self) -> None:
        """Forget in a forked child what the parent is about to write."""
        self._reset()

    def limit(self, max_bytes: float, make_room: MakeRoom | None = None) -> None:
        """Set the bound.

        Args:
            max_bytes: the bound.
            make_room: called on the writing thread, never the app's; ``None``: leave it as it is.
        """
        self._max_bytes = max_bytes
        self._make_room = make_room or self._make_room

    def measured(self, used: int) -> None:
        """Set the number of bytes in use."""
        with self._lock:
            self._used = used

    @property
    def exceeded(self) -> bool:
        """Whether the bytes in use, including reserved ones, exceed the bound."""
        return self._max_bytes is not None and self._used + self._reserved > self._max_bytes

    def take(self, size: int, part: float = 1.0) -> bool:
        """Count bytes that are about to be written; return ``False`` if there is no room for them.

        Args:
            size: bytes.
            part: fraction of the bound that they may use.
        """
        if self._max_bytes is None:
            return True
        return self._fits(size, part, None, reserve=False)

    @contextmanager
    def reserved(self, size: int, *, keep: Path) -> Iterator[None]:
        """Reserve room for a file while it is written; it counts as used if the block succeeded.

        Args:
            size: bytes of the file.
            keep: folder that must not be deleted to make room, because the file is made from it.

        Raises:
            OSError: there is no room.
        """
        if self._max_bytes is not None and not self._fits(size, 1.0, keep, reserve=True):
            raise used_up()
        written = 0
        try:
            yield
            written = size
        finally:
            if self._max_bytes is not None:
                with self._lock:
                    self._reserved = max(self._reserved - size, 0.0)
                    self._used += written

    def _fits(self, size: int, part: float, keep: Path | None, *, reserve: bool) -> bool:
        if self._add(size, part, reserve=reserve):
            return True
        now = monotonic()
        with self._lock:
            again = now - self._asked_at >= _MEASURE_S or keep is not None
            self._asked_at = now if again else self._asked_at
        if not again or self._make_room is None:
            return False
        needed = size + int(self._reserved) + int((self._max_bytes or 0) * (1 - part))
        self._make_room(needed, keep)
        return self._add(size, part, reserve=reserve)

    def _add(self, size: int, part: float, *, reserve: bool) -> bool:
        with self._lock:
            if self._used + self._reserved + size > (self._max_bytes or 0) * part:
                return False
            if reserve:
                self._reserved += size
            else:
                self._used += size
            return True


def used_up() -> OSError:
    """Return the error for a write that finds no room."""
    return OSError(getattr(errno, "EDQUOT", errno.ENOSPC), _USED_UP)


_quotas: dict[Path, Quota] = {}
_UNBOUNDED: Final = Quota()


def quota_of(state_dir: Path) -> Quota:
    """Return the quota of a state directory."""
    return _quotas.setdefault(state_dir, Quota())


def quota_for(folder: Path) -> Quota:
    """Return the quota of the state directory that contains a folder; an unbounded one if none does."""
    if folder.parent.name == CONVERSATIONS:
        return quota_of(folder.parent.parent)
    return _UNBOUNDED


def _after_fork() -> None:
    for quota in _quotas.values():
        quota.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
