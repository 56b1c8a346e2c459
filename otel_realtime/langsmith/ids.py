"""LangSmith's run ids and dotted orders, computed from OpenTelemetry span ids and times.

LangSmith gives a span that came by OTLP the run id "8 zero bytes + span id". The package uses
the same rule for the root run it posts itself, so native parent links and explicit linking
attributes name the same run. A dotted order is ``<start, UTC, microseconds>Z<run id>``, joined to
the parent's by a dot; it must be repeated exactly whenever the run is written again.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache

_NS_PER_S = 1_000_000_000


def run_id(span_id: int) -> str:
    """Return the UUID text LangSmith gives to the span with this 64-bit id."""
    digits = f"{span_id:016x}"
    return f"00000000-0000-0000-{digits[:4]}-{digits[4:]}"


@lru_cache(maxsize=64)
def _second(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, timezone.utc)


@lru_cache(maxsize=64)
def _second_text(epoch_s: int) -> str:
    return _second(epoch_s).strftime("%Y%m%dT%H%M%S")


def dotted_order(start_ns: int, run_id: str, parent: str | None = None) -> str:
    """Return the run's place in its trace.

    Args:
        start_ns: start in epoch nanoseconds; cut to microseconds without a float on the way.
        run_id: the run's UUID text.
        parent: the parent run's dotted order, None for a root.
    """
    seconds, rest = divmod(start_ns, _NS_PER_S)
    own = f"{_second_text(seconds)}{rest // 1000:06d}Z{run_id}"
    return own if parent is None else f"{parent}.{own}"


def iso_time(at_ns: int) -> str:
    """Return an epoch time in nanoseconds as the runs API writes it, with microseconds."""
    seconds, rest = divmod(at_ns, _NS_PER_S)
    return f"{_second(seconds):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+00:00"
