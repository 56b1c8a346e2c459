"""Indexes calls in SQLite, so that the page's list can search, filter and sort them.

The index holds the call object of each call (``otel_realtime.calls``), and the columns that queries on
a list of ten thousand calls need. It does not depend on the source of the calls: the sandbox keeps it in
its own database, ``otel-realtime view`` in one in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.calls.schema import Call
from otel_realtime.sandbox.model import JsonObject
from otel_realtime.sandbox.rows import encode, storable

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS calls (
    id TEXT PRIMARY KEY, name TEXT, thread_id TEXT, trace_id TEXT, project TEXT, model TEXT,
    started_at TEXT, duration_ms INTEGER, status TEXT NOT NULL, live INTEGER NOT NULL,
    turns INTEGER, interruptions INTEGER, tools INTEGER, errors INTEGER, tokens INTEGER,
    p50 INTEGER, p95 INTEGER, slowest INTEGER, opening TEXT, recording INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS calls_by_start ON calls (started_at DESC, id);
CREATE TABLE IF NOT EXISTS call_objects (
    id TEXT PRIMARY KEY, object TEXT NOT NULL, words TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS call_tools (
    id TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS call_metadata (
    id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key, value, id))
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tools_of_call ON call_tools (id);
CREATE INDEX IF NOT EXISTS metadata_of_call ON call_metadata (id);
"""
TABLES: Final = ("calls", "call_objects", "call_tools", "call_metadata")

#: Name of a sort -> column.
SORTS: Final[Mapping[str, str]] = {
    "started": "started_at",
    "duration": "duration_ms",
    **{
        name: name
        for name in ("turns", "interruptions", "tools", "errors", "tokens", "p50", "p95", "slowest")
    },
}
_COLUMNS: Final = (
    *("id", "name", "thread_id", "trace_id", "project", "model", "started_at", "duration_ms"),
    *("status", "live", "turns", "interruptions", "tools", "errors", "tokens", "p50", "p95"),
    *("slowest", "opening", "recording"),
)
_LARGEST_PAGE: Final = 500
#: Most characters of a text to search for: SQLite refuses patterns above 50,000 bytes, and an escaped
#: character has up to five: https://www.sqlite.org/limits.html
LONGEST_TEXT: Final = 5_000
#: Most calls in the latency chart above the list.
_LINE: Final = 240
_OPENING: Final = 200
#: Characters of a transcript that are shown before and after a match.
_BEFORE, _AFTER = 40, 90
_MARKS: Final = ("\x01", "\x02")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The filters, order and page of a list of calls; a filter that is None or empty matches all calls.

    Attributes:
        text: text in the transcript or the name, or an id.
        meta: ``key=value`` of the app's metadata, or only a key.
        latency_over_ms: only calls with an answer that took longer.
    """

    text: str = ""
    model: str = ""
    project: str = ""
    thread: str = ""
    tool: str = ""
    meta: str = ""
    status: str = ""
    interrupted: bool = False
    live: bool = False
    latency_over_ms: float | None = None
    sort: str = "-started"
    limit: int = 100
    offset: int = 0

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Query:
        """Return the query for URL parameters; invalid values are ignored."""
        return cls(
            text=_text(parameters, "q").strip(),
            **{
                name: _text(parameters, name)
                for name in ("model", "project", "thread", "tool", "meta")
            },
            status=_text(parameters, "status"),
            interrupted=_text(parameters, "interrupted") in ("1", "true"),
            live=_text(parameters, "live") in ("1", "true"),
            latency_over_ms=_number(_text(parameters, "latency_over")),
            sort=_text(parameters, "sort") or "-started",
            limit=_whole(_text(parameters, "limit"), 100, _LARGEST_PAGE),
            offset=_whole(_text(parameters, "offset"), 0, 2**31),
        )


def _text(parameters: Mapping[str, str], name: str) -> str:
    return str(storable(parameters.get(name, "")))[:LONGEST_TEXT]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < 2**53 else None


def _whole(text: str, default: int, most: int) -> int:
    number = _number(text)
    return default if number is None else int(min(number, most))


def put(db: sqlite3.Connection, call: Call) -> None:
    """Store a call, replacing an earlier version of it."""
    remove(db, [call["id"]])
    row = {name: storable(value) for name, value in _columns(call).items()}
    marks = ", ".join(f":{name}" for name in _COLUMNS)
    db.execute(f"INSERT INTO calls ({', '.join(_COLUMNS)}) VALUES ({marks})", row)
    words = "\n".join(turn["text"] or "" for turn in call["turns"])
    db.execute(
        "INSERT INTO call_objects VALUES (?, ?, ?)",
        (call["id"], encode(call), storable(words)),
    )
    tools = {str(storable(tool["name"])) for tool in call["tools"]}
    db.executemany("INSERT INTO call_tools VALUES (?, ?)", [(call["id"], name) for name in tools])
    pairs = {
        (str(storable(str(key))), str(storable(_plain(value))))
        for key, value in call["metadata"].items()
    }
    db.executemany(
        "INSERT INTO call_metadata VALUES (?, ?, ?)", [(call["id"], *pair) for pair in pairs]
    )


def remove(db: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Remove calls from the index."""
    values = [(item,) for item in ids]
    for table in TABLES:
        db.executemany(f"DELETE FROM {table} WHERE id = ?", values)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _columns(call: Call) -> dict[str, Any]:
    facts, latency = call["facts"], call["facts"]["voice_to_voice_ms"]
    totals = [
        total
        for usage in call["usage"]
        for total in (usage["input"]["total"], usage["output"]["total"])
        if total is not None
    ]
    spoken = (turn["text"] for turn in call["turns"] if turn["role"] == "user" and turn["text"])
    opening = next(spoken, None) or next((t["text"] for t in call["turns"] if t["text"]), None)
    return {
        **{
            name: call[name] for name in ("id", "name", "thread_id", "trace_id", "project", "model")
        },
        "started_at": call["started_at"],
        "duration_ms": call["duration_ms"],
        "status": call["status"],
        "live": int(call["live"]),
        "turns": facts["turns"],
        "interruptions": facts["interruptions"],
        "tools": facts["tool_calls"],
        "errors": max(facts["server_errors"] or 0, len(call["errors"])),
        "tokens": sum(totals) if totals else None,
        "p50": latency["p50"],
        "p95": latency["p95"],
        "slowest": latency["max"],
        "opening": opening and opening[:_OPENING],
        "recording": int(call["recording"] is not None),
    }


def call(db: sqlite3.Connection, call_id: str) -> JsonObject | None:
    """Return the call object with that id, or None."""
    row = db.execute("SELECT object FROM call_objects WHERE id = ?", (call_id,)).fetchone()
    found: JsonObject | None = None if row is None else json.loads(row["object"])
    return found


def page(db: sqlite3.Connection, query: Query) -> JsonObject:
    """Return one page of the calls that a query finds, and their total number."""
    where, values = _where(query)
    rows = db.execute(
        f"SELECT c.*, count(*) OVER () AS total FROM calls c {where} ORDER BY {_order(query.sort)} LIMIT :limit OFFSET :offset",
        {**values, "limit": query.limit, "offset": query.offset},
    ).fetchall()
    if rows:
        total = rows[0]["total"]
    else:  # a page after the last one
        total = db.execute(f"SELECT count(*) FROM calls c {where}", values).fetchone()[0]
    return {"total": total, "calls": [_row(db, row, query) for row in rows]}


def _row(db: sqlite3.Connection, row: sqlite3.Row, query: Query) -> JsonObject:
    item = {name: row[name] for name in _COLUMNS}
    item |= {"live": bool(row["live"]), "recording": bool(row["recording"])}
    item["snippet"] = _snippet(db, row["id"], query.text) if query.text else None
    return item


def _snippet(db: sqlite3.Connection, call_id: str, text: str) -> str | None:
    row = db.execute("SELECT words FROM call_objects WHERE id = ?", (call_id,)).fetchone()
    words = "" if row is None else row["words"].replace(_MARKS[0], " ").replace(_MARKS[1], " ")
    at = words.lower().find(text.lower())
    if at < 0 or len(words.lower()) != len(words):  # some letters become two in lower case
        return None
    end = at + len(text)
    found = f"{words[max(at - _BEFORE, 0) : at]}{_MARKS[0]}{words[at:end]}{_MARKS[1]}{words[end : end + _AFTER]}"
    return ("…" if at > _BEFORE else "") + found.replace("\n", " ")


def summary(db: sqlite3.Connection, query: Query) -> JsonObject:
    """Return the summary above the list: the total, the values of the filters, latency over calls."""
    where, values = _where(query)
    total = db.execute(f"SELECT count(*) FROM calls c {where}", values).fetchone()[0]
    known = "AND" if where else "WHERE"
    line = db.execute(
        f"SELECT c.id, c.started_at, c.p50, c.p95 FROM calls c {where} {known} c.p50 IS NOT NULL "
        f"ORDER BY c.started_at DESC, c.id LIMIT {_LINE}",
        values,
    ).fetchall()
    return {
        "total": total,
        "facets": {
            "models": _distinct(db, "model", "calls"),
            "projects": _distinct(db, "project", "calls"),
            "tools": _distinct(db, "name", "call_tools"),
        },
        "latency": [
            {**dict(row), "p95": row["p50"] if row["p95"] is None else row["p95"]}
            for row in reversed(line)
        ],
    }


def _distinct(db: sqlite3.Connection, column: str, table: str) -> list[str]:
    query = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} LIMIT 200"
    return [row[0] for row in db.execute(query)]


def _order(sort: str) -> str:
    column = SORTS.get(sort.lstrip("-"), "started_at")
    direction = "DESC" if sort.startswith("-") else "ASC"
    # Unknown values come last in both directions.
    nulls = "" if column == "started_at" else f"c.{column} IS NULL, "
    return f"{nulls}c.{column} {direction}, c.id"


_EQUAL: Final = ("model", "project", "status")


def _where(query: Query) -> tuple[str, dict[str, Any]]:
    """Return the condition of a query, with its values."""
    parts, values = [], {}
    for name in _EQUAL:
        if value := getattr(query, name):
            parts.append(f"c.{name} = :{name}")
            values[name] = value
    if query.status == "error":  # a server error does not end a call, but counts as an error
        parts[-1] = "(c.status = :status OR c.errors > 0)"
    if query.thread:
        parts.append("c.thread_id LIKE :thread ESCAPE '\\'")
        values["thread"] = _like(query.thread)
    if query.tool:
        parts.append("c.id IN (SELECT id FROM call_tools WHERE name = :tool)")
        values["tool"] = query.tool
    if query.meta:
        key, has_value, value = query.meta.partition("=")
        equal = " AND value = :meta_value" if has_value else ""
        parts.append(f"c.id IN (SELECT id FROM call_metadata WHERE key = :meta_key{equal})")
        values |= {"meta_key": key.strip(), "meta_value": value.strip()}
    if query.interrupted:
        parts.append("c.interruptions > 0")
    if query.live:
        parts.append("c.live = 1")
    if query.latency_over_ms is not None:
        parts.append("c.slowest > :over")
        values["over"] = query.latency_over_ms
    if query.text:
        parts.append(
            "(c.name LIKE :text ESCAPE '\\' OR c.thread_id LIKE :text ESCAPE '\\' OR c.id = :exact"
            " OR c.trace_id = :exact OR EXISTS (SELECT 1 FROM call_objects o WHERE o.id = c.id"
            " AND o.words LIKE :text ESCAPE '\\'))"
        )
        values |= {"text": _like(query.text), "exact": query.text}
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _like(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, "\\" + sign)
    return f"%{text}%"
