"""The recorded streams of the shared data, and events as hypothesis makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.core.protocol.changes import Change
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState

#: Where the recorded streams are when the checkout has its neighbours.
FOLDER = Path(__file__).parents[3] / "shared" / "data" / "events"
MS = 1_000_000
#: Enough examples to find what is wrong, few enough for every run; always the same ones.
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
START_NS = 1_700_000_000 * 1_000_000_000

#: One row of a stream: what the client sent (True) or received, and the event.
Row = tuple[bool, dict[str, Any]]


@cache
def stream(name: str) -> tuple[Row, ...]:
    """The rows of one recorded stream; skips the test where the data is absent."""
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the recorded streams are not here")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return tuple((row["dir"] == "sent", row["event"]) for row in rows)


def all_streams() -> list[str]:
    """The names of the recorded streams; none where the data is absent."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def received(kind: str, **keys: Any) -> Row:
    """A row of a stream: an event of the server."""
    return False, {"type": kind, "event_id": f"event_{kind}", **keys}


def sent(kind: str, **keys: Any) -> Row:
    """A row of a stream: an event of the client."""
    return True, {"type": kind, **keys}


def said(text: str, **keys: Any) -> dict[str, Any]:
    """A message item with a text."""
    part = {"type": "output_text" if keys.get("role") == "assistant" else "input_text"}
    return {"type": "message", "role": "user", "content": [{**part, "text": text}], **keys}


def asked(item_id: str, call_id: str, **keys: Any) -> dict[str, Any]:
    """A function call item with its arguments."""
    call = {"type": "function_call", "id": item_id, "call_id": call_id, "name": "weather"}
    return {**call, "arguments": '{"city":"Paris"}', "status": "completed", **keys}


USAGE = {
    "total_tokens": 12,
    "input_tokens": 7,
    "output_tokens": 5,
    "input_token_details": {"text_tokens": 3, "audio_tokens": 4, "cached_tokens": 2},
    "output_token_details": {"text_tokens": 1, "audio_tokens": 4},
}


def created(response_id: str, **keys: Any) -> Row:
    """The row of a ``response.created``."""
    response = {"id": response_id, "status": "in_progress", "conversation_id": "conv_1", **keys}
    return received("response.created", response=response)


def done(response_id: str, *output: dict[str, Any], **keys: Any) -> Row:
    """The row of a ``response.done``."""
    response = {"id": response_id, "status": "completed", "conversation_id": "conv_1"}
    response |= {"output": list(output), "usage": USAGE, **keys}
    return received("response.done", response=response)


def answer(call_id: str, output: str = "sunny") -> Row:
    """The row of the client's result of a call."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return sent("conversation.item.create", item=item)


#: A whole small call: a spoken question, two function calls, a spoken answer, an error.
CALL: tuple[Row, ...] = (
    received(
        "session.created",
        session={
            "type": "realtime",
            "id": "sess_1",
            "model": "gpt-realtime",
            "instructions": "Be brief.",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        },
    ),
    received("input_audio_buffer.speech_started", item_id="item_1", audio_start_ms=100),
    received("input_audio_buffer.speech_stopped", item_id="item_1", audio_end_ms=900),
    received("input_audio_buffer.committed", item_id="item_1", previous_item_id=None),
    received(
        "conversation.item.added",
        previous_item_id=None,
        item={
            "id": "item_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        },
    ),
    created("resp_1"),
    received(
        "response.output_item.added",
        response_id="resp_1",
        item=asked("item_2", "call_1", arguments="", status="in_progress"),
    ),
    received(
        "conversation.item.added",
        previous_item_id="item_1",
        item=asked("item_2", "call_1", arguments="", status="in_progress"),
    ),
    received(
        "response.function_call_arguments.done",
        response_id="resp_1",
        item_id="item_2",
        call_id="call_1",
        name="weather",
        arguments='{"city":"Paris"}',
    ),
    received(
        "conversation.item.input_audio_transcription.completed",
        item_id="item_1",
        content_index=0,
        transcript="How is the weather in Paris?",
        usage={"type": "tokens", "input_tokens": 9, "output_tokens": 6, "total_tokens": 15},
    ),
    answer("call_1"),
    received("response.output_item.done", response_id="resp_1", item=asked("item_2", "call_1")),
    received(
        "response.output_item.done",
        response_id="resp_1",
        item=asked("item_3", "call_2", name="time"),
    ),
    done("resp_1", asked("item_2", "call_1"), asked("item_3", "call_2", name="time")),
    answer("call_2", "noon"),
    sent("response.create"),
    received(
        "conversation.item.added",
        previous_item_id="item_3",
        item={
            "id": "item_4",
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "sunny",
        },
    ),
    created("resp_2"),
    received(
        "response.output_item.added",
        response_id="resp_2",
        item={"id": "item_5", "type": "message", "role": "assistant", "content": []},
    ),
    received(
        "response.output_audio_transcript.done",
        response_id="resp_2",
        item_id="item_5",
        content_index=0,
        transcript="It is sunny.",
    ),
    done(
        "resp_2",
        {
            "id": "item_5",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_audio", "transcript": "It is sunny."}],
        },
    ),
    received("error", error={"type": "invalid_request_error", "code": "c", "message": "no"}),
)


class Sounds:
    """Audio facts as a test says them: items, when the user spoke, and the last loud moment.

    Args:
        items: what is known of each item's sound.
        offset_ms: appended audio began so long after the start; None: it is not known.
        loud_ms: end of the last loud user audio; None: there was none.
    """

    def __init__(
        self, *items: ItemAudio, offset_ms: int | None = 0, loud_ms: int | None = None
    ) -> None:
        self._items = {item.item_id: item for item in items}
        self._offset_ms = offset_ms
        self._loud_ms = loud_ms

    def item(self, item_id: str) -> ItemAudio | None:
        """What was generated and heard of it."""
        return self._items.get(item_id)

    def statement_due(self, item_id: str) -> int:
        """Nothing is stated later."""
        return 0

    def user_time(self, audio_ms: int) -> int | None:
        """When this millisecond of appended audio was spoken."""
        return None if self._offset_ms is None else (audio_ms + self._offset_ms) * MS

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """Nothing was committed by hand."""
        return None

    def user_speech(self, item_id: str) -> tuple[int, int] | None:
        """The VAD has reported nothing."""
        return None

    def last_voice(self, before_t: int) -> int | None:
        """The loud moment, if it was before."""
        return None if self._loud_ms is None else min(self._loud_ms * MS, before_t)


def sound(item_id: str, from_ms: int | None, heard_ms: int, **keys: Any) -> ItemAudio:
    """What is known of an item's sound: heard whole and estimated unless said otherwise."""
    start_ms = 0 if from_ms is None else from_ms
    facts = {"generated_ms": heard_ms, "heard_source": "estimated", "interrupted": False, **keys}
    return ItemAudio(
        item_id=item_id,
        heard_ms=heard_ms,
        first_chunk_t=keys.pop("first_chunk_t", start_ms * MS),
        audible_from_t=None if from_ms is None else from_ms * MS,
        audible_until_t=(start_ms + heard_ms) * MS,
        **{key: value for key, value in facts.items() if key != "first_chunk_t"},
    )


def at(t_ms: int) -> Moment:
    """A moment so many ms after the start."""
    return Moment(t_ms * MS, START_NS + t_ms * MS)


def feed(rows: Iterable[Row], state: ConversationState | None = None) -> Fed:
    """A state that took in the rows, one every 10 ms, and the changes it gave out."""
    state = state or ConversationState()
    changes: list[Change] = []
    for index, (sent, event) in enumerate(rows):
        step = state.send if sent else state.receive
        changes += step(event, at(index * 10))
    return state, changes


Fed = tuple[ConversationState, list[Change]]

#: Any JSON value a frame can hold.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
