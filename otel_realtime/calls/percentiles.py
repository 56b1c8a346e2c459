"""Computes percentiles of a few measured values in the same way as those on the root span."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from otel_realtime.calls.schema import Spread


def spread(values: Sequence[int]) -> Spread:
    """Return the median, 95th percentile and maximum; None for each if there are no values.

    The percentile is by nearest rank, so it is one of the measured values.
    """
    if not values:
        return {"p50": None, "p95": None, "max": None}
    ranked = sorted(values)
    return {
        "p50": round(median(ranked)),
        "p95": ranked[-(-len(ranked) * 95 // 100) - 1],
        "max": ranked[-1],
    }
