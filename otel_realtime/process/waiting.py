"""Conversations whose socket has closed and that may continue on another one.

A conversation waits under one or more *places*: an owner that may open the next socket, and the socket's
target. It ends, in the state it had when its socket closed, once no owner may open the next socket, its
time is up, or the process wants it to end. There is no timer; the process checks from time to time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from otel_realtime.tap.owners import Owner

#: The owner that may open the next socket, and the socket's target (``None`` means any target).
Place = tuple[Owner, Hashable]


class Waits(Protocol):
    """A conversation that can wait."""

    def close(self) -> None:
        """End the conversation, in the state it had when its socket closed."""


C = TypeVar("C", bound=Waits)


@dataclass(slots=True, eq=False)
class _Entry(Generic[C]):
    conversation: C
    places: list[Place]
    until_ns: int


class WaitingRoom(Generic[C]):
    """The conversations of one process that wait for another socket. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry[C]] = []  # in the order in which their sockets closed

    def admit(
        self,
        conversation: C,
        places: Iterable[Place],
        *,
        until_ns: int,
        by_client: bool,
        part: Callable[[], bool],
    ) -> bool:
        """Let a conversation wait, if an owner may open another socket for it.

        Args:
            conversation: the conversation.
            places: places under which it waits.
            until_ns: how long it waits, as a time of ``time.monotonic_ns()``.
            by_client: whether the client itself closed the socket.
            part: notifies the conversation that it waits; returns ``False`` if it cannot.

        Returns:
            Whether it waits.
        """
        places = list(places)
        # First: an owner that ends from here on notifies us.
        for owner, _ in places:
            owner.when_over(self.end_of)
        # Without the lock, because a conversation must not be locked inside it. The conversation can be
        # found only afterwards.
        if not any(owner.goes_on(by_client=by_client) for owner, _ in places) or not part():
            return False
        entry = _Entry(conversation, places, until_ns)
        with self._lock:
            self._entries.append(entry)
        # Owners that ended since then did not find the conversation.
        self._leave(lambda place: not place[0].goes_on(by_client=by_client), [entry])
        return True

    def find(self, places: Iterable[Place], at_ns: int) -> C | None:
        """Return the conversation that waits at one of these places; if there are several, the latest.

        Args:
            places: places of a socket that was opened.
            at_ns: ``time.monotonic_ns()`` when its handshake began.
        """
        with self._lock:
            entry = self._find(places, at_ns)
            return None if entry is None else entry.conversation

    def take(self, places: Iterable[Place], at_ns: int) -> C | None:
        """Return the same as ``find``, and remove the conversation from those that wait."""
        with self._lock:
            entry = self._find(places, at_ns)
            if entry is None:
                return None
            self._entries.remove(entry)
            return entry.conversation

    def forget(self, conversation: C) -> None:
        """Note that a conversation no longer waits."""
        self._remove(lambda entry: entry.conversation is conversation)

    def forget_all(self) -> None:
        """Forget all conversations without ending them, in a forked child: they are the parent's."""
        self._lock = threading.Lock()  # a thread of the parent may have held it
        self._entries = []

    def end_of(self, owner: Owner) -> None:
        """End the conversations that wait only for an owner that has ended."""
        self._leave(lambda place: place[0] is owner)

    def end_overdue(self, now_ns: int) -> None:
        """End the conversations whose time is up, given ``time.monotonic_ns()``."""
        self._end(lambda entry: entry.until_ns < now_ns)

    def end_all(self) -> None:
        """End all conversations that wait."""
        self._end(lambda entry: True)

    def _find(self, places: Iterable[Place], at_ns: int) -> _Entry[C] | None:
        wanted = set(places)
        for entry in reversed(self._entries):
            if at_ns <= entry.until_ns and not wanted.isdisjoint(entry.places):
                return entry
        return None

    def _leave(self, left: Callable[[Place], bool], entries: list[_Entry[C]] | None = None) -> None:
        """Remove places, and end the conversations that have no place left."""
        with self._lock:
            for entry in self._entries if entries is None else entries:
                entry.places = [place for place in entry.places if not left(place)]
        self._end(lambda entry: not entry.places)

    def _end(self, due: Callable[[_Entry[C]], bool]) -> None:
        for entry in self._remove(due):  # close them without the lock
            entry.conversation.close()

    def _remove(self, which: Callable[[_Entry[C]], bool]) -> list[_Entry[C]]:
        if not self._entries:  # nearly always true
            return []
        with self._lock:
            removed = [entry for entry in self._entries if which(entry)]
            self._entries = [entry for entry in self._entries if entry not in removed]
        return removed
