"""Starts ``voice_app`` as a child process and compares what it traced with what arrived."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, Final

from otel_realtime.langsmith.ids import run_id
from otel_realtime.sandbox import Sandbox
from tests.support.processes import ROOT, Jaeger, clean_environment, tags
from tests.support.traces import ROOT as ROOT_NAME
from tests.support.waiting import wait_for

SERVICE: Final = "voice"


class Traced:
    """One conversation as its process traced it.

    Attributes:
        spans: its spans, by id.
        root: the conversation's own.
        run_id: LangSmith's id of it.
        trace_id: OpenTelemetry's.
    """

    def __init__(self, spans: list[dict[str, Any]]) -> None:
        self.spans = {span["id"]: span for span in spans}
        (self.root,) = (span for span in spans if span["name"] == ROOT_NAME)
        self.run_id = run_of(self.root["id"])
        self.trace_id = str(self.root["trace"])


def run_of(span_id: str) -> str:
    """LangSmith's id of a span."""
    return run_id(int(span_id, 16))


class VoiceProcess:
    """The app while it runs; always ended with the ``with`` block.

    Args:
        folder: its state directory and its errors go here.
        url: of the Realtime server.
        arguments: of ``voice_app``.
        env: its OpenTelemetry and LangSmith variables; none are inherited.
    """

    def __init__(
        self, folder: Path, url: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state = folder / "state"
        self.errors = folder / "stderr.txt"
        self._command = [sys.executable, "-m", "tests.support.voice_app", url, *arguments]
        self._env = clean_environment(
            OTEL_SERVICE_NAME=SERVICE,
            OTEL_BSP_SCHEDULE_DELAY="200",
            OTEL_REALTIME_STATE_DIR=str(self.state),
            **(env or {}),
        )

    def __enter__(self) -> VoiceProcess:
        with self.errors.open("wb") as errors:
            self._child = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def _line(self) -> Any:
        out: IO[str] | None = self._child.stdout
        line = out.readline() if out is not None else ""
        assert line, self.errors.read_text()[-4000:]
        return json.loads(line)

    def talked(self) -> list[Traced]:
        """Wait until its calls are over; what it traced, call by call."""
        traces: dict[str, list[dict[str, Any]]] = {}
        for span in self._line():
            traces.setdefault(span["trace"], []).append(span)
        return [Traced(spans) for spans in traces.values()]

    def flushed(self) -> dict[str, Any]:
        """Wait for its last word: ``delivered``, ``exported``, ``measured``, ``said``, ``faults``."""
        return dict(self._line())

    def ended(self) -> int:
        """Wait for its end; the exit status."""
        return self._child.wait(timeout=60)


def in_jaeger(jaeger: Jaeger, traced: Traced, *, timeout_s: float = 20) -> list[dict[str, Any]]:
    """The conversation in Jaeger: every span once, with its parent and times, without a warning."""
    found = jaeger.wait(traced.trace_id, len(traced.spans), timeout_s=timeout_s)
    warned = [(span["operationName"], span["warnings"]) for span in found if span["warnings"]]
    assert not warned, warned[:5]
    assert len(traced.spans) == len(found)
    expected = {
        span["id"]: (
            span["name"],
            span["parent"],
            span["start_ns"] // 1000,
            (span["end_ns"] - span["start_ns"]) // 1000,
            span["error"],
        )
        for span in traced.spans.values()
    }
    assert expected == {span["spanID"]: _shown(span) for span in found}
    return found


def _shown(span: Mapping[str, Any]) -> tuple[Any, ...]:
    above = [ref["spanID"] for ref in span["references"] if ref["refType"] == "CHILD_OF"]
    return (
        span["operationName"],
        above[0] if above else None,
        span["startTime"],
        span["duration"],
        tags(span).get("error", False),
    )


def in_sandbox(
    sandbox: Sandbox,
    traced: Traced,
    *,
    root_by: str,
    timeout_s: float = 20,
    known: Collection[str] = (),
) -> dict[str, Any]:
    """The conversation in the sandbox: every run once, by the right way, no rule broken.

    Args:
        sandbox: what stands where LangSmith is.
        traced: the conversation.
        root_by: who delivered the root: ``runs_api`` or ``otlp``.
        timeout_s: longest wait.
        known: kinds of broken rules that cannot be helped here.
    """
    found: dict[str, Any] = {}

    def whole() -> bool:
        found.update(sandbox.conversation(traced.run_id) or {"runs": [], "status": "pending"})
        return len(found["runs"]) >= len(traced.spans) and found["status"] != "pending"

    wait_for(whole, f"{len(traced.spans)} runs", timeout_s=timeout_s, every_s=0.2)
    broken = [one for one in found["violations"] if one["kind"] not in known]
    assert not broken, broken
    root = traced.root["id"]
    expected = {
        run_of(span["id"]): (
            span["name"],
            run_of(span["parent"]) if span["id"] != root else None,
            traced.run_id,
            span["start_ns"] // 1000,
            span["end_ns"] // 1000,
            root_by if span["id"] == root else "otlp",
        )
        for span in traced.spans.values()
    }
    assert expected == {
        run["id"]: (
            run["name"],
            run["parent_id"],
            run["trace_id"],
            run["start_ns"] // 1000,
            run["end_ns"] // 1000,
            run["delivered_by"],
        )
        for run in found["runs"]
    }
    return found
