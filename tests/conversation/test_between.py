"""A conversation between two sockets, told by its sinks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor
from opentelemetry.trace import StatusCode

from otel_realtime import diagnostics
from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.options import using
from otel_realtime.conversation.sockets import Sockets, SocketSink
from otel_realtime.process.process import Process
from otel_realtime.settings import Settings
from otel_realtime.tap import Close, Owner
from tests.support.calls import delta_frame, tone
from tests.support.own_process import own_process, shaken
from tests.support.provoked import provoked
from tests.support.streams import bounded
from tests.support.traces import Traces, facts

CREATED = json.dumps({"type": "session.created", "session": {"id": "sess_1"}})


def closed(code: int | None = 1000, *, by_client: bool = False) -> Close:
    """How a socket closed."""
    return Close(received_code=code, received_reason="", sent_code=None, by_client=by_client)


@pytest.fixture
def own(traces: Traces) -> Iterator[Process]:
    """A process of the test's own, which traces to ``traces``."""
    with own_process(traces) as process:
        yield process


def opened(own: Process, *frames: str, **given: Any) -> SocketSink:
    """The sink of a socket on which these frames came."""
    sink = Sockets(own).opened(shaken(**given), sdk=False)
    assert isinstance(sink, SocketSink)
    for frame in frames:
        sink.received(frame)
    return sink


def engine_of(sink: SocketSink) -> Engine:
    """The conversation that a socket carries."""
    assert sink.engine is not None
    return sink.engine


def test_a_framework_opens_its_sockets(own: Process, traces: Traces) -> None:
    """Wherever they lead; without a block, and until it says that it is done."""
    owner = Owner()
    first = opened(own, CREATED, owner=owner)
    first.closed(closed(1012))
    second = opened(own, CREATED, owner=owner, path="/v2/realtime", query={})
    assert engine_of(first) is engine_of(second)
    second.closed(closed())
    assert [] == traces.roots
    owner.over()
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    assert StatusCode.ERROR != traces.root.status.status_code


def test_who_opens_a_socket_may_show_later(own: Process, traces: Traces) -> None:
    """After the handshake; the close decides."""
    owner = Owner()
    sink = opened(own, CREATED)
    Sockets(own).owned(sink, owner)
    sink.closed(closed())
    assert engine_of(sink) is opened(own, owner=owner).engine
    owner.over()


def test_a_framework_inside_a_block(own: Process, traces: Traces) -> None:
    """When its session is over, the next one in the block may go on."""
    with using(thread_id="t"):
        first, second = Owner(), Owner()
        sink = opened(own, CREATED, owner=first)
        sink.closed(closed())
        first.over()
        again = opened(own, owner=second)
        assert engine_of(sink) is again.engine
        again.closed(closed())
        second.over()
        assert [] == traces.roots
    assert 1 == len(traces.roots)


def test_a_socket_that_joins_sends_at_once(own: Process) -> None:
    """It is never undecided: what it sends before its first frame is in time."""
    with using(thread_id="t"):
        opened(own, CREATED).closed(closed())
        sink = opened(own)
        sink.sent(json.dumps({"type": "response.create", "event_id": "e"}))
        engine = engine_of(sink)
        assert ["e"] == [one.event_id for one in engine.frames.state._requests._open]


def test_the_close_of_a_socket_that_carries_it_no_more(own: Process, traces: Traces) -> None:
    """Its conversation goes on elsewhere."""
    old, new = opened(own, CREATED), opened(own)
    new.carry(engine_of(old))
    old.closed(closed())
    old.before_receive()
    assert [] == traces.roots
    new.closed(closed(1011))
    assert "websocket_1011" == facts(traces.root)["error.type"]


def test_what_plays_is_not_settled_between_the_sockets(own: Process, traces: Traces) -> None:
    """Whether it is heard to its end is known only when another socket goes on, or none does."""
    own.settings = Settings(recordings_dir="memory://kept")
    response = {"id": "r", "status": "completed", "output": []}
    frames = [
        CREATED,
        json.dumps({"type": "response.created", "response": {"id": "r"}}),
        delta_frame(tone(20).tobytes(), item="i", response="r"),
        json.dumps({"type": "response.done", "response": response}),
    ]
    with using(thread_id="t"):
        sink = opened(own, *frames, ago_s=60)
        engine = engine_of(sink)
        sink.closed(closed())
        assert engine.recorder is not None
        assert engine.recorder.settle(5)
        engine.tick(engine.clock.t() + 10**12)
        assert [] == traces.named("chat gpt-realtime")
        opened(own)
        engine.tick(engine.clock.t() + 10**12)
        assert 1 == len(traces.named("chat gpt-realtime"))


def test_a_conversation_that_has_ended_is_not_joined(own: Process, traces: Traces) -> None:
    """The app closed it between its sockets: it ended with the first one."""
    with using(thread_id="t"):
        sink = opened(own, CREATED)
        sink.closed(closed(1011))
        engine_of(sink).close(ValueError("later"))
        assert "websocket_1011" == facts(traces.root)["error.type"]
        assert opened(own).engine is None


def test_an_sdk_that_cannot_reconnect(own: Process, traces: Traces) -> None:
    """The conversation ended when it was lost; in a block it may go on nevertheless."""
    sink = opened(own, CREATED)
    sink.lost(closed(1012))
    lost = engine_of(sink).between.parted
    sink.closed(closed(1012))
    assert lost is not None
    assert lost.moment.at_ns + 1 == traces.root.end_time
    with using(thread_id="t"):
        sink = opened(own, CREATED)
        sink.lost(closed(1012))
        sink.closed(closed(1012))
        assert engine_of(sink) is opened(own).engine


def test_a_fault_of_ours_ends_it(
    own: Process, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if nobody could go on."""
    monkeypatch.setattr(diagnostics, "RAISE", False)
    with using(thread_id="t"):
        sink = opened(own, CREATED)
        monkeypatch.setattr(engine_of(sink).frames, "disconnected", None)
        sink.closed(closed(1011))
        provoked("closing: TypeError")
        assert 1 == len(traces.roots)


class _Call:
    """Random sockets of random owners in one block: each conversation ends once, with its spans."""

    def __init__(self, own: Process, traces: Traces) -> None:
        self.own, self.traces = own, traces
        self.owners = [Owner(), Owner()]
        self.sinks: list[SocketSink] = []
        self.gone: list[SocketSink] = []  # the tap tells nothing more of a socket that has closed
        self.engines: list[Engine] = []

    def step(self, kind: str, number: int) -> None:
        """Do one of the things that may happen."""
        there = [sink for sink in self.sinks if sink not in self.gone]
        sink = there[number % len(there)] if there else None
        if kind == "open":
            owner = self.owners[number % 3] if number % 3 < 2 else None
            query = {"model": "ab"[number % 2]}
            self.sinks.append(opened(self.own, CREATED, owner=owner, query=query))
            engine = engine_of(self.sinks[-1])
            if engine not in self.engines:
                self.engines.append(engine)
        elif kind == "refuse":
            handshake = shaken(query={"model": "ab"[number % 2]}, status=503)
            Sockets(self.own).refused(handshake)
        elif kind == "end all":
            self.own.waiting.end_all()
        elif sink is not None and kind == "close":
            self.gone.append(sink)
            sink.closed(closed((1000, 1011, None)[number % 3], by_client=number % 2 == 0))
        elif sink is not None and kind == "lose":
            sink.lost(closed(1012))
        elif sink is not None and kind == "regain":
            sink.regained()
        elif sink is not None and not engine_of(sink).between.parted:
            response = {"id": f"r{number}", "status": "completed"}
            event = {"type": kind, "response": response}
            sink.received(json.dumps(event))

    def check(self) -> None:
        """What is open is known to the process, and nothing has ended twice."""
        live = [engine for engine in self.engines if not engine.closed]
        assert set(live) == self.own.live
        assert all(engine.between.parted or engine.carrier for engine in live)
        waiting = {entry.conversation for entry in self.own.waiting._entries}
        assert waiting <= set(live)
        assert all(engine.between.parted for engine in live if engine in waiting)


KINDS = ("open", "open", "close", "close", "lose", "regain", "refuse", "response.created",
         "response.done", "end all")  # fmt: skip


@bounded
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 11)), max_size=25))
def test_whatever_happens_each_conversation_ends_once(steps: list[tuple[str, int]]) -> None:
    """With all its spans in its trace, none of which outlasts it but for what its app ran."""
    traces = Traces()
    with own_process(traces) as own:
        call = _Call(own, traces)
        with using(thread_id="t"):
            for kind, number in steps:
                call.step(kind, number)
                call.check()
        for owner in call.owners:
            owner.over()
        for sink in call.sinks:
            if sink not in call.gone:
                sink.closed(closed())
        assert (set(), []) == (own.live, own.waiting._entries)
        for engine in call.engines:
            spans = traces.of(engine.trace.trace_id)
            (root,) = [span for span in spans if span.parent is None]
            assert all((span.end_time or 0) <= (root.end_time or 0) for span in spans)
            gaps = [span for span in spans if span.name == "reconnect"]
            assert len(gaps) == facts(root).get("otel_realtime.reconnects", 0)
            assert len({span.context.span_id for span in spans if span.context}) == len(spans)
        assert {} == otel_context.get_current()


def test_a_gap_that_cannot_be_written_is_no_end(own: Process, traces: Traces) -> None:
    """The conversation goes on, and is not left open: whatever a span processor of the app's raises."""

    class Fails(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            if span.name == "reconnect":
                raise RuntimeError("no gaps here")

    traces.provider.add_span_processor(Fails())
    with using(thread_id="t"):
        first = opened(own, CREATED)
        first.closed(closed())
        second = opened(own, CREATED)
        assert engine_of(first) is engine_of(second)
        second.closed(closed())
    assert 1 == facts(traces.root)["otel_realtime.reconnects"]
    assert set() == own.live
    provoked("joining: RuntimeError")


@pytest.mark.parametrize(
    ("code", "expected"), [(1000, "ValueError"), (1011, "websocket_1011")], ids=["closed", "lost"]
)
def test_an_app_that_gives_up_may_say_why(
    own: Process, traces: Traces, code: int, expected: str
) -> None:
    """Its exception is the end's, unless the close was a failure itself; code and time are the close's."""
    with using(thread_id="t"):
        sink = opened(own, CREATED)
        sink.closed(closed(code))
        closed_ns = time.time_ns()
        engine_of(sink).close(ValueError("no more attempts"))
    told = facts(traces.root)
    assert (code, expected) == (told["otel_realtime.close_code"], told["error.type"])
    assert (traces.root.end_time or 0) <= closed_ns
