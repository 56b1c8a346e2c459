"""Labels say who and what, in one form, and no word of the conversation."""

from __future__ import annotations

from otel_realtime.recording.about import (
    interruption_label,
    pause_label,
    redaction_label,
    turn_label,
)


def test_labels() -> None:
    """Turns, interruptions by whose word, pauses, redactions."""
    assert "turn 3: agent" == turn_label(3, "agent")
    assert "barge-in" == interruption_label("vad", false=False)
    assert "barge-in (nothing was said)" == interruption_label("vad", false=True)
    assert "cut by the client" == interruption_label("client", false=False)
    assert "recording paused" == pause_label()
    assert "redacted: user" == redaction_label("user")
    assert "redacted: both sides" == redaction_label(None)
