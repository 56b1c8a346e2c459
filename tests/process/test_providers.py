"""What the app's own exporters hold is flushed when a process shuts down: side by side, in bounded time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider

from otel_realtime.conversation.opening import open_conversation
from otel_realtime.conversation.options import Options
from otel_realtime.process.process import Process
from otel_realtime.process.providers import Flush, Providers
from tests.support.folder_backend import FolderBackend, routes_to
from tests.support.own_process import own_process

#: Longest time that a flush of nothing that hangs may take on a busy machine.
SOON_S = 5.0


class Exporter(SpanExporter):
    """Keeps the names of spans; blocks first, until the event is set."""

    def __init__(self, goes_on: threading.Event | None = None) -> None:
        self.names: list[str] = []
        self._goes_on = goes_on

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep them."""
        if self._goes_on is not None:
            self._goes_on.wait(20)
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Process]:
    """A process of the test's own, which delivers to a folder."""
    with own_process(choose_route=routes_to(tmp_path / "backend")) as process:
        yield process


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """What an exporter to a dead destination waits for; set at the end of the test."""
    goes_on = threading.Event()
    yield goes_on
    goes_on.set()


def provider_of(*exporters: SpanExporter) -> TracerProvider:
    """A provider whose batches go out by themselves only after a minute."""
    provider = TracerProvider(shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    return provider


def talked(own: Process, provider: Any, *, ends: bool = False) -> Any:
    """A conversation that was traced to a provider."""
    engine = open_conversation(
        Options(tracer_provider=provider), own, handshake=None, caller=Context()
    )
    if ends:
        engine.close()
    return engine


def duration_of(call: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_a_shutdown_flushes_every_provider_it_traced_to(own: Process) -> None:
    """Of conversations that have ended and of those that it ends itself."""
    exporters = Exporter(), Exporter(), Exporter()
    talked(own, provider_of(exporters[0], exporters[1]), ends=True)
    kept = provider_of(exporters[2])
    talked(own, kept)
    assert own.shutdown(10)
    # The first provider may be gone by now, with what it held: that is the app's own doing.
    assert ["realtime_session"] == exporters[2].names


def test_a_destination_that_is_away_takes_nobody_elses_time(
    own: Process, hung: threading.Event, tmp_path: Path
) -> None:
    """Not the next exporter's of the same provider, and not our own delivery's."""
    dead, alive = Exporter(hung), Exporter()
    provider = provider_of(dead, alive)
    engine = talked(own, provider)
    took_s = duration_of(lambda: engine.close() or own.deliver_all(1.0))
    assert ["realtime_session"] == alive.names
    assert (tmp_path / "backend" / "closing.json").exists()
    assert 1.0 <= took_s < 1.0 + SOON_S


def test_a_flush_that_is_not_over_in_time_is_told(own: Process, hung: threading.Event) -> None:
    """The answer is about everything, the app's exporters included."""
    provider = provider_of(Exporter(hung))
    talked(own, provider)
    assert not own.shutdown(0.5)
    hung.set()


class Slow(FolderBackend):
    """Takes long to deliver."""

    def flush(self, timeout_s: float) -> bool:
        """Wait."""
        time.sleep(0.5)
        return True


def test_what_ends_while_we_deliver_is_flushed_too(own: Process, tmp_path: Path) -> None:
    """A span of the app that outlives the call by a moment."""
    own.backend("slow", lambda: Slow(tmp_path / "slow"))
    exporter = Exporter()
    provider = provider_of(exporter)
    talked(own, provider, ends=True)
    span = provider.get_tracer("app").start_span("late")
    threading.Timer(0.25, span.end).start()
    assert own.shutdown(10)
    assert ["realtime_session", "late"] == exporter.names


class Reader(InMemoryMetricReader):
    """Counts its flushes."""

    flushed = 0

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Count."""
        self.flushed += 1
        return super().force_flush(timeout_millis)


def test_meters_are_flushed_with_the_spans(own: Process) -> None:
    """Else what was measured since the last interval would be missing."""
    reader: MetricReader = Reader()
    own.meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    assert own.shutdown(10)
    assert 0 == reader.flushed  # type: ignore[attr-defined]  # nothing was traced, so nothing measured
    provider = provider_of(Exporter())
    talked(own, provider)
    assert own.shutdown(10)
    assert reader.flushed > 0  # type: ignore[attr-defined]


class Broken(Exporter):
    """Flushes with an error, or says that it failed."""

    def __init__(self, answer: BaseException | bool) -> None:
        super().__init__()
        self._answer = answer

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Fail."""
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


@pytest.mark.parametrize("answer", [RuntimeError("no"), SystemExit(3), False])
def test_a_flush_that_fails_is_told_and_costs_nothing_else(
    answer: BaseException | bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the app's exporter: said in one line, and no fault of ours."""
    flushed: list[int] = []
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        flush = Flush([Broken(answer).force_flush, flushed.append], 5.0)
        assert not flush.wait(5.0)
    assert 1 == len(flushed)
    assert isinstance(answer, BaseException) == bool(caplog.messages)


class Own(TracerProvider):
    """A provider that flushes in a way of its own."""

    asked: int | None = None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Take down the time."""
        self.asked = timeout_millis
        return True


def test_a_provider_with_a_flush_of_its_own_is_asked_itself() -> None:
    """With the time that is left, in ms."""
    provider, providers = Own(shutdown_on_exit=False), Providers()
    providers.add(provider)
    assert providers.start_flush(5.0, None).wait(5.0)
    assert provider.asked is not None
    assert 4_000 < provider.asked <= 5_000


class Slotted:
    """A provider of another SDK that nobody can refer to weakly."""

    __slots__ = ()

    def force_flush(self, timeout_millis: int) -> bool:
        """Nobody asks."""
        raise AssertionError


@pytest.mark.parametrize("provider", [NoOpTracerProvider(), object(), Slotted()])
def test_a_provider_that_cannot_be_flushed_is_left_alone(provider: Any) -> None:
    """The app's tracer may be any."""
    providers = Providers()
    providers.add(provider)
    assert providers.start_flush(5.0, None).wait(5.0)


def test_a_shutdown_of_nothing_is_at_once(own: Process) -> None:
    """A server that had no call does not wait."""
    assert duration_of(lambda: own.shutdown(20)) < SOON_S
