"""Serves the page for kept recordings."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from otel_realtime.diagnostics import logger_of
from otel_realtime.sandbox.access import Access
from otel_realtime.sandbox.page_api import PageApi, json_response, link_templates
from otel_realtime.sandbox.peaks import Peaks
from otel_realtime.sandbox.server import serve
from otel_realtime.viewing.kept import KeptCalls

logger = logger_of(__name__)


def server_for(
    calls: KeptCalls,
    peaks: Path,
    *,
    names: Collection[str],
    keys: Collection[str] | None = None,
    links: Mapping[str, str] | None = None,
) -> uvicorn.Server:
    """Return the server of the page, not yet running.

    Args:
        calls: the calls that it shows.
        peaks: a folder for the peaks of recordings.
        names: the names of this host; see ``sandbox.access.own_names``.
        keys: the keys that allow reading; None: no key is needed.
        links: see ``sandbox.page_api.link_templates``.
    """
    page = PageApi(calls, Peaks(peaks), link_templates(links))
    routes = [*page.routes(), Route("/api/violations", _no_violations, methods=["GET"])]
    return serve(Access(Starlette(routes=routes), names=names, keys=keys), calls.changes)


async def _no_violations(request: Request) -> Response:
    return json_response({"violations": []})


class Watch:
    """Looks for new recordings in a thread, inside the ``with`` block.

    Args:
        calls: the calls to refresh.
        interval_s: time between two refreshes, s.
    """

    def __init__(self, calls: KeptCalls, interval_s: float) -> None:
        self._calls = calls
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otel-realtime-view", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        away = False  # an outage is logged once, not every second
        while not self._stop.wait(self._interval_s):
            try:
                self._calls.refresh()
                away = False
            except Exception as error:  # noqa: BLE001 - for example, a bucket that is unreachable for a while
                if not away:
                    logger.warning("the recordings cannot be listed: %s", error)
                away = True
