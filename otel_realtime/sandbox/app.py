"""The routes: what LangSmith takes in, what it answers, and our own reading side."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from otel_realtime.sandbox import bodies, ingest_otlp, ingest_runs
from otel_realtime.sandbox.langsmith_shape import INFO, run_as_langsmith
from otel_realtime.sandbox.model import Batch, Refused
from otel_realtime.sandbox.rows import encode
from otel_realtime.sandbox.store import TENANT_ID, Store

PAGES: Final = Path(__file__).parent / "static"
# Recorded texts are shown on the page: nothing in them may run or load.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request], Awaitable[Response]]


def answer(value: object, status: int = 200) -> Response:
    """Answer any stored value as JSON."""
    return Response(encode(value), status, media_type="application/json", headers=_HEADERS)


class Routes:
    """The handlers over one store.

    Args:
        store: where everything goes.
        keys: the accepted ``x-api-key`` values; None accepts any that is not empty.
        max_request_bytes: larger bodies are answered 413; None sets no limit.
    """

    def __init__(
        self, store: Store, *, keys: Collection[str] | None, max_request_bytes: int | None
    ) -> None:
        self._store = store
        self._keys = keys
        self._limit = max_request_bytes

    def app(self) -> Starlette:
        """Return the application; LangSmith's routes also stand below ``/api/v1``."""
        langsmith: list[BaseRoute] = [
            Route("/otel/v1/traces", self._guarded(self.traces), methods=["POST"]),
            Route("/runs/multipart", self._guarded(self.multipart), methods=["POST"]),
            Route("/runs/batch", self._guarded(self.runs_batch), methods=["POST"]),
            Route("/runs", self._guarded(self.post_run), methods=["POST"]),
            Route("/runs/{run_id:uuid}", self._guarded(self.patch_run), methods=["PATCH"]),
            Route("/runs/{run_id:uuid}", self._guarded(self.read_run), methods=["GET"]),
            Route("/sessions", self._guarded(self.read_sessions), methods=["GET"]),
            Route("/sessions", self._guarded(self.create_session), methods=["POST"]),
            Route("/info", self.info, methods=["GET"]),
        ]
        ours: list[BaseRoute] = [
            Route("/api/conversations", self.conversations, methods=["GET"]),
            Route("/api/conversations", self.clear, methods=["DELETE"]),
            Route("/api/conversations/{run_id}", self.conversation, methods=["GET"]),
            Route("/api/conversations/{run_id}/recording", self.recording, methods=["GET"]),
            Route("/api/runs/{run_id}", self.run, methods=["GET"]),
            Route("/api/violations", self.violations, methods=["GET"]),
            Route("/o/{tenant}/projects/p/{project}/r/{run_id}", self.link, methods=["GET"]),
            Route("/conversations/{run_id}", self.page, methods=["GET"]),
            Route("/", self.page, methods=["GET"]),
            Mount("/static", StaticFiles(directory=PAGES)),
        ]
        return Starlette(routes=[*langsmith, Mount("/api/v1", routes=langsmith), *ours])

    # --- LangSmith's side -------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        """Ask for the key and turn a refusal into its answer."""

        async def guarded(request: Request) -> Response:
            try:
                self._check_key(request)
                return await handler(request)
            except Refused as refused:
                if refused.findings:
                    await run_in_threadpool(self._store.report, refused.findings)
                error = {"error": str(refused), "details": str(refused)}
                return answer(error, refused.status)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to read it

        return guarded

    def _check_key(self, request: Request) -> None:
        key = request.headers.get("x-api-key", "")
        if not key or (self._keys is not None and key not in self._keys):
            raise Refused(401, "a valid x-api-key header is needed")

    async def traces(self, request: Request) -> Response:
        """OTLP over HTTP; stored when the answer goes out, whatever becomes of it."""
        body = await bodies.whole(request, self._limit)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        project = request.headers.get("langsmith-project")

        def ingest() -> None:
            self._store.apply(ingest_otlp.read(body, media_type, project, self._store.incoming))

        await run_in_threadpool(ingest)
        content = b"{}" if media_type == "application/json" else b""
        return Response(content, media_type=media_type)

    async def multipart(self, request: Request) -> Response:
        """Posts, patches and attachments in one request."""
        kind, _, parameters = request.headers.get("content-type", "").partition(";")
        boundary = _parameter(parameters, "boundary")
        if kind.strip().lower() != "multipart/form-data" or not boundary:
            raise Refused(415, "content type multipart/form-data with a boundary is needed")
        reader = bodies.PartReader(boundary, self._store.incoming)
        try:
            async for chunk in bodies.chunks(request, self._limit):
                reader.feed(chunk)
            reader.close()
            return await self._apply(lambda: ingest_runs.read_parts(reader.parts))
        finally:
            reader.discard()

    async def post_run(self, request: Request) -> Response:
        """Create one run."""
        return await self._json(request, "post")

    async def patch_run(self, request: Request) -> Response:
        """Change one run."""
        return await self._json(request, "patch", str(request.path_params["run_id"]))

    async def runs_batch(self, request: Request) -> Response:
        """Create and change several runs."""
        return await self._json(request, "batch")

    async def _json(self, request: Request, verb: str, run_id: str | None = None) -> Response:
        body = await bodies.whole(request, self._limit)
        return await self._apply(lambda: ingest_runs.read_json(body, verb, run_id))

    async def _apply(self, read: Callable[[], Batch]) -> Response:
        if await run_in_threadpool(lambda: self._store.apply(read())):
            return answer({"error": "Conflict", "details": "payload already received"}, 409)
        return answer({"message": "accepted"}, 202)

    async def read_run(self, request: Request) -> Response:
        """One run in LangSmith's shape."""
        run_id = str(request.path_params["run_id"])
        found = await run_in_threadpool(self._store.run, run_id)
        if found is None:
            raise Refused(404, f"no run {run_id}")
        projects = await run_in_threadpool(self._store.projects, found["project"])
        return answer(run_as_langsmith(found, projects[0]["id"], TENANT_ID))

    async def read_sessions(self, request: Request) -> Response:
        """The projects, or the one with that name."""
        name = request.query_params.get("name")
        return answer(await run_in_threadpool(self._store.projects, name))

    async def create_session(self, request: Request) -> Response:
        """Create a project; 409 when it exists, unless ``upsert`` is true."""
        try:
            name = json.loads(await bodies.whole(request, self._limit))["name"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(422, "a project needs a name") from error
        created = await run_in_threadpool(self._store.create_project, str(name))
        if not created and request.query_params.get("upsert", "").lower() != "true":
            raise Refused(409, f"project {name!r} exists")
        return answer((await run_in_threadpool(self._store.projects, str(name)))[0])

    async def info(self, request: Request) -> Response:
        """What the server offers; no compression but gzip."""
        return answer(INFO)

    # --- our side ---------------------------------------------------------------------------------

    async def conversations(self, request: Request) -> Response:
        """All traces, latest first."""
        return answer({"conversations": await run_in_threadpool(self._store.conversations)})

    async def conversation(self, request: Request) -> Response:
        """One trace; ``?payloads=false`` leaves out what is large."""
        payloads = request.query_params.get("payloads", "true").lower() != "false"
        found = await run_in_threadpool(
            lambda: self._store.conversation(request.path_params["run_id"], payloads=payloads)
        )
        return answer(found) if found is not None else answer({"error": "not found"}, 404)

    async def run(self, request: Request) -> Response:
        """One run with everything."""
        found = await run_in_threadpool(self._store.run, request.path_params["run_id"])
        return answer(found) if found is not None else answer({"error": "not found"}, 404)

    async def recording(self, request: Request) -> Response:
        """The recording; a player asks for ranges of it."""
        found = await run_in_threadpool(self._store.recording, request.path_params["run_id"])
        if found is None:
            return answer({"error": "no recording"}, 404)
        path, media_type = found
        return FileResponse(path, media_type=media_type, headers=_HEADERS)

    async def violations(self, request: Request) -> Response:
        """Everything that broke the contract."""
        return answer({"violations": await run_in_threadpool(self._store.violations)})

    async def clear(self, request: Request) -> Response:
        """Forget all conversations."""
        return answer({"deleted": await run_in_threadpool(self._store.clear)})

    async def link(self, request: Request) -> Response:
        """The address LangSmith's own page has for a run."""
        run_id = request.path_params["run_id"]
        found = await run_in_threadpool(self._store.run, run_id)
        root = found["trace_id"] if found is not None else run_id
        fragment = "" if root == run_id else f"#{run_id}"
        return RedirectResponse(f"/conversations/{root}{fragment}", 307)

    async def page(self, request: Request) -> Response:
        """The page; its script reads the address."""
        return FileResponse(PAGES / "index.html", headers=_HEADERS)


def _parameter(parameters: str, name: str) -> str:
    for part in parameters.split(";"):
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return ""
