"""The process-wide register of faults, lost telemetry and warnings that were already logged.

A fault is a defect of this package. ``fault`` keeps it away from the app: it is counted and logged once
per kind, and never raised. OpenTelemetry requires this of every library:
https://opentelemetry.io/docs/specs/otel/error-handling/

``lose`` counts telemetry that is lost for good. The count is reported as the metric
``otel_realtime.telemetry.lost`` with the kind as attribute ``what``. Data that waits on disk for a
retry is not lost. ``warn_once`` logs a warning once per key. ``logger_of`` returns the logger of a
module, whose lines contain no credentials.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from otel_realtime.credentials import without_secrets
from otel_realtime.interrupts import let_through

P = ParamSpec("P")
R = TypeVar("R")


class _Discreet(logging.Filter):
    """Replaces credentials in log records, including their tracebacks.

    Messages quote text from elsewhere: URLs from the environment, errors of libraries, exceptions of
    the app's own callbacks.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its credentials replaced."""
        try:
            self._clean(record)
        except BaseException as error:  # noqa: BLE001 - an argument's ``__str__`` raised; logging reports it
            let_through(error)
            return True
        return True

    @staticmethod
    def _clean(record: logging.LogRecord) -> None:
        message = record.getMessage()
        cleaned = without_secrets(message)
        if cleaned != message:
            record.msg, record.args = cleaned, ()
        if not record.exc_info or record.exc_info[1] is None:
            return
        text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        cleaned = without_secrets(text)
        if cleaned != text:
            # Remove the exception, too, because handlers of other libraries read it directly.
            record.exc_info, record.exc_text = None, cleaned


_DISCREET: Final = _Discreet()


def logger_of(name: str) -> logging.Logger:
    """Return a module's logger; its lines contain no credentials.

    Args:
        name: the module's ``__name__``.
    """
    found = logging.getLogger(name)
    found.addFilter(_DISCREET)  # a logger's filter does not apply to its child loggers
    return found


logger = logger_of(__name__)

# Kinds of lost telemetry: values of the metric's attribute ``what``.
#: A span for LangSmith that was refused, could not be encoded, or did not fit in the queue.
SPAN: Final = "span"
#: An undelivered conversation or batch of spans, deleted to keep the state directory within its limits.
CONVERSATION: Final = "conversation"
BATCH: Final = "batch"
#: A gap in a recording: the writer's backlog was full, or audio could not be read.
AUDIO: Final = "audio"
#: An event that got no span because its trace was full (``Settings.span_limit``).
EVENT: Final = "event"
#: Telemetry lost to one of our own defects; the log has the traceback.
FAULT: Final = "fault"

#: Maximum number of warning keys, so that memory is bounded even if keys vary; an evicted key logs again.
MAX_KEYS: Final = 1024

#: Raise faults instead of swallowing them. Only tests set it.
RAISE = False


class Register:
    """Faults, losses and logged warnings of one process; thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything, in a forked child or between tests."""
        # A new lock: a thread of the parent may have held the old one, and would never release it here.
        self._lock = threading.Lock()
        self.faults: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._warned: dict[Hashable, None] = {}

    def fault(self, where: str, error: BaseException) -> bool:
        """Count a fault.

        Returns:
            ``True`` for the first fault of its kind (operation and exception type).
        """
        kind = f"{where}: {type(error).__name__}"
        with self._lock:
            self.faults[kind] += 1
            self._lost[FAULT] += 1
            return self.faults[kind] == 1

    def lose(self, what: str, count: int) -> None:
        """Count lost telemetry of one kind."""
        with self._lock:
            self._lost[what] += count

    def lost(self) -> dict[str, int]:
        """Return the number of losses by kind."""
        with self._lock:
            return dict(self._lost)

    def first(self, key: Hashable) -> bool:
        """Register a warning's key; return ``True`` if it is new."""
        with self._lock:
            if key in self._warned:
                return False
            if len(self._warned) >= MAX_KEYS:  # dicts keep insertion order: the first is the oldest
                del self._warned[next(iter(self._warned))]
            self._warned[key] = None
            return True

    def forget(self, key: Hashable) -> None:
        """Remove a warning's key, so that it is new again."""
        with self._lock:
            self._warned.pop(key, None)


REGISTER: Final = Register()


def fault(where: str, error: BaseException) -> None:
    """Report one of our own defects on the app's task, without disturbing the app.

    Args:
        where: the operation that failed, for the log.
        error: the exception that it raised.

    Raises:
        BaseException: ``error`` itself, if ``RAISE`` is set (in tests).
    """
    report(where, error)
    if RAISE:
        raise error


def report(where: str, error: BaseException) -> None:
    """Count one of our own defects and log it once per kind; never raises."""
    if REGISTER.fault(where, error):
        _log(
            logger,
            logging.ERROR,
            "telemetry of a conversation is incomplete (%s: %s); the conversation itself is not "
            "affected. This is a bug in otel-realtime: please report it with this traceback.",
            where,
            type(error).__name__,
            error=error,
        )


def _log(
    log: logging.Logger,
    level: int,
    message: str,
    *arguments: object,
    error: BaseException | None = None,
) -> None:
    """Log a message; if a handler of the app raises, the message is lost."""
    try:
        log.log(level, message, *arguments, exc_info=error)
    except BaseException as raised:  # noqa: BLE001 - a handler of the app
        let_through(raised)


def walled(function: Callable[P, R]) -> Callable[P, R | None]:
    """Decorate a function that the app calls: report our faults and return ``None`` instead of raising.

    An exception that interrupts the app (see ``interrupts``) propagates. Any other exception of an
    app's callback, even ``SystemExit``, does not.
    """

    where = f"{function.__module__.removeprefix('otel_realtime.')}.{function.__qualname__}"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - ours must not reach the app
            let_through(error)
            fault(where, error)
            return None

    return call


class Steps:
    """Runs the steps of an operation that must be completed, even if some of them fail.

    A failed step is noted, and the next one still runs::

        steps = Steps("closing")
        with steps:
            ...
        with steps:
            ...
        steps.report()

    Args:
        where: the operation, for the log.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._failed: list[BaseException] = []

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> bool:
        if error is not None:
            self._failed.append(error)
        return True

    def report(self) -> None:
        """Report the steps that failed.

        Raises:
            BaseException: an exception that interrupted the app meanwhile; or the first failure, if
                ``RAISE`` is set (in tests).
        """
        failed, self._failed = self._failed, []
        for error in failed:
            let_through(error)
        for error in failed:
            fault(self._where, error)


def faults() -> dict[str, int]:
    """Return the number of faults (our own defects) since the process started, by kind."""
    return dict(REGISTER.faults)


def lose(what: str, count: int = 1) -> None:
    """Count telemetry that is lost for good.

    Args:
        what: ``SPAN``, ``CONVERSATION``, ``BATCH``, ``AUDIO``, ``EVENT`` or ``FAULT``.
        count: number of items; 0 counts nothing.
    """
    if count > 0:
        REGISTER.lose(what, count)


def lost() -> dict[str, int]:
    """Return the number of losses since the process started, by kind."""
    return REGISTER.lost()


def warn_once(
    key: Hashable,
    message: str,
    *arguments: object,
    log: logging.Logger = logger,
    level: int = logging.WARNING,
) -> None:
    """Log a message once per key.

    Args:
        key: the condition that the message reports. It must not contain a conversation's id, or the
            message would be logged for each conversation.
        message: format string in ``logging`` style.
        *arguments: arguments of the format string.
        log: logger of the module that reports the condition.
        level: level of the log record.
    """
    heard = _overheard.get()
    if heard is not None:
        heard.append(Said(key, without_secrets(message % arguments if arguments else message)))
    elif REGISTER.first(key):
        _log(log, level, message, *arguments)


@dataclass(frozen=True, slots=True)
class Said:
    """A warning that was collected instead of logged: its key and its text, without credentials."""

    key: Hashable
    text: str


_overheard: Final[ContextVar[list[Said] | None]] = ContextVar("overheard", default=None)


@contextmanager
def overheard() -> Iterator[list[Said]]:
    """Collect the messages of ``warn_once`` in this thread or task, even if they were logged before.

    They are not logged and do not count as logged. This is for a command that shows the warnings that
    an app would get.
    """
    heard: list[Said] = []
    token = _overheard.set(heard)
    try:
        yield heard
    finally:
        _overheard.reset(token)


def warn_again(key: Hashable) -> None:
    """Let ``warn_once`` log this key again, because the condition that it reported is over."""
    REGISTER.forget(key)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REGISTER.clear)
