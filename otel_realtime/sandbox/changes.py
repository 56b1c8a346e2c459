"""Tells every open page which calls have changed, by server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Final

#: Interval between comment lines, s, because a proxy may close silent connections.
_PULSE_S: Final = 15.0
#: Changes within this time, s, become one event: a running call changes many times a second.
_GATHER_S: Final = 0.15
#: Most pages that may listen at a time, because each holds a connection.
MOST: Final = 128


class Changes:
    """Passes changes from the threads that store them to the event streams."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[_Listener, asyncio.AbstractEventLoop] = {}
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no further page may listen."""
        return len(self._listeners) >= MOST

    def publish(self, ids: Iterable[str]) -> None:
        """Announce that calls have changed; any thread may call this, and it does not wait."""
        changed = frozenset(ids)
        if changed:
            self._wake(changed)

    def close(self) -> None:
        """End all streams, including those that are opened later."""
        self._closed = True
        self._wake(frozenset())

    def _wake(self, changed: frozenset[str]) -> None:
        with self._lock:
            listeners = list(self._listeners.items())
        for listener, loop in listeners:
            try:
                loop.call_soon_threadsafe(listener.add, changed)
            except RuntimeError:  # its loop has ended, and the listener with it
                pass

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the events for one page until the page or the server closes."""
        listener = _Listener()
        with self._lock:
            self._listeners[listener] = asyncio.get_running_loop()
        try:
            yield b"retry: 1000\n\n"
            while not self._closed:
                ids = await listener.next()
                if self._closed:
                    return
                data = json.dumps(sorted(ids))
                yield f"event: calls\ndata: {data}\n\n".encode() if ids else b":\n\n"
        finally:
            with self._lock:
                self._listeners.pop(listener, None)


class _Listener:
    """The changes that one page has not received yet."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._changed = asyncio.Event()

    def add(self, ids: frozenset[str]) -> None:
        self._ids |= ids
        self._changed.set()

    async def next(self) -> set[str]:
        """Wait for changes and return their ids; empty after a while without changes."""
        try:
            await asyncio.wait_for(self._changed.wait(), _PULSE_S)
        except asyncio.TimeoutError:
            return set()
        if self._ids:
            await asyncio.sleep(_GATHER_S)
        self._changed.clear()
        ids, self._ids = self._ids, set()
        return ids
