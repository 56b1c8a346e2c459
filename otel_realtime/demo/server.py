"""A scripted Realtime server on the loopback interface: the GA protocol over real WebSockets.

It implements the service as an app sees it: sessions, voice activity detection on the audio it
receives, transcripts, responses faster than real time, function calls, barge-ins and errors. The demo
and the tests use it; a ``Scenario`` defines what is said::

    with ScriptedServer(Scenario(...)) as server:
        client = AsyncOpenAI(api_key="any", websocket_base_url=server.url)
"""

from __future__ import annotations

import asyncio
import http
import json
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.http11 import Response as HttpResponse

from otel_realtime.demo.scenario import Scenario
from otel_realtime.demo.session import Session
from otel_realtime.demo.wire import Json

#: How long the server may take to start, and to stop.
START_TIMEOUT_S: Final = 10.0
#: The server raises its own errors. Log records of its library, for example about a client that leaves
#: in the middle of a handshake, would only clutter the output of the program that runs the server.
_LOGGER: Final = logging.getLogger(f"{__name__}.quiet")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False
NO_MODEL: Final = "You must provide a model parameter."


class Connection:
    """One client's connection, from the server's side.

    Attributes:
        received: the client's frames in order, decoded; a frame that is not JSON is kept unchanged.
        sent: the server's events in order.
        session: the session on this connection.
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
        # Unbounded: the session emits synchronously and must not block on a slow client.
        self._outgoing: asyncio.Queue[Json] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        assert socket.request is not None
        query = {
            key: values[-1] for key, values in parse_qs(urlsplit(socket.request.path).query).items()
        }
        kind = "transcription" if query.get("intent") == "transcription" else "realtime"
        self._has_model = "model" in query or kind == "transcription"
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
        self._loop.call_soon_threadsafe(self._start_task, self._socket.close(code, reason))

    async def serve(self) -> BaseException | None:
        """Run the session until the client disconnects; return the server's own error, if any."""
        if not self._has_model:
            # The service accepts the handshake and then closes with this application code.
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
        self.session.start()
        writer = self._start_task(self._write())
        try:
            async for frame in self._socket:
                self._record(frame)
                self.session.receive(frame)
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 - raised again by ScriptedServer.__exit__
            self._error = error
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, writer, return_exceptions=True)
        return self._error

    def _record(self, frame: str | bytes) -> None:
        if not self._keep:
            return
        try:
            self.received.append(json.loads(frame))
        except ValueError:
            self.received.append(frame)

    async def _write(self) -> None:
        # One writer: events leave in the order in which the session emitted them.
        while True:
            event = await self._outgoing.get()
            if self._keep:
                self.sent.append(event)
            await self._socket.send(json.dumps(event))

    def _run(self, steps: Iterator[float]) -> Callable[[], object]:
        return self._start_task(self._pace(steps)).cancel

    async def _pace(self, steps: Iterator[float]) -> None:
        """Run a generator of waits (milliseconds) on a schedule that does not drift."""
        due = self._loop.time()
        for wait_ms in steps:
            due += wait_ms / 1000 / self._speed
            await asyncio.sleep(max(0.0, due - self._loop.time()))

    def _start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, ConnectionClosed):
            self._error = error
            # 1011: internal error, https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
            self._start_task(self._socket.close(1011, "internal error of the scripted server"))


class ScriptedServer:
    """The server, in a thread of its own, on a free port of 127.0.0.1.

    Args:
        scenario: the scenario that every connection plays; if there are several, the n-th connection
            plays the n-th.
        speed: factor by which the server's delays and the pace of its audio are sped up.
        api_key: the only accepted key (others are answered with 401); None accepts any.
        keep: whether to record all frames in ``connections``; turn off for very long sessions.

    Attributes:
        connections: every connection so far, in order of arrival.

    Raises:
        BaseException: on leaving the ``with`` block, the server's own error if there was one.
    """

    def __init__(
        self,
        scenario: Scenario | Sequence[Scenario] | None = None,
        *,
        speed: float = 1.0,
        api_key: str | None = None,
        keep: bool = True,
    ) -> None:
        scenario = scenario or Scenario()
        self._scenarios = [scenario] if isinstance(scenario, Scenario) else scenario
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
        self._errors: list[BaseException] = []
        self.connections: list[Connection] = []

    @property
    def url(self) -> str:
        """Base URL for ``websocket_base_url``; the client appends ``/realtime``."""
        return f"ws://127.0.0.1:{self._port}/v1"

    @property
    def received(self) -> list[list[Any]]:
        """The client's frames, for each connection."""
        return [connection.received for connection in self.connections]

    @property
    def sent(self) -> list[list[Json]]:
        """The server's events, for each connection."""
        return [connection.sent for connection in self.connections]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S) or not self._port:
            raise (
                self._errors[0]
                if self._errors
                else TimeoutError("the scripted server did not start")
            )
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_TIMEOUT_S)
        # An error of the block itself takes precedence.
        if self._errors and error is None:
            raise self._errors[0]

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by __enter__ or __exit__
            self._errors.append(error)
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with serve(
            self._handle_connection,
            "127.0.0.1",
            0,
            process_request=self._check_handshake,
            compression=None,
            # The default of 1 MiB is less than an item with half a minute of audio.
            max_size=None,
            open_timeout=60,  # a hundred clients may connect at once
            logger=_LOGGER,
        ) as server:
            self._port = _port(server)
            self._ready.set()
            await self._stop.wait()

    def _check_handshake(self, socket: ServerConnection, request: Request) -> HttpResponse | None:
        """Return an HTTP error for a wrong path or key, None to accept the handshake."""
        if urlsplit(request.path).path != "/v1/realtime":
            return socket.respond(http.HTTPStatus.NOT_FOUND, "no such path\n")
        if self._api_key not in (
            None,
            request.headers.get("Authorization", "").removeprefix("Bearer "),
        ):
            return socket.respond(http.HTTPStatus.UNAUTHORIZED, "wrong API key\n")
        return None

    async def _handle_connection(self, socket: ServerConnection) -> None:
        scenario = self._scenarios[len(self.connections) % len(self._scenarios)]
        connection = Connection(socket, scenario, self._speed, self._keep)
        self.connections.append(connection)
        error = await connection.serve()
        if error is not None:
            self._errors.append(error)


def _port(server: Server) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])
