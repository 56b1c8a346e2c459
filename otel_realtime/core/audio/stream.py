"""Places audio of the agent by the session's clock: the sideband of a Live session.

The caller hears the audio over another connection; the server reflects it, each chunk with its
``start_ms``. Its arrival here only gives a bound: a chunk has ended by the time it arrives. So the
session's clock is mapped to the recording's by the smallest delay of all chunks, and everything moves
when a smaller delay is seen. Chunks that the server dropped leave a gap. A stream that runs more than
half a second ahead of the first chunk is not live: then the first chunk is placed at its arrival.

Source: ``types/live/output_audio_delta_event`` of the ``openai`` package (3.57).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, AudioFormat
from otel_realtime.core.audio.segments import (
    TIME_END_NS,
    DurationCounter,
    Segment,
    clip_to_intervals,
)

#: Maximum variation of the network's delay.
SPREAD_NS: Final = 500 * NS_PER_MS
#: Times are whole milliseconds, so chunks at most this far apart adjoin.
ROUNDING_NS: Final = 2 * NS_PER_MS


class SessionStream:
    """Places the chunks of a session, one server session after another."""

    def __init__(self) -> None:
        self._before: list[Segment] = []  # of earlier server sessions, in the recording's time
        self._segments: list[Segment] = []  # in the session's time
        self._first_ns: int | None = None  # when the session's clock was 0, by the first chunk
        self._least_ns = 0  # the same, by the chunk with the smallest delay
        self._first_size_ns = 0
        self._received = DurationCounter()

    def __bool__(self) -> bool:
        return bool(self._before or self._segments)

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of the chunks from now on."""
        self._received.set_format(audio_format)

    def add(self, t: int, offset: int, size: int, start_ms: int) -> None:
        """Add a chunk.

        Args:
            t: When it arrived, in ns since the start.
            offset: Where it begins in the source, in bytes; ``LOST`` for audio that was not kept.
            size: Its size in bytes.
            start_ms: Where it begins on the session's clock.
        """
        audio_format, start = self._received.format, start_ms * NS_PER_MS
        position = self._received.add(size)
        duration = audio_format.duration_ns(size)
        origin = t - start - duration
        if self._first_ns is None:
            self._first_ns, self._first_size_ns = origin, duration
            self._least_ns = origin
        self._least_ns = min(self._least_ns, origin)
        last = self._segments[-1] if self._segments else None
        if last is not None and start - last.end_ns <= ROUNDING_NS:
            if last.is_continued_by(offset, audio_format):
                last.size += size
                return
            start = last.end_ns
        self._segments.append(Segment(start, offset, size, audio_format, position))

    def reset(self) -> None:
        """Begin a new server session, whose clock counts from 0."""
        self._before, self._segments, self._first_ns = self.segments(), [], None

    @property
    def _origin_ns(self) -> int:
        """When the session's clock was 0, in the recording's time."""
        first = self._first_ns or 0
        if first - self._least_ns > SPREAD_NS:
            return first + self._first_size_ns
        return self._least_ns

    def segments(self) -> list[Segment]:
        """Return what was heard, in order and without overlap."""
        origin = self._origin_ns
        floor = self._before[-1].end_ns if self._before else 0
        moved = [replace(segment, start_ns=segment.start_ns + origin) for segment in self._segments]
        # Audio that was heard before this connection was open is not part of the recording.
        return [*self._before, *clip_to_intervals(moved, [(floor, TIME_END_NS)])]

    @property
    def end_ns(self) -> int:
        """When the last audio has been heard; 0 before any."""
        if self._segments:
            return max(self._segments[-1].end_ns + self._origin_ns, 0)
        return self._before[-1].end_ns if self._before else 0
