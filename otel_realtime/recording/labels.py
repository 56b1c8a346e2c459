"""Labelled places in a WAV: cue points with labels and lengths.

Layout: "Multimedia Programming Interface and Data Specifications 1.0", IBM and Microsoft 1991, chunks
``cue ``, ``labl`` and ``ltxt``. Players and editors show them as markers and regions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.recording.about import Mark
from otel_realtime.recording.chunks import Chunk, chunk

#: Id of the point, position in play order, chunk that contains its sample, 0, 0, the sample.
_POINT: Final = struct.Struct("<II4sIII")
#: Id of the point, length in samples, purpose; country, language, dialect and code page, all unused.
_REGION: Final = struct.Struct("<II4sHHHH")
_PURPOSE: Final = b"rgn "
#: Sample numbers have 32 bits: 49 hours at 24 kHz.
_LAST_FRAME: Final = 0xFFFF_FFFE
#: Maximum length of a list that is read.
_LONGEST: Final = 16 << 20


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """A labelled place.

    Attributes:
        frame: index of its first sample.
        frames: its length; 0 for a moment.
        text: what it is.
    """

    frame: int
    frames: int
    text: str


def labels_of(marks: Iterable[Mark], frames: int, rate_hz: int) -> list[Label]:
    """Return the labels of marks, in order; marks outside the recording have no label.

    Args:
        marks: the marks.
        frames: length of the recording.
        rate_hz: its sample rate.
    """
    # A recording has whole samples: a cut at its very end lies up to one sample after the last one.
    length_ns = (frames + 1) * NS_PER_S // rate_hz
    labels = []
    for mark in marks:
        first = max(_frame(mark.start_ns, rate_hz), 0)
        end = min(_frame(mark.end_ns, rate_hz), frames)
        if frames and mark.start_ns <= length_ns:
            # A cut at the end of the recording is placed in its last sample.
            first = min(first, frames - 1, _LAST_FRAME)
            labels.append(Label(first, min(max(end - first, 0), _LAST_FRAME), mark.label))
    return sorted(labels)


def _frame(t: int, rate_hz: int) -> int:
    """Return the sample nearest to a time (ns)."""
    return (t * rate_hz + NS_PER_S // 2) // NS_PER_S


def pack_labels(labels: Iterable[Label]) -> bytes:
    """Return the chunks of labels; empty if there are no labels."""
    points, texts, regions = [], [], []
    for number, label in enumerate(labels, 1):
        points.append(_POINT.pack(number, label.frame, b"data", 0, 0, label.frame))
        text = label.text.encode("utf-8", "replace").replace(b"\0", b"")
        texts.append(chunk(b"labl", struct.pack("<I", number) + text + b"\0"))
        if label.frames:
            regions.append(chunk(b"ltxt", _REGION.pack(number, label.frames, _PURPOSE, 0, 0, 0, 0)))
    if not points:
        return b""
    cues = chunk(b"cue ", struct.pack("<I", len(points)) + b"".join(points))
    # All ``labl`` chunks first: ffmpeg stops reading at the first chunk of another kind.
    return cues + chunk(b"LIST", b"adtl" + b"".join([*texts, *regions]))


def read_labels(file: IO[bytes], chunks: Iterable[Chunk]) -> list[Label]:
    """Return the labels of a WAV file, in order; a point without a text has an empty one.

    Args:
        file: the file.
        chunks: its chunks.
    """
    frames: dict[int, int] = {}
    lengths: dict[int, int] = {}
    texts: dict[int, str] = {}
    for found in chunks:
        if found.name not in (b"cue ", b"LIST") or found.size > _LONGEST:
            continue
        file.seek(found.at)
        body = file.read(found.size)
        if found.name == b"cue ":
            for at in range(4, len(body) - _POINT.size + 1, _POINT.size):
                number, *_, frame = _POINT.unpack_from(body, at)
                frames[number] = frame
        elif body[:4] == b"adtl":
            for name, content in parts_of(body[4:]):
                if name == b"labl" and len(content) >= 4:
                    number = struct.unpack_from("<I", content)[0]
                    texts[number] = content[4:].split(b"\0")[0].decode("utf-8", "replace")
                elif name == b"ltxt" and len(content) >= 8:
                    number, length = struct.unpack_from("<II", content)
                    lengths[number] = length
    return sorted(
        Label(frame, lengths.get(number, 0), texts.get(number, ""))
        for number, frame in frames.items()
    )


def parts_of(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each chunk in a list."""
    at = 0
    while at + 8 <= len(body):
        name, size = struct.unpack_from("<4sI", body, at)
        yield name, body[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
