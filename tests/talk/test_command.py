"""``otel-realtime talk`` as a user runs it: a process, PortAudio, a sound card, a Realtime server."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.command import DEFAULT_HOST, DEFAULT_PORT
from otel_realtime.talk.result import LATER_URL
from tests.support.isolation import langsmith_variables
from tests.support.sound_card import BUFFER_MS, SoundCard, time_of, voiced
from tests.support.talk_process import KEY, environment, talking
from tests.support.talking import tone
from tests.support.waiting import wait_for

GREETING = Answer(text="Good morning.", pcm=tone(600, 440))
LONG = Answer(text="I speak for a very long time.", pcm=tone(6_000, 523))
TIME = Answer(calls=(Call(name="get_time", arguments='{"time_zone": "Europe/Paris"}'),))
SHORT = Answer(text="It is late.", pcm=tone(500, 659))
QUESTION, STOP = tone(600, 330), tone(500, 370)
#: The user interrupts an answer after so long.
BARGE_IN_MS = 1_000
#: A machine that is busy with other tests is late by so much at times.
SLACK_MS = 700


@contextmanager
def serving(*answers: Answer, **changes: Any) -> Iterator[ScriptedServer]:
    """A Realtime server that answers quickly, but not faster than a person can hear."""
    quick = {"answer_delay_ms": 100, "transcription_delay_ms": 50, **changes}
    scenario = Scenario(answers=answers, user_transcripts=("What is it?", "Stop!"), **quick)
    with ScriptedServer(scenario, api_key=KEY) as server:
        yield server


def sent(server: ScriptedServer, kind: str) -> list[Any]:
    """The client's events of one type on the only connection."""
    (received,) = server.received
    return [event for event in received if event["type"] == kind]


def wait_until_heard(card: SoundCard, ms: float) -> None:
    """Wait until so much has come out of the speaker."""
    wait_for(lambda: card.voiced_ms >= ms, f"{ms} ms from the speaker", timeout_s=60, every_s=0.02)


def wait_for_the_end(card: SoundCard, sound: bytes) -> None:
    """Wait until the last thing that was heard is a whole sound."""
    wait_for(
        lambda: voiced(bytes(card.heard)).endswith(sound),
        "end of a sound",
        timeout_s=60,
        every_s=0.02,
    )


def recording(path: str) -> tuple[bytes, bytes]:
    """Both sides of a kept recording: the user's and the agent's."""
    with wave.open(path) as file:
        assert (2, 2, 24_000) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0].tobytes(), both[:, 1].tobytes()


# --- a whole call -------------------------------------------------------------------------------


def test_what_the_devices_took_is_what_is_recorded(card: SoundCard, tmp_path: Path) -> None:
    """To the sample, on both sides, through a question, a barge-in and a tool."""
    with serving(GREETING, LONG, TIME, SHORT) as server:
        with talking(
            tmp_path, "--url", server.url, "--json", "--out", "kept", card=card, OPENAI_API_KEY=KEY
        ) as talk:
            wait_until_heard(card, 600)
            card.say(QUESTION)
            wait_until_heard(card, 600 + BARGE_IN_MS)
            card.say(STOP)
            wait_for_the_end(card, SHORT.pcm)
            talk.hang_up()
            assert 0 == talk.ended(), talk.err
    found = talk.summary()
    user, agent = recording(found["recording"])
    assert QUESTION + STOP == voiced(bytes(card.spoken)) == voiced(user)
    assert voiced(bytes(card.heard)) == voiced(agent)
    assert Path(found["recording"]).parent == tmp_path / "kept"
    _check_cut(card, server, found)
    _check_times(card, user, agent)
    _check_summary(found)
    assert "--half-duplex" in talk.err  # progress, and what to do against echo


def _check_cut(card: SoundCard, server: ScriptedServer, found: dict[str, Any]) -> None:
    """The truncate says what was played; the speaker stopped within what the device held."""
    (truncate,) = sent(server, "conversation.item.truncate")
    heard = voiced(bytes(card.heard))
    cut = heard.removeprefix(GREETING.pcm).removesuffix(SHORT.pcm)
    assert GREETING.pcm + cut + SHORT.pcm == heard
    assert LONG.pcm.startswith(cut)
    assert truncate["audio_end_ms"] == len(cut) / 48
    assert [truncate["audio_end_ms"]] == [cut["played_ms"] for cut in found["interruptions"]]
    # The server hears the barge-in 40 ms after its start; the device plays out what it holds.
    stopped = time_of(bytes(card.heard), len(GREETING.pcm + cut) // 2 - 1)
    began = time_of(bytes(card.spoken), len(QUESTION) // 2)
    assert stopped - began < 40 + BUFFER_MS + SLACK_MS


def _check_times(card: SoundCard, user: bytes, agent: bytes) -> None:
    """The recording places what was said where the card had it, but for the device's buffer."""
    for side, there in ((user, bytes(card.spoken)), (agent, bytes(card.heard))):
        first, last = (time_of(there, number) - time_of(side, number) for number in (0, -1))
        assert abs(first - last) < SLACK_MS


def _check_summary(found: dict[str, Any]) -> None:
    assert ("user", None, True) == (found["ended_by"], found["problem"], found["delivered"])
    assert ["Good morning.", "What is it?", "I speak for a very long time."] == [
        turn["text"] for turn in found["turns"]
    ][:3]
    assert (1, []) == (found["tool_calls"], found["errors"])
    assert (0, 0) == (found["microphone"]["dropped_blocks"], found["speaker"]["gaps"])
    assert -13 < found["microphone"]["peak_dbfs"] < -11  # 8000 of 32768
    assert found["langsmith_url"] is None
    assert f"{LATER_URL}/conversations/{found['langsmith_run_id']}" == found["page"]


def test_without_a_key_it_talks_to_the_script_and_keeps_everything_here(
    card: SoundCard, tmp_path: Path
) -> None:
    """What a newcomer gets who has nothing: a voice, a recording, a trace to look at."""
    with talking(tmp_path, card=card) as talk:
        wait_until_heard(card, 500)
        talk.until("I am a script")
        talk.hang_up()
        assert 0 == talk.ended(), (talk.out, talk.err)
    said = talk.out
    assert "calling the scripted server on this machine; the trace goes to this machine" in said
    assert "set OPENAI_API_KEY" in said
    lines = dict(line.split(maxsplit=1) for line in said.splitlines()[-7:] if " " in line.strip())
    assert list((tmp_path / "recordings").glob("*talk-*.wav")) == [Path(lines["recording"])]
    assert "otel-realtime sandbox" in said
    assert f"http://{DEFAULT_HOST}:{DEFAULT_PORT}" == LATER_URL
    with Sandbox(tmp_path / "xdg" / "otel-realtime" / "sandbox") as sandbox:
        (listed,) = sandbox.conversations()
        assert lines["page"].endswith(listed["id"])
        assert (
            lines["trace"]
            == sandbox.conversation(listed["id"])["root"]["metadata"]["OTEL_TRACE_ID"]
        )  # type: ignore[index]
        assert [] == sandbox.violations()


def test_with_langsmith_it_goes_there(card: SoundCard, sandbox: Sandbox, tmp_path: Path) -> None:
    """The user's own variables hold, and the link is that of the project."""
    with serving(GREETING) as server:
        with talking(
            tmp_path, "--url", server.url, "--seconds", "3", "--json",
            card=card, OPENAI_API_KEY=KEY, **langsmith_variables(sandbox.url),
        ) as talk:  # fmt: skip
            assert 0 == talk.ended(), talk.err
    found = talk.summary()
    (listed,) = sandbox.conversations()
    assert (listed["id"], "seconds", None) == (
        found["langsmith_run_id"], found["ended_by"], found["page"],
    )  # fmt: skip
    assert found["langsmith_run_id"] in (found["langsmith_url"] or "")
    assert f"the trace goes to LangSmith ({sandbox.url}, project calls)" in talk.err


def test_azure(card: SoundCard, tmp_path: Path) -> None:
    """By its two variables; the model is the name of the deployment."""
    with serving(GREETING) as server:
        with talking(
            tmp_path, "--model", "my-deployment", "--vad", "semantic", "--voice", "cedar", "--json",
            card=card, AZURE_OPENAI_API_KEY=KEY, AZURE_OPENAI_ENDPOINT=server.url,
        ) as talk:  # fmt: skip
            wait_until_heard(card, 300)
            talk.hang_up()
            assert 0 == talk.ended(), talk.err
        session = server.connections[0].session.session
    assert ("my-deployment", "cedar") == (session["model"], session["audio"]["output"]["voice"])
    assert "semantic_vad" == session["audio"]["input"]["turn_detection"]["type"]
    assert "calling Azure OpenAI at 127.0.0.1" in talk.err


# --- who holds the floor ------------------------------------------------------------------------


def test_push_to_talk(card: SoundCard, tmp_path: Path) -> None:
    """Only what is said between two keys is sent and recorded, and the second one asks for an answer."""
    with serving(GREETING, LONG, SHORT) as server:
        with talking(
            tmp_path, "--url", server.url, "--push-to-talk", "--json", "--out", ".",
            card=card, OPENAI_API_KEY=KEY,
        ) as talk:  # fmt: skip
            card.say(STOP)  # to nobody
            wait_until_heard(card, 600)
            talk.type(" ")
            time.sleep(0.5)
            card.say(QUESTION)
            wait_for(lambda: not card.speaking, "end of the question")
            time.sleep(0.5)
            talk.type(" ")
            wait_until_heard(card, 600 + BARGE_IN_MS)
            talk.type(" ")  # a barge-in
            wait_for(lambda: sent(server, "conversation.item.truncate"), "truncate")
            talk.type("q")
            assert 0 == talk.ended(), talk.err
    found = talk.summary()
    user, agent = recording(found["recording"])
    assert QUESTION == voiced(user)
    assert voiced(bytes(card.heard)) == voiced(agent)
    assert 1 == len(sent(server, "input_audio_buffer.commit"))
    assert 2 == len(sent(server, "response.create"))  # the greeting, and the answer
    (update,) = sent(server, "session.update")
    assert None is update["session"]["audio"]["input"]["turn_detection"]
    (truncate,) = sent(server, "conversation.item.truncate")
    assert [truncate["audio_end_ms"]] == [cut["played_ms"] for cut in found["interruptions"]]
    assert "user" == found["ended_by"]


@pytest.mark.alone
def test_an_echo_is_recognised(tmp_path: Path) -> None:
    """An agent that hears itself cuts itself off; the user is told what to do."""
    with SoundCard(tmp_path / "card", echo=0.5) as card, serving(LONG) as server:
        with talking(tmp_path, "--url", server.url, card=card, OPENAI_API_KEY=KEY) as talk:
            talk.until("The agent is cut off as soon as it speaks")
            talk.hang_up()
            assert 0 == talk.ended()


def test_half_duplex_hears_no_echo(tmp_path: Path) -> None:
    """While the agent speaks the microphone is muted: for the model, and in the recording."""
    with SoundCard(tmp_path / "card", echo=0.5) as card, serving(GREETING, LONG, SHORT) as server:
        with talking(
            tmp_path, "--url", server.url, "--half-duplex", "--json", "--out", ".",
            card=card, OPENAI_API_KEY=KEY,
        ) as talk:  # fmt: skip
            wait_until_heard(card, 600)
            time.sleep(1.5)  # until the microphone is open again
            card.say(QUESTION)
            wait_until_heard(card, 600 + 6_000)
            talk.hang_up()
            assert 0 == talk.ended(), talk.err
    found = talk.summary()
    user, agent = recording(found["recording"])
    assert GREETING.pcm + LONG.pcm == voiced(agent)
    assert QUESTION == voiced(user)
    assert [] == found["interruptions"]


# --- what goes wrong ----------------------------------------------------------------------------


def test_a_device_that_is_unplugged_ends_the_call(card: SoundCard, tmp_path: Path) -> None:
    """With a message that names it, the recording so far, and exit code 1."""
    with serving(LONG) as server:
        with talking(
            tmp_path, "--url", server.url, "--json", "--out", ".", card=card, OPENAI_API_KEY=KEY
        ) as talk:
            wait_until_heard(card, 500)
            card.unplug()
            assert 1 == talk.ended(), talk.err
    found = talk.summary()
    assert "device" == found["ended_by"]
    assert "'card" in found["problem"] or "'default'" in found["problem"]
    assert "unplugged" in found["problem"]
    _, agent = recording(found["recording"])
    assert voiced(agent).startswith(voiced(bytes(card.heard)))


def test_a_connection_that_is_lost_ends_the_call(card: SoundCard, tmp_path: Path) -> None:
    """With the server's code and reason, and exit code 1."""
    with serving(GREETING) as server:
        with talking(
            tmp_path, "--url", server.url, "--json", "--out", ".", card=card, OPENAI_API_KEY=KEY
        ) as talk:
            wait_until_heard(card, 300)
            server.connections[0].hang_up(1011, "out of order")
            assert 1 == talk.ended(), talk.err
    found = talk.summary()
    assert ("connection", "the connection was closed: code 1011 out of order") == (
        found["ended_by"], found["problem"],
    )  # fmt: skip
    _, agent = recording(found["recording"])
    assert voiced(agent).startswith(GREETING.pcm[:9600])


def test_a_server_that_hangs_up_ends_the_call(card: SoundCard, tmp_path: Path) -> None:
    """It is no failure."""
    with serving(GREETING) as server:
        with talking(
            tmp_path, "--url", server.url, "--json", card=card, OPENAI_API_KEY=KEY
        ) as talk:
            wait_until_heard(card, 300)
            server.connections[0].hang_up(1000, "bye")
            assert 0 == talk.ended(), talk.err
    assert "server" == talk.summary()["ended_by"]


REFUSED = {
    "a wrong key": (["--url", "{url}"], {"OPENAI_API_KEY": "sk-wrong"}, "HTTP 401: the key is wrong: check OPENAI_API_KEY"),
    "a wrong path": (["--url", "{url}x"], {"OPENAI_API_KEY": KEY}, "HTTP 404"),
    "nobody there": (["--url", "ws://127.0.0.1:9/v1"], {}, "127.0.0.1 (ws://127.0.0.1:9/v1/realtime) cannot be reached"),
    "no URL": (["--url", "example.com"], {}, "--url 'example.com' is no URL of ws, wss, http or https"),
    "half of Azure": ([], {"AZURE_OPENAI_API_KEY": "k"}, "but not AZURE_OPENAI_ENDPOINT"),
    "two ways to end a turn": (["--push-to-talk", "--vad", "server"], {}, "--push-to-talk and --vad server contradict"),
    "a device that is not there": (["--input", "99"], {}, "--input 99: there is no such device; there are 0 'card'"),
    "a name of nothing": (["--output", "kitchen"], {}, "--output 'kitchen': no speaker has that in its name"),
    "a speaker to record with": (["--vad", "loud"], {}, "'loud' is not one of 'server', 'semantic', 'none'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_begun_is_said_in_one_line(
    case: str, card: SoundCard, tmp_path: Path
) -> None:
    """It names the thing, the value and the fix; exit code 2, nothing on standard output but progress."""
    arguments, variables, message = REFUSED[case]
    with serving(GREETING) as server:
        given = [argument.format(url=server.url) for argument in arguments]
        with talking(tmp_path, *given, card=card, **variables) as talk:
            assert 2 == talk.ended()
    last = talk.err.splitlines()[-1]
    assert last.startswith(("otel-realtime: ", "otel-realtime talk: "))
    assert message in last


def test_a_machine_without_sound(tmp_path: Path) -> None:
    """PortAudio is there, and finds nothing: a server, a container."""
    # Without any default PortAudio 19.6 fails on an assertion of its own.
    (tmp_path / "asound.conf").write_text("pcm.default { type hw card 31 }")
    for arguments in ([], ["--list-devices"]):
        with talking(tmp_path, *arguments, ALSA_CONFIG_PATH=str(tmp_path / "asound.conf")) as talk:
            assert 2 == talk.ended()
        assert "" == talk.out
        assert "on this machine. A server, a container or an SSH session has none" in talk.err


def test_the_devices_are_listed(card: SoundCard, tmp_path: Path) -> None:
    """With numbers to choose them by, and which is the default."""
    with talking(tmp_path, "--list-devices", card=card) as talk:
        assert 0 == talk.ended()
    first, *_ = talk.out.splitlines()
    assert first.startswith("  0  card, ALSA (")
    (default,) = [line for line in talk.out.splitlines() if "default input and output" in line]
    assert "default, ALSA" in default


# --- a person at a terminal ---------------------------------------------------------------------


def test_a_terminal_shows_levels_and_words(card: SoundCard, tmp_path: Path) -> None:
    """The meters of both devices, what is said, and space for the floor; q ends the call."""
    person, terminal = pty.openpty()
    shown = bytearray()
    with serving(GREETING, SHORT) as server:
        child = _on_terminal(terminal, tmp_path, card, "--url", server.url, "--push-to-talk")
        os.close(terminal)

        def see(text: str) -> None:
            _read_until(person, shown, text)

        try:
            see("microphone default  muted")
            see("Good morning.")
            os.write(person, b" ")
            card.say(QUESTION)
            see("##")
            wait_for(lambda: not card.speaking, "end of the question")
            os.write(person, b" ")
            see("It is late.")
            os.write(person, b"q")
            see("recording")
            assert 0 == child.wait(30)
        finally:
            child.kill()
            child.wait()
            os.close(person)


def _on_terminal(
    terminal: int, folder: Path, card: SoundCard, *arguments: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "otel_realtime", "talk", "--no-browser", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=folder,
        env=environment(
            folder, card, PYTHONPATH=os.getcwd(), OPENAI_API_KEY=KEY, TERM="xterm", COLUMNS="200"
        ),
    )


def _read_until(person: int, shown: bytearray, text: str) -> None:
    deadline = time.monotonic() + 30
    while text.encode() not in shown:
        assert time.monotonic() < deadline, (text, shown[-3000:].decode(errors="replace"))
        if select.select([person], [], [], 0.1)[0]:
            try:
                shown += os.read(person, 65_536)
            except OSError:  # the other end is closed
                assert text.encode() in shown, shown[-3000:].decode(errors="replace")
