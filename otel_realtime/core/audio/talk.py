"""Measures who talks when in a recording, and for how long.

An :class:`EnergyTable` knows which frames of a source contain speech; the timeline's segments say where
those frames are in the recording, if they were heard at all. Together they yield stretches of talk, in
seconds of the recording. Pauses of up to 300 ms lie between words and count as talk: a VAD waits at
least nearly that long for the end of speech.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.energy import FRAME_NS, FRAME_S, EnergyTable
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.segments import LOST, Interval, Segment
from otel_realtime.core.audio.vad_reports import Reported

#: Pauses up to this length lie between words.
WORD_GAP_S: Final = 0.3
#: Frame times come from rounded nanoseconds.
_ROUNDING_S: Final = 1e-6
#: Accuracy of the server's times.
_EXACT_S: Final = 0.15
#: Interruptions up to this length are ignored.
_DROPOUT_S: Final = 0.06

_Times = npt.NDArray[np.float64]
#: Start and end of each stretch in seconds, shape ``(n, 2)``; in order, without overlap.
Stretches = npt.NDArray[np.float64]
#: The sources of one side (the wire, the tap), each with its segments in the recording.
SideSources = Sequence[tuple[EnergyTable, Sequence[Segment]]]


@dataclass(frozen=True, slots=True)
class TalkTimes:
    """How long each side talks in a recording, in seconds.

    Attributes:
        user_s: How long the user talks.
        agent_s: How long the agent talks.
        overlap_s: How long both talk.
        dead_air_s: How long nobody talks.
        longest_silence_s: The longest stretch in which nobody talks.
        agent_over_user_s: How long both talk where the user had begun first: the agent talks over the user.
    """

    user_s: float = 0.0
    agent_s: float = 0.0
    overlap_s: float = 0.0
    dead_air_s: float = 0.0
    longest_silence_s: float = 0.0
    agent_over_user_s: float = 0.0


def measure_talk(user: Stretches, agent: Stretches, length_ns: int) -> TalkTimes:
    """Return the talk times of a finished recording of ``length_ns``."""
    user_s, agent_s = _total_s(user), _total_s(agent)
    overlap_s, length_s = _overlap_s(user, agent), length_ns / NS_PER_S
    return TalkTimes(
        user_s,
        agent_s,
        overlap_s,
        dead_air_s=max(length_s - (user_s + agent_s - overlap_s), 0.0),
        longest_silence_s=_longest_silence_s(user, agent, length_s),
        agent_over_user_s=_agent_over_user_s(user, agent),
    )


def stretches_of(side: SideSources) -> Stretches:
    """Return when a side talks in the recording, by the energy of its sources.

    A pause between words counts as talk only if it contains audio: nobody talks while nothing is sent.
    """
    return _with_pauses(_voiced(side), joined(_kept(side), _DROPOUT_S))


def _with_pauses(voiced: Stretches, present: Stretches) -> Stretches:
    return _united(voiced, _clipped(joined(voiced), present))


def reported_stretches_of(
    user: SideSources, reports: Sequence[Reported], silences: Sequence[Interval]
) -> Stretches:
    """Return when the user talks, by the reports of the server's VAD and by the energy.

    Args:
        user: The user's sources.
        reports: The utterances that the VAD reports.
        silences: Stretches in which only reported utterances count as talk, in order.
    """
    voiced, present = _voiced(user), joined(_kept(user), _DROPOUT_S)
    talk = _with_pauses(voiced, present)
    if not reports:
        return talk
    runs = joined(voiced, _DROPOUT_S)
    said = [exact(report, runs) for report in reports]
    rest = _without(talk, np.array(silences, np.float64).reshape(-1, 2) / NS_PER_S)
    return _united(_clipped(np.array(said), present), rest)


def exact(report: Reported, voiced: Stretches) -> tuple[float, float]:
    """Return exactly where reported speech begins and ends, in seconds.

    Args:
        report: What the VAD reports.
        voiced: Where the energy indicates speech.
    """
    low, high = (t / NS_PER_S for t in report.within)
    near = voiced[(voiced[:, 1] > low - _EXACT_S) & (voiced[:, 0] < high + _EXACT_S)]
    start = _edge(near[:, 0], report.start)
    if start is None:
        start = max(float(near[0, 0]), low) if len(near) else low
    end = _edge(near[:, 1], report.end)
    if end is None:
        end = min(float(near[-1, 1]), high) if len(near) else high
    return start, max(start, end)


def _edge(found: _Times, reported: int | None) -> float | None:
    """Return the edge nearest to the reported one, or the latter if none is near; None without a report."""
    if reported is None:
        return None
    told = reported / NS_PER_S
    nearest = float(found[np.abs(found - told).argmin()]) if found.size else np.inf
    return nearest if abs(nearest - told) <= _EXACT_S else told


def _united(one: Stretches, other: Stretches) -> Stretches:
    every = np.concatenate((one, other))
    return joined(every[np.argsort(every[:, 0], kind="stable")], 0.0)


def _voiced(side: SideSources) -> Stretches:
    """Return the runs of voiced frames; an hour has 180,000 frames, and far fewer runs."""
    starts = np.sort(np.concatenate([_voiced_starts(*source) for source in side]))
    if not starts.size:
        return np.empty((0, 2), np.float64)
    last = np.flatnonzero(np.diff(starts) > FRAME_S + _ROUNDING_S)
    first, last = np.concatenate(([0], last + 1)), np.append(last, starts.size - 1)
    return np.column_stack((starts[first], starts[last] + FRAME_S))


def _kept(side: SideSources) -> Stretches:
    """Return where the recording contains audio of a side."""
    pieces = [
        (segment.start_ns, segment.end_ns)
        for _, segments in side
        for segment in segments
        if segment.offset != LOST
    ]
    kept: Stretches = np.array(sorted(pieces), np.float64).reshape(-1, 2) / NS_PER_S
    return kept


def _clipped(stretches: Stretches, present: Stretches) -> Stretches:
    """Return the parts of stretches, in any order, that contain audio."""
    pieces = [
        (max(start, low), min(end, high))
        for start, end in stretches
        for low, high in present[
            np.searchsorted(present[:, 1], start) : np.searchsorted(present[:, 0], end)
        ]
    ]
    return np.array(pieces, np.float64).reshape(-1, 2)


def _without(stretches: Stretches, removed: Stretches) -> Stretches:
    """Return stretches without the removed ones, which are in order."""
    pieces = []
    for begin, end in stretches:
        start = begin
        for low, high in removed:
            if start < low < end:
                pieces.append((start, low))
            if low < end and start < high:
                start = max(start, high)
        if start < end:
            pieces.append((start, end))
    return np.array(pieces, np.float64).reshape(-1, 2)


def joined(stretches: Stretches, gap_s: float = WORD_GAP_S) -> Stretches:
    """Return stretches, which are ordered by start, with pauses of up to ``gap_s`` closed."""
    if not len(stretches):
        return np.empty((0, 2), np.float64)
    ends = np.maximum.accumulate(stretches[:, 1])
    last = np.flatnonzero(stretches[1:, 0] - ends[:-1] > gap_s + _ROUNDING_S)
    first = np.concatenate(([0], last + 1))
    return np.column_stack((stretches[first, 0], ends[np.append(last, len(ends) - 1)]))


def _voiced_starts(table: EnergyTable, segments: Sequence[Segment]) -> _Times:
    """Return when the voiced frames that are in the recording begin, in order of the source.

    A frame can extend across a cut; it belongs to the segment that contains its middle.
    """
    if not segments:
        return np.empty(0, np.float64)
    frames = np.flatnonzero(table.voiced())
    position = np.array([segment.position_ns for segment in segments], np.int64)
    start = np.array([segment.start_ns for segment in segments], np.int64)
    length = np.array([segment.end_ns - segment.start_ns for segment in segments], np.int64)
    middle = frames * FRAME_NS + FRAME_NS // 2
    index = np.searchsorted(position, middle, "right") - 1
    inside = (index >= 0) & (middle - position[index] < length[index])
    middle, index = middle[inside], index[inside]
    starts: _Times = (middle - position[index] + start[index] - FRAME_NS // 2) / NS_PER_S
    return starts


def _total_s(stretches: Stretches) -> float:
    return float((stretches[:, 1] - stretches[:, 0]).sum())


def _overlap_s(user: Stretches, agent: Stretches) -> float:
    """Return for how long stretches of the user and of the agent overlap."""
    if not len(user) or not len(agent):
        return 0.0
    # The agent's talk time up to a moment is piecewise linear: interpolating it at both ends of the
    # user's stretches gives the overlap without comparing all pairs.
    durations = agent[:, 1] - agent[:, 0]
    talked = np.column_stack((np.zeros(len(agent)), durations)).ravel().cumsum()
    at = np.interp(user, agent.ravel(), talked)
    return float((at[:, 1] - at[:, 0]).sum())


def _longest_silence_s(user: Stretches, agent: Stretches, length_s: float) -> float:
    """Return the longest time without talk of either side, from start to end."""
    both = np.concatenate((user, agent))
    talk = joined(both[np.argsort(both[:, 0])], 0.0)
    begins = np.concatenate(([0.0], talk[:, 1]))
    ends = np.append(talk[:, 0], length_s)
    return max(float((ends - begins).max()), 0.0)


def _agent_over_user_s(user: Stretches, agent: Stretches) -> float:
    """Return for how long both talk in cases where the agent began while the user was talking."""
    if not len(user) or not len(agent):
        return 0.0
    # The user's stretch in which each of the agent's stretches begins, if any.
    index = np.searchsorted(user[:, 0], agent[:, 0], "left") - 1
    begun = (index >= 0) & (agent[:, 0] < user[index, 1])
    until = np.minimum(agent[begun, 1], user[index[begun], 1])
    return float((until - agent[begun, 0]).sum())
