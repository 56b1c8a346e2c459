"""A connection that plays frames without a network, and the clock of one thread.

Ours is tapped where it is in an app: on the websocket. LangSmith's wrapper sits above the SDK,
so it gets parsed SDK events. What the same loop costs without either is taken off.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import otel_realtime
from otel_realtime.conversation.services import SOCKETS
from otel_realtime.conversation.sockets import SocketSink
from otel_realtime.tap import Handshake
from otel_realtime.tap.link import open_link
from otel_realtime.tap.websockets import AsyncioTap
from tests.benchmarks.client import NothingTraced
from tests.benchmarks.conversation import PCM, opening

_AUDIO = b'{"type":"response.output_audio.delta"'


class Socket:
    """As much of a websocket as the tap takes hold of."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = iter(frames)
        self.loop = asyncio.get_running_loop()
        self.connection_lost_waiter = self.loop.create_future()
        self.recv_messages = SimpleNamespace(frames=())
        frame = SimpleNamespace(code=1000, reason="")
        self.protocol = SimpleNamespace(
            close_rcvd=frame, close_sent=frame, state=SimpleNamespace(name="OPEN")
        )

    async def recv(self, decode: bool | None = None) -> bytes | None:
        """The next frame; None when there is none."""
        return next(self._frames, None)

    async def send(self, message: object) -> None:
        """Nothing is on the other side."""

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Cost:
    """CPU seconds of the app's thread for audio deltas and for everything else."""

    deltas: float = 0.0
    others: float = 0.0


async def play(receive: Callable[[], Any], is_audio: list[bool], handle: Any = None) -> Cost:
    """Receive everything; each receive is booked under the kind of what it brought."""
    cost, clock = Cost(), time.thread_time
    start = clock()
    for audio in is_audio:
        event = await receive()
        if handle is not None and audio:
            handle(event)
        now = clock()
        if audio:
            cost.deltas += now - start
        else:
            cost.others += now - start
        start = now
        if not audio:
            await asyncio.sleep(0)
            start = clock()
    return cost


def kinds(frames: list[bytes]) -> list[bool]:
    """Which frames are audio deltas."""
    return [frame.startswith(_AUDIO) for frame in frames]


async def bare(frames: list[bytes]) -> Cost:
    """The loop without any tracer."""
    socket = Socket(frames)
    return await play(lambda: socket.recv(decode=False), kinds(frames))


def tap(socket: Socket) -> SocketSink:
    """Tap the socket as ``instrument()`` would."""
    now, mono = time.time_ns(), time.monotonic_ns()
    handshake = Handshake(
        path="/v1/realtime", query={}, host="api.openai.com", port=443,
        started_ns=now, mono_ns=mono,
    )  # fmt: skip
    link = open_link(SOCKETS, handshake, sdk=True)
    assert link is not None
    AsyncioTap(socket, link)
    assert isinstance(link.sink, SocketSink)
    return link.sink


@contextmanager
def ours(*, record: bool) -> Iterator[None]:
    """The package set up as a user would, spans to an exporter that drops them."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Drop(SpanExporter):
        spans = 0

        def export(self, spans: Any) -> SpanExportResult:
            self.spans += len(spans)
            return SpanExportResult.SUCCESS

    drop = Drop()

    with tempfile.TemporaryDirectory() as folder:
        os.environ["OTEL_REALTIME_STATE_DIR"] = folder
        provider = TracerProvider()
        provider.add_span_processor(
            BatchSpanProcessor(drop, max_queue_size=100_000, max_export_batch_size=512)
        )
        otel_realtime.instrument(
            tracer_provider=provider,
            settings=otel_realtime.Settings(
                langsmith="off", recordings_dir=folder if record else None
            ),
        )
        try:
            yield
        finally:
            otel_realtime.uninstrument()
            otel_realtime.flush(30)
            provider.shutdown()
        if not drop.spans:
            raise NothingTraced("no span was made")


async def through_ours(frames: list[bytes]) -> Cost:
    """One conversation through our tap."""
    socket = Socket(frames)
    sink = tap(socket)
    cost = await play(lambda: socket.recv(decode=False), kinds(frames))
    if sink.engine is not None:
        sink.engine.close()
    return cost


async def speak(frames: int, *, tapped: bool) -> tuple[float, float]:
    """CPU seconds of the app's thread for each microphone frame, and for each ``played()`` report."""
    socket = Socket(opening())
    sink = tap(socket) if tapped else None
    await socket.recv(decode=False)
    frame = json.dumps(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(PCM[:1920]).decode()}
    )
    clock = time.thread_time
    start = clock()
    for _ in range(frames):
        await socket.send(frame)
    sent, reported = (clock() - start) / frames, 0.0
    call = otel_realtime.current_conversation()
    if sink is not None:
        if call is None or sink.engine is None:
            raise NothingTraced("no conversation was opened")
        start = clock()
        for number in range(frames):
            call.played("item_a1", 0, number)
        reported = (clock() - start) / frames
        sink.engine.close()
    return sent, reported


class SdkConnection:
    """What LangSmith's wrapper wraps: an SDK connection with parsed events."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[Any]:
        for event in self._events:
            yield event


def sdk_events(frames: list[bytes]) -> list[Any]:
    """The frames as the SDK hands them out."""
    from openai._models import construct_type_unchecked
    from openai.types.realtime.realtime_server_event import RealtimeServerEvent

    parsed: dict[bytes, Any] = {}
    for frame in frames:
        if frame not in parsed:
            parsed[frame] = construct_type_unchecked(
                value=json.loads(frame), type_=RealtimeServerEvent
            )
    return [parsed[frame] for frame in frames]


async def bare_sdk(frames: list[bytes], events: list[Any]) -> Cost:
    """LangSmith's loop without its wrapper."""
    iterator = SdkConnection(events).__aiter__()
    return await play(iterator.__anext__, kinds(frames))


async def through_langsmith(frames: list[bytes], events: list[Any], *, record: bool) -> Cost:
    """One conversation through ``langsmith.integrations.openai_realtime.wrap_realtime``."""
    from langsmith.integrations.openai_realtime import wrap_realtime

    encoded = base64.b64encode(PCM).decode()
    async with wrap_realtime(SdkConnection(events), client=NoClient()) as connection:

        def keep(event: Any) -> None:
            connection.record_agent_audio(base64.b64decode(encoded))

        iterator = connection.__aiter__()
        return await play(iterator.__anext__, kinds(frames), keep if record else None)


class NoClient:
    """A LangSmith client that sends nothing: its background thread is not what is measured."""

    def create_run(self, *args: Any, **kwargs: Any) -> None:
        """Drop it."""

    def update_run(self, *args: Any, **kwargs: Any) -> None:
        """Drop it."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
