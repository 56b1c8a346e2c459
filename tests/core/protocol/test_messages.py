"""Items as messages: for LangSmith, for the convention, for the root's transcript."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.messages import (
    chat_messages,
    choices,
    convention_messages,
    heard_text,
    transcript,
    visible_text,
)
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from tests.support.streams import MS, Sounds, asked, bounded, said, sound

ALL = ContentPolicy()
NO_INPUTS = ContentPolicy(inputs=False)
NO_OUTPUTS = ContentPolicy(outputs=False)
NOTHING = ContentPolicy(inputs=False, outputs=False)


def items(*sources: dict[str, Any]) -> list[Item]:
    """Items as the wire would make them."""
    found = []
    for index, source in enumerate(sources):
        item = Item(f"item_{index}")
        item.merge(source)
        found.append(item)
    return found


ROUND = items(
    said("You are terse.", role="system"),
    said("Weather?"),
    said("One moment.", role="assistant"),
    asked("a", "call_1"),
    asked("b", "call_2", name="time", arguments=""),
    {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    {"type": "mcp_list_tools"},
    {"type": "mcp_call", "name": "search", "arguments": "{}"},
)


def function(name: str, arguments: str) -> dict[str, str]:
    """A function in the shape of OpenAI's chat."""
    return {"name": name, "arguments": arguments}


def test_messages_for_langsmith() -> None:
    """Calls join the assistant's message before them; what is neither said nor called is out."""
    paris = function("weather", '{"city":"Paris"}')
    calls = [
        {"id": "call_1", "type": "function", "index": 0, "function": paris},
        {"id": "call_2", "type": "function", "index": 1, "function": function("time", "")},
    ]
    search = {"id": "item_7", "type": "function", "index": 0, "function": function("search", "{}")}
    assert [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "One moment.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "assistant", "content": "", "tool_calls": [search]},
    ] == chat_messages(ROUND, ALL)


def test_messages_of_the_convention() -> None:
    """The same as parts."""
    paris = {"type": "tool_call", "id": "call_1", "name": "weather"}
    assert [
        {"role": "system", "parts": [{"type": "text", "content": "You are terse."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Weather?"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "One moment."},
                {**paris, "arguments": {"city": "Paris"}},
                {"type": "tool_call", "id": "call_2", "name": "time", "arguments": ""},
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "call_1", "response": "sunny"}],
        },
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "item_7", "name": "search", "arguments": {}}],
        },
    ] == convention_messages(ROUND, ALL)


def test_what_was_spoken_is_marked_as_audio() -> None:
    """Its text is a transcript; without one there is no text to show."""
    part = {"type": "input_audio", "transcript": "Weather?"}
    heard = {"type": "message", "role": "user", "content": [part]}
    silent = {**heard, "content": [{"type": "input_audio", "transcript": None}]}
    spoken = {"type": "text", "content": "Weather?", "modality": "audio", "transcript": "Weather?"}
    empty = {"type": "text", "content": "[audio]", "modality": "audio"}
    assert [
        {"role": "user", "parts": [spoken]},
        {"role": "user", "parts": [empty]},
    ] == convention_messages(items(heard, silent), ALL)
    (hidden,) = convention_messages(items(heard), NO_INPUTS)
    expected = {"type": "text", "content": HIDDEN, "modality": "audio", "transcript": HIDDEN}
    assert [expected] == hidden["parts"]


def test_images_are_parts_of_their_own() -> None:
    """By address, or by type and size; the bytes are never there, and a hidden address neither."""
    content = [
        {"type": "input_text", "text": "Which of these?"},
        {"type": "input_image", "image_url": "[image/png: 300 bytes]"},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
    ]
    asked = items({"type": "message", "role": "user", "content": content})
    (message,) = convention_messages(asked, ALL)
    image = {"type": "uri", "modality": "image", "mime_type": "image/png", "size": 300}
    assert [
        {"type": "text", "content": "Which of these?"},
        {**image, "uri": "[image/png: 300 bytes]"},
        {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"},
    ] == message["parts"]
    alone = items({"type": "message", "role": "user", "content": content[1:2]})
    assert [{**image, "uri": "[image/png: 300 bytes]"}] == convention_messages(alone, ALL)[0][
        "parts"
    ]
    (hidden,) = convention_messages(asked, NO_INPUTS)
    assert [
        {"type": "text", "content": HIDDEN},
        {**image, "uri": HIDDEN},
        {"type": "uri", "modality": "image", "uri": HIDDEN},
    ] == hidden["parts"]


def test_a_tools_result_is_an_object_where_it_is_one() -> None:
    """Other text stays text."""
    results = [
        {"type": "function_call_output", "call_id": "c", "output": o} for o in ('{"t":1}', "1")
    ]
    found = convention_messages(items(*results), ALL)
    assert [{"t": 1}, "1"] == [message["parts"][0]["response"] for message in found]


def test_an_answer_as_choices() -> None:
    """In OpenAI's words; each of several messages is one of them."""
    calls = chat_messages(ROUND[2:4], ALL)
    assert [{"index": 0, "message": calls[0], "finish_reason": "tool_calls"}] == choices(
        ROUND[2:4], ALL, "tool_call"
    )
    two = items(said("Wait.", role="assistant"), said("Here.", role="assistant"))
    assert [(0, "Wait.", "stop"), (1, "Here.", "stop")] == [
        (choice["index"], choice["message"]["content"], choice["finish_reason"])
        for choice in choices(two, ALL, "stop")
    ]
    assert [] == choices([], ALL, "error")


INPUTS = ("You are terse.", "Weather?", "sunny")
OUTPUTS = ("One moment.", "Paris")
NAMES = ("weather", "time", "search", "call_1")


@pytest.mark.parametrize(
    ("policy", "hidden", "seen"),
    [
        (NO_INPUTS, INPUTS, (*OUTPUTS, *NAMES)),
        (NO_OUTPUTS, OUTPUTS, (*INPUTS, *NAMES)),
        (NOTHING, (*INPUTS, *OUTPUTS), NAMES),
    ],
)
def test_each_side_hides_for_itself(
    policy: ContentPolicy, hidden: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    """Results are inputs, arguments are outputs, names of tools stay."""
    for text in (
        json.dumps(chat_messages(ROUND, policy)),
        json.dumps(convention_messages(ROUND, policy)),
    ):
        assert [] == [word for word in hidden if word in text]
        assert [] == [word for word in seen if word not in text]


def test_an_empty_text_needs_no_hiding() -> None:
    """Nothing was said: that is no secret."""
    assert ("", HIDDEN) == (visible_text("", "user", NOTHING), visible_text("a", "user", NOTHING))


# -- the transcript --------------------------------------------------------------------------------


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
