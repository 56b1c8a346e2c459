"""A row gives facts in either form, and values of the right type only."""

from __future__ import annotations

import math

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.calls.rows import Row, decoded, integer, mapping, number, text


def row(**attributes: object) -> Row:
    """A row with these attributes."""
    return Row(span_id="s", parent_id=None, name="n", start_ns=0, attributes=attributes)


def test_a_fact_has_two_forms() -> None:
    """The plain one wins."""
    ours, theirs = names.OURS + Fact.HEARD, names.LS_METADATA + Fact.HEARD
    assert 5 == row(**{theirs: 5}).fact_int(Fact.HEARD)
    assert 6 == row(**{theirs: 5, ours: 6}).fact_int(Fact.HEARD)
    assert None is row().fact_int(Fact.HEARD)


def test_values_of_another_type_are_none() -> None:
    """Nothing is converted that was not meant."""
    assert [None, None, None, 2, 2] == [integer(v) for v in (True, "2", math.nan, 2, 2.9)]
    assert [None, None, 1.0] == [number(v) for v in (math.inf, None, 1)]
    assert [None, None, "x"] == [text(v) for v in ("", 1, "x")]
    assert [{}, {}, {"a": 1}] == [mapping(v) for v in (None, [], {"a": 1})]


def test_json_may_stand_decoded() -> None:
    """A text that is none is nothing."""
    assert [{"a": 1}, {"a": 1}, None] == [
        row(p=value).json("p") for value in ('{"a": 1}', {"a": 1}, "{")
    ]
    assert None is decoded("[" * 100_000)
