"""Any events in any order, on the real SDK: spans balance, the tree holds, nothing raises."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime.core.audio.evidence import _HANDLERS as AUDIO_HANDLERS
from otel_realtime.process.process import PROCESS
from otel_realtime.tracing.members import TABLE
from tests.support.planted import Script
from tests.support.streams import all_streams, stream
from tests.support.waiting import wait_for

Step = tuple[str, Any]


class Book(SpanProcessor):
    """Counts what starts and what ends."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.ended: list[ReadableSpan] = []
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span has started."""
        with self._lock:
            self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        with self._lock:
            self.ended.append(span)

    def check(self) -> None:
        """Each span ended once, within its root, under a parent that is there; all of it encodes."""
        ended = Counter(span.context.span_id for span in self.ended if span.context)
        assert set(ended.values()) <= {1}
        given_up = [s for s in self.started if s.get_span_context().span_id not in ended]
        # Only the span of a call that waited, given up for the exact one of call.tool().
        assert all(span.name.startswith("execute_tool") for span in given_up)
        by_id = {span.context.span_id: span for span in self.ended if span.context}
        root = self.ended[-1]
        assert "realtime_session" == root.name
        for span in self.ended[:-1]:
            parent = by_id[span.parent.span_id] if span.parent else None
            assert parent is not None
            assert (parent.start_time or 0) <= (span.start_time or 0)
            assert (span.start_time or 0) <= (span.end_time or 0) <= (root.end_time or 0)
        assert encode_spans(self.ended).SerializeToString()


def _parts() -> tuple[list[Any], list[Any]]:
    """Events as a server sends them, and as a client does."""
    received = [*Script("x").opening(), *Script("x").turn()]
    sent = [
        {"type": "session.update", "session": {"audio": {"input": {"format": "audio/pcmu"}}}},
        {"type": "input_audio_buffer.append", "audio": "AAAA"},
        {"type": "response.create", "response": {"conversation": "none", "input": [{}]}},
        {"type": "response.cancel"},
        {
            "type": "conversation.item.truncate",
            "item_id": "item_a",
            "content_index": 0,
            "audio_end_ms": 100,
        },
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        },
    ]
    return received, sent


RECEIVED, SENT = _parts()
TYPES = sorted({kind for _, kind in AUDIO_HANDLERS} | {event["type"] for event in RECEIVED + SENT})
IDS = st.sampled_from(["item_a", "item_v", "item_f", "resp_1", "resp_2", "call_1", "", "\ud800"])
KEYS = st.sampled_from(
    ["id", "item_id", "response_id", "call_id", "item", "response", "session", "content",
     "output", "usage", "transcript", "audio_end_ms", "content_index", "previous_item_id",
     "status", "error", "delta", "type", "arguments", "role"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | IDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
EVENTS = (
    st.sampled_from(RECEIVED + SENT)
    | st.builds(
        lambda kind, rest: {**rest, "type": kind},
        st.sampled_from(TYPES),
        st.dictionaries(KEYS, JSON, max_size=5),
    )
    | st.builds(
        lambda event, key, value: {**event, key: value}, st.sampled_from(RECEIVED), KEYS, JSON
    )
)
FRAMES = EVENTS | st.text(max_size=20) | st.binary(max_size=20)
TIMES = st.none() | st.integers(-(2**70), 2**70) | st.integers(10**18, 10**18 + 10**11)
STEPS = st.one_of(
    st.tuples(st.just("received"), st.tuples(FRAMES, TIMES)),
    st.tuples(st.just("received"), st.tuples(FRAMES, st.none())),
    st.tuples(st.just("sent"), st.tuples(FRAMES, TIMES)),
    st.tuples(st.just("tool"), st.sampled_from([None, "call_1", "call_2"])),
    st.tuples(st.just("leave"), st.none()),
    st.tuples(st.just("pause"), st.none()),
    st.tuples(st.just("tick"), st.none()),
    st.tuples(st.just("meta"), st.dictionaries(st.text(max_size=4), JSON, max_size=2)),
)


def play(steps: list[Step]) -> None:
    """Tell a conversation all of it, then look at what came of it."""
    diagnostics.RAISE = True
    book = Book()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(book)
    blocks: list[Any] = []
    with otel_realtime.conversation(tracer_provider=provider) as call:
        for what, given_ in steps:
            if what in ("received", "sent"):
                message, at_ns = given_
                getattr(call, what)(message, at_ns=at_ns)
            elif what == "tick":
                call._engine.tick(10**12)
            elif what == "meta":
                call.set_metadata(**given_)
            elif what == "leave":
                if blocks:
                    blocks.pop().__exit__(None, None, None)
            else:
                block = call.tool(given_) if what == "tool" else call.pause_recording()
                block.__enter__()
                blocks.append(block)
        call.close()
        while blocks:
            blocks.pop().__exit__(None, None, None)
    book.check()
    assert not PROCESS.live


BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LONG = settings(BOUNDED, max_examples=5_000, derandomize=False)


@BOUNDED
@given(st.lists(STEPS, max_size=30))
def test_any_steps(steps: list[Step]) -> None:
    """Whatever comes, in whatever order: every span ends once and stands where it belongs."""
    play(steps)


@pytest.mark.soak
@LONG
@given(st.lists(STEPS, max_size=120))
def test_any_steps_for_long(steps: list[Step]) -> None:
    """The same, longer."""
    play(steps)


STREAMS = [
    [("sent" if is_sent else "received", json.dumps(event)) for is_sent, event in stream(name)]
    for name in all_streams()
]


@st.composite
def mutated(draw: st.DrawFn) -> list[Step]:
    """A stretch of a recorded stream with frames dropped, doubled, swapped and damaged."""
    stream = draw(st.sampled_from(STREAMS))
    start = draw(st.integers(0, max(len(stream) - 1, 0)))
    frames = list(stream[: draw(st.integers(1, 12))] + stream[start : start + 40])
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(frames) - 1))
        how = draw(st.sampled_from(["drop", "double", "swap", "cut", "byte", "key"]))
        way, frame = frames[at]
        if how == "drop" and len(frames) > 1:
            del frames[at]
        elif how == "double":
            frames.insert(draw(st.integers(0, len(frames))), (way, frame))
        elif how == "swap":
            other = draw(st.integers(0, len(frames) - 1))
            frames[at], frames[other] = frames[other], frames[at]
        elif how == "cut":
            frames[at] = (way, frame[: draw(st.integers(0, len(frame)))])
        elif how == "byte" and frame:
            place = draw(st.integers(0, len(frame) - 1))
            frames[at] = (way, frame[:place] + draw(st.characters()) + frame[place + 1 :])
        elif how == "key":
            frames[at] = (way, frame.replace(f'"{draw(KEYS)}"', f'"{draw(KEYS)}"', 1))
    return [(way, (frame, None)) for way, frame in frames]


@pytest.mark.skipif(not STREAMS, reason="the recorded streams are not here")
@BOUNDED
@given(st.data())
def test_mutated_recordings(data: st.DataObject) -> None:
    """Recorded calls, damaged: the same holds."""
    play(data.draw(mutated()))


@pytest.mark.soak
@pytest.mark.skipif(not STREAMS, reason="the recorded streams are not here")
@LONG
@given(st.data())
def test_mutated_recordings_for_long(data: st.DataObject) -> None:
    """The same, longer."""
    play(data.draw(mutated()))


def test_nothing_is_remembered() -> None:
    """A conversation that is over leaves no stamp; spans of other tests may still be open."""
    before = set(TABLE._members)
    play([("received", (event, None)) for event in RECEIVED])
    assert otel_realtime.flush(10)
    wait_for(lambda: not set(TABLE._members) - before, "empty table", timeout_s=5)
