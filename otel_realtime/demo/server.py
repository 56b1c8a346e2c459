"""A scripted Realtime server on loopback: the GA protocol over real websockets.

It does what an app can see of the service: sessions, voice activity on the audio it receives,
transcripts, responses faster than real time, function calls, barge-ins, refusals. It is for the
demo and for tests; the words come from a ``Scenario``::

    with ScriptedServer(Scenario(...)) as server:
        client = AsyncOpenAI(api_key="any", websocket_base_url=server.url)
"""

from __future__ import annotations

import asyncio
import http
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.http11 import Response as HttpResponse

from otel_realtime.demo.scenario import Scenario
from otel_realtime.demo.session import Session
from otel_realtime.demo.wire import Json

READY_S = 10.0
NO_MODEL = "You must provide a model parameter."


class Connection:
    """One client's connection, as the server saw it.

    Attributes:
        received: the client's frames in order; decoded JSON, or the frame itself if it is none.
        sent: the server's events in order.
        session: the session behind it.
    """

    def __init__(
        self, socket: ServerConnection, scenario: Scenario, speed: float, keep: bool
    ) -> None:
        self.received: list[Any] = []
        self.sent: list[Json] = []
        self._socket = socket
        self._speed = speed
        self._keep = keep
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[Json] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        assert socket.request is not None
        query = {
            key: values[-1] for key, values in parse_qs(urlsplit(socket.request.path).query).items()
        }
        kind = "transcription" if query.get("intent") == "transcription" else "realtime"
        self._admitted = "model" in query or kind == "transcription"
        self.session = Session(
            scenario,
            send=self._outgoing.put_nowait,
            run=self._run,
            kind=kind,
            model=query.get("model", scenario.model),
            expires_at=int(time.time()) + 3600,
        )

    def hang_up(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection from the server's side; callable from any thread."""
        self._loop.call_soon_threadsafe(self._start, self._socket.close(code, reason))

    async def serve(self) -> BaseException | None:
        """Run the session until the client leaves; returns what went wrong in the server itself."""
        if not self._admitted:
            error = {
                "type": "invalid_request_error",
                "code": "missing_model",
                "message": NO_MODEL,
                "param": "model",
            }
            self.session.emit("error", error={**error, "event_id": None})
            await self._socket.send(json.dumps(self._outgoing.get_nowait()))
            await self._socket.close(4000, "invalid_request_error.missing_model")
            return None
        self.session.begin()
        writer = self._start(self._write())
        try:
            async for frame in self._socket:
                self._note(frame)
                self.session.receive(frame)
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 (a fault of the server: raised where the server is left)
            self._fault = error
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, writer, return_exceptions=True)
        return self._fault

    def _note(self, frame: str | bytes) -> None:
        if not self._keep:
            return
        try:
            self.received.append(json.loads(frame))
        except ValueError:
            self.received.append(frame)

    async def _write(self) -> None:
        while True:
            event = await self._outgoing.get()
            if self._keep:
                self.sent.append(event)
            await self._socket.send(json.dumps(event))

    def _run(self, steps: Iterator[float]) -> Any:
        return self._start(self._pace(steps)).cancel

    async def _pace(self, steps: Iterator[float]) -> None:
        """Run a generator of waits on a schedule that does not drift."""
        due = self._loop.time()
        for wait_ms in steps:
            due += wait_ms / 1000 / self._speed
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def _start(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        fault = task.exception()
        if fault is not None and not isinstance(fault, ConnectionClosed):
            self._fault = fault
            self._start(self._socket.close(1011, "fault in the scripted server"))


class ScriptedServer:
    """The server in a thread of its own, on a free port of 127.0.0.1.

    Args:
        scenario: what every connection plays; of several, the n-th connection plays the n-th.
        speed: how much faster than life the server answers (its pauses and the pace of its audio).
        api_key: the only key it takes (401 for others); None takes all.
        keep: keep every frame in ``connections``; turn off for very long conversations.

    Leaving the ``with`` block raises what went wrong inside the server, if anything did.
    """

    def __init__(
        self,
        scenario: Scenario | Sequence[Scenario] | None = None,
        *,
        speed: float = 1.0,
        api_key: str | None = None,
        keep: bool = True,
    ) -> None:
        one = scenario or Scenario()
        self._scenarios: Sequence[Scenario] = [one] if isinstance(one, Scenario) else one
        self._speed = speed
        self._api_key = api_key
        self._keep = keep
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=self._main, name="scripted-realtime-server", daemon=True
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._port = 0
        self._faults: list[BaseException] = []
        self.connections: list[Connection] = []
        """Every connection so far, in the order they came."""

    @property
    def url(self) -> str:
        """Base URL for ``websocket_base_url``; clients add ``/realtime``."""
        return f"ws://127.0.0.1:{self._port}/v1"

    @property
    def received(self) -> list[list[Any]]:
        """Per connection: what the client sent."""
        return [connection.received for connection in self.connections]

    @property
    def sent(self) -> list[list[Json]]:
        """Per connection: what the server sent."""
        return [connection.sent for connection in self.connections]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        if not self._ready.wait(READY_S) or not self._port:
            raise (
                self._faults[0]
                if self._faults
                else TimeoutError("the scripted server did not start")
            )
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(READY_S)
        if self._faults and error is None:
            raise self._faults[0]

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits in __enter__ or __exit__)
            self._faults.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serve(
            self._connected,
            "127.0.0.1",
            0,
            process_request=self._admit,
            compression=None,
            max_size=None,
        ) as server:
            self._port = _port(server)
            self._ready.set()
            await self._stop.wait()

    def _admit(self, socket: ServerConnection, request: Request) -> HttpResponse | None:
        """Answer what is no Realtime handshake, or has the wrong key, with an HTTP status."""
        if urlsplit(request.path).path != "/v1/realtime":
            return socket.respond(http.HTTPStatus.NOT_FOUND, "no such path\n")
        if self._api_key not in (
            None,
            request.headers.get("Authorization", "").removeprefix("Bearer "),
        ):
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "wrong API key\n")
        return None

    async def _connected(self, socket: ServerConnection) -> None:
        scenario = self._scenarios[len(self.connections) % len(self._scenarios)]
        connection = Connection(socket, scenario, self._speed, self._keep)
        self.connections.append(connection)
        fault = await connection.serve()
        if fault is not None:
            self._faults.append(fault)


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])
