"""The span between two connections of a conversation."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_realtime.core.protocol.outcome import Ending, Failure, Gap
from otel_realtime.tracing.gap import write_gap
from otel_realtime.tracing.span_ids import derived_id, gap_key
from tests.support.rig import Rig
from tests.support.span_tables import META, OURS
from tests.support.streams import at
from tests.support.traces import facts
from tests.tracing.test_writer import writer


def written(rig: Rig, ending: Ending, refused: int = 0) -> ReadableSpan:
    """The span of the second gap, from 100 to 350 ms."""
    gap = Gap(number=2, ending=ending, began=at(100), ended=at(350), refused=refused)
    write_gap(writer(rig), gap)
    (span,) = rig.finished.get_finished_spans()
    return span


LOST = Failure("websocket_1011", "the server closed with code 1011: restarting")


@pytest.mark.parametrize(
    ("ending", "refused", "expected"),
    [
        (Ending(code=1000), 0, (1000, None, None, None)),
        (
            Ending(code=1011, reason="restarting", by_client=False, failure=LOST),
            2,
            (1011, "restarting", 2, "websocket_1011"),
        ),
        (Ending(), 0, (None, None, None, None)),
    ],
    ids=["closed", "lost", "closed without a code"],
)
def test_it_says_how_the_connection_before_it_closed(
    rig: Rig, ending: Ending, refused: int, expected: tuple[object, ...]
) -> None:
    """What was abnormal is an error of the gap."""
    span = written(rig, ending, refused)
    found = facts(span)
    keys = ("close_code", "close_reason", "refused_handshakes")
    assert expected == (*(found.get(OURS + key) for key in keys), found.get("error.type"))
    assert (ending.failure is not None) == (span.status.status_code is StatusCode.ERROR)
    assert ("reconnect", "chain") == (span.name, found["langsmith.span.kind"])
    assert all(found.get(META + key) == found.get(OURS + key) for key in keys)


def test_it_lasts_until_the_next_connection_is_open(rig: Rig) -> None:
    """A recovery would give it the same id."""
    span = written(rig, Ending())
    assert (at(100).at_ns, at(350).at_ns) == (span.start_time, span.end_time)
    assert 100 == facts(span)["otel_realtime.audio_offset_ms"]
    assert span.context is not None
    trace = rig.trace
    assert derived_id(trace.trace_id, trace.root_span_id, gap_key(2)) == span.context.span_id
