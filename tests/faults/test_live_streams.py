"""Live sessions and live translation that break off, or come damaged: everything settles all the same."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

import otel_realtime
from otel_realtime import diagnostics
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.rebuild import rebuild
from otel_realtime.recovery.replay import replay
from tests.faults.test_any_events import Book
from tests.faults.test_mutated_streams import snapshot, texts
from tests.support import live_server
from tests.support.mutations import ODD

KINDS = ["live", "sideband", "translation"]
BEGAN_NS, STEP_NS = 1_780_000_000_000_000_000, 50_000_000
Rows = list[tuple[bool, Any]]
_NUMBERS = count()

bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def stream(kind: str) -> Rows:
    """The rows of a script."""
    return list(live_server.rows(kind))


def hold(rows: Rows, folder: Path, *, pause: tuple[int, int] | None = None) -> list[ReadableSpan]:
    """Report these events; hold what comes of them against what a recovery makes of the journal.

    Args:
        rows: whether the client sent it, and the event.
        folder: for the recording and the journal.
        pause: from which row to which the recording is paused.
    """
    book, provider = Book(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(book)
    left = folder / f"left{next(_NUMBERS)}"
    chosen = otel_realtime.Settings(recordings_dir=str(folder / "kept"), langsmith="off")
    with otel_realtime.conversation(tracer_provider=provider, settings=chosen) as call:
        block: Any = None
        for at, (is_sent, event) in enumerate(rows):
            if pause is not None and at == pause[0]:
                block = call.pause_recording()
                block.__enter__()
            if block is not None and pause is not None and at == pause[1]:
                block.__exit__(None, None, None)
                block = None
            (call.sent if is_sent else call.received)(event, at_ns=BEGAN_NS + at * STEP_NS)
        if block is not None:
            block.__exit__(None, None, None)
        snapshot(call, left)
        before = list(book.ended)
    book.check()
    assert not PROCESS.live
    assert PROCESS.finisher.flush(60)
    found = replay(left)
    rebuilt = rebuild(found, marked=False)
    recovered = [span for span, _ in [*rebuilt.again, *rebuilt.below]]
    assert texts(book.ended) == texts([*recovered, *before])
    assert outputs(book.ended[-1]) == json.loads(json.dumps(dict(rebuilt.closing.outputs or {})))
    assert {} == diagnostics.faults()
    return book.ended


def outputs(root: ReadableSpan) -> Any:
    """The transcript."""
    return json.loads(str((root.attributes or {})["gen_ai.completion"]))


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(data=st.data())
def test_any_beginning_settles(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    """Wherever it breaks off: spans end, and a kill there loses nothing."""
    rows = stream(kind)
    hold(rows[: data.draw(st.integers(0, len(rows)))], tmp_path)


def _damage(rows: Rows, chance: random.Random) -> Rows:
    rows = copy.deepcopy(rows)
    for _ in range(chance.choice([1, 3, 10])):
        at = chance.randrange(len(rows))
        how = chance.choice(["drop", "double", "swap", "value", "inner", "turn"])
        if how == "drop" and len(rows) > 1:
            del rows[at]
        elif how == "double":
            rows.insert(chance.randrange(len(rows)), copy.deepcopy(rows[at]))
        elif how == "swap":
            other = chance.randrange(len(rows))
            rows[at], rows[other] = rows[other], rows[at]
        elif how == "turn":
            rows[at] = not rows[at][0], rows[at][1]
        else:
            event = rows[at][1]
            inner = event.get("event", event) if how == "inner" else event
            if isinstance(inner, dict) and inner:
                inner[chance.choice(list(inner))] = chance.choice(ODD)
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_streams_settle(kind: str, tmp_path: Path) -> None:
    """Dropped, doubled, swapped, and with anything where a value should be."""
    for seed in range(40):
        rows = _damage(stream(kind), random.Random(seed))
        try:
            hold(rows, tmp_path)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(data=st.data())
def test_nothing_of_a_pause_is_shown(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    """Wherever it lies: no word that came in it stands anywhere."""
    rows = stream(kind)
    start = data.draw(st.integers(0, len(rows) - 1))
    end = data.draw(st.integers(start, len(rows)))
    spans = hold(rows, tmp_path, pause=(start, end))
    shown = json.dumps([dict(span.attributes or {}) for span in spans], ensure_ascii=False)
    said = [
        event["delta"]
        for _, event in rows[start:end]
        if event["type"].endswith("_transcript.delta")
    ]
    elsewhere = json.dumps([*rows[:start], *rows[end:]], ensure_ascii=False)
    assert [] == [words for words in said if words in shown and words not in elsewhere]
