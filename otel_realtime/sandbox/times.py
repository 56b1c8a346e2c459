"""Run ids, timestamps and dotted orders in LangSmith's formats.

These deliberately duplicate the package's own code: a checker must not share code with what it
checks.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final
from uuid import UUID

#: The year 2100; a later timestamp is in the wrong unit.
LATEST_NS: Final = 4_102_444_800 * 10**9
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_SEGMENT = re.compile(r"(\d{8}T\d{6}\d{6}Z)([0-9a-f-]{36})", re.ASCII)


def padded_run_id(span_id: str) -> str:
    """Return the run id of an OTLP span: eight zero bytes, then the span id (16 hex digits).

    The rule is ``langsmith_run_id_from_otel_span_id`` of LangSmith's SDK.
    """
    return str(UUID(hex=span_id.rjust(32, "0")))


def as_uuid(text: object) -> str | None:
    """Return a UUID in its canonical form, or None if ``text`` is not a UUID."""
    if not isinstance(text, str):
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None


def is_valid_time(ns: int | None) -> bool:
    """Return whether ``ns`` since the Unix epoch lies between 1970 and 2100."""
    return ns is not None and 0 < ns < LATEST_NS


def dotted_time(ns: int) -> str:
    """Format nanoseconds since the Unix epoch for a dotted order, truncated to microseconds."""
    seconds, rest = divmod(ns, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y%m%dT%H%M%S}{rest // 1000:06d}Z"


def iso_time(ns: int | None) -> str | None:
    """Format nanoseconds since the Unix epoch as ISO 8601 in UTC with microseconds."""
    if ns is None or not is_valid_time(ns):
        return None
    seconds, rest = divmod(ns, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+00:00"


def parse_iso(text: str) -> int | None:
    """Parse an ISO 8601 timestamp to nanoseconds since the Unix epoch; UTC if it has no zone."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z") else zone
    try:
        moment = datetime.strptime(f"{day}T{clock}{offset}", "%Y-%m-%dT%H:%M:%S%z")
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):  # also the first and the last day of the calendar
        return None
    # The fraction is parsed as an integer: a float cannot hold nanoseconds since the epoch.
    return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))


def split_dotted(dotted_order: str) -> list[tuple[str, str]] | None:
    """Split a dotted order into pairs of time and run id; None if it is malformed."""
    pairs = []
    for part in dotted_order.split("."):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            return None
        pairs.append((match[1], match[2]))
    return pairs
