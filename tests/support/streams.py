"""The recorded streams of the shared data, and events as hypothesis makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from otel_realtime.core.conversation import Change, ConversationState
from otel_realtime.core.responses import Moment

#: Where the recorded streams are when the checkout has its neighbours.
FOLDER = Path(__file__).parents[3] / "shared" / "data" / "events"
MS = 1_000_000
#: Enough examples to find what is wrong, few enough for every run; always the same ones.
bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
START_NS = 1_700_000_000 * 1_000_000_000

#: One row of a stream: what the client sent (True) or received, and the event.
Row = tuple[bool, dict[str, Any]]


@cache
def stream(name: str) -> tuple[Row, ...]:
    """The rows of one recorded stream; skips the test where the data is absent."""
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the recorded streams are not here")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return tuple((row["dir"] == "sent", row["event"]) for row in rows)


def all_streams() -> list[str]:
    """The names of the recorded streams; none where the data is absent."""
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def at(t_ms: int) -> Moment:
    """A moment so many ms after the start."""
    return Moment(t_ms * MS, START_NS + t_ms * MS)


def feed(rows: Iterable[Row], state: ConversationState | None = None) -> Fed:
    """A state that took in the rows, one every 10 ms, and the changes it gave out."""
    state = state or ConversationState()
    changes: list[Change] = []
    for index, (sent, event) in enumerate(rows):
        step = state.send if sent else state.receive
        changes += step(event, at(index * 10))
    return state, changes


Fed = tuple[ConversationState, list[Change]]

#: Any JSON value a frame can hold.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
