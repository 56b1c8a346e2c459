"""Live sessions and live translation with the real client: traced and recorded, with no code in the app."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import subprocess
import sys
import wave
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from opentelemetry.trace import StatusCode
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import otel_realtime
from otel_realtime.calls.captions import srt, vtt
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.transcript import transcript
from otel_realtime.recovery.sweep import recover
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.recovery.test_call import row_of
from tests.support import live_app, live_server
from tests.support.attribute_table import against_table
from tests.support.isolation import langsmith_variables
from tests.support.processes import clean_environment
from tests.support.realtime_server import Handler, Peer, ReplayServer
from tests.support.traces import Traces, arrived, facts, outline, parent_name, samples, stretches

LIVE_TREE = [
    "realtime_session",
    "  session.started",
    "  session.delegation.created",
    "  response.event",  # response.created
    "  chat gpt-5.1",
    "  response.event",  # .in_progress
    "  response.event",  # .output_item.added; deltas are no spans, here either
    "  response.event",  # .function_call_arguments.done
    "  response.event",  # .output_item.done
    "  response.event",  # .completed
    "    execute_tool lookup_weather",
    "  response.event",  # response.created
    "  chat gpt-5.1",
    "  response.event",  # .output_item.added
    "  response.event",  # .output_text.done
    "  response.event",  # .output_item.done
    "  response.event",  # .completed
    "  session.usage.updated",
    "  session.input_audio.muted",
    "  session.input_audio.unmuted",
    "  info",
    "  error",
    "  session.closed",
]
LIVE_TEXTS = [
    ("user", "What is the weather in Paris?"),
    ("assistant", "It rains in Paris."),
    ("assistant", "Anything else?"),
]
TRANSLATED = [
    ("user", "Good morning everybody. Welcome."),
    ("assistant", "Bonjour à tous. Bienvenue."),
    ("user", "Let us begin."),
]


@dataclass
class Held:
    """What became of one conversation.

    Attributes:
        spans: the spans that ended.
        channels: user and agent of its recording.
        rate_hz: its sample rate.
    """

    spans: Traces
    channels: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    rate_hz: int = 24_000

    @property
    def root(self) -> dict[str, Any]:
        """Attributes of the root."""
        return dict(facts(self.spans.root))

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The transcript."""
        found: list[dict[str, Any]] = json.loads(self.root["gen_ai.completion"])["messages"]
        return found

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Who said what."""
        return [(turn["role"], turn["text"]) for turn in self.turns]

    @property
    def tree(self) -> list[str]:
        """The spans by name, without the event spans' order among what starts at once."""
        return outline(self.spans.spans)


def hold(
    traces: Traces, script: Handler | Sequence[Handler], app: Callable[[str], Any], **settings: Any
) -> Held:
    """Let an app hold its conversation with a scripted server."""
    held = Held(traces)

    def kept(path: Path, _: object) -> None:
        held.channels.append(samples(path))

    otel_realtime.instrument(
        tracer_provider=traces.provider, settings=Settings(on_recording=kept, **settings)
    )
    with ReplayServer(script) as server:
        running = app(server.url)
        if inspect.isawaitable(running):
            asyncio.run(_finish(running))
    assert otel_realtime.flush(10)
    return held


async def _finish(running: Any) -> None:
    await running


def sounds(channel: np.ndarray) -> list[tuple[int, int]]:
    """Where a channel sounds, in ms."""
    return [(first // 24, after // 24) for first, after in stretches(channel)]


def length(channel: np.ndarray) -> int:
    """How long it sounds, in ms."""
    return sum(after - first for first, after in sounds(channel))


both = pytest.mark.parametrize("app", [live_app.live, live_app.live_sync])


@both
def test_a_live_session(traces: Traces, app: Callable[[str], Any]) -> None:
    """A root, a span for each event that is no delta, and what was delegated as model calls."""
    held = hold(traces, live_server.live, app)
    assert sorted(LIVE_TREE) == sorted(held.tree)
    assert "session.closed" == traces.spans[-1].name
    root = held.root
    expected = {
        "model": live_server.MODEL,
        "openai_session_id": live_server.SESSION_ID,
        "voice": "marin",
        "turns": 3,
        "responses": 2,
        "tool_calls": 1,
        "server_errors": 1,
        "delegations": 1,
        "billed_s": 5.0,
        "billed_active_s": 4,
        "billed_paused_s": 1,
        "context_usage_ratio": 0.25,
        "session_close_reason": "close_requested",
        "close_code": 1000,
    }
    assert expected == {key: root.get(f"otel_realtime.{key}") for key in expected}
    assert "audio" == root["langsmith.metadata.ls_modality"]
    assert live_server.PROMPT == json.loads(root["gen_ai.prompt"])["session"]["instructions"]


@both
def test_its_transcript_is_turns(traces: Traces, app: Callable[[str], Any]) -> None:
    """Cut by speaker and by silence, with times of the session in the recording."""
    held = hold(traces, live_server.live, app)
    assert LIVE_TEXTS == held.texts
    started = facts(traces.one("session.started"))["otel_realtime.audio_offset_ms"]
    assert [(200, 1000), (1300, 1900), (4000, 4400)] == [
        (turn["start_ms"] - started, turn["end_ms"] - started) for turn in held.turns
    ]


@both
def test_its_recording_has_both_channels(traces: Traces, app: Callable[[str], Any]) -> None:
    """What was sent, and what came, each where it was heard."""
    ((user, agent),) = hold(traces, live_server.live, app).channels
    assert (1_000, 600) == (length(user), length(agent))
    assert sounds(user)[-1][1] <= sounds(agent)[0][0]


def test_a_delegated_response_is_a_model_call(traces: Traces) -> None:
    """With its own model, usage and messages; its tool is answered by the client."""
    hold(traces, live_server.live, live_app.live)
    first, second = (facts(span) for span in traces.named("chat gpt-5.1"))
    assert {
        "gen_ai.request.model": live_server.BACKEND,
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.finish_reasons": ("tool_call",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "otel_realtime.delegated": True,
        "otel_realtime.delegation_id": "del_1",
        "otel_realtime.response.status": "completed",
    }.items() <= first.items()
    asked = json.loads(str(first["gen_ai.prompt"]))["messages"]
    assert [{"role": "user", "content": "What is the weather in Paris?"}] == asked
    read = json.loads(str(second["gen_ai.prompt"]))["messages"]
    assert ["assistant", "tool"] == [message["role"] for message in read]
    (choice,) = json.loads(str(second["gen_ai.completion"]))["choices"]
    assert "Rain in Paris." == choice["message"]["content"]
    tool = traces.one("execute_tool lookup_weather")
    assert live_server.RESULT == facts(tool)["gen_ai.tool.call.result"]
    assert "response.event" == parent_name(tool, traces.spans)


@pytest.mark.parametrize("app", [live_app.sideband, live_app.sideband_sync])
def test_a_sideband(traces: Traces, app: Callable[[str], Any]) -> None:
    """Transport and keys as events, the call named by its id, and both reflected channels."""
    held = hold(traces, live_server.sideband, app)
    assert [
        "realtime_session",
        "  session.started",
        "  transport.ringing",
        "  transport.answered",
        "  transport.dtmf.received",
        "  transport.dtmf.sent",
        "  session.paused",
        "  session.resumed",
        "  transport.failed",
    ] == held.tree
    failed = traces.one("transport.failed")
    assert (StatusCode.ERROR, "busy") == (failed.status.status_code, facts(failed)["error.type"])
    root = held.root
    assert (1, live_server.SESSION_ID, live_server.SESSION_ID) == (
        root["otel_realtime.dtmf"],
        root["otel_realtime.call_id"],
        root["otel_realtime.thread_id"],
    )
    assert [("assistant", "Press one.")] == held.texts
    ((user, agent),) = held.channels
    # PCM16 although the telephone has G.711; the gap of 200 ms is the server's own.
    assert (400, 400) == (length(user), length(agent))
    (one, after), (again, _) = sounds(agent)
    assert (200, 200) == (after - one, again - after)


@pytest.mark.parametrize("app", [live_app.translation, live_app.translation_sync])
def test_a_translation(traces: Traces, app: Callable[[str], Any]) -> None:
    """Source and target as turns, both channels, no responses."""
    held = hold(traces, live_server.translation, app)
    assert ["realtime_session", "  session.created", "  session.updated", "  session.closed"] == (
        held.tree
    )
    assert TRANSLATED == held.texts
    root = held.root
    expected = {
        "model": "gpt-realtime-translate",
        "turns": 3,
        "responses": 0,
        "target_language": "fr",
    }
    assert expected == {key: root[f"otel_realtime.{key}"] for key in expected}
    ((user, agent),) = held.channels
    assert (1_000, 600) == (length(user), length(agent))
    # What was spoken lies where it was appended, by the server's own count of that: behind 400 ms of
    # speech, in which the recording may have gaps, or in a gap, if the machine was late.
    before, after = (int(at) / 24 for at in np.flatnonzero(user)[400 * 24 - 1 : 400 * 24 + 1])
    assert before - 1 <= held.turns[0]["start_ms"] <= after + 1


def test_everything_reaches_langsmith_by_its_contract(sandbox: Sandbox, traces: Traces) -> None:
    """The run with its recording, and every span below it, once."""
    hold(traces, live_server.live, live_app.live)
    conversation = arrived(sandbox, traces.spans)
    assert "attached" == conversation["root"]["metadata"]["ls_audio_attach_status"]
    user, agent = samples(sandbox.recording(conversation["id"]))
    assert (1_000, 600) == (length(user), length(agent))


SECRETS = (
    "weather in Paris",
    "rains in Paris",
    "Anything else",
    "Rain in",
    "pirate",
    '"rain"',
    "city",
)


def test_hidden_content_is_nowhere(traces: Traces) -> None:
    """Not in payloads, transcripts, instructions or delegated messages; usage stays."""
    held = hold(traces, live_server.live, live_app.live, capture_content=False)
    written = json.dumps([dict(facts(span)) for span in traces.spans], default=str)
    assert [] == [secret for secret in SECRETS if secret in written]
    assert [] == held.channels
    assert [100, 100] == [
        facts(span)["gen_ai.usage.input_tokens"] for span in traces.named("chat gpt-5.1")
    ]


def test_without_a_recording_nothing_else_is_missing(traces: Traces) -> None:
    """Turns and spans are the same."""
    held = hold(traces, live_server.live, live_app.live, record_audio=False)
    assert ([], LIVE_TEXTS) == (held.channels, held.texts)


def test_a_hook_sees_whole_texts_in_the_form_it_knows(traces: Traces) -> None:
    """A word that comes in two fragments is found, and is heard no more."""
    seen = []

    def hook(payload: dict[str, Any]) -> dict[str, Any]:
        text = payload.get("transcript")
        if isinstance(text, str) and "What is the" in text:
            seen.append(payload["type"])
            payload["transcript"] = text.replace("What is the weather", "[gone]")
            payload["redact_audio"] = True
        return payload

    held = hold(traces, live_server.live, live_app.live, redact=hook)
    assert {"conversation.item.input_audio_transcription.completed"} == set(seen)
    assert ("user", "[gone] in Paris?") == held.texts[0]
    ((user, agent),) = held.channels
    (turn, *_) = held.turns
    silent = [ms for first, after in sounds(user) for ms in (first, after)]
    assert not [ms for ms in silent if turn["start_ms"] < ms < turn["end_ms"]]
    assert 600 == length(agent)
    assert length(user) < 300


def test_it_is_shown_as_any_other_call(traces: Traces, tmp_path: Path) -> None:
    """As a call object, as captions and as text; `view` serves it from its folder."""
    kept = tmp_path / "kept"
    hold(traces, live_server.live, live_app.live, recordings_dir=str(kept))
    call = call_of([row_of(span) for span in traces.spans])
    assert call is not None
    assert LIVE_TEXTS == [(turn["role"], turn["text"]) for turn in call["turns"]]
    # At which turn they stand is a matter of the clock: of the answer, or of what follows it; but
    # never of the question.
    assert ([], []) == (call["turns"][0]["responses"], call["turns"][0]["tools"])
    assert [0, 1] == [number for turn in call["turns"] for number in turn["responses"]]
    assert [0] == [number for turn in call["turns"] for number in turn["tools"]]
    assert 3 == vtt(call).count("-->") == srt(call).count("-->")
    assert "It rains in Paris." in transcript(call)
    command = [sys.executable, "-m", "otel_realtime", "view", str(kept), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        (listed,) = requests.get(f"{url}/api/calls", timeout=30).json()["calls"]
        shown = requests.get(f"{url}/api/calls/{listed['id']}", timeout=30).json()
        page = requests.get(f"{url}/conversations/{listed['id']}", timeout=30)
        process.send_signal(signal.SIGINT)
        assert 0 == process.wait(20)
    assert 200 == page.status_code
    assert LIVE_TEXTS == [(turn["role"], turn["text"]) for turn in shown["call"]["turns"]]


@pytest.mark.parametrize(
    ("kind", "script", "texts", "chats"),
    [
        ("live", live_server.live, LIVE_TEXTS, 2),
        ("translation", live_server.translation, TRANSLATED, 0),
    ],
)
def test_a_killed_process_loses_nothing(
    sandbox: Sandbox, tmp_path: Path, kind: str, script: Handler, texts: Any, chats: int
) -> None:
    """Transcript, model calls, usage and both channels are what the process itself would have sent."""
    state = tmp_path / "dead"
    environment = clean_environment(
        OTEL_REALTIME_STATE_DIR=str(state), **langsmith_variables(sandbox.url)
    )
    with ReplayServer(script) as server:
        died = subprocess.run(
            [sys.executable, "-m", "tests.support.live_app", server.url, kind],
            env=environment,
            check=False,
            timeout=60,
        )
    assert -signal.SIGKILL == died.returncode
    report = recover(Settings(state_dir=str(state)), timeout_s=30).as_json()
    assert (1, 0, []) == (report["delivered"], report["left"], report["unreadable"])
    (listed,) = sandbox.conversations()
    found = sandbox.conversation(listed["id"])
    assert found is not None
    assert [] == found["violations"]
    assert texts == [(turn["role"], turn["text"]) for turn in found["root"]["outputs"]["messages"]]
    assert chats == sum(run["name"].startswith("chat ") for run in found["runs"])
    user, agent = samples(sandbox.recording(listed["id"]))
    assert (1_000, 600) == (length(user), length(agent))


def test_a_connection_that_ends_before_any_event_is_a_failed_call(traces: Traces) -> None:
    """With the code and the reason; nobody else would say that it was one."""

    async def app(url: str) -> None:
        async with live_app.client_of(url).live.connect() as connection:
            with suppress(ConnectionClosed):
                await connection.recv()

    held = hold(traces, lambda peer: peer.close(4001, "no credit"), app)
    root = held.root
    assert (4001, "no credit") == (
        root["otel_realtime.close_code"],
        root["otel_realtime.close_reason"],
    )
    assert StatusCode.ERROR == traces.root.status.status_code


def test_a_reconnect_stays_one_conversation(traces: Traces) -> None:
    """What is said after it stands behind what was said before, though its clock begins again."""

    async def app(url: str) -> None:
        connecting = live_app.client_of(url).live.connect(
            on_reconnecting=lambda _: None, initial_delay=0.01, max_delay=0.01
        )
        async with connecting as connection:
            await connection.session.start(session=live_server.CONFIG)  # type: ignore[arg-type]
            async for event in connection:
                if event.type == "session.output_transcript.delta":
                    return

    held = hold(traces, [live_server.drops, live_server.goes_on], app)
    assert [("user", "Are you there?"), ("assistant", "Yes.")] == held.texts
    starts = [turn["start_ms"] for turn in held.turns]
    assert sorted(starts) == starts
    assert 2 == len(traces.named("session.started"))


def test_a_fork_is_a_live_session(traces: Traces) -> None:
    """On a path of its own."""

    async def app(url: str) -> None:
        async with live_app.client_of(url).live.forks.connect(session_id="live_0") as connection:
            await connection.session.start(session={})
            async for event in connection:
                if event.type == "session.output_transcript.delta":
                    return

    def script(peer: Peer) -> None:
        live_server.wait_for(peer, "session.start")
        live_server.goes_on(peer)

    held = hold(traces, script, app)
    assert [("user", "there?"), ("assistant", "Yes.")] == held.texts


def test_another_client_is_told_by_what_it_says(traces: Traces) -> None:
    """A bare websocket on the path of some gateway: the first event says that it is a Live session."""

    async def app(url: str) -> None:
        async with connect(url + "/voice?model=any") as socket:
            await socket.send(json.dumps({"type": "session.start", "session": live_server.CONFIG}))
            async for frame in socket:
                if json.loads(frame)["type"] == "session.output_transcript.delta":
                    return

    def script(peer: Peer) -> None:
        live_server.wait_for(peer, "session.start")
        live_server.goes_on(peer)

    held = hold(traces, script, app, realtime_paths=("*/voice",))
    assert [("user", "there?"), ("assistant", "Yes.")] == held.texts
    assert live_server.MODEL == held.root["otel_realtime.model"]


def reported(traces: Traces, rows: list[tuple[int, bool, dict[str, Any]]], **settings: Any) -> Held:
    """A conversation on a transport of the app's, with its times in ms."""
    held = Held(traces)

    def kept(path: Path, _: object) -> None:
        with wave.open(str(path)) as file:
            both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
            held.channels.append((both[:, 0], both[:, 1]))
            held.rate_hz = file.getframerate()

    chosen = Settings(on_recording=kept, **settings)
    with otel_realtime.conversation(tracer_provider=traces.provider, settings=chosen) as call:
        for at_ms, is_sent, event in rows:
            report = call.sent if is_sent else call.received
            report(json.dumps(event), at_ns=1_780_000_000_000_000_000 + at_ms * 1_000_000)
    assert otel_realtime.flush(10)
    return held


def test_g711_counts_for_both_sides(traces: Traces) -> None:
    """A Live session has one format for both directions; 8 kHz whatever rate the server echoes."""
    audio = {"format": {"type": "audio/pcmu", "rate": 24_000}}
    sound = live_server.encoded(b"\x10" * 800)  # 100 ms
    held = reported(
        traces,
        [
            (0, False, {"type": "session.started", "session": {"id": "l", "audio": audio}}),
            (100, True, {"type": "session.input_audio.append", "audio": sound}),
            (200, False, {"type": "session.output_audio.delta", "delta": sound}),
            (400, False, {"type": "info"}),
        ],
    )
    ((user, agent),) = held.channels
    assert 8_000 == held.rate_hz
    assert (800, 800) == (np.count_nonzero(user), np.count_nonzero(agent))
    root = held.root
    assert ("audio/pcmu", "audio/pcmu") == (
        root["otel_realtime.input_format"],
        root["otel_realtime.output_format"],
    )


def test_a_translation_says_the_rate_of_its_audio(traces: Traces) -> None:
    """With each chunk; 100 ms at 16 kHz are 100 ms."""
    sound = live_server.encoded(b"\x10\x10" * 1_600)
    chunk = {"type": "session.output_audio.delta", "delta": sound, "sample_rate": 16_000}
    held = reported(
        traces,
        [
            (0, False, {"type": "session.created", "session": {"type": "translation"}}),
            (100, False, {**chunk, "elapsed_ms": 200}),
            (400, False, {"type": "session.closed"}),
        ],
    )
    ((_, agent),) = held.channels
    assert (16_000, 1_600) == (held.rate_hz, np.count_nonzero(agent))


@pytest.mark.parametrize(
    ("variable", "shown"),
    [("LANGSMITH_HIDE_INPUTS", False), ("LANGSMITH_HIDE_OUTPUTS", False)],
)
def test_either_side_s_switch_hides_all_sound(
    sandbox: Sandbox, process: pytest.MonkeyPatch, traces: Traces, variable: str, shown: bool
) -> None:
    """As in any other conversation."""
    process.setenv(variable, "true")
    held = hold(traces, live_server.live, live_app.live)
    assert [] == held.channels
    root = held.root
    hidden = "gen_ai.prompt" if variable.endswith("INPUTS") else "gen_ai.completion"
    assert shown is (
        live_server.PROMPT in str(root) if hidden == "gen_ai.prompt" else "rains" in str(root)
    )


def test_every_attribute_is_in_the_table(sandbox: Sandbox, traces: Traces) -> None:
    """By its name and the type of its value."""
    hold(traces, live_server.live, live_app.live)
    assert [] == [word for span in traces.spans for word in against_table(span)]


@pytest.mark.parametrize(
    ("script", "app", "word", "side"),
    [
        (live_server.live, live_app.live, "weather", "user"),
        (live_server.live, live_app.live, "rains", "agent"),
        (live_server.sideband, live_app.sideband, "Press", "agent"),
        (live_server.translation, live_app.translation, "morning", "user"),
        (live_server.translation, live_app.translation, "Bonjour", "agent"),
    ],
    ids=["live-user", "live-agent", "sideband-agent", "translation-source", "translation-target"],
)
def test_a_turn_with_a_word_that_is_taken_out_is_silent(
    traces: Traces, script: Handler, app: Callable[[str], Any], word: str, side: str
) -> None:
    """Where it was said, and no more than a margin around it; the root says so."""

    def hook(payload: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(payload).replace(word, "[gone]"))
        return found

    held = hold(traces, script, app, redact=hook, redact_audio=True)
    ((user, agent),) = held.channels
    silenced, other = (user, agent) if side == "user" else (agent, user)
    (stretch,) = json.loads(held.root["otel_realtime.redacted"])
    assert (side, "hook") == (stretch["side"], stretch["why"])
    turn = next(turn for turn in held.turns if "[gone]" in turn["text"])
    assert stretch["start_ms"] <= turn["start_ms"]
    assert stretch["end_ms"] >= min(turn["end_ms"], len(silenced) // 24)
    assert all(
        after <= stretch["start_ms"] or first >= stretch["end_ms"]
        for first, after in sounds(silenced)
    )
    assert length(other) in (400, 600, 1_000)
