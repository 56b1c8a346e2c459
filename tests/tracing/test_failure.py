"""What counts as a failure, and what may be told of it."""

from __future__ import annotations

from typing import Any

import pytest

from otel_realtime.core.protocol.outcome import Failure
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.tracing.failure import event_failure
from tests.support.span_tables import ALL, NO_INPUTS, NO_OUTPUTS, NOTHING, chat
from tests.support.streams import created, done


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "error", "error": {"code": "c", "message": "m"}}, Failure("c", "m")),
        ({"type": "error", "error": {"code": None, "type": "t"}}, Failure("t", "t")),
        ({"type": "error"}, Failure("error", "error")),
        ({"type": "response.mcp_call.failed"}, Failure(*["response.mcp_call.failed"] * 2)),
        ({"type": "x.failed", "error": {"code": "c", "message": "m"}}, Failure("c", "m")),
        ({"type": "response.done", "response": {"status": "cancelled"}}, None),
        ({"type": "response.done", "response": {"status": "failed"}}, Failure("failed", "failed")),
        (
            {
                "type": "response.done",
                "response": {
                    "status": "failed",
                    "status_details": {"error": {"type": "t", "message": "m"}},
                },
            },
            Failure("t", "m"),
        ),
        ({"type": "session.created"}, None),
    ],
)
def test_what_an_event_reports_as_failed(event: dict[str, Any], expected: Failure | None) -> None:
    """The error's code, else its type, else the event's."""
    assert expected == event_failure(event, ALL)


@pytest.mark.parametrize("policy", [NO_INPUTS, NO_OUTPUTS, NOTHING])
def test_an_error_message_can_quote_either_side(policy: ContentPolicy) -> None:
    """So it is hidden with each of them; its code stays."""
    error = {"code": "c", "message": "You said PLANTED"}
    details = {"error": error}
    response = {"id": "r", "status": "failed", "status_details": details}
    hidden = Failure("c", HIDDEN)
    event = {"type": "response.done", "response": response}
    assert hidden == event_failure({"type": "error", "error": error}, policy)
    assert hidden == event_failure(event, policy)
    rows = created("r"), done("r", status="failed", status_details=details)
    assert hidden == chat(rows, "r", policy=policy).failure
