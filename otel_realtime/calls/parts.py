"""Builds one response or one tool call of a call object from its span."""

from __future__ import annotations

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.calls.rows import NS_PER_MS, Row
from otel_realtime.calls.schema import Latency, LatencyPart, Response, Tool
from otel_realtime.calls.usage import usage_of


def response_of(index: int, row: Row, root: Row) -> Response:
    """Return a response from its ``chat`` span; its turn is not known yet.

    Args:
        index: its position in the list of responses.
        row: its span.
        root: the call's root.
    """
    return {
        "index": index,
        "id": row.text(names.RESPONSE_ID),
        "span_id": row.span_id,
        "model": row.text(names.RESPONSE_MODEL),
        "status": row.text(names.RESPONSE_STATUS),
        "reason": row.text(names.RESPONSE_STATUS_REASON),
        "start_ms": _offset(row.start_ns, root),
        "end_ms": None if row.end_ns is None else _offset(row.end_ns, root),
        "first_audio_ms": row.fact_int(Fact.TIME_TO_FIRST_AUDIO),
        "generated_ms": row.fact_int(Fact.GENERATED),
        "heard_ms": row.fact_int(Fact.HEARD),
        "interrupted": row.fact_bool(Fact.INTERRUPTED),
        "out_of_band": row.fact_bool(Fact.OUT_OF_BAND) is True,
        "usage": usage_of(row),
        "error": _error(row),
        "turn": None,
    }


def latency_of(row: Row) -> Latency | None:
    """Return the caller's wait for a response, with its parts; None if nobody waited for it."""
    total_ms = row.fact_int(Fact.VOICE_TO_VOICE)
    if total_ms is None:
        return None
    prefix, end = names.OURS + Fact.LATENCY, "_ms"
    parts: list[LatencyPart] = []
    for name in row.attributes:
        if name.startswith(prefix) and name.endswith(end):
            cause = name.removeprefix(prefix).removesuffix(end)
            ms = row.fact_int(f"{Fact.LATENCY}{cause}{end}")
            if ms is not None:
                owner = row.fact_text(f"{Fact.LATENCY}{cause}_owner")
                parts.append({"cause": cause, "ms": ms, "owner": owner})
    return {"total_ms": total_ms, "parts": parts}


def tool_of(index: int, row: Row, root: Row) -> Tool:
    """Return a tool call from its span; its response and turn are not known yet.

    Args:
        index: its position in the list of tool calls.
        row: its span.
        root: the call's root.
    """
    return {
        "index": index,
        "call_id": row.text(names.TOOL_CALL_ID),
        "span_id": row.span_id,
        "name": row.text(names.TOOL_NAME) or "",
        "type": "mcp" if row.text(names.TOOL_TYPE) == names.TOOL_EXTENSION else "function",
        "start_ms": _offset(row.start_ns, root),
        "end_ms": None if row.end_ns is None else _offset(row.end_ns, root),
        "waited_ms": row.fact_int(Fact.TOOL_WAITED),
        "timing": row.fact_text(Fact.TOOL_TIMING),
        "arguments": row.json(names.TOOL_ARGUMENTS),
        "result": row.json(names.TOOL_RESULT),
        "error": _error(row),
        "response": None,
        "turn": None,
    }


def _error(row: Row) -> str | None:
    if not row.failed:
        return None
    return row.message or row.text(names.ERROR_TYPE) or "error"


def _offset(at_ns: int, root: Row) -> int:
    return max(at_ns - root.start_ns, 0) // NS_PER_MS
