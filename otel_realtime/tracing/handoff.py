"""The span of a handoff: an agent framework lets another of its agents go on with the conversation.

The model asks for it by a function call where the framework offers one; then the handoff is below
that call's span.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

from otel_realtime import attributes as names
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.tracing.facts import Attributes, position_facts
from otel_realtime.tracing.tool_facts import UNKNOWN
from otel_realtime.tracing.writer import SpanWriter, finish


def write_handoff(
    writer: SpanWriter, agent: str, parent: Context, begun: Moment, end_ns: int
) -> None:
    """Write a handoff.

    Args:
        writer: the conversation's span writer.
        agent: name of the agent that goes on.
        parent: context of the span above.
        begun: when the framework began it.
        end_ns: when it was made, epoch ns.
    """
    agent = agent or UNKNOWN
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.AGENT_NAME: agent,
        **position_facts(begun, writer.turn),
    }
    above_ns = getattr(get_current_span(parent), "start_time", None) or 0
    span = writer.start(f"handoff {agent}", parent, attributes, max(begun.at_ns, above_ns))
    finish(span, end_ns)
