"""Facts about a recording whose process has died, from its journal and audio files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import PCM16, AudioFormat, parse_format
from otel_realtime.core.audio.segments import LOST
from otel_realtime.recording.track import Track
from otel_realtime.state.journal import SOURCES


class Soundtrack(Track):
    """A ``Track`` that is fed the records of a journal instead of frames, and writes nothing.

    As a context manager it keeps the audio files open.

    Args:
        folder: folder of the journal and the audio.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__({}, None)
        self._source_folder = folder
        self._sources: dict[str, int | None] = {}

    def __enter__(self) -> Soundtrack:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._sources.values():
            if descriptor is not None:
                os.close(descriptor)
        self._sources.clear()

    def apply(self, record: Sequence[Any]) -> None:
        """Apply one record of the journal.

        Args:
            record: ``[kind, t, ...]``; see ``state.journal``.

        Raises:
            TypeError, ValueError, KeyError, IndexError: the record is malformed.
        """
        kind = record[0]
        if kind in SOURCES:
            self._has_audio = True
            self._measure_audio(kind, self._formats[kind], record[2], record[3])
        elif kind == "tap":
            self._has_audio = True
            side = record[2]
            self._measure_audio(f"{side}-tap", self._tap_formats[side], record[3], record[4])
        elif kind == "tap_format":
            self._tap_formats[record[2]] = parse_format(record[3]) or PCM16
        # The meters measure energy along each source's own time: a gap takes time there, too.
        elif kind == "hole":
            self._meters[record[2]].skip(self._formats[record[2]].duration_ns(record[3]))
        elif kind == "format":
            self._formats[record[2]] = parse_format(record[3]) or PCM16
        self._apply(list(record))

    def finish(self) -> None:
        """End the recording where its journal ends, and measure it."""
        with self._lock:
            self._timeline.finish()
        self.measure()

    def _measure_audio(
        self, source: str, audio_format: AudioFormat, offset: int, size: int
    ) -> None:
        """Feed audio to the source's energy meter; what is missing on disk counts as silence."""
        raw = b"" if offset == LOST else self._read(source, offset, size)
        self._meters[source].feed(decode(raw, audio_format), audio_format.rate_hz)
        self._meters[source].skip(audio_format.duration_ns(size - len(raw)))

    def _read(self, source: str, offset: int, size: int) -> bytes:
        """Return bytes of a source; none if its audio was not kept."""
        if source not in self._sources:
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
            try:
                self._sources[source] = os.open(self._source_folder / SOURCES[source], flags)
            except OSError:
                self._sources[source] = None
        descriptor = self._sources[source]
        return b"" if descriptor is None else os.pread(descriptor, size, offset)
