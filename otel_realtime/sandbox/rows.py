"""The schema of the sandbox's database, and the conversion of runs to rows and back."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping
from typing import Final

from otel_realtime.sandbox.model import JsonObject, Run

#: ``facts`` is the small JSON of a run, read for every listing; ``payload`` is the large one, read
#: for a single run. ``held`` is 1 while a run waits for its parent. Times are nanoseconds since
#: the Unix epoch. ``level`` is the working set of ``tree.release``.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS projects (
    name TEXT PRIMARY KEY, id TEXT NOT NULL, created_ns INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, trace_id TEXT, parent_id TEXT, project TEXT NOT NULL, thread_id TEXT,
    otel_trace_id TEXT NOT NULL, span_id TEXT NOT NULL, name TEXT NOT NULL, run_type TEXT NOT NULL,
    start_ns INTEGER, end_ns INTEGER, dotted_order TEXT, error TEXT, tokens INTEGER NOT NULL,
    delivered_by TEXT NOT NULL, fingerprint TEXT NOT NULL, patch_fingerprint TEXT NOT NULL,
    facts TEXT NOT NULL, payload TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 1,
    scope TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS runs_of_trace ON runs (trace_id, held, tokens);
CREATE INDEX IF NOT EXISTS runs_of_parent ON runs (parent_id);
CREATE INDEX IF NOT EXISTS roots ON runs (otel_trace_id) WHERE parent_id IS NULL;
CREATE INDEX IF NOT EXISTS held_runs ON runs (id) WHERE held = 1;
CREATE TABLE IF NOT EXISTS attachments (
    run_id TEXT NOT NULL, name TEXT NOT NULL, mime TEXT NOT NULL, size INTEGER NOT NULL,
    digest TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (run_id, name));
CREATE TABLE IF NOT EXISTS violations (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, message TEXT NOT NULL, run_id TEXT NOT NULL,
    span_id TEXT NOT NULL, trace_id TEXT NOT NULL, at_ns INTEGER NOT NULL,
    scope TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX IF NOT EXISTS violations_once ON violations (run_id, kind, message, span_id);
CREATE INDEX IF NOT EXISTS violations_of_trace ON violations (trace_id);
CREATE TABLE IF NOT EXISTS stale_calls (id TEXT PRIMARY KEY, change INTEGER NOT NULL);
CREATE TEMP TABLE IF NOT EXISTS level (id TEXT PRIMARY KEY);
"""

_TEXT_COLUMNS: Final = (
    *("id", "trace_id", "parent_id", "project", "otel_trace_id", "span_id", "name", "run_type"),
    *("dotted_order", "error", "delivered_by", "fingerprint", "patch_fingerprint", "scope"),
)
_TIME_COLUMNS: Final = ("start_ns", "end_ns")
#: Columns that repeat a part of the JSON, so that queries can use it.
_DERIVED_COLUMNS: Final = ("thread_id", "tokens")
_FACTS: Final = ("metadata", "extra", "tags", "usage")
_PAYLOAD: Final = ("inputs", "outputs", "attributes", "events")
COLUMNS: Final = (*_TEXT_COLUMNS, *_TIME_COLUMNS, *_DERIVED_COLUMNS, "facts", "payload")
INSERT_RUN: Final = (
    f"INSERT INTO runs ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})"
)
UPDATE_RUN: Final = (
    f"UPDATE runs SET {', '.join(f'{c} = :{c}' for c in COLUMNS if c != 'id')} WHERE id = :id"
)


def encode(value: object) -> str:
    """Encode any received value as JSON; NaN and infinities become strings."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), default=str)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def storable(value: object) -> object:
    """Return a value that SQLite can store."""
    # sqlite3 raises an error on a lone surrogate, so each is replaced by a question mark.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def to_row(run: Run) -> JsonObject:
    """Return the columns of a run."""
    row: JsonObject = {name: storable(getattr(run, name)) for name in _TEXT_COLUMNS}
    for name in _TIME_COLUMNS:
        value = getattr(run, name)
        # An absurd time is reported as a violation; here it only has to fit into 64 bits.
        row[name] = None if value is None else max(min(value, 2**62), -(2**62))
    row["thread_id"] = storable(run.thread_id)
    row["tokens"] = run.tokens
    row["facts"] = encode({name: getattr(run, name) for name in _FACTS})
    row["payload"] = encode({name: getattr(run, name) for name in _PAYLOAD})
    return row


def from_row(row: sqlite3.Row) -> Run:
    """Return the run stored in a row."""
    values = {name: row[name] for name in (*_TEXT_COLUMNS, *_TIME_COLUMNS)}
    values |= json.loads(row["facts"]) | json.loads(row["payload"])
    values["tags"] = tuple(values["tags"])
    values["events"] = tuple(values["events"])
    return Run(**values)
