"""Runs the sandbox as an HTTP server: in a thread for tests and the demo, or in the foreground."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType

import uvicorn

from otel_realtime.sandbox.access import Access, own_names
from otel_realtime.sandbox.app import Routes
from otel_realtime.sandbox.changes import Changes
from otel_realtime.sandbox.contract import RUN_LIMIT
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.page_api import link_templates
from otel_realtime.sandbox.store import Store

_START_TIMEOUT_S = 10.0


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 picks a free port.

    Raises:
        OSError: the address is in use or does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Otherwise a restart fails while connections of the last run are in TIME_WAIT.
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
    names: Collection[str] = (),
    links: Mapping[str, str] | None = None,
) -> uvicorn.Server:
    """Return the configured server, not yet running.

    For ``names`` see ``access.own_names``; for ``links`` see ``page_api.link_templates``.
    """
    routes = Routes(
        store,
        keys=keys,
        max_request_bytes=max_request_bytes,
        names=names,
        links=link_templates(links),
    )
    return serve(routes.app(), store.changes)


class _Server(uvicorn.Server):
    """Ends the event streams before it waits for open requests to end."""

    def __init__(self, config: uvicorn.Config, changes: Changes) -> None:
        super().__init__(config)
        self._changes = changes

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._changes.close()
        await super().shutdown(sockets)


def serve(app: Access, changes: Changes) -> uvicorn.Server:
    """Return the server of an application whose pages listen to changes, not yet running."""
    # ws="none" keeps uvicorn from importing websockets, which this package instruments;
    # log_config=None leaves the app's logging alone.
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config, changes)


class Sandbox:
    """A local stand-in for LangSmith, running in a thread inside the ``with`` block.

    Args:
        data_dir: the directory of the database and the attachments; it is kept on exit.
        host: the address to listen on.
        port: the port to listen on; 0 picks a free one.
        keys: the accepted API keys, for sending and reading; None: any non-empty key may send, and
            reading needs none.
        max_request_bytes: larger requests are answered with 413; None: the limit is 64 MB, or 1 GB
            with attachments.
        run_limit: the number of runs a trace may hold.
        names: further host names under which it is reached, such as a container's.

    Attributes:
        url: the base URL, for ``LANGSMITH_ENDPOINT``; set when the block is entered.
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
        names: Collection[str] = (),
    ) -> None:
        self._data_dir = Path(data_dir)
        self._names = own_names(host, names)
        self._address = (host, port)
        self._keys = keys
        self._max_request_bytes = max_request_bytes
        self._run_limit = run_limit
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def __enter__(self) -> Sandbox:
        listener = bind(*self._address)
        host, port = listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._store = Store(self._data_dir, run_limit=self._run_limit)
        self._server = server = server_for(
            self._store,
            keys=self._keys,
            max_request_bytes=self._max_request_bytes,
            names=self._names,
        )
        self._thread = threading.Thread(
            target=server.run, args=([listener],), name="otel-realtime-sandbox", daemon=True
        )
        self._thread.start()
        # uvicorn sets a flag when it is ready but offers nothing to wait on.
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

    def conversations(self) -> list[JsonObject]:
        """Return a summary of each conversation, latest first, as ``GET /api/conversations``."""
        return self._store.conversations()

    def conversation(self, run_id: str) -> JsonObject | None:
        """Return the trace of a root run: summary, ``root``, ``runs``, ``violations``, ``shapes``."""
        return self._store.conversation(run_id)

    def violations(self) -> list[JsonObject]:
        """Return all violations of the contract."""
        return self._store.violations()

    def shapes(self) -> list[JsonObject]:
        """Return the violations on spans of other instrumentations, which LangSmith shows only in part."""
        return self._store.shapes()

    def recording(self, run_id: str) -> Path | None:
        """Return the path of a conversation's recording, or None if it has none."""
        stored = self._store.recording(run_id)
        return None if stored is None else stored[0]

    def clear(self) -> int:
        """Delete all conversations; return how many there were."""
        return self._store.clear()
