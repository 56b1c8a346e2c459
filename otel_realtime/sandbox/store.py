"""The sandbox's memory: one SQLite database and a folder of attachments.

Safe from any thread: one connection writes, one reads, each behind its lock; a reader sees whole
requests only.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from otel_realtime.sandbox import queries
from otel_realtime.sandbox.contract import RUN_LIMIT
from otel_realtime.sandbox.ledger import Ledger, create_project, store_findings
from otel_realtime.sandbox.model import Batch, Finding
from otel_realtime.sandbox.rows import SCHEMA

TENANT_ID = str(uuid5(NAMESPACE_URL, "otel-realtime sandbox"))


class Store:
    """Runs, attachments and findings below ``data_dir`` (created, readable by the owner only).

    ``run_limit`` is the number of runs a trace may hold.
    """

    def __init__(self, data_dir: Path, *, run_limit: int = RUN_LIMIT) -> None:
        self._run_limit = run_limit
        self._files = data_dir / "files"
        self.incoming = data_dir / "incoming"
        shutil.rmtree(self.incoming, ignore_errors=True)
        for folder in (data_dir, self._files, self.incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer = _connect(data_dir / "sandbox.sqlite3")
        self._writer.executescript(SCHEMA)
        self._reader = _connect(data_dir / "sandbox.sqlite3")

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
        """Store what a request brought; True when some of it was already received (409)."""
        with self._writing() as db:
            ledger = Ledger(db, self._files, self._run_limit)
            ledger.apply(batch)
        for attachment in batch.attachments:
            attachment.path.unlink(missing_ok=True)
        return ledger.conflict

    def report(self, findings: tuple[Finding, ...]) -> None:
        """Store findings of a refused request."""
        with self._writing() as db:
            store_findings(db, findings)

    def create_project(self, name: str) -> bool:
        """Create a project; False when it exists."""
        with self._writing() as db:
            return create_project(db, name)

    def clear(self) -> int:
        """Delete all runs, attachments and findings; return how many conversations there were."""
        with self._writing() as db:
            count = int(db.execute(queries.COUNT_ROOTS).fetchone()[0])
            files = [row["file"] for row in db.execute("SELECT file FROM attachments")]
            for table in ("runs", "attachments", "violations"):
                db.execute(f"DELETE FROM {table}")
        for file in files:
            (self._files / file).unlink(missing_ok=True)
        return count

    # --- reading ----------------------------------------------------------------------------------

    def conversations(self) -> list[dict[str, Any]]:
        """List the traces, latest first."""
        with self._read_lock:
            return queries.conversations(self._reader)

    def conversation(self, run_id: str, *, payloads: bool = True) -> dict[str, Any] | None:
        """Return one trace with all runs shown and its findings; None when there is none."""
        with self._read_lock:
            return queries.conversation(self._reader, run_id, payloads=payloads)

    def run(self, run_id: str) -> dict[str, Any] | None:
        """Return one run that is shown."""
        with self._read_lock:
            return queries.run(self._reader, run_id)

    def violations(self) -> list[dict[str, Any]]:
        """List everything that broke the contract, orphans of this moment included."""
        with self._read_lock:
            return queries.violations(self._reader)

    def projects(self, name: str | None) -> list[dict[str, Any]]:
        """List the projects, or the one with that name."""
        with self._read_lock:
            return [{**row, "tenant_id": TENANT_ID} for row in queries.projects(self._reader, name)]

    def attachment(self, run_id: str, name: str) -> tuple[Path, str] | None:
        """Return file and media type of an attachment."""
        with self._read_lock:
            found = queries.attachment(self._reader, run_id, name)
        return None if found is None else (self._files / found[0], found[1])

    def recording(self, run_id: str) -> tuple[Path, str] | None:
        """Return file and media type of a conversation's recording."""
        with self._read_lock:
            found = queries.recording(self._reader, run_id)
        return None if found is None else (self._files / found[0], found[1])


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    return db
