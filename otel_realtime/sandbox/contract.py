"""The contract: every kind of violation, and the rules on runs and on a run below its parent.

LangSmith answers 200 before it looks, so a broken rule shows there as something missing; here it
shows as a finding. Rules on raw spans are in ``span_rules``, on attachments in ``media``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.sandbox.model import Finding, Run
from otel_realtime.sandbox.times import dotted_time, is_time, split_dotted

RUN_LIMIT: Final = 25_000  # LangSmith: "25,000 runs per trace", further ones are rejected

KINDS: Final[Mapping[str, str]] = {
    # structure
    "orphan": "A run whose parent never arrives expires silently.",
    "trace_mismatch": "trace_id is the root's run id, the same on every run of the trace.",
    "dotted_order": "dotted_order is the parent's, a dot, the start time and the own run id.",
    "project_mismatch": "All runs of a trace belong to one project.",
    "child_before_parent": "A child does not start before its parent.",
    "too_many_runs": "A trace holds 25,000 runs; further ones are rejected.",
    # delivery
    "delivered_twice": "A run is delivered once: by the runs API or by OTLP, with one content.",
    "patch_ignored": "A run changes once, by the runs API, between its post and its end.",
    "metadata_lost": "The extra of a patch replaces the posted one: repeat all metadata.",
    "wrong_leg": "Only spans meant for this delivery to LangSmith may arrive.",
    "marked_root": "A root delivered by the runs API is filtered from the spans.",
    # fields
    "empty_name": "A run has a name.",
    "bad_kind": "langsmith.span.kind is one of LangSmith's run types.",
    "bad_id": "langsmith.* ids are UUIDs.",
    "wrong_type": "LangSmith's text attributes are strings; others are ignored.",
    "bad_timestamp": "A run has a start (and a finished one an end) between 1970 and 2100.",
    "float_timestamp": "Times are integers in nanoseconds or ISO texts, never floats.",
    "negative_duration": "A run does not end before it starts.",
    "missing_thread_id": "thread_id is in the metadata of every run.",
    "thread_mismatch": "All runs of a trace have one thread_id.",
    "thread_id_overridden": "Metadata session_id and conversation_id win over thread_id.",
    "tool_name_on_non_tool": "gen_ai.tool.name turns any span into a tool run.",
    "duplicate_messages": "gen_ai.input/output.messages repeat gen_ai.prompt/completion.",
    "error_without_exception": "An ERROR status shows only with an exception event.",
    "exception_outside_span": "An exception event lies within its span.",
    # usage
    "usage_without_outputs": "Usage is dropped when the run has no outputs.",
    "usage_on_non_llm": "Usage on other runs than llm is counted twice.",
    "usage_not_int": "Token counts and their details are integers, and none is negative.",
    "usage_inconsistent": "total = input + output, and no detail is above its total.",
    # values
    "bad_json": "JSON in an attribute or a part parses.",
    "bad_value": "No None, lone surrogate, NaN or integer beyond 64 bit.",
    "audio_in_text": "Audio is an attachment, never base64 in texts.",
    # attachments and parts
    "attachment_name": "Attachment names have no dot and are not empty.",
    "attachment_ignored": "An attachment comes with the post or the accepted patch of its run.",
    "attachment_mime": "The media type says what the bytes are.",
    "wav_header": "A WAV header's sizes are those of the file.",
    "part_headers": "A part has Content-Type and its true length, and no filename.",
    "malformed_run": "A run has id, name, run_type, start_time, trace_id and dotted_order.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What of a run matters to the runs below it; trace id and dotted order are settled.

    ``ordered`` tells that the sender gave the dotted order.
    """

    id: str
    parent_id: str | None
    trace_id: str
    start_ns: int
    dotted_order: str
    ordered: bool
    project: str
    thread_id: str | None


# --- a run by itself ---------------------------------------------------------------------------


def _empty_name(run: Run) -> Iterator[str]:
    if not run.name.strip():
        yield "the run's name is empty"


def _bad_timestamp(run: Run) -> Iterator[str]:
    if not is_time(run.start_ns):
        yield f"start is {run.start_ns!r}"
    if run.end_ns is not None and not is_time(run.end_ns):
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
            yield f"metadata key {key!r} of {run.name!r} is read before thread_id"


def _usage_without_outputs(run: Run) -> Iterator[str]:
    if run.usage is not None and run.outputs is None and run.end_ns is not None:
        yield f"{run.name!r} states usage and has no outputs"


def _usage_on_non_llm(run: Run) -> Iterator[str]:
    if run.usage is not None and run.run_type not in ("llm", "embedding"):
        yield f"{run.name!r} is a {run.run_type} run and states usage"


def _counts(usage: Any) -> Iterator[tuple[str, Any]]:
    """Every token count of a usage object with its path."""
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
    for path, count in _counts(run.usage):
        if type(count) is not int or count < 0:
            yield f"{path} is {count!r}"


def _usage_inconsistent(run: Run) -> Iterator[str]:
    usage = run.usage
    if not isinstance(usage, Mapping) or any(True for _ in _usage_not_int(run)):
        return
    given, made = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    if usage.get("total_tokens", given + made) != given + made:
        yield f"total_tokens {usage['total_tokens']} is not {given} + {made}"
    for side, whole in (("input", given), ("output", made)):
        details = usage.get(f"{side}_token_details") or {}
        by_modality = sum(details.get(name, 0) for name in ("audio", "text", "image"))
        largest = max([by_modality, *details.values()], default=0)
        if largest > whole:
            yield f"{side}_token_details say {largest} of {whole}"


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


def check_run(run: Run) -> Iterator[Finding]:
    """Apply every rule that needs nothing but the run."""
    for kind, rule in RUN_RULES.items():
        for message in rule(run):
            yield Finding(
                kind=kind,
                message=message,
                run_id=run.id,
                span_id=run.span_id,
                trace_id=run.trace_id or "",
            )


# --- a run and its parent ------------------------------------------------------------------------


def expected_dotted_order(run_id: str, start_ns: int, parent: Link | None) -> str:
    """Return the dotted order a run must have below ``parent``."""
    own = (dotted_time(start_ns) if is_time(start_ns) else "") + run_id
    return f"{parent.dotted_order}.{own}" if parent else own


def _trace_mismatch(run: Link, parent: Link | None) -> Iterator[str]:
    expected = parent.trace_id if parent else run.id
    if run.trace_id != expected:
        whose = "its parent's" if parent else "its own id"
        yield f"trace_id is {run.trace_id}, not {whose} {expected}"


def _dotted_order(run: Link, parent: Link | None) -> Iterator[str]:
    if not run.ordered:
        return
    segments = split_dotted(run.dotted_order)
    if segments is None:
        yield f"{run.dotted_order!r} is malformed"
    elif run.dotted_order != expected_dotted_order(run.id, run.start_ns, parent):
        yield (
            f"{run.dotted_order!r} is not {expected_dotted_order(run.id, run.start_ns, parent)!r}"
        )
    elif segments[0][1] != run.trace_id:
        yield f"its first run {segments[0][1]} is not the trace_id {run.trace_id}"


def _child_before_parent(run: Link, parent: Link | None) -> Iterator[str]:
    # Compared in microseconds: the runs API has no finer times.
    if parent is not None and run.start_ns // 1000 < parent.start_ns // 1000:
        yield f"starts {parent.start_ns - run.start_ns} ns before its parent {parent.id}"


def _project_mismatch(run: Link, parent: Link | None) -> Iterator[str]:
    if parent is not None and run.project != parent.project:
        yield f"project {run.project!r}, its parent's is {parent.project!r}"


def _thread_mismatch(run: Link, parent: Link | None) -> Iterator[str]:
    threads = {run.thread_id, parent.thread_id} if parent is not None else set()
    if parent is not None and len(threads - {None}) > 1:
        yield f"thread_id {run.thread_id!r}, its parent's is {parent.thread_id!r}"


LINK_RULES: Final[Mapping[str, Callable[[Link, Link | None], Iterator[str]]]] = {
    "trace_mismatch": _trace_mismatch,
    "dotted_order": _dotted_order,
    "child_before_parent": _child_before_parent,
    "project_mismatch": _project_mismatch,
    "thread_mismatch": _thread_mismatch,
}


def check_link(run: Link, parent: Link | None) -> Iterator[Finding]:
    """Apply every rule between a run and its parent (None: the run is a root)."""
    for kind, rule in LINK_RULES.items():
        for message in rule(run, parent):
            yield Finding(kind=kind, message=message, run_id=run.id, trace_id=run.trace_id)
