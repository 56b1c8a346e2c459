"""The services of a process: made once, waited for, stopped, and holding on to nothing of the app's."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from otel_realtime import tap
from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.opening import open_conversation
from otel_realtime.conversation.options import Options
from otel_realtime.delivery.model import Opening
from otel_realtime.process.process import Process
from otel_realtime.settings import Settings
from otel_realtime.tracing.members import MembershipProcessor
from tests.support.calls import append_frame, tone
from tests.support.folder_backend import FolderBackend, FolderRoot, routes_to
from tests.support.own_process import own_process
from tests.support.provoked import provoked
from tests.support.traces import Traces
from tests.support.waiting import wait_for


@pytest.fixture
def own(traces: Traces, tmp_path: Path) -> Iterator[Process]:
    """A process of the test's own, which delivers to a folder."""
    with own_process(traces, choose_route=routes_to(tmp_path / "backend")) as process:
        yield process


class Provider(TracerProvider):
    """Counts the processors that it is given."""

    def __init__(self) -> None:
        super().__init__(shutdown_on_exit=False)
        self.given: list[SpanProcessor] = []

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self.given.append(span_processor)
        super().add_span_processor(span_processor)


def opened(own: Process, **options: Any) -> Engine:
    """A conversation with a little sound."""
    engine = open_conversation(Options(**options), own, handshake=None, caller=Context())
    engine.frames.frame_sent(append_frame(tone(200).tobytes()))
    return engine


def our_threads() -> set[threading.Thread]:
    """Threads of this package."""
    return {one for one in threading.enumerate() if one.name.startswith("otel-realtime")}


# -- made once -------------------------------------------------------------------------------------


def test_a_backend_is_made_once(own: Process, tmp_path: Path) -> None:
    """For each key, also when several threads ask for it at once."""
    made: list[FolderBackend] = []
    together = threading.Barrier(4)

    def make() -> FolderBackend:
        made.append(FolderBackend(tmp_path / "made"))
        return made[-1]

    def ask() -> None:
        together.wait(5)
        own.backend("key", make)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 == len(made)
    assert made[0] is own.backend("key", make)
    assert made[0] is not own.backend("another key", make)


def test_a_backend_that_cannot_be_made_is_tried_again(own: Process, tmp_path: Path) -> None:
    """Nothing is remembered of a failure, and nothing stays locked."""

    def fails() -> FolderBackend:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        own.backend("key", fails)
    backend = FolderBackend(tmp_path / "made")
    assert backend is own.backend("key", lambda: backend)


def test_our_processor_is_attached_once_per_provider(own: Process) -> None:
    """However many conversations it traces."""
    first, second = Provider(), Provider()
    for provider in (first, second, first, second):
        own.attach_processor(provider)
    assert [[MembershipProcessor]] * 2 == [
        [type(one) for one in provider.given] for provider in (first, second)
    ]


def test_a_provider_that_takes_no_processors_is_left_alone(own: Process) -> None:
    """The app's tracer may be any."""
    own.attach_processor(object())


def test_a_provider_is_not_kept_alive(own: Process) -> None:
    """When the app lets go of it, so have we."""
    provider = TracerProvider(shutdown_on_exit=False)
    known = weakref.ref(provider)
    opened(own, tracer_provider=provider).close()
    assert own.flush(10)
    provider.shutdown()
    del provider
    wait_for(lambda: gc.collect() is not None and known() is None, "end of the provider")


def test_processors_do_nothing_once_deactivated(own: Process) -> None:
    """A later conversation attaches another one."""
    provider = Provider()
    own.attach_processor(provider)
    own.deactivate_processors()
    own.attach_processor(provider)
    first, second = provider.given
    assert isinstance(first, MembershipProcessor)
    assert isinstance(second, MembershipProcessor)
    assert [True, False] == [first._inert, second._inert]


def test_the_provider_of_a_conversation(own: Process, traces: Traces) -> None:
    """Its own, the process's, or the global one of the moment it opens."""
    provider = TracerProvider(shutdown_on_exit=False)
    assert provider is own.tracer_provider_for(provider)
    assert traces.provider is own.tracer_provider_for(None)
    own.tracer_provider = None
    assert trace.get_tracer_provider() is own.tracer_provider_for(None)


def test_the_settings_of_the_process(own: Process, process: pytest.MonkeyPatch) -> None:
    """What the app gave, else what the environment says now."""
    process.setenv("OTEL_REALTIME_SPAN_LIMIT", "77")
    assert 77 == own.effective_settings.span_limit
    own.settings = Settings(span_limit=5)
    assert own.settings is own.effective_settings


# -- the way out -----------------------------------------------------------------------------------


def test_live_folders_are_those_of_conversations_that_go_on(own: Process) -> None:
    """One that has ended is the delivery's."""
    first, second = opened(own), opened(own)
    assert {first.folder, second.folder} == own.live_folders()
    first.close()
    assert {second.folder} == own.live_folders()
    second.close()
    assert set() == own.live_folders()


def test_a_shutdown_leaves_no_thread_of_ours(own: Process) -> None:
    """Conversations that go on are ended and delivered before."""
    before = our_threads()
    engine = opened(own, settings=Settings(on_recording=lambda path, info: None))
    folder = engine.folder
    assert folder is not None
    assert our_threads() > before
    assert own.shutdown(10)
    assert set() == our_threads() - before
    assert (True, False, set()) == (engine.closed, folder.exists(), own.live)


def test_abandoned_sockets_are_looked_for_whatever_one_look_raised(
    own: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chore of the whole process is not over with one fault."""
    monkeypatch.setattr("otel_realtime.process.process._POLL_S", 0.01)
    monkeypatch.setattr("otel_realtime.background._FAULT_S", 0.01)
    looks: list[int] = []

    def end_abandoned() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            raise SystemExit

    monkeypatch.setattr(tap, "end_abandoned", end_abandoned)
    engine = opened(own)
    wait_for(lambda: len(looks) > 2, "another look")
    engine.close()
    provoked("otel-realtime-chores: SystemExit")


def test_a_process_goes_on_after_a_shutdown(own: Process, tmp_path: Path) -> None:
    """The next conversation starts everything anew, and is delivered as well."""
    for _ in range(2):
        opened(own).close()
        closing = tmp_path / "backend" / "closing.json"
        assert own.shutdown(10)
        assert closing.exists()
        closing.unlink()


def test_backends_are_stopped_and_forgotten(own: Process, tmp_path: Path) -> None:
    """The next conversation gets a new one."""
    backend = FolderBackend(tmp_path / "made")
    assert backend is own.backend("key", lambda: backend)
    assert own.shutdown(5)
    assert backend.stopped
    other = FolderBackend(tmp_path / "made")
    assert other is own.backend("key", lambda: other)


class Slow(FolderBackend):
    """Never gets rid of anything in time."""

    def flush(self, timeout_s: float) -> bool:
        return False

    stop = flush


def test_a_backend_that_is_not_done_is_told(own: Process, tmp_path: Path) -> None:
    """By ``flush`` and by ``shutdown``; the others are waited for all the same."""
    done = FolderBackend(tmp_path / "done")
    own.backend("slow", lambda: Slow(tmp_path / "slow"))
    own.backend("done", lambda: done)
    assert not own.flush(1)
    assert not own.shutdown(1)
    assert done.stopped


class Broken(FolderBackend):
    """Cannot take the end of a conversation."""

    def open(self, opening: Opening, *, ready: Any = None, accepted: Any = None) -> FolderRoot:
        root = super().open(opening, ready=ready)
        root.finish = self._fail  # type: ignore[method-assign]
        return root

    def _fail(self, *given: Any, **named: Any) -> None:
        raise RuntimeError("no end")


def test_a_finishing_job_that_failed_is_told_once(own: Process, tmp_path: Path) -> None:
    """``flush`` says False; the folder stays for a recovery, and the next call is about the rest."""
    own.backend(tmp_path / "backend", lambda: Broken(tmp_path / "backend"))
    engine = opened(own)
    folder = engine.folder
    engine.close()
    assert not own.flush(10)
    who = "otel-realtime-finisher"
    provoked(f"{who}: RuntimeError", f"{who}: on_fault: RuntimeError")
    assert folder is not None
    assert folder.exists()
    assert own.flush(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forks_child_starts_with_nothing(own: Process, traces: Traces) -> None:
    """It ends and sends nothing of the parent's; the parent goes on."""
    engine = opened(own)
    spans = len(traces.spans)
    child = os.fork()
    if child == 0:
        own.after_fork()
        engine.close()
        fine = engine.closed and not own.live and len(traces.spans) == spans and own.flush(0.1)
        os._exit(0 if fine else 1)
    assert 0 == os.waitpid(child, 0)[1]
    assert {engine} == own.live
    engine.close()
    assert own.flush(10)
    assert 1 == len(traces.roots)
