"""The tap: sees every message of a Realtime websocket once, in both directions.

It sits on the websocket, not on SDK methods, so it does not matter how the app consumes events.
A transport is a module with `install`, `uninstall` and `attach`; each brings its own `Tap`.
"""

from __future__ import annotations

from otel_realtime.diagnostics import walled
from otel_realtime.tap import agents, aiohttp, sdk, websockets
from otel_realtime.tap.interface import Close, Handshake, Observer, Sink
from otel_realtime.tap.link import end_deserted, release_all, stop_timers, tap_of

__all__ = [
    "Close",
    "Handshake",
    "Observer",
    "Sink",
    "attach",
    "end_deserted",
    "install",
    "stop_timers",
    "uninstall",
]

_TRANSPORTS = (websockets, aiohttp)


def install(observer: Observer) -> None:
    """Tap every Realtime connection that is opened from now on.

    Does not import the openai SDK. A second call replaces the observer for new connections.

    Args:
        observer: Opens the conversations.
    """
    for transport in _TRANSPORTS:
        transport.install(observer)
    sdk.watch(observer)
    agents.watch(observer)


def uninstall() -> None:
    """Undo `install`, and take the tap off every socket; their sinks are called no more."""
    for transport in _TRANSPORTS:
        transport.uninstall()
    sdk.uninstall()
    agents.uninstall()
    release_all()


@walled
def attach(connection: object, observer: Observer) -> Sink | None:
    """Tap one connection, with or without `install`.

    Args:
        connection: A connection object of the openai SDK (async or sync, GA or beta), a client
            connection of `websockets` (asyncio or sync), or a client websocket of `aiohttp`.
        observer: Asked to open the conversation when the socket has no tap yet; the handshake's
            times are then the time of this call.

    Returns:
        The sink of the connection, `None` for an unknown connection or when the observer declines.
    """
    socket = getattr(connection, "_connection", connection)
    owned = socket is not connection
    tap = tap_of(socket)
    for transport in _TRANSPORTS:
        if tap is None:
            tap = transport.attach(socket, observer, sdk_owned=owned)
    if tap is None:
        return None
    if owned:
        sdk.adopt(connection, tap, observer)
    return tap.link.sink
