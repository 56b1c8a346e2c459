"""Derives facts about a recording whose process has died, from its journal and audio files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from otel_realtime.core.audio.codecs import Samples, decode
from otel_realtime.core.audio.formats import PCM16, AudioFormat, parse_format
from otel_realtime.core.audio.segments import LOST
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.recording.track import Track
from otel_realtime.state.files import descriptor_of
from otel_realtime.state.journal import SOURCES
from otel_realtime.state.sounds import read_sound

#: The smallest amplitude in A-law, which has no 0 for silence.
_SILENT: Final = 8
#: Amplitude of the stand-in, which alternates every millisecond: loud enough to be voice in any noise.
_VOICE: Final = 8_000
#: Chunks are measured together up to about this size: about two seconds.
_RUN_BYTES: Final = 96 << 10


@dataclass(slots=True)
class _Run:
    """Consecutive chunks of one source.

    Attributes:
        format: Their format.
        offset: Offset of the first one in the source, in bytes.
        size: Their total size in bytes.
        voiced: Offset and size of each chunk that contained voice, in bytes from the first one.
    """

    format: AudioFormat
    offset: int
    size: int = 0
    voiced: list[tuple[int, int]] = field(default_factory=list)

    def add(self, size: int, voiced: bool) -> None:
        """Add the next chunk."""
        if voiced and size:
            self.voiced.append((self.size, size))
        self.size += size

    def unsilenced(self, samples: Samples) -> Samples:
        """Return samples with a stand-in for each chunk of voice that was silenced afterwards.

        It counts as voice, so that the user's speech still ends where it ended.
        """
        sounding = np.flatnonzero((samples < -_SILENT) | (samples > _SILENT))
        width, changed = self.format.width, False
        for offset, size in self.voiced:
            start, end = offset // width, min((offset + size) // width, samples.size)
            first = np.searchsorted(sounding, start)
            if start < end and (first == sounding.size or sounding[first] >= end):
                samples = samples if changed else samples.copy()
                samples[start:end] = _stand_in(end - start, self.format.rate_hz)
                changed = True
        return samples


class Soundtrack(Track):
    """A ``Track`` that is fed journal records instead of frames, and writes nothing.

    As a context manager it keeps the audio files open.

    Args:
        folder: folder of the journal and the audio.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__({}, None, buffer_ms=None)
        self._source_folder = folder
        self._sources: dict[str, int | None] = {}
        self._runs: dict[str, _Run] = {}  # of each source, what is not measured yet
        self._kept = False  # whether any audio is on disk; without it, talk times are unknown

    def __enter__(self) -> Soundtrack:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._sources.values():
            if descriptor is not None:
                os.close(descriptor)
        self._sources.clear()

    def apply(self, record: Sequence[Any]) -> None:
        """Apply one record of the journal; a record of an unknown kind is ignored.

        Args:
            record: ``[kind, t, ...]``; see ``state.journal``.

        Raises:
            ValueError: the record is malformed; it has no effect.
        """
        known = read_sound(list(record))
        if known is None:
            return
        kind = known[0]
        if kind in SOURCES:
            self._has_audio = True
            voiced = kind == "user" and not (len(known) > 4 and known[4])
            self._measure_audio(kind, self._formats[kind], known[2], known[3], voiced=voiced)
        elif kind == "tap":
            self._has_audio = True
            side = known[2]
            voiced = side == "user" and not (len(known) > 6 and known[6])
            self._measure_audio(
                f"{side}-tap", self._tap_formats[side], known[3], known[4], voiced=voiced
            )
        elif kind == "tap_format":
            self._measure_run(f"{known[2]}-tap")
            self._tap_formats[known[2]] = parse_format(known[3]) or PCM16
        # Energy is measured along each source's own time, in which a gap takes time, too.
        elif kind == "hole":
            duration_ns = self._formats[known[2]].duration_ns(known[3])
            self._measure_run(known[2])
            self._energy[known[2]].skip(duration_ns)
            self._dropped_ns += 0 if self._paused else duration_ns
        elif kind in ("pause", "resume"):
            self._paused = kind == "pause"
        elif kind == "format":
            self._measure_run(known[2])
            self._formats[known[2]] = parse_format(known[3]) or PCM16
        self._apply(known)

    def finish(self, last_t: int = 0) -> None:
        """End the recording at the last known time, unless its journal ends it, and measure it.

        Args:
            last_t: latest time of any record, including notes, in ns since the start.
        """
        for source in list(self._runs):
            self._measure_run(source)
        with self._lock:
            end(self._timeline, last_t)
        if self._kept or not self._has_audio:
            self.measure()

    def _measure_audio(
        self, source: str, audio_format: AudioFormat, offset: int, size: int, *, voiced: bool
    ) -> None:
        """Take a chunk of audio for the source's energy meter.

        Consecutive chunks are read and measured together, which is many times faster.

        Args:
            source: Name of the source.
            audio_format: Its format.
            offset: Offset of the audio in the source, in bytes; ``LOST`` if it is not there.
            size: Its size in bytes.
            voiced: Whether it contained voice.
        """
        run = self._runs.get(source)
        if run is not None and (offset != run.offset + run.size or run.size >= _RUN_BYTES):
            self._measure_run(source)
            run = None
        if offset == LOST:
            self._energy[source].skip(audio_format.duration_ns(size))
            return
        if run is None:
            run = self._runs[source] = _Run(audio_format, offset)
        run.add(size, voiced)

    def _measure_run(self, source: str) -> None:
        """Feed a source's chunks to its energy meter; audio missing on disk counts as silence."""
        run = self._runs.pop(source, None)
        if run is None:
            return
        raw = self._read(source, run.offset, run.size)
        self._kept |= bool(raw)
        samples = run.unsilenced(decode(raw, run.format))
        self._energy[source].feed(samples, run.format.rate_hz)
        self._energy[source].skip(run.format.duration_ns(run.size - len(raw)))

    def _read(self, source: str, offset: int, size: int) -> bytes:
        """Return bytes of a source; empty if its audio was not kept."""
        if source not in self._sources:
            try:
                self._sources[source] = descriptor_of(self._source_folder / SOURCES[source])
            except OSError:
                self._sources[source] = None
        descriptor = self._sources[source]
        if descriptor is None:
            return b""
        try:
            held = os.fstat(descriptor).st_size - offset
            return os.pread(descriptor, min(size, held), offset) if held > 0 else b""
        except OSError:  # a damaged disk
            return b""


def _stand_in(size: int, rate_hz: int) -> Samples:
    """Return loud samples that stand in for silenced audio."""
    half = max(rate_hz // 1_000, 1)
    return np.where(np.arange(size) // half % 2, -_VOICE, _VOICE).astype(np.int16)


def end(timeline: Timeline, last_t: int) -> None:
    """End a timeline at the last known time, if its journal has no ``close`` record.

    The agent's audio counts as played until then, even if no further audio record followed.

    Args:
        timeline: the timeline.
        last_t: latest time of any record, ns since the start.
    """
    timeline.last_t = max(timeline.last_t, last_t)
    timeline.finish()
