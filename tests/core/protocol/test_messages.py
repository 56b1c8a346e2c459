"""Items as messages: for LangSmith, for the convention, for the root's transcript."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.messages import (
    chat_messages,
    choices,
    convention_messages,
    visible_text,
)
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from tests.support.streams import asked, said

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
        {"type": "input_image", "file_id": "file_1", "detail": "low"},
    ]
    asked = items({"type": "message", "role": "user", "content": content})
    (message,) = convention_messages(asked, ALL)
    image = {"type": "generic", "modality": "image", "mime_type": "image/png", "size": 300}
    assert [
        {"type": "text", "content": "Which of these?"},
        {**image, "content": "[image/png: 300 bytes]"},
        {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"},
        {"type": "file", "modality": "image", "file_id": "file_1", "detail": "low"},
    ] == message["parts"]
    alone = items({"type": "message", "role": "user", "content": content[1:2]})
    assert [{**image, "content": "[image/png: 300 bytes]"}] == convention_messages(alone, ALL)[0][
        "parts"
    ]
    (hidden,) = convention_messages(asked, NO_INPUTS)
    assert [
        {"type": "text", "content": HIDDEN},
        {**image, "content": HIDDEN},
        {"type": "uri", "modality": "image", "uri": HIDDEN},
        {"type": "file", "modality": "image", "file_id": HIDDEN, "detail": "low"},
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
