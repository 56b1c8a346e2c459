"""Tokens as totals and a split that partitions them."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.usage import (
    audio_seconds,
    partition,
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


def metadata(usage: object) -> Any:
    """The usage of a wire as LangSmith gets it."""
    found = read_usage(usage)
    assert found is not None
    return usage_metadata(found)


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
        "reasoning.output_tokens": 17,
    } == usage_attributes(usage)


def test_usage_as_langsmith_metadata() -> None:
    """Disjoint details: what was not cached by modality, the cached rest, text without reasoning."""
    assert {
        "input_tokens": 139,
        "output_tokens": 61,
        "total_tokens": 200,
        "input_token_details": {"text": 43, "audio": 32, "image": 0, "cache_read": 64},
        "output_token_details": {"text": 1, "audio": 43, "reasoning": 17},
    } == metadata(USAGE)


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


CASES = {
    "the cached tokens by modality": (
        {"text_tokens": 100, "audio_tokens": 600, "cached_tokens_details": {"audio_tokens": 560}},
        560,
        {"text": 100, "audio": 40, "cache_read": 560},
    ),
    "only their sum: text first": (
        {"text_tokens": 100, "audio_tokens": 600},
        560,
        {"text": 0, "audio": 140, "cache_read": 560},
    ),
    "more than the sum of their split": (
        {"text_tokens": 100, "audio_tokens": 600, "cached_tokens_details": {"audio_tokens": 500}},
        560,
        {"text": 40, "audio": 100, "cache_read": 560},
    ),
    "less than the sum of their split": (
        {
            "text_tokens": 100,
            "audio_tokens": 600,
            "cached_tokens_details": {"audio_tokens": 500, "text_tokens": 90},
        },
        560,
        {"text": 40, "audio": 100, "cache_read": 560},
    ),
    "more of a modality than there is": (
        {"text_tokens": 650, "audio_tokens": 50, "cached_tokens_details": {"audio_tokens": 60}},
        60,
        {"text": 640, "audio": 0, "cache_read": 60},
    ),
    "a split without a sum": (
        {"text_tokens": 100, "audio_tokens": 600, "cached_tokens_details": {"audio_tokens": 500}},
        None,
        {"text": 100, "audio": 100, "cache_read": 500},
    ),
    "more cached than there is": (
        {"text_tokens": 100, "audio_tokens": 600},
        900,
        {"text": 0, "audio": 0, "cache_read": 700},
    ),
    "no modalities": ({}, 560, {"text": 140, "cache_read": 560}),
    "no modalities but those of the cache": (
        {"cached_tokens_details": {"audio_tokens": 560}},
        560,
        {"audio": 0, "text": 140, "cache_read": 560},
    ),
    "a modality that is missing": ({"audio_tokens": 600}, None, {"text": 100, "audio": 600}),
    "too much of one": ({"audio_tokens": 800, "text_tokens": 5}, 0, {"text": 0, "audio": 700}),
    "images": (
        {
            "text_tokens": 100,
            "audio_tokens": 200,
            "image_tokens": 400,
            "cached_tokens_details": {"image_tokens": 384, "text_tokens": 64},
        },
        448,
        {"text": 36, "audio": 200, "image": 16, "cache_read": 448},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_details_that_do_not_add_up_are_made_to(case: str) -> None:
    """The total stands, and each token of it is in one detail."""
    details, cached, expected = CASES[case]
    if cached is not None:
        details = {**details, "cached_tokens": cached}
    found = metadata({"input_tokens": 700, "output_tokens": 3, "input_token_details": details})
    assert 700 == found["input_tokens"] == sum(expected.values())
    found_details = found["input_token_details"]
    assert expected == {key: found_details[key] for key in expected}
    assert 700 == sum(found_details.values())


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"text_tokens": 20, "audio_tokens": 41}, {"text": 20, "audio": 41}),
        ({"text_tokens": 20, "audio_tokens": 41, "reasoning_tokens": 30}, (0, 41, 20)),
        # A server that counts reasoning beside the text: then the text is missing it.
        ({"text_tokens": 3, "audio_tokens": 41, "reasoning_tokens": 17}, (3, 41, 17)),
        ({"reasoning_tokens": 17}, {"text": 44, "reasoning": 17}),
    ],
)
def test_reasoning_is_no_text(details: dict[str, int], expected: Any) -> None:
    """It is taken out of the text tokens, in which the server counts it."""
    if isinstance(expected, tuple):
        expected = dict(zip(("text", "audio", "reasoning"), expected, strict=True))
    found = metadata({"input_tokens": 0, "output_tokens": 61, "output_token_details": details})
    assert expected == found["output_token_details"]


def test_a_split_that_the_server_did_not_report_is_no_attribute() -> None:
    """Only LangSmith needs one, for its prices; other backends read what was reported."""
    usage = {"input_tokens": 700, "output_tokens": 9, "input_token_details": {"cached_tokens": 5}}
    found = read_usage({**usage, "output_token_details": {"reasoning_tokens": 4}})
    assert found is not None
    assert {
        "input_tokens": 700,
        "output_tokens": 9,
        "cache_read.input_tokens": 5,
        "reasoning.output_tokens": 4,
    } == usage_attributes(found)


#: Millionths of a dollar per token: gpt-realtime's prices, cached ones by modality as well.
FRESH = {"text": Fraction(4), "audio": Fraction(32), "image": Fraction(5)}
CACHED = Fraction(2, 5)
OUT = {"text": Fraction(16), "audio": Fraction(64)}


def langsmith_bill(found: Any) -> Fraction:
    """The cost by LangSmith's rule: each detail by its own rate, the rest of the total by the base.

    https://docs.langchain.com/langsmith/cost-tracking
    """
    rates_in = {**FRESH, "cache_read": CACHED}
    bill = Fraction(0)
    for direction, rates in (("input", rates_in), ("output", {**OUT, "reasoning": OUT["text"]})):
        rest = found[f"{direction}_tokens"]
        for key, count in found.get(f"{direction}_token_details", {}).items():
            bill += rates[key] * count
            rest -= count
        bill += rates["text"] * max(rest, 0)
    return bill


def providers_bill(usage: Any) -> Fraction:
    """The cost as the provider computes it from consistent usage on the wire."""
    details, out = usage["input_token_details"], usage["output_token_details"]
    cached = details.get("cached_tokens_details", {})
    bill = CACHED * details.get("cached_tokens", 0)
    for modality, rate in FRESH.items():
        key = f"{modality}_tokens"
        bill += rate * (details.get(key, 0) - cached.get(key, 0))
    return bill + sum(rate * out.get(f"{modality}_tokens", 0) for modality, rate in OUT.items())


def test_the_bill_of_a_call_that_is_mostly_cached() -> None:
    """Counted twice, the cached audio would cost several times as much."""
    details = {"text_tokens": 100, "audio_tokens": 600, "image_tokens": 0, "cached_tokens": 560}
    usage = {
        "input_tokens": 700,
        "output_tokens": 0,
        "input_token_details": {**details, "cached_tokens_details": {"audio_tokens": 560}},
        "output_token_details": {},
    }
    expected = 100 * FRESH["text"] + 40 * FRESH["audio"] + 560 * CACHED
    assert expected == providers_bill(usage) == langsmith_bill(metadata(usage))


few = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> dict[str, Any]:
    """Usage whose details add up, as a Realtime server writes it."""
    tokens = {f"{name}_tokens": draw(few) for name in FRESH}
    cached = {name: draw(st.integers(0, count)) for name, count in tokens.items()}
    out = {f"{name}_tokens": draw(few) for name in OUT}
    usage: dict[str, Any] = {
        "input_tokens": sum(tokens.values()),
        "output_tokens": sum(out.values()),
        "input_token_details": {
            **tokens,
            "cached_tokens": sum(cached.values()),
            "cached_tokens_details": cached,
        },
        "output_token_details": out,
    }
    if draw(st.booleans()):
        out["reasoning_tokens"] = draw(st.integers(0, out["text_tokens"]))
    return usage


@bounded
@given(usages())
def test_langsmith_computes_the_providers_bill(usage: dict[str, Any]) -> None:
    """To the last token, whatever was cached, and with reasoning."""
    assert providers_bill(usage) == langsmith_bill(metadata(usage))


odd = st.none() | st.booleans() | st.integers(-5, 10**6) | st.just(2**63) | st.text(max_size=2)
odd_details = st.dictionaries(st.sampled_from(["text_tokens", "audio_tokens", "image_tokens"]), odd)


@bounded
@given(
    few,
    few,
    st.builds(
        lambda split, cached, by: {**split, "cached_tokens": cached, "cached_tokens_details": by},
        odd_details,
        odd,
        odd_details,
    ),
    st.builds(lambda split, reasoning: {**split, "reasoning_tokens": reasoning}, odd_details, odd),
)
def test_details_of_any_server_add_up(
    tokens_in: int, tokens_out: int, details_in: Any, details_out: Any
) -> None:
    """None is negative, and each group sums to its total, which is the server's."""
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    found = metadata(
        {**usage, "input_token_details": details_in, "output_token_details": details_out}
    )
    for direction, total in (("input", tokens_in), ("output", tokens_out)):
        details = found.get(f"{direction}_token_details")
        assert total == found[f"{direction}_tokens"]
        if details is not None:
            assert total == sum(details.values())
            assert all(count >= 0 for count in details.values())


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
            assert providers_bill(event["response"]["usage"]) == langsmith_bill(
                usage_metadata(usage)
            )


counts = st.integers(0, 2**40)


@bounded
@given(counts, st.dictionaries(st.sampled_from(["text", "audio", "image"]), st.integers(0, 2**40)))
def test_modalities_partition_the_total(total: int, split: dict[str, int]) -> None:
    """Whatever a server claims: they add up, and none is negative or zero."""
    found = partition(total, split)
    assert total == sum(found.values())
    assert all(count > 0 for count in found.values())
    if total == sum(split.values()):
        assert {name: count for name, count in split.items() if count} == found


@pytest.mark.parametrize(
    ("total", "split", "expected"),
    [
        (0, {}, {}),
        (7, {}, {"text": 7}),
        (7, {"audio": 7, "text": 0}, {"audio": 7}),
        (7, {"audio": 3}, {"audio": 3, "text": 4}),
        (7, {"audio": 3, "text": 1}, {"audio": 3, "text": 4}),
        (7, {"audio": 3, "text": 9}, {"audio": 3, "text": 4}),
        (7, {"audio": 9, "image": 1}, {"audio": 7}),
    ],
)
def test_what_no_modality_claims_is_text(
    total: int, split: dict[str, int], expected: dict[str, int]
) -> None:
    """And what they claim too much is cut, text first."""
    assert expected == partition(total, split)
