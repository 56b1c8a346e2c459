"""Spans that LangSmith's client made of runs: left to it where it sends the runs, too."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from langsmith import run_trees
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_realtime.langsmith.native_runs import is_sent_natively

RUN = ReadableSpan("look up", instrumentation_scope=InstrumentationScope("langsmith"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"LANGSMITH_OTEL_ENABLED": "true"}, True),
        ({"LANGSMITH_OTEL_ENABLED": "true", "LANGSMITH_OTEL_ONLY": "true"}, False),
        ({"LANGSMITH_TRACING_MODE": "HYBRID"}, True),
        ({"LANGSMITH_TRACING_MODE": "otel", "LANGSMITH_OTEL_ENABLED": "true"}, False),
    ],
)
def test_the_mode_says_who_delivers(
    process: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    """By the variables, while LangSmith's client is not there."""
    process.setattr(run_trees, "_CLIENT", None)
    for name, value in variables.items():
        process.setenv(name, value)
    assert expected is is_sent_natively(RUN)


def test_the_client_knows_best(process: pytest.MonkeyPatch) -> None:
    """The mode may be an argument."""
    process.setenv("LANGSMITH_OTEL_ENABLED", "true")
    process.setattr(run_trees, "_CLIENT", SimpleNamespace(_tracing_mode="otel"))
    assert not is_sent_natively(RUN)


def test_other_spans_are_ours_to_deliver(process: pytest.MonkeyPatch) -> None:
    """The app's, whatever the mode."""
    process.setenv("LANGSMITH_OTEL_ENABLED", "true")
    process.setattr(run_trees, "_CLIENT", None)
    assert not is_sent_natively(ReadableSpan("mine"))
    assert not is_sent_natively(
        ReadableSpan("mine", instrumentation_scope=InstrumentationScope("langsmith.app"))
    )
