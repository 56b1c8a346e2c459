"""The result of a replay, as text for a reader or as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from otel_realtime.replaying.log import BadRow


@dataclass(slots=True, kw_only=True)
class Replayed:
    """The result for one log.

    Attributes:
        file: the log.
        bad: its lines that are not events.
        received: number of events from the server.
        sent: number of events from the client.
        duration_ms: length of the log, ms.
        timed: whether the log has times; otherwise they are modelled.
        ids: the conversation's ids by name; empty if the log has no usable event.
        recording: where its recording is kept; None without a recording, or if none are kept.
        keeps: whether recordings are kept.
        url: its page in LangSmith; None without.
    """

    file: str
    bad: list[BadRow] = field(default_factory=list)
    received: int = 0
    sent: int = 0
    duration_ms: int = 0
    timed: bool = True
    ids: dict[str, str] = field(default_factory=dict)
    recording: str | None = None
    keeps: bool = False
    url: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "file": self.file,
            "thread_id": self.ids.get("thread_id"),
            "trace_id": self.ids.get("trace_id"),
            "run_id": self.ids.get("run_id"),
            "url": self.url,
            "recording": self.recording,
            "duration_ms": self.duration_ms,
            "timed": self.timed,
            "received": self.received,
            "sent": self.sent,
            "bad_rows": [{"line": row.line, "why": row.why} for row in self.bad],
        }

    def lines(self) -> list[str]:
        """Return the result as lines of text."""
        if not self.ids:
            return [f"{self.file}: no events"]
        pace = "" if self.timed else ", at a modelled pace"
        head = (
            f"{self.file}: {self.received} events received, {self.sent} sent, "
            f"{self.duration_ms / 1_000:.1f} s of call{pace}"
        )
        told = {
            "thread": self.ids["thread_id"],
            "trace": self.ids["trace_id"],
            "recording": self.recording or ("none: no audio in the log" if self.keeps else None),
            "LangSmith": self.url,
        }
        return [head, *(f"  {name:<10}{value}" for name, value in told.items() if value)]
