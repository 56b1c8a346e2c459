"""Attachments: their names, their media types and the sizes in a WAV header."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from otel_realtime.sandbox.model import Attachment, Finding

# media type -> the bytes its files begin with
_MAGIC: Final[Mapping[str, bytes]] = {
    "audio/wav": b"RIFF",
    "audio/flac": b"fLaC",
    "audio/ogg": b"OggS",
}


def _name(attachment: Attachment) -> Iterator[str]:
    if "." in attachment.name or not attachment.name:
        yield f"attachment {attachment.name!r}: LangSmith's clients skip it"


def _mime(attachment: Attachment) -> Iterator[str]:
    with attachment.path.open("rb") as file:
        head = file.read(12)
    magic = _MAGIC.get(attachment.mime)
    if magic is not None and not head.startswith(magic):
        yield f"{attachment.mime} begins with {head[:4]!r}"
    elif head[:4] == b"RIFF" and head[8:12] == b"WAVE" and attachment.mime != "audio/wav":
        yield f"a WAV file came as {attachment.mime!r}: only audio/wav plays"
    elif not attachment.size:
        yield "the attachment is empty"


def _wav(attachment: Attachment) -> Iterator[str]:
    with attachment.path.open("rb") as file:
        if file.read(4) == b"RIFF":
            yield from _wav_faults(file, attachment.size)


def _wav_faults(file: BinaryIO, size: int) -> Iterator[str]:
    """Walk the chunks of a RIFF file from byte 4 on and say what does not fit."""
    head = file.read(8)
    if len(head) < 8 or head[4:] != b"WAVE":
        yield "no WAVE form type"
        return
    stated = int.from_bytes(head[:4], "little")
    if stated != size - 8:
        yield f"RIFF size {stated}, the file has {size - 8}"
    position, chunks, frame = 12, [], 0
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        chunks.append(kind)
        if position + 8 + length > size:
            yield f"chunk {kind!r} of {length} bytes runs past the end"
            return
        if kind == b"fmt " and length >= 16:
            _, channels, rate, byte_rate, frame, bits = struct.unpack("<HHIIHH", file.read(16))
            if frame != channels * bits // 8 or byte_rate != rate * frame:
                yield f"fmt: {channels} x {bits} bit at {rate} Hz is not {frame}, {byte_rate}"
        elif kind == b"data" and frame and length % frame:
            yield f"data of {length} bytes is not whole frames of {frame}"
        position += 8 + length + length % 2
    if b"fmt " not in chunks or b"data" not in chunks:
        yield f"chunks are {chunks}: no fmt or no data"


_RULES: Final[Mapping[str, Callable[[Attachment], Iterator[str]]]] = {
    "attachment_name": _name,
    "attachment_mime": _mime,
    "wav_header": _wav,
}


def check_attachment(attachment: Attachment) -> Iterator[Finding]:
    """Apply every rule on one received attachment."""
    for kind, rule in _RULES.items():
        for message in rule(attachment):
            yield Finding(kind=kind, message=message, run_id=attachment.run_id)


def is_recording(name: str, mime: str) -> bool:
    """Tell whether an attachment is a conversation's recording."""
    return mime.startswith("audio/") and Path(name).stem == "conversation"
