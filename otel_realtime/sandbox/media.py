"""Rules on attachments: names, media types and the sizes in a WAV header."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from otel_realtime.sandbox.model import Attachment, Violation

#: Media type -> the bytes its files start with.
_MAGIC: Final[Mapping[str, bytes]] = {
    "audio/wav": b"RIFF",
    "audio/flac": b"fLaC",
    "audio/ogg": b"OggS",
}


def _name(attachment: Attachment) -> Iterator[str]:
    # The Python, JavaScript and Java clients skip names with a period.
    if "." in attachment.name or not attachment.name:
        yield f"LangSmith's clients skip an attachment named {attachment.name!r}"


def _mime(attachment: Attachment) -> Iterator[str]:
    with attachment.path.open("rb") as file:
        head = file.read(12)
    magic = _MAGIC.get(attachment.mime)
    if magic is not None and not head.startswith(magic):
        yield f"an {attachment.mime} file starts with {head[:4]!r}"
    elif head[:4] == b"RIFF" and head[8:12] == b"WAVE" and attachment.mime != "audio/wav":
        yield f"a WAV file was sent as {attachment.mime!r}; only audio/wav is playable"
    elif not attachment.size:
        yield "the attachment is empty"


def _wav(attachment: Attachment) -> Iterator[str]:
    with attachment.path.open("rb") as file:
        if file.read(4) == b"RIFF":
            yield from _wav_errors(file, attachment.size)


def _wav_errors(file: BinaryIO, size: int) -> Iterator[str]:
    """Walk the chunks of a RIFF file from byte 4 on and yield inconsistencies.

    Layout: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html
    """
    head = file.read(8)
    if len(head) < 8 or head[4:] != b"WAVE":
        yield "the RIFF form type is not WAVE"
        return
    riff_size = int.from_bytes(head[:4], "little")
    if riff_size != size - 8:
        yield f"the RIFF size is {riff_size}, the file has {size - 8} bytes"
    position, chunks, frame_size = 12, [], 0
    while position + 8 <= size:
        file.seek(position)
        chunk_id, length = struct.unpack("<4sI", file.read(8))
        chunks.append(chunk_id)
        if position + 8 + length > size:
            yield f"chunk {chunk_id!r} of {length} bytes extends past the end of the file"
            return
        if chunk_id == b"fmt " and length >= 16:
            _, channels, rate, byte_rate, frame_size, bits = struct.unpack("<HHIIHH", file.read(16))
            if frame_size != channels * bits // 8 or byte_rate != rate * frame_size:
                yield (
                    f"fmt: {channels} channels of {bits} bits at {rate} Hz do not give "
                    f"{frame_size} bytes per frame and {byte_rate} per second"
                )
        elif chunk_id == b"data" and frame_size and length % frame_size:
            yield f"data of {length} bytes is not a whole number of {frame_size}-byte frames"
        position += 8 + length + length % 2  # chunks are padded to an even length
    if b"fmt " not in chunks or b"data" not in chunks:
        yield f"the chunks are {chunks}: fmt or data is missing"


_RULES: Final[Mapping[str, Callable[[Attachment], Iterator[str]]]] = {
    "attachment_name": _name,
    "attachment_mime": _mime,
    "wav_header": _wav,
}


def check_attachment(attachment: Attachment) -> Iterator[Violation]:
    """Apply every rule to one received attachment."""
    for kind, rule in _RULES.items():
        for message in rule(attachment):
            yield Violation(kind=kind, message=message, run_id=attachment.run_id)


def is_recording(name: str, mime: str) -> bool:
    """Return whether an attachment is the recording of a conversation."""
    return mime.startswith("audio/") and Path(name).stem == "conversation"
