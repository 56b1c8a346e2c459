"""How a conversation opens: who it is, where it goes, what stands on disk of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as trace_sdk
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.opening import open_conversation, open_untraced
from otel_realtime.conversation.options import Options
from otel_realtime.core.protocol.outcome import Identity, Provider
from otel_realtime.langsmith.ids import run_id
from otel_realtime.process.process import Process
from otel_realtime.settings import Settings
from otel_realtime.state.header import Header
from otel_realtime.state.journal import read
from otel_realtime.tap import Handshake
from tests.support.folder_backend import routes_to
from tests.support.own_process import own_process, shaken
from tests.support.traces import Traces, facts


@pytest.fixture
def own(traces: Traces) -> Iterator[Process]:
    """A process of the test's own, which delivers nowhere."""
    with own_process(traces) as process:
        yield process


@pytest.fixture
def delivering(traces: Traces, tmp_path: Path) -> Iterator[Process]:
    """One that delivers root runs and recordings to a folder."""
    with own_process(traces, choose_route=routes_to(tmp_path / "backend")) as process:
        yield process


def opened(
    own: Process, handshake: Handshake | None = None, *, post: bool = True, **options: Any
) -> Engine:
    """A conversation that opens now, outside of any span."""
    return open_conversation(
        Options(**options), own, handshake=handshake, caller=Context(), post=post
    )


# -- who it is -------------------------------------------------------------------------------------


def test_who_it_is_says_the_app_and_the_handshake(own: Process) -> None:
    """Thread, metadata and tags by the app; provider, call and model by the address."""
    handshake = shaken(
        host="mine.openai.azure.com", query={"model": "gpt-realtime", "call_id": "rtc_1"}
    )
    engine = opened(own, handshake, thread_id="mine", metadata={"a": 1}, tags=("x", "y", "x"))
    assert engine.trace.identity == Identity(
        thread_id="mine",
        given_thread_id=True,
        provider=Provider("azure.ai.openai", "mine.openai.azure.com", 443),
        call_id="rtc_1",
        model="gpt-realtime",
        metadata={"a": 1},
        tags=["x", "y"],
    )


def test_a_thread_that_nobody_names_is_the_calls_or_a_new_one(own: Process) -> None:
    """And is not claimed to be the app's; empty text is no name."""
    named = opened(own, shaken(query={"call_id": "rtc_1"}), thread_id="").trace.identity
    assert ("rtc_1", False) == (named.thread_id, named.given_thread_id)
    first, second = (opened(own).trace.identity for _ in range(2))
    assert first.thread_id != second.thread_id
    assert first.thread_id == str(uuid.UUID(first.thread_id))
    assert not first.given_thread_id


def test_it_starts_with_its_handshake(own: Process, traces: Traces) -> None:
    """Without one, now."""
    handshake = shaken(3.0)
    opened(own, handshake).close()
    root = traces.root
    assert handshake.started_ns == root.start_time
    assert 3.0 == pytest.approx(((root.end_time or 0) - handshake.started_ns) / 1e9, abs=1.0)
    engine = opened(own)
    assert 0 <= engine.clock.t() < 1e9


def test_the_callers_span_is_linked(own: Process, traces: Traces) -> None:
    """The conversation is a trace of its own."""
    request = traces.tracer.start_span("request")
    context = trace.set_span_in_context(request)
    open_conversation(Options(), own, handshake=None, caller=context).close()
    (link,) = traces.root.links
    assert (request.get_span_context(), None) == (link.context, traces.root.parent)


# -- what is wanted --------------------------------------------------------------------------------


def test_what_a_block_says_holds_over_the_settings(own: Process) -> None:
    """Of the conversation, and of the process."""
    own.settings = Settings(record_audio=True, span_limit=7)
    engine = opened(own, record_audio=False)
    assert (False, 7) == (engine.trace.settings.record_audio, engine.trace.settings.span_limit)


def test_a_conversation_that_is_not_sampled_costs_nothing(tmp_path: Path) -> None:
    """Closed from the start: no run, no folder, nothing to wait for."""
    off = Traces(ALWAYS_OFF)
    with own_process(off, choose_route=routes_to(tmp_path / "backend")) as own:
        engine = opened(own)
        assert (True, None, None, set()) == (
            engine.closed,
            engine.folder,
            engine.trace.delivery,
            own.live,
        )
        engine.close()
        assert [] == off.spans
        assert not (tmp_path / "backend").exists()


class ForeignProvider(trace.TracerProvider):
    """Of another SDK: it makes spans, and takes no processor of OpenTelemetry's."""

    def __init__(self, inner: trace.TracerProvider) -> None:
        self._inner = inner

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """Return a tracer whose spans are recorded elsewhere."""
        return self._inner.get_tracer(*args, **kwargs)


def test_a_provider_that_we_cannot_watch_is_named_once(
    delivering: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """Where its spans are missing; its conversations are delivered as far as they can be."""
    foreign = ForeignProvider(trace_sdk.TracerProvider(shutdown_on_exit=False))
    for _ in range(2):
        engine = opened(delivering, tracer_provider=foreign)
        assert engine.trace.delivery is not None
        engine.close()
    (message,) = [text for text in caplog.messages if "takes no span processor" in text]
    assert message.startswith("the TracerProvider is tests's")


def test_an_untraced_conversation_is_closed_from_the_start(own: Process, traces: Traces) -> None:
    """It still has a thread, and takes every call."""
    engine = open_untraced(Options(thread_id="mine"), own)
    assert ("mine", "0" * 32, True) == (
        engine.trace.identity.thread_id,
        engine.trace.trace_id,
        engine.closed,
    )
    engine.frames.frame_received('{"type": "session.created"}')
    engine.close()
    assert ([], set()) == (traces.spans, own.live)


# -- where it goes ---------------------------------------------------------------------------------


def test_the_backend_hears_of_it_at_once(delivering: Process, tmp_path: Path) -> None:
    """With what the app said of it; afterwards the conversation is live."""
    engine = opened(delivering, metadata={"a": 1}, tags=("x",))
    told = json.loads((tmp_path / "backend" / "opening.json").read_text())
    assert (1, ["x"]) == (told["metadata"]["a"], told["tags"])
    assert {engine} == delivering.live
    assert run_id(engine.trace.span_id) == engine.trace.info["langsmith_run_id"]


def test_the_backend_hears_of_it_later_where_the_start_may_move(
    delivering: Process, tmp_path: Path
) -> None:
    """At its end at the latest."""
    engine = opened(delivering, post=False)
    assert not (tmp_path / "backend" / "opening.json").exists()
    engine.close()
    assert (tmp_path / "backend" / "opening.json").exists()


def test_its_journal_says_what_another_process_needs(
    delivering: Process, traces: Traces, tmp_path: Path
) -> None:
    """The first record reads back as what was decided when it opened."""
    own_settings = Settings(
        recordings_dir="/kept", audio_format="flac", max_attachment_mb=3.5, skip_events=("a.*",)
    )
    engine = opened(
        delivering,
        shaken(1.0, query={"call_id": "rtc_1"}),
        metadata={"a": [1, {"b": None}]},
        tags=("x",),
        settings=own_settings,
        capture_content=False,
    )
    recorder, folder = engine.recorder, engine.folder
    assert recorder is not None
    assert folder is not None
    assert recorder.settle(5)
    kind, t, written = next(iter(read(folder)))
    membership = engine.trace.membership
    assert ("open", 0) == (kind, t)
    assert Header(
        trace_id=membership.trace_id,
        root_span_id=membership.root_span_id,
        start_ns=engine.clock.start_ns,
        who=engine.trace.identity,
        leg="direct",
        delivers_root=True,
        backend={"folder": str(tmp_path / "backend")},
        policy=engine.trace.writer.policy,
        records=engine.trace.records,
        recorded=engine.trace.recorded,
        name=engine.trace.name,
        recordings_dir="/kept",
        audio_format="flac",
        max_attachment_mb=3.5,
        payload_limit=own_settings.payload_limit,
        skip_events=("a.*",),
        lists_spans=True,
        exports=True,
        resource=dict(traces.provider.resource.attributes),
    ) == Header.from_wire(written)


def test_without_anywhere_to_go_nothing_is_on_disk(own: Process, tmp_path: Path) -> None:
    """Neither journal nor sound."""
    engine = opened(own, settings=Settings(state_dir=tmp_path / "state"))
    recorder = engine.recorder
    assert recorder is not None
    assert recorder.settle(5)
    assert (None, False) == (engine.folder, (tmp_path / "state").exists())


def test_reserved_metadata_is_left_out_and_named(
    own: Process, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of it stands on the root."""
    opened(own, metadata={"session_id": "x", "good": 1}).close()
    assert 1 == facts(traces.root)["otel_realtime.metadata.good"]
    assert [
        "ignoring metadata keys session_id: they are not text, or LangSmith would take them for the thread (give that as thread_id=)"
    ] == caplog.messages
