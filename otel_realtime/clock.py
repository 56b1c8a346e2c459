"""The two clocks of a conversation: wall time for spans, monotonic time for the recording.

Spans use wall time, so that they line up with the app's own. The recording must not jump when the
system clock is set, so it uses monotonic time. An app that passes times itself (``received(...,
at_ns=...)``) replaces both by its own: its events may have happened at another pace than now.
"""

from __future__ import annotations

import time
from typing import Final

from otel_realtime.core.protocol.responses import Moment

#: An app's times that lie further back than this are not those of a live call.
REPLAY_NS: Final = 30_000_000_000


class Clock:
    """The time at which something is seen; wall times never decrease.

    Args:
        start_ns: Wall time of the start, in epoch ns.
        mono_ns: ``time.monotonic_ns()`` of the same moment.

    Attributes:
        start_ns: Wall time of the start, in epoch ns.
        mono_ns: Monotonic time of the start, in ns.
        uses_app_times: Whether the app has given a time. From then on only its times count, also
            for the recording.
    """

    __slots__ = ("_last_ns", "mono_ns", "start_ns", "uses_app_times")

    def __init__(self, start_ns: int, mono_ns: int) -> None:
        self.start_ns = self._last_ns = start_ns
        self.mono_ns = mono_ns
        self.uses_app_times = False

    @classmethod
    def now(cls) -> Clock:
        """Return a clock that starts now."""
        return cls(time.time_ns(), time.monotonic_ns())

    def t(self) -> int:
        """Return the time since the start on the recording's clock, in ns."""
        if self.uses_app_times:
            return self._last_ns - self.start_ns
        return time.monotonic_ns() - self.mono_ns

    def moment(self, at_ns: int | None = None) -> Moment:
        """Return the present moment, or the one that the app names.

        Args:
            at_ns: The app's time in epoch ns; None for now (once the app has given times: for the
                latest of them).
        """
        if at_ns is None and not self.uses_app_times:
            # The system clock may be set back during a call; a span must not end before it begins.
            self._last_ns = max(time.time_ns(), self._last_ns)
            return Moment(time.monotonic_ns() - self.mono_ns, self._last_ns)
        if at_ns is not None:
            self.uses_app_times = True
            # ``int``: an app may pass ``time.time() * 1e9``, and span times must be integers.
            self._last_ns = max(int(at_ns), self._last_ns)
        return Moment(self._last_ns - self.start_ns, self._last_ns)

    @property
    def is_replay(self) -> bool:
        """Whether the app's times lie in the past, so that it reports a call that is over."""
        return self.uses_app_times and time.time_ns() - self._last_ns > REPLAY_NS

    def rebase(self, start_ns: int) -> None:
        """Move the start to the app's first time, in epoch ns."""
        self.start_ns = self._last_ns = int(start_ns)
        self.uses_app_times = True
