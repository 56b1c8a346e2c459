"""Queries of the read API: conversations, runs and violations as plain dictionaries."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Final

from otel_realtime.sandbox.contract import KINDS
from otel_realtime.sandbox.media import is_recording
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.times import iso_time

COUNT_ROOTS: Final = "SELECT count(*) FROM runs WHERE parent_id IS NULL AND held = 0"

#: One row per root run, with the totals of its trace.
_ROOTS = """
SELECT id, name, project, thread_id, start_ns, end_ns, error, facts,
    (SELECT coalesce(sum(c.tokens), 0) FROM runs c WHERE c.trace_id = r.id AND c.held = 0)
        AS all_tokens,
    (SELECT count(*) FROM runs c WHERE c.trace_id = r.id AND c.held = 0) AS run_count
FROM runs r WHERE parent_id IS NULL AND held = 0
"""
#: An orphan that names no trace is attributed to the root with the same OTel trace id.
_ORPHANS = """
SELECT r.id, r.span_id, r.name, r.parent_id, EXISTS (
        SELECT 1 FROM runs p WHERE p.id = r.parent_id) AS parent_is_held,
    coalesce(r.trace_id, (
        SELECT root.id FROM runs root
        WHERE root.parent_id IS NULL AND root.otel_trace_id = r.otel_trace_id LIMIT 1), '')
        AS trace_id
FROM runs r WHERE r.held = 1
"""


def conversations(db: sqlite3.Connection) -> list[JsonObject]:
    """Return a summary of each conversation, latest first."""
    counts = violation_counts(db)
    recorded = {
        row["run_id"]
        for row in db.execute("SELECT run_id, name, mime FROM attachments")
        if is_recording(row["name"], row["mime"])
    }
    rows = db.execute(_ROOTS + " ORDER BY start_ns DESC, id").fetchall()
    return [_summary(row, counts[row["id"]], row["id"] in recorded) for row in rows]


def violation_counts(db: sqlite3.Connection) -> Counter[str]:
    """Return the number of violations by conversation."""
    return Counter(item["conversation_id"] for item in violations(db))


def _summary(row: sqlite3.Row, violation_count: int, has_recording: bool) -> JsonObject:
    metadata = json.loads(row["facts"])["metadata"]
    return {
        "id": row["id"],
        "thread_id": row["thread_id"],
        "name": row["name"],
        "project": row["project"],
        "start_ns": row["start_ns"],
        "duration_s": _duration_s(row),
        "status": _status(row),
        "turns": metadata.get("turns"),
        "tokens": row["all_tokens"],
        "runs": row["run_count"],
        "has_recording": has_recording,
        "violations": violation_count,
    }


def _duration_s(row: sqlite3.Row) -> float | None:
    if row["start_ns"] is None or row["end_ns"] is None:
        return None
    return float((row["end_ns"] - row["start_ns"]) / 1e9)


def _status(row: sqlite3.Row) -> str:
    # LangSmith's values: https://docs.langchain.com/langsmith/run-data-format
    if row["error"] is not None:
        return "error"
    return "pending" if row["end_ns"] is None else "success"


def conversation(db: sqlite3.Connection, run_id: str, *, payloads: bool) -> JsonObject | None:
    """Return the trace of a root run, or None if there is none.

    Args:
        db: the database.
        run_id: id of the root run.
        payloads: whether to include the inputs, outputs, attributes and events of the runs.
    """
    row = db.execute(_ROOTS + " AND id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    # One query for the whole trace, which may have thousands of runs.
    attachments_by_run = attachments(db, run_id)
    rows = db.execute(
        "SELECT * FROM runs WHERE held = 0 AND (trace_id = ? OR id = ?) ORDER BY start_ns / 1000, dotted_order, id",
        (run_id, run_id),
    )
    runs = [_run(item, attachments_by_run.get(item["id"], []), payloads=payloads) for item in rows]
    # The sort is stable: the root moves to the front, all others keep their order of start.
    runs.sort(key=lambda item: item["id"] != run_id)
    own_violations = [item for item in violations(db) if item["conversation_id"] == run_id]
    has_recording = any(
        is_recording(item["name"], item["mime"]) for item in attachments_by_run.get(run_id, [])
    )
    summary = _summary(row, len(own_violations), has_recording)
    own_shapes = [item for item in shapes(db) if item["conversation_id"] == run_id]
    found = {"violations": own_violations, "shapes": own_shapes}
    return {**summary, "root": runs[0], "runs": runs, **found}


def run(db: sqlite3.Connection, run_id: str) -> JsonObject | None:
    """Return one run with its payload, or None if it is unknown or held back."""
    row = db.execute("SELECT * FROM runs WHERE id = ? AND held = 0", (run_id,)).fetchone()
    if row is None:
        return None
    return _run(row, attachments(db, row["trace_id"]).get(run_id, []), payloads=True)


_RUN_COLUMNS: Final = (
    *("id", "parent_id", "trace_id", "dotted_order", "name", "run_type", "start_ns", "end_ns"),
    *("error", "delivered_by", "project", "thread_id", "span_id", "otel_trace_id"),
)


def _run(row: sqlite3.Row, run_attachments: list[JsonObject], *, payloads: bool) -> JsonObject:
    result: JsonObject = {name: row[name] for name in _RUN_COLUMNS}
    result |= {
        "duration_s": _duration_s(row),
        "status": _status(row),
        "attachments": run_attachments,
    }
    result |= json.loads(row["facts"])
    if payloads:
        result |= json.loads(row["payload"])
        if result["outputs"] is None:
            # LangSmith drops the usage of a run without outputs.
            result["usage"] = None
    return result


def attachments(db: sqlite3.Connection, trace_id: str) -> dict[str, list[JsonObject]]:
    """Return the attachments of a trace by run id."""
    by_run: dict[str, list[JsonObject]] = {}
    query = (
        "SELECT a.run_id, a.name, a.mime, a.size FROM runs r"
        " JOIN attachments a ON a.run_id = r.id WHERE r.trace_id = ? ORDER BY a.run_id, a.name"
    )
    for row in db.execute(query, (trace_id,)):
        item = {"name": row["name"], "mime": row["mime"], "size": row["size"]}
        by_run.setdefault(row["run_id"], []).append(item)
    return by_run


def attachment(db: sqlite3.Connection, run_id: str, name: str) -> tuple[str, str] | None:
    """Return the file name and media type of an attachment."""
    query = "SELECT file, mime FROM attachments WHERE run_id = ? AND name = ?"
    row = db.execute(query, (run_id, name)).fetchone()
    return None if row is None else (row["file"], row["mime"])


def recording(db: sqlite3.Connection, run_id: str) -> tuple[str, str] | None:
    """Return the file name and media type of the recording attached to a root run."""
    query = "SELECT name, mime, file FROM attachments WHERE run_id = ? ORDER BY name"
    for row in db.execute(query, (run_id,)):
        if is_recording(row["name"], row["mime"]):
            return row["file"], row["mime"]
    return None


def projects(db: sqlite3.Connection, name: str | None) -> list[JsonObject]:
    """Return the project of that name, or all projects if ``name`` is None."""
    where, values = ("", ()) if name is None else (" WHERE name = ?", (name,))
    rows = db.execute(f"SELECT id, name, created_ns FROM projects{where} ORDER BY name", values)
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "start_time": iso_time(row["created_ns"]),
            # LangSmith's client fails on a project without this key.
            "reference_dataset_id": None,
        }
        for row in rows
    ]


def violations(db: sqlite3.Connection) -> list[JsonObject]:
    """Return the stored violations and the current orphans."""
    items = [
        _violation(row, row["kind"], row["message"], row["run_id"], row["at_ns"])
        for row in db.execute("SELECT * FROM violations WHERE scope = '' ORDER BY id")
    ]
    # Orphans are computed, not stored: they disappear as soon as the parent arrives.
    for row in db.execute(_ORPHANS):
        reason = "is itself an orphan" if row["parent_is_held"] else "has not arrived"
        message = f"{row['name']!r} is not shown: its parent {row['parent_id']} {reason}"
        items.append(_violation(row, "orphan", message, row["id"], None))
    return items


def shapes(db: sqlite3.Connection) -> list[JsonObject]:
    """Return the violations on spans of other instrumentations; each item names its ``scope``.

    LangSmith does not show such a run as intended, but its delivery was correct.
    """
    return [
        {
            **_violation(row, row["kind"], row["message"], row["run_id"], row["at_ns"]),
            "scope": row["scope"],
        }
        for row in db.execute("SELECT * FROM violations WHERE scope != '' ORDER BY id")
    ]


def _violation(
    row: sqlite3.Row, kind: str, message: str, run_id: str, at_ns: int | None
) -> JsonObject:
    return {
        "kind": kind,
        "message": message,
        "rule": KINDS[kind],
        "run_id": run_id,
        "span_id": row["span_id"],
        "conversation_id": row["trace_id"],
        "at_ns": at_ns,
    }
