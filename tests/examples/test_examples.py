"""The examples are run as a user would run them, and what they traced is looked at."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from otel_realtime.demo.g711 import from_pcm
from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.isolation import langsmith_variables
from tests.support.phone import CALL_SID, Phone
from tests.support.processes import ROOT, clean_environment, free_ports
from tests.support.sound_card import SoundCard, needs_portaudio, voiced
from tests.support.talking import tone
from tests.support.waiting import wait_for

EXAMPLES = Path(__file__).parent
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name[:2] not in ("__", "te"))
KEY = "sk-test-of-the-examples"
RATE = 24_000
PCMU = {"type": "audio/pcmu"}
WEATHER = Answer(calls=(Call(name="lookup_weather", arguments='{"city": "Paris"}'),))
TIME_CALL = Answer(calls=(Call(name="get_time"),))
LONG_ANSWER = Answer(text="It is so sunny that I could talk of it for long.", pcm=tone(5_000, 587))
SUNNY = Answer(text="Sunny, eighteen degrees.", pcm=tone(500, 523))


@contextmanager
def serving(scenario: Scenario) -> Iterator[ScriptedServer]:
    """A Realtime server that takes one key only."""
    with ScriptedServer(scenario, speed=talking.SPEED, api_key=KEY) as server:
        yield server


def variables(server: ScriptedServer, sandbox: Sandbox, folder: Path, **more: str) -> Any:
    """The environment of an app: where the Realtime API and LangSmith are, and nothing else."""
    return clean_environment(
        OPENAI_API_KEY=KEY,
        REALTIME_URL=server.url,
        OTEL_REALTIME_STATE_DIR=str(folder / "state"),
        PYTHONUNBUFFERED="1",
        **langsmith_variables(sandbox.url),
        **more,
    )


def run(
    name: str, *arguments: str | Path, env: dict[str, str], folder: Path, typed: str = ""
) -> str:
    """Run an example to its end; returns what it printed. It has nothing to complain about."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        input=typed,
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stderr[-4000:]
    return done.stdout


def traced(sandbox: Sandbox, folder: Path) -> dict[str, Any]:
    """The one conversation that arrived: whole, by the contract, with nothing left on disk."""
    assert [] == sandbox.violations()
    (listed,) = sandbox.conversations()
    found = sandbox.conversation(listed["id"])
    assert found is not None
    assert ("realtime_session", "success") == (found["root"]["name"], found["status"])
    assert [] == [path for path in (folder / "state").rglob("*") if path.name == "journal.jsonl"]
    return found


def names(found: dict[str, Any], run_type: str) -> list[str]:
    """The names of its runs of one type."""
    return [one["name"] for one in found["runs"] if one["run_type"] == run_type]


def transcript(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Who said what, as the root tells it."""
    return [
        (message["role"], message["content"]) for message in found["root"]["outputs"]["messages"]
    ]


def write_wav(path: Path, pcm: bytes) -> Path:
    """A mono WAV as the openai example reads it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return path


def read_wav(path: Path) -> bytes:
    """Its samples."""
    with wave.open(str(path)) as file:
        assert (1, 2, RATE) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        return bytes(file.readframes(file.getnframes()))


def test_every_example_is_run_here_and_linked_from_the_readme() -> None:
    """None is forgotten, and each says in its docstring how to start it."""
    source, readme = Path(__file__).read_text(), (ROOT / "README.md").read_text()
    assert NAMES
    for name in NAMES:
        assert f'"{name}"' in source
        assert f"tests/examples/{name}" in readme
        text = (EXAMPLES / name).read_text()
        assert f"python {name}" in text
        assert 'if __name__ == "__main__":\n    main()' in text
        assert '"wss://api.openai.com/v1"' in text


def test_openai_sdk(sandbox: Sandbox, tmp_path: Path) -> None:
    """A spoken question, a tool call and a spoken answer are one trace with a recording."""
    question = write_wav(tmp_path / "question.wav", tone(600, 330))
    with serving(
        talking.scenario(WEATHER, SUNNY, user_transcripts=("Weather in Paris?",))
    ) as server:
        env = variables(server, sandbox, tmp_path)
        said = run(
            "openai_sdk.py", question, tmp_path / "answer.wav", env=env, folder=tmp_path
        ).splitlines()
    found = traced(sandbox, tmp_path)
    assert f"trace: {found['root']['metadata']['OTEL_TRACE_ID']}" in said
    assert {"you:   Weather in Paris?", "agent: Sunny, eighteen degrees."} <= set(said)
    assert SUNNY.pcm == read_wav(tmp_path / "answer.wav")
    assert ["chat gpt-realtime"] * 2 == [
        name for name in names(found, "llm") if name.startswith("chat")
    ]
    assert ["execute_tool lookup_weather"] == names(found, "tool")
    assert [("user", "Weather in Paris?"), ("assistant", "Sunny, eighteen degrees.")] == [
        said for said in transcript(found) if said[1]
    ]
    assert ("caller-42", ["example"]) == (found["thread_id"], found["root"]["tags"])
    assert found["has_recording"]


def test_agents_sdk(sandbox: Sandbox, tmp_path: Path) -> None:
    """The SDK's own connection is seen; ``using`` says whose call it is."""
    with serving(talking.scenario(WEATHER, SUNNY)) as server:
        env = variables(server, sandbox, tmp_path, OPENAI_AGENTS_DISABLE_TRACING="1")
        said = run("agents_sdk.py", "Weather in Paris?", env=env, folder=tmp_path)
    found = traced(sandbox, tmp_path)
    assert f"bytes: {len(SUNNY.pcm)}" in said
    assert ["chat gpt-realtime"] * 2 == names(found, "llm")
    assert ["execute_tool lookup_weather"] == names(found, "tool")
    assert ("user", "Weather in Paris?") in transcript(found)
    assert ("assistant", "Sunny, eighteen degrees.") in transcript(found)
    assert ("caller-42", "Weather desk") == (
        found["thread_id"],
        found["root"]["metadata"]["desk"],
    )
    assert found["has_recording"]


def test_aiohttp(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without any SDK: the question, the spoken answer, and its recording."""
    answer = Answer(text="Paris.", pcm=tone(400, 523))
    with serving(talking.scenario(answer)) as server:
        env = variables(server, sandbox, tmp_path)
        said = run("aiohttp_client.py", "The capital?", "answer.wav", env=env, folder=tmp_path)
    found = traced(sandbox, tmp_path)
    assert "agent: Paris.\n" == said
    assert answer.pcm == read_wav(tmp_path / "answer.wav")
    assert ["chat gpt-realtime"] == names(found, "llm")
    assert [("user", "The capital?"), ("assistant", "Paris.")] == transcript(found)
    assert ("caller-42", True) == (found["thread_id"], found["has_recording"])


def test_voice_app(sandbox: Sandbox, tmp_path: Path) -> None:
    """On real PortAudio: what the devices took is recorded, a barge-in stops and truncates exactly."""
    needs_portaudio()
    question, stop = tone(600, 330), tone(500, 370)
    answers = Answer(text="Hello.", pcm=tone(500, 440)), LONG_ANSWER, TIME_CALL, SUNNY
    scenario = Scenario(
        answers=answers, answer_delay_ms=100, user_transcripts=("Weather?", "Stop!")
    )
    with (
        SoundCard(tmp_path / "card") as card,
        ScriptedServer(scenario, api_key=KEY) as server,
    ):
        env = variables(server, sandbox, tmp_path, **card.env)
        log = tmp_path / "app.log"
        with log.open("wb") as out:
            child = subprocess.Popen(
                [sys.executable, EXAMPLES / "voice_app.py"], env=env, stdout=out, stderr=out
            )
        try:
            wait_for(lambda: card.voiced_ms >= 500, "greeting", timeout_s=60)
            card.say(question)
            wait_for(lambda: card.voiced_ms >= 500 + BARGE_IN_MS, "answer", timeout_s=60)
            card.say(stop)
            wait_for(
                lambda: voiced(bytes(card.heard)).endswith(SUNNY.pcm), "last answer", timeout_s=60
            )
            child.send_signal(signal.SIGINT)
            assert 0 == child.wait(30), log.read_text()
        finally:
            child.kill()
            child.wait()
        (received,) = server.received
    found = traced(sandbox, tmp_path)
    assert {f"trace: {found['root']['metadata']['OTEL_TRACE_ID']}", "you:   Weather?"} <= set(
        log.read_text().splitlines()
    )
    recording = sandbox.recording(found["root"]["id"])
    assert recording is not None
    both = np.frombuffer(_frames(recording), "<i2").reshape(-1, 2)
    assert question + stop == voiced(both[:, 0].tobytes())
    heard = voiced(bytes(card.heard))
    assert heard == voiced(both[:, 1].tobytes())
    interrupted = heard.removeprefix(answers[0].pcm).removesuffix(SUNNY.pcm)
    assert answers[0].pcm + interrupted + SUNNY.pcm == heard
    assert LONG_ANSWER.pcm.startswith(interrupted)
    (cut,) = [event for event in received if event["type"] == "conversation.item.truncate"]
    assert len(interrupted) // 48 == cut["audio_end_ms"]
    assert ["execute_tool get_time"] == names(found, "tool")
    # Short enough to be read in five minutes.
    assert len((EXAMPLES / "voice_app.py").read_text().splitlines()) <= 150


def _frames(path: Path) -> bytes:
    with wave.open(str(path), "rb") as file:
        assert (2, RATE) == (file.getnchannels(), file.getframerate())
        return bytes(file.readframes(file.getnframes()))


def test_websockets(sandbox: Sandbox, tmp_path: Path) -> None:
    """Two typed questions on one socket are one conversation of four turns."""
    with serving(talking.scenario(Answer(text="Yes."), Answer(text="No."))) as server:
        env = variables(server, sandbox, tmp_path)
        typed = "Is it sunny?\nWill it rain?\n"
        said = run("websockets_client.py", env=env, folder=tmp_path, typed=typed).splitlines()
    found = traced(sandbox, tmp_path)
    root = found["root"]["metadata"]
    assert [f"trace: {root['OTEL_TRACE_ID']}", "agent: Yes.", "agent: No."] == said
    assert ["chat gpt-realtime"] * 2 == names(found, "llm")
    assert [
        ("user", "Is it sunny?"),
        ("assistant", "Yes."),
        ("user", "Will it rain?"),
        ("assistant", "No."),
    ] == transcript(found)
    assert ("caller-42", "Will it rain?") == (found["thread_id"], root["last_question"])


# --- a phone call -------------------------------------------------------------------------------

GREETING = Answer(text="Hello, the bakery.", pcm=tone(400, 440))
LONG = Answer(text="We have rye, wheat and spelt.", pcm=tone(4_000, 523))
SHORT = Answer(text="One rye.", pcm=tone(300, 659))
QUESTION, STOP = (from_pcm(tone(500, hz), PCMU) for hz in (330, 370))
BARGE_IN_MS = 1_000
#: A mark stands after 250 ms of sound; the rest is for a busy machine.
SLACK_MS = 750


@contextmanager
def app(name: str, env: dict[str, str], port: int, folder: Path) -> Iterator[Path]:
    """The example as a server, stopped by Ctrl-C; yields its log."""
    log = folder / "server.log"
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, EXAMPLES / name], env=env, stdout=out, stderr=out, cwd=folder
        )
    try:
        wait_for(lambda: _answers(port) or child.poll() is not None, "answer of the app")
        yield log
        child.send_signal(signal.SIGINT)
        child.wait(timeout=30)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/docs", timeout=1).ok
    except requests.RequestException:
        return False


async def phone_call(url: str) -> Phone:
    """Be greeted, ask, interrupt the answer after a second, hear the short one out, hang up."""
    async with Phone(url) as phone:
        await phone.until(lambda: phone.marks)
        await heard_out(phone)
        greeted_ms = phone.played_ms
        phone.say(QUESTION)
        await phone.until(lambda: phone.played_ms >= greeted_ms + BARGE_IN_MS)
        phone.say(STOP)
        await phone.until(lambda: len(phone.clears) > 1)
        cut = len(phone.marks)
        await phone.until(lambda: len(phone.marks) > cut)
        await heard_out(phone)
    return phone


async def heard_out(phone: Phone) -> None:
    """Wait until nothing more comes: on a busy machine an answer may have gaps."""
    heard_ms = None
    while heard_ms != phone.played_ms:
        await phone.until(lambda: phone.quiet)
        heard_ms = phone.played_ms
        await asyncio.sleep(0.5)


def test_twilio(sandbox: Sandbox, tmp_path: Path) -> None:
    """Twilio's marks come back, and say how much of the interrupted answer was heard."""
    (port,) = free_ports(1)
    scenario = talking.scenario(
        GREETING, LONG, SHORT, user_transcripts=("What do you have?", "One rye.")
    )
    with serving(scenario) as server:
        env = variables(server, sandbox, tmp_path, PORT=str(port))
        with app("twilio_fastapi.py", env, port, tmp_path) as log:
            url = f"http://127.0.0.1:{port}/incoming-call"
            (stream,) = re.findall(r'<Stream url="(.+?)"/>', requests.post(url, timeout=5).text)
            assert f"wss://127.0.0.1:{port}/media-stream" == stream
            phone = asyncio.run(phone_call(stream.replace("wss://", "ws://")))
        (received,) = server.received
    assert "ERROR" not in log.read_text(), log.read_text()
    assert "Traceback" not in log.read_text(), log.read_text()
    _check_marks(phone, received)
    _check_call(traced(sandbox, tmp_path), phone)
    _check_recording(sandbox)


def _check_marks(phone: Phone, received: list[Any]) -> None:
    """Every mark came back once; the truncate claims what was heard, to the last mark."""
    assert sorted(phone.marks) == sorted([*phone.heard, *phone.unheard])
    assert phone.unheard
    (cut,) = [event for event in received if event["type"] == "conversation.item.truncate"]
    heard_ms = phone.clears[1] - len(GREETING.pcm) / 48
    assert heard_ms - SLACK_MS <= cut["audio_end_ms"] <= heard_ms
    assert cut["audio_end_ms"] >= BARGE_IN_MS - SLACK_MS


def _check_call(found: dict[str, Any], phone: Phone) -> None:
    chats = [one["metadata"] for one in found["runs"] if one["name"].startswith("chat")]
    assert ["tap"] * 3 == [chat["heard_source"] for chat in chats]
    assert [False, True, False] == [chat["interrupted"] for chat in chats]
    greeting, cut, last = (chat["heard_ms"] for chat in chats)
    assert (greeting, last) == (len(GREETING.pcm) / 48, len(SHORT.pcm) / 48)
    assert cut == pytest.approx(phone.clears[1] - greeting, abs=SLACK_MS)
    assert [
        ("assistant", "Hello, the bakery."),
        ("user", "What do you have?"),
        ("assistant", "We have rye, wheat and spelt."),
        ("user", "One rye."),
        ("assistant", "One rye."),
    ] == transcript(found)
    assert (CALL_SID, ["phone"]) == (found["thread_id"], found["root"]["tags"])


def _check_recording(sandbox: Sandbox) -> None:
    (listed,) = sandbox.conversations()
    path = sandbox.recording(listed["id"])
    assert path is not None
    with wave.open(str(path), "rb") as file:  # G.711 on both sides
        assert (2, 8_000) == (file.getnchannels(), file.getframerate())
