"""Who talked when: 20 ms frames above -45 dBFS.

A :class:`Meter` listens to one side's audio in the order it was appended or received. Where each
frame is in the recording, or whether it was heard at all, is the timeline's business:
:func:`talk` brings both together once the conversation is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples
from otel_realtime.core.audio.formats import NS
from otel_realtime.core.audio.segments import Segment

FRAME_NS: Final = NS // 50
FRAME_S: Final = FRAME_NS / NS
VOICE_POWER: Final = (32_768 * 10 ** (-45 / 20)) ** 2
"""Mean square of samples at -45 dB of full scale."""


class Meter:
    """Marks each 20 ms of a side's audio as voice or not.

    Attributes:
        voiced: one byte for each whole frame so far, 1 for voice.
    """

    def __init__(self) -> None:
        self.voiced = bytearray()
        self._rest: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._rate_hz = 0
        self._skipped_ns = 0

    def feed(self, samples: Samples, rate_hz: int) -> bool:
        """Listen to the next samples; True if there is voice in them.

        A last frame that is not full yet counts for the answer and is kept for the next call.
        """
        if rate_hz != self._rate_hz:
            if self._rest.size:  # a frame is of one rate
                self.skip(self._rest.size * NS // self._rate_hz)
            self._rest = np.empty(0, np.float32)
            self._rate_hz = rate_hz
        size = rate_hz // 50
        audio = np.concatenate((self._rest, samples.astype(np.float32)))
        whole = audio.size - audio.size % size
        frames = audio[:whole].reshape(-1, size)
        voiced = np.einsum("ij,ij->i", frames, frames) > VOICE_POWER * size
        self.voiced += voiced.astype(np.uint8).tobytes()
        self._rest = audio[whole:]
        rest = self._rest
        return bool(voiced.any()) or bool(rest.size and rest @ rest > VOICE_POWER * rest.size)

    def skip(self, duration_ns: int) -> None:
        """Pass over audio that was lost; it counts as silence."""
        frames, self._skipped_ns = divmod(self._skipped_ns + duration_ns, FRAME_NS)
        self.voiced += bytes(frames)


@dataclass(frozen=True, slots=True)
class Talk:
    """Seconds of the recording in which somebody, both or nobody talked."""

    user_s: float = 0.0
    agent_s: float = 0.0
    overlap_s: float = 0.0
    dead_air_s: float = 0.0


Sounds = Sequence[tuple[Meter, Sequence[Segment]]]
"""One side: each of its sources with what is in the recording of it."""


def talk(user: Sounds, agent: Sounds, length_ns: int) -> Talk:
    """Measure a finished recording of ``length_ns``."""
    user_starts, agent_starts = _voices(user), _voices(agent)
    user_s, agent_s = user_starts.size * FRAME_S, agent_starts.size * FRAME_S
    overlap = _overlap(user_starts, agent_starts)
    dead = max(length_ns / NS - (user_s + agent_s - overlap), 0.0)
    return Talk(user_s, agent_s, overlap, dead)


def _voices(side: Sounds) -> npt.NDArray[np.float64]:
    return np.sort(np.concatenate([voice(*source) for source in side]))


def voice(meter: Meter, segments: Sequence[Segment]) -> npt.NDArray[np.float64]:
    """Start times (s, rising) of the voiced frames that are in the recording.

    A frame belongs to the segment that holds its middle.
    """
    frames = np.flatnonzero(np.frombuffer(bytes(meter.voiced), np.uint8))
    if not frames.size or not segments:
        return np.empty(0, np.float64)
    first = np.array([segment.position_ns for segment in segments], np.int64)
    start = np.array([segment.start_ns for segment in segments], np.int64)
    length = np.array([segment.end_ns - segment.start_ns for segment in segments], np.int64)
    middle = frames * FRAME_NS + FRAME_NS // 2
    at = np.searchsorted(first, middle, "right") - 1
    inside = (at >= 0) & (middle - first[at] < length[at])
    middle, at = middle[inside], at[inside]
    starts: npt.NDArray[np.float64] = (middle - first[at] + start[at] - FRAME_NS // 2) / NS
    return starts


def _overlap(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Seconds in which a frame of either side lies over one of the other."""
    if not one.size or not other.size:
        return 0.0
    ends = np.append(other[1:], np.inf)  # frames at a cut may overlap their successor
    ends = np.minimum(other + FRAME_S, ends)
    edges = np.column_stack((other, ends)).ravel()
    covered = np.column_stack((np.zeros(other.size), ends - other)).ravel().cumsum()
    spans = np.interp(one + FRAME_S, edges, covered) - np.interp(one, edges, covered)
    return float(spans.sum())
