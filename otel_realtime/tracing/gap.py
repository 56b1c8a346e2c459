"""The span of a gap: one connection of a conversation closed, and another one continued it.

It records how the first connection ended. A lost connection is an error of this span, not of the
conversation, which continued.
"""

from __future__ import annotations

from typing import Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.core.protocol.outcome import Gap
from otel_realtime.tracing.facts import Attributes, position_facts, product_facts
from otel_realtime.tracing.failure import fail
from otel_realtime.tracing.span_ids import gap_key
from otel_realtime.tracing.writer import SpanWriter, finish

#: Name of the span.
NAME: Final = "reconnect"


def write_gap(writer: SpanWriter, gap: Gap) -> None:
    """Write a gap: from the close of one connection until the next one was open.

    Args:
        writer: the conversation's span writer.
        gap: the gap.
    """
    ending = gap.ending
    attributes: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        **position_facts(gap.began, 0),
        **product_facts(
            {
                Fact.CLOSE_CODE: ending.code,
                Fact.CLOSE_REASON: ending.reason or None,
                Fact.REFUSED_HANDSHAKES: gap.refused or None,
            }
        ),
    }
    key = gap_key(gap.number)
    span = writer.start(NAME, writer.root, attributes, gap.began.at_ns, key=key)
    if ending.failure is not None:
        fail(span, ending.failure, gap.began.at_ns)
    finish(span, gap.ended.at_ns)
