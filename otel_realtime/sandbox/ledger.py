"""What a request changes: new runs, the one patch of a run, attachments, findings.

The runs API refuses to create a run twice or to change a finished one (409 "payload already
received"); a first change of a finished run is accepted and does nothing. Here each of these is
reported too, except the exact repetition that a client sends after a lost answer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from otel_realtime.sandbox.contract import check_run
from otel_realtime.sandbox.model import BY_OTLP, BY_RUNS_API, Attachment, Batch, Finding, Patch, Run
from otel_realtime.sandbox.rows import INSERT_RUN, UPDATE_RUN, from_row, to_row
from otel_realtime.sandbox.tree import release

_CHUNK = 500  # SQLite's older limit is 999 parameters in a statement


class Ledger:
    """Applies one batch inside the transaction its caller opened.

    Attributes:
        conflict: something of it was already received: the answer is 409.
    """

    def __init__(self, db: sqlite3.Connection, files: Path, run_limit: int) -> None:
        self._db = db
        self._files = files
        self._run_limit = run_limit
        self._findings: list[Finding] = []
        self._accepted: set[str] = set()
        self._repeated: set[str] = set()
        self.conflict = False

    def apply(self, batch: Batch) -> None:
        """Apply runs, patches and attachments, in that order, and store the findings."""
        self._findings.extend(batch.findings)
        self._add_runs(batch.runs)
        for patch in batch.patches:
            self._apply_patch(patch)
        for attachment in batch.attachments:
            self._add_attachment(attachment)
        self._findings.extend(release(self._db, self._accepted, self._run_limit))
        self._store_findings()

    def _report(self, kind: str, message: str, run: Run | Patch | Attachment) -> None:
        self._findings.append(
            Finding(
                kind=kind,
                message=message,
                run_id=run.id if isinstance(run, Run) else run.run_id,
                span_id=run.span_id if isinstance(run, Run) else "",
                trace_id="" if isinstance(run, Attachment) else run.trace_id or "",
            )
        )

    # --- runs -----------------------------------------------------------------------------------

    def _add_runs(self, runs: Sequence[Run]) -> None:
        known = self._known([run.id for run in runs])
        rows = []
        for run in runs:
            if run.id in known:
                self._second_delivery(run, *known[run.id])
                continue
            known[run.id] = (run.delivered_by, run.fingerprint)
            rows.append(to_row(run))
            self._accepted.add(run.id)
            self._findings.extend(check_run(run))
        self._db.executemany(INSERT_RUN, rows)
        for project in {run.project for run in runs}:
            create_project(self._db, project)

    def _known(self, ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        known = {}
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT id, delivered_by, fingerprint FROM runs WHERE id IN ({marks})"
            for row in self._db.execute(query, chunk):
                known[row["id"]] = (row["delivered_by"], row["fingerprint"])
        return known

    def _second_delivery(self, run: Run, delivered_by: str, fingerprint: str) -> None:
        if run.delivered_by == BY_RUNS_API:
            self.conflict = True
        if run.delivered_by != delivered_by:
            self._report(
                "delivered_twice",
                f"{run.name!r} came by {delivered_by} and {run.delivered_by}",
                run,
            )
        elif run.fingerprint != fingerprint:
            self._report(
                "delivered_twice", f"{run.name!r} came twice by {delivered_by} and differs", run
            )
        elif run.delivered_by == BY_RUNS_API:
            self._repeated.add(run.id)

    # --- patches --------------------------------------------------------------------------------

    def _apply_patch(self, patch: Patch) -> None:
        row = self._db.execute("SELECT * FROM runs WHERE id = ?", (patch.run_id,)).fetchone()
        run = from_row(row) if row is not None else None
        if run is not None and run.patch_fingerprint == patch.fingerprint:
            self.conflict = True
            self._repeated.add(run.id)
            return
        reason = self._why_ignored(run, patch)
        if run is None or reason:
            self._report("patch_ignored", reason, patch)
            return
        changed = self._merged(run, patch)
        self._db.execute(UPDATE_RUN, to_row(changed))
        self._accepted.add(run.id)
        self._findings.extend(check_run(changed))

    def _why_ignored(self, run: Run | None, patch: Patch) -> str:
        if run is None:
            return "the run was never posted"
        if run.delivered_by == BY_OTLP:
            return f"{run.name!r} came by OTLP"
        for name in ("trace_id", "dotted_order"):
            posted, given = getattr(run, name), getattr(patch, name)
            if given is not None and posted is not None and posted != given:
                return f"{name} {given!r} is not the posted {posted!r}"
        if run.end_ns is None:
            return ""
        if "outputs" in patch.changes:
            self.conflict = True
            return f"{run.name!r} is finished: it cannot be updated with outputs again"
        return f"{run.name!r} is finished"

    def _merged(self, run: Run, patch: Patch) -> Run:
        changes: dict[str, Any] = dict(patch.changes)
        if "metadata" in changes:
            lost = sorted(set(run.metadata) - set(changes["metadata"]))
            if lost:
                self._report("metadata_lost", f"the patch's extra drops {', '.join(lost)}", patch)
        return replace(run, **changes, patch_fingerprint=patch.fingerprint)

    # --- attachments ------------------------------------------------------------------------------

    def _add_attachment(self, attachment: Attachment) -> None:
        query = "SELECT digest FROM attachments WHERE run_id = ? AND name = ?"
        known = self._db.execute(query, (attachment.run_id, attachment.name)).fetchone()
        if known is not None and known["digest"] == attachment.digest:
            return
        if known is not None or attachment.run_id not in self._accepted:
            why = (
                "there is one with that name"
                if known is not None
                else "its run was posted and finished before"
                if attachment.run_id in self._repeated
                else "no post or accepted patch of its run came with it"
            )
            self._report("attachment_ignored", f"{attachment.name!r}: {why}", attachment)
            return
        file = uuid4().hex
        attachment.path.replace(self._files / file)
        self._db.execute(
            "INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?)",
            (
                attachment.run_id,
                attachment.name,
                attachment.mime,
                attachment.size,
                attachment.digest,
                file,
            ),
        )

    # --- findings -------------------------------------------------------------------------------

    def _store_findings(self) -> None:
        traces = self._traces({f.run_id for f in self._findings if not f.trace_id})
        store_findings(
            self._db,
            (replace(f, trace_id=f.trace_id or traces.get(f.run_id, "")) for f in self._findings),
        )

    def _traces(self, run_ids: set[str]) -> dict[str, str]:
        query = "SELECT trace_id FROM runs WHERE id = ?"
        found = {i: self._db.execute(query, (i,)).fetchone() for i in run_ids}
        return {i: row["trace_id"] or "" for i, row in found.items() if row is not None}


def store_findings(db: sqlite3.Connection, findings: Iterable[Finding]) -> None:
    """Store findings; one that is known already is not repeated."""
    now = time.time_ns()
    db.executemany(
        "INSERT OR IGNORE INTO violations (kind, message, run_id, span_id, trace_id, at_ns)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            (
                f.kind,
                f.message.encode("utf-8", "replace").decode(),
                f.run_id,
                f.span_id,
                f.trace_id,
                now,
            )
            for f in findings
        ),
    )


def create_project(db: sqlite3.Connection, name: str) -> bool:
    """Create a project unless it exists; True when it is new. Its id follows from its name."""
    row = (name, str(uuid5(NAMESPACE_URL, f"project:{name}")), time.time_ns())
    return db.execute("INSERT OR IGNORE INTO projects VALUES (?, ?, ?)", row).rowcount == 1
