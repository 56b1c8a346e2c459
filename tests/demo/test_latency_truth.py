"""The parts of the caller's wait against the truth: what the server, the app and the caller did.

Calls in real time over real websockets. The server's delays are its scenario's, the app's are its
tools', and the caller's ear is a clock at the microphone and at the speaker. None of them knows
the trace.
"""

from __future__ import annotations

import asyncio
import base64
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime.attributes import OURS, Fact
from otel_realtime.core.protocol.breakdown import OWNERS
from otel_realtime.demo.app import WEATHER
from otel_realtime.demo.assistant import APPROVAL_S, AssistantApp
from otel_realtime.demo.devices import CHUNK_MS, Caller, Line, Speaker
from otel_realtime.demo.generation import ARGUMENTS_DELTA_CHARS, TEXT_STEP_MS
from otel_realtime.demo.scenario import Answer, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import BYTES_PER_MS, Utterance, tone
from otel_realtime.demo.story import CALLS, WARNINGS
from tests.support.isolation import isolated
from tests.support.traces import Traces

pytestmark = pytest.mark.alone

#: Silence of the VAD and delay of the model in each call, ms.
SETTINGS = [(200, 60), (300, 350), (500, 120), (700, 240), (240, 500), (420, 20)]
SPOKEN = Answer(text="Fine.", pcm=tone(440, 0.4))
#: The user's speech ends within a chunk of the microphone in every call at another place.
LINES = [tone(300, 0.4 + 0.01 * number) for number in range(len(SETTINGS))]
PARTS = (*OWNERS, "whole")
#: Half of the errors are smaller. A bound of the largest would measure the machine's pauses, which
#: hold the server and the tools up as well.
MEDIAN_MS = 40
#: What a busy machine may add to a single part, ms.
SLACK_MS = 1000


def arguments_ms(number: int) -> int:
    """How long the server takes to send the arguments of one of the calls."""
    return -(-len(CALLS.calls[number].arguments) // ARGUMENTS_DELTA_CHARS) * TEXT_STEP_MS


def truth(silence_ms: int, delay_ms: int) -> list[dict[str, int]]:
    """The parts of the three answers: after functions, at once, after an approved MCP call."""
    slowest_ms = round(1000 * max(delay_s for delay_s, _ in WEATHER.values()))
    return [
        {
            "end_of_speech": silence_ms,
            "request": 0,
            "response": 0,
            "model": 2 * delay_ms + arguments_ms(0),
            "tools": arguments_ms(1) + slowest_ms,
            "playback": 0,
        },
        {"end_of_speech": silence_ms, "response": 0, "model": delay_ms, "playback": 0},
        {
            "end_of_speech": silence_ms,
            "response": 0,
            "model": 3 * delay_ms,
            "approval": round(APPROVAL_S * 1000),
            "tools": WARNINGS.takes_ms,
            "playback": 0,
        },
    ]


class Ear(Speaker):
    """A speaker that notes when each item was first heard."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_s: list[float] = []

    def play(self, item_id: str, content_index: int, pcm: bytes) -> None:
        """Note the first sound of an item."""
        before = self.items
        super().play(item_id, content_index, pcm)
        if self.items > before:
            self.heard_s.append(time.monotonic())


async def noted(microphone: AsyncIterator[bytes], ends_s: list[float]) -> AsyncIterator[bytes]:
    """Pass the microphone's audio on; note when each of the lines ended, to the sample."""
    speaking = False
    async for chunk in microphone:
        voiced = len(chunk.rstrip(b"\0"))
        if speaking and voiced < len(chunk):
            now = time.monotonic()
            ends_s.append(now - CHUNK_MS / 1000 * (1 - voiced / len(chunk)))
        speaking = voiced == len(chunk)
        yield chunk


async def call(number: int) -> list[int]:
    """Hold one call; returns how long the caller waited for each answer, ms."""
    silence_ms, delay_ms = SETTINGS[number]
    scenario = Scenario(
        user_transcripts=("Weather?", "And now?", "Warnings?"),
        answers=(CALLS, SPOKEN, SPOKEN, Answer(mcp_calls=(WARNINGS,)), SPOKEN),
        out_of_band_answers=(Answer(text="weather"),),
        answer_delay_ms=delay_ms,
    )
    line = Utterance("La.", LINES[number])
    when = (("start", 0.4), ("answer", 0.2), ("answer", 0.2))
    lines = [Line(speech=line, after=after, wait_s=wait_s) for after, wait_s in when]
    ear, ends_s = Ear(), list[float]()
    caller = Caller(lines, ear, hang_up_after_s=0.1)
    with ScriptedServer(scenario) as server:
        async with AsyncOpenAI(api_key="any", websocket_base_url=server.url) as client:
            microphone = noted(caller.microphone(), ends_s)
            app = AssistantApp(client, microphone, ear, show=lambda _: None, silence_ms=silence_ms)
            with otel_realtime.using(thread_id=f"call-{number}"):
                await asyncio.wait_for(app.run(), 60)
    pairs = zip(ends_s, ear.heard_s, strict=True)
    return [round(1000 * (heard_s - end_s)) for end_s, heard_s in pairs]


async def push_to_talk(commit_ms: int, ask_ms: int, delay_ms: int) -> int:
    """Hold one call without a VAD; returns how long the caller waited, ms.

    Args:
        commit_ms: from the end of the speech until the app commits it.
        ask_ms: from then until the app asks for a response.
        delay_ms: the server's delay.
    """
    scenario = Scenario(answers=(SPOKEN,), answer_delay_ms=delay_ms)
    with ScriptedServer(scenario) as server:
        async with (
            AsyncOpenAI(api_key="any", websocket_base_url=server.url) as client,
            client.realtime.connect(model="gpt-realtime") as connection,
        ):
            # As every app does: it receives while it sends.
            heard_s = asyncio.create_task(first_sound(connection))
            audio: Any = {"input": {"turn_detection": None}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            size = CHUNK_MS * BYTES_PER_MS
            due_s = time.monotonic()
            for start in range(0, 15 * size, size):
                due_s += CHUNK_MS / 1000
                await asyncio.sleep(due_s - time.monotonic())
                chunk = base64.b64encode(tone(300, 0.6)[start : start + size]).decode()
                await connection.input_audio_buffer.append(audio=chunk)
            await asyncio.sleep(commit_ms / 1000)
            await connection.input_audio_buffer.commit()
            await asyncio.sleep(ask_ms / 1000)
            await connection.response.create()
            return round(1000 * (await heard_s - due_s))


async def first_sound(connection: Any) -> float:
    """Receive until the agent is heard; returns when that was, on the monotonic clock."""
    heard_s: list[float] = []
    async for event in connection:
        if event.type == "response.output_audio.delta":
            heard_s.append(time.monotonic())
        if event.type == "response.done":
            break
    return heard_s[0]


def test_the_parts_of_push_to_talk_are_the_apps(tmp_path: Path) -> None:
    """Until it commits and until it asks; and the model's time is the model's."""
    expected = (180, 120, 150)
    with isolated(tmp_path):
        traces = Traces()
        otel_realtime.instrument(tracer_provider=traces.provider)
        whole_ms = asyncio.run(push_to_talk(*expected))
        assert otel_realtime.flush(20)
        (parts,) = measured(traces.spans)
    found = (parts["end_of_speech"], parts["request"], parts["model"])
    for actual, wanted in zip((*found, parts["whole"]), (*expected, whole_ms), strict=True):
        assert -5 <= actual - wanted <= SLACK_MS, (parts, whole_ms)


def measured(spans: list[ReadableSpan]) -> list[dict[str, int]]:
    """The parts of each answer that somebody waited for, in order, and the ``whole``."""
    found = []
    for span in spans:
        facts = {key.removeprefix(OURS): value for key, value in (span.attributes or {}).items()}
        if Fact.VOICE_TO_VOICE in facts:
            parts = {
                name: facts[f"{Fact.LATENCY}{name}_ms"]
                for name in OWNERS
                if f"{Fact.LATENCY}{name}_ms" in facts
            }
            found.append({**parts, "whole": facts[Fact.VOICE_TO_VOICE]})
    return found


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[int]]]:
    """Measured less true, ms, of every part of every answer."""

    async def calls() -> list[list[int]]:
        return await asyncio.gather(*(call(number) for number in range(len(SETTINGS))))

    folder: Path = tmp_path_factory.mktemp("truth")
    with isolated(folder):
        traces = Traces()
        otel_realtime.instrument(tracer_provider=traces.provider)
        waited_ms = asyncio.run(calls())
        assert otel_realtime.flush(20)
        found: dict[str, list[int]] = defaultdict(list)
        for number, settings in enumerate(SETTINGS):
            (root,) = (
                root
                for root in traces.roots
                if (root.attributes or {})[f"{OURS}thread_id"] == f"call-{number}"
            )
            assert root.context is not None
            parts = measured(traces.of(f"{root.context.trace_id:032x}"))
            expected = truth(*settings)
            assert [e.keys() | {"whole"} for e in expected] == [p.keys() for p in parts]
            for actual, wanted, whole_ms in zip(parts, expected, waited_ms[number], strict=True):
                assert actual["whole"] == sum(ms for name, ms in actual.items() if name != "whole")
                for name, ms in {**wanted, "whole": whole_ms}.items():
                    found[name].append(actual[name] - ms)
        for name in PARTS:
            print(report(name, found[name]))
        yield found


def report(name: str, values: list[int]) -> str:
    """One line about the errors of a part."""
    sizes = sorted(abs(value) for value in values)
    p95 = sizes[min(len(sizes) - 1, round(0.95 * len(sizes)))]
    return (
        f"{name:14} n {len(values):3}  median {statistics.median(values):6.1f}  "
        f"p95 {p95:4}  max {sizes[-1]:4} ms"
    )


@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_what_it_was(errors: dict[str, list[int]], name: str) -> None:
    """The sum always adds up; each part is right to what the machine and the microphone add."""
    found = errors[name]
    assert statistics.median(abs(error) for error in found) <= MEDIAN_MS, found
