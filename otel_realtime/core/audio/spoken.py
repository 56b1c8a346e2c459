"""Locates an item of the user in the recording, so that all or part of it can be silenced.

Its place is kept as positions in all audio that the client appended, which stay valid when the connection
is replaced and whatever the placement decides later. The evidence, best first: the VAD's
``audio_start_ms`` and ``audio_end_ms``; what a push-to-talk client committed; the moment at which the
item was committed or first mentioned. If its beginning is unknown, it is assumed to begin where the item
before it ends: that may be too early, never too late.

If the client appends nothing (its microphone is a tap, or the audio does not pass through this
connection), positions are times, by :mod:`otel_realtime.core.audio.session_clock`.

Source: https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started
"""

from __future__ import annotations

from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.audio.segments import Interval
from otel_realtime.core.audio.session_clock import SPREAD_NS, SessionClock
from otel_realtime.core.audio.user_side import UserPlacement


class SpokenItems:
    """The items of the user.

    Args:
        user: Places the appended audio.
        clock: Maps the server's positions to time.
    """

    def __init__(self, user: UserPlacement, clock: SessionClock) -> None:
        self._user = user
        self._clock = clock
        self._starts: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._boundary_ns = 0  # end of the latest item

    def started(self, item_id: str, t: int, audio_ms: int) -> None:
        """Apply ``speech_started`` at ``t``; the VAD may report the start of the same item again."""
        self._starts.setdefault(item_id, self.position(t, audio_ms))

    def stopped(self, item_id: str, t: int, audio_ms: int) -> None:
        """Apply ``speech_stopped`` at ``t``."""
        self._end(item_id, self.position(t, audio_ms))

    def committed(self, item_id: str, span: Interval) -> None:
        """Apply the client's commit of a stretch of the appended audio."""
        self._starts.setdefault(item_id, span[0])
        self._end(item_id, span[1])

    def named(self, item_id: str, t: int, *, whole: bool) -> None:
        """Note that an item exists, whatever else is known about it.

        Args:
            item_id: The item.
            t: When it was named.
            whole: Whether it has ended by then: the server has committed it, or knows its whole text.
        """
        self._starts.setdefault(item_id, self._boundary_ns)
        if whole and item_id not in self._ends:
            self._end(item_id, self.position(t))

    def place(
        self, item_id: str, from_ms: int | None, to_ms: int | None, now: int
    ) -> Interval | None:
        """Return where an item, or a part of it, is in the recording; None if nothing is known.

        Args:
            item_id: The item.
            from_ms: Where the part begins, in ms of the item's audio; None for its beginning.
            to_ms: Where it ends; None for its end.
            now: The time of the query, which ends an item that is still being spoken.
        """
        first = self._starts.get(item_id)
        if first is None:
            return None
        start = first if from_ms is None else first + from_ms * NS_PER_MS
        end = self._ends.get(item_id) if to_ms is None else first + to_ms * NS_PER_MS
        end = max(self.position(now) if end is None else end, start)
        if self._user.last_sent_t is not None:
            return self._user.times((start, end))
        # Times are those of the events, which may come late.
        return max(start - SPREAD_NS, 0), end

    def _end(self, item_id: str, position_ns: int) -> None:
        self._starts.setdefault(item_id, self._boundary_ns)
        self._ends[item_id] = position_ns
        self._boundary_ns = max(self._boundary_ns, position_ns)

    def position(self, t: int, audio_ms: int | None = None) -> int:
        """Return the position that an event at ``t`` names; None for the end of the audio so far."""
        if self._user.last_sent_t is None:
            named_t = None if audio_ms is None else self._clock.time(audio_ms)
            return t if named_t is None else named_t
        if audio_ms is None:
            return self._user.appended_ns
        return self._user.session_position(audio_ms)
