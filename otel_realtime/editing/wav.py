"""Silencing a stretch of a WAV file by overwriting samples.

Everything else in the file stays as it is, byte for byte: other chunks (cue points, labels, metadata),
the header, the other channels. Encodings without a number type of their own (8 and 24 bits, G.711)
are silenced by their code for silence.

Layout: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html; sizes beyond 32 bits:
EBU Tech 3306 (RF64).
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
from otel_realtime.recording.mask import Mask

_PCM: Final = 1
_FLOAT: Final = 3
_ALAW: Final = 6
_MULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
#: A size that is not known, or stands in the chunk ``ds64``.
_UNKNOWN: Final = 0xFFFF_FFFF
#: Format and bytes of a sample -> its number type, if it has one that NumPy knows.
_NUMBERS: Final = {(_PCM, 2): "<i2", (_PCM, 4): "<i4", (_FLOAT, 4): "<f4", (_FLOAT, 8): "<f8"}
#: The same -> the byte that silence consists of, otherwise.
_CODES: Final = {(_PCM, 1): 0x80, (_PCM, 3): 0, (_ALAW, 1): 0xD5, (_MULAW, 1): 0xFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the samples of a WAV file are.

    Attributes:
        format: its format tag.
        channels: number of channels.
        rate_hz: sample rate.
        width: bytes of a sample.
        at: position of the first sample in the file.
        frames: number of frames, as far as the file goes.
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
        RecordingError: it is no WAV file that can be read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[8:] != b"WAVE":
        raise RecordingError(f"{_name(file)} is no WAV file")
    large, form, position = _UNKNOWN, b"", 12
    while position + 8 <= size:
        file.seek(position)
        chunk, length = struct.unpack("<4sI", file.read(8))
        if chunk == b"ds64" and length >= 16:
            large = struct.unpack("<QQ", file.read(16))[1]
        elif chunk == b"fmt ":
            form = file.read(min(length, 40))
        elif chunk == b"data":
            length = large if length == _UNKNOWN else length
            return _layout(file, form, position + 8, min(length, size - position - 8))
        position += 8 + length + length % 2  # chunks are padded to an even length
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
        stretch: what to silence; with a side, the file has two channels.

    Raises:
        RecordingError: a beep was asked for that this kind of samples cannot hold.
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


def _overwrite(block: bytearray, layout: Layout, channel: int, mask: Mask, start: int) -> None:
    """Silence one channel of a block whose samples are no numbers to NumPy."""
    samples: npt.NDArray[Any] = np.frombuffer(block, np.uint8)
    samples = samples.reshape(-1, layout.channels, layout.width)
    stays = np.ones(len(samples), np.int16)
    mask.apply(stays, start)
    samples[stays == 0, channel] = _CODES[layout.format, layout.width]


def _name(file: IO[bytes]) -> str:
    return os.path.basename(str(getattr(file, "name", "the file")))
