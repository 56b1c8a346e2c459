"""What can be read back: conversations, recordings in ranges, the page, links, deletion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from otel_realtime.sandbox import Sandbox
from tests.support.sandbox_client import (
    HEADERS,
    SECOND,
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
SOUND = wav(bytes(range(200)) * 4)


def deliver(sandbox: Sandbox) -> None:
    send_json(sandbox.url, "post", post_body(ROOT))
    export(sandbox.url, S(2, parent=1, start=5, attributes={"gen_ai.prompt": '{"a": 1}'}))
    patch = json_part(f"patch.{ROOT}", json.dumps(patch_body(ROOT)).encode())
    send_parts(sandbox.url, patch, attachment_part(ROOT, SOUND))


def get(sandbox: Sandbox, path: str, **options: Any) -> requests.Response:
    return requests.get(sandbox.url + path, timeout=10, **options)


def test_held_until_the_parent_comes(sandbox: Sandbox) -> None:
    """Descendants that come first are orphans, and are shown once the root is there."""
    export(sandbox.url, S(3, parent=2, start=6), S(2, parent=1, start=5))
    assert sandbox.conversations() == []
    assert {(run_id(2), "orphan"), (run_id(3), "orphan")} == {
        (found["run_id"], found["kind"]) for found in sandbox.violations()
    }
    assert get(sandbox, f"/runs/{run_id(2)}", headers=HEADERS).status_code == 404
    send_json(sandbox.url, "post", post_body(ROOT))
    conversation = sandbox.conversation(ROOT)
    assert conversation is not None
    assert [(ROOT, None), (run_id(2), ROOT), (run_id(3), run_id(2))] == [
        (run["id"], run["parent_id"]) for run in conversation["runs"]
    ]
    assert {ROOT} == {run["trace_id"] for run in conversation["runs"]}
    assert sandbox.violations() == []


def test_orphan_counts_for_its_conversation(sandbox: Sandbox) -> None:
    """An orphan of the same OpenTelemetry trace is a violation of that conversation."""
    export(sandbox.url, S(), S(3, parent=9))
    assert [found["violations"] for found in sandbox.conversations()] == [1]


def test_read_api_over_http(sandbox: Sandbox) -> None:
    """The list, a conversation with and without payloads, and a run are JSON over HTTP."""
    deliver(sandbox)
    listed = get(sandbox, "/api/conversations").json()["conversations"]
    assert sandbox.conversations() == listed
    assert {
        "id": ROOT,
        "thread_id": "t-1",
        "name": "realtime_session",
        "project": "calls",
        "duration_s": 1.0,
        "status": "success",
        "has_recording": True,
        "violations": 0,
    }.items() <= listed[0].items()
    whole = get(sandbox, f"/api/conversations/{ROOT}").json()
    assert sandbox.conversation(ROOT) == whole
    assert [run["delivered_by"] for run in whole["runs"]] == ["runs_api", "otlp"]
    assert whole["runs"][1]["inputs"] == {"a": 1}
    slim = get(sandbox, f"/api/conversations/{ROOT}?payloads=false").json()
    assert "inputs" not in slim["runs"][1]
    assert whole["runs"][1] == get(sandbox, f"/api/runs/{run_id(2)}").json()
    assert get(sandbox, f"/api/conversations/{run_id(2)}").status_code == 404
    assert get(sandbox, "/api/violations").json() == {"violations": []}


def test_run_in_langsmith_shape(sandbox: Sandbox) -> None:
    """GET /runs/{id} answers as LangSmith does, with a path that leads to the page."""
    deliver(sandbox)
    run = get(sandbox, f"/runs/{run_id(2)}", headers=HEADERS).json()
    assert (run["trace_id"], run["parent_run_id"]) == (ROOT, ROOT)
    project = get(sandbox, "/sessions?name=calls", headers=HEADERS).json()[0]
    assert project["id"] == run["session_id"]
    linked = get(sandbox, run["app_path"] + "?poll=true", allow_redirects=False)
    assert f"/conversations/{ROOT}#{run_id(2)}" == linked.headers["location"]


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        (None, 200, SOUND),
        ("bytes=0-43", 206, SOUND[:44]),
        ("bytes=100-", 206, SOUND[100:]),
        ("bytes=-10", 206, SOUND[-10:]),
        ("bytes=99999-", 416, None),
    ],
)
def test_recording_in_ranges(
    asked: str | None, status: int, expected: bytes | None, sandbox: Sandbox
) -> None:
    """A player gets exactly the bytes it asks for, as audio/wav."""
    deliver(sandbox)
    headers = {"Range": asked} if asked else {}
    answer = get(sandbox, f"/api/conversations/{ROOT}/recording", headers=headers)
    assert status == answer.status_code
    if expected is not None:
        assert (expected, "audio/wav") == (answer.content, answer.headers["content-type"])


def test_delete_forgets_everything(sandbox: Sandbox) -> None:
    """DELETE removes runs, findings and files, and says how many conversations there were."""
    deliver(sandbox)
    file = sandbox.recording(ROOT)
    assert file is not None
    answer = requests.delete(f"{sandbox.url}/api/conversations", timeout=10)
    assert answer.json() == {"deleted": 1}
    assert (sandbox.conversations(), sandbox.violations(), file.exists()) == ([], [], False)


def test_page_is_served_with_what_it_needs(sandbox: Sandbox) -> None:
    """The page, its script and its style come from the package and load nothing else."""
    for path in ("/", f"/conversations/{ROOT}"):
        answer = get(sandbox, path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        for name in ("page.js", "page.css", "icon.svg"):
            assert f"/static/{name}" in answer.text
            assert get(sandbox, f"/static/{name}").status_code == 200


def test_data_outlives_the_server(tmp_path: Path) -> None:
    """A sandbox on the same folder shows what an earlier one took in."""
    with Sandbox(tmp_path) as first:
        deliver(first)
        before = first.conversation(ROOT)
    with Sandbox(tmp_path) as second:
        assert before == second.conversation(ROOT)
        recording = second.recording(ROOT)
        assert recording is not None
        assert recording.read_bytes() == SOUND


def test_values_that_json_or_text_cannot_hold(sandbox: Sandbox) -> None:
    """Lone surrogates and numbers that are not finite are kept readable."""
    send_json(sandbox.url, "post", post_body(ROOT, name="\udc00", inputs={"x": "\ud83d"}))
    export(sandbox.url, S(2, parent=1, start=5, attributes={"x": float("inf")}))
    whole = get(sandbox, f"/api/conversations/{ROOT}").json()
    assert whole["name"] == "?"
    assert whole["runs"][1]["attributes"]["x"] == "inf"


def test_pending_run_has_no_end(sandbox: Sandbox) -> None:
    """A posted root is visible at once, pending, and lasts until it is patched."""
    send_json(sandbox.url, "post", post_body(ROOT))
    found = sandbox.conversations()[0]
    assert (found["status"], found["duration_s"]) == ("pending", None)
    send_json(sandbox.url, "patch", patch_body(ROOT, error="ConnectionClosed: 1006"))
    found = sandbox.conversations()[0]
    assert (found["status"], found["duration_s"]) == ("error", SECOND / 1e9)
