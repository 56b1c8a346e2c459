"""The environments of the matrix, and the clients as the README lists them: data, no code.

A new client is a function in ``clients`` or ``frameworks``, a row below, and an environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The newest Python here that every client admits.
USUAL: Final = "3.12"


@dataclass(frozen=True)
class Environment:
    """One virtual environment, and what is run in it.

    Attributes:
        name: its name, and that of its folder.
        python: version of the interpreter, ``3.12``; a ``t`` at the end: free-threaded.
        requirements: what is installed beside the project, as pip takes it.
        clients: names of functions in ``clients`` and ``frameworks``.
        tests: test files that are run there as well.
        lowest: install the lowest versions that the project's own bounds and these admit.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    clients: tuple[str, ...]
    tests: tuple[str, ...] = ()
    lowest: bool = False


@dataclass(frozen=True)
class Row:
    """One client as the README lists it.

    Attributes:
        title: what users call it, with Markdown.
        package: whose versions are told.
        functions: names of functions; any environment may run them.
        needs: what the app must do.
        limits: what is known not to be seen, or to be different.
    """

    title: str
    package: str
    functions: tuple[str, ...]
    needs: str = "nothing"
    limits: str = ""


@dataclass(frozen=True)
class NotRun:
    """A client that no environment can run.

    Attributes:
        title: what users call it, with Markdown.
        needs: what the app must do.
        why: why it is not run.
    """

    title: str
    needs: str
    why: str


SOCKETS: Final = (
    "websockets_asyncio",
    "websockets_by_name",
    "websockets_sync",
    "aiohttp_client",
    "websocket_client",
    "websocket_app",
    "httpx_ws_async",
    "httpx_ws_sync",
)
OPENAI: Final = ("openai_async", "openai_sync", "openai_bytes", "openai_handlers")
BETA: Final = ("openai_beta", "openai_beta_sync")
LEGACY: Final = ("websockets_legacy",)
ALL: Final = ("openai", "websockets", "aiohttp", "websocket-client", "httpx-ws")

ENVIRONMENTS: Final = (
    Environment(
        "lowest",
        "3.10",
        ("aiohttp>=3.9", "websocket-client>=1.6", "httpx-ws>=0.7", "httpx>=0.23.1"),
        (*SOCKETS, *LEGACY, "openai_beta"),
        lowest=True,
    ),
    Environment("newest-3.10", "3.10", ALL, (*SOCKETS, *LEGACY, *OPENAI)),
    Environment("newest-3.11", "3.11", ALL, (*SOCKETS, *OPENAI)),
    Environment("newest-3.12", "3.12", (*ALL, "uvloop"), (*SOCKETS, *OPENAI, *BETA)),
    Environment("newest-3.13", "3.13", ALL, (*SOCKETS, *LEGACY, *OPENAI)),
    Environment("newest-3.14", "3.14", ALL, (*SOCKETS, *OPENAI)),
    Environment("newest-3.14t", "3.14t", ALL, (*SOCKETS, *OPENAI)),
    Environment(
        "openai-first-ga",
        USUAL,
        ("openai==1.103.0", "websockets==14.0"),
        ("openai_async", "openai_sync", "openai_bytes", *BETA),
    ),
    Environment(
        "openai-2.0",
        USUAL,
        ("openai==2.0.0", "websockets==14.2"),
        (*SOCKETS[:3], *OPENAI[:3], *BETA, *LEGACY),
    ),
    Environment(
        "openai-2",
        "3.13",
        ("openai>=2,<3", "websockets>=15,<16"),
        (*SOCKETS[:3], *OPENAI, *BETA, *LEGACY),
    ),
    # The SDK's synchronous client needs 14.
    Environment(
        "websockets-13",
        "3.11",
        ("openai", "websockets==13.1"),
        (
            "websockets_asyncio",
            "websockets_by_name",
            "websockets_sync",
            *LEGACY,
            "openai_async",
            "openai_handlers",
        ),
    ),
    Environment(
        "websockets-16",
        "3.11",
        ("openai", "websockets>=16,<17"),
        ("websockets_asyncio", "websockets_by_name", "websockets_sync", *LEGACY, *OPENAI),
    ),
    Environment(
        "uvloop",
        "3.13",
        ("uvloop", "websockets", "aiohttp"),
        ("websockets_on_uvloop", "aiohttp_on_uvloop"),
    ),
    Environment(
        "gevent",
        USUAL,
        ("gevent", "websockets", "websocket-client"),
        ("gevent_websocket_client", "gevent_websockets_sync"),
    ),
    Environment(
        "openai-agents",
        "3.13",
        ("openai-agents",),
        ("openai_agents",),
        ("tests/tap/test_agents.py",),
    ),
    Environment(
        "openai-agents-lowest",
        "3.11",
        ("openai-agents==0.2.11", "websockets<16"),
        ("openai_agents",),
    ),
    Environment(
        "pydantic-ai",
        USUAL,
        ("pydantic-ai-slim[openai,realtime]>=2.60",),
        ("pydantic_ai",),
        ("tests/tap/test_pydantic_ai.py",),
    ),
    Environment(
        "livekit",
        "3.11",
        ("livekit-agents>=1.8", "livekit-plugins-openai>=1.8"),
        ("livekit",),
        ("tests/tap/test_livekit.py",),
    ),
    Environment(
        "pipecat", USUAL, ("pipecat-ai>=1.14",), ("pipecat",), ("tests/tap/test_pipecat.py",)
    ),
    Environment("rtvoice", "3.13", ("rtvoice",), ("rtvoice",), ("tests/tap/test_rtvoice.py",)),
    Environment("strands-3.10", "3.10", ("strands-agents[bidi-openai]",), ("strands",)),
    Environment(
        "strands",
        "3.11",
        ("strands-agents[bidi-openai]",),
        ("strands",),
        ("tests/tap/test_strands.py",),
    ),
    Environment("ag2", USUAL, ("ag2>=1.2", "openai"), ("ag2",), ("tests/tap/test_ag2.py",)),
    Environment("ag2-0.11", "3.11", ("ag2[openai-realtime]==0.11.5",), ("ag2_realtime",)),
    Environment("semantic-kernel", USUAL, ("semantic-kernel",), ("semantic_kernel",)),
    Environment("voicelive", USUAL, ("azure-ai-voicelive", "aiohttp"), ("voicelive",)),
)

#: What the tests of an environment need.
FOR_TESTS: Final = (
    "pytest>=8",
    "pytest-timeout>=2.3",
    "hypothesis>=6.100",
    "blockbuster>=1.5",
    "langsmith>=0.4",
    "pyyaml>=6",
    "jsonschema>=4.20",
    "starlette>=0.49.1",
    "uvicorn>=0.29",
    "python-multipart>=0.0.13",
)

ROWS: Final = (
    Row(
        "`openai`: `client.realtime`, async and sync, `recv`, `recv_bytes`, `on` + `dispatch_events`",
        "openai",
        OPENAI,
    ),
    Row("`openai`: `client.beta.realtime`", "openai", BETA),
    Row(
        "`websockets`: `connect`, `asyncio`, `sync`",
        "websockets",
        ("websockets_asyncio", "websockets_by_name", "websockets_sync"),
    ),
    Row("`websockets.legacy`, with `extra_headers=`", "websockets", LEGACY),
    Row("`aiohttp`: `ws_connect`", "aiohttp", ("aiohttp_client",)),
    Row(
        "`websocket-client`: `create_connection`, `WebSocketApp`",
        "websocket-client",
        ("websocket_client", "websocket_app"),
    ),
    Row("`httpx-ws`: `connect_ws`, `aconnect_ws`", "httpx-ws", ("httpx_ws_async", "httpx_ws_sync")),
    Row("OpenAI Agents SDK", "openai-agents", ("openai_agents",)),
    Row(
        "LiveKit Agents, OpenAI plugin",
        "livekit-agents",
        ("livekit",),
        limits="run without a room, in text; what a room played is known from its truncates",
    ),
    Row("Pipecat, OpenAI Realtime service", "pipecat-ai", ("pipecat",)),
    Row("pydantic-ai, realtime sessions", "pydantic-ai-slim", ("pydantic_ai",)),
    Row("rtvoice", "rtvoice", ("rtvoice",)),
    Row(
        "Strands Agents, `BidiAgent`",
        "strands-agents",
        ("strands",),
        limits="spans that Strands makes itself stay in the app's own trace",
    ),
    Row("AG2, `LiveAgent`", "ag2", ("ag2",)),
    Row("AG2 before 1.0, `RealtimeAgent`", "ag2", ("ag2_realtime",)),
    Row("Semantic Kernel, `OpenAIRealtimeWebsocket`", "semantic-kernel", ("semantic_kernel",)),
    Row("Azure Voice Live SDK", "azure-ai-voicelive", ("voicelive",)),
    Row(
        "any of them on uvloop",
        "uvloop",
        ("websockets_on_uvloop", "aiohttp_on_uvloop"),
    ),
    Row(
        "gevent: `websocket-client`, `websockets.sync`",
        "gevent",
        ("gevent_websocket_client", "gevent_websockets_sync"),
        needs="`monkey.patch_all()` first, as gevent wants it",
        limits="our threads become greenlets: a handler that never yields holds up recording and delivery",
    ),
)

#: Clients that no environment can run -> what to do with them, and why they are not run.
NOT_RUN: Final = (
    NotRun(
        "`aiortc` (WebRTC in this process)",
        needs="`received(...)` and `sent(...)` for the data channel, `record_agent_audio(...)` and "
        "`record_user_audio(...)` for the media",
        why="its media is no websocket",
    ),
    NotRun(
        "a browser on WebRTC, a telephone on SIP",
        needs="nothing on the server's sideband, `connect(call_id=...)`",
        why="the media passes this process by: events, transcripts and usage, but no recording",
    ),
    NotRun(
        "`rtclient`, `react-voice-agent`",
        needs="nothing: their sockets are `aiohttp`'s and `websockets`'",
        why="not on PyPI",
    ),
)
