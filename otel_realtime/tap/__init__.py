"""The tap: sees every message of a Realtime websocket once, in both directions.

It sits on the websocket, not on SDK methods, so it does not matter how the app consumes events.

=====================  =========================================================================
``interface``          what is reported, and to whom
``link``               conversations and their sockets: when, and in which task, a conversation ends
``wrappers``           the replaced methods of a socket, for coroutines and for threads
``handshakes``         which sockets are tapped, and how their opening is reported
``patches``            how attributes are replaced and restored
``callers``            what the call stack says about a call of ``close``
``owners``             objects that open one socket after another for the same conversation
``timers``             delayed calls for sockets without an event loop
``websockets``         a transport: one library, described to the modules above
``legacy``             a transport: the older client of ``websockets``
``aiohttp``            a transport
``websocket_client``   a transport: ``import websocket``, with callbacks or without
``httpx_ws``           a transport
``sdk``                connection objects of the ``openai`` SDK, which may replace their socket
``tools``              tools that a framework runs: tracks their execution
``agents``             a framework: the OpenAI Agents SDK, with its playback tracker
``livekit``            a framework: LiveKit Agents
``pipecat``            a framework
``pydantic_ai``        a framework
``rtvoice``            a framework
``strands``            a framework: Strands Agents
``ag2``                a framework
``langsmith_wrapper``  LangSmith's own wrappers, which trace the same call a second time
=====================  =========================================================================

A transport is a module with ``install``, ``uninstall`` and ``attach``, which it gets from its
``Transport``. To add one, describe the library's sockets with a subclass of ``AsyncTap`` or ``SyncTap``,
describe how it opens them with an ``Opening``, and list the module below.
"""

from __future__ import annotations

from otel_realtime.diagnostics import walled
from otel_realtime.tap import (
    ag2,
    agents,
    aiohttp,
    httpx_ws,
    langsmith_wrapper,
    legacy,
    livekit,
    pipecat,
    pydantic_ai,
    rtvoice,
    sdk,
    strands,
    websocket_client,
    websockets,
)
from otel_realtime.tap.interface import Close, Handshake, Observer, Sink
from otel_realtime.tap.link import end_abandoned, release_all, tap_of
from otel_realtime.tap.owners import Owner
from otel_realtime.tap.timers import stop_timers

__all__ = [
    "Close",
    "Handshake",
    "Observer",
    "Owner",
    "Sink",
    "attach",
    "end_abandoned",
    "install",
    "stop_timers",
    "uninstall",
]

_TRANSPORTS = (websockets, aiohttp, legacy, websocket_client, httpx_ws)
#: Maximum number of nested proxies around a connection object.
_PROXIES = 2
_FRAMEWORKS = (
    sdk, agents, livekit, pipecat, pydantic_ai, rtvoice, strands, ag2, langsmith_wrapper,
)  # fmt: skip


def install(observer: Observer) -> None:
    """Tap every Realtime connection that is opened from now on.

    This imports none of the libraries. A second call replaces the observer for new connections.

    Args:
        observer: Opens the conversations.
    """
    for library in (*_TRANSPORTS, *_FRAMEWORKS):
        library.install(observer)


def uninstall() -> None:
    """Undo ``install`` and remove the tap from every socket; their sinks are no longer called."""
    for library in (*_TRANSPORTS, *_FRAMEWORKS):
        library.uninstall()
    release_all()


@walled
def attach(connection: object, observer: Observer) -> Sink | None:
    """Tap one connection, with or without ``install``.

    Args:
        connection: A connection object of the ``openai`` SDK (async or sync, GA or beta), a client
            connection of ``websockets`` (asyncio, sync or legacy), or a client websocket of
            ``aiohttp``, ``websocket-client`` or ``httpx-ws``; or a proxy of such a connection object,
            such as LangSmith's.
        observer: Asked to open the conversation if the socket has no tap yet; the time of this call
            then counts as the time of the handshake.

    Returns:
        The sink of the connection; ``None`` for an unknown connection or if the observer declines.
    """
    for _ in range(_PROXIES + 1):
        socket = getattr(connection, "_connection", connection)
        owned = socket is not connection
        tap = tap_of(socket)
        for transport in _TRANSPORTS:
            if tap is None:
                tap = transport.attach(socket, observer, sdk_owned=owned)
        if tap is not None:
            if owned:
                sdk.adopt(connection, tap, observer)
            langsmith_wrapper.install(observer)
            return tap.link.sink
        if not owned:
            break
        connection = socket
    return None
