"""Tapped sockets: undecided, until one carries a conversation or is released."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import StatusCode

from otel_realtime import diagnostics
from otel_realtime.conversation import sockets
from otel_realtime.conversation.options import Options, using
from otel_realtime.conversation.sockets import UNDECIDED_FRAMES, Sockets, SocketSink
from otel_realtime.process.process import Process
from otel_realtime.settings import Settings
from otel_realtime.tap import Close
from otel_realtime.tracing.members import TABLE
from tests.support.calls import append_frame, delta_frame, tone
from tests.support.own_process import own_process, shaken
from tests.support.provoked import provoked
from tests.support.traces import Traces, facts, outline

CREATED = json.dumps({"type": "session.created", "session": {"id": "sess_1"}})
FOREIGN = json.dumps({"type": "message", "text": "hello"})
LOST = Close(received_code=None, received_reason="", sent_code=None, by_client=False)


@pytest.fixture
def own(traces: Traces) -> Iterator[Process]:
    """A process of the test's own, which traces to ``traces``."""
    with own_process(traces) as process:
        yield process


def opened(own: Process, *, sdk: bool = False, ago_s: float = 0.0, **given: Any) -> SocketSink:
    """The sink of a socket that has just been opened."""
    sink = Sockets(own).opened(shaken(ago_s, **given), sdk=sdk)
    assert isinstance(sink, SocketSink)
    return sink


def said_s(sink: SocketSink) -> float:
    """Seconds of the user's voice that the conversation took in."""
    assert sink.engine is not None
    recorder = sink.engine.recorder
    assert recorder is not None
    assert recorder.settle(5)
    return recorder.summary().user_talk_s


def append(ms: int) -> str:
    """A client's frame with so much voice."""
    return append_frame(tone(ms).tobytes())


# -- which sockets are looked at -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/realtime", True),
        ("/v1/realtime/", True),
        ("/openai/v1/realtime", True),
        ("/voice-live/realtime", True),
        ("/api-ws/v1/realtime", True),
        ("/v1/realtime/translations", True),
        ("/v1/live/sessions", True),
        ("/v1/live/sessions/live_1/fork", True),
        ("/", False),
        ("/v1/realtime/v2", False),
        ("/v1/notrealtime", False),
        ("/V1/REALTIME", False),
    ],
)
def test_the_paths_that_are_looked_at_by_default(own: Process, path: str, expected: bool) -> None:
    """OpenAI's, Azure's, those of translations and Live sessions."""
    assert expected == Sockets(own).is_realtime(path)


@pytest.mark.parametrize("by", ["program", "environment"])
def test_a_gateway_may_have_a_path_of_its_own(
    own: Process, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """What the settings say replaces the default, also after the first handshake."""
    sockets = Sockets(own)
    assert not sockets.is_realtime("/gw/voice")
    if by == "program":
        own.settings = Settings(realtime_paths=("/gw/*",))
    else:
        monkeypatch.setenv("OTEL_REALTIME_REALTIME_PATHS", "/gw/*")
    found = [sockets.is_realtime(path) for path in ("/gw/voice", "/v1/realtime")]
    assert [True, False] == found


def test_no_path_at_all(own: Process) -> None:
    """No glob: no socket is looked at, unless it is attached."""
    own.settings = Settings(realtime_paths=())
    assert not Sockets(own).is_realtime("/v1/realtime")


# -- deciding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [CREATED, CREATED.encode()])
def test_a_frame_of_a_known_family_makes_it_a_conversation(
    own: Process, traces: Traces, frame: str | bytes
) -> None:
    """Nothing is opened before, and that frame is its first event."""
    sink = opened(own)
    assert (None, set()) == (sink.engine, own.live)
    sink.received(frame)
    assert {sink.engine} == own.live
    sink.closed(LOST)
    assert ["realtime_session", "  session.created"] == outline(traces.spans)
    assert set() == own.live


@pytest.mark.parametrize(
    ("frames", "sdk", "released"),
    [
        ([FOREIGN] * (UNDECIDED_FRAMES - 1), False, False),
        ([FOREIGN] * UNDECIDED_FRAMES, False, True),
        (["hello"], False, True),
        ([b"\x00\xff"], False, True),
        ([FOREIGN] * UNDECIDED_FRAMES * 2, True, False),
        (["hello"], True, False),
    ],
    ids=["a few", "eight", "no JSON", "bytes", "of an SDK", "no JSON of an SDK"],
)
def test_a_socket_that_speaks_something_else_is_released(
    own: Process, frames: list[str | bytes], sdk: bool, released: bool
) -> None:
    """After eight frames of no known family, or one that is not JSON; an SDK's never."""
    sink = opened(own, sdk=sdk)
    for frame in frames:
        sink.received(frame)
    assert (released, None) == (sink.released(), sink.engine)


@pytest.mark.parametrize("kind", ["info", "transport.ready", "decision"])
def test_a_word_of_live_sessions_counts_on_their_path(own: Process, kind: str) -> None:
    """Other protocols have it, too; a ``/realtime`` may be anybody's."""
    frame = json.dumps({"type": kind})
    foreign, live = opened(own), opened(own, path="/v1/live/sessions")
    foreign.received(frame)
    live.received(frame)
    assert foreign.engine is None
    assert live.engine is not None


def test_what_is_released_stays_so(own: Process, traces: Traces) -> None:
    """A frame that looks like ours afterwards opens nothing, and its end leaves no root."""
    sink = opened(own)
    sink.received("hello")
    sink.received(CREATED)
    sink.closed(LOST)
    assert (None, []) == (sink.engine, traces.spans)


@pytest.mark.parametrize(("sdk", "roots"), [(True, 1), (False, 0)])
def test_a_socket_that_never_spoke(own: Process, traces: Traces, sdk: bool, roots: int) -> None:
    """Leaves a root if it is an SDK's, else nothing."""
    sink = opened(own)
    if sdk:
        Sockets(own).is_sdk(sink)
    sink.closed(LOST)
    assert roots == len(traces.roots)


class _Failing(Sampler):
    """Raises, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
        self.asked += 1
        raise RuntimeError("sampler")

    def get_description(self) -> str:
        return "_Failing"


def test_what_cannot_be_opened_is_tried_once(own: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is released, and the app sees nothing of it."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    sampler = _Failing()
    own.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    sink = opened(own)
    for _ in range(3):
        sink.received(CREATED)
    assert (1, True, None) == (sampler.asked, sink.released(), sink.engine)
    provoked("opening: RuntimeError")


# -- what was sent before --------------------------------------------------------------------------


def test_what_was_sent_before_belongs_to_it(own: Process, traces: Traces) -> None:
    """In order, and at the times it was sent."""
    sink = opened(own, ago_s=5)
    sink.sent(append(1_000))
    judge = {"conversation": "none", "input": []}
    sink.sent(json.dumps({"type": "response.create", "response": judge}))
    assert sink.engine is None
    sink.received(CREATED)
    sink.sent(append(500))
    assert 1.5 == pytest.approx(said_s(sink), abs=0.05)
    assert sink.engine is not None
    recorder = sink.engine.recorder
    assert recorder is not None
    spoken = recorder.user_time(1_000)
    assert spoken is not None
    assert 5.0 == pytest.approx(spoken / 1e9, abs=0.5)


def test_an_announced_socket_gets_it_too(own: Process) -> None:
    """The conversation begins by the app's word instead of a frame."""
    sink = opened(own)
    sink.sent(append(300))
    engine = sink.begin(Options(thread_id="mine"))
    assert engine is sink.begin()
    assert "mine" == engine.trace.identity.thread_id
    assert 0.3 == pytest.approx(said_s(sink), abs=0.05)


def test_frames_are_held_up_to_a_size(own: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond it is not held; what still fits is."""
    monkeypatch.setattr(sockets, "HELD_BYTES", 2 * len(append(400)))
    sink = opened(own)
    for ms in (400, 500, 300):
        sink.sent(append(ms))
    sink.received(CREATED)
    assert 0.7 == pytest.approx(said_s(sink), abs=0.05)


def test_frames_are_held_for_a_while(own: Process) -> None:
    """Not those that are sent later than that after the handshake."""
    late, early = (opened(own, ago_s=sockets.HELD_S + offset) for offset in (1, -5))
    for sink in (late, early):
        sink.sent(append(400))
        sink.received(CREATED)
    assert [0.0, 0.4] == [pytest.approx(said_s(sink), abs=0.05) for sink in (late, early)]


class _Meanwhile(Sampler):
    """Has another thread send a frame while the conversation opens."""

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.sink: SocketSink | None = None

    def should_sample(self, *given: Any, **named: Any) -> SamplingResult:
        if self.thread is None and self.sink is not None:
            self.thread = threading.Thread(target=self.sink.sent, args=(append(400),))
            self.thread.start()
            self.thread.join(0.2)  # it waits for us, or has done what it can
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "_Meanwhile"


def test_what_another_thread_sends_meanwhile_is_not_lost(own: Process) -> None:
    """A frame that is sent while the conversation opens is part of it."""
    sampler = _Meanwhile()
    own.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    sampler.sink = sink = opened(own)
    sink.received(CREATED)
    assert sampler.thread is not None
    sampler.thread.join(5)
    assert 0.4 == pytest.approx(said_s(sink), abs=0.05)


# -- carrying --------------------------------------------------------------------------------------


def test_the_calls_go_straight_to_the_conversation(own: Process) -> None:
    """Once there is one: they are paid for every frame."""
    sink = opened(own)
    assert (sink.before_receive, sink.received, sink.sent) == sink.calls()
    sink.received(CREATED)
    engine = sink.engine
    assert engine is not None
    frames = engine.frames
    assert (frames.before_receive, frames.frame_received, frames.frame_sent) == sink.calls()
    assert not sink.released()
    engine.close()
    assert sink.released()


def test_a_second_socket_goes_on_with_a_conversation(own: Process, traces: Traces) -> None:
    """What was sent on it before belongs to the one that is open."""
    first, second = opened(own), opened(own)
    first.received(CREATED)
    assert first.engine is not None
    second.sent(append(400))
    second.carry(first.engine)
    assert 0.4 == pytest.approx(said_s(first), abs=0.05)
    second.before_receive()
    second.received(CREATED)
    second.closed(LOST)
    assert (2, 1) == (len(traces.named("session.created")), len(traces.roots))


def test_what_holds_is_what_held_at_the_handshake(own: Process) -> None:
    """``using`` is looked at when the socket opens, not when it speaks."""
    with using(thread_id="outer", tags=["a"]):
        sink = opened(own)
    with using(thread_id="later"):
        sink.received(CREATED)
    assert sink.engine is not None
    who = sink.engine.trace.identity
    assert ("outer", ["a"]) == (who.thread_id, who.tags)


# -- the process's observer ------------------------------------------------------------------------


def test_nothing_is_opened_while_instrumentation_is_suppressed(
    own: Process, traces: Traces
) -> None:
    """Neither for a socket nor for a refusal."""
    observer = Sockets(own)
    with suppress_instrumentation():
        assert observer.opened(shaken(), sdk=True) is None
        observer.refused(shaken(status=401))
    assert [] == traces.spans


def test_a_refused_handshake_is_a_root(own: Process, traces: Traces) -> None:
    """From the handshake on, with its status, and nothing below it."""
    handshake = shaken(1.0, status=429)
    Sockets(own).refused(handshake)
    (root,) = traces.spans
    assert (handshake.started_ns, StatusCode.ERROR) == (root.start_time, root.status.status_code)
    assert "429" == facts(root)["error.type"]


def test_a_frame_that_nobody_asked_for_ends_the_span_before(own: Process, traces: Traces) -> None:
    """As when two tasks receive: no span stays open, and all are forgotten at the end."""
    members = len(TABLE)
    sink = opened(own)
    sink.received(CREATED)
    sink.received(json.dumps({"type": "session.updated", "session": {"id": "sess_1"}}))
    assert sink.engine is not None
    sink.engine.close()
    assert own.flush(10)
    assert ["realtime_session", "  session.created", "  session.updated"] == outline(traces.spans)
    assert members == len(TABLE)


def test_a_position_is_told_to_the_conversation_that_has_the_item(own: Process) -> None:
    """Of two that go on; an item that nobody has is nobody's."""
    observer, sinks = Sockets(own), [opened(own), opened(own)]
    for name, sink in zip("ab", sinks, strict=True):
        item = {"id": f"item_{name}", "type": "message", "role": "assistant", "content": []}
        sink.received(CREATED)
        sink.received(json.dumps({"type": "conversation.item.added", "item": item}))
        sink.received(delta_frame(tone(1_000).tobytes(), f"item_{name}"))
    observer.played("item_b", 0, 100.0)
    observer.played("item_c", 0, 100.0)
    heard = {}
    for name, sink in zip("ab", sinks, strict=True):
        assert sink.engine is not None
        recorder = sink.engine.recorder
        assert recorder is not None
        assert recorder.settle(5)
        audio = recorder.item(f"item_{name}")
        assert audio is not None
        heard[name] = audio.heard_source
    assert {"a": "estimated", "b": "tap"} == heard


def test_what_cannot_be_attached_is_said_once(
    own: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """By the name of its class, however many there are."""
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        assert [None, None] == [Sockets(own).attach(object()) for _ in range(2)]
    (message,) = caplog.messages
    assert "cannot instrument object" in message
