"""Percentiles are values that were measured, the median apart."""

from __future__ import annotations

import pytest

from otel_realtime.calls.percentiles import spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None)),
        ([5], (5, 5, 5)),
        ([4, 1], (2, 4, 4)),
        (list(range(1, 101)), (50, 95, 100)),
        (list(range(1, 21)), (10, 19, 20)),
    ],
)
def test_spread(values: list[int], expected: tuple[int | None, ...]) -> None:
    """Median, nearest rank, maximum."""
    found = spread(values)
    assert expected == (found["p50"], found["p95"], found["max"])
