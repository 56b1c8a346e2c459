"""Maps the server's positions to time if the user's audio does not pass through this connection.

The server's ``audio_start_ms`` and ``audio_end_ms`` count the audio that it received in its session. If
the client appends the audio here, the appended audio maps them to time. On the sideband of a WebRTC or
SIP call the only evidence is when the events arrive: audio up to a position had been received when the
event that names the position came. So each event bounds the time from above: ``speech_stopped``
closely, ``speech_started`` by the prefix that the VAD adds (300 ms). The smallest bound of an event
and its neighbours is used. Neighbours that differ by more than ``SPREAD_NS`` do not count: the caller's
audio had stopped in between (a call on hold), or the events are reported at a different pace.

https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS

#: Positions at most this far apart bound each other's time.
NEAR_MS: Final = 5_000
#: Number of events on each side that are examined: more would not improve the accuracy.
MOST_NEAR: Final = 32
#: Maximum difference of bounds: the VAD's prefix, the time to detect speech, and the network's jitter.
SPREAD_NS: Final = 600 * NS_PER_MS


class SessionClock:
    """Maps positions in the session's audio (ms) to time (ns since the start)."""

    def __init__(self) -> None:
        self._bounds: list[tuple[int, int]] = []  # position in ms, origin in ns; by position

    def add(self, t: int, audio_ms: int) -> None:
        """Add an event that arrived at ``t`` and names a position."""
        insort(self._bounds, (audio_ms, t - audio_ms * NS_PER_MS))

    def reset(self) -> None:
        """Begin a new server session, whose positions count from 0."""
        self._bounds.clear()

    def time(self, audio_ms: int) -> int | None:
        """Return when the audio at a position was spoken; None before any event."""
        if not self._bounds:
            return None
        # An event at this position or a later one bounds its time; otherwise the last event does.
        index = min(bisect_left(self._bounds, (audio_ms,)), len(self._bounds) - 1)
        origin = self._bounds[index][1]
        first = bisect_left(self._bounds, (audio_ms - NEAR_MS,), max(index - MOST_NEAR, 0))
        end = bisect_left(self._bounds, (audio_ms + NEAR_MS,), index)
        near = (
            other
            for _, other in self._bounds[first : min(end, index + MOST_NEAR)]
            if other <= origin
        )
        nearest = min((other for other in near if origin - other <= SPREAD_NS), default=origin)
        return max(nearest + audio_ms * NS_PER_MS, 0)
