"""What the app says about sound and time: its mistakes cost only what they are about."""

from __future__ import annotations

import logging
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import otel_realtime
from otel_realtime import Settings, diagnostics
from tests.support.isolation import isolated
from tests.support.talking import pcm, tone
from tests.support.traces import Traces, facts

MS = 1_000_000
BEGAN_NS = 1_780_000_000_000_000_000
HELLO = {"type": "session.created", "session": {"model": "m"}}
LIMITS = {"type": "rate_limits.updated", "rate_limits": []}
SOUND = pcm(tone(200, 440))
Act = Callable[[otel_realtime.Conversation], object]


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path) -> Iterator[None]:
    with isolated(tmp_path):
        diagnostics.REGISTER.clear()
        yield


def recorded(folder: Path, act: Act, traces: Traces) -> tuple[int, np.ndarray, np.ndarray]:
    """Rate and channels of a call that is told with its times."""
    settings = Settings(recordings_dir=folder / "kept")
    with otel_realtime.conversation(tracer_provider=traces.provider, settings=settings) as call:
        call.received(HELLO, at_ns=BEGAN_NS)
        act(call)
        call.received(LIMITS, at_ns=BEGAN_NS + 1_000 * MS)
    assert otel_realtime.flush(20)
    (path,) = (folder / "kept").glob("*.wav")
    with wave.open(str(path), "rb") as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return file.getframerate(), both[:, 0], both[:, 1]


RATES: list[Any] = [24_000, 24_000.0, np.float32(24_000), np.int64(24_000), "24000", None]


@pytest.mark.parametrize("rate", RATES, ids=repr)
@pytest.mark.parametrize("side", ["user", "agent"])
def test_a_rate_is_taken_in_whatever_type_it_comes(
    rate: Any, side: str, tmp_path: Path, traces: Traces
) -> None:
    """``sounddevice`` gives floats."""
    at_ns = BEGAN_NS + 500 * MS

    def act(call: otel_realtime.Conversation) -> None:
        getattr(call, f"record_{side}_audio")(SOUND, rate=rate, at_ns=at_ns)

    rate_hz, *channels = recorded(tmp_path, act, traces)
    channel = channels[side == "agent"]
    assert (24_000, SOUND.tolist()) == (rate_hz, channel[channel != 0].tolist())
    assert ({}, {}) == (diagnostics.faults(), diagnostics.lost())


BAD_RATES: list[Any] = [
    -1,
    0,
    5,
    10**9,
    float("nan"),
    float("inf"),
    True,
    "fast",
    b"x",
    [],
    object(),
]
BAD_AUDIO: list[Any] = [None, "text", np.zeros(4, np.uint8), np.zeros((2, 2, 2)), [None]]


@pytest.mark.parametrize(
    ("audio", "rate"),
    [*((SOUND, rate) for rate in BAD_RATES), *((audio, None) for audio in BAD_AUDIO)],
    ids=lambda value: repr(value)[:20],
)
def test_a_bad_chunk_costs_that_chunk(
    audio: Any, rate: Any, tmp_path: Path, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """On its side only; it is said once, as the app's mistake, and each is counted."""

    def act(call: otel_realtime.Conversation) -> None:
        for at_ms in (100, 300):
            call.record_user_audio(SOUND, at_ns=BEGAN_NS + (at_ms + 200) * MS)
            call.record_agent_audio(SOUND, at_ns=BEGAN_NS + (at_ms + 200) * MS)
            call.record_agent_audio(audio, rate=rate, at_ns=BEGAN_NS + (at_ms + 200) * MS)

    with caplog.at_level(logging.WARNING, "otel_realtime"):
        _, user, agent = recorded(tmp_path, act, traces)
    assert [*SOUND, *SOUND] == user[user != 0].tolist() == agent[agent != 0].tolist()
    assert ({}, {"audio": 2}) == (diagnostics.faults(), diagnostics.lost())
    (said,) = [line for line in caplog.messages if "record_agent_audio()" in line]
    assert "is not recorded" in said


@pytest.mark.parametrize(
    "arguments",
    [("i", 0, "x"), ("i", 0, None), (5, 0, 10), ("i", "a", 10), ("i", -1, 10), ("i", 0, -5),
     ("i", 0, float("nan")), ("i", 0, True), ("i", 0.5, 10), ("i", 0, 1e30)],
)  # fmt: skip
def test_a_position_that_is_none_is_left_out(
    arguments: tuple[Any, ...], traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """And said once."""
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        with otel_realtime.conversation(tracer_provider=traces.provider) as call:
            call.received(HELLO)
            for _ in range(2):
                call.played(*arguments)
    assert {} == diagnostics.faults()
    assert 1 == sum("played()" in line for line in caplog.messages)


def said(call: otel_realtime.Conversation) -> None:
    """Something is heard before."""
    call.record_user_audio(SOUND, at_ns=BEGAN_NS + 400 * MS)


#: Times that are none, or that nobody lived through.
JUMPS: list[Any] = [
    BEGAN_NS + 10**15, BEGAN_NS - 10**15, float("nan"), float("inf"), True, False, "2026-05-28",
    2**70, -(2**70), -1, 0, 5.0, [], object(),
]  # fmt: skip
DOORS: dict[str, Callable[[otel_realtime.Conversation, Any], object]] = {
    "received": lambda call, at_ns: call.received(LIMITS, at_ns=at_ns),
    "sent": lambda call, at_ns: call.sent({"type": "response.create"}, at_ns=at_ns),
    "record_user_audio": lambda call, at_ns: call.record_user_audio(SOUND, at_ns=at_ns),
    "record_agent_audio": lambda call, at_ns: call.record_agent_audio(SOUND, at_ns=at_ns),
    "played": lambda call, at_ns: call.played("item", 0, 5, at_ns=at_ns),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("at_ns", JUMPS, ids=lambda one: repr(one).split(" at 0x")[0])
def test_a_time_that_nobody_lived_through(
    door: str, at_ns: Any, tmp_path: Path, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """It makes no long recording and is no fault; the log says it once, and the root counts it."""
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        rate_hz, user, _ = recorded(
            tmp_path, lambda call: (said(call), DOORS[door](call, at_ns)), traces
        )
    assert 1.0 <= user.size / rate_hz <= 1.3
    assert {} == diagnostics.faults()
    root = facts(traces.root)
    assert root["otel_realtime.time_jumps"] >= 1
    assert 1 == sum("at_ns" in line for line in caplog.messages)
    assert BEGAN_NS == traces.root.start_time


@pytest.mark.parametrize("at_ns", [float("nan"), True, "now", 2**70, -1, 0, 1_780_000_000, []])
def test_a_first_time_that_is_none_begins_no_other_era(at_ns: Any, traces: Traces) -> None:
    """Seconds, or no time at all: the call is where the later ones say, or now."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO, at_ns=at_ns)
        call.received(LIMITS)
    assert traces.root.start_time is not None
    assert abs(time.time_ns() - traces.root.start_time) < 60_000 * MS
    assert 1 == facts(traces.root)["otel_realtime.time_jumps"]


@pytest.mark.parametrize(
    "given", [float(BEGAN_NS + 256), np.int64(BEGAN_NS + 256), np.float64(BEGAN_NS + 256)]
)
def test_a_time_is_taken_in_whatever_type_it_comes(given: Any, traces: Traces) -> None:
    """A span's is an integer."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO, at_ns=given)
    assert BEGAN_NS + 256 == traces.root.start_time
    assert "otel_realtime.time_jumps" not in facts(traces.root)


def test_a_live_call_keeps_its_clock(traces: Traces) -> None:
    """A tap's time says how long ago its sound was; the rest of the call goes on as it does."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received(HELLO)
        call.record_agent_audio(SOUND, at_ns=time.time_ns() - 20 * MS)
        time.sleep(0.1)
        call.received(LIMITS)
    (last,) = traces.named("rate_limits.updated")
    assert traces.root.start_time is not None
    assert (last.start_time or 0) - traces.root.start_time >= 90 * MS


class Unreadable:
    """A message whose own methods raise."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("function", ["received", "sent"])
def test_a_message_that_cannot_be_read_is_one_line(
    function: str, tmp_path: Path, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the app's mistake, not a defect of ours, and costs only itself."""

    def act(call: otel_realtime.Conversation) -> None:
        for message in (Unreadable(), {"type": "x", "value": Unreadable()}, Unreadable()):
            getattr(call, function)(message, at_ns=BEGAN_NS + 300 * MS)
        call.record_agent_audio(SOUND, rate=24_000, at_ns=BEGAN_NS + 500 * MS)

    with caplog.at_level(logging.WARNING, "otel_realtime"):
        _, _, right = recorded(tmp_path, act, traces)
    assert SOUND.tolist() == right[right != 0].tolist()
    assert {} == diagnostics.faults()
    assert [
        f"{function}(): a message of type Unreadable cannot be read; it is left out",
        f"{function}(): a message of type dict cannot be read; it is left out",
    ] == [record.getMessage() for record in caplog.records]
