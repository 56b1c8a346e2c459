"""SIGTERM: conversations end, then what would have happened happens."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.process import sigterm
from otel_realtime.process.sigterm import SigtermWatch
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


class Told:
    """What was called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def watch(self) -> SigtermWatch:
        """A watch that notes what it does."""
        return SigtermWatch(lambda: self.calls.append("end"), lambda: self.calls.append("deliver"))

    def handler(self, number: int, frame: Any) -> None:
        """An app's handler."""
        self.calls.append(f"app {number}")


@pytest.fixture
def told() -> Iterator[Told]:
    """An app with a handler of its own; afterwards the signal is as it was."""
    before = signal.getsignal(signal.SIGTERM)
    found = Told()
    signal.signal(signal.SIGTERM, found.handler)
    yield found
    signal.signal(signal.SIGTERM, before)


def current() -> Any:
    """Who handles the signal now."""
    return signal.getsignal(signal.SIGTERM)


def terminate() -> None:
    """Send it to ourselves; Python handles it before the next step of this thread."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_previous_handler_comes_back(told: Told) -> None:
    """Whoever it was, also when it is put back twice."""
    watch = told.watch()
    for previous in (told.handler, signal.SIG_DFL):
        signal.signal(signal.SIGTERM, previous)
        watch.install()
        assert previous is not current()
        watch.uninstall()
        watch.uninstall()
        assert previous == current()


def test_a_second_install_changes_nothing(told: Told) -> None:
    """It does not take itself for the app's."""
    watch = told.watch()
    watch.install()
    watch.install()
    watch.uninstall()
    assert told.handler == current()


def test_a_handler_that_came_later_is_called_after_the_end(told: Told) -> None:
    """The next conversation puts ours over it; it comes back, and not the one before it."""
    watch = told.watch()
    watch.install()
    later = Told()
    later.calls = told.calls
    signal.signal(signal.SIGTERM, later.handler)
    watch.install()
    terminate()
    wait_for(lambda: len(told.calls) == 3, "delivery", every_s=0.001)
    assert ["end", f"app {signal.SIGTERM}"] == [word for word in told.calls if word != "deliver"]
    watch.uninstall()
    assert later.handler == current()


def test_a_process_that_ignores_it_goes_on_ignoring_it(told: Told) -> None:
    """It lives on, and so do its conversations."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    told.watch().install()
    assert signal.SIG_IGN == current()


def test_only_the_main_thread_can_set_a_handler(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Another one gets a warning, said once, and changes nothing, also at the end."""
    watch = told.watch()
    with caplog.at_level(logging.WARNING, "otel_realtime"):
        for _ in range(2):
            _in_a_thread(watch.install)
    assert told.handler == current()
    assert 1 == len([text for text in caplog.messages if "main thread" in text])
    watch.install()
    ours = current()
    _in_a_thread(watch.uninstall)
    assert ours == current()
    watch.uninstall()
    assert told.handler == current()


def _in_a_thread(call: Any) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_conversations_end_before_the_apps_handler_runs(told: Told) -> None:
    """Delivery begins at once and does not hold the app's own end up."""
    watch = told.watch()
    watch.install()
    terminate()
    wait_for(lambda: len(told.calls) == 3, "delivery", every_s=0.001)
    assert ["end", f"app {signal.SIGTERM}"] == [word for word in told.calls if word != "deliver"]
    watch.uninstall()


def test_an_end_that_takes_long_does_not_hold_up_the_app(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its handler runs after a second, and the end goes on beside it."""
    monkeypatch.setattr(sigterm, "END_S", 0.05)
    free = threading.Event()
    watch = SigtermWatch(lambda: free.wait(10) and None, lambda: None)
    watch.install()
    terminate()
    wait_for(lambda: told.calls, "handler", every_s=0.001)
    assert [f"app {signal.SIGTERM}"] == told.calls
    free.set()
    watch.uninstall()


def test_a_handler_that_calls_the_one_before_it_makes_no_circle(told: Told) -> None:
    """The app saved ours, put its own there, and ours went on top of that."""
    watch = told.watch()
    watch.install()
    before = current()

    def later(number: int, frame: Any) -> None:
        told.calls.append("later")
        before(number, frame)

    signal.signal(signal.SIGTERM, later)
    watch.install()
    terminate()
    wait_for(lambda: f"app {signal.SIGTERM}" in told.calls, "handler", every_s=0.001)
    said = [word for word in told.calls if word != "deliver"]
    assert ["end", "later", "end", f"app {signal.SIGTERM}"] == said
    watch.uninstall()
    assert later == current()
    told.calls.clear()
    terminate()
    wait_for(lambda: len(told.calls) > 1, "handler", every_s=0.001)
    assert ["later", f"app {signal.SIGTERM}"] == told.calls


def test_handlers_that_come_and_go_leave_nothing_behind(told: Told) -> None:
    """An app that sets its own for each call, as ``asyncio`` does with its loop."""
    watch = told.watch()
    watch.install()
    for _ in range(5):
        signal.signal(signal.SIGTERM, Told().handler)
        watch.install()
    gc.collect()
    assert 1 == len(watch._links)
    watch.uninstall()


def test_the_default_is_put_back_for_good_only_by_uninstall(told: Told) -> None:
    """Once the signal has come; until then nobody meets a ``signal.signal`` that is not Python's."""
    set_handler = signal.signal
    watch = told.watch()
    watch.install()
    assert set_handler is signal.signal
    terminate()
    wait_for(lambda: len(told.calls) == 3, "delivery", every_s=0.001)
    signal.signal(signalnum=signal.SIGTERM, handler=signal.SIG_DFL)
    assert callable(current())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.SIG_IGN == current()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    watch.uninstall()
    assert (set_handler, signal.SIG_DFL) == (signal.signal, current())


DEFAULT = """
import signal, sys, time
from otel_realtime.process.sigterm import SigtermWatch

def end():
    print("ended", flush=True)
    if "fails" in sys.argv:
        raise RuntimeError("no end")

watch = SigtermWatch(end, lambda: print("delivered", flush=True))
watch.install()
print("ready", flush=True)
while True: time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("argument", "expected"), [("", "ended\ndelivered\n"), ("fails", "ended\n")]
)
def test_without_a_handler_the_process_dies_of_it(argument: str, expected: str) -> None:
    """After the end and the delivery, whatever they raise."""
    child = subprocess.Popen(
        [sys.executable, "-c", DEFAULT, argument],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert "ready\n" == child.stdout.readline()
    child.terminate()
    said, _ = child.communicate(timeout=20)
    assert (expected, -signal.SIGTERM) == (said, child.returncode)


RAISED_AGAIN = """
import signal, time
from otel_realtime.process.sigterm import SigtermWatch

def handler(number, frame):
    raised.append(number)

def deliver():
    time.sleep(0.3)
    print("delivered", flush=True)

raised = []
watch = SigtermWatch(lambda: print("ended", flush=True), deliver)
signal.signal(signal.SIGTERM, handler)
watch.install()
print("ready", flush=True)
while not raised:
    time.sleep(0.01)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.raise_signal(signal.SIGTERM)
while True: time.sleep(0.05)
"""


def test_a_server_that_raises_the_signal_again() -> None:
    """As uvicorn does after its own shutdown: the process dies of it, delivered."""
    child = subprocess.Popen(
        [sys.executable, "-c", RAISED_AGAIN],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert "ready\n" == child.stdout.readline()
    child.terminate()
    said, _ = child.communicate(timeout=20)
    assert -signal.SIGTERM == child.returncode
    assert said.splitlines()[0] == "ended"
    assert "delivered" in said


CHILD = """
import multiprocessing, os, signal, time
from otel_realtime.process.sigterm import SigtermWatch

def deliver():
    time.sleep(0.5)
    print("delivered", flush=True)

def work():
    watch = SigtermWatch(lambda: print("ended", flush=True), deliver)
    watch.install()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(20)
    print(child.exitcode)
"""


def test_a_worker_that_returns_meanwhile_waits_for_the_delivery() -> None:
    """A child of ``multiprocessing`` runs no ``atexit``; it exits with its own code."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert ("ended\ndelivered\n0\n", "") == (done.stdout, done.stderr)
