"""Finds the sockets that belong to one connection object of the ``openai`` SDK.

https://github.com/openai/openai-python/blob/main/src/openai/resources/realtime/realtime.py

An SDK connection that may reconnect (``on_reconnecting=``, 2.32 and later) opens its next socket with
``_make_ws``, called by its ``_reconnect``. The connection object stays the same, so the conversation does
too.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Observer
from otel_realtime.tap.link import Link, Tap, joining, tap_of
from otel_realtime.tap.patches import Instrumentation, Method

#: Module -> prefix of its connection classes. The modules are GA and beta (which every release still
#: contains), and live translation (3.24) and Live sessions (3.12), which have their own, similar classes.
CONNECTIONS: Final[Mapping[str, str]] = {
    "openai.resources.realtime.realtime": "Realtime",
    "openai.resources.beta.realtime.realtime": "Realtime",
    "openai.resources.realtime.translations.translations": "Translations",
    "openai.resources.live.live": "Live",
    "openai.resources.live.sideband": "Sideband",
    "openai.resources.live.forks": "Forks",
}


def adopt(connection: Any, tap: Tap, observer: Observer) -> None:
    """Make an SDK connection the owner of the conversation on its socket.

    Args:
        connection: The connection object.
        tap: The tap of its socket.
        observer: Notified that the socket belongs to an SDK connection.
    """
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


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        _adopt_new(self)

    return init


@walled
def _adopt_new(connection: Any) -> None:
    tap = tap_of(getattr(connection, "_connection", None))
    if tap is not None and _sdk.observer is not None:
        adopt(connection, tap, _sdk.observer)


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
    if link.ended or link.socket is None or tap_of(socket) is not None:
        return
    if link.socket.fits(socket):
        type(link.socket)(socket, link)
        link.sink.regained()


def _reconnect_async(
    original: Callable[..., Awaitable[bool]], link: Link
) -> Callable[..., Awaitable[bool]]:
    async def reconnect(*args: Any, **kwargs: Any) -> bool:
        link.reconnecting = True
        _lost(link)
        try:
            again = await original(*args, **kwargs)
        finally:
            link.reconnecting = False
        if not again:
            _reconnect_failed(link)
        return again

    return reconnect


def _reconnect_sync(original: Callable[..., bool], link: Link) -> Callable[..., bool]:
    def reconnect(*args: Any, **kwargs: Any) -> bool:
        link.reconnecting = True
        _lost(link)
        try:
            again = original(*args, **kwargs)
        finally:
            link.reconnecting = False
        if not again:
            _reconnect_failed(link)
        return again

    return reconnect


@walled
def _lost(link: Link) -> None:
    if link.socket is not None and not link.ended:
        link.sink.lost(link.socket.close())


@walled
def _reconnect_failed(link: Link) -> None:
    if link.socket is not None:
        link.socket.end()


_sdk: Final = Instrumentation(
    *(
        Method(module, f"{prefix}{name}Connection", "__init__", _wrap_init)
        for module, name in CONNECTIONS.items()
        for prefix in ("Async", "")
    )
)
install, uninstall = _sdk.install, _sdk.uninstall
