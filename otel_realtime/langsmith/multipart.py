"""A ``multipart/form-data`` body for LangSmith's run ingestion, streamed from disk.

Format: https://www.rfc-editor.org/rfc/rfc7578, with LangSmith's rules for part names
(``post.<run id>``, ``patch.<run id>.outputs``, ``attachment.<run id>.<name>``); every part needs a
Content-Type and a length, and has no file name:
https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart

An attachment is read while it is sent, so memory use does not depend on its size. Each attempt reads it
again from the start: a retry with a consumed stream would send an empty file, and be accepted.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from otel_realtime.errors import RecordingError

_BLOCK: Final = 64 * 1024
JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Part:
    """A JSON part."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part whose content is a file on disk."""

    name: str
    path: Path
    mime: str


class MultipartBody:
    """The body of one request; ``open`` returns a reader for one attempt.

    Args:
        parts: JSON parts.
        file: part to send after them.

    Raises:
        RecordingError: the file cannot be read.
    """

    def __init__(self, parts: list[Part], file: FilePart | None = None) -> None:
        self._boundary = uuid.uuid4().hex
        self._file = file
        self._file_bytes = 0
        head = b"".join(self._head(p.name, JSON_TYPE, len(p.data)) + p.data for p in parts)
        if file is not None:
            self._file_bytes = _size_of(file.path)
            head += self._head(file.name, file.mime, self._file_bytes)
        self._before = head.removeprefix(b"\r\n")  # the first boundary has no CRLF before it
        self._after = f"\r\n--{self._boundary}--\r\n".encode("ascii")

    @property
    def content_type(self) -> str:
        """Content-Type of the request, with the boundary."""
        return f"multipart/form-data; boundary={self._boundary}"

    def __len__(self) -> int:
        return len(self._before) + self._file_bytes + len(self._after)

    def open(self) -> BodyReader:
        """Return a new reader, from the first byte; the file is opened when it is reached."""
        path = None if self._file is None else self._file.path
        return BodyReader(len(self), self._before, path, self._file_bytes, self._after)

    def _head(self, name: str, mime: str, length: int) -> bytes:
        return (
            f'\r\n--{self._boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n'
            f"Content-Type: {mime}\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


class BodyReader:
    """Reads a body once, as ``requests`` expects it: with a length, ``read`` and iteration."""

    def __init__(
        self, length: int, before: bytes, path: Path | None, file_bytes: int, after: bytes
    ) -> None:
        self._length = length
        self._path = path
        self._file_bytes = file_bytes
        self._before, self._after = io.BytesIO(before), io.BytesIO(after)
        self._blocks = self._read_blocks()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def read(self, size: int = -1, /) -> bytes:
        """Return the next block, of any size up to 64 KiB; empty at the end.

        Raises:
            RecordingError: the file cannot be read, or has become shorter.
        """
        return next(self._blocks, b"") if size else b""

    def _read_blocks(self) -> Iterator[bytes]:
        yield from _blocks(self._before)
        if self._path is not None:
            yield from self._read_file(self._path)
        yield from _blocks(self._after)

    def _read_file(self, path: Path) -> Iterator[bytes]:
        # Raise no OSError: the HTTP client would treat it as a broken connection, and retry forever.
        left = self._file_bytes
        try:
            with path.open("rb") as file:
                while left:
                    block = file.read(min(_BLOCK, left))
                    if not block:
                        raise RecordingError(f"{path.name} became shorter while it was sent")
                    left -= len(block)
                    yield block
        except OSError as error:
            raise RecordingError(f"{path.name} cannot be read: {error.strerror}") from error


def _blocks(data: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: data.read(_BLOCK), b"")


def _size_of(path: Path) -> int:
    try:
        with path.open("rb"):
            return path.stat().st_size
    except OSError as error:
        raise RecordingError(f"{path.name} cannot be read: {error.strerror}") from error
