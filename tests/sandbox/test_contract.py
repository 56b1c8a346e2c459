"""Each rule of the contract, broken once and alone; and whole traces that break none."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.contract import KINDS, SHAPES
from tests.sandbox.conftest import RUN_LIMIT
from tests.support.sandbox_client import (
    HEADERS,
    SECOND,
    START_NS,
    TRACE_ID,
    S,
    attachment_part,
    dotted,
    export,
    iso,
    json_part,
    patch_body,
    post_body,
    run_id,
    send_json,
    send_parts,
    wav,
)

ROOT = run_id(1)
USAGE = "langsmith.usage_metadata"
LLM = {"langsmith.span.kind": "llm", "gen_ai.completion": '{"messages": []}'}


def kinds(sandbox: Sandbox) -> list[str]:
    return sorted(found["kind"] for found in sandbox.violations())


def spans(*sent: S) -> Callable[[Sandbox], Any]:
    return lambda sandbox: export(sandbox.url, *sent)


def attributes(**values: Any) -> Callable[[Sandbox], Any]:
    return lambda sandbox: export(sandbox.url, S(attributes=values["of"]))


def posted(sandbox: Sandbox, **changes: Any) -> requests.Response:
    return send_json(sandbox.url, "post", post_body(ROOT, **changes))


def llm_with(usage: Any) -> Callable[[Sandbox], Any]:
    return attributes(of={**LLM, USAGE: json.dumps(usage)})


def with_attachment(data: bytes, **changes: Any) -> Callable[[Sandbox], Any]:
    def act(sandbox: Sandbox) -> requests.Response:
        body = json_part(f"post.{ROOT}", json.dumps(post_body(ROOT)).encode())
        return send_parts(sandbox.url, body, attachment_part(ROOT, data, **changes))

    return act


def delivered_both_ways(sandbox: Sandbox) -> None:
    posted(sandbox)
    export(sandbox.url, S())


def patched_twice(sandbox: Sandbox) -> None:
    posted(sandbox)
    send_json(sandbox.url, "patch", patch_body(ROOT))
    answer = send_json(sandbox.url, "patch", patch_body(ROOT, outputs={"messages": [1]}))
    assert answer.status_code == 409


def metadata_dropped(sandbox: Sandbox) -> None:
    posted(sandbox, extra={"metadata": {"thread_id": "t-1", "model": "m"}})
    patch = patch_body(ROOT, extra={"metadata": {"thread_id": "t-1"}})
    send_json(sandbox.url, "patch", patch)


def lonely_attachment(sandbox: Sandbox) -> None:
    posted(sandbox)
    send_parts(sandbox.url, attachment_part(ROOT, wav()))


def float_time(sandbox: Sandbox) -> None:
    posted(sandbox, start_time=START_NS / 1e6, dotted_order=None)


def part_with_filename(sandbox: Sandbox) -> None:
    name, data, headers = json_part(f"post.{ROOT}", json.dumps(post_body(ROOT)).encode())
    answer = send_parts(sandbox.url, (f'{name}"; filename="run.json', data, headers))
    assert answer.status_code == 422


def part_that_does_not_parse(sandbox: Sandbox) -> None:
    answer = send_parts(sandbox.url, json_part(f"post.{ROOT}", b"{"))
    assert answer.status_code == 422


CHILD_OF_ROOT = (S(), S(2, parent=1, start=5))
CASES: dict[str, Callable[[Sandbox], Any]] = {
    "orphan": spans(S(2, parent=9)),
    "trace_mismatch": spans(S(), S(2, parent=1, attributes={"langsmith.trace.id": run_id(7)})),
    "dotted_order": spans(
        S(), S(2, parent=1, attributes={"langsmith.span.dotted_order": dotted((START_NS, ROOT))})
    ),
    "project_mismatch": spans(
        S(), S(2, parent=1, attributes={"langsmith.trace.session_name": "other"})
    ),
    "child_before_parent": spans(S(), S(2, parent=1, start=-5000)),
    "too_many_runs": spans(S(), *(S(n, parent=1) for n in range(2, RUN_LIMIT + 3))),
    "delivered_twice": delivered_both_ways,
    "patch_ignored": patched_twice,
    "metadata_lost": metadata_dropped,
    "wrong_leg": attributes(of={"otel_realtime.langsmith.leg": "none"}),
    "marked_root": attributes(of={"otel_realtime.langsmith.root": "runs_api"}),
    "empty_name": spans(S(name="")),
    "bad_kind": attributes(of={"langsmith.span.kind": "event"}),
    "bad_id": attributes(of={"langsmith.span.id": "run-1"}),
    "wrong_type": attributes(of={"langsmith.span.kind": 3}),
    "bad_timestamp": spans(S(start=-START_NS)),
    "float_timestamp": float_time,
    "negative_duration": spans(S(end=-SECOND)),
    "missing_thread_id": attributes(of={"langsmith.metadata.thread_id": ""}),
    "thread_mismatch": spans(
        S(), S(2, parent=1, attributes={"langsmith.metadata.thread_id": "t-2"})
    ),
    "thread_id_overridden": attributes(of={"langsmith.metadata.session_id": "sess_1"}),
    "tool_name_on_non_tool": attributes(
        of={"langsmith.span.kind": "chain", "gen_ai.tool.name": "lookup"}
    ),
    "duplicate_messages": attributes(
        of={"gen_ai.prompt": '{"messages": []}', "gen_ai.input.messages": "[]"}
    ),
    "error_without_exception": spans(S(error=True)),
    "exception_outside_span": spans(
        S(error=True, events=[("exception", 2 * SECOND, {"exception.message": "late"})])
    ),
    "usage_without_outputs": attributes(
        of={"langsmith.span.kind": "llm", "gen_ai.usage.input_tokens": 3}
    ),
    "usage_on_non_llm": attributes(of={"gen_ai.completion": "{}", "gen_ai.usage.input_tokens": 3}),
    "usage_not_int": llm_with({"input_tokens": 1, "input_token_details": {"audio": 1.5}}),
    "usage_inconsistent": llm_with({"input_tokens": 1, "output_tokens": 1, "total_tokens": 3}),
    "bad_json": attributes(of={"gen_ai.prompt": '{"event": {"type'}),
    "bad_value": attributes(of={"langsmith.metadata.voice": None}),
    "audio_in_text": attributes(
        of={"gen_ai.prompt": json.dumps({"audio": base64.b64encode(bytes(range(256))).decode()})}
    ),
    "attachment_name": with_attachment(wav(), name="conversation.wav"),
    "attachment_ignored": lonely_attachment,
    "attachment_mime": with_attachment(wav(), mime="audio/x-wav"),
    "wav_header": with_attachment(wav(size_error=-96)),
    "part_headers": part_with_filename,
    "malformed_run": lambda sandbox: posted(sandbox, run_type="event"),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_broken_rule_is_reported(kind: str, sandbox: Sandbox) -> None:
    """Breaking one rule reports that rule, once, and no other."""
    CASES[kind](sandbox)
    assert [kind] == kinds(sandbox)


MORE: dict[str, tuple[str, Callable[[Sandbox], Any]]] = {
    "span twice with other content": (
        "delivered_twice",
        lambda s: (export(s.url, S()), export(s.url, S(name="other"))),
    ),
    "created twice with other content": (
        "delivered_twice",
        lambda s: (posted(s), posted(s, name="other")),
    ),
    "patch of an OTLP run": (
        "patch_ignored",
        lambda s: (export(s.url, S()), send_json(s.url, "patch", patch_body(ROOT))),
    ),
    "patch of nothing": (
        "patch_ignored",
        lambda s: send_json(s.url, "patch", patch_body(ROOT)),
    ),
    "patch with another dotted_order": (
        "patch_ignored",
        lambda s: (
            posted(s),
            send_json(
                s.url, "patch", patch_body(ROOT, dotted_order=dotted((START_NS + SECOND, ROOT)))
            ),
        ),
    ),
    "late patch without outputs": (
        "patch_ignored",
        lambda s: (
            posted(s, end_time="2026-11-19T00:00:00Z"),
            send_json(s.url, "patch", patch_body(ROOT, outputs=None)),
        ),
    ),
    "details that overlap": (
        "usage_inconsistent",
        llm_with({"input_tokens": 3, "input_token_details": {"audio": 3, "cache_read": 2}}),
    ),
    "details above their total": (
        "usage_inconsistent",
        llm_with({"input_tokens": 3, "input_token_details": {"audio": 2, "text": 2}}),
    ),
    "empty WAV": ("attachment_mime", with_attachment(b"")),
    "WAV with its data cut": ("wav_header", with_attachment(wav()[:-10])),
    "text as a WAV": ("attachment_mime", with_attachment(b"no audio at all")),
    "odd JSON of a part": ("bad_json", part_that_does_not_parse),
    "lone surrogate": ("bad_value", lambda s: posted(s, inputs={"text": "\ud83d"})),
    "huge integer": ("bad_value", lambda s: posted(s, inputs={"n": 10**30})),
    "float that is no number": ("bad_value", attributes(of={"x": float("nan")})),
    "root with another trace id": (
        "trace_mismatch",
        attributes(of={"langsmith.trace.id": run_id(7)}),
    ),
}


@pytest.mark.parametrize("case", sorted(MORE))
def test_other_way_of_breaking_a_rule(case: str, sandbox: Sandbox) -> None:
    """The less obvious ways to break a rule are reported as that rule too."""
    kind, act = MORE[case]
    act(sandbox)
    assert kind in kinds(sandbox)


def test_the_shape_of_another_instrumentations_span_is_no_fault(sandbox: Sandbox) -> None:
    """It is listed apart, with the instrumentation's name; its place in the trace is the sender's."""
    failed = {"error": True, "scope": "opentelemetry.instrumentation.httpx"}
    export(sandbox.url, S(), S(2, parent=1, name="GET", **failed))
    assert [] == sandbox.violations()
    (shape,) = sandbox.shapes()
    assert ("error_without_exception", "opentelemetry.instrumentation.httpx", run_id(2)) == (
        shape["kind"],
        shape["scope"],
        shape["run_id"],
    )
    found = sandbox.conversation(ROOT)
    assert found is not None
    assert ([], [shape]) == (found["violations"], found["shapes"])
    assert 0 == sandbox.conversations()[0]["violations"]
    export(sandbox.url, S(3, parent=9, name="lost", scope="some.library"))
    assert ["orphan"] == [violation["kind"] for violation in sandbox.violations()]


@pytest.mark.parametrize(
    ("child", "parent", "fault"),
    [
        ("otel_realtime", "otel_realtime", True),
        ("", "", True),
        ("opentelemetry.instrumentation.httpx", "otel_realtime", False),
        ("otel_realtime", "opentelemetry.instrumentation.httpx", False),
    ],
)
def test_who_starts_a_span_too_early(
    sandbox: Sandbox, child: str, parent: str, fault: bool
) -> None:
    """When a span of another instrumentation starts is no fault of who delivers it."""
    export(
        sandbox.url,
        S(),
        S(2, parent=1, start=9_000_000_000, end=10_000_000_000, scope=parent),
        S(3, parent=2, start=5_000, scope=child),
    )
    found = sandbox.violations() if fault else sandbox.shapes()
    assert [("child_before_parent", run_id(3))] == [(one["kind"], one["run_id"]) for one in found]
    assert [] == (sandbox.shapes() if fault else sandbox.violations())


def test_a_run_of_the_apps_own_client_is_the_apps(sandbox: Sandbox) -> None:
    """LangSmith's client says in a run that it made it; a run of ours says that we did."""
    posted(sandbox)
    of_the_app = {"metadata": {"thread_id": "t-1"}, "runtime": {"sdk": "langsmith-py"}}
    child = post_body(
        run_id(2),
        trace_id=ROOT,
        parent_run_id=ROOT,
        name="",
        start_time=iso(-5_000),
        dotted_order=dotted((START_NS, ROOT), (START_NS - 5_000, run_id(2))),
        extra=of_the_app,
    )
    assert send_json(sandbox.url, "post", child).status_code == 202
    assert {("empty_name", "langsmith-py"), ("child_before_parent", "langsmith-py")} == {
        (one["kind"], one["scope"]) for one in sandbox.shapes()
    }
    assert [] == sandbox.violations()


def test_our_own_span_has_no_excuse(sandbox: Sandbox) -> None:
    """The same shape is a fault there, and where nobody says who made the span."""
    export(sandbox.url, S(), S(2, parent=1, error=True, scope="otel_realtime"))
    export(sandbox.url, S(3, parent=1, error=True))
    assert ["error_without_exception"] * 2 == [one["kind"] for one in sandbox.violations()]
    assert [] == sandbox.shapes()


def test_every_kind_has_a_case() -> None:
    """No rule exists that nothing breaks here."""
    assert set(KINDS) == set(CASES)
    assert set() == SHAPES - set(KINDS)


def test_linked_conversation_breaks_nothing(sandbox: Sandbox) -> None:
    """A root by the runs API and children linked by attributes are one clean trace."""
    posted(sandbox, extra={"metadata": {"thread_id": "t-1", "OTEL_TRACE_ID": TRACE_ID}})
    child, grandchild = run_id(2), run_id(3)
    link = {"langsmith.trace.id": ROOT, "langsmith.trace.session_name": "calls"}
    export(
        sandbox.url,
        S(
            3,
            parent=2,
            start=7_000,
            attributes={
                **link,
                "langsmith.span.id": grandchild,
                "langsmith.span.parent_id": child,
                "langsmith.span.dotted_order": dotted(
                    (START_NS, ROOT), (START_NS + 5_000, child), (START_NS + 7_000, grandchild)
                ),
            },
        ),
        S(
            2,
            parent=1,
            start=5_000,
            attributes={
                **link,
                **LLM,
                "langsmith.span.id": child,
                "langsmith.span.parent_id": ROOT,
                "langsmith.span.dotted_order": dotted((START_NS, ROOT), (START_NS + 5_000, child)),
                "gen_ai.usage.input_tokens": 3,
                "gen_ai.usage.output_tokens": 4,
            },
        ),
    )
    parts = [
        json_part(f"patch.{ROOT}", json.dumps(patch_body(ROOT)).encode()),
        attachment_part(ROOT, wav()),
    ]
    assert send_parts(sandbox.url, *parts).status_code == 202
    assert kinds(sandbox) == []
    found = sandbox.conversations()[0]
    assert tuple(found[name] for name in ("tokens", "has_recording", "runs", "status")) == (
        7,
        True,
        3,
        "success",
    )


def test_repetition_is_no_violation(sandbox: Sandbox) -> None:
    """What a client sends again after a lost answer is refused or dropped without a word."""
    export(sandbox.url, *CHILD_OF_ROOT)
    export(sandbox.url, *CHILD_OF_ROOT)
    other = run_id(50)
    statuses = [
        send_json(sandbox.url, verb, body).status_code
        for verb, body in (("post", post_body(other)), ("patch", patch_body(other)))
        for _ in range(2)
    ]
    assert statuses == [202, 409, 202, 409]
    assert kinds(sandbox) == []


def test_float_times_of_otlp_json(sandbox: Sandbox) -> None:
    """OTLP/JSON times that are no integers are reported."""
    span = {
        "name": "a",
        "traceId": TRACE_ID,
        "spanId": "00f067aa0ba902b7",
        "startTimeUnixNano": float(START_NS),
        "endTimeUnixNano": str(START_NS + SECOND),
        "attributes": [{"key": "langsmith.metadata.thread_id", "value": {"stringValue": "t"}}],
    }
    request: Any = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    answer = requests.post(
        f"{sandbox.url}/otel/v1/traces", json=request, headers=HEADERS, timeout=10
    )
    assert (answer.status_code, kinds(sandbox)) == (200, ["float_timestamp"])
