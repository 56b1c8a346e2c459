"""Distinguishes exceptions that interrupt the app from those that a callback of the app raised.

A callback (``redact``, a sampler, a span processor, a ``__str__``) may raise anything, including
``SystemExit``; only the result of that callback is then lost. But Python runs signal handlers between
any two instructions of the main thread, including our code
(https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers), and the exceptions
that they raise are meant for the app: the user's Ctrl-C, or a SIGTERM handler that calls ``sys.exit()``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Final

#: Libraries that interrupt a task with their own exceptions, at any switch to another task.
_SCHEDULERS: Final = frozenset({"gevent", "eventlet"})


def let_through(error: BaseException) -> None:
    """Re-raise an exception if it interrupts the app; called where exceptions of callbacks are caught.

    Args:
        error: the exception that was caught.

    Raises:
        BaseException: ``error`` itself, if it interrupts the app.
    """
    if not isinstance(error, Exception) and interrupts_app(error):
        raise error


def interrupts_app(error: BaseException) -> bool:
    """Return whether an exception interrupts the app: Ctrl-C, or raised by a signal handler or scheduler."""
    if type(error).__module__.partition(".")[0] in _SCHEDULERS:
        return True
    if threading.current_thread() is not threading.main_thread():
        return False  # signal handlers run on the main thread only
    if isinstance(error, KeyboardInterrupt):
        return True
    handlers = set(_handlers())
    return any(code in handlers for code in _codes_of(error))


def _handlers() -> Iterator[CodeType]:
    """Yield the code objects of the installed signal handlers."""
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        handler = getattr(handler, "func", handler)  # ``functools.partial``
        handler = getattr(handler, "__func__", handler)  # a method
        if not hasattr(handler, "__code__"):  # a callable object
            handler = vars(type(handler)).get("__call__")
        code = getattr(handler, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _codes_of(error: BaseException) -> Iterator[CodeType]:
    """Yield the code object of every function that an exception passed through."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
