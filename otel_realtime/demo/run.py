"""``otel-realtime demo``: a scripted call, traced and recorded, sent to the sandbox and checked."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openai import AsyncOpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import otel_realtime
from otel_realtime import attributes
from otel_realtime.demo import check, story
from otel_realtime.demo.app import VoiceApp
from otel_realtime.demo.devices import Caller, Speaker
from otel_realtime.demo.environment import environment
from otel_realtime.demo.server import Connection, ScriptedServer
from otel_realtime.demo.tree import node_of, render
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.ids import run_id

if TYPE_CHECKING:
    from otel_realtime.sandbox import Sandbox

Out = Callable[[str], None]
FLUSH_S: Final = 30.0
DATA_DIR: Final = ".demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is left of a call.

    Attributes:
        spans: every span that ended, the root among them.
        connection: the server's view.
        delivered: whether everything reached its destination.
    """

    spans: list[ReadableSpan]
    connection: Connection
    delivered: bool

    @property
    def root(self) -> ReadableSpan | None:
        """The conversation's span."""
        return next((span for span in self.spans if span.name == attributes.ROOT_NAME), None)


def run_demo(
    *,
    fast: bool,
    browser: bool,
    keep_running: bool,
    langsmith: bool,
    data_dir: Path | str | None = None,
    out: Out = print,
) -> int:
    """Run the demo; returns 0 if the trace came out whole, 1 if not, 2 if it cannot start.

    It sets the process's global tracer provider, so once per process.

    Args:
        fast: the short script, some seconds instead of 20.
        browser: open the page in a browser and serve it until Ctrl-C.
        keep_running: serve the page until Ctrl-C, browser or not.
        langsmith: send to the user's own LangSmith (``LANGSMITH_API_KEY``) instead of the sandbox.
        data_dir: where the sandbox and the recordings are kept; None: ``.demo`` here.
        out: gets each line of text.
    """
    folder = Path(data_dir or DATA_DIR).expanduser().resolve()
    if langsmith and not LangSmithConfig.from_env().api_key:
        out("--langsmith needs LANGSMITH_API_KEY in the environment.")
        return 2
    with ExitStack() as stack:
        sandbox = None if langsmith else stack.enter_context(_sandbox(folder))
        stack.enter_context(environment(folder, None if sandbox is None else sandbox.url))
        told = story.fast() if fast else story.full()
        out(f"A scripted call of {'7' if fast else '20'} seconds; both voices are synthetic.")
        call = _make_call(told, out)
        out("")
        for line in render(node_of(span) for span in call.spans):
            out(line)
        out("")
        problems = _problems(call, told, folder, sandbox)
        page = _report(call, folder, sandbox, problems, out)
        if page is not None and (keep_running or (browser and webbrowser.open(page))):
            _serve_until_interrupted(out)
    return 1 if problems else 0


def _sandbox(folder: Path) -> Sandbox:
    """The stand-in for LangSmith; its libraries are an extra, so they are loaded only here."""
    from otel_realtime.sandbox import Sandbox

    return Sandbox(data_dir=folder / "sandbox")


# --- the call --------------------------------------------------------------------------------


def _make_call(told: story.Story, out: Out) -> Call:
    """All that a program sets up: configure, instrument; then the app as it is."""
    otel_realtime.configure()
    otel_realtime.instrument()
    ended = _EndedSpans()
    trace.get_tracer_provider().add_span_processor(ended)  # type: ignore[attr-defined]
    with ScriptedServer(told.scenario) as server:
        with otel_realtime.using(thread_id=f"demo-{uuid.uuid4()}", tags=["demo"]):
            asyncio.run(_talk(told, server.url, out))
        delivered = otel_realtime.flush(FLUSH_S)
        return Call(spans=ended.spans, connection=server.connections[0], delivered=delivered)


async def _talk(told: story.Story, url: str, out: Out) -> None:
    began = time.monotonic()

    def show(line: str) -> None:
        out(f"{time.monotonic() - began:6.1f} s {line}")

    speaker = Speaker()
    caller = Caller(told.lines, speaker, hang_up_after_s=told.hang_up_after_s)
    async with AsyncOpenAI(api_key="scripted", websocket_base_url=url) as client:
        microphone = caller.microphone()
        app = VoiceApp(client, microphone, speaker, show=show, silence_ms=told.silence_ms)
        await app.run()


class _EndedSpans(SpanProcessor):
    """Keeps the spans of the call for the tree and the check."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span that belongs to a conversation."""
        if attributes.LEG in (span.attributes or {}):
            self.spans.append(span)


# --- what came of it -------------------------------------------------------------------------


def _problems(call: Call, told: story.Story, folder: Path, sandbox: Sandbox | None) -> list[str]:
    """Everything that keeps the trace from being whole."""
    sent, received = call.connection.sent, call.connection.received
    found = [] if call.delivered else ["not everything was accepted at its destination"]
    found += check.check_spans(call.spans, sent)
    found += check.check_interruption(call.spans, received)
    if sandbox is not None and call.root is not None:
        conversation = sandbox.conversation(_run_id(call.root))
        if conversation is None:
            return [*found, "the sandbox has no such conversation"]
        found += check.check_delivery(call.spans, conversation)
    return found + _recording_problems(call, told, folder, sandbox)


def _recording_problems(
    call: Call, told: story.Story, folder: Path, sandbox: Sandbox | None
) -> list[str]:
    path = _recording(call, folder)
    if path is None or call.root is None:
        return ["there is no recording"]
    duration_s = node_of(call.root).duration_s
    connection = call.connection
    found = check.check_recording(
        path, told.scenario, connection.sent, connection.received, duration_s
    )
    if sandbox is not None:
        attached = sandbox.recording(_run_id(call.root))
        if attached is None:
            found.append("the recording is not attached to the conversation")
        elif attached.read_bytes() != path.read_bytes():
            found.append("the recording that arrived is not the one that was made")
    return found


def _recording(call: Call, folder: Path) -> Path | None:
    """The copy kept here; its name ends in the root's span id."""
    if call.root is None or call.root.context is None:
        return None
    return next((folder / "recordings").glob(f"*{call.root.context.span_id:016x}.wav"), None)


def _report(
    call: Call, folder: Path, sandbox: Sandbox | None, problems: list[str], out: Out
) -> str | None:
    """Say where everything is and whether it is whole; returns the page's address."""
    out(f"recording  {_recording(call, folder) or 'none'}")
    page = None
    if sandbox is not None and call.root is not None:
        page = f"{sandbox.url}/conversations/{_run_id(call.root)}"
        out(f"page       {page}")
    elif call.root is not None:
        project = LangSmithConfig.from_env().project
        out(f"LangSmith  project {project}, run {_run_id(call.root)}")
    for problem in problems:
        out(f"PROBLEM    {problem}")
    out("The trace did not come out whole." if problems else "The trace came out whole.")
    return page


def _run_id(root: ReadableSpan) -> str:
    assert root.context is not None
    return run_id(root.context.span_id)


def _serve_until_interrupted(out: Out) -> None:
    out("The page is served until Ctrl-C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        out("")
