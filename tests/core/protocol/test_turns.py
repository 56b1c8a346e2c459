"""The conversation as turns, with their places in the recording, and what was heard of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.items import Items
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.turns import heard_text, transcript
from tests.support.streams import MS, Sounds, bounded, sound

ALL = ContentPolicy()
NO_INPUTS = ContentPolicy(inputs=False)
NO_OUTPUTS = ContentPolicy(outputs=False)


def conversation() -> Items:
    """A question at 1000-2000 ms, an answer in two items, and an aside."""
    found = Items()
    question = found.get_or_create("user_1", 1100 * MS, role="user")
    question.parts[0], question.audio, question.committed = "How are you?", True, True
    question.audio_start_ms, question.audio_end_ms = 900, 1900
    question.stopped_t = 2050 * MS
    for name, text in (("agent_1", "Fine."), ("agent_2", "And how are you today?")):
        answer = found.get_or_create(name, 2300 * MS, role="assistant")
        answer.parts[0], answer.audio, answer.committed = text, True, True
    found.get_or_create("noise", 5000 * MS, role="user")
    found.get_or_create("aside", 6000 * MS, role="assistant").parts[0] = "Psst."
    found.get_or_create("system", 0, role="system").parts[0] = "Be nice."
    return found


HEARD = Sounds(
    sound("agent_1", 2500, 500),
    sound("agent_2", 3000, 1000, generated_ms=2000, interrupted=True),
    offset_ms=100,
)
NOBODY: frozenset[str] = frozenset()


def test_the_transcript_with_its_places_in_the_recording() -> None:
    """Two items of one role are one turn; of what was cut only the heard part is heard text."""
    turns = transcript(conversation(), HEARD, NOBODY)
    assert [
        {
            "role": "user",
            "content": "How are you?",
            "turn": 1,
            "start_ms": 1000,
            "end_ms": 2000,
            "text": "How are you?",
            "heard_text": "How are you?",
            "interrupted": False,
        },
        {
            "role": "assistant",
            "content": "Fine. And how are you today?",
            "turn": 2,
            "start_ms": 2500,
            "end_ms": 4000,
            "text": "Fine. And how are you today?",
            "heard_text": "Fine. And how are",
            "interrupted": True,
        },
    ] == [turn.message(ALL) for turn in turns]


def test_the_transcript_without_audio_facts() -> None:
    """Times of arrival stand in, and everything counts as heard."""
    one, two = transcript(conversation(), None, NOBODY)
    assert (1100, 2050) == (one.start_ms, one.end_ms)
    assert (2300, 2300) == (two.start_ms, two.end_ms)
    assert two.texts == two.heard


def test_the_transcript_hides_each_side() -> None:
    """Roles, numbers, times and interruptions stay."""
    turns = transcript(conversation(), HEARD, NOBODY)
    one, two = (turn.message(NO_OUTPUTS) for turn in turns)
    assert "How are you?" == one["content"]
    assert {HIDDEN} == {two[key] for key in ("content", "text", "heard_text")}
    assert (2, 2500, True) == (two["turn"], two["start_ms"], two["interrupted"])
    one, two = (turn.message(NO_INPUTS) for turn in turns)
    assert {HIDDEN} == {one[key] for key in ("content", "text", "heard_text")}
    assert "Fine. And how are" == two["heard_text"]


def test_an_aside_is_said_only_if_it_was_audible() -> None:
    """Out-of-band items are not in the conversation, but a caller may hear them."""
    aside = frozenset({"aside"})
    assert 2 == len(transcript(conversation(), HEARD, aside))
    audible = Sounds(sound("aside", 6000, 300), offset_ms=100)
    turns = transcript(conversation(), audible, aside)
    assert ["How are you?", "Fine. And how are you today? Psst."] == [
        turn.message(ALL)["text"] for turn in turns
    ]


def test_an_item_that_was_cut_before_it_sounded_was_not_heard() -> None:
    """Generated, never played."""
    audio = Sounds(sound("agent_1", None, 0, generated_ms=500, interrupted=True))
    turn = transcript(conversation(), audio, NOBODY)[1]
    assert ["", "And how are you today?"] == turn.heard
    assert turn.interrupted


@pytest.mark.parametrize(
    ("generated_ms", "heard_ms", "interrupted", "expected"),
    [
        (1000, 1000, True, "one two"),
        (1000, 400, False, "one two three"),
        (0, 0, True, ""),
        (1000, 0, True, ""),
        (1000, 100, True, ""),
        (1000, 231, True, "one"),
        (1000, 500, True, "one"),
        (1000, 540, True, "one two"),
        (1000, 999, True, "one two"),
    ],
)
def test_heard_text_is_cut_at_a_word(
    generated_ms: int, heard_ms: int, interrupted: bool, expected: str
) -> None:
    """As much of the text as of its sound; what was cut was never heard whole."""
    assert expected == heard_text("one two three", generated_ms, heard_ms, interrupted)


@bounded
@given(st.text(max_size=40), st.integers(-5, 2000), st.integers(-5, 2000), st.booleans())
def test_heard_text_is_a_beginning(
    text: str, generated_ms: int, heard_ms: int, interrupted: bool
) -> None:
    """Whatever the numbers."""
    assert text.startswith(heard_text(text, generated_ms, heard_ms, interrupted))
