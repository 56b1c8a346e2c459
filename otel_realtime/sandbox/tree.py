"""Orphans: a run is held until its parent is there, then shown with everything waiting for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from otel_realtime.sandbox.contract import Link, check_link, expected_dotted_order
from otel_realtime.sandbox.model import Finding

_LEVEL = """
SELECT r.id, r.parent_id, r.trace_id, r.start_ns, r.dotted_order, r.project, r.thread_id,
       p.id AS p_id, p.parent_id AS p_parent_id, p.trace_id AS p_trace_id,
       p.start_ns AS p_start_ns, p.dotted_order AS p_dotted_order, p.project AS p_project,
       p.thread_id AS p_thread_id
FROM level JOIN runs r ON r.id = level.id
LEFT JOIN runs p ON p.id = r.parent_id AND p.held = 0
WHERE r.held = 1 AND (r.parent_id IS NULL OR p.id IS NOT NULL)
"""
_CHILDREN = "SELECT c.id FROM level JOIN runs c ON c.parent_id = level.id WHERE c.held = 1"


def release(db: sqlite3.Connection, run_ids: Iterable[str], run_limit: int) -> list[Finding]:
    """Show those of the new runs whose parents are shown, and all that waited for them.

    Settles the trace id and dotted order of runs that left them to the server. Runs beyond
    ``run_limit`` in a trace are rejected.
    """
    findings: list[Finding] = []
    ids = list(run_ids)
    while ids:
        db.execute("DELETE FROM level")
        db.executemany("INSERT OR IGNORE INTO level VALUES (?)", ((i,) for i in ids))
        pairs = [_pair(row) for row in db.execute(_LEVEL)]
        kept, refused = _within_limit(db, pairs, run_limit)
        for run, parent in kept:
            findings.extend(check_link(run, parent))
        for run in refused:
            findings.append(
                Finding(
                    kind="too_many_runs",
                    message=f"more than {run_limit} runs",
                    run_id=run.trace_id,
                    trace_id=run.trace_id,
                )
            )
        _settle(db, [run for run, _ in kept], refused)
        db.execute("DELETE FROM level")
        db.executemany("INSERT INTO level VALUES (?)", ((run.id,) for run, _ in kept))
        ids = [row["id"] for row in db.execute(_CHILDREN)]
    return findings


def _pair(row: sqlite3.Row) -> tuple[Link, Link | None]:
    parent = _link(row, "p_", row["p_trace_id"], row["p_dotted_order"]) if row["p_id"] else None
    trace_id = row["trace_id"] or (parent.trace_id if parent else row["id"])
    start_ns = row["start_ns"] or 0
    dotted = row["dotted_order"] or expected_dotted_order(row["id"], start_ns, parent)
    return _link(row, "", trace_id, dotted), parent


def _link(row: sqlite3.Row, prefix: str, trace_id: str, dotted_order: str) -> Link:
    return Link(
        id=row[prefix + "id"],
        parent_id=row[prefix + "parent_id"],
        trace_id=trace_id,
        start_ns=row[prefix + "start_ns"] or 0,
        dotted_order=dotted_order,
        ordered=row[prefix + "dotted_order"] is not None,
        project=row[prefix + "project"],
        thread_id=row[prefix + "thread_id"],
    )


def _within_limit(
    db: sqlite3.Connection, pairs: list[tuple[Link, Link | None]], run_limit: int
) -> tuple[list[tuple[Link, Link | None]], list[Link]]:
    shown: dict[str, int] = {}
    kept, refused = [], []
    for run, parent in pairs:
        if run.trace_id not in shown:
            query = "SELECT count(*) FROM runs WHERE trace_id = ? AND held = 0"
            shown[run.trace_id] = db.execute(query, (run.trace_id,)).fetchone()[0]
        if shown[run.trace_id] >= run_limit:
            refused.append(run)
            continue
        shown[run.trace_id] += 1
        kept.append((run, parent))
    return kept, refused


def _settle(db: sqlite3.Connection, kept: list[Link], refused: list[Link]) -> None:
    db.executemany(
        "UPDATE runs SET held = 0, trace_id = ?, dotted_order = ? WHERE id = ?",
        ((run.trace_id, run.dotted_order, run.id) for run in kept),
    )
    db.executemany(
        "UPDATE violations SET trace_id = ? WHERE run_id = ? AND trace_id = ''",
        ((run.trace_id, run.id) for run in kept),
    )
    db.executemany("DELETE FROM runs WHERE id = ?", ((run.id,) for run in refused))
