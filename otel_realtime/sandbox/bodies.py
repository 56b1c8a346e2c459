"""Request bodies: size limit, decompression, and multipart parsing with constant memory.

A part named ``attachment.*`` is written to disk as it arrives, so a recording of any length takes
no memory; all other parts are small JSON and are kept in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.message import Message
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from otel_realtime.sandbox.model import RequestError


async def read_chunks(request: Request, limit: int | None) -> AsyncIterator[bytes]:
    """Yield the bytes of a body, decompressed.

    Args:
        request: the request to read.
        limit: the maximum size in bytes after decompression; None for no limit.

    Raises:
        RequestError: 413 for a body above ``limit``, 415 for an encoding other than gzip, 400 for
            a body that its encoding does not match.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise RequestError(415, f"unsupported content encoding {encoding!r}")
    # wbits 16 + 15: expect a gzip header rather than a zlib one.
    decompressor = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    received = 0
    async for chunk in request.stream():
        try:
            data = decompressor.decompress(chunk) if decompressor is not None else chunk
        except zlib.error as error:
            raise RequestError(400, f"invalid gzip: {error}") from error
        # Counted after decompression, so that a small gzip body cannot expand without bound.
        received += len(data)
        if limit is not None and received > limit:
            raise RequestError(413, f"the body is larger than {limit} bytes")
        yield data
    if decompressor is not None and received and not decompressor.eof:
        raise RequestError(400, "the gzip stream is truncated")


async def read_body(request: Request, limit: int | None) -> bytes:
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

    @staticmethod
    def _append_to(buffer: bytearray) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: buffer.extend(data[start:end])

    def _on_part_begin(self) -> None:
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
            self._file = self._part.path.open("xb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        chunk = memoryview(data)[start:end]
        self._part.size += len(chunk)
        if self._file is None:
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
