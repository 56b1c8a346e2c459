"""What an event costs does not depend on how many came before: operations are counted, not timed."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from otel_realtime.core.audio import timeline as timeline_module
from otel_realtime.core.audio.evidence import AUDIO_EVENTS, Evidence
from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.core.protocol.latency import response_audio
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import transcript
from tests.support.growth import BLOCK, MS, STORIES, Step, session

#: Responses are looked at so often, as the writer does.
LOOK_EVERY = 10


class Audio:
    """What the timeline says, for whoever asks about items."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def item(self, item_id: str) -> ItemAudio | None:
        """As the recorder."""
        return self._timeline.item(item_id)

    def statement_due(self, item_id: str) -> int:
        """As the recorder."""
        return self._timeline.statement_due(item_id)

    def user_time(self, audio_ms: int) -> int | None:
        """As the recorder."""
        return self._timeline.user_time(audio_ms)

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """As the recorder."""
        return self._timeline.user_item(item_id)

    def user_speech(self, item_id: str) -> tuple[int, int] | None:
        """As the recorder, but for the voice that is in it."""
        report = self._timeline.user_report(item_id)
        return self._timeline.user_item(item_id) if report is None else report.within

    def last_voice(self, before_t: int) -> int | None:
        """Nobody has spoken."""
        return None


def lived(steps: Iterator[Step]) -> None:
    """Everything that the core does in a call, from its first event to its facts."""
    state, timeline, evidence = ConversationState(), Timeline(), Evidence()
    audio, offsets, t = Audio(timeline), {"agent": 0, "tap": 0}, 0
    timeline.apply(["given", 0])
    for number, step in enumerate(steps):
        t += step.ms * MS
        event, moment = dict(step.event), Moment(t, t)
        if step.way == "played":
            timeline.apply(["played", t, event["item_id"], 0, event["ms"]])
        elif step.way == "tap":
            timeline.apply(["tap", t, "agent", offsets["tap"], len(BLOCK), event["item_id"], 0])
            offsets["tap"] += len(BLOCK)
        elif event["type"] == "response.output_audio.delta":
            size = len(base64.b64decode(event["delta"]))
            whose = [event["item_id"], 0, event["response_id"]]
            timeline.apply(["agent", t, offsets["agent"], size, *whose])
            offsets["agent"] += size
        else:
            sent = step.way == "sent"
            (state.send if sent else state.receive)(event, moment)
            if event["type"] in AUDIO_EVENTS:
                for record in evidence.records(t, sent, event):
                    timeline.apply(record)
        if number % LOOK_EVERY == 0 and timeline.refresh():
            for response in state.take_settled(t, audio, looks=4):
                response_audio(response, state, audio)
    timeline.apply(["close", t, True])
    for response in state.take_remaining():
        response_audio(response, state, audio)
    transcript(state.items, audio, frozenset())
    assert timeline.length_ns >= len(timeline.segments("agent"))


def operations(run: Callable[[], object]) -> int:
    """How many bytecode instructions a call takes, in whatever it calls."""
    count = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
        elif event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", STORIES)
def test_growth(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times as much of it takes four times as long, but for a logarithm."""
    monkeypatch.setattr(timeline_module, "CHEAP_REPLAY", 16)  # a long queue is one of 17 here

    def cost(n: int) -> float:
        steps = [session(), *STORIES[name](n)]
        return operations(lambda: lived(iter(steps))) / len(steps)

    assert cost(320) <= 1.35 * cost(80)
