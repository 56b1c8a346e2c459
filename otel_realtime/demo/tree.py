"""Renders finished spans as a text tree: nesting, run type, duration and a short note."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_realtime import attributes

#: Wide enough for ``conversation.item.input_audio_transcription.completed`` below the root.
NAME_WIDTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One span in the tree.

    Attributes:
        span_id: the span's id.
        parent_id: its parent's id; None for a root.
        name: the span's name.
        kind: LangSmith's run type: ``chain``, ``llm`` or ``tool``.
        start_ns: nanoseconds since the Unix epoch.
        end_ns: nanoseconds since the Unix epoch.
        failed: whether its status is ERROR.
        note: details shown after the duration.
    """

    span_id: int
    parent_id: int | None
    name: str
    kind: str
    start_ns: int
    end_ns: int
    failed: bool
    note: str

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9


def node_of(span: ReadableSpan) -> Node:
    """Return the node of a finished span."""
    assert span.context is not None
    span_attributes = span.attributes or {}
    kind = span_attributes.get(attributes.LS_KIND, attributes.KIND_CHAIN)
    return Node(
        span_id=span.context.span_id,
        parent_id=span.parent.span_id if span.parent is not None else None,
        name=span.name,
        kind=str(kind),
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        failed=span.status.status_code is StatusCode.ERROR,
        note=_note(span, span_attributes),
    )


def _note(span: ReadableSpan, span_attributes: Mapping[str, Any]) -> str:
    """Return the error of a failed span; otherwise its tokens, latency and how much of it was heard."""
    if span.status.status_code is StatusCode.ERROR:
        return f"ERROR {span.status.description or ''}".rstrip()
    notes = []
    tokens = [
        span_attributes.get(f"{attributes.USAGE}{side}_tokens") for side in ("input", "output")
    ]
    if None not in tokens:
        notes.append(f"{tokens[0]} -> {tokens[1]} tokens")
    waited_ms = span_attributes.get(attributes.OURS + attributes.Fact.VOICE_TO_VOICE)
    if waited_ms is not None:
        notes.append(f"heard after {waited_ms / 1000:.1f} s")
    if span_attributes.get(attributes.OURS + attributes.Fact.OUT_OF_BAND):
        notes.append("out of band")
    if span_attributes.get(attributes.OURS + attributes.Fact.INTERRUPTED):
        heard_ms = span_attributes.get(attributes.OURS + attributes.Fact.HEARD, 0)
        generated_ms = span_attributes.get(attributes.OURS + attributes.Fact.GENERATED, 0)
        notes.append(f"interrupted: {heard_ms / 1000:.1f} s heard of {generated_ms / 1000:.1f} s")
    return ", ".join(notes)


def render(nodes: Iterable[Node]) -> list[str]:
    """Return the lines of the tree, siblings in order of their start.

    A node whose parent is not among ``nodes`` is shown as a root.
    """
    ordered = sorted(nodes, key=lambda node: node.start_ns)
    # A parent may be missing, because it is a span of the app or has not ended.
    known = {node.span_id for node in ordered}
    children: dict[int | None, list[Node]] = defaultdict(list)
    for node in ordered:
        children[node.parent_id if node.parent_id in known else None].append(node)
    return [line for root in children[None] for line in _lines(root, children, "", "")]


def _lines(
    node: Node, children: dict[int | None, list[Node]], branch: str, indent: str
) -> Iterator[str]:
    line = f"{branch + node.name:<{NAME_WIDTH}} {node.kind:<6} {_duration(node.duration_s)}"
    yield f"{line}  {node.note}".rstrip()
    siblings = children[node.span_id]
    for child in siblings:
        is_last = child is siblings[-1]
        child_branch, child_indent = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        yield from _lines(child, children, indent + child_branch, indent + child_indent)


def _duration(seconds: float) -> str:
    return f"{seconds:9.2f} s" if seconds >= 1 else f"{seconds * 1000:9.1f} ms"
