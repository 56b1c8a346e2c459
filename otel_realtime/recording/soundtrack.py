"""Derives facts about a recording whose process has died, from its journal and audio files."""

from __future__ import annotations

import os
from collections.abc import Sequence
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
            self._tap_formats[known[2]] = parse_format(known[3]) or PCM16
        # Energy is measured along each source's own time, in which a gap takes time, too.
        elif kind == "hole":
            duration_ns = self._formats[known[2]].duration_ns(known[3])
            self._energy[known[2]].skip(duration_ns)
            self._dropped_ns += 0 if self._paused else duration_ns
        elif kind in ("pause", "resume"):
            self._paused = kind == "pause"
        elif kind == "format":
            self._formats[known[2]] = parse_format(known[3]) or PCM16
        self._apply(known)

    def finish(self, last_t: int = 0) -> None:
        """End the recording at the last known time, unless its journal ends it, and measure it.

        Args:
            last_t: latest time of any record, including notes, in ns since the start.
        """
        with self._lock:
            end(self._timeline, last_t)
        if self._kept or not self._has_audio:
            self.measure()

    def _measure_audio(
        self, source: str, audio_format: AudioFormat, offset: int, size: int, *, voiced: bool
    ) -> None:
        """Feed audio to the source's energy meter; audio missing on disk counts as silence.

        Args:
            source: Name of the source.
            audio_format: Its format.
            offset: Offset of the audio in the source, in bytes.
            size: Its size in bytes.
            voiced: Whether it contained voice. If it is silent now, it was silenced afterwards and counts
                as voice, so that the user's speech still ends where it ended.
        """
        raw = b"" if offset == LOST else self._read(source, offset, size)
        self._kept |= bool(raw)
        samples = decode(raw, audio_format)
        if voiced and samples.size and samples.min() >= -_SILENT and samples.max() <= _SILENT:
            samples = _stand_in(samples.size, audio_format.rate_hz)
        self._energy[source].feed(samples, audio_format.rate_hz)
        self._energy[source].skip(audio_format.duration_ns(size - len(raw)))

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
