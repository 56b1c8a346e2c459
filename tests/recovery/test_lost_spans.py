"""Spans that died with their process are made again as they were, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import otel_realtime
from otel_realtime.recovery.rebuild import rebuild
from otel_realtime.recovery.replay import replay
from otel_realtime.state.stored import STORED, note_stored, read_stored
from tests.recovery.conftest import end, one_turn
from tests.support.case_files import CASES, play
from tests.support.traces import Traces

Snapshot = Callable[[otel_realtime.Conversation], Path]
Play = Callable[[Traces], otel_realtime.Conversation]
pytestmark = pytest.mark.usefixtures("away")


def played(path: Path) -> Play:
    """A conversation with everything that a file has."""

    def play_it(traces: Traces) -> otel_realtime.Conversation:
        call = otel_realtime.conversation(tracer_provider=traces.provider).__enter__()
        play(call, path)
        return call

    return play_it


def with_tools(traces: Traces) -> otel_realtime.Conversation:
    """A conversation whose app runs tools with spans below them, one of which raises."""
    call = one_turn(traces)
    with call.tool(name="search"), traces.tracer.start_as_current_span("query"):
        pass
    with pytest.raises(ValueError, match="no such"), call.tool(name="find"):
        raise ValueError("no such thing")
    return call


CALLS: dict[str, Play] = {
    "a turn": one_turn,
    "tools of the app": with_tools,
    **{path.stem: played(path) for path in sorted(CASES.glob("*.jsonl"))},
}


def told(span: ReadableSpan) -> dict[str, Any]:
    """Everything a backend sees of a span; JSON as the values it says."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "name": span.name,
        "ids": (context.trace_id, context.span_id, parent.span_id if parent else None),
        "times": (span.start_time, span.end_time),
        "kind": span.kind,
        "status": (span.status.status_code, span.status.description),
        "attributes": {key: _said(value) for key, value in (span.attributes or {}).items()},
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
    }


def _said(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
    except ValueError:
        return value


def by_id(spans: Iterable[ReadableSpan]) -> dict[int, dict[str, Any]]:
    """The spans below the root by id, each once."""
    rows = [told(span) for span in spans if span.name != "realtime_session"]
    found = {row["ids"][1]: row for row in rows}
    assert len(found) == len(rows)
    return found


def made_again(folder: Path) -> dict[int, dict[str, Any]]:
    """The spans that had ended and are made again."""
    return by_id(span for span, _ in rebuild(replay(folder), marked=True).again)


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS)
def test_all_of_a_call_that_had_ended(make: Play, traces: Traces, snapshot: Snapshot) -> None:
    """Nothing reached the disk: each span is made again with its ids, times, place and words."""
    call = make(traces)
    end(call)
    folder = snapshot(call)
    assert by_id(traces.spans).keys() <= read_stored(folder) | {call._engine.trace.span_id}
    assert {} == made_again(folder)
    (folder / STORED).unlink()
    assert by_id(traces.spans) == made_again(folder)


@pytest.mark.parametrize("make", CALLS.values(), ids=CALLS)
def test_all_that_had_ended_of_a_call_that_was_open(
    make: Play, traces: Traces, snapshot: Snapshot
) -> None:
    """So it is when the process dies in mid-call; what was open is no part of it."""
    call = make(traces)
    recorder = call._engine.frames.recorder
    assert recorder is not None
    for _ in range(2):  # the second round begins when the first one has settled what was due
        assert recorder.settle(5)
    before = by_id(traces.spans)
    folder = snapshot(call)
    (folder / STORED).unlink(missing_ok=True)
    rebuilt = rebuild(replay(folder), marked=True)
    again = by_id(span for span, _ in rebuilt.again)
    end(call)
    assert before == {span_id: again.get(span_id) for span_id in before}
    # What ended while the copy was made.
    assert {} == {i: row for i, row in again.items() if i not in before and _is_early(row, folder)}
    assert again.keys().isdisjoint(by_id(span for span, _ in rebuilt.below))


def _is_early(row: dict[str, Any], folder: Path) -> bool:
    return bool(row["times"][1] < replay(folder).end.at_ns - 10**9)


def test_only_what_did_not_reach_the_disk(traces: Traces, snapshot: Snapshot) -> None:
    """What the list has, or what is still in the spool, is not made again."""
    call = one_turn(traces)
    end(call)
    folder = snapshot(call)
    (folder / STORED).unlink()
    ids = [*by_id(traces.spans)]
    note_stored(folder, ids[::2])
    assert {*ids[1::2]} == made_again(folder).keys()
    spooled = dict.fromkeys(ids[1::4], 0)
    rebuilt = rebuild(replay(folder), marked=True, spooled=spooled)
    assert {*ids[3::4]} == by_id(span for span, _ in rebuilt.again).keys()


def test_a_model_call_has_one_id_whether_or_not_its_end_was_noted(
    traces: Traces, snapshot: Snapshot
) -> None:
    """A kill between the end of its span and the note of it makes no second span."""
    call = one_turn(traces)
    end(call)
    folder = snapshot(call)
    journal = folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if not line.startswith(b'["settled"')))
    assert {} == made_again(folder)
    (folder / STORED).unlink()
    assert by_id(traces.spans).keys() == made_again(folder).keys()
