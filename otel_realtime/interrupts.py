"""Tells exceptions that interrupt the app from those that a callback of the app raised.

A callback (``redact``, a sampler, a span processor, a ``__str__``) may raise anything, ``SystemExit``
included; that costs what it was called for, and nothing else. But Python runs signal handlers
between any two instructions of the main thread, ours included
(https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers), and what they
raise is meant for the app: the user's Ctrl-C, or a SIGTERM that ends it by ``sys.exit()``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Final

#: Libraries that interrupt a task with exceptions of their own, at any switch to another one.
_SCHEDULERS: Final = frozenset({"gevent", "eventlet"})


def let_through(error: BaseException) -> None:
    """Raise an exception again if it interrupts the app; called where a callback's are caught.

    Args:
        error: the exception that was caught.

    Raises:
        BaseException: ``error`` itself, if it is the app's.
    """
    if not isinstance(error, Exception) and interrupts_app(error):
        raise error


def interrupts_app(error: BaseException) -> bool:
    """Return whether an exception is no callback's: Ctrl-C, or raised by a signal handler."""
    if type(error).__module__.partition(".")[0] in _SCHEDULERS:
        return True
    if threading.current_thread() is not threading.main_thread():
        return False  # signal handlers run on the main thread only
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = set(_handlers())
    return any(code in handlers for code in _codes_of(error))


def _handlers() -> Iterator[CodeType]:
    """Yield the code of the signal handlers that are installed."""
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # ``functools.partial``
        handler = getattr(handler, "__func__", handler)  # a method
        if not hasattr(handler, "__code__"):  # an object that can be called
            handler = vars(type(handler)).get("__call__")
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _codes_of(error: BaseException) -> Iterator[CodeType]:
    """Yield the code of every function that an exception passed."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
