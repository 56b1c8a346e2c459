"""Silences a stretch of a WAV file by overwriting samples.

Everything else in the file stays the same, byte for byte: other chunks (cue points, labels, metadata),
the header, the other channels. The exception is a recording that this package made: it gets one more
label, which says what was silenced, and loses its loudness values. Encodings that have no NumPy number
type (8 and 24 bits, G.711) are overwritten with their code for silence.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.redactions import BEEP, SIDES, Stretch
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import Mark, redaction_label
from otel_realtime.recording.chunks import chunk as pack
from otel_realtime.recording.chunks import chunks_of, resize
from otel_realtime.recording.description import ORIGINATOR, forget_loudness, read_description
from otel_realtime.recording.labels import labels_of, pack_labels, read_labels
from otel_realtime.recording.mask import Mask

PCM: Final = 1
_FLOAT: Final = 3
_ALAW: Final = 6
_MULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
#: (format tag, bytes per sample) -> NumPy number type, for formats that have one.
_NUMBERS: Final = {(PCM, 2): "<i2", (PCM, 4): "<i4", (_FLOAT, 4): "<f4", (_FLOAT, 8): "<f8"}
#: (format tag, bytes per sample) -> the byte that silence consists of, for the other formats.
_CODES: Final = {(PCM, 1): 0x80, (PCM, 3): 0, (_ALAW, 1): 0xD5, (_MULAW, 1): 0xFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the samples of a WAV file are.

    Attributes:
        format: the format tag.
        channels: number of channels.
        rate_hz: sample rate, Hz.
        width: bytes per sample.
        at: byte position of the first sample in the file.
        frames: number of frames that the file really holds.
    """

    format: int
    channels: int
    rate_hz: int
    width: int
    at: int
    frames: int

    @property
    def length_ns(self) -> int:
        """Length of the recording, ns."""
        return self.frames * NS_PER_S // self.rate_hz


def read_layout(file: IO[bytes]) -> Layout:
    """Read where the samples are.

    Raises:
        RecordingError: it is not a WAV file, or one whose samples cannot be read.
    """
    form: bytes | None = None
    for chunk in chunks_of(file):
        if chunk.name == b"fmt ":
            file.seek(chunk.at)
            form = file.read(min(chunk.size, 40))
        elif chunk.name == b"data":
            return _layout(file, form or b"", chunk.at, chunk.size)
    file.seek(8)
    if file.read(4) != b"WAVE":
        raise RecordingError(f"{_name(file)} is no WAV file")
    raise RecordingError(f"{_name(file)} has no sound in it")


def _layout(file: IO[bytes], form: bytes, at: int, size: int) -> Layout:
    if len(form) < 16:
        raise RecordingError(f"{_name(file)} does not say what its samples are")
    tag, channels, rate_hz, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        tag = struct.unpack("<H", form[24:26])[0]  # the sub-format begins with the tag
    width = (bits + 7) // 8
    known = (tag, width) in _NUMBERS or (tag, width) in _CODES
    if not known or not channels or not rate_hz or frame != channels * width:
        raise RecordingError(
            f"{_name(file)} has samples of an unknown kind (format {tag}, {bits} bits)"
        )
    return Layout(
        format=tag, channels=channels, rate_hz=rate_hz, width=width, at=at, frames=size // frame
    )


def silence(file: IO[bytes], layout: Layout, stretch: Stretch) -> None:
    """Overwrite a stretch with silence, or a beep.

    Args:
        file: the file, open for reading and writing.
        layout: where its samples are.
        stretch: what to silence; if it names a side, the file must have two channels.

    Raises:
        RecordingError: the stretch asks for a beep, which this sample format cannot hold.
    """
    kind = (layout.format, layout.width)
    if stretch.how == BEEP and kind not in _NUMBERS:
        raise RecordingError(
            f"{_name(file)} cannot hold a beep: its samples have {layout.width * 8} bits of format "
            f"{layout.format}; silence it"
        )
    masks = [
        Mask([stretch], SIDES[channel % 2], layout.rate_hz) for channel in range(layout.channels)
    ]
    frame = layout.channels * layout.width
    first = stretch.start_ns * layout.rate_hz // NS_PER_S
    last = min(-(-stretch.end_ns * layout.rate_hz // NS_PER_S), layout.frames)
    for start in range(first, last, layout.rate_hz):
        position = layout.at + start * frame
        file.seek(position)
        block = bytearray(file.read(min(layout.rate_hz, last - start) * frame))
        for channel, mask in enumerate(masks):
            if kind in _NUMBERS:
                samples = np.frombuffer(block, _NUMBERS[kind]).reshape(-1, layout.channels)
                mask.apply(samples[:, channel], start)
            else:
                _overwrite(block, layout, channel, mask, start)
        file.seek(position)
        file.write(block)
    file.flush()


def note_silenced(file: IO[bytes], layout: Layout, stretch: Stretch) -> None:
    """Add a label that says what was silenced, if this package made the recording.

    Args:
        file: the file, open for reading and writing.
        layout: where its samples are.
        stretch: what was silenced.
    """
    chunks = list(chunks_of(file))
    behind = [chunk for chunk in chunks if chunk.at > layout.at]
    if not behind or read_description(file, behind).originator != ORIGINATOR:
        return
    mark = Mark(stretch.start_ns, stretch.end_ns, redaction_label(stretch.side))
    added = labels_of([mark], layout.frames, layout.rate_hz)
    labels = pack_labels(sorted([*read_labels(file, behind), *added]))
    kept = []
    for chunk in behind:
        file.seek(chunk.at)
        content = file.read(chunk.size)
        if chunk.name != b"cue " and not (chunk.name == b"LIST" and content[:4] == b"adtl"):
            content = forget_loudness(content) if chunk.name == b"bext" else content
            kept.append(pack(chunk.name, content))
    file.seek(behind[0].at - 8)
    file.write(b"".join([*kept, labels]))
    file.truncate()
    resize(file)


def _overwrite(block: bytearray, layout: Layout, channel: int, mask: Mask, start: int) -> None:
    """Silence one channel of a block whose sample format has no NumPy number type."""
    samples: npt.NDArray[Any] = np.frombuffer(block, np.uint8)
    samples = samples.reshape(-1, layout.channels, layout.width)
    stays = np.ones(len(samples), np.int16)
    mask.apply(stays, start)
    samples[stays == 0, channel] = _CODES[layout.format, layout.width]


def _name(file: IO[bytes]) -> str:
    return os.path.basename(str(getattr(file, "name", "the file")))
