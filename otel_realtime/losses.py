"""What this process had to give up, counted by kind since it started.

Reported as the metric ``otel_realtime.telemetry.lost``, whose attribute ``what`` is the kind. What
waits on disk for another try is not lost.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

#: A span of our own LangSmith leg: refused, not encodable, or beyond every bound.
SPAN: Final = "span"
#: An undelivered conversation, or batch of spans, that went to keep the state directory in bounds.
CONVERSATION: Final = "conversation"
BATCH: Final = "batch"
#: A stretch of sound that found the writer's backlog full.
AUDIO: Final = "audio"
#: An event that became no span because its trace was full (``Settings.span_limit``).
EVENT: Final = "event"
#: Telemetry that a fault of ours cost; the log has the fault.
FAULT: Final = "fault"

_lost: Final[Counter[str]] = Counter()
_lock = threading.Lock()


def lose(what: str, count: int = 1) -> None:
    """Count something that is lost for good; safe from any thread."""
    if count > 0:
        with _lock:
            _lost[what] += count


def so_far() -> dict[str, int]:
    """What was lost since the process started, by kind."""
    with _lock:
        return dict(_lost)
