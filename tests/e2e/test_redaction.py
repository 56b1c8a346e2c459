"""``redact_audio()``: silent to the sample where it was asked for, untouched everywhere else."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import wave
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime import cli
from otel_realtime.conversation.null import NullConversation
from otel_realtime.sandbox import Sandbox
from otel_realtime.settings import Settings
from tests.support.redacted import AGENT, BOTH, MULAW, PCM16, USER, Silent, Told, silenced
from tests.support.traces import Traces, facts, run_of, stretches
from tests.support.victims import environment

ROOT = Path(__file__).parents[2]
Act = Callable[[Told], None]
Redact = Callable[[otel_realtime.Conversation], None]


def read(path: Path | None) -> tuple[np.ndarray, int]:
    """The samples of a recording, shape (n, 2), and its rate."""
    assert path is not None, "there is no recording"
    with wave.open(str(path), "rb") as file:
        raw = file.readframes(file.getnframes())
        return np.frombuffer(raw, "<i2").reshape(-1, 2), file.getframerate()


def nothing(call: otel_realtime.Conversation) -> None:
    """Silence nothing."""


def recorded(
    sandbox: Sandbox, act: Act, redact: Redact = nothing, *, at: str = "end", **formats: Any
) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Tell a call, deliver it, and return its recording and its root's metadata."""
    traces = Traces()
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call, **formats)
        if at == "start":
            redact(call)
        act(told)
        if at == "end":
            redact(call)
    assert otel_realtime.flush(20)
    conversation = sandbox.conversation(run_of(traces.root))
    assert conversation is not None
    assert [] == conversation["violations"]
    samples, rate_hz = read(sandbox.recording(run_of(traces.root)))
    return samples, rate_hz, conversation["root"]["metadata"]


def both(told: Told) -> None:
    """Four seconds in which both speak."""
    told.both(4_000)


def two_answers(told: Told) -> None:
    """Two turns of the agent, and the user's between them."""
    told.agent(0, 1_000)
    told.user(1_000, 2_000)
    told.agent(2_000, 1_000, "b", "r2")
    told.got(3_000, "rate_limits.updated")


def asked(*calls: tuple[tuple[float, float], dict[str, Any]]) -> Redact:
    """Several stretches."""

    def redact(call: otel_realtime.Conversation) -> None:
        for times, more in calls:
            call.redact_audio(*times, **more)

    return redact


CASES: dict[str, tuple[Act, Redact, list[Silent]]] = {
    "both sides": (both, asked(((1_000, 2_500), {})), [(1_000, 2_500, BOTH)]),
    "the user only": (both, asked(((500, 700), {"side": "user"})), [(500, 700, USER)]),
    "the agent only": (both, asked(((500, 700), {"side": "agent"})), [(500, 700, AGENT)]),
    "the whole call": (both, asked(((0, 60_000), {})), [(0, 4_000, BOTH)]),
    "to the end": (both, asked(((3_210, float("inf")), {})), [(3_210, 4_000, BOTH)]),
    "from before the start": (both, asked(((-50, 130), {})), [(0, 130, BOTH)]),
    "nothing": (both, asked(((1_000, 1_000), {})), []),
    "only what lies beyond the end": (both, asked(((9_000, 9_500), {})), []),
    "a stretch within a sample": (
        both,
        asked(((1_000.01, 1_000.02), {})),
        [(1_000, 1_000.02, BOTH)],
    ),
    "stretches that overlap": (
        both,
        asked(((500, 900), {}), ((700, 1_200), {"side": "user"}), ((700, 900), {})),
        [(500, 900, BOTH), (700, 1_200, USER)],
    ),
    "stretches that touch": (both, asked(((500, 600), {}), ((600, 700), {})), [(500, 700, BOTH)]),
    "over the boundaries of turns": (
        two_answers,
        asked(((900, 2_100), {})),
        [(900, 2_100, BOTH)],
    ),
}
FORMATS: dict[str, tuple[dict[str, Any], int]] = {
    "PCM": ({"user": PCM16, "agent": PCM16}, 24_000),
    "G.711": ({"user": MULAW, "agent": MULAW}, 8_000),
    "G.711 and PCM": ({"user": MULAW, "agent": PCM16}, 24_000),
}


@pytest.mark.parametrize("formats", FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_every_sample(name: str, formats: str, sandbox: Sandbox) -> None:
    """The delivered recording is the one without redaction, with silence where it was asked for."""
    act, redact, silent = CASES[name]
    sides, rate = FORMATS[formats]
    whole, rate_hz, plain = recorded(sandbox, act, **sides)
    found, _, metadata = recorded(sandbox, act, redact, **sides)
    assert rate == rate_hz
    expected = silenced(whole, rate_hz, silent)
    assert bool(silent) == bool((expected != whole).any())
    assert np.array_equal(expected, found)
    assert not any(key.startswith("redact") for key in plain)
    assert bool(silent) == ("redactions" in metadata)


def test_a_stretch_may_lie_in_the_future(sandbox: Sandbox) -> None:
    """Said before anybody spoke, of sound that comes later."""
    whole, rate_hz, _ = recorded(sandbox, both)
    found, _, _ = recorded(sandbox, both, asked(((1_000, 1_500), {})), at="start")
    assert np.array_equal(silenced(whole, rate_hz, [(1_000, 1_500, BOTH)]), found)


def test_a_beep_covers_what_was_said(sandbox: Sandbox) -> None:
    """Nothing of the sound before is left in it, and both sides have the same."""
    redact = asked(((1_000, 2_000), {"how": "beep"}))
    whole, rate_hz, _ = recorded(sandbox, both)
    found, _, _ = recorded(sandbox, both, redact)
    inside = slice(rate_hz, 2 * rate_hz)
    assert np.array_equal(np.delete(whole, inside, axis=0), np.delete(found, inside, axis=0))
    index = np.arange(rate_hz, 2 * rate_hz)
    assert np.array_equal(found[inside, 0], found[inside, 1])
    fade = 5 * rate_hz // 1000
    tone = 0.1 * 32_767 * np.sin(2 * np.pi * 1_000 / rate_hz * index)
    assert abs(found[inside, 0] - tone)[fade:-fade].max() <= 1


def test_the_root_says_what_was_silenced(sandbox: Sandbox, traces: Traces) -> None:
    """In LangSmith's run and on the span; of overlapping time each millisecond counts once."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        told = Told(call)
        told.both(2_000)
        call.redact_audio(500, 900, side="user")
        call.redact_audio(500, 900, side="user")
        call.redact_audio(800, 1_000.5)
        call.redact_audio(1_900, 5_000, how="beep")
    assert otel_realtime.flush(20)
    expected = [
        {"start_ms": 500, "end_ms": 900, "side": "user", "why": "call"},
        {"start_ms": 800, "end_ms": 1_001, "side": "both", "why": "call"},
        {"start_ms": 1_900, "end_ms": 2_000, "side": "both", "why": "call"},
    ]
    conversation = sandbox.conversation(run_of(traces.root))
    assert conversation is not None
    metadata = conversation["root"]["metadata"]
    span = facts(traces.root)
    assert (3, 600) == (metadata["redactions"], metadata["redacted_ms"])
    assert (3, 600) == (span["otel_realtime.redactions"], span["otel_realtime.redacted_ms"])
    assert expected == json.loads(metadata["redacted"])
    assert expected == json.loads(str(span["otel_realtime.redacted"]))


def test_a_pause_and_a_stretch(sandbox: Sandbox) -> None:
    """They overlap; either is silent, and what is outside of both is heard."""

    def act(told: Told) -> None:
        told.agent(0, 4_000)
        told.user(0, 1_000)
        with told.call.pause_recording():
            told.user(1_000, 2_000)
        told.user(2_000, 4_000)

    whole, rate_hz, _ = recorded(sandbox, both)
    found, _, metadata = recorded(sandbox, act, asked(((1_500, 2_500), {})))
    assert np.array_equal(silenced(whole, rate_hz, [(1_000, 2_500, BOTH)]), found)
    assert 1_000 == metadata["redacted_ms"]


def test_an_answer_that_is_cut_later_stays_silent_where_it_was_asked(sandbox: Sandbox) -> None:
    """The stretch holds its place in time, whatever becomes of the sound there."""

    def act(told: Told) -> None:
        told.agent(0, 4_000)
        told.call.redact_audio(500, 1_500)
        cut = {"item_id": "a", "content_index": 0, "audio_end_ms": 1_200}
        told.call.sent({"type": "conversation.item.truncate", **cut})
        told.agent(1_300, 1_000, "b", "r2")
        told.got(4_000, "rate_limits.updated")

    found, rate_hz, _ = recorded(sandbox, act)
    agent = found[:, 1]
    assert not agent[rate_hz // 2 : rate_hz * 3 // 2].any()
    assert agent[: rate_hz // 2].all()
    assert agent[rate_hz * 3 // 2 : rate_hz * 23 // 10].all()


@pytest.mark.parametrize("encoding", ["flac", "opus"])
def test_smaller_attachments_are_silent_too(
    encoding: Any, sandbox: Sandbox, traces: Traces
) -> None:
    """They are made of the same samples; a lossy one leaves no word behind."""
    soundfile = pytest.importorskip("soundfile")
    settings = Settings(audio_format=encoding)
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        Told(call).both(3_000)
        call.redact_audio(1_000, 2_000)
    assert otel_realtime.flush(20)
    found, rate_hz = soundfile.read(sandbox.recording(run_of(traces.root)), dtype="int16")
    assert (3.0, 2) == (len(found) / rate_hz, found.shape[1])
    margin = rate_hz // 10 if encoding == "opus" else 0  # the codec lets the sound before ring out
    inside = found[rate_hz + margin : 2 * rate_hz - margin]
    assert abs(inside.astype(int)).max() <= (80 if encoding == "opus" else 0)
    assert abs(found[: rate_hz // 2].astype(int)).max() > 4_000


def test_a_kept_copy_is_silent_too(tmp_path: Path, traces: Traces) -> None:
    """And what ``on_recording`` is given."""
    given: list[np.ndarray] = []
    settings = Settings(
        recordings_dir=str(tmp_path / "kept"),
        on_recording=lambda path, info: given.append(read(path)[0]),
        langsmith="off",
    )
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        Told(call).both(2_000)
        call.redact_audio(250, 750)
    assert otel_realtime.flush(20)
    (path,) = (tmp_path / "kept").glob("*.wav")
    kept, rate_hz = read(path)
    assert not kept[rate_hz // 4 : rate_hz * 3 // 4].any()
    assert kept[: rate_hz // 4].all()
    assert np.array_equal(kept, given[0])


def test_what_waits_for_its_delivery_is_silent_in_its_sources(
    process: pytest.MonkeyPatch, tmp_path: Path, traces: Traces
) -> None:
    """The folder stays because the hook raised: nothing of the stretch lies there any more."""

    def refuse(path: Path, info: Any) -> None:
        raise RuntimeError("no")

    settings = Settings(on_recording=refuse, langsmith="off")
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        told = Told(call, agent=MULAW)
        told.both(2_000)
        call.record_user_audio(told.sound("user", 20))
        call.redact_audio(500, 1_500)
    assert not otel_realtime.flush(20)
    (folder,) = settings.state_dir.glob("conversations/*")
    sources = {path.name: path.read_bytes() for path in folder.glob("*.raw")}
    assert (2_000 * 48, 2_000 * 8) == (len(sources["user.raw"]), len(sources["agent.raw"]))
    user = np.frombuffer(sources["user.raw"], "<i2")
    agent = np.frombuffer(sources["agent.raw"], np.uint8)
    assert [(0, 500 * 24), (1_500 * 24, 2_000 * 24)] == stretches(user)
    assert [(0, 500 * 8), (1_500 * 8, 2_000 * 8)] == stretches(agent != 0xFF)


PROGRAM = """
import time
from opentelemetry.sdk.trace import TracerProvider
import otel_realtime
from tests.support.redacted import Told

provider = TracerProvider(shutdown_on_exit=False)
with otel_realtime.conversation(thread_id="killed", tracer_provider=provider) as call:
    print(call.langsmith_run_id, flush=True)
    told = Told(call)
    told.agent(0, 4_000)
    call.redact_audio(1_000, 1_500)
    call.redact_audio(2_000, 9_000, side="agent", how="beep")
    told.user(0, 3_000)
    time.sleep(0.5)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_kill_forgets_nothing(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in mid-call: the recovered recording is silent there, and the root says so."""
    state = tmp_path / "killed"
    variables = environment(state, sandbox.url)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        run, ready = (child.stdout.readline().strip() for _ in range(2))
        child.send_signal(signal.SIGKILL)
    assert "ready" == ready
    assert 0 == cli.main(["recover", "--state-dir", str(state), "--timeout", "30"])
    conversation = sandbox.conversation(run)
    assert conversation is not None
    found, rate_hz = read(sandbox.recording(run))
    assert 3 * rate_hz == len(found)
    user, agent = found[:, 0], found[:, 1]
    silent = slice(rate_hz, rate_hz * 3 // 2)
    assert not user[silent].any()
    assert not agent[silent].any()
    assert np.delete(user, silent).all()
    assert agent[:rate_hz].all()
    assert 3_276 == abs(agent[2 * rate_hz :]).max()
    metadata = conversation["root"]["metadata"]
    assert (2, 1_500) == (metadata["redactions"], metadata["redacted_ms"])


def test_the_command_silences_what_a_recovery_delivers(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed, then silenced by hand, then recovered: the attachment is silent, the root says why."""
    state = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment(state, sandbox.url),
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        run, _ = (child.stdout.readline().strip() for _ in range(2))
        where = ["--state-dir", str(state)]
        redact = ["redact", "killed", "--from", "0.25", "--to", "0.5", *where]
        assert 1 == cli.main(redact)
        assert "a process that lives" in capsys.readouterr().err
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert 0 == cli.main(redact)
    assert 0 == cli.main(["recover", *where, "--timeout", "30"])
    found, rate_hz = read(sandbox.recording(run))
    assert not found[rate_hz // 4 : rate_hz // 2].any()
    assert found[: rate_hz // 4].all()
    assert found[rate_hz // 2 : rate_hz].all()
    conversation = sandbox.conversation(run)
    assert conversation is not None
    first, *others = json.loads(conversation["root"]["metadata"]["redacted"])
    assert {"start_ms": 250, "end_ms": 500, "side": "both", "why": "command"} == first
    assert ["call", "call"] == [stretch["why"] for stretch in others]


def test_threads_may_call_it_at_once(sandbox: Sandbox) -> None:
    """A thousand stretches from eight threads: all of them count."""

    def redact(call: otel_realtime.Conversation) -> None:
        def some(first: int) -> None:
            for number in range(first, 1_000, 8):
                call.redact_audio(2 * number, 2 * number + 1)

        threads = [threading.Thread(target=some, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    whole, rate_hz, _ = recorded(sandbox, both)
    found, _, metadata = recorded(sandbox, both, redact)
    silent = [(2 * number, 2 * number + 1, BOTH) for number in range(1_000)]
    assert np.array_equal(silenced(whole, rate_hz, silent), found)
    assert (1_000, 1_000) == (metadata["redactions"], metadata["redacted_ms"])
    listed = json.loads(metadata["redacted"])
    assert (100, 0, 199) == (len(listed), listed[0]["start_ms"], listed[-1]["end_ms"])


@pytest.mark.parametrize(
    "arguments", [("a", 2), (None, None), (float("nan"), 5), (500, 100), ({}, []), (True, False)]
)
def test_nonsense_silences_nothing_and_raises_nothing(
    arguments: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says so."""
    with caplog.at_level(logging.WARNING):
        found, _, metadata = recorded(sandbox, both, lambda call: call.redact_audio(*arguments))
    (said,) = (message for message in caplog.messages if message.startswith("redact_audio()"))
    assert said.endswith("nothing is silenced")
    assert found[4_800:].all()
    assert "redactions" not in metadata


def test_after_the_end_it_is_too_late(
    sandbox: Sandbox, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """The recording is on its way; the log names what helps."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        Told(call).both(1_000)
    with caplog.at_level(logging.WARNING):
        call.redact_audio(0, 500)
    assert "otel-realtime redact" in caplog.text
    assert otel_realtime.flush(20)
    assert read(sandbox.recording(run_of(traces.root)))[0].any(axis=1).all()


@pytest.mark.parametrize("records", [True, False])
def test_without_a_recording_nothing_happens(
    records: bool, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nowhere to put one, or nobody wants one; or there is no conversation at all."""
    settings = Settings(record_audio=records, langsmith="off")
    with caplog.at_level(logging.WARNING), nullcontext(NullConversation()) as null:
        null.redact_audio(0, 500, side="user", how="beep")
        with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
            Told(call).both(200)
            call.redact_audio(0, 100)
        call.redact_audio(0, 100)
    assert [] == caplog.messages
