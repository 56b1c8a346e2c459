"""Builds the call object of a conversation from its runs in the sandbox."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Final

from otel_realtime.calls.from_spans import iso_time
from otel_realtime.calls.runs import call_of_runs
from otel_realtime.calls.schema import Call, Recording
from otel_realtime.diagnostics import logger_of
from otel_realtime.sandbox.bare_call import bare_call, recording_at
from otel_realtime.sandbox.media import is_recording
from otel_realtime.sandbox.model import JsonObject

logger = logger_of(__name__)

_RUNS: Final = (
    "SELECT id, parent_id, span_id, name, run_type, start_ns, end_ns, error, otel_trace_id, project,"
    " thread_id, delivered_by, facts, payload FROM runs"
    " WHERE held = 0 AND (trace_id = ? OR id = ?) ORDER BY start_ns, id"
)


def build(db: sqlite3.Connection, run_id: str, files: Path) -> Call | None:
    """Return the call of a root run; None if there is no such root.

    The root of another instrumentation becomes a call with only a few facts.
    """
    runs = db.execute(_RUNS, (run_id, run_id)).fetchall()
    root = next((run for run in runs if run["id"] == run_id), None)
    if root is None or root["parent_id"] is not None:
        return None
    recording = _recording(db, run_id, files)
    otel_trace_id = next((run["otel_trace_id"] for run in runs if run["otel_trace_id"]), None)
    decoded = [
        {**dict(run), **json.loads(run["facts"]), **json.loads(run["payload"])} for run in runs
    ]
    try:
        call = call_of_runs(decoded, recording)
    except Exception:  # one unexpected trace must not break the list of all others
        logger.exception("the spans of %s make no call", run_id)
        call = None
    call = call or _foreign(root, otel_trace_id, recording)
    call["id"], call["trace_id"] = run_id, otel_trace_id
    if root["error"] is not None:
        call["status"], call["error"] = "error", root["error"]
    return call


def _recording(db: sqlite3.Connection, run_id: str, files: Path) -> Recording | None:
    rows = db.execute("SELECT name, mime, file FROM attachments WHERE run_id = ?", (run_id,))
    found = next((row for row in rows if is_recording(row["name"], row["mime"])), None)
    if found is None:
        return None
    return recording_at(files / found["file"], found["name"], found["mime"])


def _foreign(root: sqlite3.Row, trace_id: str | None, recording: Recording | None) -> Call:
    start, end = root["start_ns"], root["end_ns"]
    call = bare_call(
        root["id"],
        name=root["name"],
        started_at=iso_time(start or 0),
        duration_ms=None if start is None or end is None else max(end - start, 0) // 1_000_000,
        live=end is None,
        recording=recording,
    )
    call["trace_id"], call["thread_id"] = trace_id, root["thread_id"]
    call["project"] = root["project"]
    return call


def spans(db: sqlite3.Connection, run_id: str) -> list[JsonObject]:
    """Return the spans of a conversation without their payloads, ordered by start."""
    query = (
        "SELECT id, parent_id, span_id, name, run_type, start_ns, end_ns, error FROM runs"
        " WHERE held = 0 AND (trace_id = ? OR id = ?) ORDER BY start_ns / 1000, dotted_order, id"
    )
    rows = db.execute(query, (run_id, run_id)).fetchall()
    start = next((row["start_ns"] for row in rows if row["id"] == run_id), None) or 0
    return [
        {
            "id": row["id"],
            "parent": None if row["id"] == run_id else row["parent_id"],
            "span_id": row["span_id"] or row["id"],
            "name": row["name"],
            "kind": row["run_type"],
            "start_ms": max((row["start_ns"] or start) - start, 0) / 1e6,
            "end_ms": None if row["end_ns"] is None else max(row["end_ns"] - start, 0) / 1e6,
            "error": row["error"] is not None,
        }
        for row in rows
    ]


def search(db: sqlite3.Connection, run_id: str, text: str) -> list[str]:
    """Return the ids of the runs whose name or payload contains a text."""
    pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    # Payloads are JSON, so characters that JSON escapes are searched for in their escaped form.
    quoted = json.dumps(text)[1:-1]
    escaped = "%" + quoted.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    query = (
        "SELECT id FROM runs WHERE held = 0 AND (trace_id = :id OR id = :id) AND"
        " (name LIKE :name ESCAPE '\\' OR payload LIKE :text ESCAPE '\\' OR facts LIKE :text ESCAPE '\\')"
    )
    values = {"id": run_id, "name": pattern, "text": escaped}
    return [row["id"] for row in db.execute(query, values)]
