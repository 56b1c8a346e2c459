"""The energy of each side's audio by frames of 20 ms, and from it who talks when.

An :class:`EnergyTable` is fed one source's audio in the order in which it was appended or received;
:mod:`otel_realtime.core.audio.voice` tells speech from noise in it. Where each frame ended up in the
recording, or whether it was heard at all, only the timeline knows; :func:`measure_talk` combines the
two once the conversation is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.segments import Segment
from otel_realtime.core.audio.voice import (
    FRAMES_PER_S,
    LINE_NOISE_DB,
    LOST_POWER,
    Voiced,
    band_powers,
    find_voice,
)

#: Duration of a frame, in ns and in seconds.
FRAME_NS: Final = NS_PER_S // FRAMES_PER_S
FRAME_S: Final = FRAME_NS / NS_PER_S
#: Pauses between words are shorter than this; a VAD waits at least as long for the end of speech.
WORD_GAP_S: Final = 0.2
#: Frames are measured so many at a time at least: one by one costs several times as much.
_BATCH: Final = 10
#: The noise of the last eight seconds tells at once what is quiet.
_MEMORY: Final = 40


def _mean_square(dbfs: float) -> float:
    return float((32_768 * 10 ** (dbfs / 20)) ** 2)


#: So much above the softest 200 ms of late is still noise: 6 dB.
_NOISE_FACTOR: Final = 4.0
#: What is below the first of these is quiet in any case, what is above the last one never.
_QUIET_AT_LEAST: Final = _mean_square(-70)
_QUIET_AT_FIRST: Final = _mean_square(-45)
_QUIET_AT_MOST: Final = _mean_square(-24)

#: Start times of frames in the recording, in seconds, ascending.
FrameStarts = npt.NDArray[np.float64]


class EnergyTable:
    """The energy of a source, frame by frame: eight bytes each.

    Args:
        loudest_noise_db: What is louder than this is speech, in dBFS.
    """

    def __init__(self, loudest_noise_db: float = LINE_NOISE_DB) -> None:
        self._loudest_noise_db = loudest_noise_db
        self._bands = (bytearray(), bytearray())
        self._pending: list[npt.NDArray[np.float32]] = []
        self._pending_size = 0
        self._rate_hz = 0
        self._skipped_ns = 0
        self._floors: deque[float] = deque(maxlen=_MEMORY)
        self._quiet = _QUIET_AT_FIRST
        self._loud = 0

    def feed(self, samples: Samples, rate_hz: int) -> bool:
        """Add the next samples; return whether there may be voice in them.

        The answer comes at once and for good, so it is guessed by the noise so far: see
        :meth:`voiced` for the better one. An incomplete last frame counts for it.

        Args:
            samples: Samples of shape ``(n,)``, of any number of frames.
            rate_hz: Their rate; it may change between calls.
        """
        if rate_hz != self._rate_hz:
            self._change_rate(rate_hz)
        audio = samples.astype(np.float32)
        self._pending.append(audio)
        self._pending_size += audio.size
        loud = self._is_loud(audio)
        if self._pending_size >= _BATCH * (rate_hz // FRAMES_PER_S):
            self._settle()
        return loud

    def skip(self, duration_ns: int) -> None:
        """Add audio that was lost; it counts as silence, so that later frames keep their place."""
        self._settle()
        frames, self._skipped_ns = divmod(self._skipped_ns + duration_ns, FRAME_NS)
        lost = np.full(frames, LOST_POWER, np.float32).tobytes()
        for band in self._bands:
            band += lost

    @property
    def frames(self) -> int:
        """Number of complete frames so far."""
        self._settle()
        return len(self._bands[0]) // 4

    @property
    def loud_frames(self) -> int:
        """How many of them were louder than the noise was until then."""
        self._settle()
        return self._loud

    def voiced(self, start: int = 0, end: int | None = None) -> Voiced:
        """Tell which frames from ``start`` to ``end`` have speech in them, by those frames alone."""
        self._settle()
        return find_voice(
            [
                np.frombuffer(bytes(band[4 * start : None if end is None else 4 * end]), np.float32)
                for band in self._bands
            ],
            self._loudest_noise_db,
        )

    def _change_rate(self, rate_hz: int) -> None:
        """Begin with samples of another rate, which no frame can share with those before."""
        self._settle()
        rest_ns = self._pending_size * NS_PER_S // self._rate_hz if self._pending_size else 0
        self._pending.clear()
        self._pending_size = 0
        self.skip(rest_ns)
        self._rate_hz = rate_hz

    def _is_loud(self, audio: npt.NDArray[np.float32]) -> bool:
        size = self._rate_hz // FRAMES_PER_S
        complete = audio.size - audio.size % size
        rest = audio[complete:]
        if rest.size and float(rest @ rest) > self._quiet * rest.size:
            return True
        if complete == size:
            frame = audio[:complete]
            return float(frame @ frame) > self._quiet * size
        frames = audio[:complete].reshape(-1, size)
        # Sum of squares per frame without a temporary array; compared with the power times n.
        energies = np.einsum("ij,ij->i", frames, frames)
        return bool((energies > self._quiet * size).any())

    def _settle(self) -> None:
        """Measure the frames that are complete."""
        size = self._rate_hz // FRAMES_PER_S
        if not size or self._pending_size < size:
            return
        audio = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        complete = audio.size - audio.size % size
        self._pending = [audio[complete:]]
        self._pending_size = audio.size - complete
        frames = audio[:complete].reshape(-1, size)
        for band, powers in zip(self._bands, band_powers(frames, self._rate_hz), strict=True):
            band += powers.tobytes()
        powers = np.einsum("ij,ij->i", frames, frames) / size
        self._loud += int(np.count_nonzero(powers > self._quiet))
        self._learn(powers)

    def _learn(self, powers: npt.NDArray[np.float32]) -> None:
        """Learn the noise from some frames, for the answer that comes at once."""
        for at in range(0, powers.size - powers.size % _BATCH, _BATCH):
            self._floors.append(float(powers[at : at + _BATCH].mean()))
        if 2 * len(self._floors) > _BATCH:  # a second
            noise = min(self._floors) * _NOISE_FACTOR
            self._quiet = min(max(noise, _QUIET_AT_LEAST), _QUIET_AT_MOST)


@dataclass(frozen=True, slots=True)
class TalkTimes:
    """Who talks how long in a recording, in seconds.

    Attributes:
        user_s: The user talks.
        agent_s: The agent talks.
        overlap_s: Both talk.
        dead_air_s: Nobody talks.
        longest_silence_s: Nobody talks, at a stretch.
        agent_over_user_s: Both talk, and the user had begun: the agent talks over the user.
    """

    user_s: float = 0.0
    agent_s: float = 0.0
    overlap_s: float = 0.0
    dead_air_s: float = 0.0
    longest_silence_s: float = 0.0
    agent_over_user_s: float = 0.0


#: The sources of one side (the wire, the tap), each with its segments in the recording.
SideSources = Sequence[tuple[EnergyTable, Sequence[Segment]]]


def measure_talk(user: SideSources, agent: SideSources, length_ns: int) -> TalkTimes:
    """Return the talk times of a finished recording of ``length_ns``."""
    user_starts, agent_starts = _side_starts(user), _side_starts(agent)
    user_s, agent_s = user_starts.size * FRAME_S, agent_starts.size * FRAME_S
    overlap, length_s = _overlap(user_starts, agent_starts), length_ns / NS_PER_S
    return TalkTimes(
        user_s,
        agent_s,
        overlap,
        dead_air_s=max(length_s - (user_s + agent_s - overlap), 0.0),
        longest_silence_s=_longest_silence(user_starts, agent_starts, length_s),
        agent_over_user_s=_agent_over_user(user_starts, agent_starts),
    )


def _longest_silence(user_starts: FrameStarts, agent_starts: FrameStarts, length_s: float) -> float:
    """Return the longest time without a voiced frame of either side, from start to end."""
    starts = np.sort(np.concatenate((user_starts, agent_starts)))
    begins = np.concatenate(([0.0], starts + FRAME_S))
    ends = np.append(starts, length_s)
    return max(float((ends - begins).max()), 0.0)


def _agent_over_user(user_starts: FrameStarts, agent_starts: FrameStarts) -> float:
    """Return the seconds in which both talk, where the agent began while the user was talking.

    Both are taken to talk on through pauses shorter than :data:`WORD_GAP_S`.
    """
    user, agent = _stretches(user_starts), _stretches(agent_starts)
    total = 0.0
    if not len(user) or not len(agent):
        return total
    # The user's stretch that each of the agent's begins in, if any.
    index = np.searchsorted(user[:, 0], agent[:, 0], "left") - 1
    begun = (index >= 0) & (agent[:, 0] < user[index, 1])
    for (start, end), user_end in zip(agent[begun], user[index[begun], 1], strict=True):
        until = min(end, user_end)
        total += _overlap(_within(user_starts, start, until), _within(agent_starts, start, until))
    return total


def _stretches(starts: FrameStarts) -> FrameStarts:
    """Return where a side talks, as rows of start and end in seconds."""
    if not starts.size:
        return np.empty((0, 2), np.float64)
    gaps = np.flatnonzero(np.diff(starts) - FRAME_S >= WORD_GAP_S)
    first = np.concatenate(([0], gaps + 1))
    last = np.append(gaps, starts.size - 1)
    return np.column_stack((starts[first], starts[last] + FRAME_S))


def _within(starts: FrameStarts, start: float, end: float) -> FrameStarts:
    """Return the frames that overlap a stretch of time."""
    low, high = np.searchsorted(starts, (start - FRAME_S, end), "right")
    return starts[low:high]


def _side_starts(side: SideSources) -> FrameStarts:
    return np.sort(np.concatenate([voiced_frame_starts(*source) for source in side]))


def voiced_frame_starts(table: EnergyTable, segments: Sequence[Segment]) -> FrameStarts:
    """Return the start times of the voiced frames that are in the recording.

    A frame can lie across a cut; it belongs to the segment that holds its middle.
    """
    frames = np.flatnonzero(table.voiced())
    if not frames.size or not segments:
        return np.empty(0, np.float64)
    position = np.array([segment.position_ns for segment in segments], np.int64)
    start = np.array([segment.start_ns for segment in segments], np.int64)
    length = np.array([segment.end_ns - segment.start_ns for segment in segments], np.int64)
    middle = frames * FRAME_NS + FRAME_NS // 2
    index = np.searchsorted(position, middle, "right") - 1
    inside = (index >= 0) & (middle - position[index] < length[index])
    middle, index = middle[inside], index[inside]
    starts: FrameStarts = (middle - position[index] + start[index] - FRAME_NS // 2) / NS_PER_S
    return starts


def _overlap(user_starts: FrameStarts, agent_starts: FrameStarts) -> float:
    """Return the seconds during which a user frame and an agent frame coincide."""
    if not user_starts.size or not agent_starts.size:
        return 0.0
    # At a cut, a frame can overlap its successor; none may be counted twice.
    ends = np.append(agent_starts[1:], np.inf)
    ends = np.minimum(agent_starts + FRAME_S, ends)
    # The agent's talk time up to a moment is piecewise linear: interpolating it at both ends of a
    # user frame gives the overlap without comparing all pairs.
    edges = np.column_stack((agent_starts, ends)).ravel()
    durations = ends - agent_starts
    talked = np.column_stack((np.zeros(agent_starts.size), durations)).ravel().cumsum()
    overlaps = np.interp(user_starts + FRAME_S, edges, talked) - np.interp(
        user_starts, edges, talked
    )
    return float(overlaps.sum())
