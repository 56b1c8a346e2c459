"""Converts the runs that the sandbox stores into rows for a call object.

A run that arrived by OTLP has the attributes of its span. A run that arrived by the runs API, as roots
do, has metadata, inputs and outputs instead: the same facts under LangSmith's names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import Call, Recording

#: Start of a run id that LangSmith makes from a span id: eight zero bytes, then the span id.
_OF_SPAN: Final = "00000000-0000-0000-"


def call_of_runs(
    runs: Iterable[Mapping[str, Any]], recording: Recording | None = None
) -> Call | None:
    """Return the call object of a conversation.

    Args:
        runs: its runs with payloads, as the sandbox returns them.
        recording: its recording; None without one.

    Returns:
        The call; None if these are not the runs of an otel-realtime conversation.
    """
    found = list(runs)
    spans = {run["id"]: _span_id(run) for run in found}
    root = next((run for run in found if run["parent_id"] is None), None)
    if root is None:
        return None
    return call_of(
        [_row(run, spans) for run in found],
        trace_id=root["otel_trace_id"] or None,
        project=root["project"],
        recording=recording,
    )


def _span_id(run: Mapping[str, Any]) -> str:
    if run["span_id"]:
        return str(run["span_id"])
    own = str(run["id"])
    return own.removeprefix(_OF_SPAN).replace("-", "") if own.startswith(_OF_SPAN) else own


def _row(run: Mapping[str, Any], spans: Mapping[str, str]) -> Row:
    parent_id = run["parent_id"]
    return Row(
        span_id=spans[run["id"]],
        parent_id=None if parent_id is None else spans.get(parent_id, str(parent_id)),
        name=run["name"],
        start_ns=run["start_ns"] or 0,
        end_ns=run["end_ns"],
        failed=run["error"] is not None,
        message=run["error"],
        attributes=_attributes(run)
        if run["delivered_by"] == names.ROOT_BY_RUNS_API
        else run["attributes"],
    )


def _attributes(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run that arrived by the runs API, as span attributes."""
    return {
        **{names.LS_METADATA + key: value for key, value in run["metadata"].items()},
        names.LS_SPAN_ID: run["id"],
        names.LS_TAGS: ",".join(run["tags"]),
        names.PROMPT: run["inputs"],
        names.COMPLETION: run["outputs"],
    }
