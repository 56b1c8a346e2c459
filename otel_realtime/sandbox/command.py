"""``otel-realtime sandbox``: runs the sandbox in the foreground until Ctrl-C."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from otel_realtime.errors import ConfigError
from otel_realtime.sandbox.access import own_names
from otel_realtime.sandbox.foreground import given_links, listen, run_in_foreground
from otel_realtime.sandbox.server import server_for
from otel_realtime.sandbox.store import Store
from otel_realtime.settings import Settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8321

_WELCOME = """\
Sandbox listening on {url} (data in {data_dir}). Press Ctrl-C to stop.

To send traces here instead of to LangSmith:
  export LANGSMITH_ENDPOINT={url} LANGSMITH_API_KEY={key} LANGSMITH_TRACING=true

Contract violations: {url}/api/violations"""


def run(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    data_dir: Path | None = None,
    open_browser: bool = False,
    keys: Sequence[str] = (),
    names: Sequence[str] = (),
    links: Sequence[str] = (),
    as_json: bool = False,
) -> int:
    """Serve until interrupted.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        data_dir: the directory for the data; None: ``sandbox`` in the package's state directory.
        open_browser: whether to open the page in a browser.
        keys: the accepted keys, for sending and reading; empty: any key may send, and reading needs none.
        names: further host names under which the sandbox is reached.
        links: external pages that show a call, as ``NAME=TEMPLATE``.
        as_json: print the address as one line of JSON.

    Returns:
        The exit code: 0 after an interrupt.

    Raises:
        ConfigError: the address or the directory cannot be used.
    """
    templates = given_links(links)
    folder = data_dir if data_dir is not None else Settings().state_dir / "sandbox"
    listener, url = listen(host, port)
    try:
        store = Store(folder)
    except (OSError, sqlite3.Error) as error:
        listener.close()
        raise ConfigError(
            f"cannot store data in {folder}: {_reason(error)}; check --data-dir"
        ) from error
    key = "one of its keys" if keys else "sandbox"
    if as_json:
        welcome = json.dumps({"url": url, "data_dir": str(folder), "keys": bool(keys)})
    else:
        welcome = _WELCOME.format(url=url, data_dir=folder, key=key)
    server = server_for(store, keys=keys or None, names=own_names(host, names), links=templates)
    try:
        # The link has no key, because every program on this machine could see it; the page asks for one.
        run_in_foreground(server, listener, welcome, url if open_browser else None)
    finally:
        store.close()
    return 0


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
