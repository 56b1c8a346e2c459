"""The index of calls: pages of ten thousand, any query without an error."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.sandbox import call_index
from otel_realtime.sandbox.call_index import SORTS, Query
from tests.support.kept_call import call_object


@pytest.fixture(scope="module")
def many() -> Iterator[sqlite3.Connection]:
    """Ten thousand calls."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(call_index.SCHEMA)
    db.execute("BEGIN")
    for n in range(10_000):
        call: Any = call_object(f"call-{n}", metadata={"n": n % 7}, model=f"model-{n % 3}")
        call["started_at"] = f"2026-11-{1 + n % 28:02}T{n % 24:02}:00:00.000Z"
        call["turns"][0]["text"] = f"Where is order number {n}?"
        call_index.put(db, call)
    db.execute("COMMIT")
    yield db
    db.close()


@pytest.mark.parametrize("sort", [sign + name for name in SORTS for sign in ("", "-")])
def test_pages_hold_each_call_once(sort: str, many: sqlite3.Connection) -> None:
    """In any order, page by page."""
    found = [
        call["id"]
        for offset in range(0, 10_000, 500)
        for call in call_index.page(many, Query(sort=sort, limit=500, offset=offset))["calls"]
    ]
    assert len(found) == len(set(found)) == 10_000


@pytest.mark.alone
@pytest.mark.parametrize(
    ("query", "total"),
    [
        (Query(text="number 4711?"), 1),
        (Query(model="model-1"), 3333),
        (Query(meta="n=3", model="model-1"), 476),
        (Query(text="100%"), 0),
    ],
)
def test_a_search_takes_no_time_to_think(
    query: Query, total: int, many: sqlite3.Connection
) -> None:
    """Found among ten thousand, with what stands over the list, well within a second."""
    began = time.perf_counter()
    assert total == call_index.page(many, query)["total"]
    assert total == call_index.summary(many, query)["total"]
    assert time.perf_counter() - began < 1.5


def test_what_matched_is_marked(many: sqlite3.Connection) -> None:
    """Between two signs that no text has; case does not matter."""
    (found,) = call_index.page(many, Query(text="ORDER NUMBER 4711?"))["calls"]
    assert found["snippet"].startswith("Where is \x01order number 4711?\x02 It is sunny")


def test_put_replaces(many: sqlite3.Connection) -> None:
    """A call that went on."""
    many.execute("SAVEPOINT here")
    call: Any = call_object("call-5", name="anew")
    call_index.put(many, call)
    found = call_index.call(many, "call-5")
    assert found is not None
    assert found["name"] == "anew"
    assert call_index.page(many, Query())["total"] == 10_000
    many.execute("ROLLBACK TO here")


TEXTS = st.text(max_size=12) | st.sampled_from(["%", "_", "\\", "-1", "1e400", "nan", "=", "a=b"])
NAMES = ("q", "model", "project", "thread", "tool", "meta", "status", "interrupted", "live",
         "latency_over", "sort", "limit", "offset")  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS))
def test_no_query_is_an_error(parameters: dict[str, str]) -> None:
    """Whatever stands in an address."""
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    db.executescript(call_index.SCHEMA)
    call_index.put(db, call_object())  # type: ignore[arg-type]
    query = Query.of(parameters)
    assert call_index.page(db, query)["total"] in (0, 1)
    assert call_index.summary(db, query)["total"] in (0, 1)
    db.close()
