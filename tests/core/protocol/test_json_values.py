"""Values out of JSON that anybody may have written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from otel_realtime.core.protocol.json_values import (
    milliseconds,
    object_or_empty,
    safe_str,
    text_or_none,
)
from tests.support.odd_values import Unreadable
from tests.support.streams import bounded, json_values


@bounded
@given(json_values)
def test_a_value_has_the_expected_type_or_is_nothing(value: Any) -> None:
    """Whatever stands there."""
    found = object_or_empty(value), text_or_none(value), milliseconds(value)
    assert found == (
        value if isinstance(value, dict) else {},
        value if isinstance(value, str) and value else None,
        int(value) if type(value) in (int, float) and 0 <= value < 2**53 else None,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (1.9, 1),
        (True, None),
        (-1, None),
        (2**53, None),
        (float("nan"), None),
        (float("inf"), None),
        ("5", None),
    ],
)
def test_a_time_is_a_number_that_can_be_one(value: object, expected: int | None) -> None:
    """Whole milliseconds, none below zero."""
    assert expected == milliseconds(value)


def test_any_value_as_text() -> None:
    """It encodes; what cannot be put into words is none."""
    assert ("5", "None", "a\ufffd") == (safe_str(5), safe_str(None), safe_str("a\ud800"))
    assert safe_str(Unreadable()) is None
    assert safe_str(10**5_000) is None
