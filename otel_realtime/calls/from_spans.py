"""Build the call object from the spans of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final
from uuid import UUID

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact, Meta, RootFact
from otel_realtime.calls.events import read_events
from otel_realtime.calls.membership import assign
from otel_realtime.calls.metadata import app_metadata
from otel_realtime.calls.parts import response_of, tool_of
from otel_realtime.calls.percentiles import spread
from otel_realtime.calls.rows import NS_PER_MS, Row, decoded, integer, mapping, number, text
from otel_realtime.calls.schema import (
    SCHEMA,
    VERSION,
    Call,
    CallError,
    Facts,
    Interruption,
    Recording,
    Redaction,
    Response,
    Spread,
    Turn,
)
from otel_realtime.calls.turns import turns_of
from otel_realtime.calls.usage import per_model, usage_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: The values of a redaction's ``side``.
_SIDES: Final = ("user", "agent", "both")
#: Counts that the root span carries.
_COUNTS: Final = (
    RootFact.TURNS, RootFact.RESPONSES, RootFact.INTERRUPTIONS, RootFact.FALSE_INTERRUPTIONS,
    RootFact.TOOL_CALLS, RootFact.SERVER_ERRORS,
)  # fmt: skip


def call_of(
    rows: Iterable[Row],
    *,
    trace_id: str | None = None,
    project: str | None = None,
    recording: Recording | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Call | None:
    """Return a call as one object.

    Args:
        rows: the spans of its trace, in any order; spans of other instrumentations are ignored.
        trace_id: OpenTelemetry's trace id; None: taken from the root.
        project: LangSmith's project; None: taken from the root.
        recording: its recording; None without one.
        pause: called between small pieces of work (an hour's call has thousands of them); may sleep.

    Returns:
        The call; None if its root is not among the rows.
    """
    ordered = sorted(rows, key=lambda row: row.start_ns)
    root = _root(ordered)
    if root is None:
        return None
    heard = read_events(_paced(ordered, pause))
    chats = [row for row in _paced(ordered, pause) if row.text(names.RESPONSE_ID)]
    responses = [response_of(index, row, root) for index, row in enumerate(_paced(chats, pause))]
    tools = [
        tool_of(index, row, root)
        for index, row in enumerate(
            row for row in _paced(ordered, pause) if row.text(names.TOOL_NAME)
        )
    ]
    turns = turns_of(root, heard, responses)
    pause()
    assign(turns, responses, tools, chats, ordered, heard)
    pause()
    interruptions = _interruptions(chats, responses, turns)
    errors = [_error(row, root) for row in _paced(ordered, pause) if _is_error(row)]
    used = [found for row in _paced(ordered, pause) if (found := usage_of(row)) is not None]
    call: Call = {
        "schema": SCHEMA,
        "version": VERSION,
        "id": root.text(names.LS_SPAN_ID) or run_id(root.span_id),
        "trace_id": trace_id or root.text(names.LS_METADATA + Meta.OTEL_TRACE_ID),
        "thread_id": root.fact_text(RootFact.THREAD_ID),
        "name": root.name,
        "project": project or root.text(names.LS_PROJECT),
        "started_at": iso_time(root.start_ns),
        "duration_ms": None if root.end_ns is None else offset_ms(root.end_ns, root),
        "live": root.end_ns is None,
        "status": "error" if root.failed else "ok",
        "error": root.message if root.failed else None,
        "close": {
            "code": root.fact_int(RootFact.CLOSE_CODE),
            "reason": root.fact_text(RootFact.CLOSE_REASON) or "",
        },
        "model": root.fact_text(RootFact.MODEL),
        "voice": root.fact_text(RootFact.VOICE),
        "metadata": app_metadata(root),
        "tags": [tag for tag in (root.text(names.LS_TAGS) or "").split(",") if tag],
        "facts": _facts(
            root,
            {
                RootFact.TURNS: len(turns),
                RootFact.RESPONSES: len(responses),
                RootFact.INTERRUPTIONS: len(interruptions),
                RootFact.FALSE_INTERRUPTIONS: sum(cut["false"] for cut in interruptions),
                RootFact.TOOL_CALLS: len(tools),
                RootFact.SERVER_ERRORS: sum(
                    row.text(names.EVENT_TYPE) == "error" for row in ordered
                ),
            },
            chats,
        ),
        "usage": per_model(used),
        "recording": recording,
        "turns": turns,
        "responses": responses,
        "tools": tools,
        "interruptions": interruptions,
        "errors": errors,
    }
    redacted = _redacted(root)
    if redacted:
        call["redacted"] = redacted
    return call


def _paced(rows: Sequence[Row], pause: Callable[[], None]) -> Iterator[Row]:
    for row in rows:
        yield row
        pause()


def _redacted(root: Row) -> list[Redaction]:
    """Return the silenced stretches that the root lists."""
    listed = decoded(root.fact_text(RootFact.REDACTED) or "")
    return [
        {
            "start_ms": integer(one.get("start_ms")) or 0,
            "end_ms": integer(one.get("end_ms")) or 0,
            "side": side if (side := text(one.get("side"))) in _SIDES else "both",
            "why": text(one.get("why")) or "",
        }
        for one in (map(mapping, listed) if isinstance(listed, list) else ())
    ]


def run_id(span_id: str) -> str:
    """Return the id of the run that LangSmith makes of a span: eight zero bytes, then the span id.

    https://github.com/langchain-ai/langsmith-collector-proxy
    """
    return str(UUID(hex=span_id.rjust(32, "0")))


def iso_time(at_ns: int) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds."""
    at = _EPOCH + timedelta(milliseconds=at_ns // NS_PER_MS)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def offset_ms(at_ns: int, root: Row) -> int:
    """Return a time as an offset into the recording, ms."""
    return max(at_ns - root.start_ns, 0) // NS_PER_MS


def _root(rows: Sequence[Row]) -> Row | None:
    """Return the root: by its mark, otherwise by its default name, which a title may have replaced."""
    named = [row for row in rows if row.name == names.ROOT_NAME]
    marked = [row for row in rows if row.text(names.LS_METADATA + Meta.AGENT_TYPE) == "root"]
    return next(iter([*marked, *named]), None)


def _facts(root: Row, counted: dict[str, int], chats: Sequence[Row]) -> Facts:
    """Return the facts of the whole call: the root's values, otherwise the counts so far."""
    told = {key: root.fact_int(key) for key in _COUNTS}
    counts = {key: counted[key] if value is None else value for key, value in told.items()}
    waits = [ms for row in chats if (ms := row.fact_int(Fact.VOICE_TO_VOICE)) is not None]
    firsts = [ms for row in chats if (ms := row.fact_int(Fact.TIME_TO_FIRST_AUDIO)) is not None]
    return {
        "turns": counts[RootFact.TURNS],
        "responses": counts[RootFact.RESPONSES],
        "interruptions": counts[RootFact.INTERRUPTIONS],
        "false_interruptions": counts[RootFact.FALSE_INTERRUPTIONS],
        "tool_calls": counts[RootFact.TOOL_CALLS],
        "server_errors": counts[RootFact.SERVER_ERRORS],
        "user_talk_s": number(root.fact(RootFact.USER_TALK)),
        "agent_talk_s": number(root.fact(RootFact.AGENT_TALK)),
        "overlap_s": number(root.fact(RootFact.OVERLAP)),
        "dead_air_s": number(root.fact(RootFact.DEAD_AIR)),
        "longest_silence_s": number(root.fact(RootFact.LONGEST_SILENCE)),
        "agent_over_user_s": number(root.fact(RootFact.AGENT_OVER_USER)),
        "voice_to_voice_ms": _told(
            spread(waits),
            root.fact_int(RootFact.VOICE_TO_VOICE_P50),
            root.fact_int(RootFact.VOICE_TO_VOICE_P95),
            root.fact_int(RootFact.VOICE_TO_VOICE_MAX),
        ),
        "first_audio_ms": _told(spread(firsts), root.fact_int(RootFact.FIRST_AUDIO_P50)),
    }


def _told(
    counted: Spread, p50: int | None, p95: int | None = None, most: int | None = None
) -> Spread:
    """Return the root's percentiles; those that it lacks are computed from its spans."""
    return {
        "p50": counted["p50"] if p50 is None else p50,
        "p95": counted["p95"] if p95 is None else p95,
        "max": counted["max"] if most is None else most,
    }


def _interruptions(
    chats: Sequence[Row], responses: Sequence[Response], turns: Sequence[Turn]
) -> list[Interruption]:
    found: list[Interruption] = []
    for row, response in zip(chats, responses, strict=True):
        if row.fact_text(Fact.INTERRUPTION_CAUSE) is None:
            continue
        found.append(
            {
                "at_ms": _cut_ms(row, response, turns),
                "turn": response["turn"],
                "false": row.fact_bool(Fact.FALSE_INTERRUPTION) is True,
                "generated_ms": response["generated_ms"],
                "heard_ms": response["heard_ms"],
            }
        )
    return found


def _cut_ms(row: Row, response: Response, turns: Sequence[Turn]) -> int | None:
    """Return the position in the recording where an answer was cut off; None if it is not known."""
    turn = None if response["turn"] is None else turns[response["turn"]]
    if turn is not None and turn["responses"][-1:] == [response["index"]]:
        return turn["end_ms"]
    if response["first_audio_ms"] is None or response["heard_ms"] is None:
        return None
    waited_ms = row.fact_int(f"{Fact.LATENCY}playback_ms") or 0
    return response["start_ms"] + response["first_audio_ms"] + waited_ms + response["heard_ms"]


def _is_error(row: Row) -> bool:
    kind = row.text(names.EVENT_TYPE)
    return kind is not None and (kind == "error" or kind.endswith(".failed"))


def _error(row: Row, root: Row) -> CallError:
    told = mapping(row.event().get("error"))
    return {
        "at_ms": offset_ms(row.start_ns, root),
        "type": text(told.get("type")),
        "code": text(told.get("code")) or row.text(names.ERROR_TYPE),
        "message": text(told.get("message")) or row.message,
        "span_id": row.span_id,
    }
