"""The worker: jobs, retries, hurry, flush, stop, fork; threads that cannot start, or die."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_realtime import background, diagnostics
from otel_realtime.background import Again, Worker
from tests.support.waiting import wait_for


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("test-worker")
    yield made
    made.stop(5)
    diagnostics.REGISTER.clear()


def threads(name: str = "test-worker") -> list[threading.Thread]:
    """The living threads of a worker."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container at its pid limit, or in an interpreter that is exiting."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_jobs_run_in_order(worker: Worker) -> None:
    """One thread, first come, first served."""
    done: list[int] = []
    for number in range(20):
        worker.submit(partial(done.append, number))
    assert worker.flush(5)
    assert list(range(20)) == done
    assert 1 == len(threads())


def test_an_idle_thread_keeps_nothing_of_its_last_job(worker: Worker) -> None:
    """A job may hold a whole call."""

    class Call:
        def deliver(self) -> None:
            return None

    call = Call()
    kept = weakref.ref(call)
    worker.submit(call.deliver)
    del call
    assert worker.flush(5)
    wait_for(lambda: kept() is None, "end of the job")


def test_a_thread_keeps_nothing_of_the_context_that_it_was_started_in(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever hands contexts on to threads, it would be the first call's for good."""
    variable: ContextVar[str] = ContextVar("variable")
    inherited: list[Context] = []
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:  # as an instrumentation, or Python without a GIL
        inherited.append(copy_context())
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    variable.set("a conversation's")
    assert worker.submit(lambda: None) is not None
    assert worker.flush(5)
    assert [None] == [context.get(variable) for context in inherited]


def test_no_thread_before_there_is_work(worker: Worker) -> None:
    """A worker that nobody uses costs nothing."""
    assert [] == threads()
    assert worker.flush(1)


def test_a_job_comes_back_when_it_says_so(worker: Worker) -> None:
    """``Again`` occupies no thread while it waits."""
    times: list[float] = []

    def job() -> Again | None:
        times.append(time.monotonic())
        return Again(0.05) if len(times) < 3 else None

    between: list[int] = []
    worker.submit(job)
    worker.submit(lambda: between.append(len(times)))
    wait_for(lambda: len(times) == 3, "all runs")
    assert [1] == between
    assert times[2] - times[0] >= 0.1


def test_hurry_skips_our_own_waits_but_not_the_servers(worker: Worker) -> None:
    """What a server asked for stays; our backoff is cut short."""
    runs: list[str] = []

    def job(name: str, floor_s: float) -> Again | None:
        runs.append(name)
        return Again(30, floor_s=floor_s) if runs.count(name) == 1 else None

    worker.submit(partial(job, "ours", 0))
    worker.submit(partial(job, "theirs", 30))
    wait_for(lambda: len(runs) == 2, "first runs")
    worker.hurry()
    wait_for(lambda: runs.count("ours") == 2, "second run")
    assert 1 == runs.count("theirs")


def test_hurry_does_not_shorten_the_floor_of_a_wait(worker: Worker) -> None:
    """However often somebody hurries: what keeps a request from being repeated at once stays."""
    times: list[float] = []

    def job() -> Again | None:
        times.append(time.monotonic())
        return Again(30, floor_s=0.2) if len(times) < 3 else None

    worker.submit(job)
    deadline = time.monotonic() + 5
    while len(times) < 3 and time.monotonic() < deadline:
        worker.hurry()
        time.sleep(0.01)
    assert 3 == len(times)
    assert min(after - before for before, after in itertools.pairwise(times)) >= 0.2


def test_hurry_reaches_a_job_that_is_running(worker: Worker) -> None:
    """Its next wait is skipped: whatever it missed has come since."""
    running, go_on = threading.Event(), threading.Event()
    runs: list[int] = []

    def job() -> Again | None:
        runs.append(1)
        if len(runs) > 1:
            return None
        running.set()
        go_on.wait(5)
        return Again(30)

    worker.submit(job)
    assert running.wait(5)
    worker.hurry()
    go_on.set()
    assert worker.flush(5)
    assert 2 == len(runs)


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
def test_whatever_a_job_raises_costs_that_job(worker: Worker, error: BaseException) -> None:
    """It is counted, its owner is told, ``flush`` says so once, and the next job runs."""
    told: list[BaseException] = []
    done: list[int] = []

    def bad() -> None:
        raise error

    worker.submit(bad, on_fault=told.append)
    worker.submit(lambda: done.append(1))
    assert not worker.flush(5)
    assert ([error], [1]) == (told, done)
    assert {f"test-worker: {type(error).__name__}": 1} == diagnostics.faults()
    assert worker.flush(5)


def test_a_job_that_is_never_over_runs_again_after_what_it_raises(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``flush`` says that once; the job then goes on as if nothing had happened."""
    monkeypatch.setattr(background, "_FAULT_S", 0.01)
    runs: list[int] = []

    def job() -> Again | None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise SystemExit
        return Again(0.0) if len(runs) < 5 else None

    worker.submit(job, repeats=True)
    assert not worker.flush(5)
    assert [0, 1, 2, 3, 4] == runs
    assert worker.flush(5)


def test_a_callback_that_raises_costs_nothing_more(worker: Worker) -> None:
    """The thread goes on."""

    def bad(*_: object) -> None:
        raise SystemExit

    done: list[int] = []
    worker.submit(bad, on_fault=bad)
    worker.submit(lambda: done.append(1))
    assert not worker.flush(5)
    assert [1] == done


def test_a_start_that_failed_is_tried_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refusal of the system does not silence a worker for the life of the process."""
    done: list[int] = []
    with monkeypatch.context() as patch:
        no_more_threads(patch)
        assert worker.submit(lambda: done.append(1)) is not None
    assert [] == done
    worker.submit(lambda: done.append(2))
    wait_for(lambda: done == [1, 2], "both jobs")


def test_without_any_thread_the_caller_runs_the_jobs(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.12 starts no thread at exit; ``flush`` there still delivers."""
    no_more_threads(monkeypatch)
    runs: list[str] = []

    def job() -> Again | None:
        runs.append(threading.current_thread().name)
        return Again(0.01) if len(runs) < 3 else None

    worker.submit(job)
    assert worker.flush(5)
    assert [threading.current_thread().name] * 3 == runs


def test_a_thread_that_died_is_replaced(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app's test that breaks every wait for a while kills nothing for good."""
    real = threading.Condition.wait
    monkeypatch.setattr("otel_realtime.background._MAX_BROKEN_WAITS", 3)
    monkeypatch.setattr("otel_realtime.background._REST_S", 0.001)
    worker.start()
    wait_for(lambda: len(threads()) == 1, "a thread")
    (first,) = threads()
    with monkeypatch.context() as patch:

        def broken(self: threading.Condition, timeout: float | None = None) -> bool:
            if threading.current_thread() is first:  # not the threads of OpenTelemetry
                raise RuntimeError("patched")
            return real(self, timeout)

        patch.setattr(threading.Condition, "wait", broken)
        with worker._changed:
            worker._changed.notify_all()
        wait_for(lambda: not first.is_alive(), "its end")
    done: list[int] = []
    worker.submit(lambda: done.append(1))
    assert worker.flush(5)
    assert [1] == done


def test_patched_clocks_of_the_app_are_not_ours(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``time.sleep`` and ``time.monotonic`` are often replaced in tests."""
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("slept by the app's function"))
    done: list[int] = []
    worker.submit(lambda: done.append(1), after_s=0.01)
    assert worker.flush(5)
    assert [1] == done


def test_a_cancelled_job_does_not_run(worker: Worker) -> None:
    """And nobody waits for it."""
    done: list[int] = []
    ticket = worker.submit(lambda: done.append(1), after_s=30)
    assert ticket is not None
    ticket.cancel()
    assert worker.flush(5)
    assert [] == done


def test_stop_leaves_no_thread(worker: Worker) -> None:
    """Jobs that wait are forgotten, and new ones refused until ``resume``."""
    done: list[int] = []
    worker.submit(lambda: done.append(1))
    assert worker.flush(5)
    worker.submit(lambda: done.append(2), after_s=30)
    assert worker.stop(5)
    assert [] == threads()
    assert worker.submit(lambda: done.append(3)) is None
    worker.resume()
    worker.submit(lambda: done.append(4))
    assert worker.flush(5)
    assert [1, 4] == done


def test_stop_is_bounded(worker: Worker) -> None:
    """A job that does not end is not waited for, and that is said."""
    running, go_on = threading.Event(), threading.Event()

    def job() -> None:
        running.set()
        go_on.wait(5)

    worker.submit(job)
    assert running.wait(5)
    started = time.monotonic()
    assert not worker.stop(0.05)
    assert time.monotonic() - started < 2
    go_on.set()


def test_flush_is_bounded(worker: Worker) -> None:
    """It says False rather than wait for ever."""
    worker.submit(lambda: Again(0.01, floor_s=0.01))
    assert not worker.flush(0.05)


def test_several_threads_share_the_jobs() -> None:
    """A slow job holds up nobody else."""
    worker = Worker("test-pool", 3)
    go_on = threading.Event()
    done: list[int] = []
    try:
        for _ in range(2):
            worker.submit(lambda: bool(go_on.wait(5)) and None)
        worker.submit(lambda: done.append(1))
        wait_for(lambda: done == [1], "the third job")
        go_on.set()
        assert worker.flush(5)
    finally:
        go_on.set()
        assert worker.stop(5)
    assert [] == threads("test-pool")


def test_a_slow_job_holds_up_the_others_as_long_as_the_worker_is_patient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until then they run one after the other, as ever; so do those after it, on one thread again."""
    worker = Worker("test-patient", patience_s=0.2, most=3)
    monkeypatch.setattr(background, "SURPLUS_S", 0.1)
    go_on, lock = threading.Event(), threading.Lock()
    now, most, done = [0], [0], []

    def job(number: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        done.append(number)

    try:
        started = time.monotonic()
        worker.submit(lambda: bool(go_on.wait(10)) and None)
        for number in range(5):
            worker.submit(partial(job, number))
        wait_for(lambda: len(done) == 5, "the jobs behind it")
        assert time.monotonic() - started >= 0.2
        assert ([0, 1, 2, 3, 4], 1) == (done, most[0])
        assert not worker.flush(0.05)
    finally:
        go_on.set()
    assert worker.flush(5)
    wait_for(lambda: 1 == len(threads("test-patient")), "end of the others")
    worker.submit(partial(job, 6))
    assert worker.flush(5)
    assert worker.stop(5)
    assert [] == threads("test-patient")


def test_slow_jobs_take_no_more_threads_than_the_most() -> None:
    """Those that hang for ever are bounded, and what comes after them waits."""
    worker = Worker("test-most", patience_s=0.02, most=3)
    go_on, running, done = threading.Event(), [], []

    def hang() -> None:
        running.append(1)
        go_on.wait(10)

    try:
        for _ in range(5):
            worker.submit(hang)
        worker.submit(lambda: done.append(1))
        wait_for(lambda: len(running) == 3, "as many as there may be")
        time.sleep(0.1)
        assert (3, []) == (len(running), done)
    finally:
        go_on.set()
    assert worker.flush(5)
    assert (5, [1]) == (len(running), done)
    assert worker.stop(5)
    assert [] == threads("test-most")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forks_child_starts_over(worker: Worker) -> None:
    """It has none of the parent's jobs, and can run its own."""
    worker.submit(lambda: None, after_s=30)
    child = os.fork()
    if child == 0:  # only what the test is about: the child must not run pytest
        done: list[int] = []
        worker.submit(lambda: done.append(1))
        ok = worker.flush(5) and done == [1] and len(threads()) == 1
        os._exit(0 if ok else 1)
    assert 0 == os.waitpid(child, 0)[1]
    assert worker.stop(5)


STEPS = st.lists(st.sampled_from(["job", "again", "bad", "hurry", "flush"]), max_size=12)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_every_job_runs_to_its_end(steps: list[str]) -> None:
    """Whatever the order: a job runs, comes back as often as it says, or is counted as failed."""
    worker = Worker("test-steps", 2)
    left: dict[int, int] = {}
    lock = threading.Lock()

    def job(number: int) -> Again | None:
        with lock:
            left[number] -= 1
            return Again(0.001) if left[number] else None

    def bad() -> None:
        raise ValueError

    calls: dict[str, Callable[[int], Any]] = {
        "job": lambda n: (left.update({n: 1}), worker.submit(partial(job, n))),
        "again": lambda n: (left.update({n: 3}), worker.submit(partial(job, n))),
        "bad": lambda n: worker.submit(bad),
        "hurry": lambda n: worker.hurry(),
        "flush": lambda n: worker.flush(5),
    }
    try:
        for number, step in enumerate(steps):
            calls[step](number)
        since = steps[len(steps) - steps[::-1].index("flush") :] if "flush" in steps else steps
        assert worker.flush(5) is ("bad" not in since)
        assert not any(left.values())
        failed = diagnostics.faults().get("test-steps: ValueError", 0)
        assert steps.count("bad") == failed
    finally:
        diagnostics.REGISTER.clear()
        assert worker.stop(5)
