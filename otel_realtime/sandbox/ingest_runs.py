"""The runs API: converts multipart and JSON bodies to one batch of posts, patches and attachments.

Multipart format: https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.attributes import INTEGRATION, Meta
from otel_realtime.sandbox import json_in
from otel_realtime.sandbox.bodies import Part
from otel_realtime.sandbox.mapping import DEFAULT_PROJECT
from otel_realtime.sandbox.media import check_attachment
from otel_realtime.sandbox.model import (
    BY_RUNS_API,
    RUN_TYPES,
    Attachment,
    Batch,
    JsonObject,
    Patch,
    RequestError,
    Run,
    Violation,
    fingerprint,
)
from otel_realtime.sandbox.span_rules import looks_like_audio
from otel_realtime.sandbox.times import as_uuid, parse_iso

#: Fields of a run that may come in a part of their own, named ``post.<run id>.<field>``.
PART_FIELDS: Final = frozenset({"inputs", "outputs", "events", "error", "extra", "serialized"})
_REQUIRED_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "post": ("id", "name", "run_type", "start_time"),
    "patch": ("id",),
}
#: Types of the fields that the sandbox uses; null counts as missing.
_FIELD_TYPES: Final[Mapping[str, type]] = {
    "run_type": str, "dotted_order": str, "tags": list, "extra": dict,
}  # fmt: skip
#: Required by the batch and multipart endpoints; a single run may leave them to the server.
_TREE_FIELDS: Final = ("trace_id", "dotted_order")


@dataclass(slots=True)
class _Operation:
    """A post or a patch while it is assembled from its parts."""

    verb: str
    run_id: str
    body: JsonObject = field(default_factory=dict)


class _RequestReader:
    """Assembles one request.

    A malformed run rejects the whole request; any other violation is only collected.
    """

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str], _Operation] = {}
        self.attachments: list[Attachment] = []
        self.violations: list[Violation] = []

    def rejection(self, kind: str, message: str, run_id: str = "") -> RequestError:
        """Return the error that rejects the request, for the caller to raise."""
        self.report(kind, message, run_id)
        return RequestError(422, message, tuple(self.violations))

    def report(self, kind: str, message: str, run_id: str) -> None:
        self.violations.append(Violation(kind=kind, message=message, run_id=run_id))

    # --- multipart -------------------------------------------------------------------------------

    def add_part(self, part: Part) -> None:
        verb, _, rest = part.name.partition(".")
        raw_id, _, last = rest.partition(".")
        run_id = as_uuid(raw_id)
        if verb not in ("post", "patch", "attachment") or run_id is None:
            raise self.rejection("malformed_run", f"invalid part name {part.name!r}")
        self._check_headers(part, run_id)
        if verb == "attachment":
            self._add_attachment(part, run_id, last)
        elif not last:
            value = self.parse_json(bytes(part.data), part.name, run_id)
            if not isinstance(value, dict):
                message = f"part {part.name!r} is not a JSON object"
                raise self.rejection("malformed_run", message, run_id)
            self._operation(verb, run_id).body |= value
        elif last in PART_FIELDS:
            value = self.parse_json(bytes(part.data), part.name, run_id)
            self._operation(verb, run_id).body[last] = value
        else:
            raise self.rejection("malformed_run", f"invalid part name {part.name!r}", run_id)

    def _operation(self, verb: str, run_id: str) -> _Operation:
        return self.operations.setdefault((verb, run_id), _Operation(verb, run_id))

    def _check_headers(self, part: Part, run_id: str) -> None:
        if not part.media_type or part.declared_length is None:
            raise self.rejection(
                "part_headers", f"part {part.name!r} needs a Content-Type and a length", run_id
            )
        if part.declared_length != str(part.size):
            raise self.rejection(
                "part_headers",
                f"part {part.name!r} has {part.size} bytes, not {part.declared_length}",
                run_id,
            )
        if part.has_filename:
            raise self.rejection("part_headers", f"part {part.name!r} has a filename", run_id)

    def _add_attachment(self, part: Part, run_id: str, name: str) -> None:
        assert part.path is not None  # PartReader writes every attachment to a file
        attachment = Attachment(
            run_id=run_id,
            name=name,
            mime=part.media_type,
            size=part.size,
            digest=part.digest,
            path=part.path,
        )
        self.attachments.append(attachment)
        self.violations.extend(check_attachment(attachment))

    # --- JSON ------------------------------------------------------------------------------------

    def parse_json(self, data: bytes, location: str, run_id: str) -> Any:
        """Parse JSON and report values that are not valid Unicode, JSON or 64-bit integers.

        Raises:
            RequestError: 422 if ``data`` is not JSON.
        """
        invalid: list[str] = []

        def integer(digits: str, value: int) -> None:
            if not -(2**63) <= value < 2**64:
                invalid.append(f"integer of {len(digits)} digits")

        def constant(name: str) -> str:
            # NaN, Infinity and -Infinity: Python writes them, JSON has none.
            invalid.append(name)
            return name

        try:
            value = json_in.read(data, on_int=integer, on_constant=constant)
        except ValueError as error:
            raise self.rejection("bad_json", f"{location}: {error}", run_id) from error
        if b"\\ud" in data.lower() and _has_surrogate(value):
            invalid.append("lone surrogate")
        for description in invalid:
            self.report("bad_value", f"{location}: {description}", run_id)
        if looks_like_audio(data.decode("utf-8", "replace")):
            self.report("audio_in_text", f"{location} holds what looks like base64 audio", run_id)
        return value

    # --- operations ------------------------------------------------------------------------------

    def batch(self, *, needs_tree_fields: bool) -> Batch:
        """Return the request as a batch.

        Args:
            needs_tree_fields: whether the endpoint requires ``trace_id`` and ``dotted_order``.

        Raises:
            RequestError: 422 if an operation is malformed.
        """
        runs, patches = [], []
        for (verb, run_id), operation in self.operations.items():
            self._check_fields(operation, needs_tree_fields=needs_tree_fields)
            if verb == "post":
                runs.append(self._run(run_id, operation.body))
            else:
                patches.append(self._patch(run_id, operation.body))
        return Batch(
            runs=tuple(runs),
            patches=tuple(patches),
            attachments=tuple(self.attachments),
            violations=tuple(self.violations),
        )

    def _check_fields(self, operation: _Operation, *, needs_tree_fields: bool) -> None:
        body = operation.body
        required = _REQUIRED_FIELDS[operation.verb] + (_TREE_FIELDS if needs_tree_fields else ())
        missing = [name for name in required if body.get(name) is None]
        if missing:
            message = f"{operation.verb} without {', '.join(missing)}"
            raise self.rejection("malformed_run", message, operation.run_id)
        if as_uuid(body["id"]) != operation.run_id:
            raise self.rejection("malformed_run", f"id is {body['id']!r}", operation.run_id)
        for name, kind in _FIELD_TYPES.items():
            if body.get(name) is not None and not isinstance(body[name], kind):
                message = f"{name} is {body[name]!r}"
                raise self.rejection("malformed_run", message, operation.run_id)
        run_type = body.get("run_type")
        if run_type is not None and run_type not in RUN_TYPES:
            raise self.rejection("malformed_run", f"run_type is {run_type!r}", operation.run_id)
        for name in ("trace_id", "parent_run_id"):
            if body.get(name) is not None and as_uuid(body[name]) is None:
                message = f"{name} is {body[name]!r}"
                raise self.rejection("malformed_run", message, operation.run_id)
        if body.get("attachments"):
            self.report(
                "attachment_ignored",
                "attachments in the JSON of a run are ignored: send them as parts",
                operation.run_id,
            )

    def _time(self, body: Mapping[str, Any], name: str, run_id: str) -> int | None:
        value = body.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            ns = parse_iso(value)
            if ns is None:
                raise self.rejection("malformed_run", f"{name} is {value!r}", run_id)
            return ns
        if type(value) is int:
            return value * 10**6  # LangSmith reads numbers as milliseconds
        if isinstance(value, float):
            self.report("float_timestamp", f"{name} is {value!r}", run_id)
            if not math.isfinite(value * 10**6):
                raise self.rejection("malformed_run", f"{name} is {value!r}", run_id)
            return int(value * 10**6)
        raise self.rejection("malformed_run", f"{name} is {value!r}", run_id)

    def _run(self, run_id: str, body: Mapping[str, Any]) -> Run:
        changes = self._changes(run_id, body)
        changes.setdefault("metadata", {})
        parent_id = as_uuid(body.get("parent_run_id"))
        trace_id = as_uuid(body.get("trace_id"))
        return Run(
            id=run_id,
            run_type=body["run_type"],
            delivered_by=BY_RUNS_API,
            project=str(body.get("address") or body.get("session_name") or DEFAULT_PROJECT),
            trace_id=trace_id or (None if parent_id else run_id),
            parent_id=parent_id,
            dotted_order=body.get("dotted_order"),
            start_ns=self._time(body, "start_time", run_id),
            otel_trace_id=str(changes["metadata"].get("OTEL_TRACE_ID") or ""),
            scope=_sender(changes),
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

    def _changes(self, run_id: str, body: Mapping[str, Any]) -> JsonObject:
        """Return the fields of ``Run`` that the body sets.

        A null sets nothing: LangSmith's client sends one for every field it does not know.
        """
        changes: JsonObject = {
            name: body[name] for name in ("inputs", "outputs") if body.get(name) is not None
        }
        for name in ("name", "error"):
            if body.get(name) is not None:
                changes[name] = str(body[name])
        if body.get("tags"):
            changes["tags"] = tuple(str(tag) for tag in body["tags"])
        if body.get("end_time") is not None:
            changes["end_ns"] = self._time(body, "end_time", run_id)
        extra = body.get("extra")
        if isinstance(extra, Mapping):
            metadata = extra.get("metadata")
            changes["metadata"] = metadata if isinstance(metadata, Mapping) else {}
            changes["extra"] = {k: v for k, v in extra.items() if k != "metadata"}
        # Both are documented: https://docs.langchain.com/langsmith/cost-tracking
        for source in (changes.get("outputs"), changes.get("metadata")):
            if isinstance(source, Mapping) and source.get("usage_metadata") is not None:
                changes["usage"] = source["usage_metadata"]
                break
        return changes


def _sender(changes: Mapping[str, Any]) -> str:
    """Return the SDK that made one of the app's own runs (``@traceable``); empty for our runs."""
    runtime = changes.get("extra", {}).get("runtime")
    sdk = runtime.get("sdk") if isinstance(runtime, Mapping) else None
    ours = changes["metadata"].get(Meta.INTEGRATION) == INTEGRATION
    return sdk if isinstance(sdk, str) and not ours else ""


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def read_parts(parts: Iterable[Part]) -> Batch:
    """Read a ``POST /runs/multipart``.

    Raises:
        RequestError: 422 if a part is malformed; nothing of the request is stored.
    """
    reader = _RequestReader()
    for part in parts:
        reader.add_part(part)
    return reader.batch(needs_tree_fields=True)


def read_json(body: bytes, verb: str, run_id: str | None = None) -> Batch:
    """Read a ``POST /runs``, ``PATCH /runs/{id}`` or ``POST /runs/batch``.

    Args:
        body: the request body.
        verb: ``post``, ``patch`` or ``batch``.
        run_id: the id in the path of a patch.

    Raises:
        RequestError: 422 if the body is malformed; nothing of the request is stored.
    """
    reader = _RequestReader()
    payload = reader.parse_json(body, f"{verb} body", run_id or "")
    for operation_verb, item in _operations(payload, verb):
        item_id = as_uuid(run_id or (item.get("id") if isinstance(item, dict) else None))
        if not isinstance(item, dict) or item_id is None:
            raise reader.rejection("malformed_run", "a run is an object with a UUID as its id")
        if run_id is not None:
            item = {"id": item_id, **item}
        reader.operations[operation_verb, item_id] = _Operation(operation_verb, item_id, item)
    return reader.batch(needs_tree_fields=verb == "batch")


def _operations(payload: Any, verb: str) -> Iterator[tuple[str, Any]]:
    if verb != "batch":
        yield verb, payload
    elif isinstance(payload, dict):
        for operation_verb in ("post", "patch"):
            items = payload.get(operation_verb) or ()
            # Anything but a list is rejected by the caller.
            yield from (
                (operation_verb, item)
                for item in (items if isinstance(items, list | tuple) else (None,))
            )
    else:
        yield "post", None  # rejected by the caller
