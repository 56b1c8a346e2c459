"""The runs API: multipart and JSON bodies become one batch of posts, patches and attachments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.sandbox.bodies import Part
from otel_realtime.sandbox.mapping import DEFAULT_PROJECT
from otel_realtime.sandbox.media import check_attachment
from otel_realtime.sandbox.model import (
    BY_RUNS_API,
    RUN_TYPES,
    Attachment,
    Batch,
    Finding,
    Patch,
    Refused,
    Run,
    fingerprint,
)
from otel_realtime.sandbox.span_rules import looks_like_audio
from otel_realtime.sandbox.times import as_uuid, parse_iso

PART_FIELDS: Final = frozenset({"inputs", "outputs", "events", "error", "extra", "serialized"})
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "post": ("id", "name", "run_type", "start_time"),
    "patch": ("id",),
}
_ORDERED: Final = ("trace_id", "dotted_order")


@dataclass(slots=True)
class _Operation:
    """A post or a patch while its parts are put together."""

    verb: str
    run_id: str
    body: dict[str, Any] = field(default_factory=dict)


class _Reader:
    """Puts a request together; findings are collected, what is malformed refuses it all."""

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str], _Operation] = {}
        self.attachments: list[Attachment] = []
        self.findings: list[Finding] = []

    def refuse(self, kind: str, message: str, run_id: str = "") -> Refused:
        self.findings.append(Finding(kind=kind, message=message, run_id=run_id))
        return Refused(422, message, tuple(self.findings))

    def report(self, kind: str, message: str, run_id: str) -> None:
        self.findings.append(Finding(kind=kind, message=message, run_id=run_id))

    # --- multipart --------------------------------------------------------------------------------

    def part(self, part: Part) -> None:
        verb, _, rest = part.name.partition(".")
        identity, _, last = rest.partition(".")
        run_id = as_uuid(identity)
        if verb not in ("post", "patch", "attachment") or run_id is None:
            raise self.refuse("malformed_run", f"part name {part.name!r}")
        self._check_headers(part, run_id)
        if verb == "attachment":
            self._attachment(part, run_id, last)
        elif not last:
            value = self.json(bytes(part.data), part.name, run_id)
            if not isinstance(value, dict):
                raise self.refuse("malformed_run", f"part {part.name!r} is no object", run_id)
            self._operation(verb, run_id).body |= value
        elif last in PART_FIELDS:
            value = self.json(bytes(part.data), part.name, run_id)
            self._operation(verb, run_id).body[last] = value
        else:
            raise self.refuse("malformed_run", f"part name {part.name!r}", run_id)

    def _operation(self, verb: str, run_id: str) -> _Operation:
        return self.operations.setdefault((verb, run_id), _Operation(verb, run_id))

    def _check_headers(self, part: Part, run_id: str) -> None:
        if not part.media_type or part.stated_length is None:
            raise self.refuse(
                "part_headers", f"part {part.name!r} needs Content-Type and a length", run_id
            )
        if part.stated_length != str(part.size):
            raise self.refuse(
                "part_headers",
                f"part {part.name!r} has {part.size} bytes, not {part.stated_length}",
                run_id,
            )
        if part.has_filename:
            raise self.refuse("part_headers", f"part {part.name!r} has a filename", run_id)

    def _attachment(self, part: Part, run_id: str, name: str) -> None:
        assert part.path is not None  # every attachment part goes to a file
        attachment = Attachment(
            run_id=run_id,
            name=name,
            mime=part.media_type,
            size=part.size,
            digest=part.digest,
            path=part.path,
        )
        self.attachments.append(attachment)
        self.findings.extend(check_attachment(attachment))

    # --- JSON -------------------------------------------------------------------------------------

    def json(self, data: bytes, where: str, run_id: str) -> Any:
        odd: list[str] = []

        def integer(digits: str) -> int:
            value = int(digits[:400])
            if not -(2**63) <= value < 2**64:
                odd.append(f"integer of {len(digits)} digits")
            return value

        def constant(name: str) -> str:
            odd.append(name)
            return name

        try:
            value = json.loads(data, parse_int=integer, parse_constant=constant)
        except (ValueError, RecursionError) as error:
            raise self.refuse("bad_json", f"{where}: {error}", run_id) from error
        if b"\\ud" in data.lower() and _has_surrogate(value):
            odd.append("lone surrogate")
        for what in odd:
            self.report("bad_value", f"{where}: {what}", run_id)
        if looks_like_audio(data.decode("utf-8", "replace")):
            self.report("audio_in_text", f"{where} holds what looks like base64 audio", run_id)
        return value

    # --- operations -------------------------------------------------------------------------------

    def batch(self, *, ordered: bool) -> Batch:
        """``ordered``: trace_id and dotted_order are needed (multipart and batch)."""
        runs, patches = [], []
        for (verb, run_id), operation in self.operations.items():
            self._check_fields(operation, ordered=ordered)
            if verb == "post":
                runs.append(self._run(run_id, operation.body))
            else:
                patches.append(self._patch(run_id, operation.body))
        return Batch(
            runs=tuple(runs),
            patches=tuple(patches),
            attachments=tuple(self.attachments),
            findings=tuple(self.findings),
        )

    def _check_fields(self, operation: _Operation, *, ordered: bool) -> None:
        body = operation.body
        needed = _NEEDED[operation.verb] + (_ORDERED if ordered else ())
        missing = [name for name in needed if body.get(name) is None]
        if missing:
            message = f"{operation.verb} without {', '.join(missing)}"
            raise self.refuse("malformed_run", message, operation.run_id)
        if as_uuid(body["id"]) != operation.run_id:
            raise self.refuse("malformed_run", f"id is {body['id']!r}", operation.run_id)
        run_type = body.get("run_type")
        if run_type is not None and run_type not in RUN_TYPES:
            raise self.refuse("malformed_run", f"run_type is {run_type!r}", operation.run_id)
        for name in ("trace_id", "parent_run_id"):
            if body.get(name) is not None and as_uuid(body[name]) is None:
                raise self.refuse("malformed_run", f"{name} is {body[name]!r}", operation.run_id)
        if body.get("attachments"):
            self.report(
                "attachment_ignored",
                "attachments inside the run's JSON: send them as parts",
                operation.run_id,
            )

    def _time(self, body: Mapping[str, Any], name: str, run_id: str) -> int | None:
        value = body.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            ns = parse_iso(value)
            if ns is None:
                raise self.refuse("malformed_run", f"{name} is {value!r}", run_id)
            return ns
        if type(value) is int:
            return value * 10**6  # LangSmith reads numbers as milliseconds
        if isinstance(value, float):
            self.report("float_timestamp", f"{name} is {value!r}", run_id)
            return int(value * 10**6)
        raise self.refuse("malformed_run", f"{name} is {value!r}", run_id)

    def _run(self, run_id: str, body: Mapping[str, Any]) -> Run:
        changes = self._changes(run_id, body)
        changes.setdefault("metadata", {})
        parent = as_uuid(body.get("parent_run_id"))
        trace = as_uuid(body.get("trace_id"))
        return Run(
            id=run_id,
            run_type=body["run_type"],
            delivered_by=BY_RUNS_API,
            project=str(body.get("session_name") or DEFAULT_PROJECT),
            trace_id=trace or (None if parent else run_id),
            parent_id=parent,
            dotted_order=body.get("dotted_order"),
            start_ns=self._time(body, "start_time", run_id),
            otel_trace_id=str(changes["metadata"].get("OTEL_TRACE_ID") or ""),
            fingerprint=fingerprint(body),
            **changes,
        )

    def _patch(self, run_id: str, body: Mapping[str, Any]) -> Patch:
        return Patch(
            run_id=run_id,
            trace_id=as_uuid(body.get("trace_id")),
            dotted_order=body.get("dotted_order"),
            changes=self._changes(run_id, body),
            fingerprint=fingerprint(body),
        )

    def _changes(self, run_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a run that were given; a null says nothing (clients send many)."""
        found: dict[str, Any] = {
            name: body[name] for name in ("inputs", "outputs") if body.get(name) is not None
        }
        for name in ("name", "error"):
            if body.get(name) is not None:
                found[name] = str(body[name])
        if body.get("tags"):
            found["tags"] = tuple(str(tag) for tag in body["tags"])
        if body.get("end_time") is not None:
            found["end_ns"] = self._time(body, "end_time", run_id)
        extra = body.get("extra")
        if isinstance(extra, Mapping):
            metadata = extra.get("metadata")
            found["metadata"] = metadata if isinstance(metadata, Mapping) else {}
            found["extra"] = {k: v for k, v in extra.items() if k != "metadata"}
        for source in (found.get("outputs"), found.get("metadata")):
            if isinstance(source, Mapping) and source.get("usage_metadata") is not None:
                found["usage"] = source["usage_metadata"]
                break
        return found


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def read_parts(parts: Iterable[Part]) -> Batch:
    """Read ``POST /runs/multipart``.

    Raises:
        Refused: 422, a part is malformed; nothing of the request counts.
    """
    reader = _Reader()
    for part in parts:
        reader.part(part)
    return reader.batch(ordered=True)


def read_json(body: bytes, verb: str, run_id: str | None = None) -> Batch:
    """Read ``POST /runs``, ``PATCH /runs/{id}`` or, with verb ``batch``, ``POST /runs/batch``.

    Raises:
        Refused: 422, the body is no run; nothing of the request counts.
    """
    reader = _Reader()
    whole = reader.json(body, f"{verb} body", run_id or "")
    for each, item in _items(whole, verb):
        identity = as_uuid(run_id or (item.get("id") if isinstance(item, dict) else None))
        if not isinstance(item, dict) or identity is None:
            raise reader.refuse("malformed_run", "a run is an object with a UUID as id")
        if run_id is not None:
            item = {"id": identity, **item}
        reader.operations[each, identity] = _Operation(each, identity, item)
    return reader.batch(ordered=verb == "batch")


def _items(whole: Any, verb: str) -> Iterator[tuple[str, Any]]:
    if verb != "batch":
        yield verb, whole
    elif isinstance(whole, dict):
        for each in ("post", "patch"):
            yield from ((each, item) for item in whole.get(each) or ())
    else:
        yield "post", None
