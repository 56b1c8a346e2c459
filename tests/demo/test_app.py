"""The voice app against the scripted server: a whole short call, in real time."""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI

from otel_realtime.demo.app import VoiceApp
from otel_realtime.demo.devices import Caller, Line, Speaker
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import Connection, ScriptedServer
from otel_realtime.demo.speech import Utterance, tone
from otel_realtime.demo.story import CALLS
from tests.support.scripted import of_type

LINE = Utterance("La la.", tone(300, 0.2))
SCENARIO = Scenario(
    user_transcripts=("Weather?", "Stop."),
    answers=(
        CALLS,
        Answer(text="It is fine.", pcm=tone(440, 6.0)),
        Answer(text="Yes.", pcm=tone(550, 0.2)),
    ),
    answer_delay_ms=20,
    transcription_delay_ms=20,
)


def call() -> tuple[Connection, list[str]]:
    """A question, two functions, an answer cut short, a short answer."""
    shown: list[str] = []

    async def talk(url: str) -> None:
        speaker = Speaker()
        lines = (
            Line(speech=LINE, after="start", wait_s=0.0),
            Line(speech=LINE, after="speaking", wait_s=0.3),
        )
        caller = Caller(lines, speaker, hang_up_after_s=0.05)
        async with AsyncOpenAI(api_key="any", websocket_base_url=url) as client:
            microphone = caller.microphone()
            app = VoiceApp(client, microphone, speaker, show=shown.append, silence_ms=150)
            await asyncio.wait_for(app.run(), 20)

    with ScriptedServer(SCENARIO) as server:
        asyncio.run(talk(server.url))
        return server.connections[0], shown


def test_a_whole_call() -> None:
    """Tools are answered, the barge-in truncates what was not heard, the error does no harm."""
    connection, shown = call()
    kinds = [
        event["type"]
        for event in connection.received
        if event["type"] != "input_audio_buffer.append"
    ]
    assert kinds == [
        "session.update",
        "conversation.item.create",
        "conversation.item.create",
        "response.create",
        "response.cancel",
        "conversation.item.truncate",
    ]
    responses = [event["response"] for event in of_type(connection.sent, "response.done")]
    assert [response["status"] for response in responses] == ["completed", "cancelled", "completed"]
    called = [item["call_id"] for item in responses[0]["output"]]
    created = of_type(connection.received, "conversation.item.create")
    assert called == [event["item"]["call_id"] for event in created]
    (cut,) = of_type(connection.received, "conversation.item.truncate")
    assert responses[1]["output"][0]["id"] == cut["item_id"]
    assert 300 <= cut["audio_end_ms"] < 6000
    assert len(of_type(connection.sent, "conversation.item.truncated")) == 1
    (error,) = of_type(connection.sent, "error")
    assert error["error"]["code"] == "response_cancel_not_active"
    said = [line.split("  ")[-1] for line in shown if " user " in line or " agent " in line]
    assert [text for text in said if text in ("Weather?", "Stop.", "Yes.")] == [
        "Weather?",
        "Stop.",
        "Yes.",
    ]
