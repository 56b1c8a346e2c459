"""Memory while a 300 MB recording goes to LangSmith: ``python -m tests.benchmarks.bench_upload``."""

from __future__ import annotations

import resource
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.delivery import Deliveries
from tests.benchmarks.callers import by_thread

MB = 1_000_000
SIZE = 300 * MB
ALLOWED_MB = 16.0


class _Sink(BaseHTTPRequestHandler):
    """Takes everything and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 65_536)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _deliver(deliveries: Deliveries, recording: Recording | None) -> None:
    opening = Opening(
        trace_id=1,
        span_id=1,
        name="realtime_session",
        start_ns=10**18,
    )
    root = deliveries.open(opening)
    root.finish(Closing(end_ns=2 * 10**18), lambda: recording, max_attachment_mb=1000)
    assert deliveries.flush(300), "not delivered"


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 / (1024 if sys.platform == "darwin" else 1)


def cpu_per_minute(minutes: int) -> float:
    """CPU ms of our threads for each minute of a recording that is uploaded: stereo, 24 kHz, WAV."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = LangSmithConfig(api_url=f"http://127.0.0.1:{server.server_port}", api_key="bench")
    deliveries = Deliveries(config)
    _deliver(deliveries, None)  # brings what a first upload imports
    before = _of_uploads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        path.write_bytes(bytes(minutes * 60 * 24_000 * 4))
        _deliver(deliveries, Recording(path=path))
    spent = _of_uploads() - before
    server.shutdown()
    server.server_close()
    deliveries.shutdown(5)
    return spent / minutes


def _of_uploads() -> float:
    return sum(ms for name, ms in by_thread().items() if name.startswith("otel-realtime-uploads"))


def main() -> int:
    """Upload once without and once with the recording, and compare the process's peaks."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = LangSmithConfig(api_url=f"http://127.0.0.1:{server.server_port}", api_key="bench")
    deliveries = Deliveries(config)
    _deliver(deliveries, None)
    before = _peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "conversation.wav"
        with path.open("wb") as file:
            file.truncate(SIZE)
        started = time.perf_counter()
        _deliver(deliveries, Recording(path=path))
        seconds = time.perf_counter() - started
    added = _peak_mb() - before
    print(
        f"{SIZE // MB} MB in {seconds:.1f} s: {added:+.1f} MB of memory (allowed: {ALLOWED_MB:g})"
    )
    return 0 if added <= ALLOWED_MB else 1


if __name__ == "__main__":
    sys.exit(main())
