"""The limits that the app's provider sets on attributes, as far as they can be seen."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from otel_realtime.tracing.limits import OWN_ATTRIBUTES, Limits, limits_of


def provider(**limits: int) -> TracerProvider:
    """A provider of the app's with these limits."""
    return TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)


@pytest.mark.parametrize(
    ("limits", "payload"),
    [
        ({}, 9_000),
        ({"max_attribute_length": 4_000}, 4_000),
        ({"max_span_attribute_length": 2_000}, 2_000),
        ({"max_attribute_length": 4_000, "max_span_attribute_length": 2_000}, 2_000),
        ({"max_attribute_length": 2_000, "max_span_attribute_length": 4_000}, 4_000),
        ({"max_span_attribute_length": 10_000}, 9_000),
    ],
)
def test_no_value_is_longer_than_the_provider_takes(limits: dict[str, int], payload: int) -> None:
    """The span's own limit before the general one; ours where it is the lowest."""
    assert payload == limits_of(provider(**limits), 9_000).payload


@pytest.mark.parametrize(
    ("attributes", "room"), [(128, 128 - OWN_ATTRIBUTES), (OWN_ATTRIBUTES, 0), (3, 0)]
)
def test_what_our_own_attributes_leave_is_for_metadata(attributes: int, room: int) -> None:
    """Perhaps nothing."""
    assert room == limits_of(provider(max_span_attributes=attributes), 1).metadata


def test_what_cannot_be_seen_does_not_limit() -> None:
    """The provider may be anybody's."""
    for other in (NoOpTracerProvider(), object(), None):
        assert Limits(9_000, None) == limits_of(other, 9_000)
    unlimited = provider(max_span_attributes=SpanLimits.UNSET)
    assert Limits(9_000, None) == limits_of(unlimited, 9_000)


def test_ids_that_would_be_cut_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """With the variables that set it."""
    for length in (512, 511, 511):
        limits_of(provider(max_span_attribute_length=length), 9_000)
    (message,) = caplog.messages
    assert "511" in message
    assert "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT" in message
