"""What conversations need is imported in the background, and neither a fork nor an exit cuts it short."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from otel_realtime import diagnostics
from otel_realtime.background import Worker
from otel_realtime.process.loading import Loading

SLOW = "import time\ntime.sleep(0.2)\nDONE = True\n"


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that takes a while to import."""
    (tmp_path / "otel_realtime_test_slow.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    yield "otel_realtime_test_slow"
    sys.modules.pop("otel_realtime_test_slow", None)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """Threads for the imports."""
    made = Worker("test-loading", 1)
    yield made
    made.stop(5)


def test_a_module_is_imported_meanwhile(worker: Worker, slow: str) -> None:
    """The caller goes on at once; whoever waits finds it complete."""
    loading = Loading(worker)
    loading.start([slow])
    assert not loading.wait(0)
    assert loading.wait()
    assert sys.modules[slow].DONE


def test_what_is_there_needs_no_thread(worker: Worker) -> None:
    """And nobody waits."""
    loading = Loading(worker)
    loading.start(["sys", "json"])
    assert loading.wait(0)


def test_a_worker_that_has_stopped_begins_again(worker: Worker, slow: str) -> None:
    """As after ``shutdown()``, when the app instruments once more."""
    worker.stop(1)
    loading = Loading(worker)
    loading.start([slow])
    assert loading.wait()
    assert slow in sys.modules


def test_a_module_that_cannot_be_imported_is_not_waited_for(worker: Worker) -> None:
    """The first conversation will say what is wrong with it."""
    loading = Loading(worker)
    loading.start(["otel_realtime_test_missing"])
    assert loading.wait()
    assert worker.wait_until(lambda: not worker._unfinished, 5)
    diagnostics.REGISTER.clear()


def test_an_event_loop_catches_up_without_a_blocking_call(worker: Worker, slow: str) -> None:
    """Which BlockBuster, as under ``langgraph dev``, would not let pass."""
    loading = Loading(worker)

    async def app() -> None:
        with blockbuster_ctx("otel_realtime"):
            loading.start([slow])
            loading.catch_up()
        assert sys.modules[slow].DONE

    asyncio.run(app())


def test_what_no_thread_imports_is_not_waited_for(
    worker: Worker, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever needs it imports it."""
    loading = Loading(worker)
    with monkeypatch.context() as patch:
        patch.setattr(worker, "_start_thread", lambda: None)
        loading.start([slow])
        loading.catch_up()
    assert slow not in sys.modules
    assert loading.wait()


def test_nobody_waits_for_what_a_call_needs_when_it_ends(worker: Worker, slow: str) -> None:
    """Only a fork and an exit do."""
    loading = Loading(worker)
    loading.start(["colorsys"], later=[slow])
    loading.catch_up()
    assert not loading.wait(0)
    assert loading.wait()
    assert sys.modules[slow].DONE
