"""The two clocks of a conversation: wall time for spans, monotonic time for the recording."""

from __future__ import annotations

import time
from typing import Final

from otel_realtime.core.protocol.responses import Moment

#: Times of the app that lie this far back are not those of a live call.
REPLAY_NS: Final = 30_000_000_000


class Clock:
    """Tells when something is seen; wall times never run backwards.

    Args:
        start_ns: wall time of the start, epoch ns.
        mono_ns: ``time.monotonic_ns()`` of the same moment.
    """

    __slots__ = ("_last_ns", "given", "mono_ns", "start_ns")

    def __init__(self, start_ns: int, mono_ns: int) -> None:
        self.start_ns = self._last_ns = start_ns
        self.mono_ns = mono_ns
        #: True once the app gave a time itself: then its times are the recording's clock too.
        self.given = False

    @classmethod
    def now(cls) -> Clock:
        """A clock that starts at this moment."""
        return cls(time.time_ns(), time.monotonic_ns())

    def t(self) -> int:
        """Nanoseconds since the start, on the recording's clock."""
        return self._last_ns - self.start_ns if self.given else time.monotonic_ns() - self.mono_ns

    def moment(self, at_ns: int | None = None) -> Moment:
        """This moment, or the one the app names."""
        if at_ns is None and not self.given:
            self._last_ns = max(time.time_ns(), self._last_ns)
            return Moment(time.monotonic_ns() - self.mono_ns, self._last_ns)
        if at_ns is not None:
            self.given = True
            self._last_ns = max(int(at_ns), self._last_ns)
        return Moment(self._last_ns - self.start_ns, self._last_ns)

    @property
    def is_replay(self) -> bool:
        """True if the app's times lie in the past: what it tells is over."""
        return self.given and time.time_ns() - self._last_ns > REPLAY_NS

    def rebase(self, start_ns: int) -> None:
        """The app's first time is the start."""
        self.start_ns = self._last_ns = int(start_ns)
        self.given = True
