"""Whoever opens one socket after another for the same conversation.

A framework's session object dials again when its socket is lost or too old; an app does the same in a
loop. The socket says who opened it, and its conversation may go on on the next one of the same owner.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.interrupts import let_through


class Owner:
    """Whoever opens one socket after another for the same conversation. Thread-safe.

    Args:
        may_dial: return whether another socket may follow one that has closed, given whether the
            client itself closed it; ``None``: as long as the owner is not over.
    """

    def __init__(self, may_dial: Callable[[bool], bool] | None = None) -> None:
        self._may_dial = may_dial
        self._is_over = False
        self._waiting: list[Callable[[Owner], object]] = []

    def goes_on(self, *, by_client: bool) -> bool:
        """Return whether another socket may follow.

        Args:
            by_client: the client itself closed the one before.
        """
        if self._is_over or self._may_dial is None:
            return not self._is_over
        try:
            return bool(self._may_dial(by_client))
        except BaseException as error:  # noqa: BLE001 - a version of the framework that we do not know
            let_through(error)
            diagnostics.fault("owner", error)
            return False

    def when_over(self, call: Callable[[Owner], object]) -> None:
        """Have something called, once, when no other socket will follow.

        Who asks just when it is over may not be called: look at ``goes_on`` afterwards.
        """
        if call not in self._waiting:
            self._waiting.append(call)

    def over(self) -> None:
        """Note that no other socket will follow."""
        self._is_over = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call(self)


#: Who opens a socket in this task; set only while it does.
opening_owner: Final[ContextVar[Owner | None]] = ContextVar(
    "otel_realtime_opening_owner", default=None
)
