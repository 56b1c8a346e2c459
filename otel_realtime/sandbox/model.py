"""What the sandbox holds: runs, changes to runs, attachments and findings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

BY_OTLP: Final = "otlp"
BY_RUNS_API: Final = "runs_api"
RUN_TYPES: Final = frozenset({"llm", "chain", "tool", "retriever", "embedding", "prompt", "parser"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One violation of the contract: its kind (see ``contract.KINDS``) and where it stands."""

    kind: str
    message: str
    run_id: str = ""
    span_id: str = ""
    trace_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it was delivered; times are epoch nanoseconds.

    ``trace_id`` and ``dotted_order`` are None when the sender left them to the server.
    """

    id: str
    name: str
    run_type: str
    delivered_by: str
    project: str
    trace_id: str | None = None
    parent_id: str | None = None
    dotted_order: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    inputs: Any = None
    outputs: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    error: str | None = None
    usage: Any = None
    span_id: str = ""
    otel_trace_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()
    fingerprint: str = ""
    patch_fingerprint: str = ""

    @property
    def thread_id(self) -> str | None:
        """The thread the run belongs to, as text."""
        value = self.metadata.get("thread_id")
        return None if value in (None, "") else str(value)

    @property
    def tokens(self) -> int:
        """Total tokens that count for this run; usage without outputs is dropped."""
        if not isinstance(self.usage, Mapping) or self.outputs is None:
            return 0
        total = self.usage.get("total_tokens")
        return total if type(total) is int and 0 <= total < 2**53 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change to a run by the runs API; ``changes`` holds only fields that were given."""

    run_id: str
    trace_id: str | None
    dotted_order: str | None
    changes: Mapping[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A received attachment, lying at ``path`` until the store takes it over."""

    run_id: str
    name: str
    mime: str
    size: int
    digest: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one request brought; applied in one transaction, in this order."""

    runs: tuple[Run, ...] = ()
    patches: tuple[Patch, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    findings: tuple[Finding, ...] = ()


class Refused(Exception):
    """A request the server answers with an error status; nothing of it is stored.

    Attributes:
        status: the HTTP status of the answer.
        findings: what to report although the request is refused.
    """

    def __init__(self, status: int, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.findings = findings


def fingerprint(value: object) -> str:
    """Digest a JSON value so that two deliveries can be told equal or different."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
