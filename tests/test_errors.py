"""The errors that set-up, commands and files raise."""

from __future__ import annotations

import pytest

import otel_realtime
from otel_realtime.errors import (
    ConfigError,
    DeliveryError,
    NewerFormatError,
    OtelRealtimeError,
    RecordingError,
)


@pytest.mark.parametrize("error", [ConfigError, RecordingError, NewerFormatError, DeliveryError])
def test_one_base_catches_all(error: type[OtelRealtimeError]) -> None:
    """And tells what it was."""
    with pytest.raises(OtelRealtimeError, match="why") as found:
        raise error("why")
    assert error is found.type


def test_what_a_later_version_wrote_is_a_recording_that_cannot_be_read() -> None:
    """Whoever catches the one catches the other."""
    assert issubclass(NewerFormatError, RecordingError)


def test_a_delivery_knows_its_status() -> None:
    """None where there was no answer."""
    assert (413, None) == (DeliveryError("x", status=413).status, DeliveryError("x").status)


def test_a_wrong_setting_is_one() -> None:
    """Told at once, with its name."""
    with pytest.raises(otel_realtime.ConfigError, match=r"Settings\.span_limit=0"):
        otel_realtime.Settings(span_limit=0)
