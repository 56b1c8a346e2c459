"""Reading the database: conversations, runs and findings as plain dictionaries."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Any, Final

from otel_realtime.sandbox.contract import KINDS
from otel_realtime.sandbox.media import is_recording
from otel_realtime.sandbox.times import iso_time

COUNT_ROOTS: Final = "SELECT count(*) FROM runs WHERE parent_id IS NULL AND held = 0"

_LIST = """
SELECT id, name, project, thread_id, start_ns, end_ns, error, facts,
    (SELECT coalesce(sum(c.tokens), 0) FROM runs c WHERE c.trace_id = r.id AND c.held = 0)
        AS all_tokens,
    (SELECT count(*) FROM runs c WHERE c.trace_id = r.id AND c.held = 0) AS run_count
FROM runs r WHERE parent_id IS NULL AND held = 0
"""
# A held run is an orphan: of the trace it names, else of the root with its OTel trace id.
_ORPHANS = """
SELECT r.id, r.span_id, r.name, r.parent_id, EXISTS (
        SELECT 1 FROM runs p WHERE p.id = r.parent_id) AS waits,
    coalesce(r.trace_id, (
        SELECT root.id FROM runs root
        WHERE root.parent_id IS NULL AND root.otel_trace_id = r.otel_trace_id LIMIT 1), '')
        AS trace_id
FROM runs r WHERE r.held = 1
"""


def conversations(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """List the traces, latest first."""
    found = Counter(item["conversation_id"] for item in violations(db))
    recorded = {
        row["run_id"]
        for row in db.execute("SELECT run_id, name, mime FROM attachments")
        if is_recording(row["name"], row["mime"])
    }
    rows = db.execute(_LIST + " ORDER BY start_ns DESC, id").fetchall()
    return [_summary(row, found[row["id"]], row["id"] in recorded) for row in rows]


def _summary(row: sqlite3.Row, found: int, recorded: bool) -> dict[str, Any]:
    metadata = json.loads(row["facts"])["metadata"]
    return {
        "id": row["id"],
        "thread_id": row["thread_id"],
        "name": row["name"],
        "project": row["project"],
        "start_ns": row["start_ns"],
        "duration_s": _duration(row),
        "status": _status(row),
        "turns": metadata.get("turns"),
        "tokens": row["all_tokens"],
        "runs": row["run_count"],
        "has_recording": recorded,
        "violations": found,
    }


def _duration(row: sqlite3.Row) -> float | None:
    if row["start_ns"] is None or row["end_ns"] is None:
        return None
    return float((row["end_ns"] - row["start_ns"]) / 1e9)


def _status(row: sqlite3.Row) -> str:
    if row["error"] is not None:
        return "error"
    return "pending" if row["end_ns"] is None else "success"


def conversation(db: sqlite3.Connection, run_id: str, *, payloads: bool) -> dict[str, Any] | None:
    """Return the trace of a root run; without ``payloads`` its runs lack what is large."""
    row = db.execute(_LIST + " AND id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    attached = attachments(db, run_id)
    rows = db.execute(
        "SELECT * FROM runs WHERE held = 0 AND (trace_id = ? OR id = ?) ORDER BY start_ns, id",
        (run_id, run_id),
    )
    runs = [_run(item, attached.get(item["id"], []), payloads=payloads) for item in rows]
    runs.sort(key=lambda item: item["id"] != run_id)
    mine = [item for item in violations(db) if item["conversation_id"] == run_id]
    recorded = any(is_recording(a["name"], a["mime"]) for a in attached.get(run_id, []))
    summary = _summary(row, len(mine), recorded)
    return {**summary, "root": runs[0], "runs": runs, "violations": mine}


def run(db: sqlite3.Connection, run_id: str) -> dict[str, Any] | None:
    """Return one run that is shown."""
    row = db.execute("SELECT * FROM runs WHERE id = ? AND held = 0", (run_id,)).fetchone()
    if row is None:
        return None
    return _run(row, attachments(db, row["trace_id"]).get(run_id, []), payloads=True)


_RUN_COLUMNS: Final = (
    *("id", "parent_id", "trace_id", "dotted_order", "name", "run_type", "start_ns", "end_ns"),
    *("error", "delivered_by", "project", "thread_id", "span_id", "otel_trace_id"),
)


def _run(row: sqlite3.Row, attached: list[dict[str, Any]], *, payloads: bool) -> dict[str, Any]:
    found: dict[str, Any] = {name: row[name] for name in _RUN_COLUMNS}
    found |= {"duration_s": _duration(row), "status": _status(row), "attachments": attached}
    found |= json.loads(row["facts"])
    if payloads:
        found |= json.loads(row["payload"])
        if found["outputs"] is None:
            # As LangSmith does: usage counts only on a run that has outputs.
            found["usage"] = None
    return found


def attachments(db: sqlite3.Connection, trace_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return the attachments of a trace's runs, by run."""
    found: dict[str, list[dict[str, Any]]] = {}
    query = (
        "SELECT a.run_id, a.name, a.mime, a.size FROM runs r"
        " JOIN attachments a ON a.run_id = r.id WHERE r.trace_id = ? ORDER BY a.run_id, a.name"
    )
    for row in db.execute(query, (trace_id,)):
        item = {"name": row["name"], "mime": row["mime"], "size": row["size"]}
        found.setdefault(row["run_id"], []).append(item)
    return found


def attachment(db: sqlite3.Connection, run_id: str, name: str) -> tuple[str, str] | None:
    """Return file name and media type of an attachment."""
    query = "SELECT file, mime FROM attachments WHERE run_id = ? AND name = ?"
    row = db.execute(query, (run_id, name)).fetchone()
    return None if row is None else (row["file"], row["mime"])


def recording(db: sqlite3.Connection, run_id: str) -> tuple[str, str] | None:
    """Return file name and media type of the recording on a root run."""
    query = "SELECT name, mime, file FROM attachments WHERE run_id = ? ORDER BY name"
    for row in db.execute(query, (run_id,)):
        if is_recording(row["name"], row["mime"]):
            return row["file"], row["mime"]
    return None


def projects(db: sqlite3.Connection, name: str | None) -> list[dict[str, Any]]:
    """List projects, or the one with that name."""
    where, values = ("", ()) if name is None else (" WHERE name = ?", (name,))
    rows = db.execute(f"SELECT id, name, created_ns FROM projects{where} ORDER BY name", values)
    return [
        {
            "id": row["id"],
            "name": row["name"],
            "start_time": iso_time(row["created_ns"]),
            "reference_dataset_id": None,  # LangSmith's client reads no project without it
        }
        for row in rows
    ]


def violations(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """List stored findings and the orphans of this moment."""
    found = [
        _violation(row, row["kind"], row["message"], row["run_id"], row["at_ns"])
        for row in db.execute("SELECT * FROM violations ORDER BY id")
    ]
    for row in db.execute(_ORPHANS):
        missing = "waits for an orphan" if row["waits"] else "never came"
        message = f"{row['name']!r} is not shown: its parent {row['parent_id']} {missing}"
        found.append(_violation(row, "orphan", message, row["id"], None))
    return found


def _violation(
    row: sqlite3.Row, kind: str, message: str, run_id: str, at_ns: int | None
) -> dict[str, Any]:
    return {
        "kind": kind,
        "message": message,
        "rule": KINDS[kind],
        "run_id": run_id,
        "span_id": row["span_id"],
        "conversation_id": row["trace_id"],
        "at_ns": at_ns,
    }
