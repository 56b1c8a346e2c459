"""Recordings on slow lines and in numbers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.delivery import Deliveries
from tests.support.langsmith_server import LangSmithServer, Reply, Request
from tests.support.rig import KEY, QUICK

BYTES_PER_S = 1_000_000


@contextmanager
def slow_line(server: LangSmithServer) -> Iterator[str]:
    """An address of the server behind a line that takes 1 MB/s."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    port = int(server.url.rsplit(":", 1)[1])

    def carry(near: socket.socket, far: socket.socket, pause_s: float) -> None:
        try:
            while data := near.recv(50_000):
                far.sendall(data)
                time.sleep(pause_s * len(data))
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for ends in ((near, far, 1 / BYTES_PER_S), (far, near, 0.0)):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def opening(number: int = 1) -> Opening:
    return Opening(trace_id=number, span_id=number, name="realtime_session", start_ns=10**18)


def wav(folder: Path, size: int, name: str = "a.wav") -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    return path


def patches(server: LangSmithServer) -> list[Request]:
    """The ends of runs that arrived."""
    return [r for r in server.posts() if b'name="patch.' in r.body[:300]]


def test_a_recording_gets_through_a_slow_line(server: LangSmithServer, tmp_path: Path) -> None:
    """3 MB at 1 MB/s go in one try: no timeout is on the whole of an upload."""
    with slow_line(server) as url:
        deliveries = Deliveries(LangSmithConfig(api_url=url, api_key=KEY), backoff=QUICK)
        path = wav(tmp_path, 3_000_000)
        deliveries.open(opening()).finish(Closing(end_ns=2 * 10**18), lambda: Recording(path=path))
        assert deliveries.flush(20) is True
        [patch] = patches(server)
        assert len(patch.body) > 3_000_000
        deliveries.shutdown(0)


def test_uploads_are_few_at_a_time(
    config: LangSmithConfig, server: LangSmithServer, tmp_path: Path
) -> None:
    """However many calls end at once, two recordings are rendered and sent at a time."""
    lock, now, most = threading.Lock(), [0], [0]
    gate = threading.Event()

    def render() -> Recording:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait(0.05)
        with lock:
            now[0] -= 1
        return Recording(path=path)

    path = wav(tmp_path, 1000)
    deliveries = Deliveries(config, backoff=QUICK)
    for number in range(10):
        deliveries.open(opening(number)).finish(Closing(end_ns=2 * 10**18), render)
    assert deliveries.flush(20) is True
    assert (10, 2) == (len(patches(server)), most[0])
    deliveries.shutdown(0)


@pytest.mark.parametrize(
    ("status", "delivered"), [(200, True), (202, True), (409, True), (400, False), (401, False)]
)
def test_the_caller_is_told_when_its_files_may_go(
    config: LangSmithConfig,
    server: LangSmithServer,
    tmp_path: Path,
    status: int,
    delivered: bool,
) -> None:
    """Only a 2xx or a 409 for the end says that LangSmith has the recording."""
    deliveries = Deliveries(config, backoff=QUICK)
    server.judge = lambda r: Reply(status) if b'name="patch.' in r.body[:300] else None
    told: list[bool] = []
    path = wav(tmp_path, 1000)
    deliveries.open(opening()).finish(
        Closing(end_ns=2 * 10**18),
        lambda: Recording(path=path),
        on_done=lambda ok, _: told.append(ok),
    )
    assert deliveries.flush(5) is delivered
    assert [delivered] == told
    assert path.exists()
    deliveries.shutdown(0)
