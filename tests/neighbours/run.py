"""Runs the app beside a neighbour, against a scripted server and a sandbox of this process."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_realtime.demo.scenario import Answer, Call, Scenario
from otel_realtime.demo.server import ScriptedServer
from otel_realtime.demo.speech import tone
from otel_realtime.sandbox import Sandbox
from tests.matrix.environments import REPOSITORY
from tests.neighbours.app import ALONE
from tests.neighbours.judge import problems
from tests.neighbours.table import Neighbour

SCENARIO = Scenario(
    answers=(
        Answer(calls=(Call(name="lookup_weather", arguments='{"city": "Paris"}'),)),
        Answer(text="It is sunny.", pcm=tone(440, 0.3)),
    ),
    transcription_delay_ms=0,
    answer_delay_ms=1_500,
    rate_limits=False,
)
SPEED = 10.0
PATIENCE_S = 90
DESTINATION = "langsmith.test:80"
_PREFIXES = ("OTEL_", "LANGSMITH_", "LANGCHAIN_", "DD_")


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def page() -> Iterator[str]:
    """A web page for the app's tool."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/weather"
        server.shutdown()


def found(neighbour: Neighbour, python: Path, modes: tuple[str, ...] | None = None) -> list[str]:
    """Run a neighbour; return what is wrong.

    Args:
        neighbour: the neighbour.
        python: interpreter of its environment.
        modes: of the app; ``None``: all.
    """
    runs, wrong = {}, []
    for mode in modes or (*ALONE, *neighbour.orders):
        with tempfile.TemporaryDirectory() as state, Sandbox(Path(state) / "sandbox") as sandbox:
            with ScriptedServer(SCENARIO, speed=SPEED) as server, page() as web:
                environment = {
                    **{k: v for k, v in os.environ.items() if not k.startswith(_PREFIXES)},
                    "PYTHONPATH": str(REPOSITORY),
                    "NEIGHBOUR_URL": server.url,
                    "NEIGHBOUR_WEB": web,
                    "OTEL_REALTIME_STATE_DIR": f"{state}/state",
                    "LANGSMITH_TRACING": "true",
                    "LANGSMITH_API_KEY": "lsv2_pt_test",
                    "LANGSMITH_ENDPOINT": sandbox.url,
                    "LANGSMITH_PROJECT": "calls",
                    "OPENAI_AGENTS_DISABLE_TRACING": "1",
                    **neighbour.environment,
                }
                try:
                    ended = subprocess.run(
                        [str(python), "-m", "tests.neighbours.app", neighbour.name, mode],
                        env=environment,
                        cwd=REPOSITORY,
                        capture_output=True,
                        text=True,
                        timeout=PATIENCE_S,
                        check=False,
                    )
                except subprocess.TimeoutExpired as error:
                    return [f"{mode}: did not end: {error.stderr!r}"]
            if ended.returncode != 0 or "Traceback" in ended.stderr:
                return [f"{mode}: exit {ended.returncode}: {ended.stderr[-3000:]}"]
            # The address of a run's own sandbox, by a name that is the same in all.
            told = ended.stdout.splitlines()[-1].replace(
                sandbox.url.partition("//")[2], DESTINATION
            )
            runs[mode] = json.loads(told)
            wrong += [f"{mode}: {text}" for text in _arrived(sandbox, mode, runs[mode])]
    return wrong + list(problems(runs, DESTINATION))


def _arrived(sandbox: Sandbox, mode: str, run: dict[str, Any]) -> Iterator[str]:
    calls = sandbox.conversations()
    if mode == "theirs":
        return
    if len(calls) != 1:
        yield f"{len(calls)} calls in LangSmith instead of one"
        return
    call = sandbox.conversation(calls[0]["id"])
    assert call is not None
    if call["violations"]:
        yield f"violations: {call['violations']}"
    names = sorted(one["name"] for one in call["runs"])
    ours = [span["name"] for span in run["spans"] if span["scope"] == "otel_realtime"]
    missing = [name for name in set(ours) if names.count(name) != ours.count(name)]
    spans = [span["name"] for span in run["spans"]]
    twice = [name for name in set(names) if names.count(name) > spans.count(name)]
    if twice:
        yield f"more often in LangSmith than there are spans: {twice}"
    if missing:
        yield f"not in LangSmith as often as in our trace: {missing}"
