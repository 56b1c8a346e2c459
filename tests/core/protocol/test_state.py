"""The state of a conversation: what it makes of events, in whatever order they come."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.changes import (
    Change,
    McpApproved,
    McpListed,
    ToolAnnounced,
    ToolAnswered,
    Transcribed,
)
from otel_realtime.core.protocol.messages import chat_messages, convention_messages
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import transcript
from otel_realtime.core.protocol.usage import read_usage
from tests.support.streams import (
    CALL,
    MS,
    Row,
    all_streams,
    at,
    bounded,
    created,
    done,
    feed,
    json_values,
    received,
    said,
    sent,
    stream,
)


def spoken(state: ConversationState) -> list[tuple[str, str]]:
    """The transcript as (role, text)."""
    return [(turn.role, " ".join(turn.texts)) for turn in transcript(state.items, None, NOBODY)]


def named(changes: list[Change]) -> list[str]:
    """Changes as short words."""
    return [f"{type(change).__name__} {_about(change)}" for change in changes]


def _about(change: Change) -> str:
    match change:
        case Transcribed():
            return change.item.id
        case McpApproved():
            return change.approval.item.id
        case McpListed():
            return change.listing.item_id
    return change.call.id


NOBODY: frozenset[str] = frozenset()


# -- a whole call ----------------------------------------------------------------------------------


def test_a_whole_call() -> None:
    """Turns, texts, counts and changes of a question, two calls and an answer."""
    state, changes = feed(CALL)
    assert [("user", "How is the weather in Paris?"), ("assistant", "It is sunny.")] == spoken(
        state
    )
    assert [f"item_{n}" for n in range(1, 6)] == [item.id for item in state.items]
    counts = state.counts
    assert (2, 2, 1) == (counts.responses, counts.tool_calls, counts.server_errors)
    assert [
        "ToolAnnounced call_1",
        "Transcribed item_1",
        "ToolAnswered call_1",
        "ToolAnnounced call_2",
        "ToolPending call_2",
        "ToolAnswered call_2",
    ] == named(changes)


def test_what_a_response_was_asked() -> None:
    """The items new since the one before, and how many came before them."""
    state, _ = feed(CALL)
    one, two = state.responses.values()
    assert (["item_1"], 0, ["item_2", "item_3"]) == (one.inputs, one.context_items, one.outputs)
    assert (["item_4"], 3, ["item_5"]) == (two.inputs, two.context_items, two.outputs)


def test_when_a_response_was() -> None:
    """From ``response.created`` to ``response.done``, as events were seen."""
    state, _ = feed(CALL)
    kinds = [event["type"] for _, event in CALL]
    response = state.responses["resp_1"]
    assert response.done is not None
    assert kinds.index("response.created") * 10 * MS == response.created.t
    assert kinds.index("response.done") * 10 * MS == response.done.t


# -- tools of the server ---------------------------------------------------------------------------


def test_server_side_calls_belong_to_the_open_response() -> None:
    """From ``in_progress`` to ``completed`` or ``failed``."""
    state, _ = feed(
        [
            created("r"),
            received("response.mcp_call.in_progress", item_id="item_1"),
            received("response.mcp_call_arguments.done", item_id="item_1", arguments="{}"),
            received("response.mcp_call.completed", item_id="item_1"),
            received("response.mcp_call.in_progress", item_id="item_2"),
            received("response.mcp_call.failed", item_id="item_2"),
        ]
    )
    one, two = state.responses["r"].mcp.values()
    assert (10, 30, False) == (one.started.t // MS, one.ended and one.ended.t // MS, one.failed)
    assert (40, 50, True) == (two.started.t // MS, two.ended and two.ended.t // MS, two.failed)
    assert 0 == state.counts.tool_calls


# -- items and turns -------------------------------------------------------------------------------


def test_a_speech_start_alone_is_no_turn_of_the_transcript() -> None:
    """Noise that the server dropped was not said."""
    noise = received("input_audio_buffer.speech_started", item_id="item_9", audio_start_ms=5)
    state, _ = feed([*CALL, noise])
    assert 2 == len(spoken(state))


def test_items_stand_in_conversation_order() -> None:
    """Not in the order they were seen: a user's item belongs where its commit says."""
    early = received("input_audio_buffer.speech_started", item_id="late", audio_start_ms=5)
    state, _ = feed(
        [
            received("conversation.item.added", item=said("One", id="a")),
            early,
            received(
                "conversation.item.added",
                item=said("Two", id="b", role="assistant"),
                previous_item_id="a",
            ),
            received("input_audio_buffer.committed", item_id="late", previous_item_id="b"),
        ]
    )
    assert ["a", "b", "late"] == [item.id for item in state.items]


def test_a_deleted_item_is_no_context() -> None:
    """The model does not read it any more; it was said all the same."""
    state, _ = feed(
        [
            received("conversation.item.added", item=said("One", id="a")),
            received("conversation.item.added", item=said("Two", id="b")),
            received("conversation.item.deleted", item_id="a"),
            received("conversation.item.deleted", item_id="unknown"),
            created("r"),
        ]
    )
    response = state.responses["r"]
    assert (["b"], 0) == (response.inputs, response.context_items)
    assert [("user", "One Two")] == spoken(state)


def test_its_own_output_is_nothing_new_to_the_next_response() -> None:
    """Also when a server says ``item.added`` before ``output_item.added``."""
    item = said("Hi", id="a", role="assistant")
    state, _ = feed(
        [
            created("one"),
            received("conversation.item.added", item=item),
            received("response.output_item.added", response_id="one", item=item),
            done("one", item),
            created("two"),
        ]
    )
    response = state.responses["two"]
    assert ([], 1) == (response.inputs, response.context_items)


def test_a_retrieved_item_adds_what_was_missing() -> None:
    """``conversation.item.retrieved`` has the whole item."""
    state, _ = feed([received("conversation.item.added", item=said("", id="a"))])
    state, _ = feed([received("conversation.item.retrieved", item=said("Now", id="a"))], state)
    assert [("user", "Now")] == spoken(state)


# -- transcriptions --------------------------------------------------------------------------------


def transcribed(item_id: str, index: int = 0, **keys: Any) -> Row:
    """The row of a completed transcription."""
    kind = "conversation.item.input_audio_transcription.completed"
    return received(kind, item_id=item_id, content_index=index, **keys)


def test_a_transcription_runs_from_the_commit() -> None:
    """With the session's transcription model."""
    _, changes = feed(CALL)
    (change,) = [one for one in changes if isinstance(one, Transcribed)]
    kinds = [event["type"] for _, event in CALL]
    assert kinds.index("input_audio_buffer.committed") * 10 * MS == change.started_t
    assert ("whisper-1", False) == (change.model, change.failed)


def test_a_corrected_transcript_is_one_model_call() -> None:
    """The last text stands, the usage is counted once; another part is another call."""
    commit = received("input_audio_buffer.committed", item_id="a")
    state, changes = feed(
        [
            commit,
            transcribed("a", transcript="Helo"),
            transcribed("a", transcript="Hello"),
            transcribed("a", 1, transcript="there"),
        ]
    )
    assert ["Transcribed a", "Transcribed a"] == named(changes)
    assert [("user", "Hello\nthere")] == spoken(state)


def test_a_failed_transcription_is_a_model_call_too() -> None:
    """It ends the waiting as well."""
    kind = "conversation.item.input_audio_transcription.failed"
    _, changes = feed([received(kind, item_id="a", error={"code": "c"})])
    (change,) = changes
    assert isinstance(change, Transcribed)
    assert (True, "unknown", "a") == (change.failed, change.model, change.item.id)


# -- responses -------------------------------------------------------------------------------------


def test_a_response_that_was_never_created_is_done_all_the_same() -> None:
    """The trace began in the middle of it."""
    state, _ = feed([done("r")])
    response = state.responses["r"]
    assert (1, response.created) == (state.counts.responses, response.done)


def test_only_the_first_end_of_a_response_counts() -> None:
    """A repeated ``response.done`` changes neither usage nor status."""
    state, _ = feed(
        [created("r"), done("r"), done("r", usage={"input_tokens": 99}, status="failed")]
    )
    usage = read_usage(state.responses["r"].usage)
    assert usage is not None
    assert (7, "completed") == (usage.input, state.responses["r"].status)


def test_usage_beside_the_response_counts() -> None:
    """One server writes it at the event's top level."""
    event = received("response.done", response={"id": "r", "usage": {}}, usage={"input_tokens": 4})
    state, _ = feed([event])
    usage = read_usage(state.responses["r"].usage)
    assert usage is not None
    assert 4 == usage.input


def test_a_response_out_of_band() -> None:
    """It reads nothing of the conversation, gets its own request, and is not said."""
    state, _ = feed(
        [
            received("conversation.item.added", item=said("One", id="a")),
            sent("response.create", response={"instructions": "x"}),
            sent("response.create", response={"conversation": "none", "input": [said("Judge.")]}),
            created("aside", conversation_id=None),
            done("aside", said("Fine.", id="b", role="assistant"), conversation_id=None),
            created("r"),
        ]
    )
    aside, response = state.responses.values()
    assert (True, [], 0) == (aside.out_of_band, aside.inputs, aside.context_items)
    assert ("none", "x") == (aside.request["conversation"], response.request["instructions"])
    assert (["a"], 0) == (response.inputs, response.context_items)
    assert [("user", "One")] == spoken(state)


def test_beta_names_mean_the_same() -> None:
    """``conversation.item.created``, ``response.audio_transcript.done`` and the session's."""
    session = {"id": "s", "model": "m"}
    state, _ = feed(
        [
            received("transcription_session.created", session=session),
            received("conversation.item.created", item=said("", id="a", role="assistant")),
            received("response.audio_transcript.done", item_id="a", transcript="Hello"),
        ]
    )
    assert "m" == state.session.model
    assert [("assistant", "Hello")] == spoken(state)


# -- what waits ------------------------------------------------------------------------------------


def test_a_response_settles_once() -> None:
    """When it is done, and never again."""
    state, _ = feed([created("r")])
    assert [] == state.take_settled(10**15, None)
    feed([done("r")], state)
    assert ["r"] == [response.id for response in state.take_settled(10**15, None)]
    feed([done("r"), created("r")], state)
    assert [] == state.take_settled(10**15, None)
    assert [] == state.take_remaining()


def test_a_response_waits_for_the_transcript_of_its_question() -> None:
    """As long as transcription is configured, at most 30 s."""
    rows = [row for row in CALL if "transcription" not in row[1]["type"]]
    state, _ = feed(rows)
    ready = {response.id for response in state.take_settled(1_000 * MS, None)}
    assert {"resp_2"} == ready
    feed([transcribed("item_1", transcript="Hi")], state)
    assert ["resp_1"] == [response.id for response in state.take_settled(1_000 * MS, None)]


def test_no_response_waits_for_ever() -> None:
    """The transcript may never come."""
    state, _ = feed([row for row in CALL if "transcription" not in row[1]["type"]])
    state.take_settled(1_000 * MS, None)
    assert [] == state.take_settled(30_000 * MS, None)
    assert ["resp_1"] == [response.id for response in state.take_settled(30_200 * MS, None)]


def test_at_the_end_everything_is_handed_out() -> None:
    """Done or not."""
    state, _ = feed([created("one"), done("one"), created("two")])
    assert ["one", "two"] == [response.id for response in state.take_remaining()]
    assert [] == state.take_remaining()


# -- any events, in any order ----------------------------------------------------------------------


class Watch:
    """Feeds a state and holds it to what must always be true."""

    def __init__(self) -> None:
        self.state = ConversationState()
        self.settled: list[str] = []
        self.changes: list[Change] = []

    def feed(self, rows: list[Row]) -> None:
        """Take rows in, settling now and then."""
        for index, (is_sent, event) in enumerate(rows):
            moment = Moment(index * 100 * MS, index * 100 * MS)
            step = self.state.send if is_sent else self.state.receive
            self.changes += step(event, moment)
            if index % 3 == 0:
                self._settle(self.state.take_settled(moment.t, None))
        self._settle(self.state.take_remaining())

    def _settle(self, responses: list[Any]) -> None:
        self.settled += [response.id for response in responses]
        for response in responses:
            response.finish_reasons(self.state.items)
            read_usage(response.usage)

    def check(self) -> None:
        """Every response once, every turn and item once, every change once."""
        state = self.state
        assert sorted(state.responses) == sorted(self.settled)
        assert state.counts.responses == len(state.responses)
        ids = [item.id for item in state.items]
        assert len(set(ids)) == len(ids)
        assert set(range(1, state.items.turns + 1)) == {one.turn for one in state.items if one.turn}
        kinds = Counter(
            (type(change), change.call.id)
            for change in self.changes
            if isinstance(change, ToolAnnounced | ToolAnswered)
        )
        assert set(kinds.values()) <= {1}
        turns = transcript(state.items, None, NOBODY)
        assert all(one.role != two.role for one, two in pairwise(turns))
        chat_messages(state.items, ContentPolicy())
        convention_messages(state.items, ContentPolicy())


def bases() -> list[tuple[Row, ...]]:
    """What is mutated: the handmade call, and the recorded streams without their audio."""
    quiet = [
        tuple(row for row in stream(name) if not row[1]["type"].endswith((".delta", ".append")))
        for name in all_streams()
    ]
    return [CALL, *quiet]


BASES = bases()


@bounded
@given(st.sampled_from(BASES), st.randoms(use_true_random=False))
def test_events_in_any_order_any_number_of_times(base: tuple[Row, ...], random: Random) -> None:
    """Shuffled, doubled and dropped: invariants hold, and tokens are counted once."""
    rows = [row for row in base for _ in range(random.choice((0, 1, 1, 2)))]
    for _ in range(random.randrange(len(rows) + 1)):
        one, two = random.randrange(len(rows)), random.randrange(len(rows))
        rows[one], rows[two] = rows[two], rows[one]
    watch = Watch()
    watch.feed(rows)
    watch.check()
    ends = {
        event["response"]["id"]: event["response"]["usage"]
        for _, event in rows
        if event["type"] == "response.done"
    }
    expected = sum(usage["total_tokens"] for usage in ends.values() if usage)
    found = (read_usage(response.usage) for response in watch.state.responses.values())
    assert expected == sum(usage.total for usage in found if usage)


def mutate(value: Any, random: Random, other: Any) -> Any:
    """The value with one random place replaced."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key = random.choice(sorted(value))
        return {**value, key: mutate(value[key], random, other)}
    if isinstance(value, list) and value and random.random() < 0.85:
        place = random.randrange(len(value))
        return [*value[:place], mutate(value[place], random, other), *value[place + 1 :]]
    return other


@bounded
@given(st.sampled_from(BASES), st.randoms(use_true_random=False), st.lists(json_values, min_size=1))
def test_events_with_anything_in_any_place(
    base: tuple[Row, ...], random: Random, values: list[Any]
) -> None:
    """Every third event is broken somewhere: nothing raises and the invariants hold."""
    rows = []
    for is_sent, event in base:
        if random.random() < 0.4:
            key = random.choice(sorted(event.keys() - {"type"}) or ["x"])
            event = {**event, key: mutate(event.get(key), random, random.choice(values))}
        rows.append((is_sent, json.loads(json.dumps(event))))
    if random.random() < 0.3:
        random.shuffle(rows)
    watch = Watch()
    watch.feed(rows)
    watch.check()


# -- the recorded streams --------------------------------------------------------------------------

MARCELO = ("user", "Hello, my name is Marcelo.")
ALICE = (
    ("user", "My name is Alice and my favorite color is teal."),
    ("assistant", "Nice to meet you, Alice!"),
    ("user", "What is my name and favorite color?"),
)
LONDON = ("user", "What is the weather in London?")
CALLED = ["ToolAnnounced", "ToolAnswered"]
FOGGY = "I’ll check the current weather in London for you. It’s foggy and 12 degrees in London."
FRIENDLY = (
    "I'm here to help with whatever you need. You can think of me as your friendly, "
    "digital assistant. What's on your mind?"
)
LOUD = "Hello there, I can hear you loud and clear today."

#: Stream -> turns; responses (status, finish reason, input, output, cached); changes.
RECORDED: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str, int, int, int]], list[str]]]
RECORDED = {
    "ga_ws_bargein_pcm": (
        [
            ("user", "Hello, what now?"),
            ("assistant", "Hello there, I can hear"),
            ("user", "Hello, what now?"),
            ("assistant", LOUD),
        ],
        [("cancelled", "turn_detected", 80, 40, 32), ("completed", "stop", 94, 47, 32)],
        ["Transcribed", "Transcribed"],
    ),
    "ga_ws_tool_and_errors": (
        [("user", "weather in London?"), ("assistant", LOUD)],
        [("completed", "tool_call", 80, 40, 32), ("completed", "stop", 94, 47, 32)],
        CALLED,
    ),
    "openai_ws__audio_in_server_vad_turn": (
        [MARCELO, ("assistant", "Hello, Marcelo! Great to meet you. How can I help you today?")],
        [("completed", "stop", 41, 164, 0)],
        ["Transcribed"],
    ),
    "openai_ws__input_audio_retention_segments_three_server_vad_turns": (
        [
            MARCELO,
            ("assistant", "Hi Marcelo! Nice to meet you."),
            MARCELO,
            ("assistant", "Hi Marcelo! Great to meet you."),
            MARCELO,
            ("assistant", "Hey Marcelo, nice meeting you."),
        ],
        [
            ("completed", "stop", 42, 60, 0),
            ("completed", "stop", 139, 61, 64),
            ("completed", "stop", 187, 115, 0),
        ],
        ["Transcribed"] * 3,
    ),
    "openai_ws__message_history_seeding": (
        [*ALICE, ("assistant", "Your name is Alice, and your favorite color is teal!")],
        [("completed", "stop", 149, 14, 0)],
        [],
    ),
    "openai_ws__text_in_audio_out_turn": (
        [("user", "Say a short greeting."), ("assistant", "Hi there!")],
        [("completed", "stop", 16, 24, 0)],
        [],
    ),
    "openai_ws__tool_call_round": (
        [LONDON, ("assistant", "It is foggy and 12 degrees in London.")],
        [("completed", "tool_call", 63, 22, 0), ("completed", "stop", 103, 13, 64)],
        CALLED,
    ),
    "openai_ws_sideband__webrtc_sideband_audio_turn": (
        [("user", "Say hello."), ("assistant", "Hello there.")],
        [("completed", "stop", 12, 70, 0)],
        [],
    ),
    "openai_ws_sideband__webrtc_sideband_text_turn": (
        [("user", "Say hello."), ("assistant", "Hello there!")],
        [("completed", "stop", 12, 5, 0)],
        [],
    ),
    "parity_ws__history_seeding_parity[openai-current]": (
        [*ALICE, ("assistant", "Your name is Alice, and your favorite color is teal.")],
        [("completed", "stop", 51, 33, 0)],
        [],
    ),
    "parity_ws__text_tool_round_parity[openai-current]": (
        [
            LONDON,
            ("assistant", FOGGY),
        ],
        [("completed", "tool_call", 347, 36, 0), ("completed", "stop", 401, 15, 384)],
        ["ToolAnnounced", "ToolRepeated", "ToolAnswered"],
    ),
    "webrtc_beta_bargein.recv": (
        [
            ("assistant", "Hey there! How can I help you today?"),
            ("user", "[audio 1.0 s]"),
            ("assistant", "I'm doing great, thanks for asking! How about you?"),
            ("user", "[audio 0.4 s] [audio 0.6 s]"),
            ("assistant", FRIENDLY),
        ],
        [
            ("completed", "stop", 111, 55, 0),
            ("completed", "stop", 187, 79, 128),
            ("cancelled", "turn_detected", 0, 0, 0),
            ("completed", "stop", 295, 157, 192),
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_stream(name: str) -> None:
    """Turns in order, texts, responses with their usage, and what was traced at once."""
    state, changes = feed(stream(name))
    turns, responses, kinds = RECORDED[name]
    assert turns == spoken(state)
    assert list(range(1, len(turns) + 1)) == sorted({item.turn for item in state.items} - {0})
    found = []
    for response in state.responses.values():
        usage = read_usage(response.usage)
        assert usage is not None
        (reason,) = response.finish_reasons(state.items)
        found.append((response.status, reason, usage.input, usage.output, usage.cached))
    assert responses == found
    assert kinds == [type(change).__name__ for change in changes]


@pytest.mark.parametrize("name", all_streams())
def test_every_stream_is_expected_and_settles(name: str) -> None:
    """No file of the data is forgotten, and each of its responses settles once."""
    assert name in RECORDED
    watch = Watch()
    watch.feed(list(stream(name)))
    watch.check()


def test_two_server_errors_are_counted() -> None:
    """Benign errors end nothing."""
    state, _ = feed(stream("ga_ws_tool_and_errors"))
    assert (2, 2) == (state.counts.server_errors, state.counts.responses)


def test_a_recorded_call_and_its_result() -> None:
    """The announced call has its name and arguments as the model wrote them."""
    _, changes = feed(stream("openai_ws__tool_call_round"))
    announced = changes[0]
    assert isinstance(announced, ToolAnnounced)
    call = announced.call
    assert ("get_weather", '{  \n  "city": "London" \n} \n') == (call.name, call.arguments)
    assert "It is foggy and 12 degrees in London." == call.output
    assert call.announced == at(22 * 10)
    assert call.answered == at(23 * 10)
