"""Whatever a callback of the app raises costs what it was called for: no thread, no other call, no task.

Each row is one callback; each is tried with exceptions that are no ``Exception``. The call in which it
raises goes on without the app noticing, and a call after it is whole.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult

import otel_realtime
from otel_realtime import Settings, diagnostics
from otel_realtime.process.process import PROCESS
from otel_realtime.sandbox import Sandbox
from tests.support.fault_server import HELLO
from tests.support.traces import Traces
from tests.support.waiting import wait_for

RESPONSE = {
    "type": "response.done",
    "response": {"id": "resp_1", "status": "completed", "output": [], "usage": {}},
}


class Own(BaseException):
    """An app's own."""


ERRORS = [SystemExit(3), GeneratorExit(), asyncio.CancelledError(), Own(), ValueError()]


@dataclass
class Bad:
    """Raises, wherever it is asked for anything.

    Attributes:
        error: what it raises.
        armed: whether it does so now.
        raised: how often it did.
    """

    error: BaseException
    armed: bool = True
    raised: list[int] = field(default_factory=list)

    def __call__(self, *_: Any, **__: Any) -> Any:
        if self.armed:
            self.raised.append(1)
            raise self.error


class Text:
    """Its text cannot be had."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def __str__(self) -> str:
        self._bad()
        return "text"

    __repr__ = __str__


class Broken(Mapping[str, Any]):
    """Metadata that cannot be read."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def __getitem__(self, key: str) -> Any:
        self._bad()
        return key

    def __iter__(self) -> Iterator[str]:
        self._bad()
        return iter(("a",))

    def __len__(self) -> int:
        return 1


class Items(dict[str, Any]):
    """An event whose items cannot be had."""

    def __init__(self, bad: Bad) -> None:
        super().__init__(type="session.created")
        self._bad = bad

    def items(self) -> Any:
        self._bad()
        return super().items()


class Samples:
    """Audio that cannot be had."""

    def __init__(self, bad: Bad) -> None:
        self.__array__ = bad


class Event:
    """An SDK's event that cannot be dumped."""

    def __init__(self, bad: Bad) -> None:
        self.model_dump_json = bad


class Number:
    """A number of a library's that is none."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def __index__(self) -> int:
        self._bad()
        return 1

    __float__ = __index__  # type: ignore[assignment]


class Error(Exception):
    """The app's own error, which cannot be shown."""

    def __init__(self, bad: Bad) -> None:
        super().__init__()
        self._bad = bad

    def __str__(self) -> str:
        self._bad()
        return "error"


class Instruments:
    """A meter provider, and its meters, whose instruments measure nothing."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def get_meter(self, *_: Any, **__: Any) -> Instruments:
        return self

    def __getattr__(self, name: str) -> Any:
        return (lambda *_, **__: self) if name.startswith("create") else self._bad


class Sampling(Sampler):
    """Decides nothing."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        self._bad()
        return ALWAYS_ON.should_sample(*args, **kwargs)

    def get_description(self) -> str:
        return "bad"


class Processor(SpanProcessor):
    """Processes nothing."""

    def __init__(self, start: Bad | None, end: Bad | None) -> None:
        self._start, self._end = start, end

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self._start is not None:
            self._start()

    def on_end(self, span: ReadableSpan) -> None:
        if self._end is not None:
            self._end()


class Exporter(SpanExporter):
    """Exports nothing."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def export(self, spans: Any) -> SpanExportResult:
        self._bad()
        return SpanExportResult.SUCCESS


class Ids(RandomIdGenerator):
    """Generates nothing."""

    def __init__(self, bad: Bad) -> None:
        self._bad = bad

    def generate_span_id(self) -> int:
        self._bad()
        return super().generate_span_id()


class Handler(logging.Handler):
    """Logs nothing."""

    def __init__(self, bad: Bad) -> None:
        super().__init__()
        self._bad = bad

    def emit(self, record: logging.LogRecord) -> None:
        self._bad()


def provider(**given: Any) -> TracerProvider:
    """The app's."""
    return TracerProvider(shutdown_on_exit=False, **given)


def processing(*processors: SpanProcessor) -> TracerProvider:
    """The app's, with processors."""
    made = provider()
    for processor in processors:
        made.add_span_processor(processor)
    return made


def talk(
    call: otel_realtime.Conversation | None = None, **given: Any
) -> otel_realtime.Conversation:
    """A call with everything the app can call."""
    with otel_realtime.conversation(**given) as opened:
        opened.received(HELLO)
        opened.record_user_audio(b"\1\1" * 4_800, rate=24_000)
        opened.received(RESPONSE)
        with opened.tool(name="look_up"):
            pass
        opened.set_metadata(customer="c-1")
    return opened


def during(use: Callable[[otel_realtime.Conversation], object]) -> Callable[[Traces], None]:
    """Use a call in a way that ends in a callback of the app."""

    def hold(traces: Traces) -> None:
        with otel_realtime.conversation(tracer_provider=traces.provider) as call:
            call.received(HELLO)
            use(call)
            call.received(RESPONSE)

    return hold


def settings(**given: Any) -> Callable[[Traces], None]:
    """A call with these settings."""
    return lambda traces: _done(
        talk(tracer_provider=traces.provider, settings=Settings(**given)), traces
    )


def _done(_: object, __: Traces) -> None:
    """Nothing more."""


def opened(**given: Any) -> Callable[[Traces], None]:
    """A call that is opened like this."""
    return lambda traces: _done(talk(**{"tracer_provider": traces.provider, **given}), traces)


def _using(**given: Any) -> Callable[[Traces], None]:
    def hold(traces: Traces) -> None:
        with otel_realtime.using(**given):
            talk(tracer_provider=traces.provider)

    return hold


def _raises(error: Exception) -> Callable[[Traces], None]:
    def hold(traces: Traces) -> None:
        block = otel_realtime.conversation(tracer_provider=traces.provider)
        with pytest.raises(type(error)), block:
            raise error

    return hold


def _tool_raises(error: Exception) -> Callable[[otel_realtime.Conversation], None]:
    def use(call: otel_realtime.Conversation) -> None:
        with pytest.raises(type(error)), call.tool(name="look_up"):
            raise error

    return use


def _logging(bad: Bad) -> Callable[[Traces], None]:
    """A handler of the app's that raises, when there is something to say."""

    def hold(traces: Traces) -> None:
        handler, log = Handler(bad), logging.getLogger("otel_realtime")
        log.addHandler(handler)
        try:
            talk(tracer_provider=traces.provider, settings=Settings(redact=_fails))
            with otel_realtime.conversation(tracer_provider=traces.provider) as call:
                call.record_user_audio("no audio")  # type: ignore[arg-type]
        finally:
            log.removeHandler(handler)

    return hold


def _fails(event: dict[str, Any]) -> dict[str, Any]:
    raise ValueError


def _metering(bad: Bad) -> Callable[[Traces], None]:
    def hold(traces: Traces) -> None:

        PROCESS.meter_provider = Instruments(bad)  # type: ignore[assignment]
        talk(tracer_provider=traces.provider)
        PROCESS.meter_provider = None

    return hold


ROWS: dict[str, Callable[[Bad], Callable[[Traces], None]]] = {
    "redact": lambda bad: settings(redact=bad),
    "on_recording": lambda bad: settings(on_recording=bad),
    "recordings_dir": lambda bad: settings(recordings_dir="broken://bucket"),
    "sampler": lambda bad: opened(tracer_provider=provider(sampler=Sampling(bad))),
    "id generator": lambda bad: opened(tracer_provider=provider(id_generator=Ids(bad))),
    "processor's start": lambda bad: opened(tracer_provider=processing(Processor(bad, None))),
    "processor's end": lambda bad: opened(tracer_provider=processing(Processor(None, bad))),
    "exporter": lambda bad: opened(tracer_provider=processing(SimpleSpanProcessor(Exporter(bad)))),
    "meters": _metering,
    "log handler": _logging,
    "thread_id": lambda bad: opened(thread_id=Text(bad)),
    "a tag": lambda bad: opened(tags=[Text(bad)]),
    "tags": lambda bad: opened(tags=(bad() for _ in range(1))),
    "metadata": lambda bad: opened(metadata=Broken(bad)),
    "a key of metadata": lambda bad: opened(metadata={Text(bad): 1}),
    "a value of metadata": lambda bad: opened(metadata={"a": Text(bad), "b": [Text(bad)]}),
    "using: tags": lambda bad: _using(tags=(bad() for _ in range(1))),
    "using: metadata": lambda bad: _using(metadata=Broken(bad)),
    "set_metadata": lambda bad: during(lambda call: call.set_metadata(a=Text(bad))),
    "add_tags": lambda bad: during(lambda call: call.add_tags(Text(bad))),  # type: ignore[arg-type]
    "an event": lambda bad: during(lambda call: call.received(Event(bad))),
    "an event's text": lambda bad: during(lambda call: call.received(Text(bad))),
    "an event's value": lambda bad: during(lambda call: call.sent({"type": Text(bad)})),
    "a mapping": lambda bad: during(lambda call: call.received(Items(bad))),
    "a time": lambda bad: during(lambda call: call.received(HELLO, at_ns=Number(bad))),  # type: ignore[arg-type]
    "a rate": lambda bad: during(
        lambda call: call.record_agent_audio(b"\1\1" * 480, rate=Number(bad))  # type: ignore[arg-type]
    ),
    "audio": lambda bad: during(lambda call: call.record_user_audio(Samples(bad))),  # type: ignore[arg-type]
    "a position": lambda bad: during(lambda call: call.played("item", 0, Number(bad))),  # type: ignore[arg-type]
    "a tool's arguments": lambda bad: during(
        lambda call: call.tool(Text(bad), name=Text(bad), arguments=Text(bad)).__enter__()  # type: ignore[arg-type]
    ),
    "a tool's error": lambda bad: during(_tool_raises(Error(bad))),
    "the app's error": lambda bad: _raises(Error(bad)),
}


class Filesystem:
    """What ``broken://`` is at the moment."""

    bad: Bad | None = None


@pytest.fixture
def broken_bucket(monkeypatch: pytest.MonkeyPatch) -> type[Filesystem]:
    fsspec = pytest.importorskip("fsspec")

    class System(fsspec.AbstractFileSystem):  # type: ignore[misc]
        protocol = "broken"

        def _open(self, *args: Any, **kwargs: Any) -> Any:
            assert Filesystem.bad is not None
            return Filesystem.bad()

        makedirs = _open

    fsspec.register_implementation("broken", System, clobber=True)
    monkeypatch.setattr("otel_realtime.delivery.keeper.KEEP_WAITS_S", ())
    return Filesystem


def our_threads() -> set[str]:
    """Threads of this package that live."""
    return {t.name for t in threading.enumerate() if t.name.startswith("otel-realtime")}


@pytest.mark.parametrize("row", ROWS)
def test_a_callback_that_raises_costs_that_one_thing(
    row: str,
    traces: Traces,
    sandbox: Sandbox,
    process: pytest.MonkeyPatch,
    broken_bucket: type[Filesystem],
) -> None:
    """The call goes on, its root ends; threads live on; and the call after it is whole."""
    process.setattr(diagnostics, "RAISE", False)
    for error in ERRORS:
        diagnostics.REGISTER.clear()  # what was said once is said again
        bad = broken_bucket.bad = Bad(error)
        ROWS[row](bad)(traces)
        otel_realtime.flush(5)
        assert not PROCESS.live
        assert bad.raised, "the row does not try what it says"
        bad.armed = False
        threads = our_threads()
        run = talk(tracer_provider=traces.provider).langsmith_run_id
        assert otel_realtime.flush(20)
        found = sandbox.conversation(run)
        assert found is not None
        assert found["has_recording"]
        assert threads <= our_threads()
    diagnostics.REGISTER.clear()


@pytest.mark.parametrize("row", ["redact", "sampler", "processor's end", "thread_id", "metadata"])
def test_ctrl_c_in_a_callback_reaches_the_app(
    row: str, traces: Traces, process: pytest.MonkeyPatch
) -> None:
    """On the main thread it is the user's; what was open has ended, and the next call is whole."""
    process.setattr(diagnostics, "RAISE", False)
    bad = Bad(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ROWS[row](bad)(traces)
    assert not PROCESS.live
    bad.armed = False
    before = len(traces.spans)
    talk(tracer_provider=traces.provider)
    assert len(traces.spans) > before
    assert otel_realtime.flush(10)
    diagnostics.REGISTER.clear()


def test_ctrl_c_on_another_thread_is_nobodys(traces: Traces, process: pytest.MonkeyPatch) -> None:
    """A callback made it up: the thread of the app goes on."""
    process.setattr(diagnostics, "RAISE", False)
    ended: list[str] = []

    def hold() -> None:
        ROWS["redact"](Bad(KeyboardInterrupt()))(traces)
        ended.append("whole")

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join(20)
    assert ["whole"] == ended
    assert otel_realtime.flush(10)
    assert not PROCESS.live


def test_sys_exit_in_a_signal_handler_ends_the_app(
    traces: Traces, process: pytest.MonkeyPatch
) -> None:
    """Also while the app's own ``redact`` runs, within ours."""

    def redact(event: dict[str, Any]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGUSR2)
        wait_for(lambda: False, "signal", timeout_s=1)
        return event

    before = signal.signal(signal.SIGUSR2, lambda *_: sys.exit(7))
    try:
        with pytest.raises(SystemExit):
            talk(tracer_provider=traces.provider, settings=Settings(redact=redact))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert not PROCESS.live
    assert [traces.root.name] == ["realtime_session"]


def test_every_callback_of_the_settings_is_a_row() -> None:
    """A new one is tried here, too."""
    callbacks = {
        name
        for name, kind in Settings.__annotations__.items()
        if any(word in str(kind) for word in ("Redact", "OnRecording", "Callable"))
    }
    assert callbacks <= ROWS.keys()
    assert callbacks
