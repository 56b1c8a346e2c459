"""Stores the sandbox's data: one SQLite database and a directory of attachments.

It is thread-safe: one connection writes and one reads, each behind its own lock. In WAL mode a reader
does not block the writer, and sees only complete requests: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from otel_realtime.sandbox import bodies, call_index, call_rows, queries
from otel_realtime.sandbox.changes import Changes
from otel_realtime.sandbox.contract import RUN_LIMIT
from otel_realtime.sandbox.ledger import Ledger, create_project, store_violations
from otel_realtime.sandbox.model import Batch, JsonObject, Violation
from otel_realtime.sandbox.peaks import Peaks
from otel_realtime.sandbox.rows import SCHEMA

#: LangSmith calls a workspace a tenant; the sandbox has a single one.
TENANT_ID: Final = str(uuid5(NAMESPACE_URL, "otel-realtime sandbox"))


#: Marks a call whose runs have changed since it was indexed; ``change`` counts the changes.
_STALE: Final = (
    "INSERT INTO stale_calls VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET change = change + 1"
)
#: Marks the conversations that an earlier version stored, which had no index.
_EARLIER_CALLS: Final = (
    "INSERT OR IGNORE INTO stale_calls SELECT id, 1 FROM runs"
    " WHERE parent_id IS NULL AND held = 0 AND id NOT IN (SELECT id FROM calls)"
)
#: Name of the database's file.
DATABASE: Final = "sandbox.sqlite3"


class Store:
    """Runs, attachments and violations in one data directory.

    Args:
        data_dir: created if missing, with access for its owner only, as are all files in it.
        run_limit: the number of runs a trace may hold.
    """

    def __init__(self, data_dir: Path, *, run_limit: int = RUN_LIMIT) -> None:
        self._run_limit = run_limit
        self.changes = Changes()
        self.peaks = Peaks(data_dir / "peaks")
        self._files = data_dir / "files"
        self.incoming = data_dir / "incoming"
        # Uploads that were cut off when a previous sandbox stopped.
        shutil.rmtree(self.incoming, ignore_errors=True)
        path = data_dir / DATABASE
        # A folder of the user that holds other files keeps its mode; our folders in it are private.
        private = [self._files, self.incoming]
        if not data_dir.exists() or path.exists() or not any(data_dir.iterdir()):
            private.insert(0, data_dir)
        for folder in (data_dir, *private):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in private:
            folder.chmod(0o700)
        for found in (path, *data_dir.glob(f"{DATABASE}-*"), *self._files.iterdir()):
            if found.exists():  # an earlier version left the mode to the umask
                found.chmod(0o600)
        if not path.exists():  # SQLite gives its WAL and shared memory the mode of the database
            bodies.create_private(path).close()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer = _connect(path)
        self._writer.executescript(SCHEMA)
        for table in ("violations", "runs"):  # data of an earlier version
            columns = self._writer.execute(f"PRAGMA table_info({table})").fetchall()
            if "scope" not in {column["name"] for column in columns}:
                self._writer.execute(f"ALTER TABLE {table} ADD scope TEXT NOT NULL DEFAULT ''")
        self._writer.executescript(call_index.SCHEMA)
        self._writer.execute(_EARLIER_CALLS)
        self._reader = _connect(path)

    def close(self) -> None:
        """Close the database; the data stays on disk."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            yield self._writer

    def apply(self, batch: Batch) -> bool:
        """Store the content of a request; return whether a part was received before (409)."""
        with self._writing() as db:
            ledger = Ledger(db, self._files, self._run_limit)
            ledger.apply(batch)
            changed = ledger.changed_calls()
            db.executemany(_STALE, ((call_id,) for call_id in changed))
        # Accepted attachments have been moved; the remaining ones were refused or repeated.
        for attachment in batch.attachments:
            attachment.path.unlink(missing_ok=True)
        self.changes.publish(changed)
        return ledger.conflict

    def report(self, violations: tuple[Violation, ...]) -> None:
        """Store the violations of a rejected request."""
        with self._writing() as db:
            store_violations(db, violations)

    def create_project(self, name: str) -> bool:
        """Create a project; return False if it exists."""
        with self._writing() as db:
            return create_project(db, name)

    def clear(self) -> int:
        """Delete all runs, attachments and violations; return the number of conversations."""
        with self._writing() as db:
            count = int(db.execute(queries.COUNT_ROOTS).fetchone()[0])
            files = [row["file"] for row in db.execute("SELECT file FROM attachments")]
            ids = [row["id"] for row in db.execute("SELECT id FROM calls")]
            for table in ("runs", "attachments", "violations", "stale_calls", *call_index.TABLES):
                db.execute(f"DELETE FROM {table}")
        for file in files:
            (self._files / file).unlink(missing_ok=True)
        self.peaks.forget()
        self.changes.publish(ids)
        return count

    # --- read API --------------------------------------------------------------------------------

    def conversations(self) -> list[JsonObject]:
        """Return a summary of each conversation, latest first."""
        with self._read_lock:
            return queries.conversations(self._reader)

    def calls(self, query: call_index.Query) -> JsonObject:
        """Return one page of the calls that a query finds."""
        self._index()
        with self._read_lock:
            found = call_index.page(self._reader, query)
            counts = queries.violation_counts(self._reader)
        for call in found["calls"]:
            call["findings"] = counts[call["id"]]
        return found

    def calls_summary(self, query: call_index.Query) -> JsonObject:
        """Return the summary above the list of calls."""
        self._index()
        with self._read_lock:
            return {**call_index.summary(self._reader, query), "takes": True}

    def call(self, call_id: str) -> JsonObject | None:
        """Return the call object of a conversation, or None if there is none."""
        self._index(call_id)
        with self._read_lock:
            return call_index.call(self._reader, call_id)

    def findings(self, call_id: str) -> JsonObject:
        """Return the violations of a conversation, and those on spans of other instrumentations."""
        with self._read_lock:
            found = {
                "findings": queries.violations(self._reader),
                "shapes": queries.shapes(self._reader),
            }
        return {
            name: [item for item in items if item["conversation_id"] == call_id]
            for name, items in found.items()
        }

    def spans(self, call_id: str) -> list[JsonObject] | None:
        """Return the spans of a conversation without their payloads."""
        with self._read_lock:
            return call_rows.spans(self._reader, call_id)

    def search_spans(self, call_id: str, text: str) -> list[str]:
        """Return the ids of the spans of a conversation that contain a text."""
        with self._read_lock:
            return call_rows.search(self._reader, call_id, text)

    def _index(self, call_id: str | None = None) -> None:
        """Bring the index up to date with the runs of one call, or of all calls that have changed.

        Calls are built only when they are read, so that a sandbox that only receives traces does not
        build any.
        """
        with self._read_lock:
            stale = [
                (row["id"], row["change"])
                for row in self._reader.execute("SELECT id, change FROM stale_calls")
                if call_id in (None, row["id"])
            ]
        for stale_id, change in stale:
            with self._read_lock:
                built = call_rows.build(self._reader, stale_id, self._files)
            with self._writing() as db:
                if built is None:
                    call_index.remove(db, [stale_id])
                else:
                    call_index.put(db, built)
                # Keep the mark if the call has changed again meanwhile.
                db.execute(
                    "DELETE FROM stale_calls WHERE id = ? AND change = ?", (stale_id, change)
                )

    def conversation(self, run_id: str, *, payloads: bool = True) -> JsonObject | None:
        """Return the trace of a root run, or None if there is none."""
        with self._read_lock:
            return queries.conversation(self._reader, run_id, payloads=payloads)

    def run(self, run_id: str) -> JsonObject | None:
        """Return one run, or None if it is unknown or held back."""
        with self._read_lock:
            return queries.run(self._reader, run_id)

    def shapes(self) -> list[JsonObject]:
        """Return the violations on spans of other instrumentations, which LangSmith shows only in part."""
        with self._read_lock:
            return queries.shapes(self._reader)

    def violations(self) -> list[JsonObject]:
        """Return all violations of the contract, including the current orphans."""
        with self._read_lock:
            return queries.violations(self._reader)

    def projects(self, name: str | None) -> list[JsonObject]:
        """Return the project of that name, or all projects if ``name`` is None."""
        with self._read_lock:
            return [{**row, "tenant_id": TENANT_ID} for row in queries.projects(self._reader, name)]

    def attachment(self, run_id: str, name: str) -> tuple[Path, str] | None:
        """Return the path and media type of an attachment."""
        with self._read_lock:
            row = queries.attachment(self._reader, run_id, name)
        return None if row is None else (self._files / row[0], row[1])

    def recording(self, run_id: str) -> tuple[Path, str] | None:
        """Return the path and media type of a conversation's recording."""
        with self._read_lock:
            row = queries.recording(self._reader, run_id)
        return None if row is None else (self._files / row[0], row[1])


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: transactions are begun explicitly. The locks serialise the threads.
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db
