"""Metadata of a WAV as a whole: whose conversation it is, when it began, who is on which side.

It is written twice, because readers know one form or the other: as RIFF ``INFO`` (players, taggers), and
as the broadcast extension ``bext`` (EBU Tech 3285, version 2: editors, archives, courts). ``bext`` gives
the start as a number of samples since midnight, so recordings made with the same clock can be aligned to
the sample. Times are in UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import IO, Final

from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.recording.about import CHANNELS, About
from otel_realtime.recording.chunks import Chunk, chunk
from otel_realtime.recording.labels import parts_of
from otel_realtime.version import VERSION

ORIGINATOR: Final = "otel-realtime"
_SOFTWARE: Final = f"{ORIGINATOR} {VERSION}"
#: Description, originator, originator's reference, date, time, samples since midnight, version, UMID,
#: five measures of loudness, reserved.
_BEXT: Final = struct.Struct("<256s32s32s10s8sQH64s5h180s")
_BEXT_VERSION: Final = 2
#: Position of the first measure, the integrated loudness, and the value that stands for "not measured".
_LOUDNESS_AT: Final = 412
_NOT_MEASURED: Final = 0x7FFF
#: Loudness is written in hundredths, within these bounds: EBU Tech 3285, 2.3.
_LOUDEST: Final = 99.99
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Maximum length of a chunk that is read.
_LONGEST: Final = 1 << 20
#: Maximum number of characters of a thread's id that are written: an app may use any text.
_LONGEST_ID: Final = 1_000


@dataclass(slots=True)
class Description:
    """The metadata of a WAV.

    Attributes:
        info: texts of its ``INFO``, by name: ``INAM`` is the title.
        originator: the program that made it; empty if unknown.
        trace_id: the originator's reference; empty if unknown.
        started_at: when it began, in ISO 8601 format to the second; empty if unknown.
    """

    info: dict[str, str] = field(default_factory=dict)
    originator: str = ""
    trace_id: str = ""
    started_at: str = ""


def pack_description(about: About, rate_hz: int, loudness: float | None = None) -> bytes:
    """Return the chunks that describe a recording; their length does not depend on the loudness.

    Args:
        about: whose conversation it is.
        rate_hz: its sample rate.
        loudness: its integrated loudness in LUFS; ``None`` if it is not known.
    """
    if about.thread_id is not None:
        about = replace(about, thread_id=about.thread_id[:_LONGEST_ID])
    return _info(about) + _broadcast(about, rate_hz, loudness)


def _info(about: About) -> bytes:
    left, right = CHANNELS
    start = _start(about)
    said = [f"left: {left}, right: {right}"]
    if about.thread_id is not None:
        said.append(f"thread {about.thread_id}")
    if about.trace_id is not None:
        said.append(f"trace {about.trace_id}")
    if start is not None:
        said.append(f"started at {start:%Y-%m-%dT%H:%M:%S.%f}Z")
    texts = {
        b"INAM": None if about.thread_id is None else f"Conversation {about.thread_id}",
        b"ISBJ": about.thread_id,
        b"IART": f"{left} (left), {right} (right)",
        b"ICMT": "; ".join(said),
        b"ICRD": None if start is None else f"{start:%Y-%m-%d}",
        b"ISFT": _SOFTWARE,
    }
    listed = (
        chunk(name, text.replace("\0", "").encode("utf-8", "replace") + b"\0")
        for name, text in texts.items()
        if text is not None
    )
    return chunk(b"LIST", b"INFO" + b"".join(listed))


def _broadcast(about: About, rate_hz: int, loudness: float | None) -> bytes:
    left, right = CHANNELS
    description = f"left: {left}, right: {right}"
    if about.thread_id is not None:
        description += f"; thread {about.thread_id}"
    start = _start(about)
    date = time = ""
    reference = 0
    if start is not None and about.start_ns is not None:
        date, time = f"{start:%Y-%m-%d}", f"{start:%H:%M:%S}"
        since_midnight_ns = about.start_ns % (86_400 * NS_PER_S)
        reference = (since_midnight_ns * rate_hz + NS_PER_S // 2) // NS_PER_S
    history = (
        f"A=PCM,F={rate_hz},W=16,M=stereo,T={_SOFTWARE};left={left};right={right};times in UTC\r\n"
    )
    fixed = _BEXT.pack(
        _ascii(description),
        _ascii(ORIGINATOR),
        _ascii(about.trace_id or ""),
        _ascii(date),
        _ascii(time),
        reference,
        _BEXT_VERSION,
        b"",  # no UMID
        _hundredths(loudness),
        *[_NOT_MEASURED] * 4,  # range, true peak, loudest 400 ms and 3 s
        b"",
    )
    return chunk(b"bext", fixed + _ascii(history))


def _hundredths(loudness: float | None) -> int:
    if loudness is None:
        return _NOT_MEASURED
    return round(min(max(loudness, -_LOUDEST), _LOUDEST) * 100)


def _ascii(text: str) -> bytes:
    return text.replace("\0", "").encode("ascii", "replace")


def _start(about: About) -> datetime | None:
    """Return when the conversation began; ``None`` if unknown or outside the range of a calendar date."""
    if about.start_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=about.start_ns // 1_000)
    except OverflowError:
        return None


def forget_loudness(content: bytes) -> bytes:
    """Return a ``bext`` chunk's content without its loudness, after the recording has changed."""
    if len(content) < _BEXT.size:
        return content
    unknown = struct.pack("<h", _NOT_MEASURED)
    return content[:_LOUDNESS_AT] + unknown + content[_LOUDNESS_AT + len(unknown) :]


def read_description(file: IO[bytes], chunks: Iterable[Chunk]) -> Description:
    """Return the metadata of a WAV file.

    Args:
        file: the file.
        chunks: its chunks.
    """
    found = Description()
    for each in chunks:
        if each.name not in (b"LIST", b"bext") or each.size > _LONGEST:
            continue
        file.seek(each.at)
        body = file.read(each.size)
        if each.name == b"bext" and len(body) >= _BEXT.size:
            _, originator, trace_id, date, time, *_ = _BEXT.unpack_from(body)
            found.originator, found.trace_id = _text(originator), _text(trace_id)
            found.started_at = "T".join(filter(None, (_text(date), _text(time))))
        elif body[:4] == b"INFO":
            for name, content in parts_of(body[4:]):
                found.info[name.decode("ascii", "replace")] = _text(content)
    return found


def _text(content: bytes) -> str:
    return content.split(b"\0")[0].decode("utf-8", "replace")
