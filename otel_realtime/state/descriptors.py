"""The descriptors of all files that conversations are being written to; their number is bounded.

A conversation that the app opened by hand and never closed would keep its files open for as long as
the process lives, and at the limit of the process (``ulimit -n``) the app could no longer open a
socket. Beyond the bound, the least recently written files are closed, and reopened when there is more
to write.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from time import monotonic
from typing import Final

from otel_realtime.diagnostics import logger_of, warn_once

try:
    import resource
except ImportError:  # not POSIX
    resource = None  # type: ignore[assignment]

logger = logger_of(__name__)

#: These files take at most the process's limit divided by this: the app's sockets need the rest.
_PART: Final = 4
#: Minimum and maximum number of files that are kept open.
_LEAST: Final = 8
_MOST: Final = 4096
#: A file that was written to this recently, in seconds, is not closed for another: if there are more
#: live conversations than there is room for, each file would be reopened in every round.
_BUSY_S: Final = 2.0
#: How long a bound is valid, in seconds: the app may change its limit.
_BOUND_S: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})
_FLAGS: Final = (
    os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
)


def bound() -> int:
    """Return the maximum number of files that are kept open."""
    if resource is None:
        return _MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return min(max(soft // _PART, _LEAST), _MOST)


class Descriptors:
    """Appends to files; thread-safe, but only one thread at a time may use each file."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        # Files that nobody is writing to now, least recently used first, with the time of that use.
        self._idle: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._bound, self._bound_at = 0, -_BOUND_S

    def __len__(self) -> int:
        return len(self._idle)

    def append(self, path: str, data: bytes, *, create: bool = False) -> None:
        """Append to a file.

        Args:
            path: the file.
            data: what to write.
            create: create the file if it is missing; otherwise it must exist.

        Raises:
            OSError: it cannot be opened or written.
        """
        with self._lock:
            found = self._idle.pop(path, None)
        descriptor = self._open(path, create) if found is None else found[0]
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            os.close(descriptor)
            raise
        self._put_back(path, descriptor)

    def close(self, paths: Iterable[str]) -> None:
        """Close files; those that are not open are ignored."""
        with self._lock:
            found = [self._idle.pop(path)[0] for path in paths if path in self._idle]
        _close(found)

    def after_fork(self) -> None:
        """Close everything in a forked child: the parent writes its files."""
        idle = self._idle
        self._reset()  # another thread of the parent may have held the lock
        _close(descriptor for descriptor, _ in idle.values())

    def _open(self, path: str, create: bool) -> int:
        flags = _FLAGS | (os.O_CREAT if create else 0)
        try:
            return os.open(path, flags, 0o600)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
        # The app needs all descriptors, so none of ours is kept open.
        with self._lock:
            idle = [descriptor for descriptor, _ in self._idle.values()]
            self._idle.clear()
        _close(idle)
        return os.open(path, flags, 0o600)

    def _put_back(self, path: str, descriptor: int) -> None:
        now, surplus = monotonic(), descriptor
        with self._lock:
            if now - self._bound_at >= _BOUND_S:  # not for each write: it is a system call
                self._bound, self._bound_at = bound(), now
            if len(self._idle) < self._bound:
                self._idle[path] = descriptor, now
                return
            oldest = next(iter(self._idle))
            if now - self._idle[oldest][1] >= _BUSY_S:
                surplus, _ = self._idle.pop(oldest)
                self._idle[path] = descriptor, now
        _close([surplus])
        warn_once(
            "descriptors",
            "more than %d files of open conversations are in use, which is all that are kept open (a "
            "part of ulimit -n); the others are opened for each write. Conversations that were opened "
            "by hand (otel_realtime.conversation) have to be closed",
            bound(),
            log=logger,
        )


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            pass


#: The descriptors of this process.
DESCRIPTORS: Final = Descriptors()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DESCRIPTORS.after_fork)
