"""Fixtures of the tap's tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from otel_realtime import tap
from tests.tap.recording import RecordingObserver


@pytest.fixture(autouse=True)
def _untapped(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every test starts and ends without the tap, and without a fault that its guard hid."""
    caplog.set_level(logging.ERROR, logger="otel_realtime")
    yield
    tap.uninstall()
    records = caplog.get_records("call")
    assert [r.getMessage() for r in records if r.name.startswith("otel_realtime")] == []


@pytest.fixture
def observer() -> RecordingObserver:
    """An observer that is installed."""
    observer = RecordingObserver()
    tap.install(observer)
    return observer
