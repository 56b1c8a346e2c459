"""The one register of what went wrong in this process: faults, losses, and warnings already logged.

``fault`` is the wall between our defects and the app: counted, logged once per kind, never raised.
``lose`` counts telemetry that is gone for good, reported as the metric
``otel_realtime.telemetry.lost`` whose attribute ``what`` is the kind; what waits on disk for another
try is not lost. ``warn_once`` logs a warning once per key.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

# What can be lost.
#: A span of our own LangSmith leg: refused, not encodable, or beyond every bound.
SPAN: Final = "span"
#: An undelivered conversation, or batch of spans, deleted to keep the state directory in bounds.
CONVERSATION: Final = "conversation"
BATCH: Final = "batch"
#: A stretch of sound that found the writer's backlog full.
AUDIO: Final = "audio"
#: An event that became no span because its trace was full (``Settings.span_limit``).
EVENT: Final = "event"
#: Telemetry that a fault of ours cost; the log has the fault.
FAULT: Final = "fault"

#: Keys of warnings remembered at most; the oldest is logged again once it has dropped out.
MAX_KEYS: Final = 1024

#: Faults are raised instead of counted. Only tests set it.
RAISE = False


class Register:
    """Faults, losses and logged warnings of one process; thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything (a fork's child, a test)."""
        self._lock = threading.Lock()
        self.faults: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._warned: dict[Hashable, None] = {}

    def fault(self, where: str, error: BaseException) -> bool:
        """Count a fault; True for the first of its kind."""
        kind = f"{where}: {type(error).__name__}"
        with self._lock:
            self.faults[kind] += 1
            self._lost[FAULT] += 1
            return self.faults[kind] == 1

    def lose(self, what: str, count: int) -> None:
        """Count something that is lost."""
        with self._lock:
            self._lost[what] += count

    def lost(self) -> dict[str, int]:
        """Return the losses so far, by kind."""
        with self._lock:
            return dict(self._lost)

    def first(self, key: Hashable) -> bool:
        """Remember a key; True if it was not known."""
        with self._lock:
            if key in self._warned:
                return False
            if len(self._warned) >= MAX_KEYS:
                del self._warned[next(iter(self._warned))]
            self._warned[key] = None
            return True

    def forget(self, key: Hashable) -> None:
        """Forget a key."""
        with self._lock:
            self._warned.pop(key, None)


REGISTER: Final = Register()


def fault(where: str, error: BaseException) -> None:
    """Report a defect of ours on the app's task; the app goes on.

    Args:
        where: the operation that failed, for the log.
        error: what it raised.

    Raises:
        BaseException: the fault itself, when ``RAISE`` is set (tests).
    """
    report(where, error)
    if RAISE:
        raise error


def report(where: str, error: BaseException) -> None:
    """Count a defect of ours and log it once per kind; never raises."""
    if REGISTER.fault(where, error):
        logger.error(
            "telemetry of a conversation is incomplete (%s: %s); the conversation itself is not "
            "affected. Please report this.",
            where,
            type(error).__name__,
            exc_info=error,
        )


def walled(function: Callable[P, R]) -> Callable[P, R | None]:
    """Wall a call of the app off from our faults: report them and return None."""

    where = f"{function.__module__.removeprefix('otel_realtime.')}.{function.__qualname__}"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            fault(where, error)
            return None

    return call


class Steps:
    """Lets each step of something that must be finished fail by itself::

    steps = Steps("closing")
    with steps:
        ...
    with steps:
        ...
    steps.report()
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._failed: list[Exception] = []

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> bool:
        if isinstance(error, Exception):
            self._failed.append(error)
            return True
        return False

    def report(self) -> None:
        """Report what failed.

        Raises:
            Exception: the first fault, when ``RAISE`` is set (tests).
        """
        failed, self._failed = self._failed, []
        for error in failed:
            fault(self._where, error)


def faults() -> dict[str, int]:
    """Return the faults since the process started, by kind; any fault is a defect of ours."""
    return dict(REGISTER.faults)


def lose(what: str, count: int = 1) -> None:
    """Count something that is lost for good.

    Args:
        what: ``SPAN``, ``CONVERSATION``, ``BATCH``, ``AUDIO``, ``EVENT`` or ``FAULT``.
        count: how many; nothing is counted for 0.
    """
    if count > 0:
        REGISTER.lose(what, count)


def lost() -> dict[str, int]:
    """Return what was lost since the process started, by kind."""
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
        key: what the message is about. Never put an id of a conversation into it.
        message: in the style of ``logging``.
        *arguments: of the message.
        log: the logger of the module that reports it.
        level: of the record.
    """
    if REGISTER.first(key):
        log.log(level, message, *arguments)


def warn_again(key: Hashable) -> None:
    """Let ``warn_once`` log this key the next time: the condition it reported is over."""
    REGISTER.forget(key)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REGISTER.clear)
