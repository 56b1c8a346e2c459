from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from otel_realtime.langsmith.payload import clean_int, clean_text, encode_json


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("\ud83d", "\ufffd"),
        ("\ud83d\ude00", "😀"),
        (float("nan"), None),
        (float("inf"), None),
        (2**70, str(2**70)),
        (-(2**63), -(2**63)),
        (True, True),
        ((1, 2), [1, 2]),
        ({1: b"abc"}, {"1": "<3 bytes>"}),
        (date(2026, 1, 2), "2026-01-02"),
        (Rude(), "<Rude>"),
        ({"\udfff": 1}, {"\ufffd": 1}),
    ],
)
def test_anything_becomes_json(value: Any, expected: Any) -> None:
    """Half emojis, NaN, huge ints and foreign objects have a readable stand-in."""
    assert json.loads(encode_json(value)) == expected


def test_an_int_too_long_to_write_out() -> None:
    """Not even an integer of ten thousand digits breaks the encoding."""
    assert str(clean_int(10**10_000)).startswith("0x")


def test_a_circle_ends() -> None:
    """A list that holds itself is cut."""
    circle: list[Any] = []
    circle.append(circle)
    assert b'"..."' in encode_json(circle)


def test_clean_text_stays_itself() -> None:
    """Text that encodes is not copied."""
    text = "grüße 😀"
    assert clean_text(text) is text
