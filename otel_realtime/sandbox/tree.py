"""Holds back each run until its parent is shown, then shows it with its waiting descendants.

LangSmith buffers a child whose parent has not arrived and drops it if the parent never does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from otel_realtime.sandbox.contract import TreeRun, check_in_tree, expected_dotted_order
from otel_realtime.sandbox.model import Violation

#: Held runs among those in the temporary table ``level`` that are roots or have a shown parent.
_RELEASABLE = """
SELECT r.id, r.parent_id, r.trace_id, r.start_ns, r.dotted_order, r.project, r.thread_id, r.scope,
       p.id AS p_id, p.parent_id AS p_parent_id, p.trace_id AS p_trace_id,
       p.start_ns AS p_start_ns, p.dotted_order AS p_dotted_order, p.project AS p_project,
       p.thread_id AS p_thread_id, p.scope AS p_scope
FROM level JOIN runs r ON r.id = level.id
LEFT JOIN runs p ON p.id = r.parent_id AND p.held = 0
WHERE r.held = 1 AND (r.parent_id IS NULL OR p.id IS NOT NULL)
"""
_HELD_CHILDREN = "SELECT c.id FROM level JOIN runs c ON c.parent_id = level.id WHERE c.held = 1"


def release(db: sqlite3.Connection, run_ids: Iterable[str], run_limit: int) -> list[Violation]:
    """Show the given runs whose parents are shown, and all descendants that waited for them.

    Assigns a trace id and a dotted order to runs that left them to the server. Runs beyond
    ``run_limit`` in a trace are deleted.

    Returns:
        The violations of the rules between parent and child.
    """
    violations: list[Violation] = []
    candidates = list(run_ids)
    # One level of the tree per round, not one run: a request may bring thousands of runs.
    while candidates:
        db.execute("DELETE FROM level")
        db.executemany("INSERT OR IGNORE INTO level VALUES (?)", ((i,) for i in candidates))
        pairs = [_run_and_parent(row) for row in db.execute(_RELEASABLE)]
        accepted, rejected = _within_limit(db, pairs, run_limit)
        for run, parent in accepted:
            violations.extend(check_in_tree(run, parent))
        for run in rejected:
            violations.append(
                Violation(
                    kind="too_many_runs",
                    message=f"more than {run_limit} runs",
                    # Reported on the root, so that it appears once and not on each run.
                    run_id=run.trace_id,
                    trace_id=run.trace_id,
                )
            )
        _store(db, [run for run, _ in accepted], rejected)
        db.execute("DELETE FROM level")
        db.executemany("INSERT INTO level VALUES (?)", ((run.id,) for run, _ in accepted))
        candidates = [row["id"] for row in db.execute(_HELD_CHILDREN)]
    return violations


def _run_and_parent(row: sqlite3.Row) -> tuple[TreeRun, TreeRun | None]:
    parent = _tree_run(row, "p_", row["p_trace_id"], row["p_dotted_order"]) if row["p_id"] else None
    trace_id = row["trace_id"] or (parent.trace_id if parent else row["id"])
    start_ns = row["start_ns"] or 0
    dotted_order = row["dotted_order"] or expected_dotted_order(row["id"], start_ns, parent)
    return _tree_run(row, "", trace_id, dotted_order), parent


def _tree_run(row: sqlite3.Row, prefix: str, trace_id: str, dotted_order: str) -> TreeRun:
    return TreeRun(
        id=row[prefix + "id"],
        parent_id=row[prefix + "parent_id"],
        trace_id=trace_id,
        start_ns=row[prefix + "start_ns"] or 0,
        dotted_order=dotted_order,
        has_own_dotted_order=row[prefix + "dotted_order"] is not None,
        project=row[prefix + "project"],
        thread_id=row[prefix + "thread_id"],
        scope=row[prefix + "scope"],
    )


def _within_limit(
    db: sqlite3.Connection, pairs: list[tuple[TreeRun, TreeRun | None]], run_limit: int
) -> tuple[list[tuple[TreeRun, TreeRun | None]], list[TreeRun]]:
    shown: dict[str, int] = {}
    accepted, rejected = [], []
    for run, parent in pairs:
        if run.trace_id not in shown:
            query = "SELECT count(*) FROM runs WHERE trace_id = ? AND held = 0"
            shown[run.trace_id] = db.execute(query, (run.trace_id,)).fetchone()[0]
        if shown[run.trace_id] >= run_limit:
            rejected.append(run)
            continue
        shown[run.trace_id] += 1
        accepted.append((run, parent))
    return accepted, rejected


def _store(db: sqlite3.Connection, accepted: list[TreeRun], rejected: list[TreeRun]) -> None:
    db.executemany(
        "UPDATE runs SET held = 0, trace_id = ?, dotted_order = ? WHERE id = ?",
        ((run.trace_id, run.dotted_order, run.id) for run in accepted),
    )
    # Violations reported before the trace was known now belong to it.
    db.executemany(
        "UPDATE violations SET trace_id = ? WHERE run_id = ? AND trace_id = ''",
        ((run.trace_id, run.id) for run in accepted),
    )
    db.executemany("DELETE FROM runs WHERE id = ?", ((run.id,) for run in rejected))
