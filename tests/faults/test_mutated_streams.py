"""Whole calls, damaged, with the app's own calls in between: traced, recorded and recovered all the same.

Each seed damages one recorded or made call and reports it. ``make soak`` takes many more seeds.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import wave
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.rebuild import rebuild
from otel_realtime.recovery.replay import replay
from tests.faults.test_any_events import Book
from tests.support.mutations import ODD, Mutator

#: What a recovery must tell as the live call does. Of a tool that nobody has answered only its end
#: differs, so its result is there in both or in neither.
TEXTS = (
    "gen_ai.prompt", "gen_ai.completion", "gen_ai.input.messages", "gen_ai.output.messages",
    "gen_ai.tool.call.arguments", "gen_ai.tool.call.result",
)  # fmt: skip
#: With given times a recording may outlast its call, by the audio behind the last time; no call here
#: has more, and what a wrong time would add is hours.
SLACK_S = 60.0


class Player:
    """Reports a damaged call, and does between its events what an app may do."""

    def __init__(self, chance: random.Random, mutator: Mutator) -> None:
        self._chance, self._mutator = chance, mutator
        self._blocks: list[Any] = []
        self._at_ns: Any = None

    def play(self, call: otel_realtime.Conversation) -> None:
        """Report all of it; every block of the app's is over at the end."""
        for row in self._mutator.told:
            self._at_ns = row["at_ns"]
            report = call.sent if row["sent"] else call.received
            report(row["event"], at_ns=self._at_ns)
            if self._chance.random() < 0.15:
                self._act(call)
        while self._blocks:
            self._leave(call)

    def _leave(self, call: otel_realtime.Conversation) -> None:
        if self._blocks:
            error = ValueError("the tool failed") if self._chance.random() < 0.2 else None
            with contextlib.suppress(ValueError):
                self._blocks.pop().__exit__(type(error) if error else None, error, None)

    def _act(self, call: otel_realtime.Conversation) -> None:
        ways: list[Callable[[otel_realtime.Conversation], None]] = [
            self._tool, self._leave, self._leave, self._pause, self._agent, self._user,
            self._played, self._redact, self._describe,
        ]  # fmt: skip
        self._chance.choice(ways)(call)

    def _odd(self, *usual: Any) -> Any:
        return self._chance.choice([*usual, *usual, *usual, self._chance.choice(ODD)])

    def _enter(self, block: Any) -> None:
        block.__enter__()
        self._blocks.append(block)

    def _tool(self, call: otel_realtime.Conversation) -> None:
        call_id = self._chance.choice([None, *self._mutator.ids])
        self._enter(call.tool(call_id, name=self._odd("look"), arguments=self._odd("{}", None)))

    def _pause(self, call: otel_realtime.Conversation) -> None:
        self._enter(call.pause_recording())

    def _pcm(self) -> Any:
        samples = np.full(self._chance.randrange(1, 2_000), 900, "<i2")
        return self._odd(samples.tobytes(), samples, list(samples / 32_768))

    def _agent(self, call: otel_realtime.Conversation) -> None:
        item = self._odd(None, *self._mutator.ids[:4])
        call.record_agent_audio(
            self._pcm(), item_id=item, rate=self._odd(None, 8_000), at_ns=self._at_ns
        )

    def _user(self, call: otel_realtime.Conversation) -> None:
        call.record_user_audio(self._pcm(), rate=self._odd(None, 48_000), at_ns=self._at_ns)

    def _played(self, call: otel_realtime.Conversation) -> None:
        item = self._odd(*self._mutator.ids[:4])
        call.played(item, self._odd(0), self._odd(120, 40.5), at_ns=self._at_ns)

    def _redact(self, call: otel_realtime.Conversation) -> None:
        how = self._odd("silence", "beep")
        call.redact_audio(self._odd(0, 40), self._odd(90, 1e7), side=self._odd(None), how=how)

    def _describe(self, call: otel_realtime.Conversation) -> None:
        call.set_metadata(seat=self._odd(4))
        call.add_tags(self._odd("gold"))


def snapshot(call: otel_realtime.Conversation, folder: Path) -> Path:
    """The folder of a call as a process that died now would leave it.

    Text that has just come is stored first: a kill may lose the last quarter of a second of it.
    """
    frames = call._engine.frames
    with frames.lock:
        frames.keep_texts(call._engine.clock.moment())
    recorder = frames.recorder
    assert recorder is not None
    assert recorder.folder is not None
    assert recorder.settle(30)
    shutil.copytree(recorder.folder, folder)
    return folder


def texts(spans: list[ReadableSpan]) -> Counter[str]:
    """Name and texts of each chat and tool span, the same span once."""
    found: dict[int, str] = {}
    for span in spans:
        if span.name.startswith(("chat ", "execute_tool")) and span.context is not None:
            said = {name: (span.attributes or {}).get(name) for name in TEXTS}
            found[span.context.span_id] = f"{span.name} {said}"
    return Counter(found.values())


def a_call(seed: int, folder: Path, *, recorded: bool = False) -> None:
    """Report the call of a seed, and look at its spans, its recording and its recovery."""
    chance = random.Random(seed)
    mutator = Mutator(chance, recorded=recorded)
    mutator.damage(chance.choice([1, 3, 10, 30]))
    book, provider = Book(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(book)
    kept, left = folder / f"kept{seed}", folder / f"left{seed}"
    settings = otel_realtime.Settings(recordings_dir=str(kept), langsmith="off")
    with otel_realtime.conversation(tracer_provider=provider, settings=settings) as call:
        Player(chance, mutator).play(call)
        snapshot(call, left)
        before = list(book.ended)
    book.check()
    assert 1 == [span.name for span in book.started].count("realtime_session")
    assert not PROCESS.live
    root = book.ended[-1]
    assert PROCESS.finisher.flush(60)
    for path in kept.rglob("*.wav"):
        with wave.open(str(path), "rb") as file:
            length_s = file.getnframes() / file.getframerate()
        assert length_s <= ((root.end_time or 0) - (root.start_time or 0)) / 1e9 + SLACK_S
    for span in book.ended:
        for name, value in (span.attributes or {}).items():
            if name in TEXTS and isinstance(value, str) and name.startswith("gen_ai.prompt"):
                json.loads(value, parse_constant=pytest.fail)
    rebuilt = rebuild(replay(left), marked=False)
    recovered = [span for span, _ in [*rebuilt.again, *rebuilt.below]]
    assert texts(book.ended) == texts([*recovered, *before])
    assert {} == diagnostics.faults()
    shutil.rmtree(kept, ignore_errors=True)
    shutil.rmtree(left, ignore_errors=True)


def calls_of(seeds: range, folder: Path, *, recorded: bool = False) -> None:
    """Report the calls of these seeds; a failure names its seed."""
    for seed in seeds:
        try:
            a_call(seed, folder, recorded=recorded)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_damaged_calls(first: int, tmp_path: Path) -> None:
    """Nothing reaches the app, no fault is counted, spans and recording hold, a recovery agrees."""
    calls_of(range(first, first + 20), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_many_damaged_calls(tmp_path: Path) -> None:
    """The same for two thousand calls."""
    calls_of(range(1_000, 3_000), tmp_path, recorded=True)
