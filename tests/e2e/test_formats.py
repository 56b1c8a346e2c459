"""Calls in other formats than PCM16 at 24 kHz, by the real client, down to the samples."""

from __future__ import annotations

import asyncio
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

import otel_realtime
from otel_realtime.core.audio.codecs import decode
from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.demo import g711
from otel_realtime.demo.scenario import Answer
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from tests.support import talking
from tests.support.scripted import append, events_until, is_type
from tests.support.traces import Traces, run_of

SAID, TOLD = talking.QUESTION, talking.tone(100, 523)


async def turn(connection: Any, form: dict[str, Any]) -> None:
    """Change the formats, say something in the new one, and wait for the answer."""
    session = talking.session()
    session["audio"]["input"]["format"] = form
    session["audio"]["output"] = {"format": form}
    await connection.session.update(session=session)
    said = g711.from_pcm(SAID + talking.silence(talking.SILENCE_MS), form)
    await append(connection, said, chunk=800)
    await events_until(connection, is_type("response.done"))
    await asyncio.sleep(talking.SPOKEN_S)  # all is said, and the answer is played


def recorded(folder: Path, *forms: dict[str, Any]) -> tuple[int, np.ndarray, np.ndarray]:
    """Rate and channels of a call with one turn in each format."""
    traces = Traces()
    otel_realtime.instrument(
        tracer_provider=traces.provider,
        settings=otel_realtime.Settings(recordings_dir=str(folder)),
    )
    answers = [Answer(text="Yes.", pcm=TOLD)] * len(forms)

    async def call(url: str) -> None:
        async with talking.client_of(url).realtime.connect(model="gpt-realtime") as connection:
            for form in forms:
                await turn(connection, form)

    with ScriptedServer(talking.scenario(*answers), speed=talking.SPEED) as server:
        asyncio.run(asyncio.wait_for(call(server.url), 20))
    assert otel_realtime.flush(20)
    (path,) = folder.glob("*.wav")
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return file.getframerate(), both[:, 0], both[:, 1]


@pytest.mark.parametrize(
    ("audio_format", "mime"), [("flac", "audio/flac"), ("opus", "audio/ogg"), ("wav", "audio/wav")]
)
def test_the_attachment_arrives_in_the_format_asked_for(
    audio_format: str, mime: str, sandbox: Sandbox, traces: Traces
) -> None:
    """LangSmith's stand-in takes it, finds nothing wrong, and plays it as what it is."""
    soundfile = pytest.importorskip("soundfile")
    otel_realtime.instrument(
        tracer_provider=traces.provider,
        settings=otel_realtime.Settings(audio_format=audio_format),
    )
    answer = Answer(text="Yes.", pcm=TOLD)
    with ScriptedServer(talking.scenario(answer), speed=talking.SPEED) as server:
        asyncio.run(asyncio.wait_for(talking.one_turn(server.url), 20))
    assert otel_realtime.flush(20)
    run = run_of(traces.root)
    conversation = sandbox.conversation(run)
    assert conversation is not None
    assert [] == conversation["violations"]
    assert [mime] == [one["mime"] for one in conversation["root"]["attachments"]]
    metadata = conversation["root"]["metadata"]
    assert "attached" == metadata["ls_audio_attach_status"]
    answered = requests.get(f"{sandbox.url}/api/conversations/{run}/recording", timeout=10)
    assert mime == answered.headers["Content-Type"]
    path = sandbox.recording(run)
    assert path is not None
    assert answered.content == path.read_bytes()
    with soundfile.SoundFile(path) as sound:
        assert metadata["thread_id"] in sound.title
        assert "left: user, right: agent" in sound.comment or "wav" not in mime


def place(channel: np.ndarray, sound: np.ndarray) -> int:
    """Where a sound begins in a channel: exactly there, sample for sample; -1 if nowhere."""
    for first in np.flatnonzero(channel[: max(channel.size - sound.size + 1, 0)] == sound[0]):
        if (channel[first : first + sound.size] == sound).all():
            return int(first)
    return -1


def as_heard(pcm: bytes, form: dict[str, Any]) -> np.ndarray:
    """What a law leaves of a sound."""
    return decode(g711.from_pcm(pcm, form), AudioFormat(form["type"], 8_000))


@pytest.mark.parametrize("name", g711.NAMES)
def test_a_call_in_g711(name: str, tmp_path: Path) -> None:
    """Both sides at 8 kHz, bit for bit what was on the wire."""
    form = {"type": name}
    rate_hz, left, right = recorded(tmp_path / "kept", form)
    assert 8_000 == rate_hz
    assert place(left, as_heard(SAID, form)) >= 0
    assert place(right, as_heard(TOLD, form)) >= 0


def test_a_call_that_changes_its_format(tmp_path: Path) -> None:
    """PCM, then mu-law, then PCM again: 24 kHz, PCM bit-exact, mu-law at its place."""
    pcm: dict[str, Any] = {"type": "audio/pcm", "rate": 24_000}
    rate_hz, left, right = recorded(tmp_path / "kept", pcm, {"type": "audio/pcmu"}, pcm)
    assert 24_000 == rate_hz
    for channel, sound in ((left, talking.pcm(SAID)), (right, talking.pcm(TOLD))):
        first = place(channel, sound)
        last = channel.size - 1 - np.flatnonzero(channel[::-1])[0] - sound.size + 1
        assert 0 <= first < last
        assert (channel[last : last + sound.size] == sound).all()
        between = channel[first + sound.size : last]
        assert sound.size == pytest.approx(np.count_nonzero(between), rel=0.02)
        assert np.abs(between).max() < np.abs(sound).max() * 1.2
