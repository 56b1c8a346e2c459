"""A ``redact`` hook names words that were said: they are silent in the recording, all others are not."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime import cli
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.e2e.test_redaction import read
from tests.support.planted import on_disk
from tests.support.redacted import AGENT, BEGAN_NS, MULAW, PCM16, USER, Silent, Told, silenced
from tests.support.talking import SPEED, STOP, WEATHER_CALL, weather_call
from tests.support.traces import Traces, run_of
from tests.support.victims import environment

ROOT = Path(__file__).parents[2]
TRANSCRIPTION = "conversation.item.input_audio_transcription."
CARD = "4111 1111"
SAID = f"My number is {CARD}, thanks."
Act = Callable[[Told], None]


def mask(payload: dict[str, Any]) -> dict[str, Any]:
    """What an app does that knows nothing of sound: the number is masked wherever it stands."""
    masked: dict[str, Any] = json.loads(json.dumps(payload).replace(CARD, "****"))
    return masked


def name(payload: dict[str, Any]) -> dict[str, Any]:
    """The same hook, naming the characters instead: only in events that have a text of their own."""
    text = payload.get("transcript", payload.get("text"))
    if isinstance(text, str) and CARD in text:
        start = text.index(CARD)
        payload["redact_audio"] = [[start, start + len(CARD)]]
    return mask(payload)


def told(
    sandbox: Sandbox, act: Act, *, user: Any = PCM16, agent: Any = PCM16, **settings: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """Tell a call, deliver it, and return its recording and its root's metadata."""
    traces = Traces()
    with otel_realtime.conversation(
        settings=Settings(**settings), tracer_provider=traces.provider
    ) as call:
        act(Told(call, user=user, agent=agent))
    assert otel_realtime.flush(20)
    conversation = sandbox.conversation(run_of(traces.root))
    assert conversation is not None
    assert [] == conversation["violations"]
    assert "redact_audio" not in json.dumps(conversation)
    samples, rate_hz = read(sandbox.recording(run_of(traces.root)))
    assert (8_000 if user is agent is MULAW else 24_000) == rate_hz
    return samples, conversation["root"]["metadata"]


def transcript(of: Told, at_ms: int, item: str, text: str = SAID) -> None:
    """The transcription of an utterance is complete."""
    of.got(at_ms, TRANSCRIPTION + "completed", item_id=item, content_index=0, transcript=text)


def segment(of: Told, at_ms: int, item: str, text: str, start: float, end: float) -> None:
    """A segment of it."""
    keys = {"item_id": item, "content_index": 0, "text": text, "speaker": "A"}
    of.got(at_ms, TRANSCRIPTION + "segment", **keys, start=start, end=end)


def by_vad(of: Told) -> None:
    """Two utterances that a VAD hears, in the second one the number, while the agent speaks."""
    of.agent(0, 5_000)
    of.user(0, 1_500)
    of.vad("u1", 200, 1_400)
    transcript(of, 1_500, "u1", "Hello.")
    of.user(1_500, 4_000)
    of.vad("u2", 1_800, 3_500)
    transcript(of, 4_000, "u2")
    of.user(4_000, 5_000)


def by_segments(of: Told) -> None:
    """The transcription has segments: the number is the second of three."""
    of.agent(0, 5_000)
    of.user(0, 4_000)
    of.vad("u", 1_000, 3_500)
    segment(of, 4_000, "u", "My number is", 0.2, 1.0)
    segment(of, 4_000, "u", f"{CARD},", 1.0, 1.75)
    segment(of, 4_000, "u", "thanks.", 2.0, 2.4)
    transcript(of, 4_000, "u")
    of.user(4_000, 5_000)


def by_commit(of: Told) -> None:
    """Push to talk: what was appended since the last commit is the item."""
    of.agent(0, 5_000)
    for item, start, end, text in (("u1", 0, 1_000, "Hello."), ("u2", 1_000, 2_500, SAID)):
        of.user(start, end)
        of.call.sent({"type": "input_audio_buffer.commit"}, at_ns=BEGAN_NS + end * 1_000_000)
        of.got(end, "input_audio_buffer.committed", item_id=item)
        transcript(of, end, item, text)
    of.user(2_500, 5_000)


def by_neighbours(of: Told) -> None:
    """A server that only commits: the item begins where the one before it ends."""
    of.agent(0, 5_000)
    of.user(0, 1_000)
    of.got(1_000, "input_audio_buffer.committed", item_id="u1")
    transcript(of, 1_000, "u1", "Hello.")
    of.user(1_000, 2_000)
    of.got(2_000, "input_audio_buffer.committed", item_id="u2")
    transcript(of, 3_000, "u2")
    of.user(2_000, 5_000)


def by_arrival(of: Told) -> None:
    """Nobody says where the item lies: all until its text came is silenced."""
    of.agent(0, 5_000)
    of.user(0, 3_000)
    transcript(of, 3_000, "u")
    of.user(3_000, 5_000)


def of_a_second_session(of: Told) -> None:
    """The connection is replaced in between: the server counts from 0 again."""
    by_vad(of)
    of.got(5_000, "session.created", session={"id": "s2", "model": "gpt-realtime"})
    of.user(5_000, 7_000)
    of.vad("u3", 500, 1_500)
    transcript(of, 7_000, "u3")


def of_the_agent(of: Told) -> None:
    """Two answers; the second one says the number, and each of its events says it again."""
    said = {"type": "output_audio", "transcript": SAID}
    heard_ms = 0
    for at, item, response, content in (
        (500, "a", "r", {**said, "transcript": "One moment."}),
        (2_000, "b", "r2", said),
    ):
        of.user(heard_ms, at)
        heard_ms = at
        message = {"id": item, "type": "message", "role": "assistant", "content": [content]}
        of.agent(at, 1_000, item, response)
        keys = {"item_id": item, "response_id": response, "content_index": 0}
        text = content["transcript"]
        of.got(at, "response.output_audio_transcript.done", **keys, transcript=text)
        of.got(at, "response.content_part.done", **keys, part=content)
        of.got(at, "response.output_item.done", response_id=response, item=message)
        body = {"id": response, "status": "completed", "output": [message]}
        of.got(at, "response.done", response=body)
    of.user(2_000, 5_000)


def of_an_answer_that_is_cut(of: Told) -> None:
    """Its truncate comes after its text: only what was heard is silenced."""
    of.user(0, 500)
    of.agent(500, 4_000)
    keys = {"item_id": "a", "response_id": "r", "content_index": 0}
    of.got(500, "response.output_audio_transcript.done", **keys, transcript=SAID)
    of.user(500, 1_500)
    cut = {"item_id": "a", "content_index": 0, "audio_end_ms": 700}
    of.call.sent({"type": "conversation.item.truncate", **cut}, at_ns=BEGAN_NS + 1_500_000_000)
    of.user(1_500, 2_000)
    of.agent(2_000, 1_000, "b", "r2")
    of.user(2_000, 5_000)


def of_a_text_that_never_ends(of: Told) -> None:
    """The call ends in mid-sentence, on both sides: only deltas say what was said."""
    of.agent(0, 5_000)
    of.user(0, 2_000)
    of.got(2_000, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=1_000)
    keys = {"item_id": "u", "content_index": 0}
    of.got(2_000, TRANSCRIPTION + "delta", **keys, delta="My number is 4111")
    of.got(2_000, TRANSCRIPTION + "delta", **keys, delta=" 1111, and")
    of.user(2_000, 3_000)


def of_a_text_that_changes_its_mind(of: Told) -> None:
    """The deltas say the number, the whole text does not: nothing is silenced."""
    of.agent(0, 3_000)
    of.user(0, 2_000)
    of.vad("u", 1_000, 2_000)
    of.got(2_000, TRANSCRIPTION + "delta", item_id="u", content_index=0, delta=SAID)
    transcript(of, 2_100, "u", "My number is for one one one.")
    of.user(2_000, 3_000)


#: What happens -> what is silent.
WORDS: dict[str, tuple[Act, list[Silent]]] = {
    "an utterance, by the VAD": (by_vad, [(1_800, 3_500, USER)]),
    "a segment of an utterance": (by_segments, [(2_000, 2_750, USER)]),
    "an utterance, by the client's commit": (by_commit, [(1_000, 2_500, USER)]),
    "an utterance, by its neighbours": (by_neighbours, [(1_000, 2_000, USER)]),
    "an utterance, by its text's arrival": (by_arrival, [(0, 3_000, USER)]),
    "in a second session": (
        of_a_second_session,
        [(1_800, 3_500, USER), (5_500, 6_500, USER)],
    ),
    "an answer": (of_the_agent, [(2_000, 3_000, AGENT)]),
    "an answer that is cut": (of_an_answer_that_is_cut, [(800, 1_500, AGENT)]),
    "a text that never ends": (of_a_text_that_never_ends, [(1_000, 3_000, USER)]),
    "a text that changes its mind": (of_a_text_that_changes_its_mind, []),
}


@pytest.mark.parametrize("how", ["named", "changed"])
@pytest.mark.parametrize("case", WORDS)
def test_every_sample(case: str, how: str, sandbox: Sandbox) -> None:
    """The recording is the one without a hook, silent where the words were said."""
    act, silent = WORDS[case]
    whole, _ = told(sandbox, act)
    asked = {"redact": name} if how == "named" else {"redact": mask, "redact_audio": True}
    found, metadata = told(sandbox, act, **asked)
    expected = silenced(whole, 24_000, silent)
    assert bool(silent) == bool((expected != whole).any())
    assert np.array_equal(expected, found)
    assert CARD not in json.dumps(metadata)
    listed = json.loads(metadata.get("redacted", "[]"))
    side = {USER: "user", AGENT: "agent"}
    assert listed == [
        {"start_ms": start, "end_ms": end, "side": side[channels], "why": "hook"}  # type: ignore[index]
        for start, end, channels in silent
    ]


@pytest.mark.parametrize(("user", "agent"), [(MULAW, MULAW), (MULAW, PCM16), (PCM16, MULAW)])
@pytest.mark.parametrize(
    "case", ["an utterance, by the VAD", "a segment of an utterance", "an answer"]
)
def test_g711_and_mixed_rates(case: str, user: Any, agent: Any, sandbox: Sandbox) -> None:
    """Telephony on one side or on both: silent to the sample of the recording."""
    act, silent = WORDS[case]
    whole, _ = told(sandbox, act, user=user, agent=agent)
    found, _ = told(sandbox, act, user=user, agent=agent, redact=mask, redact_audio=True)
    rate_hz = 8_000 if user is agent else 24_000
    assert np.array_equal(silenced(whole, rate_hz, silent), found)


def test_a_real_connection(sandbox: Sandbox, traces: Traces) -> None:
    """The openai client, a server with a VAD of its own, and instrument(): what was asked is masked."""

    def redact(payload: dict[str, Any]) -> dict[str, Any]:
        masked: dict[str, Any] = json.loads(json.dumps(payload).replace("Weather?", "****"))
        return masked

    settings = Settings(redact=redact, redact_audio=True)
    otel_realtime.instrument(tracer_provider=traces.provider, settings=settings)
    with ScriptedServer(WEATHER_CALL, speed=SPEED) as server:
        asyncio.run(weather_call(server.url))
    assert otel_realtime.flush(20)
    conversation = sandbox.conversation(run_of(traces.root))
    assert conversation is not None
    assert "Weather?" not in json.dumps(conversation)
    (stretch,) = json.loads(conversation["root"]["metadata"]["redacted"])
    found, rate_hz = read(sandbox.recording(run_of(traces.root)))
    assert ("user", "hook") == (stretch["side"], stretch["why"])
    per_ms = rate_hz // 1000
    user = found[:, 0]
    assert not user[stretch["start_ms"] * per_ms : stretch["end_ms"] * per_ms].any()
    # The question is the first thing the user says, the second one is heard to its last sample.
    assert not user[: stretch["end_ms"] * per_ms].any()
    assert len(STOP) // 2 == np.count_nonzero(user)


@pytest.mark.parametrize("act", [by_vad, by_segments, of_the_agent])
def test_a_hook_that_names_nothing_leaves_the_sound(act: Act, sandbox: Sandbox) -> None:
    """As before: masking a text is about the text, unless the settings say otherwise."""
    whole, _ = told(sandbox, act)
    found, metadata = told(sandbox, act, redact=mask)
    assert np.array_equal(whole, found)
    assert "redactions" not in metadata


def test_a_hook_may_take_back_what_the_setting_says(sandbox: Sandbox) -> None:
    """``False`` next to the text: it is masked, and can be heard."""
    whole, _ = told(sandbox, by_vad)

    def heard(payload: dict[str, Any]) -> dict[str, Any]:
        return {**mask(payload), "redact_audio": False}

    found, _ = told(sandbox, by_vad, redact=heard, redact_audio=True)
    assert np.array_equal(whole, found)


def test_a_hook_that_fails_silences_what_it_failed_at(sandbox: Sandbox) -> None:
    """With the setting: the text is hidden, so the words are not to be heard either."""

    def fail(payload: dict[str, Any]) -> dict[str, Any]:
        if CARD in json.dumps(payload):
            raise RuntimeError("no")
        return payload

    whole, _ = told(sandbox, by_vad)
    found, _ = told(sandbox, by_vad, redact=fail, redact_audio=True)
    assert np.array_equal(silenced(whole, 24_000, [(1_800, 3_500, USER)]), found)


def test_both_ways_to_the_same_place(sandbox: Sandbox) -> None:
    """A stretch of the app's own over words that the hook names."""

    def act(of: Told) -> None:
        by_vad(of)
        of.call.redact_audio(3_000, 4_000)

    whole, _ = told(sandbox, by_vad)
    found, metadata = told(sandbox, act, redact=name)
    silent: list[Silent] = [(1_800, 3_500, USER), (3_000, 4_000, (0, 1))]
    assert np.array_equal(silenced(whole, 24_000, silent), found)
    assert (2, 2_200) == (metadata["redactions"], metadata["redacted_ms"])


PROGRAM = """
import time
from opentelemetry.sdk.trace import TracerProvider
import otel_realtime
from otel_realtime.settings import Settings
from tests.e2e.test_redacted_words import by_segments, mask, of_a_text_that_never_ends
from tests.support.redacted import Told
import sys

settings = Settings(redact=mask, redact_audio=True)
provider = TracerProvider(shutdown_on_exit=False)
with otel_realtime.conversation(settings=settings, tracer_provider=provider) as call:
    print(call.langsmith_run_id, flush=True)
    {act}(Told(call))
    time.sleep(0.5)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("act", [by_segments, of_a_text_that_never_ends])
def test_a_kill_forgets_no_words(
    act: Act, sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recovery has no hook: the journal knows what was named, and not the words."""
    _, silent = next(found for found in WORDS.values() if found[0] is act)
    state = tmp_path / "killed"
    program = PROGRAM.format(act=getattr(act, "__name__", ""))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(state, sandbox.url),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        run, ready = (child.stdout.readline().strip() for _ in range(2))
        child.send_signal(signal.SIGKILL)
    assert "ready" == ready
    assert CARD.encode() not in on_disk(state)
    assert 0 == cli.main(["recover", "--state-dir", str(state), "--timeout", "30"])
    found, _ = read(sandbox.recording(run))
    user = found[:, 0]
    ((start, end, _),) = silent
    last = 5_000 if act is by_segments else 3_000
    assert not user[int(start) * 24 : int(end) * 24].any()
    assert user[: int(start) * 24].all()
    assert user[int(end) * 24 : last * 24].all()


@pytest.mark.parametrize("item", ["b", None])
def test_words_that_a_tap_reports(item: str | None, sandbox: Sandbox) -> None:
    """The speaker plays each answer 300 ms late; the second one is silent where it was played."""

    def act(of: Told) -> None:
        for at, name, response, text in (
            (0, "a", "r", "One moment."),
            (2_000, "b", "r2", SAID),
        ):
            of.agent(at, 1_000, name, response)
            keys = {"item_id": name, "response_id": response, "content_index": 0}
            of.got(at, "response.output_audio_transcript.done", **keys, transcript=text)
            for played in range(at + 300, at + 1_300, 20):
                at_ns = BEGAN_NS + played * 1_000_000
                which = None if item is None else name
                of.call.record_agent_audio(of.sound("agent", 20), item_id=which, at_ns=at_ns)
        of.got(4_000, "rate_limits.updated")

    whole, _ = told(sandbox, act)
    found, _ = told(sandbox, act, redact=mask, redact_audio=True)
    assert whole[300 * 24 : 1_300 * 24, 1].all()
    assert whole[2_300 * 24 : 3_300 * 24, 1].all()
    assert np.array_equal(silenced(whole, 24_000, [(2_300, 3_300, AGENT)]), found)


def test_words_that_the_app_reports_as_positions(sandbox: Sandbox) -> None:
    """``played()`` says how far the speaker is; it is late, and stops before the end."""

    def act(of: Told) -> None:
        of.agent(0, 2_000)
        keys = {"item_id": "a", "response_id": "r", "content_index": 0}
        of.got(0, "response.output_audio_transcript.done", **keys, transcript=SAID)
        for played in range(100, 1_300, 100):
            of.call.played("a", 0, played, at_ns=BEGAN_NS + (400 + played) * 1_000_000)
        cut = {"item_id": "a", "content_index": 0, "audio_end_ms": 1_200}
        of.call.sent({"type": "conversation.item.truncate", **cut}, at_ns=BEGAN_NS + 1_700_000_000)
        of.agent(2_500, 500, "b", "r2")
        of.got(6_000, "rate_limits.updated")

    whole, _ = told(sandbox, act)
    found, _ = told(sandbox, act, redact=mask, redact_audio=True)
    assert whole[500 * 24 : 1_500 * 24, 1].all()
    assert not found[: 2_400 * 24, 1].any()
    assert np.array_equal(whole[2_500 * 24 :], found[2_500 * 24 :])
