"""What LangSmith needs on every span of a conversation to find its run, parent and place.

Explicit ids, as LangSmith's OpenTelemetry page documents them ("Linking attributes"): the trace's and
the run's id, the parent's, the dotted order, and the project. They are written where the root run
goes by the runs API; otherwise native OTLP parents hold and nothing of this is needed.
https://docs.langchain.com/langsmith/trace-with-opentelemetry
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
from otel_realtime.langsmith.ids import dotted_order, run_id
from otel_realtime.tracing.members import Member, Membership


@dataclass(slots=True, kw_only=True, eq=False)
class TraceStamp(Membership):
    """A conversation whose root run LangSmith gets by the runs API.

    Attributes:
        project: LangSmith's project name.
        root_run_id: LangSmith's id of the root run and of the trace.
    """

    project: str
    delivered_mark: tuple[str, str] | None = (ROOT_MARKER, ROOT_BY_RUNS_API)
    root_run_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.root_run_id = run_id(self.root_span_id)

    @property
    def dotted_order(self) -> str:
        """The root run's place."""
        return dotted_order(self.start_ns, self.root_run_id)

    def member(self, span_id: int, start_ns: int, parent: Member | None) -> Stamp:
        """Make a span's stamp; see ``Membership.member``."""
        return Stamp(self, span_id, start_ns, cast("Stamp | None", parent))


class Stamp(Member):
    """One span's place in LangSmith: its run, the run above it, and its dotted order."""

    __slots__ = ("dotted_order", "run_id")

    def __init__(
        self, trace: TraceStamp, span_id: int, start_ns: int, parent: Stamp | None
    ) -> None:
        super().__init__(trace, span_id, parent)
        self.run_id = run_id(span_id)
        above: str | None = None if parent is None else parent.dotted_order
        self.dotted_order: str = dotted_order(start_ns, self.run_id, above)

    @property
    def trace(self) -> TraceStamp:
        """The conversation it belongs to."""
        return cast("TraceStamp", self.membership)

    def attributes(self) -> dict[str, str]:
        """Return what the span must carry, whatever else it has lost."""
        trace, parent = self.trace, self.parent
        written = super().attributes()
        written[LS_TRACE_ID] = trace.root_run_id
        written[LS_SPAN_ID] = self.run_id
        written[LS_DOTTED_ORDER] = self.dotted_order
        written[LS_PROJECT] = trace.project
        if parent is not None:
            written[LS_PARENT_ID] = cast("Stamp", parent).run_id
        return written
