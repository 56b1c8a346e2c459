"""Defines the contract: every kind of violation, and the rules on runs and their place in the trace.

LangSmith responds before it processes a request, so a broken rule shows up there only as missing data.
Here it is reported as a violation. Rules on raw spans are in ``span_rules``, rules on attachments in
``media``.

Sources, unless a rule names another:
https://docs.langchain.com/langsmith/trace-with-opentelemetry,
https://docs.langchain.com/langsmith/smith-api/runs/ingest-runs-multipart and the source of
LangSmith's Python client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from otel_realtime.sandbox.model import Run, Violation
from otel_realtime.sandbox.times import dotted_time, is_valid_time, split_dotted

#: "25,000 runs per trace": https://docs.langchain.com/langsmith/observability-concepts
RUN_LIMIT: Final = 25_000
#: Prefix of the names of our instrumentation scopes.
OUR_SCOPE: Final = "otel_realtime"

#: Kind of violation -> the rule it breaks.
KINDS: Final[Mapping[str, str]] = {
    # The trace as a tree.
    "orphan": "A run whose parent never arrives is dropped silently.",
    "trace_mismatch": "trace_id is the root's run id on every run of the trace.",
    "dotted_order": "dotted_order is the parent's, a dot, the start time and the run's own id.",
    "project_mismatch": "All runs of a trace belong to one project.",
    "child_before_parent": "A child does not start before its parent.",
    "too_many_runs": "A trace holds at most 25,000 runs; further runs are rejected.",
    # Delivery.
    "delivered_twice": "A run is delivered once, by the runs API or by OTLP, with one content.",
    "patch_ignored": "A run is updated once, by the runs API, after its post and before its end.",
    "metadata_lost": "The extra of a patch replaces the posted one, so it repeats all metadata.",
    "wrong_leg": "Only spans routed to LangSmith arrive; others are filtered out of the export.",
    "marked_root": "A root delivered by the runs API is filtered out of the OTLP export.",
    # Fields of a run.
    "empty_name": "A run has a name.",
    "bad_kind": "langsmith.span.kind is one of LangSmith's run types.",
    "bad_id": "langsmith.* ids are UUIDs.",
    "wrong_type": "LangSmith's text attributes are strings; other types are ignored.",
    "bad_timestamp": "A run's start, and its end once it has one, lie between 1970 and 2100.",
    "float_timestamp": "Times are integers or ISO 8601 strings, never floats.",
    "negative_duration": "A run does not end before it starts.",
    # https://docs.langchain.com/langsmith/threads
    "missing_thread_id": "The metadata of every run has a thread_id.",
    "thread_mismatch": "All runs of a trace have the same thread_id.",
    "thread_id_overridden": "Metadata session_id and conversation_id override thread_id.",
    "tool_name_on_non_tool": "gen_ai.tool.name turns any span into a tool run.",
    "duplicate_messages": "gen_ai.input/output.messages repeat gen_ai.prompt/completion.",
    "error_without_exception": "Status ERROR is shown only with an exception event.",
    "exception_outside_span": "An exception event lies within its span.",
    # Usage: https://docs.langchain.com/langsmith/cost-tracking
    "usage_without_outputs": "Usage is dropped if the run has no outputs.",
    "usage_on_non_llm": "Usage belongs on llm and embedding runs; on others it is counted twice.",
    "usage_not_int": "Token counts and their details are non-negative integers.",
    "usage_inconsistent": "total = input + output, and no detail exceeds its total.",
    # Values.
    "bad_json": "JSON in an attribute or a part is valid.",
    "bad_value": "No value is None, a lone surrogate, NaN, infinite or wider than 64 bits.",
    "audio_in_text": "Audio is an attachment, never base64 in text.",
    # Attachments and multipart parts.
    "attachment_name": "Attachment names are not empty and contain no dot.",
    "attachment_ignored": "An attachment comes with the post or the accepted patch of its run.",
    "attachment_mime": "The media type matches the content.",
    "wav_header": "The sizes in a WAV header match the file.",
    "part_headers": "A part has Content-Type and its true length, and no filename.",
    "malformed_run": "A run has id, name, run_type, start_time, trace_id and dotted_order.",
}


#: Kinds that are not the sender's fault on a span of another instrumentation. The sender stamps ids,
#: position in the tree, thread and leg on every span, so those rules apply to all spans; but the other
#: instrumentation chooses, for example, the start and end of its spans.
SHAPES: Final = frozenset(
    {
        "empty_name", "bad_kind", "wrong_type", "bad_timestamp", "float_timestamp",
        "negative_duration", "thread_id_overridden", "tool_name_on_non_tool", "duplicate_messages",
        "error_without_exception", "exception_outside_span", "usage_without_outputs",
        "usage_on_non_llm", "usage_not_int", "usage_inconsistent", "bad_json", "bad_value",
        "audio_in_text", "child_before_parent",
    }
)  # fmt: skip


def foreign_scope(kind: str, scope: str) -> str:
    """Return the other instrumentation that causes a violation of this kind; empty for the sender.

    Args:
        kind: a key of ``KINDS``.
        scope: name of the instrumentation that made the span; empty if it is unknown.
    """
    return "" if kind not in SHAPES or scope.startswith(OUR_SCOPE) else scope


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRun:
    """A run as the rules between parent and child see it.

    ``trace_id`` and ``dotted_order`` are resolved: if the client sent none, they hold the
    server's value. ``has_own_dotted_order`` is True if the client sent one.
    """

    id: str
    parent_id: str | None
    trace_id: str
    start_ns: int
    dotted_order: str
    has_own_dotted_order: bool
    project: str
    thread_id: str | None
    scope: str = ""


# --- rules on a single run -----------------------------------------------------------------------


def _empty_name(run: Run) -> Iterator[str]:
    if not run.name.strip():
        yield "the run has an empty name"


def _bad_timestamp(run: Run) -> Iterator[str]:
    if not is_valid_time(run.start_ns):
        yield f"start is {run.start_ns!r}"
    if run.end_ns is not None and not is_valid_time(run.end_ns):
        yield f"end is {run.end_ns!r}"


def _negative_duration(run: Run) -> Iterator[str]:
    if run.start_ns is not None and run.end_ns is not None and run.end_ns < run.start_ns:
        yield f"{run.name!r} ends {run.start_ns - run.end_ns} ns before it starts"


def _missing_thread_id(run: Run) -> Iterator[str]:
    if run.thread_id is None:
        yield f"{run.name!r} has no thread_id in its metadata"


def _thread_id_overridden(run: Run) -> Iterator[str]:
    for key in ("session_id", "conversation_id"):
        if key in run.metadata:
            yield f"metadata {key!r} of {run.name!r} takes precedence over thread_id"


def _usage_without_outputs(run: Run) -> Iterator[str]:
    if run.usage is not None and run.outputs is None and run.end_ns is not None:
        yield f"{run.name!r} has usage but no outputs"


def _usage_on_non_llm(run: Run) -> Iterator[str]:
    if run.usage is not None and run.run_type not in ("llm", "embedding"):
        yield f"{run.name!r} has usage but is a {run.run_type} run"


def _token_counts(usage: object) -> Iterator[tuple[str, object]]:
    """Yield every token count of a usage object with its path."""
    if not isinstance(usage, Mapping):
        yield "usage_metadata", usage
        return
    for key, value in usage.items():
        if key.endswith("_tokens"):
            yield key, value
        elif key.endswith("_token_details"):
            details = value.items() if isinstance(value, Mapping) else (("", value),)
            yield from ((f"{key}.{name}", count) for name, count in details)


def _usage_not_int(run: Run) -> Iterator[str]:
    if run.usage is None:
        return
    for path, count in _token_counts(run.usage):
        # type(), because a bool is an int to isinstance.
        if type(count) is not int or count < 0:
            yield f"{path} is {count!r}"


def _usage_inconsistent(run: Run) -> Iterator[str]:
    usage = run.usage
    if not isinstance(usage, Mapping) or any(True for _ in _usage_not_int(run)):
        return
    input_tokens, output_tokens = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    total = input_tokens + output_tokens
    if usage.get("total_tokens", total) != total:
        yield f"total_tokens {usage['total_tokens']} is not {input_tokens} + {output_tokens}"
    for side, side_total in (("input", input_tokens), ("output", output_tokens)):
        details = usage.get(f"{side}_token_details") or {}
        # Each detail is priced at its own rate, so a token in two details is billed twice:
        # https://docs.langchain.com/langsmith/cost-tracking
        counted = sum(details.values())
        if counted > side_total:
            yield f"{side}_token_details add up to {counted}, more than {side_total}"


RUN_RULES: Final[Mapping[str, Callable[[Run], Iterator[str]]]] = {
    "empty_name": _empty_name,
    "bad_timestamp": _bad_timestamp,
    "negative_duration": _negative_duration,
    "missing_thread_id": _missing_thread_id,
    "thread_id_overridden": _thread_id_overridden,
    "usage_without_outputs": _usage_without_outputs,
    "usage_on_non_llm": _usage_on_non_llm,
    "usage_not_int": _usage_not_int,
    "usage_inconsistent": _usage_inconsistent,
}


def check_run(run: Run) -> Iterator[Violation]:
    """Apply every rule that needs only the run itself."""
    for kind, rule in RUN_RULES.items():
        for message in rule(run):
            yield Violation(
                kind=kind,
                message=message,
                run_id=run.id,
                span_id=run.span_id,
                trace_id=run.trace_id or "",
                scope=foreign_scope(kind, run.scope),
            )


# --- rules on a run and its parent ---------------------------------------------------------------


def expected_dotted_order(run_id: str, start_ns: int, parent: TreeRun | None) -> str:
    """Return the dotted order that a run must have below ``parent``."""
    own = (dotted_time(start_ns) if is_valid_time(start_ns) else "") + run_id
    return f"{parent.dotted_order}.{own}" if parent else own


def _trace_mismatch(run: TreeRun, parent: TreeRun | None) -> Iterator[str]:
    expected = parent.trace_id if parent else run.id
    if run.trace_id != expected:
        source = "its parent's trace_id" if parent else "its own id"
        yield f"trace_id is {run.trace_id}, not {source} {expected}"


#: How much later than the start the time in a dotted order may be, ns. LangSmith sorts by it, so it is
#: shifted to distinguish runs of the same microsecond.
_LATER_NS: Final = 1_000_000_000


def _is_in_place(run: TreeRun, parent: TreeRun | None, own: tuple[str, str]) -> bool:
    time, run_id = own
    prefix = f"{parent.dotted_order}." if parent else ""
    if run.dotted_order != f"{prefix}{time}{run_id}" or run_id != run.id:
        return False
    if not is_valid_time(run.start_ns):
        return False
    latest = run.start_ns
    if parent is not None:  # a child that starts before its parent is sorted after it
        latest = max(latest, parent.start_ns) + _LATER_NS
    return dotted_time(run.start_ns) <= time <= dotted_time(latest)


def _dotted_order(run: TreeRun, parent: TreeRun | None) -> Iterator[str]:
    if not run.has_own_dotted_order:
        return
    segments = split_dotted(run.dotted_order)
    if segments is None:
        yield f"{run.dotted_order!r} is malformed"
    elif not _is_in_place(run, parent, segments[-1]):
        yield (
            f"{run.dotted_order!r} is not {expected_dotted_order(run.id, run.start_ns, parent)!r}"
        )
    elif segments[0][1] != run.trace_id:
        yield f"its first run {segments[0][1]} is not the trace_id {run.trace_id}"


def _child_before_parent(run: TreeRun, parent: TreeRun | None) -> Iterator[str]:
    # Compared in microseconds, the resolution of the runs API.
    if parent is not None and run.start_ns // 1000 < parent.start_ns // 1000:
        yield f"starts {parent.start_ns - run.start_ns} ns before its parent {parent.id}"


def _project_mismatch(run: TreeRun, parent: TreeRun | None) -> Iterator[str]:
    if parent is not None and run.project != parent.project:
        yield f"project is {run.project!r}, its parent's is {parent.project!r}"


def _thread_mismatch(run: TreeRun, parent: TreeRun | None) -> Iterator[str]:
    # A missing thread_id is reported by its own rule.
    threads = {run.thread_id, parent.thread_id} if parent is not None else set()
    if parent is not None and len(threads - {None}) > 1:
        yield f"thread_id is {run.thread_id!r}, its parent's is {parent.thread_id!r}"


TREE_RULES: Final[Mapping[str, Callable[[TreeRun, TreeRun | None], Iterator[str]]]] = {
    "trace_mismatch": _trace_mismatch,
    "dotted_order": _dotted_order,
    "child_before_parent": _child_before_parent,
    "project_mismatch": _project_mismatch,
    "thread_mismatch": _thread_mismatch,
}


def check_in_tree(run: TreeRun, parent: TreeRun | None) -> Iterator[Violation]:
    """Apply every rule between a run and its parent; ``parent`` is None for a root."""
    for kind, rule in TREE_RULES.items():
        for message in rule(run, parent):
            scope = foreign_scope(kind, run.scope) or (
                foreign_scope(kind, parent.scope) if parent is not None else ""
            )
            yield Violation(
                kind=kind, message=message, run_id=run.id, trace_id=run.trace_id, scope=scope
            )
