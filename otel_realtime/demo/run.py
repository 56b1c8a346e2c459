"""``otel-realtime demo``: traces and records a scripted call, then checks what arrived."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openai import AsyncOpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import otel_realtime
from otel_realtime import attributes, console
from otel_realtime.demo import check, check_long
from otel_realtime.demo.assistant import APPROVAL_S, AssistantApp
from otel_realtime.demo.devices import Caller, Speaker
from otel_realtime.demo.environment import environment
from otel_realtime.demo.server import Connection, ScriptedServer
from otel_realtime.demo.story import Story, fast_story, full_story, long_story
from otel_realtime.demo.tree import node_of, render
from otel_realtime.errors import ConfigError
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.ids import run_id

if TYPE_CHECKING:
    from otel_realtime.sandbox import Sandbox

#: Prints a line of text.
Out = Callable[[str], None]
FLUSH_TIMEOUT_S: Final = 30.0
DATA_DIR: Final = ".demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """The outcome of the call.

    Attributes:
        spans: every span of the conversation that ended, including the root.
        connection: the server's record of the connection.
        delivered: whether the destination accepted everything.
    """

    spans: list[ReadableSpan]
    connection: Connection
    delivered: bool

    @property
    def root(self) -> ReadableSpan | None:
        """The root span of the conversation."""
        return next((span for span in self.spans if span.name == attributes.ROOT_NAME), None)


def run_demo(
    *,
    fast: bool,
    long: bool = False,
    browser: bool,
    keep_running: bool,
    langsmith: bool,
    data_dir: Path | str | None = None,
    as_json: bool = False,
    out: Out | None = None,
) -> int:
    """Run the demo.

    It sets the global tracer provider, so it can run only once per process.

    Args:
        fast: run the short script, which takes about 7 seconds instead of 20.
        long: run the script with an idle timeout, an approval and a classification, about 40
            seconds, or 25 if ``fast``.
        browser: open the page in a browser and serve it until Ctrl-C.
        keep_running: serve the page until Ctrl-C even if no browser is opened.
        langsmith: send to the user's own LangSmith (``LANGSMITH_API_KEY``) instead of the sandbox.
        data_dir: the directory for the sandbox's data and the recordings; None: ``.demo``.
        as_json: print the result as JSON, and the lines for people to standard error.
        out: called with each line for people; None: the line is printed.

    Returns:
        The exit code: 0 if the trace is complete, 1 if it is not.

    Raises:
        ConfigError: the demo cannot start.
    """
    out = out or partial(console.tell if as_json else console.say, error=as_json)
    folder = Path(os.path.expanduser(data_dir or DATA_DIR)).resolve()
    if langsmith and not LangSmithConfig.from_env().api_key:
        raise ConfigError("--langsmith requires the environment variable LANGSMITH_API_KEY")
    with ExitStack() as stack:
        sandbox = None if langsmith else stack.enter_context(_sandbox(folder))
        stack.enter_context(environment(folder, None if sandbox is None else sandbox.url))
        story = _story(fast=fast, long=long)
        out(f"Running a scripted call of about {story.about_s} seconds with synthetic voices.")
        result = _run_call(story, out)
        out("")
        for line in render(node_of(span) for span in result.spans):
            out(line)
        out("")
        problems = _problems(result, story, folder, sandbox)
        page = _report(result, folder, sandbox, problems, out)
        if as_json:
            console.say_json(_as_json(result, folder, page, problems))
        if page is not None and (keep_running or (browser and webbrowser.open(page))):
            _serve_until_interrupted(out)
    return 1 if problems else 0


def _story(*, fast: bool, long: bool) -> Story:
    if long:
        return long_story(fast=fast)
    return fast_story() if fast else full_story()


def _sandbox(folder: Path) -> Sandbox:
    # Imported here because its libraries are an extra, which --langsmith does not need.
    from otel_realtime.sandbox import Sandbox

    return Sandbox(data_dir=folder / "sandbox")


# --- the call ------------------------------------------------------------------------------------


def _run_call(story: Story, out: Out) -> CallResult:
    # An app adds only these two calls; its own code does not change.
    otel_realtime.configure()
    otel_realtime.instrument()
    ended = _EndedSpans()
    trace.get_tracer_provider().add_span_processor(ended)  # type: ignore[attr-defined]
    with ScriptedServer(story.scenario) as server:
        with otel_realtime.using(thread_id=f"demo-{uuid.uuid4()}", tags=["demo"]):
            asyncio.run(_run_app(story, server.url, out))
        # Everything must have arrived before the sandbox is queried.
        delivered = otel_realtime.flush(FLUSH_TIMEOUT_S)
        return CallResult(spans=ended.spans, connection=server.connections[0], delivered=delivered)


async def _run_app(story: Story, url: str, out: Out) -> None:
    started = time.monotonic()

    def show(line: str) -> None:
        out(f"{time.monotonic() - started:6.1f} s {line}")

    speaker = Speaker()
    caller = Caller(story.lines, speaker, hang_up_after_s=story.hang_up_after_s)
    async with AsyncOpenAI(api_key="scripted", websocket_base_url=url) as client:
        microphone = caller.microphone()
        app = story.app(client, microphone, speaker, show=show, silence_ms=story.silence_ms)
        await app.run()


class _EndedSpans(SpanProcessor):
    """Collects the spans of the conversation for the tree and the checks."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep a span of the conversation, which its route attribute identifies."""
        if attributes.LEG in (span.attributes or {}):
            self.spans.append(span)


# --- the result ----------------------------------------------------------------------------------


def _problems(result: CallResult, story: Story, folder: Path, sandbox: Sandbox | None) -> list[str]:
    """Return one sentence for each defect of the trace."""
    sent, received = result.connection.sent, result.connection.received
    problems = [] if result.delivered else ["the destination did not accept everything"]
    problems += check.check_spans(result.spans, sent)
    problems += check.check_interruption(result.spans, received)
    if story.app is AssistantApp:
        problems += check_long.check_idle(result.spans, sent)
        problems += check_long.check_approval(result.spans, sent, round(APPROVAL_S * 1000))
        problems += check_long.check_out_of_band(result.spans, received)
    if sandbox is not None and result.root is not None:
        conversation = sandbox.conversation(_run_id(result.root))
        if conversation is None:
            return [*problems, "the conversation did not arrive in the sandbox"]
        problems += check.check_delivery(result.spans, conversation)
    return problems + _recording_problems(result, story, folder, sandbox)


def _recording_problems(
    result: CallResult, story: Story, folder: Path, sandbox: Sandbox | None
) -> list[str]:
    path = _recording(result, folder)
    if path is None or result.root is None:
        return ["there is no recording"]
    duration_s = node_of(result.root).duration_s
    connection = result.connection
    problems = check.check_recording(
        path, story.scenario, connection.sent, connection.received, duration_s
    )
    if sandbox is not None:
        attached = sandbox.recording(_run_id(result.root))
        if attached is None:
            problems.append("the recording is not attached to the conversation")
        elif attached.read_bytes() != path.read_bytes():
            problems.append("the attached recording differs from the local one")
    return problems


def _recording(result: CallResult, folder: Path) -> Path | None:
    """Return the local recording; its file name ends with the root's span id."""
    if result.root is None or result.root.context is None:
        return None
    return next((folder / "recordings").glob(f"*{result.root.context.span_id:016x}.wav"), None)


def _report(
    result: CallResult, folder: Path, sandbox: Sandbox | None, problems: list[str], out: Out
) -> str | None:
    """Print where the results are and whether the trace is complete; return the URL of the page."""
    out(f"recording  {_recording(result, folder) or 'none'}")
    page = None
    if sandbox is not None and result.root is not None:
        page = f"{sandbox.url}/conversations/{_run_id(result.root)}"
        out(f"page       {page}")
    elif result.root is not None:
        project = LangSmithConfig.from_env().project
        out(f"LangSmith  project {project}, run {_run_id(result.root)}")
    for problem in problems:
        out(f"PROBLEM    {problem}")
    out("The trace is incomplete." if problems else "The trace is complete.")
    return page


def _as_json(
    result: CallResult, folder: Path, page: str | None, problems: list[str]
) -> dict[str, Any]:
    """Return the result of the call as JSON values, for scripts."""
    root, recording = result.root, _recording(result, folder)
    context = None if root is None else root.context
    return {
        "complete": not problems,
        "problems": problems,
        "trace_id": context and f"{context.trace_id:032x}",
        "run_id": root and _run_id(root),
        "recording": recording and str(recording),
        "page": page,
        "spans": len(result.spans),
    }


def _run_id(root: ReadableSpan) -> str:
    assert root.context is not None
    return run_id(root.context.span_id)


def _serve_until_interrupted(out: Out) -> None:
    out("Serving the page. Press Ctrl-C to stop.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        out("")
