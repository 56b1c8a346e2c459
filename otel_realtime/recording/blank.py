"""Overwrites what is silenced in a recording in its source files, too.

The sources of a conversation stay in the state directory until it is delivered, which may take as
long as LangSmith is unavailable. Audio that the app wants silenced need not stay there that long: once
the recording is rendered, its bytes are overwritten with silence in their own format. Sizes and offsets
do not change, so a later rendering places everything as before.

Only audio that was placed in the recording has a time. Answers that were generated but never heard stay
as they are until the folder is deleted.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from otel_realtime.core.audio.formats import ALAW, MULAW, PCM
from otel_realtime.core.audio.redactions import SIDES, intervals_of
from otel_realtime.core.audio.segments import LOST, Interval, Segment, clip_to_intervals
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.state.files import for_overwriting
from otel_realtime.state.journal import SOURCES

#: The byte that encodes silence, by encoding (ITU-T G.711 for the last two).
SILENT_BYTE: Final = {PCM: b"\0", MULAW: b"\xff", ALAW: b"\xd5"}
_BLOCK: Final = 1 << 16


def blank_sources(folder: Path, timeline: Timeline) -> None:
    """Overwrite the silenced stretches in a conversation's sources.

    Args:
        folder: the conversation's folder.
        timeline: its finished timeline.

    Raises:
        OSError: a source cannot be written.
    """
    stretches = timeline.redacted()
    for side in SIDES:
        intervals = intervals_of(stretches, side)
        if not intervals:
            continue
        placed = timeline.placed(side)
        for source, tapped in ((side, False), (f"{side}-tap", True)):
            segments = [each for each in placed if each.tap is tapped and each.offset != LOST]
            _overwrite(folder / SOURCES[source], segments, intervals)


def _reaching(
    intervals: Sequence[Interval], ends: Sequence[int], start: int, end: int
) -> Iterator[Interval]:
    """Yield the intervals that overlap ``start`` to ``end``; both sequences are ascending."""
    for index in range(bisect_right(ends, start), len(intervals)):
        if intervals[index][0] >= end:
            return
        yield intervals[index]


def _overwrite(path: Path, segments: Iterable[Segment], intervals: Sequence[Interval]) -> None:
    ends = [end for _, end in intervals]
    blanked = [
        part
        for segment in segments
        for part in clip_to_intervals(
            [segment], list(_reaching(intervals, ends, segment.start_ns, segment.end_ns))
        )
    ]
    if not blanked or not path.exists():
        return
    descriptor = for_overwriting(path)
    try:
        held = os.fstat(descriptor).st_size
        for segment in blanked:
            silent = SILENT_BYTE[segment.format.encoding]
            end = min(segment.offset + segment.size, held)  # a crash may have left the file shorter
            for at in range(segment.offset, end, _BLOCK):
                os.pwrite(descriptor, silent * min(_BLOCK, end - at), at)
    finally:
        os.close(descriptor)
