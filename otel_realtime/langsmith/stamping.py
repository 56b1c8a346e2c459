"""The attributes that link every span of a conversation to its root run in LangSmith.

LangSmith's page on OpenTelemetry documents them as linking attributes: ids of trace, run and parent
run, dotted order, and project (https://docs.langchain.com/langsmith/trace-with-opentelemetry). They
are written only if the root run goes by the runs API. Otherwise OTLP's own parent ids suffice. If the
root has an explicit id, *every* span below it needs them: one without is an orphan, which LangSmith
drops without a word.

LangSmith sorts runs by their dotted order, which has microseconds and then the run's id: of two runs
that start in the same microsecond, chance would be first. So the place of a run in its dotted order is
the first free microsecond below its parent, from its start on. Events keep the order of the wire, and
a model call comes behind the ``response.created`` that began it. Start times stay as they are.
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
        hidden: sides that no run may have, of other instrumentations' spans (see ``hiding``).
        root_run_id: id of the root run, which is also LangSmith's trace id.
    """

    project: str
    hidden: frozenset[str] = frozenset()
    delivered_mark: tuple[str, str] | None = (ROOT_MARKER, ROOT_BY_RUNS_API)
    root_run_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.root_run_id = run_id(self.root_span_id)

    @property
    def dotted_order(self) -> str:
        """Dotted order of the root run."""
        return dotted_order(self.start_ns, self.root_run_id)

    def restrict(self, policy: ContentPolicy) -> None:
        """Hide what the stricter policy hides, of spans that are still to be delivered."""
        self.hidden |= hidden_sides(policy)

    def member(self, span_id: int, start_ns: int, parent: Member | None) -> Stamp:
        """Return a new stamp for a span; arguments as for ``Membership.member``."""
        # All members of this conversation come from here, so the parent is a stamp, too.
        return Stamp(self, span_id, start_ns, cast("Stamp | None", parent))


class Stamp(Member):
    """A member with its run id and dotted order.

    Both are computed when the span starts, on the app's task: children need the parent's.

    Attributes:
        run_id: the span's run id.
        dotted_order: its dotted order.
    """

    __slots__ = ("_at_us", "_free", "dotted_order", "run_id")

    def __init__(
        self, trace: TraceStamp, span_id: int, start_ns: int, parent: Stamp | None
    ) -> None:
        super().__init__(trace, span_id, parent)
        self.run_id = run_id(span_id)
        self._free: dict[int, int] | None = None
        self._at_us = start_ns // 1000
        if parent is None:
            self.dotted_order: str = dotted_order(start_ns, self.run_id)
        else:
            self._at_us = parent._place(self._at_us)
            self.dotted_order = dotted_order(self._at_us * 1000, self.run_id, parent.dotted_order)

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
        # What is taken leads to what follows it, so that many runs of one time stay quick.
        free[at_us] = free[found] = found + 1
        return found

    @property
    def trace(self) -> TraceStamp:
        """Conversation that the span belongs to."""
        return cast("TraceStamp", self.membership)

    def attributes(self) -> dict[str, str]:
        """Return the attributes that the span must have when it is delivered."""
        trace, parent = self.trace, self.parent
        attributes = super().attributes()
        attributes[LS_TRACE_ID] = trace.root_run_id
        attributes[LS_SPAN_ID] = self.run_id
        attributes[LS_DOTTED_ORDER] = self.dotted_order
        if agent_of(trace.project) is None:  # the headers alone can address an agent
            attributes[LS_PROJECT] = trace.project
        if parent is not None:
            attributes[LS_PARENT_ID] = cast("Stamp", parent).run_id
        return attributes
