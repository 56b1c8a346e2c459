"""Owners: objects that open one socket after another for the same conversation.

A framework's session object opens a new socket when the old one is lost or too old; an app does the same
in a loop. Each socket knows its owner, and its conversation may continue on the owner's next socket.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.interrupts import let_through


class Owner:
    """Represents what opens one socket after another for the same conversation. Thread-safe.

    Args:
        may_dial: returns whether another socket may follow one that has closed, given whether the
            client itself closed it; ``None`` means that one may follow until ``over`` is called.
    """

    def __init__(self, may_dial: Callable[[bool], bool] | None = None) -> None:
        self._may_dial = may_dial
        self._is_over = False
        self._waiting: list[Callable[[Owner], object]] = []

    def goes_on(self, *, by_client: bool) -> bool:
        """Return whether another socket may follow.

        Args:
            by_client: whether the client itself closed the previous socket.
        """
        if self._is_over or self._may_dial is None:
            return not self._is_over
        try:
            return bool(self._may_dial(by_client))
        except BaseException as error:  # noqa: BLE001 - an unknown version of the framework
            let_through(error)
            diagnostics.fault("owner", error)
            return False

    def when_over(self, call: Callable[[Owner], object]) -> None:
        """Register a function that is called, once, when no other socket will follow.

        If ``over`` runs at the same time, the function may not be called: check ``goes_on`` afterwards.
        """
        if call not in self._waiting:
            self._waiting.append(call)

    def over(self) -> None:
        """Note that no other socket will follow."""
        self._is_over = True
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call(self)


#: The owner that opens a socket in this task; set only while the socket is being opened.
opening_owner: Final[ContextVar[Owner | None]] = ContextVar(
    "otel_realtime_opening_owner", default=None
)
