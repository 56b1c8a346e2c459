"""An empty, running sandbox for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_realtime.sandbox import Sandbox

RUN_LIMIT = 50


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox"), run_limit=RUN_LIMIT) as running:
        yield running


@pytest.fixture
def sandbox(_running: Sandbox) -> Sandbox:
    """An empty sandbox; the server itself is shared, starting one takes a while."""
    _running.clear()
    return _running
