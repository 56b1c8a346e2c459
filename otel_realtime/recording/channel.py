"""One channel of a recording: turns its segments into samples at the recording's rate.

Audio at that rate is copied bit-exactly. Other audio is resampled in runs that contain no real pause.
Each run is one stream, so the joins between chunks are inaudible.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples, decode
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.segments import LOST, Segment
from otel_realtime.recording.resample import Resampler
from otel_realtime.state.files import descriptor_of

#: One channel of a block of the recording, shape ``(n,)``.
Block = npt.NDArray[np.int16]
#: Index of the first sample in the recording, and the samples.
Piece = tuple[int, Samples]

#: Length of silence that ends a run: far longer than the resampler's filter, so nothing is cut off.
PAUSE_NS: Final = NS_PER_S // 10


def sample_at(t: int, rate_hz: int) -> int:
    """Return the index of the sample nearest to a time.

    Args:
        t: time in ns since the start of the recording.
        rate_hz: sample rate.
    """
    return (t * rate_hz + NS_PER_S // 2) // NS_PER_S


def common_rate(segments: Sequence[Segment]) -> int:
    """Return the highest sample rate of some segments in Hz; 24 kHz if there are none."""
    return max((segment.format.rate_hz for segment in segments), default=24_000)


class Channel:
    """Fills blocks of the recording with the samples of one side, in ascending order.

    As a context manager it keeps the source files open.

    Args:
        sources: the files of the audio on the wire and of the audio that the app reported.
        segments: segments of the side, ascending and without overlap.
        rate_hz: sample rate of the recording.
    """

    def __init__(
        self, sources: tuple[Path, Path], segments: Sequence[Segment], rate_hz: int
    ) -> None:
        self._sources = sources
        self._segments = [segment for segment in segments if segment.offset != LOST]
        self._rate_hz = rate_hz
        self._descriptors: dict[bool, int] = {}
        self._pieces = self._render()
        self._piece: Piece | None = None

    def __enter__(self) -> Channel:
        for tap in {segment.tap for segment in self._segments}:
            try:
                self._descriptors[tap] = descriptor_of(self._sources[tap])
            except FileNotFoundError:  # a crash before the first write: silence
                self._segments = [segment for segment in self._segments if segment.tap is not tap]
        self._piece = next(self._pieces, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def fill(self, block: Block, start: int) -> None:
        """Write the samples that fall into a block; blocks come in ascending order.

        Args:
            block: samples to fill in, all zero.
            start: index of its first sample in the recording.
        """
        end = start + len(block)
        while self._piece is not None:
            first, samples = self._piece
            last = first + samples.size
            low, high = max(first, start), min(last, end)
            if low < high:
                block[low - start : high - start] = samples[low - first : high - first]
            if last > end:  # the rest of it belongs to the next block
                return
            self._piece = next(self._pieces, None)

    def _render(self) -> Generator[Piece, None, None]:
        """Yield all pieces in ascending order and without overlap."""
        end = 0  # index after the last sample, so that rounded times do not make pieces overlap
        for run in _runs(self._segments, self._rate_hz):
            exact = run[0].format.rate_hz == self._rate_hz
            for piece in self._exact(run, 0, end) if exact else self._resampled(run, end):
                yield piece
                end = piece[0] + piece[1].size

    def _exact(self, run: Sequence[Segment], origin: int, end: int) -> Iterator[Piece]:
        """Yield the samples of a run at its own rate, at most a second at a time.

        Args:
            run: segments of one rate.
            origin: index at this rate that counts as 0.
            end: lowest index to yield.
        """
        for segment in run:
            rate_hz, width = segment.format.rate_hz, segment.format.width
            first = max(sample_at(segment.start_ns, rate_hz) - origin, end)
            for at in range(0, segment.size, rate_hz * width):
                raw = self._read(segment, at, min(rate_hz * width, segment.size - at))
                yield first + at // width, decode(raw, segment.format)
            end = first + segment.size // width

    def _resampled(self, run: Sequence[Segment], end: int) -> Iterator[Piece]:
        rate_hz = run[0].format.rate_hz
        stream = Resampler(rate_hz, self._rate_hz)
        at = max(sample_at(run[0].start_ns, self._rate_hz), end)
        fed = 0
        for first, samples in self._exact(run, sample_at(run[0].start_ns, rate_hz), 0):
            if first > fed:  # a short gap inside the run enters the stream as zeros
                samples = np.concatenate((np.zeros(first - fed, np.int16), samples))
                first = fed
            resampled = stream.feed(samples)
            yield at, resampled
            at += resampled.size
            fed = first + samples.size
        yield at, stream.finish()

    def _read(self, segment: Segment, at: int, size: int) -> bytes:
        """Return bytes of a segment from its source; fewer if a crash left the file shorter."""
        return os.pread(self._descriptors[segment.tap], size, segment.offset + at)


def _runs(segments: Sequence[Segment], rate_hz: int) -> Iterator[list[Segment]]:
    """Yield runs of segments of one rate; a run that needs resampling ends at a pause."""
    run: list[Segment] = []
    for segment in segments:
        if run and not _continues(run[-1], segment, rate_hz):
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _continues(before: Segment, segment: Segment, rate_hz: int) -> bool:
    if segment.format.rate_hz != before.format.rate_hz:
        return False
    exact = segment.format.rate_hz == rate_hz
    return exact or segment.start_ns - before.end_ns < PAUSE_NS
