"""JSON text of any value: it always parses, and it fits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.events import TOO_DEEP
from otel_realtime.core.protocol.json_text import dump, object_or_text, shorten
from tests.support.odd_values import Unreadable, deep
from tests.support.streams import bounded, json_values


def test_a_dump_too_deep_for_the_stack_is_cut() -> None:
    """What JSON can be made of is whole, what it cannot be made of is cut."""
    assert deep(60) == json.loads(dump(deep(60)))
    assert TOO_DEEP in dump(deep(1_000_000))  # 3.14 can nest 50,000


@bounded
@given(json_values | st.text(max_size=5000), st.integers(min_value=18, max_value=3000))
def test_shortened_json_is_json(value: Any, limit: int) -> None:
    """Whatever the value and the limit: it parses, and it fits."""
    text = shorten({"event": value}, limit)
    json.loads(text)
    assert len(text) <= limit


@bounded
@given(json_values)
def test_json_within_the_limit_is_whole(value: Any) -> None:
    """What fits is not touched."""
    assert value == json.loads(dump(value))
    assert dump(value) == dump(value, 10**6)


def test_long_values_are_cut_from_within() -> None:
    """Strings, lists and objects lose their ends and say how much."""
    value = {
        "text": "a" * 9000,
        "list": list(range(900)),
        "object": {f"k{index:03}": "v" * 50 for index in range(900)},
    }
    short = json.loads(shorten(value, 20_000))
    assert short["text"].startswith("a" * 100)
    assert short["text"].endswith("more characters]")
    assert "… [700 more]" == short["list"][-1]
    assert "700 more" == short["object"]["…"]


def test_values_that_are_no_json_are_dumped_as_far_as_they_can_be() -> None:
    """NaN is null, foreign objects their text, foreign keys text; the worst is one word."""
    assert '{"a":null,"b":null}' == dump({"a": float("nan"), "b": float("-inf")})
    assert '{"1":"(1+2j)","(1, 2)":[1,2]}' == dump({1: 1 + 2j, (1, 2): (1, 2)})
    assert '"a�b"' == dump("a\ud800b")
    assert '"[unreadable]"' == dump({"a": Unreadable()})
    endless: list[Any] = []
    endless.append(endless)
    assert TOO_DEEP in dump(endless)


@pytest.mark.parametrize("text", ["", "42", "null", "[1]", '"a"', "sunny", '{"a":', "{a}", "{} {}"])
def test_text_that_is_no_object_stays_text(text: str) -> None:
    """Numbers, lists and broken JSON may be plain words of the app."""
    assert text == object_or_text(text)


def test_text_of_an_object_is_that_object() -> None:
    """Also with space around it; what the stack cannot hold is cut or left as text."""
    assert {"city": "Oslo", "days": [1]} == object_or_text(' {"city": "Oslo", "days": [1]}\n')
    assert {} == object_or_text("{}")
    assert TOO_DEEP in dump(object_or_text('{"a":' * 150 + "1" + "}" * 150))
    digits = '{"n":' + "9" * 5000 + "}"
    assert digits == object_or_text(digits)


@bounded
@given(st.text() | json_values.map(dump))
def test_any_text_is_taken(text: str) -> None:
    """It comes back as an object or unchanged, and encodes either way."""
    value = object_or_text(text)
    assert isinstance(value, dict) or value == text
    json.loads(dump(value))
