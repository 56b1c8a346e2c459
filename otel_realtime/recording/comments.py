"""Vorbis comments, ``NAME=value``: the metadata of FLAC and Ogg Opus files.

https://www.xiph.org/vorbis/doc/v-comment.html. libsndfile writes only ten names and no chapters, so its
file is copied with other comments: FLAC (RFC 9639, section 8.6), Ogg Opus (RFC 7845, 5.2; pages
RFC 3533). Labelled places become chapters, which players show: https://wiki.xiph.org/Chapter_Extension.
"""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Final

from otel_realtime.recording.about import CHANNELS
from otel_realtime.recording.chunks import chunks_of
from otel_realtime.recording.description import ORIGINATOR, read_description
from otel_realtime.recording.labels import read_labels

#: Names of the comments that the ``INFO`` texts of a WAV become.
_NAMES: Final = {
    "INAM": "TITLE",
    "IART": "ARTIST",
    "ICRD": "DATE",
    "ICMT": "DESCRIPTION",
    "ISFT": "ENCODER",
    "ISBJ": "THREAD_ID",
}
#: Chapter numbers have three digits.
_MOST_CHAPTERS: Final = 999
_CHAPTER: Final = re.compile(r"CHAPTER(\d{3})(NAME)?=(.*)", re.DOTALL | re.IGNORECASE)
_TIME: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\Z", re.ASCII)

_FLAC: Final = b"fLaC"
_FLAC_COMMENTS: Final = 4
_FLAC_PADDING: Final = 1
_FLAC_LAST: Final = 0x80
#: Maximum length of a block of a FLAC file.
_FLAC_LONGEST: Final = (1 << 24) - 1
_OGG: Final = b"OggS"
_OPUS_TAGS: Final = b"OpusTags"
#: Name, version, flags, position, stream, page number, checksum, number of segments.
_PAGE: Final = struct.Struct("<4sBBqIIIB")
_PAGE_CRC_AT: Final = 22
_CONTINUED: Final = 1
_SEGMENT: Final = 255
_SEGMENTS: Final = 255
#: Maps each byte to the one with its bits in reverse order.
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Chapter:
    """A labelled place in a recording.

    Attributes:
        start_ms: where it begins.
        name: what it is.
    """

    start_ms: int
    name: str


def comments_of(wav: Path) -> list[str]:
    """Return the metadata of a WAV as comments.

    Raises:
        OSError: it cannot be read.
    """
    with wav.open("rb") as file:
        chunks = list(chunks_of(file))
        about, labels = read_description(file, chunks), read_labels(file, chunks)
        rate_hz = _rate(file, [chunk.at for chunk in chunks if chunk.name == b"fmt "])
    comments = [f"{name}={about.info[key]}" for key, name in _NAMES.items() if about.info.get(key)]
    if about.originator == ORIGINATOR:
        comments += [f"CHANNEL_LEFT={CHANNELS[0]}", f"CHANNEL_RIGHT={CHANNELS[1]}"]
        comments += [f"TRACE_ID={about.trace_id}"] if about.trace_id else []
        comments += [f"START_TIME={about.started_at}Z"] if about.started_at else []
    if not rate_hz:
        return comments
    return [
        *comments,
        *_listed(Chapter(label.frame * 1_000 // rate_hz, label.text) for label in labels),
    ]


def _rate(file: IO[bytes], formats: Sequence[int]) -> int:
    if not formats:
        return 0
    file.seek(formats[0] + 4)
    return int.from_bytes(file.read(4), "little")


def is_ours(comments: Iterable[str]) -> bool:
    """Return whether this package made the recording that has these comments."""
    return any(comment.startswith(f"ENCODER={ORIGINATOR} ") for comment in comments)


def with_chapter(comments: Iterable[str], chapter: Chapter) -> list[str]:
    """Return comments with one more chapter, all chapters in order."""
    others, starts, names = [], {}, {}
    for comment in comments:
        found = _CHAPTER.fullmatch(comment)
        if found is None:
            others.append(comment)
        elif found[2] is None:
            starts[found[1]] = _ms(found[3])
        else:
            names[found[1]] = found[3]
    known = [Chapter(start, names.get(number, "")) for number, start in starts.items()]
    return [*others, *_listed(sorted([*known, chapter], key=lambda each: each.start_ms))]


def _ms(text: str) -> int:
    found = _TIME.match(text)
    if found is None:
        return 0
    return round((int(found[1]) * 3_600 + int(found[2]) * 60 + float(found[3])) * 1_000)


def _listed(chapters: Iterable[Chapter]) -> Iterator[str]:
    for number, chapter in enumerate(chapters, 1):
        if number > _MOST_CHAPTERS:
            return
        seconds, ms = divmod(chapter.start_ms, 1_000)
        time = f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
        yield f"CHAPTER{number:03}={time}"
        yield f"CHAPTER{number:03}NAME={chapter.name}"


def read_comments(path: Path) -> list[str] | None:
    """Return the comments of a FLAC or Ogg Opus file; ``None`` if it is neither, or damaged.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            if file.read(len(_FLAC)) == _FLAC:
                bodies = (file.read(size) for kind, size in _flac_blocks(file, skip=_FLAC_COMMENTS))
                return _unpacked(next(bodies, b""))[1]
            file.seek(0)
            tags = _opus_tags(file)
            return None if tags is None else _unpacked(tags)[1]
        except (ValueError, struct.error):
            return None


def copy_with_comments(source: Path, target: Path, comments: Sequence[str]) -> None:
    """Copy a FLAC or Ogg Opus file; the copy has exactly the given comments.

    Args:
        source: the file, as libsndfile writes it.
        target: path of the copy, an existing file, which is overwritten.
        comments: the comments.

    Raises:
        OSError: one of the files cannot be read or written.
        ValueError: ``source`` is neither FLAC nor Ogg Opus, or the comments are too long for a FLAC file.
    """
    with source.open("rb") as file, target.open("wb") as copy:
        if file.read(len(_FLAC)) == _FLAC:
            _copy_flac(file, copy, comments)
        else:
            file.seek(0)
            _copy_opus(file, copy, comments)


def _packed(vendor: bytes, comments: Iterable[str]) -> bytes:
    encoded = [comment.replace("\0", "").encode("utf-8", "replace") for comment in comments]
    listed = b"".join(struct.pack("<I", len(each)) + each for each in encoded)
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(encoded)) + listed


def _unpacked(body: bytes) -> tuple[bytes, list[str]]:
    """Return the vendor and the comments.

    Raises:
        ValueError, struct.error: the body is damaged.
    """
    found: list[bytes] = []
    at, count = 0, 1
    while len(found) < count:
        (size,) = struct.unpack_from("<I", body, at)
        if at + 4 + size > len(body):
            raise ValueError("a comment is cut off")
        found.append(body[at + 4 : at + 4 + size])
        at += 4 + size
        if len(found) == 1:
            (number,) = struct.unpack_from("<I", body, at)
            at, count = at + 4, number + 1
    return found[0], [each.decode("utf-8", "replace") for each in found[1:]]


# -- FLAC ----------------------------------------------------------------------------------------


def _flac_blocks(file: IO[bytes], *, skip: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the kind and size of each metadata block; the file is positioned at its content.

    Args:
        file: the file, positioned after its first four bytes.
        skip: only blocks of this kind.
    """
    kind = 0
    while not kind & _FLAC_LAST:
        header = file.read(4)
        if len(header) < 4:
            raise ValueError("a FLAC file is cut off")
        kind, size = header[0], int.from_bytes(header[1:], "big")
        end = file.tell() + size
        if skip is None or kind & ~_FLAC_LAST == skip:
            yield kind & ~_FLAC_LAST, size
        file.seek(end)


def _copy_flac(file: IO[bytes], copy: IO[bytes], comments: Sequence[str]) -> None:
    vendor, kept = b"", []
    for kind, size in _flac_blocks(file):
        body = file.read(size)
        if kind == _FLAC_COMMENTS:
            vendor = _unpacked(body)[0]
        elif kind != _FLAC_PADDING:
            kept.append((kind, body))
    packed = _packed(vendor, comments)
    if len(packed) > _FLAC_LONGEST:
        raise ValueError("the comments are too long for a FLAC file")
    kept.append((_FLAC_COMMENTS, packed))
    copy.write(_FLAC)
    for number, (kind, body) in enumerate(kept, 1):
        last = _FLAC_LAST if number == len(kept) else 0
        copy.write(bytes([kind | last]) + len(body).to_bytes(3, "big") + body)
    shutil.copyfileobj(file, copy, 1 << 20)


# -- Ogg Opus ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Page:
    flags: int
    position: int
    stream: int
    number: int
    segments: bytes
    body: bytes

    @property
    def ends_packet(self) -> bool:
        return bool(self.segments) and self.segments[-1] < _SEGMENT

    def packed(self) -> bytes:
        head = _PAGE.pack(
            _OGG, 0, self.flags, self.position, self.stream, self.number, 0, len(self.segments)
        )
        page = bytearray(head + self.segments + self.body)
        page[_PAGE_CRC_AT : _PAGE_CRC_AT + 4] = _checksum(page).to_bytes(4, "little")
        return bytes(page)


def _checksum(page: bytes | bytearray) -> int:
    """Return the checksum of a page: zlib's polynomial, with the bit order reversed and no inversion."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _pages(file: IO[bytes]) -> Iterator[_Page]:
    while head := file.read(_PAGE.size):
        name, _, flags, position, stream, number, _, count = _PAGE.unpack(head)
        if name != _OGG:
            raise ValueError("an Ogg file has something between its pages")
        segments = file.read(count)
        body = file.read(sum(segments))
        yield _Page(flags, position, stream, number, segments, body)


def _opus_tags(file: IO[bytes]) -> bytes | None:
    """Return the comments of an Ogg Opus file, its second packet; ``None`` if it is not such a file."""
    pages = _pages(file)
    first, found = next(pages, None), b""
    if first is None or not first.body.startswith(b"OpusHead"):
        return None
    for page in pages:
        found += page.body
        if page.ends_packet:
            break
    return found[len(_OPUS_TAGS) :] if found.startswith(_OPUS_TAGS) else None


def _copy_opus(file: IO[bytes], copy: IO[bytes], comments: Sequence[str]) -> None:
    tags = _opus_tags(file)
    if tags is None:
        raise ValueError("it is no Ogg Opus file")
    packet = _OPUS_TAGS + _packed(_unpacked(tags)[0], comments)
    file.seek(0)
    pages = _pages(file)
    first = next(pages)
    copy.write(first.packed())
    number = first.number + 1
    for page in pages:  # skip the old comments: RFC 7845 allows nothing else on their pages
        if page.ends_packet:
            break
    for page in chain(_paged(packet, first.stream), pages):
        page.number, number = number, number + 1
        copy.write(page.packed())


def _paged(packet: bytes, stream: int) -> Iterator[_Page]:
    """Yield the pages of one packet, without numbers yet."""
    lengths = [_SEGMENT] * (len(packet) // _SEGMENT) + [len(packet) % _SEGMENT]
    at = 0
    for first in range(0, len(lengths), _SEGMENTS):
        segments = bytes(lengths[first : first + _SEGMENTS])
        size = sum(segments)
        ends = first + _SEGMENTS >= len(lengths)
        # The position of a page on which no packet ends is -1.
        flags, position = _CONTINUED if first else 0, 0 if ends else -1
        yield _Page(flags, position, stream, 0, segments, packet[at : at + size])
        at += size
