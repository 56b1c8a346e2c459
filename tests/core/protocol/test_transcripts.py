"""What the user said, whenever the transcription says it."""

from __future__ import annotations

from typing import Any

from otel_realtime.core.protocol.changes import Transcribed
from otel_realtime.core.protocol.turns import transcript
from tests.support.streams import Row, feed, received

EVENT = "conversation.item.input_audio_transcription."
NOBODY: frozenset[str] = frozenset()


def transcribed(kind: str, **keys: Any) -> Row:
    """An event about the user's item."""
    return received(EVENT + kind, item_id="u", **keys)


def said(*rows: Row) -> list[str]:
    """Text of each of the user's turns."""
    state, _ = feed([received("input_audio_buffer.committed", item_id="u"), *rows])
    return [" ".join(turn.texts) for turn in transcript(state.items, None, NOBODY)]


def test_a_partial_under_the_final_name() -> None:
    """xAI repeats the text so far with ``status: in_progress``; it is no call of the model."""
    rows = [
        transcribed("completed", transcript="What", status="in_progress"),
        transcribed("completed", transcript="What is", status="in_progress"),
    ]
    whole = transcribed("completed", transcript="What is up?", status="completed")
    _, changes = feed(rows)
    assert (["What is"], []) == (said(*rows), changes)
    assert ["What is up?"] == said(*rows, whole)
    _, changes = feed([*rows, whole, whole])
    assert [Transcribed] == [type(change) for change in changes]


def test_text_so_far_does_not_replace_the_whole() -> None:
    """Events may come late."""
    rows = [transcribed("completed", transcript="All."), transcribed("updated", transcript="Al")]
    assert ["All."] == said(*rows)


def test_speakers() -> None:
    """Segments are kept with the turn, and stand in for a text that never comes."""
    rows = [
        transcribed("segment", speaker="A", start=0.0, end=1.0, text="Hello."),
        transcribed("segment", speaker="B", start=1.0, end=2.5, text="Hi there."),
        transcribed("segment", speaker="C", text=None),
    ]
    assert ["Hello. Hi there."] == said(*rows)
    state, _ = feed([received("input_audio_buffer.committed", item_id="u"), *rows])
    (turn,) = transcript(state.items, None, NOBODY)
    assert [("A", 0.0, 1.0), ("B", 1.0, 2.5)] == [
        (segment["speaker"], segment["start"], segment["end"]) for segment in turn.segments
    ]


def test_languages() -> None:
    """As the transcription detected them."""
    state, _ = feed([transcribed("completed", transcript="Hi", languages=[{"code": "en"}])])
    assert ["en"] == [code for item in state.items for code in item.languages]


def test_without_an_item_nothing_is_said() -> None:
    """And nothing raises."""
    for kind in ("completed", "failed", "segment", "updated"):
        feed([received(EVENT + kind, transcript="x", text="x")])
