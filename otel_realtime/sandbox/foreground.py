"""Runs a server in the foreground, for `otel-realtime sandbox` and `otel-realtime view`."""

from __future__ import annotations

import errno
import socket
import threading
import time
import webbrowser
from collections.abc import Sequence

import uvicorn

from otel_realtime import console
from otel_realtime.errors import ConfigError
from otel_realtime.sandbox.server import bind


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket and the address under which a browser on this machine reaches it.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        listener = bind(host, port)
    except (OSError, ValueError) as error:  # ValueError: an invalid host name
        reason = getattr(error, "strerror", None) or str(error)
        in_use = getattr(error, "errno", None) == errno.EADDRINUSE
        fix = "--port 0 takes any free port" if in_use else "check --host and --port"
        raise ConfigError(f"cannot listen on {host}:{port}: {reason}; {fix}") from error
    # The wildcard addresses accept connections but are not a destination a client can use.
    reachable = "localhost" if host in ("0.0.0.0", "::") else host
    name = f"[{reachable}]" if ":" in reachable else reachable
    return listener, f"http://{name}:{listener.getsockname()[1]}"


def given_links(links: Sequence[str]) -> dict[str, str]:
    """Return the templates of the options ``--link NAME=TEMPLATE``, by name.

    Raises:
        ConfigError: one has no name, or is not an HTTP or HTTPS URL.
    """
    templates = {}
    for link in links:
        label, _, template = link.partition("=")
        if not label.strip() or not template.strip().startswith(("https://", "http://")):
            raise ConfigError(f"--link takes NAME=https://..., not {link!r}")
        templates[label.strip()] = template.strip()
    return templates


def run_in_foreground(
    server: uvicorn.Server, listener: socket.socket, welcome: str, page: str | None
) -> None:
    """Print the welcome text, and serve until Ctrl-C.

    Args:
        server: the server.
        listener: the listening socket.
        welcome: printed first; from then on Ctrl-C is the normal end of the command.
        page: URL to open in a browser once the server has started; None: open nothing.
    """
    try:
        console.say(welcome)
        if page is not None:
            threading.Thread(
                target=_open_when_started,
                args=(server, page),
                name="otel-realtime-browser",
                daemon=True,
            ).start()
        server.run([listener])
    except KeyboardInterrupt:
        listener.close()


def _open_when_started(server: uvicorn.Server, page: str) -> None:
    while not server.started:
        time.sleep(0.05)
    webbrowser.open(page)
