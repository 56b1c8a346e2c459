"""Reads request bodies: size limit, decompression, and multipart parsing with constant memory.

A part named ``attachment.*`` is written to disk as it arrives, so a recording of any length takes
no memory. All other parts are small JSON and are kept in memory.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import uuid4

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from otel_realtime.sandbox.model import RequestError

#: Most bytes of a body, or of the parts of one, that are kept in memory: more than any LangSmith server
#: accepts (a self-hosted one accepts 25 MB).
IN_MEMORY: Final = 64_000_000
#: Most bytes of a body that is written to files as it arrives.
IN_FILES: Final = 1_000_000_000
#: Bytes of memory that a part takes besides its content.
_PART: Final = 1000
#: Most bytes that are unpacked at once: a gzip stream can expand a thousandfold.
_PIECE: Final = 1 << 20


async def read_chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the bytes of a body, decompressed, in pieces of bounded size.

    Args:
        request: the request to read.
        limit: the maximum size in bytes after decompression.

    Raises:
        RequestError: 413 for a body above ``limit``, 415 for an encoding other than gzip, 400 for
            invalid or truncated gzip.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise RequestError(415, f"unsupported content encoding {encoding!r}")
    unpacker = _Unpacker() if encoding == "gzip" else None
    received = 0
    async for chunk in request.stream():
        for data in (chunk,) if unpacker is None else unpacker.feed(chunk):
            # Counted after decompression, so that a small gzip body cannot expand without bound.
            received += len(data)
            if received > limit:
                raise RequestError(413, f"the body is larger than {limit} bytes")
            yield data
    if unpacker is not None and not unpacker.ended:
        raise RequestError(400, "the gzip stream is truncated")


class _Unpacker:
    """Unpacks gzip in pieces; a stream may have several members (RFC 1952, section 2.2)."""

    def __init__(self) -> None:
        self._member = self._new()
        self.ended = True

    @staticmethod
    def _new() -> zlib._Decompress:
        return zlib.decompressobj(wbits=31)  # 16 + 15: a gzip header rather than a zlib one

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack the next bytes of the stream, and yield the result in pieces."""
        while data:
            if self._member.eof:
                self._member = self._new()
            try:
                piece = self._member.decompress(data, _PIECE)
            except zlib.error as error:
                raise RequestError(400, f"invalid gzip: {error}") from error
            data = self._member.unconsumed_tail or self._member.unused_data
            self.ended = self._member.eof
            yield piece


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body, decompressed.

    Raises:
        RequestError: as ``read_chunks`` does.
    """
    return b"".join([chunk async for chunk in read_chunks(request, limit)])


@dataclass(slots=True)
class Part:
    """One part of a multipart body: its headers, and its content in memory or at ``path``."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    has_filename: bool = False
    media_type: str = ""
    declared_length: str | None = None
    size: int = 0
    data: bytearray = field(default_factory=bytearray)
    path: Path | None = None
    digest: str = ""

    def parse_headers(self) -> None:
        """Set name, media type and declared length from the headers.

        The length is a Content-Length header or the ``length`` parameter of Content-Type; LangSmith
        requires one of them on each part:
        https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart
        """
        disposition = Message()
        disposition["content-disposition"] = self.headers.get("content-disposition", "")
        content_type = Message()
        content_type["content-type"] = self.headers.get("content-type", "")
        name = disposition.get_param("name", header="content-disposition")
        self.name = name if isinstance(name, str) else ""
        self.has_filename = disposition.get_filename() is not None
        # Message falls back to text/plain, which would hide a missing header.
        self.media_type = content_type.get_content_type() if content_type["content-type"] else ""
        length = content_type.get_param("length")
        self.declared_length = self.headers.get("content-length") or (
            length if isinstance(length, str) else None
        )


def create_private(path: Path) -> BinaryIO:
    """Create a file that only its owner may read, regardless of the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


class PartReader:
    """Parses a multipart body as it arrives and collects complete parts in ``parts``.

    Args:
        boundary: the boundary of the request's content type.
        incoming: the directory that attachments are written to.

    Raises:
        RequestError: 400 for a body that is not multipart with that boundary, or is truncated.
    """

    def __init__(self, boundary: str, incoming: Path) -> None:
        self.parts: list[Part] = []
        self._incoming = incoming
        self._part = Part()
        self._file: BinaryIO | None = None
        self._hash = blake2b(digest_size=16)
        # Name and value of the header being read; either may arrive in several pieces.
        self._header = (bytearray(), bytearray())
        self._ended = False
        self._in_memory = 0
        # Any: the parser's own type for callbacks admits no functions of different arity.
        callbacks: Any = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._append_to(self._header[0]),
            "on_header_value": self._append_to(self._header[1]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise RequestError(400, f"invalid boundary: {error}") from error

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the body.

        Raises:
            RequestError: 400 if they are not multipart.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise RequestError(400, f"invalid multipart body: {error}") from error

    def close(self) -> None:
        """Finish parsing.

        Raises:
            RequestError: 400 if the body lacks its closing boundary.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._ended:
            raise RequestError(400, "the multipart body is truncated")

    def discard(self) -> None:
        """Delete the files of all parts that the store has not moved."""
        if self._file is not None:
            self._file.close()
        for part in (*self.parts, self._part):
            if part.path is not None:
                part.path.unlink(missing_ok=True)

    def _append_to(self, buffer: bytearray) -> Callable[[bytes, int, int], None]:
        def append(data: bytes, start: int, end: int) -> None:
            self._keep(end - start)
            buffer.extend(data[start:end])

        return append

    def _keep(self, size: int) -> None:
        """Count bytes that are kept in memory, and raise above the limit."""
        self._in_memory += size
        if self._in_memory > IN_MEMORY:
            raise RequestError(413, f"the parts are larger than {IN_MEMORY} bytes")

    def _on_part_begin(self) -> None:
        self._keep(_PART)
        self._part = Part()
        self._hash = blake2b(digest_size=16)

    def _on_header_end(self) -> None:
        name, value = (bytes(buffer).decode("utf-8", "replace") for buffer in self._header)
        self._part.headers[name.strip().lower()] = value.strip()
        for buffer in self._header:
            buffer.clear()

    def _on_headers_finished(self) -> None:
        self._part.parse_headers()
        if self._part.name.startswith("attachment."):
            self._part.path = self._incoming / uuid4().hex
            self._file = create_private(self._part.path)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        chunk = memoryview(data)[start:end]
        self._part.size += len(chunk)
        if self._file is None:
            self._keep(len(chunk))
            self._part.data += chunk
        else:
            self._file.write(chunk)
            self._hash.update(chunk)

    def _on_part_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._part.digest = self._hash.hexdigest()
        self.parts.append(self._part)

    def _on_end(self) -> None:
        self._ended = True
