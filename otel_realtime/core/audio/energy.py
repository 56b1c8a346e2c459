"""Measure when each side talks: 20 ms frames above -45 dBFS count as voice.

A :class:`VoiceMeter` is fed one source's audio in the order in which it was appended or received.
Where each frame ended up in the recording, or whether it was heard at all, only the timeline knows;
:func:`measure_talk` combines the two once the conversation is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.segments import Segment

#: Duration of a frame, in ns and in seconds.
FRAME_NS: Final = NS_PER_S // 50
FRAME_S: Final = FRAME_NS / NS_PER_S
#: Pauses between words are shorter than this; a VAD waits at least as long for the end of speech.
WORD_GAP_S: Final = 0.2
#: Mean square of 16-bit samples at -45 dB of full scale.
VOICE_POWER: Final = (32_768 * 10 ** (-45 / 20)) ** 2

#: Start times of frames in the recording, in seconds, ascending.
FrameStarts = npt.NDArray[np.float64]


class VoiceMeter:
    """Classify each 20 ms of a source as voice or not.

    Attributes:
        voiced: One byte for each complete frame so far, 1 for voice.
    """

    def __init__(self) -> None:
        self.voiced = bytearray()
        self._rest: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._rate_hz = 0
        self._skipped_ns = 0

    def feed(self, samples: Samples, rate_hz: int) -> bool:
        """Add the next samples; return whether there is voice in them.

        An incomplete last frame counts for the answer and is kept for the next call.

        Args:
            samples: Samples of shape ``(n,)``.
            rate_hz: Their rate; it may change between calls.
        """
        return self.feed_chunks(samples, (samples.size,), rate_hz)[0]

    def feed_chunks(self, samples: Samples, sizes: Sequence[int], rate_hz: int) -> list[bool]:
        """Add chunks that follow one another as ``feed`` would, one by one; far quicker for many.

        Args:
            samples: Samples of all of them, of shape ``(n,)``.
            sizes: Number of samples of each.
            rate_hz: Their rate; it may change between calls.

        Returns:
            For each chunk whether there is voice in it.
        """
        if rate_hz != self._rate_hz:
            if self._rest.size:  # a frame cannot mix rates, so the rest of the old one is dropped
                self.skip(self._rest.size * NS_PER_S // self._rate_hz)
            self._rest = np.empty(0, np.float32)
            self._rate_hz = rate_hz
        size = rate_hz // 50
        end = self._rest.size
        audio = np.concatenate((self._rest, samples), dtype=np.float32, casting="unsafe")
        frames = audio[: audio.size - audio.size % size].reshape(-1, size)
        # Sum of squares per frame without a temporary array; compared with the power times n.
        voiced = (np.einsum("ij,ij->i", frames, frames) > VOICE_POWER * size).tobytes()
        self.voiced += voiced
        self._rest = audio[frames.size :].copy()  # not a view: it would keep all of ``audio``
        answers = []
        for chunk in sizes:
            first, end = end // size, end + chunk
            last, over = divmod(end, size)
            answer = voiced.find(1, first, last) >= 0
            if over and not answer:
                rest = audio[end - over : end]
                answer = bool(rest @ rest > VOICE_POWER * over)
            answers.append(answer)
        return answers

    def skip(self, duration_ns: int) -> None:
        """Add audio that was lost; it counts as silence, so that later frames keep their place."""
        frames, self._skipped_ns = divmod(self._skipped_ns + duration_ns, FRAME_NS)
        self.voiced += bytes(frames)


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
SideSources = Sequence[tuple[VoiceMeter, Sequence[Segment]]]


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


def voiced_frame_starts(meter: VoiceMeter, segments: Sequence[Segment]) -> FrameStarts:
    """Return the start times of the voiced frames that are in the recording.

    A frame can lie across a cut; it belongs to the segment that holds its middle.
    """
    frames = np.flatnonzero(np.frombuffer(bytes(meter.voiced), np.uint8))
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
