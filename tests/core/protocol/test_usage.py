"""Tokens as totals and a split that partitions them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from otel_realtime.core.protocol.usage import (
    audio_seconds,
    read_usage,
    usage_attributes,
    usage_metadata,
)
from tests.support.streams import all_streams, bounded, json_values, stream

USAGE = {
    "total_tokens": 200,
    "input_tokens": 139,
    "output_tokens": 61,
    "input_token_details": {
        "text_tokens": 43,
        "audio_tokens": 96,
        "image_tokens": 0,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 64, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 18, "audio_tokens": 43, "reasoning_tokens": 17},
}


def test_usage_as_attributes() -> None:
    """Totals under the convention's names, the split under the proposed ones."""
    usage = read_usage(USAGE)
    assert usage is not None
    assert {
        "input_tokens": 139,
        "output_tokens": 61,
        "cache_read.input_tokens": 64,
        "text.input_tokens": 43,
        "audio.input_tokens": 96,
        "image.input_tokens": 0,
        "text.output_tokens": 18,
        "audio.output_tokens": 43,
        "text.cache_read.input_tokens": 0,
        "audio.cache_read.input_tokens": 64,
        "image.cache_read.input_tokens": 0,
    } == usage_attributes(usage)


def test_usage_as_langsmith_metadata() -> None:
    """Details by modality and cache; reasoning is inside the text tokens and not added."""
    usage = read_usage(USAGE)
    assert usage is not None
    assert {
        "input_tokens": 139,
        "output_tokens": 61,
        "total_tokens": 200,
        "input_token_details": {"text": 43, "audio": 96, "image": 0, "cache_read": 64},
        "output_token_details": {"text": 18, "audio": 43},
    } == usage_metadata(usage)


def test_usage_without_details() -> None:
    """Totals alone are enough; a missing total is the sum."""
    usage = read_usage({"input_tokens": 3, "output_tokens": 4})
    assert usage is not None
    expected = {"input_tokens": 3, "output_tokens": 4}
    assert expected == usage_attributes(usage)
    assert {**expected, "total_tokens": 7} == usage_metadata(usage)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "7",
        {"type": "duration", "seconds": 3},
        {"input_tokens": None},
        {"input_tokens": True},
        {"input_tokens": -1},
        {"input_tokens": 2**63, "output_tokens": "4"},
        {"input_tokens": 1.5},
    ],
)
def test_no_usage(usage: object) -> None:
    """What holds no token counts is none."""
    assert read_usage(usage) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"type": "duration", "seconds": 3}, 3.0),
        ({"type": "duration", "seconds": 0.25}, 0.25),
        ({"type": "duration", "seconds": True}, None),
        ({"type": "duration", "seconds": -1}, None),
        ({"type": "duration", "seconds": 10**400}, None),
        ({"type": "duration", "seconds": float("inf")}, None),
        ({"type": "duration", "seconds": float("nan")}, None),
        ({"type": "duration"}, None),
        ({"type": "tokens", "seconds": 3}, None),
        (None, None),
    ],
)
def test_seconds_of_a_transcription(usage: object, expected: float | None) -> None:
    """Billing by duration gives a float, anything else nothing."""
    assert expected == audio_seconds(usage)


@bounded
@given(json_values, json_values)
def test_any_usage_gives_ints_or_nothing(usage: Any, details: Any) -> None:
    """Whatever a server writes, all counts are non-negative 64-bit ints."""
    shape = {"input_tokens": usage, "output_tokens": 1, "input_token_details": details}
    for source in (usage, shape, {**shape, "total_tokens": usage}):
        audio_seconds(source)
        found = read_usage(source)
        if found is not None:
            assert all(type(n) is int and 0 <= n < 2**63 for n in usage_attributes(found).values())
            json.dumps(usage_metadata(found))


@pytest.mark.parametrize("name", all_streams())
def test_recorded_splits_partition_their_totals(name: str) -> None:
    """In every recorded response the modalities add up."""
    for _, event in stream(name):
        usage = read_usage((event.get("response") or {}).get("usage"))
        if usage is not None:
            assert usage.input == sum(usage.input_by_modality.values())
            assert usage.output == sum(usage.output_by_modality.values())
            assert (usage.cached or 0) == sum(usage.cached_by_modality.values())
            assert usage.total == usage.input + usage.output
