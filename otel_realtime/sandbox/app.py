"""Defines the HTTP routes: those LangSmith endpoints that tracing uses, and our own read API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from otel_realtime.sandbox import bodies, ingest_otlp, ingest_runs, json_in
from otel_realtime.sandbox.access import HEADERS, Access, refused
from otel_realtime.sandbox.langsmith_shape import INFO, recording_as_langsmith, run_as_langsmith
from otel_realtime.sandbox.model import Batch, RequestError
from otel_realtime.sandbox.page_api import PageApi, found_or_404, json_response
from otel_realtime.sandbox.store import TENANT_ID, Store

Handler = Callable[[Request], Awaitable[Response]]


class Routes:
    """The handlers of all routes.

    Args:
        store: the storage they write to and read from.
        keys: the accepted ``x-api-key`` values; None accepts any non-empty key.
        max_request_bytes: larger bodies are answered with 413; None: the limits are
            ``bodies.IN_MEMORY`` and ``bodies.IN_FILES``.
        names: the names of this host.
        links: templates of external pages that show a call, by their label.
    """

    def __init__(
        self,
        store: Store,
        *,
        keys: Collection[str] | None,
        max_request_bytes: int | None,
        names: Collection[str],
        links: Mapping[str, str],
    ) -> None:
        self._store = store
        self._page = PageApi(store, store.peaks, links)
        self._keys = keys
        self._names = names
        self._in_memory, self._in_files = (
            bound if max_request_bytes is None else min(bound, max_request_bytes)
            for bound in (bodies.IN_MEMORY, bodies.IN_FILES)
        )

    def app(self) -> Access:
        """Return the application, wrapped in its access checks.

        LangSmith's routes also exist below ``/api/v1``, as on a self-hosted LangSmith.
        """
        langsmith: list[BaseRoute] = [
            Route("/otel/v1/traces", self._langsmith_endpoint(self.traces), methods=["POST"]),
            Route("/runs/multipart", self._langsmith_endpoint(self.multipart), methods=["POST"]),
            Route("/runs/batch", self._langsmith_endpoint(self.runs_batch), methods=["POST"]),
            Route("/runs", self._langsmith_endpoint(self.post_run), methods=["POST"]),
            Route(
                "/runs/{run_id:uuid}", self._langsmith_endpoint(self.patch_run), methods=["PATCH"]
            ),
            Route("/runs/{run_id:uuid}", self._langsmith_endpoint(self.read_run), methods=["GET"]),
            Route("/sessions", self._langsmith_endpoint(self.read_sessions), methods=["GET"]),
            Route("/sessions", self._langsmith_endpoint(self.create_session), methods=["POST"]),
            Route("/info", self.info, methods=["GET"]),
        ]
        read_api: list[BaseRoute] = [
            Route("/api/conversations", self.conversations, methods=["GET"]),
            Route("/api/conversations", self.clear, methods=["DELETE"]),
            Route("/api/conversations/{run_id}", self.conversation, methods=["GET"]),
            Route("/api/conversations/{run_id}/recording", self.recording, methods=["GET"]),
            Route("/api/runs/{run_id}", self.run, methods=["GET"]),
            Route("/api/violations", self.violations, methods=["GET"]),
            Route("/api/shapes", self.shapes, methods=["GET"]),
            Route("/o/{tenant}/projects/p/{project}/r/{run_id}", self.redirect, methods=["GET"]),
            *self._page.routes(),
        ]
        routes = [*langsmith, Mount("/api/v1", routes=langsmith), *read_api]
        return Access(Starlette(routes=routes), names=self._names, keys=self._keys)

    # --- LangSmith's endpoints -------------------------------------------------------------------

    def _langsmith_endpoint(self, handler: Handler) -> Handler:
        """Add the API key check and the error responses to a handler."""

        async def endpoint(request: Request) -> Response:
            try:
                self._check_key(request)
                return await handler(request)
            except RequestError as error:
                if error.violations:
                    await run_in_threadpool(self._store.report, error.violations)
                return refused(error.status, str(error))
            except ClientDisconnect:
                return Response(status_code=400)  # the client is gone, but a response is required

        return endpoint

    def _check_key(self, request: Request) -> None:
        key = request.headers.get("x-api-key", "")
        if not key or (self._keys is not None and key not in self._keys):
            raise RequestError(401, "a valid x-api-key header is required")

    async def traces(self, request: Request) -> Response:
        """Handle OTLP over HTTP.

        Status 200 means that the request was stored, not that its spans are valid or shown, as LangSmith
        responds before it processes them.
        """
        body = await bodies.read_body(request, self._in_memory)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        project = _destination(request)

        def ingest() -> None:
            self._store.apply(ingest_otlp.read(body, media_type, project, self._store.incoming))

        await run_in_threadpool(ingest)
        # An empty ExportTraceServiceResponse, in the encoding of the request:
        # https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
        content = b"{}" if media_type == "application/json" else b""
        return Response(content, media_type=media_type)

    async def multipart(self, request: Request) -> Response:
        """Handle posts, patches and attachments in one request."""
        media_type, _, parameters = request.headers.get("content-type", "").partition(";")
        boundary = _parameter(parameters, "boundary")
        if media_type.strip().lower() != "multipart/form-data" or not boundary:
            raise RequestError(415, "expected content type multipart/form-data with a boundary")
        reader = bodies.PartReader(boundary, self._store.incoming)
        try:
            async for chunk in bodies.read_chunks(request, self._in_files):
                reader.feed(chunk)
            reader.close()
            return await self._apply(lambda: ingest_runs.read_parts(reader.parts))
        finally:
            reader.discard()

    async def post_run(self, request: Request) -> Response:
        """Handle the creation of one run."""
        return await self._json(request, "post")

    async def patch_run(self, request: Request) -> Response:
        """Handle the update of one run."""
        return await self._json(request, "patch", str(request.path_params["run_id"]))

    async def runs_batch(self, request: Request) -> Response:
        """Handle creations and updates of several runs."""
        return await self._json(request, "batch")

    async def _json(self, request: Request, verb: str, run_id: str | None = None) -> Response:
        body = await bodies.read_body(request, self._in_memory)
        return await self._apply(lambda: ingest_runs.read_json(body, verb, run_id))

    async def _apply(self, read: Callable[[], Batch]) -> Response:
        if await run_in_threadpool(lambda: self._store.apply(read())):
            # Everything new is still stored; LangSmith's client treats 409 as success.
            return json_response({"error": "Conflict", "details": "payload already received"}, 409)
        return json_response({"message": "accepted"}, 202)

    async def read_run(self, request: Request) -> Response:
        """Return one run in LangSmith's shape."""
        run_id = str(request.path_params["run_id"])
        run = await run_in_threadpool(self._store.run, run_id)
        if run is None:
            raise RequestError(404, f"run {run_id} not found")
        projects = await run_in_threadpool(self._store.projects, run["project"])
        shaped = run_as_langsmith(run, projects[0]["id"], TENANT_ID)
        # Only a recording has a URL of its own here, so other attachments are not listed.
        if await run_in_threadpool(self._store.recording, run_id) is not None:
            url = (
                f"{request.url.scheme}://{request.url.netloc}/api/conversations/{run_id}/recording"
            )
            shaped["s3_urls"] = recording_as_langsmith(run, url)
        return json_response(shaped)

    async def read_sessions(self, request: Request) -> Response:
        """Return the project named by ``?name=``, or all; the API calls projects sessions."""
        name = request.query_params.get("name")
        return json_response(await run_in_threadpool(self._store.projects, name))

    async def create_session(self, request: Request) -> Response:
        """Create a project; answer 409 if it exists, unless ``upsert`` is true."""
        try:
            name = json_in.read(await bodies.read_body(request, self._in_memory))["name"]
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(422, "a project requires a name") from error
        if not isinstance(name, str) or not name:
            raise RequestError(422, "the name of a project is text")
        name = name.encode("utf-8", "replace").decode()  # SQLite stores no lone surrogates
        created = await run_in_threadpool(self._store.create_project, name)
        if not created and request.query_params.get("upsert", "").lower() != "true":
            raise RequestError(409, f"project {name!r} already exists")
        return json_response((await run_in_threadpool(self._store.projects, str(name)))[0])

    async def info(self, request: Request) -> Response:
        """Return what the server supports."""
        return json_response(INFO)

    # --- read API --------------------------------------------------------------------------------

    async def conversations(self, request: Request) -> Response:
        """Return a summary of each conversation, latest first."""
        return json_response({"conversations": await run_in_threadpool(self._store.conversations)})

    async def conversation(self, request: Request) -> Response:
        """Return one trace; ``?payloads=false`` omits inputs, outputs, attributes and events."""
        payloads = request.query_params.get("payloads", "true").lower() != "false"
        conversation = await run_in_threadpool(
            lambda: self._store.conversation(request.path_params["run_id"], payloads=payloads)
        )
        return found_or_404(conversation)

    async def run(self, request: Request) -> Response:
        """Return one run with its payload."""
        return found_or_404(await run_in_threadpool(self._store.run, request.path_params["run_id"]))

    async def recording(self, request: Request) -> Response:
        """Return the recording of a conversation; supports the range requests of a player."""
        recording = await run_in_threadpool(self._store.recording, request.path_params["run_id"])
        if recording is None:
            return json_response({"error": "no recording"}, 404)
        path, media_type = recording
        return FileResponse(path, media_type=media_type, headers=HEADERS)

    async def violations(self, request: Request) -> Response:
        """Return all violations of the contract."""
        return json_response({"violations": await run_in_threadpool(self._store.violations)})

    async def shapes(self, request: Request) -> Response:
        """Return the violations on spans of other instrumentations, which LangSmith shows only in part."""
        return json_response({"shapes": await run_in_threadpool(self._store.shapes)})

    async def clear(self, request: Request) -> Response:
        """Delete all conversations."""
        return json_response({"deleted": await run_in_threadpool(self._store.clear)})

    async def redirect(self, request: Request) -> Response:
        """Redirect from the path that a run has in LangSmith's UI."""
        run_id = request.path_params["run_id"]
        run = await run_in_threadpool(self._store.run, run_id)
        root_id = run["trace_id"] if run is not None else run_id
        fragment = "" if root_id == run_id else f"#{run_id}"
        return RedirectResponse(f"/conversations/{root_id}{fragment}", 307)


def _destination(request: Request) -> str | None:
    """Return the project of an OTLP request, or the address of the agent that its headers name.

    Raises:
        RequestError: the headers name both, or only half of an agent's address.
    """
    project = request.headers.get("langsmith-project")
    agent = request.headers.get("langsmith-agent-id")
    environment = request.headers.get("langsmith-agent-environment")
    if agent is None and environment is None:
        return project
    if project is not None or agent is None or environment is None:
        raise RequestError(400, "the headers name half an agent's address, or a project beside it")
    return f"lrn:agents/{agent}/environments/{environment}"


def _parameter(parameters: str, name: str) -> str:
    for part in parameters.split(";"):
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return ""
