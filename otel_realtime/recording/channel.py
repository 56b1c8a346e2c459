"""One side of a recording: its segments become samples, in order, at the recording's rate.

Audio of that rate comes through bit-exact. Other audio is resampled in stretches without a real
pause, each one stream, so that there is nothing to hear where chunks meet.
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

Block = npt.NDArray[np.int16]
Piece = tuple[int, Samples]
"""Where it begins, as a sample of the recording, and what sounds."""

PAUSE_NS: Final = NS_PER_S // 10
"""Silence after which a resampled stretch ends: far longer than the resampler's filter."""


def sample_at(t: int, rate_hz: int) -> int:
    """The sample nearest to a time."""
    return (t * rate_hz + NS_PER_S // 2) // NS_PER_S


def common_rate(segments: Sequence[Segment]) -> int:
    """The rate of a recording of all these: the highest, 24 kHz if there are none."""
    return max((segment.format.rate_hz for segment in segments), default=24_000)


class Channel:
    """Fills blocks of the recording with one side's samples, from the first block to the last."""

    def __init__(
        self, sources: tuple[Path, Path], segments: Sequence[Segment], rate_hz: int
    ) -> None:
        self._sources = sources  # the wire's and the tap's
        self._segments = [segment for segment in segments if segment.offset != LOST]
        self._rate_hz = rate_hz
        self._descriptors: dict[bool, int] = {}
        self._pieces = self._render()
        self._piece: Piece | None = None

    def __enter__(self) -> Channel:
        for tap in {segment.tap for segment in self._segments}:
            try:
                self._descriptors[tap] = descriptor_of(self._sources[tap])
            except FileNotFoundError:
                self._segments = [one for one in self._segments if one.tap is not tap]
        self._piece = next(self._pieces, None)
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def fill(self, block: Block, start: int) -> None:
        """Write what lies in ``block``, which begins at sample ``start`` of the recording."""
        end = start + len(block)
        while self._piece is not None:
            first, samples = self._piece
            last = first + samples.size
            low, high = max(first, start), min(last, end)
            if low < high:
                block[low - start : high - start] = samples[low - first : high - first]
            if last > end:
                return
            self._piece = next(self._pieces, None)

    def _render(self) -> Generator[Piece, None, None]:
        """All pieces in order and without overlap."""
        end = 0  # sample after the last one: rounding must not overlap
        for run in _runs(self._segments, self._rate_hz):
            exact = run[0].format.rate_hz == self._rate_hz
            for piece in self._exact(run, 0, end) if exact else self._resampled(run, end):
                yield piece
                end = piece[0] + piece[1].size

    def _exact(self, run: Sequence[Segment], origin: int, end: int) -> Iterator[Piece]:
        """Samples at the run's own rate; ``origin`` is what counts as sample 0."""
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
            if first > fed:
                samples = np.concatenate((np.zeros(first - fed, np.int16), samples))
                first = fed
            found = stream.feed(samples)
            yield at, found
            at += found.size
            fed = first + samples.size
        yield at, stream.finish()

    def _read(self, segment: Segment, at: int, size: int) -> bytes:
        """What the source holds of a stretch; a crash may have left less."""
        return os.pread(self._descriptors[segment.tap], size, segment.offset + at)


def _runs(segments: Sequence[Segment], rate_hz: int) -> Iterator[list[Segment]]:
    """Stretches of one rate; those to be resampled end where the sound pauses."""
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
