"""The sideband of a WebRTC or SIP call: no audio comes, the server states what was heard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.core.protocol.latency import response_audio
from otel_realtime.core.protocol.outcome import tally
from otel_realtime.recovery.replay import replay
from otel_realtime.settings import Settings
from tests.support.isolation import isolated
from tests.support.traces import Traces, facts

CASE = Path(__file__).parents[1] / "cases" / "sideband_bargein.jsonl"
RECORDED = Path(__file__).parents[2] / "../shared/data/events"
BEGAN_NS = 1_780_000_000_000_000_000
WORDS = "Welcome, I will now read you all our twelve opening hours, one by one."

#: Times of a stream in ms, and its events; all of them received unless the client sent them.
Rows = list[tuple[int, dict[str, Any], bool]]


class Sideband:
    """Conversations that are reported with their times, and what came of the last one.

    Args:
        folder: For their recordings.
        live: After each event all is decided that can be, as in a call that takes its time.
    """

    def __init__(self, folder: Path, *, live: bool) -> None:
        self.traces = Traces()
        self._live = live
        self._folder = folder

    def feed(self, rows: Rows, before_close: Callable[[Path], object] | None = None) -> None:
        """Report a stream; ``before_close`` gets the folder of its journal."""
        settings = Settings(recordings_dir=self._folder / "kept")
        with otel_realtime.conversation(
            tracer_provider=self.traces.provider, settings=settings
        ) as call:
            for t, event, sent in rows:
                (call.sent if sent else call.received)(event, at_ns=BEGAN_NS + t * 1_000_000)
                recorder = call._engine.recorder
                assert recorder is not None
                if self._live:
                    assert recorder.settle(5)
                    call._engine.tick(call._engine.clock.t())
            if before_close is not None:
                assert recorder.settle(5)
                assert recorder.folder is not None
                before_close(recorder.folder)

    @property
    def answers(self) -> list[dict[str, Any]]:
        """What was heard of each response."""
        keys = ("heard_ms", "heard_source", "interrupted", "time_to_first_audio_ms")
        return [
            {key: facts(span).get(f"otel_realtime.{key}") for key in keys}
            for span in self.traces.spans
            if span.name.startswith("chat")
        ]

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The transcript."""
        found: list[dict[str, Any]] = json.loads(str(self.root["gen_ai.completion"]))["messages"]
        return found

    @property
    def root(self) -> dict[str, Any]:
        """Attributes of the root."""
        return dict(facts(self.traces.root))


@pytest.fixture(params=[False, True], ids=["at once", "live"])
def sideband(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sideband]:
    """A process that observes calls."""
    with isolated(tmp_path):
        yield Sideband(tmp_path, live=request.param)


def case_rows() -> Rows:
    """The greeting of 2,000 ms that a caller cuts short."""
    rows = map(json.loads, CASE.read_text("utf-8").splitlines())
    return [(row["t_ms"], row["event"], row["dir"] == "sent") for row in rows]


def without(rows: Rows, *kinds: str) -> Rows:
    """The stream without the events of these types."""
    return [row for row in rows if row[1]["type"] not in kinds]


def recorded_rows(name: str, step_ms: int = 100) -> Rows:
    """A recorded stream, which has no times of its own, in even steps."""
    path = RECORDED / name
    if not path.is_file():
        pytest.skip("the recorded streams are not here")
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return [(at * step_ms, row["event"], row["dir"] == "sent") for at, row in enumerate(rows)]


def heard(ms: int | None, *, interrupted: bool | None, first_ms: int | None) -> dict[str, Any]:
    """What a chat span says, by the server's word."""
    return {
        "heard_ms": ms,
        "heard_source": None if ms is None else "server",
        "interrupted": interrupted,
        "time_to_first_audio_ms": first_ms,
    }


def test_a_barge_in_is_what_the_server_states(sideband: Sideband) -> None:
    """Cleared, and truncated at 2,000 ms: heard so much, interrupted once, the rest not heard."""
    sideband.feed(case_rows())
    assert [
        heard(2_000, interrupted=True, first_ms=300),
        heard(900, interrupted=False, first_ms=300),
    ] == sideband.answers
    assert 1 == sideband.root["otel_realtime.interruptions"]
    assert "otel_realtime.generated_ms" not in facts(sideband.traces.named("chat gpt-realtime")[0])
    assert [
        ("assistant", 400, 2_400, True, "Welcome, I will now read you"),
        ("user", 2_400, 3_400, False, "Stop please."),
        ("assistant", 4_300, 5_200, False, "All right."),
    ] == [
        tuple(turn[key] for key in ("role", "start_ms", "end_ms", "interrupted", "heard_text"))
        for turn in sideband.turns
    ]


def test_voice_to_voice_is_known_without_audio(sideband: Sideband) -> None:
    """From the end of speech by the VAD, on the events' clock, to ``output_audio_buffer.started``."""
    sideband.feed(case_rows())
    latencies = [
        facts(span).get("otel_realtime.voice_to_voice_ms")
        for span in sideband.traces.named("chat gpt-realtime")
    ]
    assert [None, 1_400] == latencies  # speech ended at 2,600 ms of the session: 2,900 ms


@pytest.mark.parametrize(
    ("left_out", "ms"),
    [
        (("conversation.item.truncated",), 2_001),
        (("output_audio_buffer.cleared",), 2_000),
        (("response.output_item.added", "response.output_audio.done"), 2_000),
        (("response.output_audio_transcript.done", "response.output_audio.done"), 2_000),
        (("output_audio_buffer.cleared", "output_audio_buffer.started"), 2_000),
    ],
)
def test_one_statement_is_enough(sideband: Sideband, left_out: tuple[str, ...], ms: int) -> None:
    """Whichever of its events a server leaves out."""
    sideband.feed(without(case_rows(), *left_out))
    first = sideband.answers[0]
    assert (ms, "server", True) == (first["heard_ms"], first["heard_source"], first["interrupted"])
    assert 1 == sideband.root["otel_realtime.interruptions"]
    assert WORDS != sideband.turns[0]["heard_text"]


def test_the_close_ends_hearing(sideband: Sideband) -> None:
    """The caller hangs up in the middle of the greeting."""
    rows = case_rows()
    sideband.feed([row for row in rows if row[0] <= 2_400])
    assert [heard(2_000, interrupted=True, first_ms=300)] == sideband.answers
    assert (400, 2_400) == tuple(sideband.turns[0][key] for key in ("start_ms", "end_ms"))


def test_what_was_truncated_at_zero_was_not_heard(sideband: Sideband) -> None:
    """Cut before anything of it was audible: none of its words were heard."""
    rows = [
        (t, {**event, "audio_end_ms": 0} if event["type"].endswith(".truncated") else event, sent)
        for t, event, sent in without(case_rows(), "output_audio_buffer.started")
    ]
    sideband.feed(rows)
    first, turn = sideband.answers[0], sideband.turns[0]
    assert heard(0, interrupted=True, first_ms=None) == first
    assert (True, "") == (turn["interrupted"], turn["heard_text"])


def test_a_recovery_says_the_same(sideband: Sideband, tmp_path: Path) -> None:
    """The journal of a process that died after the last event."""
    copy = tmp_path / "copy"
    sideband.feed(case_rows(), before_close=lambda folder: shutil.copytree(folder, copy))
    found = replay(copy)
    sounds = [
        response_audio(response, found.state, found.sound)
        for response in found.state.responses.values()
    ]
    assert sideband.answers == [
        heard(sound.heard_ms, interrupted=sound.interrupted, first_ms=sound.first_audio_ms)
        for sound in sounds
    ]
    assert 1 == len(tally(found.state, found.sound).interruptions)


def test_a_recorded_answer_is_heard_whole(sideband: Sideband) -> None:
    """The second connection to a WebRTC call, as recorded: the buffer started and stopped."""
    sideband.feed(recorded_rows("openai_ws_sideband__webrtc_sideband_audio_turn.jsonl"))
    assert [heard(800, interrupted=False, first_ms=700)] == sideband.answers
    assert "Hello there." == sideband.turns[-1]["heard_text"]


def test_a_recorded_text_answer_says_nothing_of_sound(sideband: Sideband) -> None:
    """The same connection with a text answer."""
    sideband.feed(recorded_rows("openai_ws_sideband__webrtc_sideband_text_turn.jsonl"))
    assert [heard(None, interrupted=None, first_ms=None)] == sideband.answers


def test_a_recorded_beta_call(sideband: Sideband) -> None:
    """Three answers, the last of which the end of the stream cuts off, and one that never began."""
    sideband.feed(recorded_rows("webrtc_beta_bargein.recv.jsonl"))
    assert [
        heard(900, interrupted=False, first_ms=1_200),
        heard(1_300, interrupted=False, first_ms=1_000),
        heard(None, interrupted=None, first_ms=None),
        heard(2_600, interrupted=True, first_ms=1_000),
    ] == sideband.answers
    assert 1 == sideband.root["otel_realtime.interruptions"]
    assert [
        ("assistant", 1_400, 2_300),
        ("user", 2_400, 2_500),
        ("assistant", 3_800, 5_100),
        ("user", 4_812, 5_900),  # the VAD's times are closer together than these steps
        ("assistant", 7_200, 9_800),
    ] == [tuple(turn[key] for key in ("role", "start_ms", "end_ms")) for turn in sideband.turns]
