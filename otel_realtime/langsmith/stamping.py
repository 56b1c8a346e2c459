"""The attributes that link every span of a conversation to its root run in LangSmith.

LangSmith's page on OpenTelemetry documents them as linking attributes: ids of trace, run and parent
run, dotted order, and project (https://docs.langchain.com/langsmith/trace-with-opentelemetry). They
are needed only if the root run goes by the runs API; otherwise OTLP's own parent ids suffice. If the
root has an explicit id, *every* span below it needs them: a span without them is an orphan, which
LangSmith drops silently. Our own exporter adds them to its copies, off the app's task; the spans
themselves carry them only if another exporter sees them.

LangSmith sorts runs by their dotted order, which contains microseconds and then the run's id. The order
of two runs that start in the same microsecond would therefore be random. So a run's position in its
dotted order is the first free microsecond below its parent, from its own start on. Events keep the order
of the wire, and a model call follows the ``response.created`` that began it. Start times are unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from otel_realtime.attributes import (
    LS_DOTTED_ORDER,
    LS_PARENT_ID,
    LS_PROJECT,
    LS_SPAN_ID,
    LS_TRACE_ID,
    ROOT_BY_RUNS_API,
    ROOT_MARKER,
)
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.langsmith.config import agent_of
from otel_realtime.langsmith.hiding import hidden_sides
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.tracing.members import Member, Membership


@dataclass(slots=True, kw_only=True, eq=False)
class TraceStamp(Membership):
    """A conversation whose root run goes by the runs API.

    Attributes:
        project: name of the project, or the address of an agent.
        hidden: sides that spans of other instrumentations must not show (see ``hiding``).
        root_run_id: id of the root run, which is also LangSmith's trace id.
        link: linking attributes that all its spans have in common.
    """

    project: str
    linked: bool = True
    hidden: frozenset[str] = frozenset()
    delivered_mark: tuple[str, str] | None = (ROOT_MARKER, ROOT_BY_RUNS_API)
    root_run_id: str = field(init=False)
    link: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.root_run_id = run_id(self.root_span_id)
        self.link = {LS_TRACE_ID: self.root_run_id}
        if agent_of(self.project) is None:  # the headers alone can address an agent
            self.link[LS_PROJECT] = self.project

    @property
    def dotted_order(self) -> str:
        """Dotted order of the root run."""
        return dotted_order(self.start_ns, self.root_run_id)

    def restrict(self, policy: ContentPolicy) -> None:
        """Hide what the stricter policy hides in spans that are still to be delivered."""
        self.hidden |= hidden_sides(policy)

    def member(self, span_id: int, start_ns: int, parent: Member | None) -> Stamp:
        """Return a new stamp for a span; arguments as for ``Membership.member``."""
        # All members of this conversation are made here, so the parent is a stamp, too.
        return Stamp(self, span_id, start_ns, cast("Stamp | None", parent))


class Stamp(Member):
    """A member with its run id and dotted order.

    Its position among its siblings is taken when the span starts, on the app's task. The texts are
    made when they are needed, mostly by the exporter.
    """

    __slots__ = ("_at_us", "_free")

    def __init__(
        self, trace: TraceStamp, span_id: int, start_ns: int, parent: Stamp | None
    ) -> None:
        super().__init__(trace, span_id, parent)
        self._free: dict[int, int] | None = None
        at_us = start_ns // 1000
        self._at_us = at_us if parent is None else parent._place(at_us)

    @property
    def run_id(self) -> str:
        """The span's run id."""
        return run_id(self.span_id)

    @property
    def dotted_order(self) -> str:
        """The span's dotted order."""
        parent = cast("Stamp | None", self.parent)
        above = None if parent is None else parent.dotted_order
        return dotted_order(self._at_us * 1000, self.run_id, above)

    def _place(self, at_us: int) -> int:
        """Return the first free microsecond for a run below this one, and take it.

        Args:
            at_us: start of that run, epoch us.
        """
        if self._free is None:
            self._free = {}
        free, at_us = self._free, max(at_us, self._at_us)  # not before this one
        found = at_us
        while found in free:
            found = free[found]
        # A taken microsecond points past itself, so that many runs with the same start stay fast.
        free[at_us] = free[found] = found + 1
        return found

    @property
    def trace(self) -> TraceStamp:
        """Conversation that the span belongs to."""
        return cast("TraceStamp", self.membership)

    def attributes(self) -> dict[str, str]:
        """Return the attributes that the span must have when it is delivered to LangSmith."""
        return {**self.membership.attributes(), **self.links()}

    def links(self) -> dict[str, str]:
        """Return the linking attributes."""
        parent = self.parent
        attributes = self.trace.link.copy()
        attributes[LS_SPAN_ID] = self.run_id
        attributes[LS_DOTTED_ORDER] = self.dotted_order
        if parent is not None:
            attributes[LS_PARENT_ID] = cast("Stamp", parent).run_id
        return attributes
