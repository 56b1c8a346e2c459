"""Serves the read API of the page: the list of calls, one call with its audio, and files to save.

The sandbox and a folder of kept recordings have the same API: a ``CallSource`` provides the calls.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from otel_realtime.calls.captions import srt, vtt
from otel_realtime.calls.transcript import transcript
from otel_realtime.sandbox.access import HEADERS
from otel_realtime.sandbox.call_index import LONGEST_TEXT, Query
from otel_realtime.sandbox.changes import Changes
from otel_realtime.sandbox.clips import clip
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.peaks import LEVELS_MS, Peaks
from otel_realtime.sandbox.rows import encode

STATIC_FILES: Final = Path(__file__).parent / "static"
#: Templates of external pages: ``LangSmith=https://.../{run_id};Jaeger=http://.../trace/{trace_id}``.
LINKS_VARIABLE: Final = "OTEL_REALTIME_LINKS"
_PLACES: Final = ("run_id", "trace_id", "thread_id", "project")
_MOST_BUCKETS: Final = 1 << 20


class CallSource(Protocol):
    """A source of calls. Its methods may read from a disk, so they are called in a thread."""

    @property
    def changes(self) -> Changes:
        """The object through which it announces changed calls."""

    def calls(self, query: Query) -> JsonObject:
        """Return one page of the list."""

    def calls_summary(self, query: Query) -> JsonObject:
        """Return the summary above the list."""

    def call(self, call_id: str) -> JsonObject | None:
        """Return a call object, or None if there is no such call."""

    def findings(self, call_id: str) -> JsonObject:
        """Return ``findings``, violations by the sender, and ``shapes``, those of other instrumentations."""

    def recording(self, call_id: str) -> tuple[Path, str] | None:
        """Return the file of a recording and its media type; None without a recording."""

    def spans(self, call_id: str) -> list[JsonObject] | None:
        """Return the spans of a call without payloads; None if no spans are kept."""

    def search_spans(self, call_id: str, text: str) -> list[str]:
        """Return the ids of the spans that contain a text."""


def json_response(value: object, status: int = 200) -> Response:
    """Return a JSON response; unlike starlette's, it encodes every value the store may hold."""
    return Response(encode(value), status, media_type="application/json", headers=HEADERS)


def found_or_404(value: JsonObject | None) -> Response:
    """Return a JSON object, or 404."""
    return json_response({"error": "not found"}, 404) if value is None else json_response(value)


class PageApi:
    """The routes of the page and of its read API.

    Args:
        source: the source of the calls.
        peaks: the peaks of their recordings.
        links: templates of external pages, by their label; see ``link_templates``.
    """

    def __init__(self, source: CallSource, peaks: Peaks, links: Mapping[str, str]) -> None:
        self._source = source
        self._peaks = peaks
        self._links = dict(links)

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        call = "/api/calls/{call_id}"
        return [
            Route("/api/calls", self.calls, methods=["GET"]),
            Route("/api/calls/summary", self.summary, methods=["GET"]),
            Route(call, self.call, methods=["GET"]),
            Route(f"{call}/peaks", self.peaks, methods=["GET"]),
            Route(f"{call}/recording", self.recording, methods=["GET"]),
            Route(f"{call}/clip.wav", self.clip, methods=["GET"]),
            Route(f"{call}/spans", self.spans, methods=["GET"]),
            Route(f"{call}/spans/search", self.search_spans, methods=["GET"]),
            *(Route(f"{call}/{name}", self.written, methods=["GET"]) for name in _WRITTEN),
            Route("/api/events", self.events, methods=["GET"]),
            Route("/conversations/{call_id}", self.page, methods=["GET"]),
            Route("/", self.page, methods=["GET"]),
            Mount("/static", StaticFiles(directory=STATIC_FILES)),
        ]

    async def calls(self, request: Request) -> Response:
        """Return one page of the list."""
        query = Query.of(request.query_params)
        return json_response(await run_in_threadpool(self._source.calls, query))

    async def summary(self, request: Request) -> Response:
        """Return the summary above the list: the total, the values of the filters, latency over calls."""
        query = Query.of(request.query_params)
        return json_response(await run_in_threadpool(self._source.calls_summary, query))

    async def call(self, request: Request) -> Response:
        """Return a call with its links and findings."""
        return found_or_404(
            await run_in_threadpool(page_of, self._source, _call_id(request), self._links)
        )

    async def peaks(self, request: Request) -> Response:
        """Return buckets of one level, ``?level=&start=&count=``, as bytes."""
        level, start, count = (
            _integer(request, name, default)
            for name, default in (("level", len(LEVELS_MS) - 1), ("start", 0), ("count", None))
        )
        recording = await run_in_threadpool(self._source.recording, _call_id(request))
        if recording is None or level is None or not 0 <= level < len(LEVELS_MS):
            return json_response({"error": "no peaks"}, 404)
        count = _MOST_BUCKETS if count is None else max(min(count, _MOST_BUCKETS), 0)
        first = max(start or 0, 0)
        try:
            read = await run_in_threadpool(self._peaks.read, recording[0], level, first, count)
        except (OSError, ValueError) as error:
            return json_response({"error": f"no peaks: {error}"}, 404)
        headers = {**HEADERS, "X-Bucket-Ms": str(LEVELS_MS[level])}
        return Response(read, media_type="application/octet-stream", headers=headers)

    async def recording(self, request: Request) -> Response:
        """Return the recording; supports the range requests of a player."""
        recording = await run_in_threadpool(self._source.recording, _call_id(request))
        if recording is None or not recording[0].is_file():  # deleted since it was listed
            return json_response({"error": "no recording"}, 404)
        path, media_type = recording
        return FileResponse(path, media_type=media_type, headers=HEADERS)

    async def clip(self, request: Request) -> Response:
        """Return a stretch of the recording, ``?start_ms=&end_ms=``, as WAV."""
        start, end = _integer(request, "start_ms", 0), _integer(request, "end_ms", None)
        recording = await run_in_threadpool(self._source.recording, _call_id(request))
        if recording is None or start is None or end is None:
            return json_response({"error": "no such clip"}, 404)
        try:
            made = await run_in_threadpool(clip, recording[0], start, end)
        except (OSError, ValueError) as error:
            return json_response({"error": f"no such clip: {error}"}, 404)
        return _download(made, "audio/wav")

    async def written(self, request: Request) -> Response:
        """Return captions, the transcript or the call object as a file."""
        name = request.url.path.rpartition("/")[2]
        media_type, write = _WRITTEN[name]
        call = await run_in_threadpool(self._source.call, _call_id(request))
        if call is None:
            return json_response({"error": "not found"}, 404)
        return _download(write(call).encode("utf-8", "replace"), media_type)

    async def spans(self, request: Request) -> Response:
        """Return the spans of a call without their payloads."""
        found = await run_in_threadpool(self._source.spans, _call_id(request))
        return found_or_404(None if found is None else {"spans": found})

    async def search_spans(self, request: Request) -> Response:
        """Return the ids of the spans that contain ``?q=``."""
        text = request.query_params.get("q", "").encode("utf-8", "replace").decode()
        ids = await run_in_threadpool(
            self._source.search_spans, _call_id(request), text[:LONGEST_TEXT]
        )
        return json_response({"ids": ids})

    async def events(self, request: Request) -> Response:
        """Return the stream of changes."""
        if self._source.changes.full:
            return json_response({"error": "too many pages listen"}, 503)
        headers = {**HEADERS, "X-Accel-Buffering": "no"}  # nginx would hold the stream back
        return StreamingResponse(
            self._source.changes.stream(), media_type="text/event-stream", headers=headers
        )

    async def page(self, request: Request) -> Response:
        """Return the page; its script chooses the content by the path."""
        return FileResponse(STATIC_FILES / "index.html", headers=HEADERS)


def page_of(source: CallSource, call_id: str, links: Mapping[str, str]) -> JsonObject | None:
    """Return the data that the page shows for a call; None if there is no such call."""
    call = source.call(call_id)
    if call is None:
        return None
    return {
        "call": call,
        "links": links_of(call, links),
        "has_spans": source.spans(call_id) is not None,
        **source.findings(call_id),
    }


def links_of(call: Mapping[str, Any], templates: Mapping[str, str]) -> list[JsonObject]:
    """Return the external pages that show a call; a template that needs a missing value is skipped."""
    values = {"run_id": call["id"], **{name: call.get(name) for name in _PLACES[1:]}}
    links = []
    for label, template in templates.items():
        address = template
        for place in _PLACES:
            if f"{{{place}}}" in address and not values[place]:
                break
            address = address.replace(f"{{{place}}}", quote(str(values[place]), safe=""))
        else:
            links.append({"label": label, "href": address})
    return links


def link_templates(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment's templates, overridden by the given ones; only http and https."""
    listed = os.environ.get(LINKS_VARIABLE, "").split(";")
    named = (part.partition("=") for part in listed if part.strip())
    found = {label.strip(): template.strip() for label, _, template in named} | dict(given or {})
    return {k: v for k, v in found.items() if v.startswith(("https://", "http://"))}


def _json(call: JsonObject) -> str:
    return encode(call)


#: Name of a file -> its media type, and the function that writes it.
_WRITTEN: Final[Mapping[str, tuple[str, Callable[[Any], str]]]] = {
    "captions.vtt": ("text/vtt", vtt),
    "captions.srt": ("application/x-subrip", srt),
    "transcript.txt": ("text/plain", transcript),
    "call.json": ("application/json", _json),
}


def _download(content: bytes, media_type: str) -> Response:
    # No file name here: the page gives the file a name that identifies the call.
    headers = {**HEADERS, "Content-Disposition": "attachment"}
    return Response(content, media_type=media_type, headers=headers)


def _call_id(request: Request) -> str:
    # A path may contain lone surrogates, which SQLite cannot store and so no id contains.
    return str(request.path_params["call_id"]).encode("utf-8", "replace").decode()


def _integer(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_params.get(name, "")
    try:
        value = int(float(text))
    except (ValueError, OverflowError):
        return default
    return value if -(2**53) < value < 2**53 else default
