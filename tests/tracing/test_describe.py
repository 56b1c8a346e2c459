"""Facts of a conversation as attributes: names and value types as the attribute table says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from otel_realtime.core.protocol.events import parse
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.outcome import Failure, Provider
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import Response
from otel_realtime.core.protocol.state import ConversationState, Transcribed
from otel_realtime.tracing.event import event_attributes
from otel_realtime.tracing.facts import position_facts
from otel_realtime.tracing.failure import event_failure
from otel_realtime.tracing.inference import Inference, describe_inference
from otel_realtime.tracing.tool import mcp_attributes, mcp_failure, tool_attributes, tool_result
from otel_realtime.tracing.transcription import transcription_attributes
from tests.support.streams import (
    CALL,
    MS,
    Row,
    Sounds,
    at,
    bounded,
    created,
    done,
    feed,
    json_values,
    received,
    said,
    sent,
    sound,
)

ALL = ContentPolicy()
NO_INPUTS = ContentPolicy(inputs=False)
NO_OUTPUTS = ContentPolicy(outputs=False)
NOTHING = ContentPolicy(inputs=False, outputs=False)
OPENAI = Provider()
LIMIT = 4096
META = "langsmith.metadata."
OURS = "otel_realtime."
JSON = "json"

#: The attribute table's inference span: name -> type. ``JSON`` is text that parses.
CHAT: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.system": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.response.id": str,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.output.type": str,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    "gen_ai.usage.input_tokens": int,
    "gen_ai.usage.output_tokens": int,
    "gen_ai.usage.cache_read.input_tokens": int,
    "gen_ai.usage.text.input_tokens": int,
    "gen_ai.usage.audio.input_tokens": int,
    "gen_ai.usage.text.output_tokens": int,
    "gen_ai.usage.audio.output_tokens": int,
    "langsmith.usage_metadata": JSON,
    META + "ls_provider": str,
    META + "ls_model_name": str,
    OURS + "response.id": str,
    OURS + "response.status": str,
    META + "status": str,
    **{
        prefix + name: kind
        for prefix in (OURS, META)
        for name, kind in {
            "turn": int,
            "audio_offset_ms": int,
            "context_items": int,
            "time_to_first_audio_ms": int,
            "voice_to_voice_ms": int,
            "generated_ms": int,
            "heard_ms": int,
            "heard_source": str,
            "interrupted": bool,
        }.items()
    },
}
TRANSCRIBE: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.system": str,
    "gen_ai.request.model": str,
    "gen_ai.response.model": str,
    "gen_ai.output.type": str,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
    "gen_ai.input.messages": JSON,
    "gen_ai.output.messages": JSON,
    META + "ls_provider": str,
    META + "ls_model_name": str,
    OURS + "item.id": str,
    OURS + "turn": int,
    META + "turn": int,
    OURS + "audio_offset_ms": int,
    META + "audio_offset_ms": int,
}
EVENT: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.prompt": JSON,
    OURS + "event.type": str,
    OURS + "event.received_at_s": float,
    META + "received_at_s": float,
    OURS + "audio_offset_ms": int,
    META + "audio_offset_ms": int,
    OURS + "turn": int,
    META + "turn": int,
    OURS + "event.id": str,
    OURS + "item.id": str,
    OURS + "response.id": str,
    OURS + "call.id": str,
}
TOOL: dict[str, Any] = {
    "langsmith.span.kind": str,
    "gen_ai.operation.name": str,
    "gen_ai.tool.name": str,
    "gen_ai.tool.type": str,
    "gen_ai.tool.call.id": str,
    OURS + "call.id": str,
    "gen_ai.tool.call.arguments": JSON,
    "gen_ai.tool.call.result": JSON,
    "gen_ai.prompt": JSON,
    "gen_ai.completion": JSON,
}


def check(table: dict[str, Any], found: dict[str, Any]) -> None:
    """Exactly these names, and values of exactly these types."""
    assert sorted(table) == sorted(found)
    for name, kind in table.items():
        if kind is JSON:
            json.loads(found[name])
        else:
            assert (name, kind) == (name, type(found[name]))


def chat(
    rows: tuple[Row, ...] = CALL,
    response_id: str = "resp_2",
    audio: Sounds | None = None,
    policy: ContentPolicy = ALL,
) -> Inference:
    """One response of these rows as an inference."""
    state, _ = feed(rows)
    return describe_inference(state.responses[response_id], state, audio, policy, OPENAI, LIMIT)


def messages(found: dict[str, Any], name: str) -> Any:
    """The messages of ``gen_ai.prompt`` or ``gen_ai.completion``."""
    return json.loads(found[f"gen_ai.{name}"])["messages"]


# -- providers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (None, "openai"),
        ("127.0.0.1", "openai"),
        ("api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("mine.cognitiveservices.azure.com", "azure.ai.openai"),
        ("mine.services.ai.azure.com", "azure.ai.openai"),
        ("api.x.ai", "x_ai"),
        ("openai.azure.com.example.org", "openai"),
    ],
)
def test_a_provider_is_known_by_its_host(host: str | None, name: str) -> None:
    """What speaks the protocol elsewhere counts as OpenAI's."""
    assert Provider(name, host, 443) == Provider.of(host, 443)


def test_langsmith_has_provider_names_of_its_own() -> None:
    """It prices by them."""
    state, _ = feed(CALL)
    response = state.responses["resp_2"]
    azure = Provider("azure.ai.openai")
    found = describe_inference(response, state, None, ALL, azure, LIMIT).attributes
    assert ("azure.ai.openai", "azure.ai.openai", "azure") == (
        found["gen_ai.provider.name"],
        found["gen_ai.system"],
        found[META + "ls_provider"],
    )


# -- inference spans -------------------------------------------------------------------------------

VAD: Row = received(
    "session.updated",
    session={"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}},
)
HEARD = Sounds(
    sound("item_5", 1500, 500, generated_ms=800, first_chunk_t=450 * MS, interrupted=True)
)


def test_a_spoken_answer() -> None:
    """Every attribute of the table, with its type."""
    state, _ = feed([*CALL, VAD])
    response = state.responses["resp_2"]
    response.inputs.insert(0, "item_1")
    found = describe_inference(response, state, HEARD, ALL, OPENAI, LIMIT)
    check(CHAT, found.attributes)
    facts = {
        "turn": 2,
        "audio_offset_ms": 170,
        "context_items": 3,
        "time_to_first_audio_ms": 280,
        "voice_to_voice_ms": 800,
        "generated_ms": 800,
        "heard_ms": 500,
        "heard_source": "estimated",
        "interrupted": True,
    }
    for prefix in (OURS, META):
        assert facts == {name: found.attributes[prefix + name] for name in facts}
    assert ("chat gpt-realtime", None) == (found.name, found.failure)
    assert ("llm", "chat", "speech") == tuple(
        found.attributes[name]
        for name in ("langsmith.span.kind", "gen_ai.operation.name", "gen_ai.output.type")
    )


def test_an_answer_without_audio_facts_says_nothing_of_sound() -> None:
    """Absent, not None."""
    found = chat().attributes
    absent = {"time_to_first_audio_ms", "voice_to_voice_ms", "generated_ms", "heard_ms"}
    absent |= {"heard_source", "interrupted"}
    check(
        {name: kind for name, kind in CHAT.items() if name.rpartition(".")[2] not in absent}, found
    )


def test_messages_of_an_answer() -> None:
    """The new inputs and the outputs, in both shapes."""
    found = chat().attributes
    tool = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    assert [tool] == messages(found, "prompt")
    assert [{"role": "assistant", "content": "It is sunny."}] == messages(found, "completion")
    parts = [{"type": "text", "content": "It is sunny."}]
    assert [{"role": "assistant", "parts": parts}] == json.loads(found["gen_ai.output.messages"])


def test_a_response_of_calls() -> None:
    """Its completion has the calls in OpenAI's shape, its output is text."""
    found = chat(response_id="resp_1").attributes
    (message,) = messages(found, "completion")
    assert ["weather", "time"] == [call["function"]["name"] for call in message["tool_calls"]]
    assert ["tool_call"] == found["gen_ai.response.finish_reasons"]
    assert ("text", 1) == (found["gen_ai.output.type"], found[OURS + "turn"])


def test_usage_stands_once_in_each_form() -> None:
    """Totals, split, and LangSmith's."""
    found = chat().attributes
    assert (7, 5, 2) == tuple(
        found["gen_ai.usage." + name]
        for name in ("input_tokens", "output_tokens", "cache_read.input_tokens")
    )
    assert {
        "input_tokens": 7,
        "output_tokens": 5,
        "total_tokens": 12,
        "input_token_details": {"text": 3, "audio": 4, "cache_read": 2},
        "output_token_details": {"text": 1, "audio": 4},
    } == json.loads(found["langsmith.usage_metadata"])


def test_a_response_without_usage_has_none() -> None:
    """A completion stands all the same."""
    found = chat((created("r"), done("r", usage=None)), "r").attributes
    assert not [name for name in found if "usage" in name]
    assert [] == messages(found, "completion")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"temperature": 0.8, "max_output_tokens": 100}, {"temperature": 0.8, "max_tokens": 100}),
        ({"max_response_output_tokens": 7}, {"max_tokens": 7}),
        ({"max_output_tokens": "inf", "temperature": None}, {}),
        ({"max_output_tokens": True, "temperature": "hot"}, {}),
        ({"max_output_tokens": -1, "temperature": 10**400}, {}),
    ],
)
def test_what_was_requested(config: dict[str, Any], expected: dict[str, Any]) -> None:
    """Of the session, when it is a number."""
    rows = received("session.updated", session=config), created("r"), done("r")
    found = chat(rows, "r").attributes
    request = {name: found.get("gen_ai.request." + name) for name in ("temperature", "max_tokens")}
    given = {name: value for name, value in request.items() if value is not None}
    assert expected == given
    assert {name: type(value) for name, value in expected.items()} == {
        name: type(value) for name, value in given.items()
    }


def test_the_models_name() -> None:
    """The response's own, the session's, or none is known."""
    session = received("session.created", session={"model": "session-model"})
    assert "chat unknown" == chat((created("r"), done("r")), "r").name
    assert "chat session-model" == chat((session, created("r"), done("r")), "r").name
    assert "chat own" == chat((session, created("r", model="own"), done("r")), "r").name


@pytest.mark.parametrize(
    ("status", "details", "reason", "failure"),
    [
        ("completed", None, None, None),
        ("cancelled", {"reason": "turn_detected"}, "turn_detected", None),
        ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens", None),
        ("failed", {"error": {"code": "c", "message": "m"}}, "c", Failure("c", "m")),
        ("failed", None, None, Failure("failed", "failed")),
    ],
)
def test_a_status_is_always_visible(
    status: str, details: Any, reason: str | None, failure: Failure | None
) -> None:
    """With its details; only ``failed`` is an error."""
    found = chat((created("r"), done("r", status=status, status_details=details)), "r")
    for name, expected in (("status", status), ("status_reason", reason)):
        assert expected == found.attributes.get(f"{OURS}response.{name}")
        assert expected == found.attributes.get(META + name)
    assert failure == found.failure


def test_a_response_that_never_ended_says_so() -> None:
    """The conversation was over first."""
    failure = chat((created("r"),), "r").failure
    assert failure is not None
    assert "conversation_closed" == failure.type


def test_a_response_out_of_band_is_marked() -> None:
    """And shows the input that it brought along, unless inputs are hidden."""
    rows = (
        sent("response.create", response={"conversation": "none", "input": [said("Judge.")]}),
        created("r", conversation_id=None),
        done("r", conversation_id=None),
    )
    found = chat(rows, "r").attributes
    assert (True, True) == (found[OURS + "out_of_band"], found[META + "out_of_band"])
    assert [{"role": "user", "content": "Judge."}] == messages(found, "prompt")
    assert [] == messages(chat(rows, "r", policy=NO_INPUTS).attributes, "prompt")


@pytest.mark.parametrize(
    ("policy", "asked", "answered"),
    [
        (NO_INPUTS, HIDDEN, "It is sunny."),
        (NO_OUTPUTS, "sunny", HIDDEN),
        (NOTHING, HIDDEN, HIDDEN),
    ],
)
def test_each_side_of_an_answer_hides_for_itself(
    policy: ContentPolicy, asked: str, answered: str
) -> None:
    """Usage, status and latencies stay."""
    found = chat(audio=HEARD, policy=policy).attributes
    assert asked == messages(found, "prompt")[0]["content"]
    assert answered == messages(found, "completion")[0]["content"]
    names = {name for name in CHAT if not name.endswith("voice_to_voice_ms")}
    assert names == found.keys()


def test_long_messages_are_shortened_within() -> None:
    """Each attribute fits, and parses."""
    item = said("word " * 5000, id="a", role="assistant")
    found = chat((created("r"), done("r", item)), "r").attributes
    assert len(found["gen_ai.completion"]) <= LIMIT
    assert messages(found, "completion")[0]["content"].endswith("more characters]")


# -- transcriptions --------------------------------------------------------------------------------


def transcript(policy: ContentPolicy = ALL, **keys: Any) -> dict[str, Any]:
    """The transcription of a turn that was committed after 40 ms."""
    item = Item("item_1", role="user", turn=1)
    event = {"type": "x.completed", "item_id": "item_1", "transcript": "Hello", **keys}
    change = Transcribed(item, "whisper-1", 40 * MS, at(40).at_ns, event, failed=False)
    return transcription_attributes(change, policy, OPENAI, LIMIT)


def test_a_transcription_billed_by_duration() -> None:
    """Seconds, and no token usage."""
    found = transcript(usage={"type": "duration", "seconds": 3})
    seconds = "transcription.seconds"
    check({**TRANSCRIBE, OURS + seconds: float, META + seconds: float}, found)
    assert (3.0, "whisper-1", 40) == (
        found[OURS + seconds],
        found[META + "ls_model_name"],
        found[OURS + "audio_offset_ms"],
    )
    assert [{"role": "assistant", "content": "Hello"}] == messages(found, "completion")
    assert [{"role": "user", "content": "[audio]"}] == messages(found, "prompt")


def test_a_transcription_billed_by_tokens() -> None:
    """Its own usage."""
    details = {"audio_tokens": 8, "text_tokens": 1}
    usage = {"type": "tokens", "input_tokens": 9, "output_tokens": 6, "total_tokens": 15}
    found = transcript(usage={**usage, "input_token_details": details})
    names = ("input_tokens", "output_tokens", "audio.input_tokens", "text.input_tokens")
    kinds = {f"gen_ai.usage.{name}": int for name in names}
    check({**TRANSCRIBE, **kinds, "langsmith.usage_metadata": JSON}, found)


def test_a_transcription_is_what_the_user_said() -> None:
    """So it hides with the inputs."""
    for policy, expected in ((NO_INPUTS, HIDDEN), (NO_OUTPUTS, "Hello"), (NOTHING, HIDDEN)):
        found = transcript(policy)
        assert expected == messages(found, "completion")[0]["content"]
        (message,) = json.loads(found["gen_ai.output.messages"])
        assert [{"type": "text", "content": expected}] == message["parts"]


# -- events ----------------------------------------------------------------------------------------


def test_an_event() -> None:
    """Everything an event can name, at its top level or in its item or response."""
    event = {
        "type": "x",
        "event_id": "event_1",
        "item": {"id": "item_1", "call_id": "call_1"},
        "response": {"id": "resp_1"},
    }
    found = event_attributes(event, '{"event":{}}', 1_234_567_890, 3)
    check(EVENT, found)
    assert ("event_1", "item_1", "resp_1", "call_1") == tuple(
        found[OURS + name] for name in ("event.id", "item.id", "response.id", "call.id")
    )
    assert (1.234568, 1234, 3) == tuple(
        found[OURS + name] for name in ("event.received_at_s", "audio_offset_ms", "turn")
    )


def test_an_event_that_names_nothing() -> None:
    """Absent, not None; the outermost name wins."""
    found = event_attributes({"type": "x"}, "{}", 0, 0)
    ids = {"turn", "id"}
    check({k: v for k, v in EVENT.items() if k.rpartition(".")[2] not in ids}, found)
    event = {"type": "x", "item_id": "outer", "item": {"id": "inner"}}
    assert "outer" == event_attributes(event, "{}", 0, 0)[OURS + "item.id"]


@bounded
@given(json_values, json_values)
def test_any_event_gives_attributes_that_can_be_exported(one: Any, other: Any) -> None:
    """Text that encodes, no None, no object."""
    keys = ("event_id", "item_id", "item", "response", "response_id", "call_id", "error")
    for key in keys:
        event = parse(json.dumps({"type": "error", key: one, "item": {"id": other}}))
        assert event is not None
        found = event_attributes(event, "{}", 0, 0)
        assert {type(value) for value in found.values()} <= {str, int, float}
        "".join(value for value in found.values() if isinstance(value, str)).encode()
        for kind in ("error", "x.failed", "response.done"):
            failure = event_failure({**event, "type": kind}, ALL)
            assert failure is None or isinstance(failure.type + failure.message, str)


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


# -- tools -----------------------------------------------------------------------------------------


def tool(arguments: str | None, output: str | None, policy: ContentPolicy = ALL) -> dict[str, Any]:
    """All attributes of a tool that ran."""
    found = tool_attributes("call_1", "weather", arguments, policy, LIMIT)
    return {**found, **tool_result(output, policy, LIMIT)}


def test_a_tool() -> None:
    """Arguments and result are the JSON they were, other text becomes a JSON string."""
    found = tool('{"city": "Paris"}', "sunny")
    check(TOOL, found)
    assert '{"city": "Paris"}' == found["gen_ai.prompt"] == found["gen_ai.tool.call.arguments"]
    assert '"sunny"' == found["gen_ai.completion"] == found["gen_ai.tool.call.result"]
    assert ("tool", "execute_tool", "weather", "function", "call_1") == tuple(
        found[name]
        for name in (
            "langsmith.span.kind",
            "gen_ai.operation.name",
            "gen_ai.tool.name",
            "gen_ai.tool.type",
            "gen_ai.tool.call.id",
        )
    )


@pytest.mark.parametrize("text", ["", "NaN", '{"a": Infinity}', "{broken", "[" * 5000, "é\ud800"])
def test_arguments_that_are_no_json_become_a_json_string(text: str) -> None:
    """Whatever the model wrote."""
    found = json.loads(tool(text, text)["gen_ai.tool.call.arguments"])
    assert isinstance(found, str)


def test_a_tool_without_a_call() -> None:
    """One that the model did not ask for has no id; without arguments it has no input."""
    found = tool_attributes(None, "lookup", None, ALL, LIMIT)
    names = ("langsmith.span.kind", "gen_ai.operation.name", "gen_ai.tool.name", "gen_ai.tool.type")
    assert set(names) == found.keys()
    assert {} == tool_result(None, ALL, LIMIT)


@pytest.mark.parametrize(
    ("policy", "arguments", "result"),
    [
        (NO_INPUTS, '"PLANTED"', HIDDEN),
        (NO_OUTPUTS, HIDDEN, '"PLANTED"'),
        (NOTHING, HIDDEN, HIDDEN),
    ],
)
def test_a_tools_arguments_are_outputs_and_its_result_is_input(
    policy: ContentPolicy, arguments: str, result: str
) -> None:
    """Its name stays."""
    found = tool('"PLANTED"', '"PLANTED"', policy)
    expected = [json.dumps(text) if text is HIDDEN else text for text in (arguments, result)]
    assert expected == [found["gen_ai.prompt"], found["gen_ai.completion"]]
    assert "weather" == found["gen_ai.tool.name"]


def test_long_arguments_stay_json() -> None:
    """Shortened from within."""
    text = json.dumps({"list": ["word"] * 5000})
    found = tool(text, text)
    assert len(found["gen_ai.prompt"]) <= LIMIT
    assert "list" in json.loads(found["gen_ai.prompt"])


def test_a_servers_own_tool() -> None:
    """It is an extension, and its error is content."""
    item = Item("item_1", kind="mcp_call", name="search", arguments="{}", output="hit", error="E")
    found = mcp_attributes(item, ALL, LIMIT)
    check(TOOL, found)
    assert ("extension", "item_1") == (found["gen_ai.tool.type"], found["gen_ai.tool.call.id"])
    assert Failure("mcp_call_failed", "E") == mcp_failure(item, ALL)
    assert Failure("mcp_call_failed", HIDDEN) == mcp_failure(item, NO_OUTPUTS)
    item.error = None
    assert "the MCP call failed" == mcp_failure(item, NOTHING).message


def test_where_something_stands() -> None:
    """Its turn, if there is one, and its offset into the recording, in both forms."""
    found = position_facts(at(1234), 2)
    expected = {"turn": 2, "audio_offset_ms": 1234}
    assert {p + name: value for p in (OURS, META) for name, value in expected.items()} == found
    assert {OURS + "audio_offset_ms", META + "audio_offset_ms"} == position_facts(at(0), 0).keys()


# -- with nothing captured -------------------------------------------------------------------------


def test_nothing_of_a_hidden_call_shows_anywhere() -> None:
    """Events admitted with content hidden make spans without any of it."""
    state = ConversationState()
    texts = []
    for index, (is_sent, event) in enumerate(CALL):
        stored, _ = NOTHING.admit(event)
        step = state.send if is_sent else state.receive
        for change in step(stored, at(index)):
            if isinstance(change, Transcribed):
                texts.append(transcription_attributes(change, NOTHING, OPENAI, LIMIT))
    responses: list[Response] = list(state.responses.values())
    for response in responses:
        texts.append(describe_inference(response, state, HEARD, NOTHING, OPENAI, LIMIT).attributes)
    for call in state.calls.values():
        texts.append(tool_attributes(call.id, call.name, call.arguments, NOTHING, LIMIT))
        texts.append(tool_result(call.output, NOTHING, LIMIT))
    written = json.dumps(texts)
    words = ("Paris", "How is", "sunny", "noon", "brief")
    assert [] == [word for word in words if word in written]
    assert [] == [word for word in ("weather", "whisper-1", "item_1") if word not in written]
