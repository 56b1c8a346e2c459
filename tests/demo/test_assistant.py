"""The longer call's app against the scripted server, with tones for voices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI

from otel_realtime.demo import assistant
from otel_realtime.demo.assistant import CLASSIFY, IDLE_TIMEOUT_MS, MCP_TOOL, AssistantApp
from otel_realtime.demo.devices import Caller, Line, Speaker
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import Connection, ScriptedServer
from otel_realtime.demo.speech import Utterance, silence, tone
from otel_realtime.demo.story import CALLS, WARNINGS, WARNINGS_TOOL
from tests.support.scripted import (
    Event,
    append,
    client_of,
    events_until,
    is_type,
    milestones,
    of_type,
)

LINE = Utterance("La la.", tone(300, 0.2))
TOOLS = {MCP_TOOL["server_label"]: (WARNINGS_TOOL,)}
SPEED = 10.0
"""The server's idle timeout takes half a second."""


def spoken(text: str) -> Answer:
    """A short answer."""
    return Answer(text=text, pcm=tone(440, 0.2))


SCENARIO = Scenario(
    user_transcripts=("Weather?", "Yes. Warnings?"),
    answers=(
        CALLS,
        spoken("It is fine."),
        spoken("Still there?"),
        Answer(mcp_calls=(WARNINGS,)),
        spoken("None."),
    ),
    out_of_band_answers=(Answer(text="weather"),),
    mcp_tools={"warnings": (WARNINGS_TOOL,)},
    answer_delay_ms=200,
    transcription_delay_ms=0,
)


@pytest.fixture(scope="module")
def call() -> tuple[Connection, list[str]]:
    """A question, a silence that the server breaks, a second question with an MCP call."""
    shown: list[str] = []

    async def talk(url: str) -> None:
        speaker = Speaker()
        lines = (
            Line(speech=LINE, after="start", wait_s=0.3),
            Line(speech=LINE, after="prompt", wait_s=0.05),
        )
        caller = Caller(lines, speaker, hang_up_after_s=0.1)
        async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
            microphone = caller.microphone()
            app = AssistantApp(client, microphone, speaker, show=shown.append, silence_ms=150)
            await asyncio.wait_for(app.run(), 30)

    with pytest.MonkeyPatch.context() as patch, ScriptedServer(SCENARIO, speed=SPEED) as server:
        # The person is as much faster as the server is.
        patch.setattr(assistant, "APPROVAL_S", assistant.APPROVAL_S / SPEED)
        asyncio.run(talk(server.url))
        return server.connections[0], shown


def test_the_server_speaks_into_the_silence(call: tuple[Connection, list[str]]) -> None:
    """It commits the silence and answers it, in the order of the service, without a transcript."""
    sent = call[0].sent
    kinds = milestones(sent)
    at = kinds.index("input_audio_buffer.timeout_triggered")
    assert kinds[at : at + 5] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    (timeout,) = of_type(sent, "input_audio_buffer.timeout_triggered")
    committed = [e["item_id"] for e in of_type(sent, "input_audio_buffer.committed")]
    assert committed[1] == timeout["item_id"]
    # The server's clock runs faster than the microphone here, so there is less silence than that.
    assert 0 < timeout["audio_end_ms"] - timeout["audio_start_ms"] <= IDLE_TIMEOUT_MS
    transcribed = of_type(sent, "conversation.item.input_audio_transcription.completed")
    assert [committed[0], committed[2]] == [event["item_id"] for event in transcribed]


def test_an_approved_call_is_run_and_its_result_spoken(call: tuple[Connection, list[str]]) -> None:
    """Asked, allowed, run by the server in a response of its own, spoken in the next."""
    connection, shown = call
    done = [event["response"] for event in of_type(connection.sent, "response.done")][-3:]
    asked, ran, said = (response["output"][0] for response in done)
    assert (asked["type"], ran["type"], said["type"]) == (
        "mcp_approval_request",
        "mcp_call",
        "message",
    )
    created = of_type(connection.received, "conversation.item.create")
    assert created[-1]["item"]["approval_request_id"] == asked["id"]
    assert (ran["approval_request_id"], ran["output"]) == (asked["id"], WARNINGS.output)
    kinds = milestones(connection.sent)
    at = kinds.index("response.mcp_call.in_progress")
    assert kinds[at - 3 : at + 5] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert "   agent  None." in shown


def test_the_servers_tools_are_listed_once(call: tuple[Connection, list[str]]) -> None:
    """At the start, in the order of the service."""
    kinds = milestones(call[0].sent)
    at = kinds.index("mcp_list_tools.in_progress")
    assert kinds[at - 1 : at + 3] == [
        "conversation.item.added",
        "mcp_list_tools.in_progress",
        "conversation.item.done",
        "mcp_list_tools.completed",
    ]
    (listed,) = (
        event["item"]
        for event in of_type(call[0].sent, "conversation.item.done")
        if event["item"]["type"] == "mcp_list_tools"
    )
    assert listed["tools"] == [WARNINGS_TOOL]


def test_the_first_question_is_classified_on_the_side(call: tuple[Connection, list[str]]) -> None:
    """By reference, with instructions of its own; the answer is no item of the conversation."""
    connection, shown = call
    (request,) = (
        event["response"]
        for event in of_type(connection.received, "response.create")
        if "response" in event
    )
    question = of_type(connection.sent, "input_audio_buffer.committed")[0]["item_id"]
    assert request["input"] == [{"type": "item_reference", "id": question}]
    assert request["instructions"] == CLASSIFY
    (answer,) = (
        event["response"]
        for event in of_type(connection.sent, "response.done")
        if event["response"]["conversation_id"] is None
    )
    assert answer["metadata"] == request["metadata"]
    added = {e["item"]["id"] for e in of_type(connection.sent, "conversation.item.added")}
    assert answer["output"][0]["id"] not in added
    assert "   topic  weather" in shown


# --- what the app above does not do ---------------------------------------------------------------


def play(scenario: Scenario, act: Callable[[Any], Awaitable[list[Event]]]) -> list[Event]:
    """Run one conversation against a fresh server; returns what ``act`` received."""

    async def talk(client: AsyncOpenAI) -> list[Event]:
        async with client.realtime.connect(model="gpt-realtime") as connection:
            return await asyncio.wait_for(act(connection), 20)

    with ScriptedServer(scenario, speed=SPEED) as server:
        return asyncio.run(talk(client_of(server)))


def test_a_call_that_needs_no_approval_is_run_at_once() -> None:
    """With its arguments, in the response that made it."""

    async def act(connection: Any) -> list[Event]:
        tool = {**MCP_TOOL, "require_approval": "never"}
        await connection.session.update(session={"type": "realtime", "tools": [tool]})
        await connection.response.create()
        events = await events_until(connection, is_type("response.done"))
        return events + await events_until(connection, is_type("response.done"))

    events = play(Scenario(answers=(Answer(mcp_calls=(WARNINGS,)), spoken("None."))), act)
    (arguments,) = of_type(events, "response.mcp_call_arguments.done")
    assert json.loads(arguments["arguments"]) == {"city": "Paris"}
    ran, said = (event["response"]["output"][0] for event in of_type(events, "response.done"))
    assert (ran["output"], ran["approval_request_id"]) == (WARNINGS.output, None)
    assert said["content"][0]["transcript"] == "None."


def test_a_call_that_is_refused_is_not_run() -> None:
    """The model goes on without its result; an answer to nothing is an error."""

    async def act(connection: Any) -> list[Event]:
        await connection.session.update(session={"type": "realtime", "tools": [MCP_TOOL]})
        await connection.response.create()
        events = await events_until(connection, is_type("response.done"))
        request = events[-1]["response"]["output"][0]["id"]
        for request_id in (request, request):
            item = {"type": "mcp_approval_response", "id": f"a_{len(events)}", "approve": False}
            item["approval_request_id"] = request_id
            await connection.conversation.item.create(item=item)
            events += await events_until(connection, is_type("response.created", "error"))
        return events + await events_until(connection, is_type("response.done"))

    events = play(Scenario(answers=(Answer(mcp_calls=(WARNINGS,)), spoken("Then not."))), act)
    assert of_type(events, "response.mcp_call.in_progress") == []
    (error,) = of_type(events, "error")
    assert error["error"]["param"] == "item.approval_request_id"
    assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == "Then not."


def test_a_user_who_speaks_is_not_idle() -> None:
    """Speech ends the wait: the timeout comes after the answer to it, not before."""

    async def act(connection: Any) -> list[Event]:
        vad = {"type": "server_vad", "idle_timeout_ms": IDLE_TIMEOUT_MS}
        audio = {"input": {"turn_detection": vad}}
        await connection.session.update(session={"type": "realtime", "audio": audio})
        await connection.response.create()
        events = await events_until(connection, is_type("response.done"))
        await append(connection, silence(0.4) + tone(300, 0.3) + silence(0.6))
        return events + await events_until(
            connection, is_type("input_audio_buffer.timeout_triggered")
        )

    kinds = [event["type"] for event in play(Scenario(answers=(spoken("Hi."),)), act)]
    assert 2 == kinds.count("response.done")
    assert kinds.index("input_audio_buffer.speech_started") < kinds.index(
        "input_audio_buffer.timeout_triggered"
    )


MESSAGE = {"type": "message", "role": "user", "content": []}


@pytest.mark.parametrize(
    ("event", "param"),
    [
        (
            {"session": {"audio": {"input": {"turn_detection": {"idle_timeout_ms": 200}}}}},
            "session.audio.input.turn_detection.idle_timeout_ms",
        ),
        ({"session": {"tools": [{"type": "mcp"}]}}, "session.tools[0].server_label"),
        ({"session": {"tools": [{**MCP_TOOL, "x": 1}]}}, "session.tools[0].x"),
        ({"session": {"tools": ["mcp"]}}, "session.tools[0]"),
        ({"session": {"tools": {}}}, "session.tools"),
        ({"item": {"type": "mcp_approval_response", "id": "a"}}, "item.approval_request_id"),
        ({"response": {"input": {}}}, "response.input"),
        ({"response": {"input": [{"type": "item_reference"}]}}, "response.input[0]"),
        ({"response": {"input": [{"type": "item_reference", "id": "gone"}]}}, "item_id"),
        ({"response": {"input": [{"type": "thought"}]}}, "item.type"),
    ],
)
def test_what_is_not_allowed_is_an_error(event: dict[str, Any], param: str) -> None:
    """With the parameter's name; nothing is half applied."""
    kinds = {
        "session": "session.update",
        "item": "conversation.item.create",
        "response": "response.create",
    }
    ((key, body),) = event.items()
    if key == "session":
        body = {"type": "realtime", **body}

    async def act(connection: Any) -> list[Event]:
        await connection.send_raw(json.dumps({"type": kinds[key], key: body}))
        return await events_until(connection, is_type("error"))

    events = play(Scenario(), act)
    assert (events[-1]["error"]["param"], len(events)) == (param, 2)
