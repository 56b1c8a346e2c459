"""The two clocks of a conversation: wall time for spans, monotonic time for the recording.

Spans use wall time, so that they line up with the app's own spans. The recording must not jump when the
system clock is set, so it uses monotonic time. An app that passes times itself (``received(...,
at_ns=...)``) replaces both clocks by its own, because its events may have happened at a different pace.

The app's times may be wrong. A time that jumps back, or forward by more than an hour, does not move the
conversation: the event gets the time of the previous event, and time continues from there or from where
later times indicate. So spans and the recording do not get longer by time that never passed, and one wrong
time does not affect the right ones after it.
"""

from __future__ import annotations

from collections.abc import Callable

# Bound at import, so that an app's test that patches ``time.time_ns`` cannot keep a conversation from ending.
from time import monotonic_ns, time_ns
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.diagnostics import logger_of

logger = logger_of(__name__)

#: If the app's times differ from now by more than this, the call is not live.
REPLAY_NS: Final = 30_000_000_000
#: In a live call, the app's times may run ahead by this much, because it may report a little late.
AHEAD_NS: Final = 1_000_000_000
#: Longest plausible gap between two of the app's times (one hour).
MAX_GAP_NS: Final = 3_600_000_000_000
#: Reports of several threads or of two streams may be out of order by this much. Such a time is replaced
#: by the latest time, and the times after it catch up.
MAX_BACK_NS: Final = 10_000_000_000
#: A step back of no more than this does not count as a jump.
JITTER_NS: Final = 1_000_000_000


class Clock:
    """The time at which something is seen; wall times never decrease.

    Args:
        start_ns: Wall time of the start, in epoch ns.
        mono_ns: ``time.monotonic_ns()`` of the same moment.

    Attributes:
        start_ns: Wall time of the start, in epoch ns.
        mono_ns: Monotonic time of the start, in ns.
        uses_app_times: Whether the app has given a time. From then on only the app's times count,
            also for the recording.
        jumps: How many times the app's times jumped.
        on_jump: Called after each jump, with ``jumps`` and whether the jump led forward.
    """

    __slots__ = (
        "_given_mono_ns", "_given_ns", "_last_ns", "_shift_ns", "jumps", "mono_ns", "on_jump", "start_ns", "uses_app_times",
    )  # fmt: skip

    def __init__(self, start_ns: int, mono_ns: int) -> None:
        self.start_ns = self._last_ns = start_ns
        self.mono_ns = mono_ns
        self.uses_app_times = False
        self.jumps = 0
        self.on_jump: Callable[[int, bool], object] | None = None
        self._given_ns = start_ns  # the latest time that the app gave, unchanged
        self._given_mono_ns = mono_ns  # monotonic time at which it gave that time
        self._shift_ns = 0  # added to times that continue from the latest jump

    @classmethod
    def now(cls) -> Clock:
        """Return a clock that starts now."""
        return cls(time_ns(), monotonic_ns())

    def t(self) -> int:
        """Return the time since the start on the recording's clock, in ns."""
        if self.uses_app_times:
            return self._last_ns - self.start_ns
        return monotonic_ns() - self.mono_ns

    def moment(self, at_ns: int | None = None) -> Moment:
        """Return the present moment, or the moment that the app gives.

        Args:
            at_ns: The app's time in epoch ns; None means now, or the latest time that the app gave
                once it has given one.
        """
        if at_ns is None and not self.uses_app_times:
            return Moment(monotonic_ns() - self.mono_ns, self.wall())
        if at_ns is not None:
            self.uses_app_times, self._given_mono_ns = True, monotonic_ns()
            # ``int``: an app may pass ``time.time() * 1e9``, and span times must be integers.
            self._follow(int(at_ns))
        return Moment(self._last_ns - self.start_ns, self._last_ns)

    def wall(self) -> int:
        """Return the present wall time in epoch ns, or the app's latest time once it has given one."""
        if not self.uses_app_times:
            now_ns = time_ns()
            # The system clock may be set back during a call, but a span must not end before it starts.
            if now_ns > self._last_ns:
                self._last_ns = now_ns
        return self._last_ns

    def end(self) -> Moment:
        """Return the moment at which the conversation ends, which the app never gives.

        An app that reports a live call may wait after its last event until the answer has been played;
        that time counts. A replay ends with its last event.
        """
        if self.uses_app_times and not self.is_replay:
            self._last_ns += monotonic_ns() - self._given_mono_ns
        return self.moment()

    def _follow(self, at_ns: int) -> None:
        """Advance to a time that the app gives; do not advance if it jumps."""
        last_ns, given_ns, self._given_ns = self._last_ns, self._given_ns, at_ns
        # Try the unshifted time first: after a single wrong time, the next times are right again.
        for shift_ns in (0, self._shift_ns):
            step_ns = at_ns + shift_ns - last_ns
            if -MAX_BACK_NS <= step_ns <= MAX_GAP_NS:
                self._last_ns = last_ns + max(step_ns, 0)
                if step_ns < -JITTER_NS and at_ns - given_ns < -JITTER_NS:
                    self._jumped(at_ns - given_ns)
                return
        self._shift_ns = last_ns - at_ns
        self._jumped(at_ns - given_ns)

    def refuse(self) -> None:
        """Count a value from the app that is not a valid time."""
        self._count(forward=False)

    def _jumped(self, by_ns: int) -> None:
        diagnostics.warn_once(
            "time jump",
            "a time given as at_ns lies %.0f s %s the one before; such jumps are left out, and are "
            "counted as time_jumps on the root: pass the time of each event in epoch ns, in order",
            abs(by_ns) / 1e9,
            "after" if by_ns > 0 else "before",
            log=logger,
        )
        self._count(forward=by_ns > 0)

    def _count(self, *, forward: bool) -> None:
        self.jumps += 1
        if self.on_jump is not None:
            self.on_jump(self.jumps, forward)

    @property
    def is_replay(self) -> bool:
        """Whether the app reports a call that is not live.

        Its times are then far from now, or advance faster than real time.
        """
        if not self.uses_app_times:
            return False
        # Compare as of the moment of the latest given time, because the app may have waited since.
        waited_ns = monotonic_ns() - self._given_mono_ns
        lived_ns = self._given_mono_ns - self.mono_ns
        told_ns = self._last_ns - self.start_ns
        late_ns = time_ns() - waited_ns - self._last_ns
        return abs(late_ns) > REPLAY_NS or told_ns > lived_ns + AHEAD_NS

    def rebase(self, start_ns: int) -> None:
        """Move the start to the app's first time, in epoch ns."""
        self.start_ns = self._last_ns = self._given_ns = int(start_ns)
        self.uses_app_times, self._given_mono_ns = True, monotonic_ns()
