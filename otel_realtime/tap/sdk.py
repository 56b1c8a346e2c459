"""Which sockets belong to one connection object of the `openai` SDK.

An SDK connection that may reconnect (`on_reconnecting=`, 2.32 and later) makes its next socket by
`_make_ws`, from its `_reconnect`, and keeps its identity: it stays one conversation.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Observer
from otel_realtime.tap.link import Link, Patches, Tap, joining, tap_of

#: GA and beta; the beta module is still wired in every release.
MODULES = (
    "openai.resources.realtime.realtime",
    "openai.resources.beta.realtime.realtime",
)
CLASSES = ("AsyncRealtimeConnection", "RealtimeConnection")

_observer: Observer | None = None
_patches: dict[str, list[Patches]] = {}


def watch(observer: Observer) -> None:
    """Recognise connection objects of the SDK modules that are loaded.

    Asked again at each handshake: the SDK that makes a socket is loaded by then and wraps it only
    afterwards, so nothing has to be imported ahead.
    """
    global _observer
    _observer = observer
    for name in MODULES:
        module = sys.modules.get(name)
        if module is not None and name not in _patches:
            _patches[name] = [_recognise(getattr(module, owner)) for owner in CLASSES]


def uninstall() -> None:
    """Recognise no connection object any more."""
    global _observer
    _observer = None
    while _patches:
        for patches in _patches.popitem()[1]:
            patches.undo()


def adopt(connection: Any, tap: Tap, observer: Observer) -> None:
    """Make an SDK connection the owner of the conversation on its socket."""
    link = tap.link
    if link.connection is connection:
        return
    link.connection = connection
    if not link.sdk:
        link.sdk = True
        observer.is_sdk(link.sink)
    if getattr(connection, "_make_ws", None) is None or not hasattr(connection, "_reconnect"):
        return
    link.reconnects = True
    make, reconnect = (
        (_make_async, _reconnect_async) if tap.asynchronous else (_make_sync, _reconnect_sync)
    )
    connection._make_ws = make(connection._make_ws, link)
    connection._reconnect = reconnect(connection._reconnect, link)


def _recognise(owner: type) -> Patches:
    original = owner.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _adopt_new(self)

    patches = Patches(owner)
    patches.put("__init__", init)
    return patches


@walled
def _adopt_new(connection: Any) -> None:
    tap = tap_of(connection._connection)
    if tap is not None and _observer is not None:
        adopt(connection, tap, _observer)


def _make_async(
    make_ws: Callable[..., Awaitable[object]], link: Link
) -> Callable[..., Awaitable[object]]:
    async def make(*args: Any, **kwargs: Any) -> object:
        token = joining.set(not link.ended)
        try:
            socket = await make_ws(*args, **kwargs)
        finally:
            joining.reset(token)
        _join(socket, link)
        return socket

    return make


def _make_sync(make_ws: Callable[..., object], link: Link) -> Callable[..., object]:
    def make(*args: Any, **kwargs: Any) -> object:
        token = joining.set(not link.ended)
        try:
            socket = make_ws(*args, **kwargs)
        finally:
            joining.reset(token)
        _join(socket, link)
        return socket

    return make


@walled
def _join(socket: object, link: Link) -> None:
    if not link.ended and link.socket is not None and tap_of(socket) is None:
        type(link.socket)(socket, link)


def _reconnect_async(
    original: Callable[..., Awaitable[bool]], link: Link
) -> Callable[..., Awaitable[bool]]:
    async def reconnect(*args: Any, **kwargs: Any) -> bool:
        link.reconnecting = True
        try:
            again = await original(*args, **kwargs)
        finally:
            link.reconnecting = False
        if not again:
            _give_up(link)
        return again

    return reconnect


def _reconnect_sync(original: Callable[..., bool], link: Link) -> Callable[..., bool]:
    def reconnect(*args: Any, **kwargs: Any) -> bool:
        link.reconnecting = True
        try:
            again = original(*args, **kwargs)
        finally:
            link.reconnecting = False
        if not again:
            _give_up(link)
        return again

    return reconnect


@walled
def _give_up(link: Link) -> None:
    if link.socket is not None:
        link.socket.end()
