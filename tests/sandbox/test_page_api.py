"""What the page reads of the sandbox: calls built from runs, spans without payloads, links."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.page_api import link_templates, links_of
from tests.support.sandbox_client import (
    SECOND,
    TRACE_ID,
    S,
    attachment_part,
    export,
    json_part,
    patch_body,
    post_body,
    run_id,
    send_json,
    send_parts,
    wav,
)

ROOT = run_id(1)


def get(sandbox: Sandbox, path: str, **parameters: Any) -> requests.Response:
    return requests.get(sandbox.url + path, params=parameters, timeout=10)


def test_a_call_is_built_of_what_was_delivered(sandbox: Sandbox) -> None:
    """Live at first; with what came since at each look."""
    send_json(sandbox.url, "post", post_body(ROOT))
    first = get(sandbox, f"/api/calls/{ROOT}").json()["call"]
    assert (first["live"], first["thread_id"], first["recording"]) == (True, "t-1", None)
    export(
        sandbox.url,
        S(
            2,
            parent=1,
            start=5,
            error=True,
            events=(("exception", 7, {"exception.message": "gone"}),),
        ),
    )
    patch = json_part(f"patch.{ROOT}", __import__("json").dumps(patch_body(ROOT)).encode())
    send_parts(sandbox.url, patch, attachment_part(ROOT, wav(bytes(4 * 2400))))
    last = get(sandbox, f"/api/calls/{ROOT}").json()["call"]
    assert (last["live"], last["duration_ms"], last["trace_id"]) == (False, 1000, TRACE_ID)
    assert last["recording"]["mime"] == "audio/wav"
    assert get(sandbox, "/api/calls").json()["total"] == 1


def test_a_foreign_trace_is_listed_too(sandbox: Sandbox) -> None:
    """Of which little is known but its name and time."""
    export(sandbox.url, S(1, name="GET /"))
    (found,) = get(sandbox, "/api/calls").json()["calls"]
    assert (found["name"], found["duration_ms"], found["turns"]) == ("GET /", 1000, None)


def test_spans_come_without_payloads(sandbox: Sandbox) -> None:
    """In order, as offsets; a search looks into the payloads."""
    export(
        sandbox.url,
        S(),
        S(3, parent=1, start=SECOND // 2, attributes={"x": 'say "hi" 100%'}),
        S(2, parent=1, start=5),
    )
    spans = get(sandbox, f"/api/calls/{ROOT}/spans").json()["spans"]
    assert [(ROOT, None, 0.0), (run_id(2), ROOT, 0.0), (run_id(3), ROOT, 500.0)] == [
        (span["id"], span["parent"], round(span["start_ms"], 3)) for span in spans
    ]
    assert {"id", "parent", "span_id", "name", "kind", "start_ms", "end_ms", "error"} == spans[
        0
    ].keys()
    for text, expected in [
        ('"hi"', [run_id(3)]),
        ("100%", [run_id(3)]),
        ("1_0", []),
        ("session", [ROOT, run_id(2), run_id(3)]),
    ]:
        assert sorted(expected) == sorted(
            get(sandbox, f"/api/calls/{ROOT}/spans/search", q=text).json()["ids"]
        )


def test_a_cleared_sandbox_has_no_calls(sandbox: Sandbox) -> None:
    """Neither in its index."""
    export(sandbox.url, S())
    assert get(sandbox, "/api/calls").json()["total"] == 1
    sandbox.clear()
    assert get(sandbox, "/api/calls").json()["total"] == 0
    assert get(sandbox, f"/api/calls/{ROOT}").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["peaks", "peaks?level=99", "peaks?level=x&start=-5&count=-9", "recording", "clip.wav", "clip.wav?start_ms=5&end_ms=1e999"],
)  # fmt: skip
def test_what_a_call_has_not_is_404(path: str, sandbox: Sandbox) -> None:
    """No recording, no level, no stretch."""
    export(sandbox.url, S())
    assert get(sandbox, f"/api/calls/{ROOT}/{path}").status_code == 404
    assert get(sandbox, f"/api/calls/nobody/{path}").status_code == 404


CALL = {"id": "r-1", "trace_id": "abc", "thread_id": "a b/c", "project": None}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("https://smith/r/{run_id}", "https://smith/r/r-1"),
        ("http://jaeger/trace/{trace_id}", "http://jaeger/trace/abc"),
        ("https://x/{thread_id}?again={thread_id}", "https://x/a%20b%2Fc?again=a%20b%2Fc"),
        ("https://x/{project}", None),
        ("https://x/{other}", "https://x/{other}"),
    ],
)
def test_links_lead_to_the_same_call(template: str, expected: str | None) -> None:
    """A template with a place for what is not known gives none."""
    links = [link["href"] for link in links_of(CALL, {"Name": template})]
    assert ([] if expected is None else [expected]) == links


def test_links_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Split by semicolons; an option goes first; a script is no link."""
    monkeypatch.setenv(
        "OTEL_REALTIME_LINKS", "A=https://a/{run_id};B=javascript:alert(1);;C=http://c/?x=1"
    )
    assert {"A": "https://other", "C": "http://c/?x=1"} == link_templates({"A": "https://other"})
