"""LangSmith's run ids and dotted orders, computed from OpenTelemetry span ids and start times.

A span that arrives by OTLP gets the run id "8 zero bytes + span id"
(``langsmith.integrations.otel.langsmith_run_id_from_otel_span_id``). We use the same rule for the root
run that we post, so native parent ids and explicit linking attributes name the same run.

A dotted order is ``<start, UTC, with microseconds>Z<run id>``, joined to the parent's by a dot. It
must be repeated exactly whenever the run is written again:
https://docs.langchain.com/langsmith/run-data-format
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache

_NS_PER_S = 1_000_000_000


def run_id(span_id: int) -> str:
    """Return the run id, as UUID text, of the span with a 64-bit id."""
    digits = f"{span_id:016x}"
    return f"00000000-0000-0000-{digits[:4]}-{digits[4:]}"


# Cached: spans of a call start in the same few seconds, and formatting a date is slow.
@lru_cache(maxsize=64)
def _second(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, timezone.utc)


@lru_cache(maxsize=64)
def _second_text(epoch_s: int) -> str:
    return _second(epoch_s).strftime("%Y%m%dT%H%M%S")


def dotted_order(start_ns: int, run_id: str, parent: str | None = None) -> str:
    """Return a run's dotted order, which places it in its trace.

    Args:
        start_ns: start, epoch ns; truncated to microseconds.
        run_id: the run's id as UUID text.
        parent: dotted order of the parent run; ``None`` for a root.
    """
    # Integers only: a float of epoch seconds does not hold microseconds exactly.
    seconds, rest = divmod(start_ns, _NS_PER_S)
    own = f"{_second_text(seconds)}{rest // 1000:06d}Z{run_id}"
    return own if parent is None else f"{parent}.{own}"


def iso_time(at_ns: int) -> str:
    """Return a time, epoch ns, in the runs API's format: ISO 8601 with microseconds, UTC."""
    seconds, rest = divmod(at_ns, _NS_PER_S)
    return f"{_second(seconds):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+00:00"
