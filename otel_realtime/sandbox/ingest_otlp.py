"""``POST /otel/v1/traces``: converts the spans of a request to one batch of runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from otel_realtime.sandbox.bodies import create_private
from otel_realtime.sandbox.mapping import ATTACHMENTS, DEFAULT_PROJECT, parse_json, to_run
from otel_realtime.sandbox.media import check_attachment
from otel_realtime.sandbox.model import Attachment, Batch, RequestError, Run, Violation
from otel_realtime.sandbox.otlp import Span, decode_json, decode_protobuf
from otel_realtime.sandbox.span_rules import check_span

#: The two encodings of https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
_DECODERS = {"application/x-protobuf": decode_protobuf, "application/json": decode_json}


def read(body: bytes, media_type: str, project: str | None, incoming: Path) -> Batch:
    """Decode an OTLP trace request.

    Args:
        body: the uncompressed request body.
        media_type: its content type, without parameters.
        project: the request's ``Langsmith-Project`` header.
        incoming: the directory that inline attachments are written to.

    Raises:
        RequestError: 415 for another media type, 400 for a body that is not a trace request.
    """
    decode = _DECODERS.get(media_type)
    if decode is None:
        raise RequestError(415, f"unsupported content type {media_type!r}: send protobuf or JSON")
    runs: list[Run] = []
    violations: list[Violation] = []
    attachments: list[Attachment] = []
    for span in decode(body):
        run = to_run(span, project or DEFAULT_PROJECT)
        runs.append(run)
        violations.extend(check_span(span, run))
        attachments.extend(_inline_attachments(span, run, incoming))
    for attachment in attachments:
        violations.extend(check_attachment(attachment))
    return Batch(runs=tuple(runs), attachments=tuple(attachments), violations=tuple(violations))


def _inline_attachments(span: Span, run: Run, incoming: Path) -> Iterator[Attachment]:
    """Write the attachments of ``langsmith.attachments`` to files.

    The attribute is a JSON list of objects with ``name``, base64 ``content`` and ``mime_type``:
    https://docs.langchain.com/langsmith/trace-with-opentelemetry
    """
    entries = parse_json(span.attributes.get(ATTACHMENTS))
    for entry in entries if isinstance(entries, list) else ():
        try:
            data = base64.b64decode(entry["content"], validate=True)
            name, mime = str(entry["name"]), str(entry["mime_type"])
        except (TypeError, KeyError, binascii.Error, ValueError):
            # The server's handling of a malformed entry is unknown; the others are kept.
            continue
        path = incoming / uuid4().hex
        with create_private(path) as file:
            file.write(data)
        yield Attachment(
            run_id=run.id,
            name=name,
            mime=mime,
            size=len(data),
            digest=blake2b(data, digest_size=16).hexdigest(),
            path=path,
        )
