"""Journal and sources become one stereo WAV: left the user, right the agent.

One streaming pass, a second of sound at a time, so memory stays flat whatever the length. Samples
come through bit-exact. A folder whose process died renders as far as its journal goes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.codecs import decode
from otel_realtime.core.formats import NS
from otel_realtime.core.segments import LOST, Segment
from otel_realtime.core.timeline import Timeline
from otel_realtime.errors import RecordingError
from otel_realtime.recording.journal import SOURCES, read
from otel_realtime.recording.pacing import Pacer

WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHANNELS: Final = 2
_FRAME_BYTES: Final = 4
_MOST: Final = 0xFFFF_FFFF
Block = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A finished recording: ``frames`` stereo samples at ``rate_hz``."""

    path: Path
    frames: int
    rate_hz: int
    duration_s: float


def load(folder: Path) -> Timeline:
    """Read a folder's journal into a finished timeline, with or without its end.

    Raises:
        RecordingError: there is no readable journal.
    """
    timeline, pacer = Timeline(), Pacer()
    for record in read(folder):
        timeline.apply(record)
        pacer.step()
    timeline.finish()
    return timeline


def render(folder: Path, out: Path) -> Rendered:
    """Write the recording of a conversation's folder to ``out`` (WAV, 16 bit, stereo).

    The file appears under its name when it is whole.

    Raises:
        RecordingError: the folder cannot be read, its formats cannot be mixed, or ``out`` cannot
            be written.
    """
    timeline = load(folder)
    user, agent = timeline.segments("user"), timeline.segments("agent")
    rate_hz = _rate(user, agent)
    frames = _frames(timeline.length_ns, rate_hz)
    partial = out.with_name(out.name + ".part")
    try:
        with (
            _Channel(folder / SOURCES["user"], user, rate_hz) as left,
            _Channel(folder / SOURCES["agent"], agent, rate_hz) as right,
            open(partial, "wb", opener=_private) as file,
        ):
            file.write(wav_header(frames, rate_hz))
            pacer = Pacer()
            for start in range(0, frames, rate_hz):
                block = np.zeros((min(rate_hz, frames - start), _CHANNELS), "<i2")
                left.fill(block[:, 0], start)
                right.fill(block[:, 1], start)
                file.write(block.data)
                pacer.step()
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RecordingError(f"the recording of {folder} cannot be rendered: {error}") from error
    return Rendered(out, frames, rate_hz, frames / rate_hz)


def wav_header(frames: int, rate_hz: int) -> bytes:
    """The 44 bytes before ``frames`` stereo samples of 16 bits.

    Sizes that do not fit into 32 bits (past 12 hours) are written as the largest that does, which
    players read as "until the end of the file".
    """
    size = frames * _FRAME_BYTES
    return WAV_HEADER.pack(
        b"RIFF",
        min(size + WAV_HEADER.size - 8, _MOST),
        b"WAVE",
        b"fmt ",
        16,
        1,
        _CHANNELS,
        rate_hz,
        rate_hz * _FRAME_BYTES,
        _FRAME_BYTES,
        16,
        b"data",
        min(size, _MOST),
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _frames(t: int, rate_hz: int) -> int:
    """The sample nearest to a time."""
    return (t * rate_hz + NS // 2) // NS


def _rate(user: Sequence[Segment], agent: Sequence[Segment]) -> int:
    rates = {segment.format.rate_hz for side in (user, agent) for segment in side}
    if len(rates) > 1:
        named = ", ".join(str(rate) for rate in sorted(rates))
        raise RecordingError(f"sides at different sample rates ({named} Hz) cannot be mixed")
    return rates.pop() if rates else 24_000


class _Channel:
    """One side's samples in the order of the recording."""

    def __init__(self, source: Path, segments: Sequence[Segment], rate_hz: int) -> None:
        self._source = source
        self._segments = [segment for segment in segments if segment.offset != LOST]
        self._rate_hz = rate_hz
        self._next = 0
        self._end = 0  # sample after the last one written: rounding must not overlap
        self._descriptor: int | None = None

    def __enter__(self) -> _Channel:
        if self._segments:
            try:
                self._descriptor = os.open(self._source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except FileNotFoundError:
                self._segments = []
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def fill(self, block: Block, start: int) -> None:
        """Write what lies in ``block``, which begins at sample ``start`` of the recording."""
        end = start + len(block)
        while self._next < len(self._segments):
            segment = self._segments[self._next]
            width = segment.format.width
            first = max(_frames(segment.start_ns, self._rate_hz), self._end)
            last = first + segment.size // width
            low, high = max(first, start), min(last, end)
            if low < high:
                raw = self._read(segment.offset + (low - first) * width, (high - low) * width)
                samples = decode(raw, segment.format)
                block[low - start : low - start + samples.size] = samples
            if last > end:
                return
            self._end = last
            self._next += 1

    def _read(self, offset: int, size: int) -> bytes:
        """What the source holds of a stretch; a crash may have left less."""
        assert self._descriptor is not None
        return os.pread(self._descriptor, size, offset)
