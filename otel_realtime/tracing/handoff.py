"""The span of a handoff: an agent framework lets another of its agents continue the conversation.

If the framework offers a function call for it, the model requests the handoff by that call. The
handoff is then below that call's span.
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
        agent: name of the agent that continues.
        parent: context of the span above.
        begun: when the framework began the handoff.
        end_ns: when the handoff was complete, epoch ns.
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
