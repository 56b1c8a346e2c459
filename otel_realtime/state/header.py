"""A journal's first record: the conversation's identity and its destination.

It holds no API key: the process that finishes the conversation provides one for the same backend. See
``state`` for the whole format and how it may change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from otel_realtime.attributes import LEG_COLLECTOR, LEG_DIRECT, LEG_NONE
from otel_realtime.core.protocol.events import TOO_DEEP
from otel_realtime.core.protocol.outcome import Identity, Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.errors import RecordingError
from otel_realtime.state import FORMAT, check_format
from otel_realtime.version import VERSION

T = TypeVar("T")
_ATTRIBUTE_DEPTH: Final = 16
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}")


@dataclass(slots=True, kw_only=True)
class Header:
    """The facts that another process needs to finish a conversation.

    Attributes:
        trace_id: OTel trace id.
        root_span_id: OTel span id of the root.
        start_ns: the root's start, epoch ns; moved by a ``start`` note.
        who: identity of the conversation.
        mono_ns: ``time.monotonic_ns()`` at its start, in the process that wrote it.
        ambient: the root is a child of the caller's span.
        leg: value of ``otel_realtime.langsmith.leg``.
        delivers_root: its process delivers the root run to a backend.
        backend: the backend's own note, which contains its address.
        policy: which content may be stored.
        records: audio was to be recorded.
        recorded: audio was recorded and had a destination.
        name: file name of a kept recording, without extension.
        recordings_dir: ``Settings.recordings_dir``; the fields from ``audio_format`` to
            ``skip_events`` are settings of the same names, too.
        lists_spans: the folder lists which spans reached the disk (see ``state.stored``).
        exports: the app's own provider had an exporter; ``None``: unknown.
        resource: attributes of the OTel resource.
    """

    trace_id: int
    root_span_id: int
    start_ns: int
    who: Identity
    mono_ns: int | None = None
    ambient: bool = False
    leg: str = LEG_NONE
    delivers_root: bool = False
    backend: dict[str, Any] = field(default_factory=dict)
    policy: ContentPolicy = field(default_factory=lambda: policy_from_wire(None))
    records: bool = True
    recorded: bool = True
    name: str = ""
    recordings_dir: str | None = None
    audio_format: str = "auto"
    max_attachment_mb: float | None = None
    title: str = "fixed"
    payload_limit: int = 32_768
    false_interruption_ms: int = 250
    skip_events: tuple[str, ...] = ()
    lists_spans: bool = False
    exports: bool | None = None
    resource: dict[str, Any] = field(default_factory=dict)

    def to_wire(self) -> dict[str, Any]:
        """Return the header as the record's JSON object."""
        who = self.who
        return {
            "format": FORMAT,
            "version": VERSION,
            "trace_id": f"{self.trace_id:032x}",
            "root_span_id": f"{self.root_span_id:016x}",
            "start_ns": self.start_ns,
            "mono_ns": self.mono_ns,
            "thread_id": who.thread_id,
            "given_thread_id": who.given_thread_id,
            "provider": [who.provider.name, who.provider.host, who.provider.port],
            "call_id": who.call_id,
            "model": who.model,
            "metadata": dict(who.metadata),
            "tags": list(who.tags),
            "parent": [who.parent_trace_id, who.parent_span_id],
            "view_url": who.view_url,
            "ambient": self.ambient,
            "leg": self.leg,
            "by_runs_api": self.delivers_root,
            "policy": policy_to_wire(self.policy),
            "records": self.records,
            "recorded": self.recorded,
            "name": self.name,
            "recordings_dir": self.recordings_dir,
            "audio_format": self.audio_format,
            "max_attachment_mb": self.max_attachment_mb,
            "title": self.title,
            "payload_limit": self.payload_limit,
            "false_interruption_ms": self.false_interruption_ms,
            "skip_events": list(self.skip_events),
            "lists_spans": self.lists_spans,
            "exports": self.exports,
            "resource": self.resource,
            **self.backend,
        }

    @classmethod
    def from_wire(cls, source: object) -> Header:
        """Read the record's JSON object; values that are missing or of another type get the default.

        Raises:
            NewerFormatError: a later version wrote it in a format that this one does not know.
            RecordingError: it has no usable trace id, root span id or start.
        """
        if not isinstance(source, Mapping):
            raise RecordingError("the journal's header is not an object")
        check_format(source)
        # The default is the usual leg: what is sent here has not ended elsewhere, so nothing arrives twice.
        usual = LEG_DIRECT if source.get("by_runs_api") is True else LEG_NONE
        leg = _one_of(source.get("leg"), (LEG_DIRECT, LEG_COLLECTOR, LEG_NONE), usual)
        trace_id, span_id = _id(source, "trace_id", 128), _id(source, "root_span_id", 64)
        found = cls(
            trace_id=trace_id,
            root_span_id=span_id,
            start_ns=_start_ns(source),
            who=_identity(source, f"{trace_id:032x}"),
            ambient=_flag(source, "ambient", False),
            leg=leg,
            delivers_root=_flag(source, "by_runs_api", leg == LEG_DIRECT),
            backend={key: value for key, value in source.items() if key not in _OWN},
            policy=policy_from_wire(source.get("policy")),
            name=_file_name(source) or f"call-{span_id:016x}",
            recordings_dir=_text(source, "recordings_dir"),
            max_attachment_mb=_number(source, "max_attachment_mb", float, None),
            lists_spans=_flag(source, "lists_spans", False),
            exports=source["exports"] if isinstance(source.get("exports"), bool) else None,
            skip_events=tuple(_texts(source.get("skip_events"))),
            resource=attributes_from_wire(source.get("resource")),
        )
        # Audio goes nowhere unless the policy allows it, whatever else the header says.
        found.records = found.policy.audio and _flag(source, "records", True)
        found.recorded = found.policy.audio and _flag(source, "recorded", True)
        formats = ("auto", "wav", "flac", "opus")
        found.audio_format = _one_of(source.get("audio_format"), formats, found.audio_format)
        found.title = _one_of(source.get("title"), ("fixed", "first_utterance"), found.title)
        limit = _number(source, "payload_limit", int, None)
        found.payload_limit = limit if limit is not None and limit > 0 else found.payload_limit
        shortest = _number(source, "false_interruption_ms", int, None)
        if shortest is not None and shortest >= 0:
            found.false_interruption_ms = shortest
        return found


_OWN: Final = frozenset(
    {
        "format", "version", "trace_id", "root_span_id", "start_ns", "mono_ns", "thread_id",
        "given_thread_id", "provider", "call_id", "model", "metadata", "tags", "parent", "ambient",
        "leg", "by_runs_api", "policy", "records", "recorded", "name", "recordings_dir",
        "audio_format", "max_attachment_mb", "title", "payload_limit", "skip_events", "resource",
        "false_interruption_ms", "lists_spans", "exports", "view_url",
    }
)  # fmt: skip


def policy_to_wire(policy: ContentPolicy) -> dict[str, bool]:
    """Return a policy in the form in which the journal stores it."""
    return {
        "inputs": policy.inputs,
        "outputs": policy.outputs,
        "audio": policy.audio,
        "run_inputs": policy.run_inputs,
        "run_outputs": policy.run_outputs,
    }


def policy_from_wire(source: object) -> ContentPolicy:
    """Read a policy; content that is not explicitly allowed is hidden."""
    said = source if isinstance(source, Mapping) else {}
    inputs, outputs, audio = (said.get(key) is True for key in ("inputs", "outputs", "audio"))
    return ContentPolicy(
        inputs=inputs,
        outputs=outputs,
        audio=audio,
        # 0.1.0 did not write these: it hid only one side for ``LANGSMITH_HIDE_INPUTS`` or ``_OUTPUTS``.
        run_inputs=said.get("run_inputs", inputs or not outputs) is not False,
        run_outputs=said.get("run_outputs", outputs or not inputs) is not False,
    )


def attributes_from_wire(source: object) -> dict[str, Any]:
    """Read OTel attributes; values nested deeper than any OTel attribute are cut off."""
    return {key: _shallow(value, _ATTRIBUTE_DEPTH) for key, value in _object(source).items()}


def _shallow(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, dict):
        return {key: _shallow(item, levels - 1) for key, item in value.items()}
    return [_shallow(item, levels - 1) for item in value]


def _id(source: Mapping[str, Any], key: str, bits: int) -> int:
    found = _hex(source.get(key), bits)
    if found is None:
        raise RecordingError(f"the journal's header has no usable {key}")
    return int(found, 16)


def _start_ns(source: Mapping[str, Any]) -> int:
    found = _number(source, "start_ns", int, None)
    if found is None or not 0 <= found < 2**63:
        raise RecordingError("the journal's header has no usable start_ns")
    return found


def _identity(source: Mapping[str, Any], unnamed: str) -> Identity:
    name, host, port = _padded(source.get("provider"), 3)
    parent_trace_id, parent_span_id = _padded(source.get("parent"), 2)
    thread_id = _text(source, "thread_id")
    return Identity(
        thread_id=thread_id or unnamed,
        given_thread_id=_flag(source, "given_thread_id", False) and thread_id is not None,
        provider=Provider(
            name if isinstance(name, str) and name else "openai",
            host if isinstance(host, str) else None,
            port if type(port) is int and 0 < port < 65_536 else None,
        ),
        call_id=_text(source, "call_id"),
        model=_text(source, "model"),
        metadata=_object(source.get("metadata")),
        tags=_texts(source.get("tags")),
        parent_trace_id=_hex(parent_trace_id, 128),
        parent_span_id=_hex(parent_span_id, 64),
        view_url=_text(source, "view_url"),
    )


def _hex(value: object, bits: int) -> str | None:
    """Return an id if it fits into the given number of bits, else ``None``."""
    try:
        return value if isinstance(value, str) and 0 < int(value, 16) < 1 << bits else None
    except ValueError:
        return None


def _padded(value: object, length: int) -> list[Any]:
    found = value if isinstance(value, list) else []
    return [*found, *[None] * length][:length]


def _text(source: Mapping[str, Any], key: str) -> str | None:
    value = source.get(key)
    return value if isinstance(value, str) and value else None


def _file_name(source: Mapping[str, Any]) -> str | None:
    """Return the name of a kept recording; ``None`` if it would lead out of its folder."""
    name = _text(source, "name") or ""
    return name if _FILE_NAME.fullmatch(name) else None


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _flag(source: Mapping[str, Any], key: str, default: bool) -> bool:
    value = source.get(key)
    return value if isinstance(value, bool) else default


def _number(
    source: Mapping[str, Any], key: str, kind: Callable[[Any], T], default: T | None
) -> T | None:
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    try:
        found = kind(value)
    except (ValueError, OverflowError):  # NaN, Infinity
        return default
    return found if math.isfinite(value) else default


def _object(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _one_of(value: object, allowed: tuple[str, ...], default: str) -> str:
    return value if isinstance(value, str) and value in allowed else default
