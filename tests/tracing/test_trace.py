"""One conversation's trace: its root, what it wants, and how the app's word reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanContext, StatusCode

from otel_realtime import diagnostics
from otel_realtime.clock import Clock
from otel_realtime.core.protocol.outcome import Ending, Failure, Tally
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.delivery.keep import without_date
from otel_realtime.langsmith.stamping import TraceStamp
from otel_realtime.settings import Settings
from otel_realtime.tracing.closing import RootEnd
from otel_realtime.tracing.members import TABLE
from otel_realtime.tracing.metrics import Metrics, NoMetrics
from otel_realtime.tracing.route import Route
from otel_realtime.tracing.trace import Trace
from tests.support.calls import Call
from tests.support.folder_backend import FolderBackend
from tests.support.span_tables import META, OURS, who
from tests.support.traces import Traces, facts

START = 1_700_000_000 * 10**9
Begin = Callable[..., Trace]


@pytest.fixture
def begin(traces: Traces) -> Iterator[Begin]:
    """Begins traces by ``traces``; forgets them at the end."""

    def begin(
        route: Route | None = None,
        caller: Context | None = None,
        *,
        into: Traces = traces,
        thread_id: str = "thread",
        metrics: Callable[[SpanContext, bool], Metrics] = lambda root, sampled: NoMetrics(),
        **settings: Any,
    ) -> Trace:
        found = Trace(
            who(thread_id=thread_id),
            Settings(**settings),
            Clock(START, 0),
            route=route or Route(),
            provider=into.provider,
            caller=Context() if caller is None else caller,
            metrics=metrics,
        )
        return found

    yield begin
    TABLE.reset_after_fork()  # roots of these tests are never ended


@pytest.fixture
def backend(tmp_path: Path) -> FolderBackend:
    """Takes root runs."""
    return FolderBackend(tmp_path / "backend")


def delivering(backend: FolderBackend, **given: Any) -> Route:
    """A route by which this process delivers the root run."""
    joined: dict[str, Any] = {"project": "voice"}
    return Route(
        **{
            "leg": "direct",
            "connect": lambda: backend,
            "join": lambda **shared: TraceStamp(**joined, **shared),
            **given,
        }
    )


def end(trace: Trace, folder: Path, ending: Ending | None = None) -> RootEnd:
    """End it after a second in which nothing was said."""
    call = Call(folder / "call")
    call.track.close(10**9, True)
    moment = Moment(10**9, START + 10**9)
    return trace.end(ConversationState(), Tally(), call.track, ending or Ending(), moment)


# -- the root --------------------------------------------------------------------------------------


def test_a_root_says_who_it_is_and_where_it_goes(begin: Begin, traces: Traces) -> None:
    """From its start on, whoever delivers it."""
    trace = begin(Route(leg="collector"))
    trace.root.end()
    root = traces.root
    assert (START, None, f"{root.context.trace_id:032x}") == (
        root.start_time,
        root.parent,
        trace.trace_id,
    )
    assert ("thread", "collector", "chain") == tuple(
        facts(root)[name]
        for name in (
            META + "thread_id",
            "otel_realtime.langsmith.leg",
            "langsmith.span.kind",
        )
    )


def test_a_root_that_is_not_sampled_ends_at_once(begin: Begin, backend: FolderBackend) -> None:
    """Nothing is connected, journaled, recorded or measured."""
    asked: list[bool] = []

    def metrics(root: SpanContext, sampled: bool) -> Metrics:
        asked.append(sampled)
        return NoMetrics()

    trace = begin(delivering(backend), into=Traces(ALWAYS_OFF), metrics=metrics)
    trace.post()
    assert ([False], False, False, False, None) == (
        asked,
        trace.sampled,
        trace.recorded,
        trace.journaled,
        trace.delivery,
    )
    assert TABLE.get(trace.span_id) is None


def test_a_trace_of_its_own_is_linked_both_ways(begin: Begin, traces: Traces) -> None:
    """The caller's span and the root know each other, and the root's ids name it."""
    above = traces.tracer.start_span("request")
    trace = begin(caller=trace_api.set_span_in_context(above))
    above.end()
    trace.root.end()
    request, root = traces.one("request"), traces.root
    assert [root.context.span_id] == [link.context.span_id for link in request.links]
    assert [request.context.span_id] == [link.context.span_id for link in root.links]
    assert f"{request.context.span_id:016x}" == trace.identity.parent_span_id
    assert f"{request.context.trace_id:032x}" == facts(root)[OURS + "parent_trace_id"]


def test_a_call_that_is_not_sampled_is_no_place_to_link_to(begin: Begin, traces: Traces) -> None:
    """The link would lead nowhere."""
    above = traces.tracer.start_span("request")
    begin(caller=trace_api.set_span_in_context(above), into=Traces(ALWAYS_OFF))
    above.end()
    assert () == tuple(traces.one("request").links)


class Strange(trace_api.NonRecordingSpan):
    """A span of another SDK, which says that it records."""

    def is_recording(self) -> bool:
        """Return that it does."""
        return True

    def add_link(self, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise NotImplementedError("no links here")


def test_a_callers_span_that_takes_no_link_costs_only_the_link(
    begin: Begin, traces: Traces
) -> None:
    """The call is traced, and still knows where it came from; nothing is our fault."""
    context = traces.tracer.start_span("request").get_span_context()
    trace = begin(caller=trace_api.set_span_in_context(Strange(context)))
    trace.root.end()
    assert [context] == [link.context for link in traces.root.links]
    assert {} == diagnostics.faults()


def test_an_ambient_root_is_a_child(begin: Begin, traces: Traces) -> None:
    """In the caller's trace; without a caller it is a trace of its own."""
    above = traces.tracer.start_span("request")
    trace = begin(caller=trace_api.set_span_in_context(above), parent="ambient")
    alone = begin(parent="ambient")
    above.end()
    for one in (trace, alone):
        one.root.end()
    child, own = traces.roots
    assert (True, False) == (trace.ambient, alone.ambient)
    assert child.parent is not None
    assert (traces.one("request").context.span_id, 0, None) == (
        child.parent.span_id,
        len(child.links),
        own.parent,
    )


def test_ambient_is_refused_where_langsmith_would_drop_the_root(
    begin: Begin, traces: Traces, backend: FolderBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """On the collector's leg without a key; said once."""
    context = trace_api.set_span_in_context(traces.tracer.start_span("request"))
    for _ in range(2):
        assert not begin(Route(leg="collector"), context, parent="ambient").ambient
    assert begin(delivering(backend, leg="collector"), context, parent="ambient").ambient
    (message,) = caplog.messages
    assert "ambient" in message


@pytest.mark.parametrize(
    ("thread_id", "start"),
    [
        ("t-1.a_B", "t-1.a_B-"),
        ("../../etc/passwd", "_.._etc_passwd-"),
        ("+49 30 / é", "_49_30_-"),
        ("...", "call-"),
        ("", "call-"),
        ("x" * 300, "x" * 80 + "-"),
    ],
)
def test_a_recordings_name_is_no_path(begin: Begin, thread_id: str, start: str) -> None:
    """Whatever the app calls its threads; it begins with the start, and the root's id makes it one."""
    trace = begin(thread_id=thread_id)
    assert f"{start}{trace.span_id:016x}" == without_date(trace.name)
    began = datetime.fromtimestamp(trace.clock.start_ns // 10**9, timezone.utc)
    assert trace.name.startswith(f"{began:%Y%m%dT%H%M%SZ}-")


# -- what is wanted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivers", "policy", "settings", "expected"),
    [
        (False, {}, {}, (True, False, False)),
        (True, {}, {}, (True, True, True)),
        (False, {}, {"recordings_dir": "kept"}, (True, True, True)),
        (False, {}, {"on_recording": print}, (True, True, True)),
        (True, {}, {"record_audio": False}, (False, False, True)),
        (True, {"audio": False}, {}, (False, False, True)),
        (False, {"audio": False}, {"recordings_dir": "kept"}, (False, False, False)),
    ],
)
def test_what_is_recorded_and_what_stands_on_disk(
    begin: Begin,
    backend: FolderBackend,
    delivers: bool,
    policy: dict[str, bool],
    settings: dict[str, Any],
    expected: tuple[bool, bool, bool],
) -> None:
    """Sound is wanted, has somewhere to go, and another process could finish it."""
    given = {"policy": ContentPolicy(**policy)}
    trace = begin(delivering(backend, **given) if delivers else Route(**given), **settings)
    assert expected == (trace.records, trace.recorded, trace.journaled)


def test_privacy_becomes_stricter_only(begin: Begin) -> None:
    """Later settings hide more, never less."""
    trace = begin()
    trace.restrict_policy(Settings(record_audio=False))
    assert ContentPolicy(audio=False) == trace.writer.policy
    trace.restrict_policy(Settings())
    assert ContentPolicy(audio=False) == trace.writer.policy
    trace.restrict_policy(Settings(capture_content=False))
    assert ContentPolicy(inputs=False, outputs=False, audio=False) == trace.writer.policy


# -- what the app adds -----------------------------------------------------------------------------


def test_what_the_app_adds_stands_on_the_root(
    begin: Begin, traces: Traces, caplog: pytest.LogCaptureFixture
) -> None:
    """Later values win, tags stand once, reserved keys are named and left out."""
    trace = begin()
    trace.add_metadata({"plan": "free", "city": "Bern"})
    trace.add_metadata({"plan": "gold", "thread_id": "other"})
    trace.add_tags(["a", "b"])
    trace.add_tags(["b", "c"])
    trace.root.end()
    found = facts(traces.root)
    assert ("gold", "Bern", "a,b,c", "thread") == tuple(
        found[name]
        for name in (
            OURS + "metadata.plan",
            META + "city",
            "langsmith.span.tags",
            META + "thread_id",
        )
    )
    assert [
        "ignoring metadata keys thread_id: they are not text, or LangSmith would take them for the thread (give that as thread_id=)"
    ] == caplog.messages


@pytest.mark.parametrize("private", [True, False])
def test_a_tool_that_raised(begin: Begin, traces: Traces, private: bool) -> None:
    """Its span failed; in a pause nobody hears its words."""
    trace = begin()
    span = traces.tracer.start_span("tool")
    trace.tool_raised(span, ValueError("PLANTED"), START, private=private)
    span.end()
    trace.tool_raised(span, ValueError("too late"), START, private=private)
    (event,) = traces.one("tool").events
    said = dict(event.attributes or {})
    assert ("ValueError", HIDDEN if private else "PLANTED") == (
        said["exception.type"],
        said["exception.message"],
    )
    assert (not private) == ("exception.stacktrace" in said)


# -- its root run ----------------------------------------------------------------------------------


def test_a_root_run_is_posted_once(begin: Begin, backend: FolderBackend) -> None:
    """When it is ready; it knows its page."""
    trace, seen = begin(delivering(backend)), []
    trace.before_post = lambda: seen.append(1)
    assert trace.delivery is None
    trace.post()
    first = trace.delivery
    trace.post()
    assert first is not None
    assert (first, [1], str(backend.folder / f"{trace.span_id:016x}.json")) == (
        trace.delivery,
        seen,
        first.url,
    )


def test_the_start_moves_as_long_as_nothing_was_told(begin: Begin, traces: Traces) -> None:
    """Of span, membership and clock, to the app's first time."""
    trace = begin()
    trace.start_at(START - 10**9, fresh=True)
    assert (START - 10**9, START - 10**9) == (trace.clock.start_ns, trace.membership.start_ns)
    trace.root.end()
    assert START - 10**9 == traces.root.start_time


@pytest.mark.parametrize("posted", [True, False])
def test_a_start_that_was_told_stays(begin: Begin, backend: FolderBackend, posted: bool) -> None:
    """The app's times count from then on all the same."""
    trace = begin(delivering(backend))
    if posted:
        trace.post()
    trace.start_at(START - 10**9, fresh=posted)
    assert (START, True) == (trace.clock.start_ns, trace.clock.uses_app_times)


def test_a_delivered_root_is_marked(
    begin: Begin, backend: FolderBackend, traces: Traces, tmp_path: Path
) -> None:
    """It is posted at the latest now, and no exporter of ours sends it again."""
    trace = begin(delivering(backend))
    closing = end(trace, tmp_path)
    assert trace.delivery is not None
    assert ("runs_api", START + 10**9 + 1, closing.end_ns) == (
        facts(traces.root)["otel_realtime.langsmith.root"],
        closing.end_ns,
        traces.root.end_time,
    )
    assert [] == backend.spans


def test_a_root_that_the_backend_refused_goes_by_otlp(
    begin: Begin, backend: FolderBackend, traces: Traces, tmp_path: Path
) -> None:
    """Without the mark, with LangSmith's metadata, to the backend's outlet."""
    trace = begin(delivering(backend))
    trace.post()
    assert trace.delivery is not None
    trace.delivery.status = "refused"  # type: ignore[misc]
    end(trace, tmp_path)
    found = facts(traces.root)
    assert (True, False, 0) == (
        trace.refused,
        "otel_realtime.langsmith.root" in found,
        found[META + "turns"],
    )


def test_a_failure_marks_the_root(begin: Begin, traces: Traces, tmp_path: Path) -> None:
    """With its code and its words."""
    end(begin(), tmp_path, Ending(failure=Failure("websocket_1008", "no")))
    root = traces.root
    assert (StatusCode.ERROR, "no", "websocket_1008") == (
        root.status.status_code,
        root.status.description,
        facts(root)["error.type"],
    )


def test_a_root_ends_whatever_happens(begin: Begin, traces: Traces) -> None:
    """Once, after its start; and its run gets a bare end."""
    trace = begin()
    trace.add_metadata({"a": 1})
    for at_ns in (START - 5, START + 5):
        trace.ensure_ended(at_ns)
        bare = trace.last_resort(at_ns)
    assert START + 1 == traces.root.end_time
    assert (START + 6, 1, "failed") == (
        bare.end_ns,
        bare.metadata["a"],
        bare.metadata["ls_audio_attach_status"],
    )
    assert bare.error is not None


def test_what_is_told_of_a_recording(begin: Begin) -> None:
    """Whose it is, and what else the process knows of it."""
    trace = begin()
    trace.info["langsmith_run_id"] = "id"
    assert {
        "thread_id": "thread",
        "trace_id": trace.trace_id,
        "started_at_s": START / 1e9,
        "metadata": {},
        "langsmith_run_id": "id",
    } == trace.recording_info()
