"""Finished spans as a tree in text: what is under what, of which kind, and how long it took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_realtime import attributes

NAME_WIDTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One span, as far as the tree shows it.

    Attributes:
        kind: LangSmith's run type: ``chain``, ``llm`` or ``tool``.
        note: a word on what the span says, shown behind the duration.
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
        """From start to end."""
        return (self.end_ns - self.start_ns) / 1e9


def node_of(span: ReadableSpan) -> Node:
    """The node of a finished span."""
    assert span.context is not None
    facts = span.attributes or {}
    kind = facts.get(attributes.LS_KIND, attributes.KIND_CHAIN)
    return Node(
        span_id=span.context.span_id,
        parent_id=span.parent.span_id if span.parent is not None else None,
        name=span.name,
        kind=str(kind),
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        failed=span.status.status_code is StatusCode.ERROR,
        note=_note(span, facts),
    )


def _note(span: ReadableSpan, facts: Mapping[str, Any]) -> str:
    """What was heard of an interrupted answer, the tokens of a model call, or the error."""
    if span.status.status_code is StatusCode.ERROR:
        return f"ERROR {span.status.description or ''}".rstrip()
    words = []
    tokens = [facts.get(f"{attributes.USAGE}{side}_tokens") for side in ("input", "output")]
    if None not in tokens:
        words.append(f"{tokens[0]} -> {tokens[1]} tokens")
    if facts.get(attributes.OURS + attributes.Fact.INTERRUPTED):
        heard, made = (
            facts.get(attributes.OURS + attributes.Fact.HEARD, 0),
            facts.get(attributes.OURS + attributes.Fact.GENERATED, 0),
        )
        words.append(f"interrupted: {heard / 1000:.1f} s heard of {made / 1000:.1f} s")
    return ", ".join(words)


def render(nodes: Iterable[Node]) -> list[str]:
    """Lines of text, children in order of their start; what has no parent here is a root."""
    ordered = sorted(nodes, key=lambda node: node.start_ns)
    known = {node.span_id for node in ordered}
    children: dict[int | None, list[Node]] = defaultdict(list)
    for node in ordered:
        children[node.parent_id if node.parent_id in known else None].append(node)
    return [line for root in children[None] for line in _lines(root, children, "", "")]


def _lines(
    node: Node, children: dict[int | None, list[Node]], first: str, rest: str
) -> Iterator[str]:
    line = f"{first + node.name:<{NAME_WIDTH}} {node.kind:<6} {_took(node.duration_s)}"
    yield f"{line}  {node.note}".rstrip()
    below = children[node.span_id]
    for child in below:
        last = child is below[-1]
        branch, space = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _lines(child, children, rest + branch, rest + space)


def _took(seconds: float) -> str:
    return f"{seconds:9.2f} s" if seconds >= 1 else f"{seconds * 1000:9.1f} ms"
