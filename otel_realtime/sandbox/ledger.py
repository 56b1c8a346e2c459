"""Applies a request to the database: new runs, patches, attachments and violations.

LangSmith's runs API answers 409 "payload already received" when a run is created twice or a
finished run is updated with outputs again; it accepts another update of a finished run and ignores
it. Each of these is also reported as a violation here, except the exact repetition that a client
sends when it did not receive the first response.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import NAMESPACE_URL, uuid4, uuid5

from otel_realtime.attributes import Meta
from otel_realtime.sandbox.contract import check_run
from otel_realtime.sandbox.model import (
    BY_OTLP,
    BY_RUNS_API,
    Attachment,
    Batch,
    JsonObject,
    Patch,
    Run,
    Violation,
)
from otel_realtime.sandbox.rows import INSERT_RUN, UPDATE_RUN, from_row, storable, to_row
from otel_realtime.sandbox.tree import release

#: SQLite before 3.32 allows 999 parameters in a statement: https://www.sqlite.org/limits.html
_CHUNK = 500


class Ledger:
    """Applies one batch inside a transaction that the caller has begun.

    Attributes:
        conflict: whether a part of the batch was received before, which is answered with 409.
    """

    def __init__(self, db: sqlite3.Connection, files: Path, run_limit: int) -> None:
        self._db = db
        self._files = files
        self._run_limit = run_limit
        self._violations: list[Violation] = []
        #: Runs that this batch created or updated; only these may take an attachment.
        self._accepted: set[str] = set()
        #: Runs whose post or patch repeats one that was received before.
        self._repeated: set[str] = set()
        self.conflict = False

    def apply(self, batch: Batch) -> None:
        """Apply runs, patches and attachments, in this order, and store the violations."""
        self._violations.extend(batch.violations)
        self._add_runs(batch.runs)
        for patch in batch.patches:
            self._apply_patch(patch)
        for attachment in batch.attachments:
            self._add_attachment(attachment)
        self._violations.extend(release(self._db, self._accepted, self._run_limit))
        self._store_violations()

    def changed_calls(self) -> set[str]:
        """Return the roots of the traces that this batch has changed."""
        ids, roots = list(self._accepted), set()
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            query = (
                "SELECT DISTINCT coalesce(trace_id, id) AS root FROM runs"
                f" WHERE held = 0 AND id IN ({', '.join('?' * len(chunk))})"
            )
            roots |= {row["root"] for row in self._db.execute(query, chunk)}
        return roots

    def _report(self, kind: str, message: str, subject: Run | Patch | Attachment) -> None:
        self._violations.append(
            Violation(
                kind=kind,
                message=message,
                run_id=subject.id if isinstance(subject, Run) else subject.run_id,
                span_id=subject.span_id if isinstance(subject, Run) else "",
                trace_id="" if isinstance(subject, Attachment) else subject.trace_id or "",
            )
        )

    # --- runs ------------------------------------------------------------------------------------

    def _add_runs(self, runs: Sequence[Run]) -> None:
        known = self._known_runs([run.id for run in runs])
        rows = []
        for run in runs:
            if run.id in known:
                self._handle_duplicate(run, *known[run.id])
                continue
            known[run.id] = (run.delivered_by, run.fingerprint)
            rows.append(to_row(run))
            self._accepted.add(run.id)
            self._violations.extend(check_run(run))
        self._db.executemany(INSERT_RUN, rows)
        # Like LangSmith, which creates a project on its first run.
        for project in {run.project for run in runs}:
            create_project(self._db, project)

    def _known_runs(self, run_ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        known = {}
        for start in range(0, len(run_ids), _CHUNK):
            chunk = run_ids[start : start + _CHUNK]
            placeholders = ", ".join("?" * len(chunk))
            query = f"SELECT id, delivered_by, fingerprint FROM runs WHERE id IN ({placeholders})"
            for row in self._db.execute(query, chunk):
                known[row["id"]] = (row["delivered_by"], row["fingerprint"])
        return known

    def _handle_duplicate(self, run: Run, delivered_by: str, fingerprint: str) -> None:
        # OTLP has no conflict: a collector may deliver a batch more than once.
        if run.delivered_by == BY_RUNS_API:
            self.conflict = True
        if run.delivered_by != delivered_by:
            self._report(
                "delivered_twice",
                f"{run.name!r} was delivered by {delivered_by} and by {run.delivered_by}",
                run,
            )
        elif run.fingerprint != fingerprint:
            self._report(
                "delivered_twice",
                f"{run.name!r} was delivered twice by {delivered_by} with different content",
                run,
            )
        elif run.delivered_by == BY_RUNS_API:
            self._repeated.add(run.id)

    # --- patches ---------------------------------------------------------------------------------

    def _apply_patch(self, patch: Patch) -> None:
        row = self._db.execute("SELECT * FROM runs WHERE id = ?", (patch.run_id,)).fetchone()
        run = from_row(row) if row is not None else None
        if run is not None and run.patch_fingerprint == patch.fingerprint:
            self.conflict = True
            self._repeated.add(run.id)
            return
        reason = self._ignored_because(run, patch)
        if run is None or reason:
            self._report("patch_ignored", reason, patch)
            return
        patched = self._merged(run, patch)
        self._db.execute(UPDATE_RUN, to_row(patched))
        self._accepted.add(run.id)
        self._violations.extend(check_run(patched))

    def _ignored_because(self, run: Run | None, patch: Patch) -> str:
        """Return why a patch is ignored; empty if it applies."""
        if run is None:
            return "the run has not been posted"
        if run.delivered_by == BY_OTLP:
            return f"{run.name!r} was delivered by OTLP"
        for name in ("trace_id", "dotted_order"):
            posted, patched = getattr(run, name), getattr(patch, name)
            if patched is not None and posted is not None and patched != posted:
                return f"{name} {patched!r} differs from the posted {posted!r}"
        if run.end_ns is None:
            return ""
        if "outputs" in patch.changes:
            self.conflict = True
            return f"{run.name!r} has ended: it cannot be updated with outputs again"
        return f"{run.name!r} has ended"

    def _merged(self, run: Run, patch: Patch) -> Run:
        changes: JsonObject = dict(patch.changes)
        if "metadata" in changes:
            # The modality of a call is certain only at its end, so the patch may omit it.
            lost = sorted(set(run.metadata) - set(changes["metadata"]) - {Meta.MODALITY})
            if lost:
                self._report("metadata_lost", f"the patch's extra drops {', '.join(lost)}", patch)
        return replace(run, **changes, patch_fingerprint=patch.fingerprint)

    # --- attachments -----------------------------------------------------------------------------

    def _add_attachment(self, attachment: Attachment) -> None:
        query = "SELECT digest FROM attachments WHERE run_id = ? AND name = ?"
        stored = self._db.execute(query, (attachment.run_id, attachment.name)).fetchone()
        if stored is not None and stored["digest"] == attachment.digest:
            return
        if stored is not None or attachment.run_id not in self._accepted:
            reason = (
                "the run already has a different attachment of that name"
                if stored is not None
                else "its run was posted and ended before"
                if attachment.run_id in self._repeated
                else "the request has no post or accepted patch of its run"
            )
            self._report("attachment_ignored", f"{attachment.name!r}: {reason}", attachment)
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

    # --- violations ------------------------------------------------------------------------------

    def _store_violations(self) -> None:
        traces = self._trace_ids({v.run_id for v in self._violations if not v.trace_id})
        store_violations(
            self._db,
            (replace(v, trace_id=v.trace_id or traces.get(v.run_id, "")) for v in self._violations),
        )

    def _trace_ids(self, run_ids: set[str]) -> dict[str, str]:
        query = "SELECT trace_id FROM runs WHERE id = ?"
        rows = {run_id: self._db.execute(query, (run_id,)).fetchone() for run_id in run_ids}
        return {run_id: row["trace_id"] or "" for run_id, row in rows.items() if row is not None}


def store_violations(db: sqlite3.Connection, violations: Iterable[Violation]) -> None:
    """Store violations; a violation that is stored already is not repeated."""
    now = time.time_ns()
    db.executemany(
        "INSERT OR IGNORE INTO violations"
        " (kind, message, run_id, span_id, trace_id, scope, at_ns) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                v.kind,
                # A message quotes received text, and SQLite stores no lone surrogates.
                v.message.encode("utf-8", "replace").decode(),
                v.run_id,
                v.span_id,
                v.trace_id,
                v.scope.encode("utf-8", "replace").decode(),
                now,
            )
            for v in violations
        ),
    )


def create_project(db: sqlite3.Connection, name: str) -> bool:
    """Create a project unless it exists; return whether it is new.

    The id is derived from the name, so that it is the same in every database.
    """
    name = str(storable(name))
    row = (name, str(uuid5(NAMESPACE_URL, f"project:{name}")), time.time_ns())
    return db.execute("INSERT OR IGNORE INTO projects VALUES (?, ?, ?)", row).rowcount == 1
