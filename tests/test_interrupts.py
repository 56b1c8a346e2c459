"""What interrupts the app passes; what a callback of the app raises does not."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from otel_realtime import diagnostics
from otel_realtime.interrupts import interrupts_app, let_through


class Own(BaseException):
    """An app's own."""


def raised(error: BaseException) -> BaseException:
    """The same, as a callback raises it."""
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.fixture
def sigusr1() -> Iterator[Callable[[object], None]]:
    """Installs a handler of SIGUSR1."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)  # type: ignore[arg-type]
    signal.signal(signal.SIGUSR1, before)


def ends(number: int, frame: object) -> None:
    """A handler as many apps have one."""
    sys.exit(0)


class Handlers:
    """The other forms of a handler."""

    def method(self, number: int, frame: object) -> None:
        raise Own

    def __call__(self, number: int, frame: object) -> None:
        sys.exit(1)


HANDLERS = [ends, Handlers().method, Handlers(), functools.partial(lambda *_: sys.exit(2), 1)]


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), Own(), ValueError()])
def test_a_callbacks_exception_is_caught(error: BaseException) -> None:
    """Whatever its kind."""
    found = raised(error)
    assert not interrupts_app(found)
    let_through(found)


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_a_signal_handler_raises_passes(
    sigusr1: Callable[[object], None], handler: Callable[..., object]
) -> None:
    """Wherever the main thread is: in a callback of the app's, within ours."""
    sigusr1(handler)

    @diagnostics.walled
    def ours() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(1000):
            time.sleep(0.001)

    with pytest.raises((SystemExit, Own)):
        ours()
    assert {} == diagnostics.faults()


def test_ctrl_c_passes_on_the_main_thread() -> None:
    """It is the user's; on any other thread nobody can have pressed it."""
    found = raised(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        let_through(found)
    verdicts: list[bool] = []
    thread = threading.Thread(target=lambda: verdicts.append(interrupts_app(found)))
    thread.start()
    thread.join()
    assert [False] == verdicts


def test_timeouts_of_green_threads_pass() -> None:
    """They strike at any switch, within ours, too."""
    timeout = type("Timeout", (BaseException,), {"__module__": "gevent.timeout"})
    assert interrupts_app(raised(timeout()))


def test_an_interrupted_operation_is_completed_first() -> None:
    """Every step is done; then the interrupt reaches the app."""
    steps, done = diagnostics.Steps("closing"), []
    for error in (None, KeyboardInterrupt(), None):
        with steps:
            if error is not None:
                raise error
            done.append(1)
    with pytest.raises(KeyboardInterrupt):
        steps.report()
    assert [1, 1] == done
