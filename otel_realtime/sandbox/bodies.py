"""Request bodies as they come in: limited, unzipped, and multipart parts without holding files.

A part named ``attachment.*`` goes to disk as it arrives, so that a recording of any length costs
no memory; the other parts are small JSON.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import Request

from otel_realtime.sandbox.model import Refused


async def chunks(request: Request, limit: int | None) -> AsyncIterator[bytes]:
    """Yield the body's bytes, unzipped.

    Raises:
        Refused: 413 above ``limit`` bytes (as received or unzipped), 415 for an encoding other
            than gzip, 400 for a body that is not what its encoding says.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise Refused(415, f"content encoding {encoding!r} was not offered")
    unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    received = 0
    async for chunk in request.stream():
        try:
            data = unzip.decompress(chunk) if unzip is not None else chunk
        except zlib.error as error:
            raise Refused(400, f"not gzip: {error}") from error
        received += len(data)
        if limit is not None and received > limit:
            raise Refused(413, f"the body is larger than {limit} bytes")
        yield data
    if unzip is not None and received and not unzip.eof:
        raise Refused(400, "the gzip stream is cut")


async def whole(request: Request, limit: int | None) -> bytes:
    """Return the whole body; raises as ``chunks`` does."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


@dataclass(slots=True)
class Part:
    """One part of a multipart body: its headers, and its bytes in memory or at ``path``."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    has_filename: bool = False
    media_type: str = ""
    stated_length: str | None = None
    size: int = 0
    data: bytearray = field(default_factory=bytearray)
    path: Path | None = None
    digest: str = ""

    def read_headers(self) -> None:
        """Take name, media type and length from the headers.

        The length is a Content-Length header or the ``length`` parameter of Content-Type.
        """
        disposition = Message()
        disposition["content-disposition"] = self.headers.get("content-disposition", "")
        kind = Message()
        kind["content-type"] = self.headers.get("content-type", "")
        name = disposition.get_param("name", header="content-disposition")
        self.name = name if isinstance(name, str) else ""
        self.has_filename = disposition.get_filename() is not None
        self.media_type = kind.get_content_type() if kind["content-type"] else ""
        length = kind.get_param("length")
        self.stated_length = self.headers.get("content-length") or (
            length if isinstance(length, str) else None
        )


class PartReader:
    """Feeds bytes to the multipart parser and collects whole parts in ``parts``.

    Raises:
        Refused: 400 for a body that is not multipart with that boundary, or is cut.
    """

    def __init__(self, boundary: str, incoming: Path) -> None:
        self.parts: list[Part] = []
        self._incoming = incoming
        self._part = Part()
        self._file: BinaryIO | None = None
        self._hash = blake2b(digest_size=16)
        self._header = (bytearray(), bytearray())
        self._ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, a, b: self._header[0].extend(data[a:b]),
            "on_header_value": lambda data, a, b: self._header[1].extend(data[a:b]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise Refused(400, f"bad boundary: {error}") from error

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise Refused(400, f"not multipart: {error}") from error

    def close(self) -> None:
        """Close an open file and check that the body came to its end."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if not self._ended:
            raise Refused(400, "the multipart body is cut")

    def discard(self) -> None:
        """Delete the files of all parts that are still there."""
        if self._file is not None:
            self._file.close()
        for part in (*self.parts, self._part):
            if part.path is not None:
                part.path.unlink(missing_ok=True)

    def _begin(self) -> None:
        self._part = Part()
        self._hash = blake2b(digest_size=16)

    def _header_end(self) -> None:
        name, value = (bytes(piece).decode("utf-8", "replace") for piece in self._header)
        self._part.headers[name.strip().lower()] = value.strip()
        for piece in self._header:
            piece.clear()

    def _headers_finished(self) -> None:
        self._part.read_headers()
        if self._part.name.startswith("attachment."):
            self._part.path = self._incoming / uuid4().hex
            self._file = self._part.path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        self._part.size += len(piece)
        if self._file is None:
            self._part.data += piece
        else:
            self._file.write(piece)
            self._hash.update(piece)

    def _part_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._part.digest = self._hash.hexdigest()
        self.parts.append(self._part)

    def _end(self) -> None:
        self._ended = True
