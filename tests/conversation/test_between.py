"""A conversation between two sockets, told by its sinks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
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
