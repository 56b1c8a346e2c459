"""``POST /otel/v1/traces``: a request's spans become one batch of runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from otel_realtime.sandbox.mapping import ATTACHMENTS, DEFAULT_PROJECT, parse, to_run
from otel_realtime.sandbox.media import check_attachment
from otel_realtime.sandbox.model import Attachment, Batch, Finding, Refused, Run
from otel_realtime.sandbox.otlp import Span, decode_json, decode_protobuf
from otel_realtime.sandbox.span_rules import check_span

_DECODERS = {"application/x-protobuf": decode_protobuf, "application/json": decode_json}


def read(body: bytes, media_type: str, project: str | None, incoming: Path) -> Batch:
    """Decode an OTLP trace request; inline attachments are written below ``incoming``.

    Raises:
        Refused: 415 for another media type, 400 for a body that is no trace request.
    """
    decode = _DECODERS.get(media_type)
    if decode is None:
        raise Refused(415, f"content type {media_type!r}: send protobuf or JSON")
    runs: list[Run] = []
    findings: list[Finding] = []
    attached: list[Attachment] = []
    for span in decode(body):
        run = to_run(span, project or DEFAULT_PROJECT)
        runs.append(run)
        findings.extend(check_span(span, run))
        attached.extend(_inline_attachments(span, run, incoming))
    for attachment in attached:
        findings.extend(check_attachment(attachment))
    return Batch(runs=tuple(runs), attachments=tuple(attached), findings=tuple(findings))


def _inline_attachments(span: Span, run: Run, incoming: Path) -> Iterator[Attachment]:
    """``langsmith.attachments``: a JSON list of name, base64 content and mime_type."""
    listed = parse(span.attributes.get(ATTACHMENTS))
    for item in listed if isinstance(listed, list) else ():
        try:
            data = base64.b64decode(item["content"], validate=True)
            name, mime = str(item["name"]), str(item["mime_type"])
        except (TypeError, KeyError, binascii.Error, ValueError):
            continue
        path = incoming / uuid4().hex
        path.write_bytes(data)
        yield Attachment(
            run_id=run.id,
            name=name,
            mime=mime,
            size=len(data),
            digest=blake2b(data, digest_size=16).hexdigest(),
            path=path,
        )
