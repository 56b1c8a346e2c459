"""The scripted server, driven by the real SDK client over a real websocket."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets
from openai import AsyncOpenAI, OpenAI

from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import silence, tone
from tests.support.scripted import (
    Event,
    append,
    audio_of,
    client_of,
    events_until,
    is_type,
    milestones,
    of_type,
    session,
)

RECORDED = Path(__file__).parents[2] / "../shared/data/events"
SPEED = 40.0
"""The server's pauses and audio run that much faster than life."""
SAID = tone(440, 1.0)
TURN = silence(0.5) + tone(300, 0.6) + silence(0.8)


def play(
    scenario: Scenario,
    act: Callable[[Any], Awaitable[list[Event]]],
    *,
    speed: float = SPEED,
) -> list[Event]:
    """Run one conversation against a fresh server; returns what ``act`` received."""

    async def talk(client: AsyncOpenAI) -> list[Event]:
        async with client.realtime.connect(model="gpt-realtime") as connection:
            return await asyncio.wait_for(act(connection), 20)

    with ScriptedServer(scenario, speed=speed) as server:
        return asyncio.run(talk(client_of(server)))


async def ask(connection: Any, text: str = "Hello.", **response: Any) -> None:
    """A user's message as text, and a response to it."""
    part = {"type": "input_text", "text": text}
    await connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [part]}
    )
    await connection.response.create(**({"response": response} if response else {}))


def test_a_spoken_turn_comes_in_the_order_of_the_recorded_service() -> None:
    """Speech in, speech out: the same events in the same order as in the recordings."""
    path = RECORDED / "openai_ws__audio_in_server_vad_turn.jsonl"
    if not path.exists():
        pytest.skip("no recorded streams here")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    expected = milestones([row["event"] for row in rows if row["dir"] == "recv"])

    async def act(connection: Any) -> list[Event]:
        await connection.session.update(session=session())
        await append(connection, TURN)
        return await events_until(connection, is_type("response.done"))

    actual = milestones(play(Scenario(answers=(Answer(text="Hi there.", pcm=SAID),)), act, speed=4))
    assert _transcript_last(expected) == _transcript_last(actual)


def _transcript_last(kinds: list[str]) -> list[str]:
    """The transcript of the user comes at some time during the answer."""
    done = "conversation.item.input_audio_transcription.completed"
    return [kind for kind in kinds if kind != done] + [kind for kind in kinds if kind == done]


def test_a_tool_round_comes_in_the_order_of_the_recorded_service() -> None:
    """A function call, its output, a text answer: as recorded."""
    path = RECORDED / "openai_ws__tool_call_round.jsonl"
    if not path.exists():
        pytest.skip("no recorded streams here")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    expected = milestones([row["event"] for row in rows if row["dir"] == "recv"])
    scenario = Scenario(
        answers=(
            Answer(calls=(Call(name="get_weather", arguments='{"city": "London"}'),)),
            Answer(text="It is foggy."),
        )
    )

    async def act(connection: Any) -> list[Event]:
        await connection.session.update(session=session(output_modalities=["text"]))
        await ask(connection)
        events = await events_until(connection, is_type("response.function_call_arguments.done"))
        call_id = events[-1]["call_id"]
        events += await events_until(connection, is_type("response.done"))
        output = {"type": "function_call_output", "call_id": call_id, "output": "foggy"}
        await connection.conversation.item.create(item=output)
        await connection.response.create()
        return events + await events_until(connection, is_type("response.done"))

    assert expected == milestones(play(scenario, act))


def test_each_recorded_event_has_the_same_keys_here() -> None:
    """Every event the scripted server sends has the keys of the recorded one of its type."""
    name = "openai_ws__input_audio_retention_segments_three_server_vad_turns.jsonl"
    if not (RECORDED / name).exists():
        pytest.skip("no recorded streams here")
    rows = [json.loads(line) for line in (RECORDED / name).read_text("utf-8").splitlines()]
    recorded = {row["event"]["type"]: row["event"] for row in rows if row["dir"] == "recv"}

    async def act(connection: Any) -> list[Event]:
        await connection.session.update(session=session())
        await append(connection, TURN)
        return await events_until(connection, is_type("rate_limits.updated"))

    actual = {
        event["type"]: event
        for event in play(Scenario(answers=(Answer(text="Hi there.", pcm=SAID),)), act, speed=4)
    }
    optional = {"obfuscation"}
    assert recorded.keys() == actual.keys()
    for kind, event in recorded.items():
        assert event.keys() - optional == actual[kind].keys() - optional, kind
    for kind, inner in (("response.done", "response"), ("session.updated", "session")):
        assert recorded[kind][inner].keys() == actual[kind][inner].keys()
    expected_usage = recorded["response.done"]["response"]["usage"]
    actual_usage = actual["response.done"]["response"]["usage"]
    assert _shape(expected_usage) == _shape(actual_usage)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    return type(value)


def test_voice_activity_is_placed_in_the_appended_audio() -> None:
    """Start (less the prefix) and end (plus the silence) are right to 20 ms, turn after turn."""

    async def act(connection: Any) -> list[Event]:
        turn = silence(1.234) + tone(300, 0.777) + silence(0.9)
        await append(connection, turn, chunk=1920)
        events = await events_until(connection, is_type("response.done"))
        await append(connection, turn, chunk=1111)
        return events + await events_until(connection, is_type("response.done"))

    vad = {"prefix_padding_ms": 200, "silence_duration_ms": 400}
    events = play(Scenario(turn_detection=vad), act)
    starts = [e["audio_start_ms"] for e in of_type(events, "input_audio_buffer.speech_started")]
    ends = [e["audio_end_ms"] for e in of_type(events, "input_audio_buffer.speech_stopped")]
    length = 1234 + 777 + 900
    assert [1034, 1034 + length] == pytest.approx(starts, abs=20)
    assert [1234 + 777 + 400, 1234 + 777 + 400 + length] == pytest.approx(ends, abs=20)


def test_the_agents_audio_arrives_bit_by_bit_as_the_scenario_has_it() -> None:
    """The deltas joined are the scenario's audio, and faster than real time."""
    pcm = tone(523, 1.2345)

    async def act(connection: Any) -> list[Event]:
        await ask(connection)
        return await events_until(connection, is_type("response.done"))

    events = play(Scenario(answers=(Answer(text="La la la.", pcm=pcm),)), act)
    assert pcm == audio_of(events)
    transcript = of_type(events, "response.output_audio_transcript.delta")
    assert "".join(event["delta"] for event in transcript) == "La la la."
    usage = events[-1]["response"]["usage"]
    assert usage["output_token_details"]["audio_tokens"] == 25


def test_two_functions_are_called_in_one_response() -> None:
    """Both calls are output items of one response, with their own ids and whole arguments."""
    calls = (Call(name="a", arguments='{"x": 1}'), Call(name="b", arguments='{"y": "long enough"}'))
    scenario = Scenario(answers=(Answer(calls=calls), Answer(text="Done.", pcm=SAID)))

    async def act(connection: Any) -> list[Event]:
        await ask(connection)
        events = await events_until(connection, is_type("response.done"))
        for item in events[-1]["response"]["output"]:
            output = {"type": "function_call_output", "call_id": item["call_id"], "output": "{}"}
            await connection.conversation.item.create(item=output)
        await connection.response.create()
        return events + await events_until(connection, is_type("response.done"))

    events = play(scenario, act)
    first, second = (event["response"] for event in of_type(events, "response.done"))
    assert [(item["name"], item["arguments"]) for item in first["output"]] == [
        ("a", '{"x": 1}'),
        ("b", '{"y": "long enough"}'),
    ]
    assert len({item["call_id"] for item in first["output"]}) == 2
    assert audio_of(events) == SAID
    assert second["usage"]["input_token_details"]["text_tokens"] > 0


def test_speech_cancels_the_response_that_is_being_generated() -> None:
    """Barge-in: cancelled, turn_detected, its item incomplete; the next utterance is answered."""
    long = Answer(text="This goes on and on.", pcm=tone(440, 60))
    scenario = Scenario(answers=(long, Answer(text="Yes?", pcm=SAID)))

    async def act(connection: Any) -> list[Event]:
        await append(connection, TURN)
        events = await events_until(connection, is_type("response.output_audio.delta"))
        await append(connection, tone(300, 0.6))
        events += await events_until(connection, is_type("response.done"))
        item = events[-1]["response"]["output"][0]["id"]
        await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=120)
        await append(connection, silence(0.8))
        return events + await events_until(connection, is_type("response.done"))

    events = play(scenario, act, speed=4)
    first, second = (event["response"] for event in of_type(events, "response.done"))
    details = {"type": "cancelled", "reason": "turn_detected"}
    assert ("cancelled", details) == (first["status"], first["status_details"])
    assert first["output"][0]["status"] == "incomplete"
    assert 0 < first["usage"]["output_token_details"]["audio_tokens"] < 1200
    said = first["output"][0]["content"][0]["transcript"]
    assert "This goes on and on.".startswith(said)
    assert said != "This goes on and on."
    truncated = of_type(events, "conversation.item.truncated")
    assert [(first["output"][0]["id"], 120)] == [
        (event["item_id"], event["audio_end_ms"]) for event in truncated
    ]
    assert second["status"] == "completed"
    order = [event["type"] for event in events]
    assert order.index("response.done") > order.index("response.output_audio.done")


def test_speech_does_not_cancel_where_interruptions_are_off() -> None:
    """With ``interrupt_response`` false the response goes on and the next one waits for its end."""
    scenario = Scenario(
        answers=(Answer(text="First.", pcm=tone(440, 8)), Answer(text="Second.", pcm=SAID)),
        turn_detection={"interrupt_response": False},
    )

    async def act(connection: Any) -> list[Event]:
        await append(connection, TURN)
        events = await events_until(connection, is_type("response.output_audio.delta"))
        await append(connection, TURN)
        events += await events_until(connection, is_type("response.done"))
        return events + await events_until(connection, is_type("response.done"))

    events = play(scenario, act)
    statuses = [event["response"]["status"] for event in of_type(events, "response.done")]
    assert statuses == ["completed", "completed"]


def test_a_cancel_before_any_output_costs_nothing() -> None:
    """``response.cancel`` before the first item: no output, usage all zero."""

    async def act(connection: Any) -> list[Event]:
        await ask(connection)
        events = await events_until(connection, is_type("response.created"))
        await connection.response.cancel()
        return events + await events_until(connection, is_type("response.done"))

    response = play(Scenario(answer_delay_ms=5000), act, speed=1)[-1]["response"]
    expected = ("cancelled", "client_cancelled", [], 0)
    details = response["status_details"]
    usage = response["usage"]["total_tokens"]
    assert expected == (response["status"], details["reason"], response["output"], usage)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "foo.bar"}, "invalid_value"),
        ({"event_id": "mine"}, "missing_required_parameter"),
        ({"type": "response.cancel"}, "response_cancel_not_active"),
        ({"type": "session.update", "session": {}}, "missing_required_parameter"),
        (
            {"type": "session.update", "session": {"type": "realtime", "modalities": []}},
            "unknown_parameter",
        ),
        ({"type": "response.create", "reponse": {}}, "unknown_parameter"),
        ({"type": "response.create", "response": {"modalities": []}}, "unknown_parameter"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "input_audio_buffer.append", "audio": "???"}, "invalid_value"),
        ({"type": "output_audio_buffer.clear"}, "invalid_value"),
        (
            {"type": "conversation.item.delete", "item_id": "nope"},
            "item_delete_invalid_item_id",
        ),
        (
            {"type": "conversation.item.retrieve", "item_id": "nope"},
            "item_retrieve_invalid_item_id",
        ),
        (
            {
                "type": "conversation.item.truncate",
                "item_id": "nope",
                "content_index": 0,
                "audio_end_ms": 5,
            },
            "item_truncate_invalid_item_id",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "function_call_output", "call_id": "nope", "output": ""},
            },
            "invalid_tool_call_id",
        ),
        (
            {"type": "conversation.item.create", "item": {"type": "note"}},
            "invalid_value",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "user", "content": "text"},
            },
            "invalid_type",
        ),
        ([1, 2], "invalid_type"),
        ("{", "invalid_json"),
    ],
)
def test_what_the_server_does_not_take_is_answered_with_an_error(event: Any, code: str) -> None:
    """Anything outside the protocol gets an ``error`` event with the client's event id."""
    if isinstance(event, dict):
        event = {"event_id": "mine", **event}

    async def act(connection: Any) -> list[Event]:
        await events_until(connection, is_type("session.created"))
        await connection.send_raw(event if isinstance(event, str) else json.dumps(event))
        return await events_until(connection, lambda event: True)

    (answer,) = play(Scenario(), act)
    mine = "mine" if isinstance(event, dict) else None
    assert ("error", code, mine) == (
        answer["type"],
        answer["error"]["code"],
        answer["error"]["event_id"],
    )


def test_a_truncate_beyond_the_audio_is_refused() -> None:
    """Only the model's audio can be truncated, and only to what there is."""

    async def act(connection: Any) -> list[Event]:
        await ask(connection)
        events = await events_until(connection, is_type("response.done"))
        item = events[-1]["response"]["output"][0]["id"]
        truncate = connection.conversation.item.truncate
        await truncate(item_id=item, content_index=0, audio_end_ms=1001)
        await truncate(item_id=events[2]["item"]["id"], content_index=0, audio_end_ms=1)
        await truncate(item_id=item, content_index=0, audio_end_ms=1000)
        return await events_until(connection, is_type("conversation.item.truncated"))

    events = play(Scenario(answers=(Answer(text="La.", pcm=SAID),), rate_limits=False), act)
    assert [event["error"]["message"] for event in of_type(events, "error")] == [
        "Audio content of 1000ms is already shorter than 1001ms",
        "Only model output audio messages can be truncated",
    ]


def test_an_item_can_be_retrieved_with_its_audio_and_deleted() -> None:
    """``retrieved`` is the one event that includes the audio of an item."""

    async def act(connection: Any) -> list[Event]:
        await append(connection, TURN)
        events = await events_until(connection, is_type("response.done"))
        item = events[-1]["response"]["output"][0]["id"]
        await connection.conversation.item.retrieve(item_id=item)
        await connection.conversation.item.delete(item_id=item)
        await connection.conversation.item.retrieve(item_id=item)
        return await events_until(connection, is_type("error"))

    events = play(Scenario(answers=(Answer(text="La.", pcm=SAID),), rate_limits=False), act)
    assert milestones(events) == [
        "conversation.item.retrieved",
        "conversation.item.deleted",
        "error",
    ]
    part = events[0]["item"]["content"][0]
    assert len(SAID) == len(part["audio"]) * 3 // 4


def test_without_turn_detection_the_client_commits() -> None:
    """Turn detection null: a commit makes the item, and no response by itself."""

    async def act(connection: Any) -> list[Event]:
        audio = {"input": {"turn_detection": None}}
        await connection.session.update(session={"type": "realtime", "audio": audio})
        await append(connection, tone(300, 0.5))
        await connection.input_audio_buffer.commit()
        await connection.input_audio_buffer.clear()
        return await events_until(connection, is_type("input_audio_buffer.cleared"))

    assert milestones(play(Scenario(), act)) == [
        "session.created",
        "session.updated",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "input_audio_buffer.cleared",
    ]


def test_a_response_out_of_band_leaves_the_conversation_alone() -> None:
    """``conversation: none``: conversation_id null and no conversation items."""

    async def act(connection: Any) -> list[Event]:
        part = {"type": "input_text", "text": "Classify."}
        item = {"type": "message", "role": "user", "content": [part]}
        response = {"conversation": "none", "input": [item], "metadata": {"topic": "x"}}
        await connection.response.create(response={**response, "output_modalities": ["text"]})
        return await events_until(connection, is_type("response.done"))

    events = play(Scenario(), act)
    response = events[-1]["response"]
    assert (response["conversation_id"], response["metadata"]) == (None, {"topic": "x"})
    assert of_type(events, "conversation.item.added") == []


def test_a_response_can_fail_as_the_scenario_says() -> None:
    """An answer's own status and details end the response."""
    error = {"type": "server_error", "code": "oops", "message": "It broke."}
    answer = Answer(status="failed", status_details={"type": "failed", "error": error})

    async def act(connection: Any) -> list[Event]:
        await ask(connection)
        return await events_until(connection, is_type("response.done"))

    response = play(Scenario(answers=(answer,)), act)[-1]["response"]
    assert ("failed", error) == (response["status"], response["status_details"]["error"])


def test_a_failed_transcription_says_so() -> None:
    """``transcription_fails`` ends the transcription in ``.failed``."""

    async def act(connection: Any) -> list[Event]:
        await connection.session.update(session=session())
        await append(connection, TURN)
        kind = "conversation.item.input_audio_transcription"
        return await events_until(connection, is_type(f"{kind}.failed", f"{kind}.completed"))

    failed = play(Scenario(transcription_fails=True), act)[-1]
    assert failed["error"]["code"] == "audio_unintelligible"


def test_a_transcription_session_only_transcribes() -> None:
    """``intent=transcription``: items and transcripts, no response."""

    async def act(url: str) -> list[Event]:
        async with websockets.connect(f"{url}/realtime?intent=transcription") as socket:
            events = [json.loads(await socket.recv())]
            audio = {"input": {"transcription": {"model": "whisper-1"}}}
            body = {"type": "transcription", "audio": audio}
            await socket.send(json.dumps({"type": "session.update", "session": body}))
            for start in range(0, len(TURN), 4800):
                audio_event = {"type": "input_audio_buffer.append"}
                piece = base64.b64encode(TURN[start : start + 4800]).decode()
                await socket.send(json.dumps({**audio_event, "audio": piece}))
            while "completed" not in events[-1]["type"]:
                events.append(json.loads(await socket.recv()))
            return events

    with ScriptedServer(Scenario(user_transcripts=("Hello you.",)), speed=SPEED) as server:
        events = asyncio.run(asyncio.wait_for(act(server.url), 20))
    assert events[0]["session"]["type"] == "transcription"
    assert (events[-1]["transcript"], events[-1]["usage"]["type"]) == ("Hello you.", "duration")
    assert of_type(events, "response.created") == []


def test_ten_conversations_at_once_do_not_mix() -> None:
    """Each connection is a session of its own, with its own audio and its own log."""
    tones = [tone(200 + 50 * number, 0.5) for number in range(10)]
    scenarios = [Scenario(answers=(Answer(text=str(n), pcm=pcm),)) for n, pcm in enumerate(tones)]

    async def talk(client: AsyncOpenAI) -> tuple[str, bytes]:
        async with client.realtime.connect(model="gpt-realtime") as connection:
            await ask(connection)
            events = await events_until(connection, is_type("response.done"))
            return events[0]["session"]["id"], audio_of(events)

    async def all_at_once(client: AsyncOpenAI) -> list[tuple[str, bytes]]:
        return await asyncio.gather(*(talk(client) for _ in range(10)))

    with ScriptedServer(scenarios, speed=SPEED) as server:
        heard = dict(asyncio.run(all_at_once(client_of(server))))
        served = {
            connection.session.session["id"]: n for n, connection in enumerate(server.connections)
        }
        sent = [len(of_type(events, "response.done")) for events in server.sent]
        received = [[event["type"] for event in events] for events in server.received]
    assert {session_id: tones[number] for session_id, number in served.items()} == heard
    assert sent == [1] * 10
    assert received == [["conversation.item.create", "response.create"]] * 10


def test_the_sync_client_is_served_as_well() -> None:
    """The SDK's sync connection talks to it."""
    with ScriptedServer(Scenario(answers=(Answer(text="La.", pcm=SAID),)), speed=SPEED) as server:
        client = OpenAI(api_key="any", websocket_base_url=server.url)
        with client.realtime.connect(model="gpt-realtime") as connection:
            connection.response.create()
            kinds = []
            for event in connection:
                kinds.append(event.type)
                if event.type == "response.done":
                    break
    assert "response.output_audio.delta" in kinds


@pytest.mark.parametrize(
    ("path", "key", "status"), [("/v1/realtime", "wrong", 401), ("/v1/x", "right", 404)]
)
def test_a_wrong_key_or_path_is_refused_in_the_handshake(path: str, key: str, status: int) -> None:
    """HTTP statuses as the service answers them."""

    async def connect(url: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        try:
            async with websockets.connect(url, additional_headers=headers):
                return 101
        except websockets.exceptions.InvalidStatus as error:
            return error.response.status_code

    with ScriptedServer(api_key="right") as server:
        base = server.url.removesuffix("/v1")
        assert status == asyncio.run(connect(f"{base}{path}?model=m"))


def test_a_connection_without_a_model_is_closed_with_an_error() -> None:
    """The service needs the model in the URL."""

    async def connect(url: str) -> tuple[str, int]:
        async with websockets.connect(f"{url}/realtime") as socket:
            error = json.loads(await socket.recv())
            await socket.wait_closed()
            return error["error"]["code"], socket.close_code or 0

    with ScriptedServer() as server:
        assert asyncio.run(connect(server.url)) == ("missing_model", 4000)


def test_the_server_can_hang_up() -> None:
    """``hang_up`` closes with the given code."""

    async def act(server: ScriptedServer) -> int:
        async with client_of(server).realtime.connect(model="m") as connection:
            await connection.recv()
            server.connections[0].hang_up(1011, "server error")
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            return closed.value.rcvd.code

    with ScriptedServer() as server:
        assert asyncio.run(act(server)) == 1011
