"""The other side, in a process of its own: a Realtime server, and a LangSmith that takes everything.

``python -m tests.benchmarks.server`` prints its two ports and ends with its standard input. What a
connection gets is named by its model: ``burst``, the whole conversation as fast as it is taken, or
``paced``, an answer of four seconds every eight, three times as fast as it is played.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.benchmarks.conversation import (
    after_audio,
    before_audio,
    delta,
    opening,
    text_delta,
    whole,
)

ROOT = Path(__file__).parents[2]
TURN_S, ANSWER_DELTAS, FASTER = 8.0, 40, 3.0
DELTA_S = 0.1
#: With this variable a module is compiled at each import, in no process of a user.
_UNCOMPILED = "PYTHONDONTWRITEBYTECODE"
#: What LangSmith's own client is told, as by https://api.smith.langchain.com/info.
_LIMITS = {
    "use_multipart_endpoint": True,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 16,
    "scale_down_nempty_trigger": 4,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
}


async def _burst(connection: ServerConnection) -> None:
    for frame in whole(deltas=60, tools=True):
        await connection.send(frame.decode())


async def _paced(connection: ServerConnection) -> None:
    for frame in opening():
        await connection.send(frame.decode())
    loop, turn = asyncio.get_running_loop(), 0
    due = loop.time()
    while True:
        for frame in before_audio(turn):
            await connection.send(frame.decode())
        at = due
        for number in range(ANSWER_DELTAS):
            await connection.send(delta(turn).decode())
            if number % 3 == 0:
                await connection.send(text_delta(turn, number).decode())
            at += DELTA_S / FASTER
            await asyncio.sleep(max(at - loop.time(), 0))
        for frame in after_audio(turn):
            await connection.send(frame.decode())
        due, turn = due + TURN_S, turn + 1
        await asyncio.sleep(max(due - loop.time(), 0))


async def _drain(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


async def _handle(connection: ServerConnection) -> None:
    assert connection.request is not None
    play = _paced if "paced" in connection.request.path else _burst
    playing = asyncio.ensure_future(play(connection))
    try:
        await _drain(connection)
    except ConnectionClosed:
        pass
    finally:
        playing.cancel()


class _Sink(BaseHTTPRequestHandler):
    """Takes everything, and counts requests and bytes by path."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[Counter[str]] = Counter()
    sizes: ClassVar[Counter[str]] = Counter()

    def _take(self) -> None:
        size, path = 0, self.path.partition("?")[0]
        if self.headers.get("Transfer-Encoding") == "chunked":
            while chunk := int(self.rfile.readline().split(b";")[0], 16):
                size += len(self.rfile.read(chunk + 2)) - 2
            self.rfile.readline()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                part = len(self.rfile.read(min(left, 65_536)))
                size, left = size + part, left - part
        name = f"{self.command} {path.rsplit('/', 1)[0] if self.command == 'PATCH' else path}"
        self.requests[name] += 1
        self.sizes[name] += size
        self._answer(b"{}", 202)

    do_POST = do_PATCH = do_PUT = _take

    def do_GET(self) -> None:
        """What was counted, and what a client asks for at its start."""
        if self.path == "/counted":
            counted = {name: [self.requests[name], self.sizes[name]] for name in self.requests}
            self._answer(json.dumps(counted).encode())
            return
        self._answer(json.dumps({"version": "0.13", "batch_ingest_config": _LIMITS}).encode())

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is said of requests."""


class _SinkServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


async def _serve() -> None:
    sink = _SinkServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    async with serve(_handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(port, sink.server_port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def compiled() -> dict[str, str]:
    """The environment of a process whose modules are compiled, unless it is the first one."""
    return {name: value for name, value in os.environ.items() if name != _UNCOMPILED}


def of_new_process(module: str, *arguments: str) -> Any:
    """Run a module of the benchmarks in a new process; return the JSON value that it prints last."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=compiled(), capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Servers:
    """Where the servers answer."""

    realtime: int
    langsmith: int

    def counted(self) -> dict[str, tuple[int, int]]:
        """Requests and bytes that LangSmith took so far, by method and path."""
        with urlopen(f"http://127.0.0.1:{self.langsmith}/counted", timeout=10) as answer:
            return {name: (number, size) for name, (number, size) in json.load(answer).items()}


@contextmanager
def servers() -> Iterator[Servers]:
    """Both servers in another process, which ends with the block."""
    command = [sys.executable, "-m", "tests.benchmarks.server"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            realtime, langsmith = map(int, process.stdout.readline().split())
            yield Servers(realtime, langsmith)
        finally:
            process.stdin.close()
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_serve())
