"""The sandbox's data model: runs, patches of runs, attachments and contract violations.

The names follow LangSmith's run schema (https://docs.langchain.com/langsmith/run-data-format).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

#: A JSON object as received from a client or returned by the read API.
JsonObject = dict[str, Any]
#: Attributes of a received span: decoded values of any type, valid or not.
Attributes = Mapping[str, Any]

#: Values of ``Run.delivered_by``, the endpoint a run was delivered to.
BY_OTLP: Final = "otlp"
BY_RUNS_API: Final = "runs_api"
RUN_TYPES: Final = frozenset({"llm", "chain", "tool", "retriever", "embedding", "prompt", "parser"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One violation of the contract.

    Attributes:
        kind: a key of ``contract.KINDS``.
        message: what exactly is wrong, for a reader.
        run_id: the offending run; empty if the request names none.
        span_id: the span it was mapped from, in hex; empty for the runs API.
        trace_id: the trace it belongs to; empty while unknown.
        scope: the other instrumentation whose span has that shape; empty for a fault of the sender.
    """

    kind: str
    message: str
    run_id: str = ""
    span_id: str = ""
    trace_id: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as it was delivered; times are nanoseconds since the Unix epoch.

    ``trace_id`` and ``dotted_order`` are None if the client left them to the server.
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
    inputs: object = None
    outputs: object = None
    metadata: Attributes = field(default_factory=dict)
    extra: Attributes = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    error: str | None = None
    usage: object = None
    span_id: str = ""
    otel_trace_id: str = ""
    #: Instrumentation that made the span, or SDK that sent the run; empty for our own runs, or if unknown.
    scope: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[Attributes, ...] = ()
    fingerprint: str = ""
    patch_fingerprint: str = ""

    @property
    def thread_id(self) -> str | None:
        """The thread the run belongs to, as a string."""
        value = self.metadata.get("thread_id")
        return None if value in (None, "") else str(value)

    @property
    def tokens(self) -> int:
        """Total tokens counted for this run; 0 without outputs, where LangSmith drops usage."""
        if not isinstance(self.usage, Mapping) or self.outputs is None:
            return 0
        total = self.usage.get("total_tokens")
        # 2**53 is the largest integer the page's JavaScript reads exactly.
        return total if type(total) is int and 0 <= total < 2**53 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """An update of a run by the runs API; ``changes`` holds only the fields that were sent."""

    run_id: str
    trace_id: str | None
    dotted_order: str | None
    changes: Attributes
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A received attachment, stored at ``path`` until the store moves it."""

    run_id: str
    name: str
    mime: str
    size: int
    digest: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The content of one request; applied in one transaction, in the order of the fields."""

    runs: tuple[Run, ...] = ()
    patches: tuple[Patch, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    violations: tuple[Violation, ...] = ()


class RequestError(Exception):
    """A request that is answered with an HTTP error; none of its runs are stored.

    Attributes:
        status: the HTTP status of the response.
        violations: violations to report although the request is rejected.
    """

    def __init__(self, status: int, message: str, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.violations = violations


def fingerprint(value: object) -> str:
    """Return a digest of a JSON value, to tell a repeated delivery from a different one."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
