"""What deltas add up to, until the event that completes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.partials import (
    ENDS,
    MOST_OPEN,
    TEXT_DELTAS,
    Partial,
    Partials,
    read,
)
from tests.support.streams import bounded, json_values

INPUT = "conversation.item.input_audio_transcription."


def delta(kind: str, text: str, item_id: str = "a", **keys: Any) -> dict[str, Any]:
    """One delta."""
    return {"type": kind, "item_id": item_id, "content_index": 0, "delta": text, **keys}


@pytest.mark.parametrize("kind", wire.TEXT_DELTAS)
def test_every_delta_of_a_text_is_kept(kind: str) -> None:
    """By its name in any dialect; what it adds up to looks like the event that ends it."""
    partials = Partials()
    partials.add(delta(kind, "Hel"))
    whole = partials.add(delta(kind, "lo"))
    assert whole is not None
    assert "Hello" == read(whole, whole).text
    assert whole["type"] in ENDS
    role = "user" if kind.startswith(INPUT) else "" if "arguments" in kind else "assistant"
    assert role == read(whole, whole).role
    assert wire.GA_NAMES.get(kind, kind) in TEXT_DELTAS


def test_parts_do_not_mix() -> None:
    """Items and content parts are told apart, and so is the response that says them."""
    partials, kind = Partials(), "response.output_text.delta"
    partials.add(delta(kind, "one", response_id="r"))
    partials.add(delta(kind, "two", content_index=1))
    whole = partials.add(delta(kind, "!", response_id="r"))
    expected = Partial(item_id="a", index=0, role="assistant", response_id="r", text="one!")
    assert whole is not None
    assert expected == read(whole, whole)


def test_a_hook_may_take_out_anything() -> None:
    """What is left of the event is enough to know whose text is gone."""
    whole = Partials().add(delta("response.output_text.delta", "secret", "a", response_id="r"))
    assert whole is not None
    expected = Partial(item_id="a", index=0, role="assistant", response_id=None, text="")
    assert expected == read(whole, {})


def test_what_has_grown_is_told_once() -> None:
    """Each part with its whole text; not what was ended meanwhile."""
    partials, kind = Partials(), "response.output_text.delta"
    for name in "aab":
        partials.add(delta(kind, "x", name))
    partials.end({"type": "response.output_text.done", "item_id": "b", "content_index": 0})
    assert (True, ["xx"]) == (partials.is_due, [read(e, e).text for e in partials.take_due()])
    assert (False, []) == (partials.is_due, partials.take_due())


def test_a_text_that_was_ended_begins_anew() -> None:
    """The same part may be said again (a retried transcription)."""
    partials, kind = Partials(), INPUT + "delta"
    partials.add(delta(kind, "old"))
    partials.end({"type": INPUT + "completed", "item_id": "a", "content_index": 0})
    whole = partials.add(delta(kind, "new"))
    assert whole is not None
    assert "new" == read(whole, whole).text


def test_a_server_that_never_ends_a_text() -> None:
    """Only the latest parts go on growing."""
    partials, kind = Partials(), "response.text.delta"
    for index in range(MOST_OPEN + 1):
        partials.add(delta(kind, "x", f"item_{index}"))
    grown = [partials.add(delta(kind, "y", name)) for name in ("item_1", "item_0")]
    assert ["xy", "y"] == [read(whole, whole).text for whole in grown if whole is not None]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta"},
        {"type": "response.output_text.delta", "item_id": "a"},
        {"type": "response.output_text.delta", "item_id": "a", "delta": 7},
        {"type": "response.output_text.delta", "item_id": ["a"], "delta": "x"},
        {"type": "response.output_audio.delta", "item_id": "a", "delta": "x"},
    ],
)
def test_what_is_no_text(event: dict[str, Any]) -> None:
    """Is not kept."""
    assert None is Partials().add(event)


@bounded
@given(
    st.lists(st.dictionaries(st.sampled_from(["item_id", "content_index", "delta"]), json_values))
)
def test_nothing_raises(events: list[dict[str, Any]]) -> None:
    """Whatever the server writes."""
    partials = Partials()
    for event in events:
        partials.end(event)
        whole = partials.add({"type": "response.output_text.delta", **event})
        assert whole is None or isinstance(read(whole, whole).text, str)
