"""Fixtures of the tap's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_realtime import diagnostics, tap
from tests.tap.recording import RecordingObserver


@pytest.fixture(autouse=True)
def _untapped() -> Iterator[None]:
    """Every test ends without the tap, and without a fault that the guard hid."""
    before = diagnostics.faults()
    yield
    tap.uninstall()
    assert diagnostics.faults() == before


@pytest.fixture
def observer() -> RecordingObserver:
    """An observer that is installed."""
    observer = RecordingObserver()
    tap.install(observer)
    return observer
