"""The sandbox as a server: in a thread for tests and the demo, or in the foreground."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import uvicorn

from otel_realtime.sandbox.app import Routes
from otel_realtime.sandbox.contract import RUN_LIMIT
from otel_realtime.sandbox.store import Store

_START_TIMEOUT_S = 10.0


def bind(host: str, port: int) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def server_for(
    store: Store,
    *,
    keys: Collection[str] | None = None,
    max_request_bytes: int | None = None,
) -> uvicorn.Server:
    """Return the configured server, not running."""
    routes = Routes(store, keys=keys, max_request_bytes=max_request_bytes)
    # Nothing of the libraries the package watches (websockets) is loaded or logged by it.
    config = uvicorn.Config(
        routes.app(),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


class Sandbox:
    """A local stand-in for LangSmith, running in a thread inside the ``with`` block.

    Args:
        data_dir: where the database and the attachments stand; kept when it ends.
        host: the address to listen on.
        port: 0 takes a free one; see ``url``.
        keys: the accepted API keys; None accepts any that is not empty.
        max_request_bytes: larger requests are answered 413; None sets no limit.
        run_limit: runs a trace may hold.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Collection[str] | None = None,
        max_request_bytes: int | None = None,
        run_limit: int = RUN_LIMIT,
    ) -> None:
        self._data_dir = Path(data_dir)
        self._address = (host, port)
        self._options: dict[str, Any] = {"keys": keys, "max_request_bytes": max_request_bytes}
        self._run_limit = run_limit
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def __enter__(self) -> Sandbox:
        listener = bind(*self._address)
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._store = Store(self._data_dir, run_limit=self._run_limit)
        self._server = server = server_for(self._store, **self._options)
        self._thread = threading.Thread(
            target=server.run, args=([listener],), name="otel-realtime-sandbox", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not server.started:
            self.__exit__(None, None, None)
            msg = f"the sandbox did not start on {self.url}"
            raise RuntimeError(msg)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_START_TIMEOUT_S)
            self._store.close()

    def conversations(self) -> list[dict[str, Any]]:
        """List the traces, latest first, as ``GET /api/conversations`` does."""
        return self._store.conversations()

    def conversation(self, run_id: str) -> dict[str, Any] | None:
        """Return one trace by its root run's id: summary, ``root``, ``runs``, ``violations``."""
        return self._store.conversation(run_id)

    def violations(self) -> list[dict[str, Any]]:
        """List everything that broke the contract; empty is good."""
        return self._store.violations()

    def recording(self, run_id: str) -> Path | None:
        """Return the file of a conversation's recording."""
        found = self._store.recording(run_id)
        return None if found is None else found[0]

    def clear(self) -> int:
        """Forget all conversations; return how many there were."""
        return self._store.clear()
