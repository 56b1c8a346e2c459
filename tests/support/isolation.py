"""A process as if just started: no OpenTelemetry or LangSmith variables, nothing instrumented, nothing said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from langsmith import run_trees, utils
from opentelemetry import context as otel_context
from opentelemetry.context import Context

from otel_realtime import diagnostics, tap
from otel_realtime.conversation import engine
from otel_realtime.process.process import PROCESS
from otel_realtime.process.providers import Providers
from otel_realtime.sandbox import Sandbox
from otel_realtime.setup.instrumentor import OpenAIRealtimeInstrumentor
from otel_realtime.tracing import members

KEY = "lsv2_pt_test"
PROJECT = "calls"
_PREFIXES = ("OTEL_", "LANGSMITH_", "LANGCHAIN_")
_LEFT_S = 5.0
_CLOSE_S = 1.0


@contextmanager
def isolated(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Clean variables, a state directory of its own, faults that are raised; all undone at the end.

    Args:
        folder: where the state directory goes.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(_PREFIXES)]:
            patch.delenv(name)
        patch.setenv("OTEL_REALTIME_STATE_DIR", str(folder / "state"))
        patch.setattr(diagnostics, "RAISE", True)
        # A close on a busy machine may leave facts out; what a test expects must not depend on it.
        patch.setattr(engine, "CLOSE_BUDGET_S", _CLOSE_S)
        _forget_what_was_said()
        try:
            yield patch
        finally:
            leave_no_trace()
            members_left, _ = len(members.TABLE), members.TABLE.reset_after_fork()
            assert 0 == members_left, "a conversation is over, and its spans are still known"
            left = dict(otel_context.get_current())
            otel_context.attach(Context())
            assert {} == left, "something is still current in the test's own task"
            assert {} == diagnostics.faults(), (
                "a defect of ours; a test that provokes one clears it"
            )


def leave_no_trace() -> None:
    """Uninstrument, end what is live, and let go of every delivery and thread."""
    instrumentor = OpenAIRealtimeInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    tap.uninstall()  # a wrapped session leaves one behind that sees wrapped sessions only
    PROCESS.shutdown(_LEFT_S)
    PROCESS.deactivate_processors()
    PROCESS._providers = Providers()  # those of this test may have exporters that reach nobody
    PROCESS.settings = PROCESS.tracer_provider = PROCESS.meter_provider = None


@contextmanager
def sandboxed(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that this process's variables name as its LangSmith."""
    with Sandbox(folder / "sandbox") as sandbox:
        for name, value in langsmith_variables(sandbox.url).items():
            patch.setenv(name, value)
        forget_langsmith_client()
        try:
            yield sandbox
        finally:
            leave_no_trace()  # while there is somebody who takes what is still on its way
    forget_langsmith_client()


def langsmith_variables(url: str) -> dict[str, str]:
    """What makes a process deliver to the LangSmith at ``url``."""
    return {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_ENDPOINT": url,
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_PROJECT": PROJECT,
    }


def forget_langsmith_client() -> None:
    """LangSmith's own library reads its variables once per process."""
    utils.get_env_var.cache_clear()
    run_trees._CLIENT = None


def _forget_what_was_said() -> None:
    """Log lines that come once per process come once per test."""
    diagnostics.REGISTER.clear()
