"""The layout of WAV files: a header with the sizes, then chunks.

https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. A chunk is padded to an even
length. Beyond 4 GiB, the sizes are in a separate chunk ``ds64``, and the file is an RF64
(EBU Tech 3306).

Our files have their samples at byte 44, where readers that do not parse chunks expect them (an RF64 has
them at byte 80), and their description after the samples. All sizes are known before the first sample is
written, so the file is written from beginning to end, and no room has to be reserved for ``ds64``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

#: The header of a WAV of 16-bit stereo, up to its samples.
WAV_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
#: The chunk between the first 12 bytes and the format, if sizes have 64 bits.
_DS64: Final = struct.Struct("<4sIQQQI")
CHANNELS: Final = 2
#: Bytes of one frame: a 16-bit sample of each channel.
FRAME_BYTES: Final = 4
#: A size that is unknown, or that is in the chunk ``ds64``.
UNKNOWN: Final = 0xFFFF_FFFF
#: Positions of the size of the whole file: in a RIFF, and in an RF64.
_RIFF_SIZE_AT: Final = 4
_RF64_SIZE_AT: Final = 20


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk, padded to an even length."""
    return struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2)


def wav_header(frames: int, rate_hz: int, behind: int = 0) -> bytes:
    """Return the header of a 16-bit stereo WAV: 44 bytes, or 80 beyond 4 GiB (12 hours at 24 kHz).

    Args:
        frames: number of frames.
        rate_hz: sample rate.
        behind: number of bytes of the chunks after the samples.
    """
    size = frames * FRAME_BYTES
    large = size + behind + WAV_HEADER.size - 8 >= UNKNOWN
    riff_size = size + behind + WAV_HEADER.size - 8 + (_DS64.size if large else 0)
    header = WAV_HEADER.pack(
        b"RF64" if large else b"RIFF",
        UNKNOWN if large else riff_size,
        b"WAVE",
        b"fmt ",
        16,  # size of this chunk
        1,  # WAVE_FORMAT_PCM
        CHANNELS,
        rate_hz,
        rate_hz * FRAME_BYTES,
        FRAME_BYTES,
        16,  # bits per sample
        b"data",
        UNKNOWN if large else size,
    )
    if not large:
        return header
    sizes = _DS64.pack(b"ds64", _DS64.size - 8, riff_size, size, frames, 0)  # 0: no more sizes
    return header[:12] + sizes + header[12:]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a file.

    Attributes:
        name: its four characters.
        at: position of its content.
        size: size of its content, up to the end of the file.
    """

    name: bytes
    at: int
    size: int

    @property
    def end(self) -> int:
        """Where the next chunk begins."""
        return self.at + self.size + self.size % 2


def chunks_of(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the chunks of a WAV file; a file that is not a WAV has none.

    The caller may change the file's position between two chunks.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[8:] != b"WAVE":
        return
    large, position = UNKNOWN, 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64" and length >= 16:
            large = struct.unpack("<QQ", file.read(16))[1]
        elif name == b"data" and length == UNKNOWN:
            length = large
        found = Chunk(name, position + 8, min(length, size - position - 8))
        yield found
        position = found.end


def resize(file: IO[bytes]) -> None:
    """Update the file's size in its header, after the chunks behind its samples have changed."""
    size = file.seek(0, os.SEEK_END) - 8
    file.seek(0)
    large = file.read(4) == b"RF64"
    file.seek(_RF64_SIZE_AT if large else _RIFF_SIZE_AT)
    file.write(struct.pack("<Q" if large else "<I", size))
