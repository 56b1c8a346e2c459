"""Run ids, instants and dotted orders as LangSmith writes them.

Kept apart from the package's own code for the same things on purpose: what checks a rule must
not share the code that is checked.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Final
from uuid import UUID

LATEST_NS: Final = 4_102_444_800 * 10**9  # the year 2100: anything later is no time of a call
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_SEGMENT = re.compile(r"(\d{8}T\d{6}\d{6}Z)([0-9a-f-]{36})", re.ASCII)


def padded(span_id: str) -> str:
    """Return the run id of an OTLP span: eight zero bytes, then the span id (16 hex digits)."""
    return str(UUID(hex=span_id.rjust(32, "0")))


def as_uuid(text: object) -> str | None:
    """Return the canonical text of a UUID, or None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        return str(UUID(text))
    except ValueError:
        return None


def is_time(ns: int | None) -> bool:
    """Tell whether epoch nanoseconds can be the time of a run."""
    return ns is not None and 0 < ns < LATEST_NS


def dotted_time(ns: int) -> str:
    """Format epoch nanoseconds as in a dotted order; microseconds are truncated."""
    seconds, rest = divmod(ns, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y%m%dT%H%M%S}{rest // 1000:06d}Z"


def iso_time(ns: int | None) -> str | None:
    """Format epoch nanoseconds as ISO 8601 in UTC with microseconds."""
    if ns is None or not is_time(ns):
        return None
    seconds, rest = divmod(ns, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}+00:00"


def parse_iso(text: str) -> int | None:
    """Read an ISO 8601 instant as epoch nanoseconds; without a zone it is UTC."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z") else zone
    try:
        moment = datetime.strptime(f"{day}T{clock}{offset}", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return None
    return int(moment.timestamp()) * 10**9 + int((fraction or "0").ljust(9, "0"))


def split_dotted(dotted_order: str) -> list[tuple[str, str]] | None:
    """Split a dotted order into (time text, run id) pairs; None when it is malformed."""
    pairs = []
    for part in dotted_order.split("."):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            return None
        pairs.append((match[1], match[2]))
    return pairs
