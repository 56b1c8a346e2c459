"""The runs API: keys, forms of delivery, refusals that leave nothing behind, large files."""

from __future__ import annotations

import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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


@pytest.mark.parametrize("headers", [{}, {"x-langsmith-api-key": "k"}, {"x-api-key": ""}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/otel/v1/traces"),
        ("POST", "/runs/multipart"),
        ("POST", "/runs"),
        ("PATCH", f"/runs/{ROOT}"),
        ("GET", f"/api/v1/runs/{ROOT}"),
        ("GET", "/sessions"),
    ],
)
def test_key_is_needed(method: str, path: str, headers: dict[str, str], sandbox: Sandbox) -> None:
    """Without x-api-key the answer is 401, whatever other header has the key."""
    answer = requests.request(method, sandbox.url + path, headers=headers, timeout=10)
    assert answer.status_code == 401


def test_info_offers_multipart_and_no_compression(sandbox: Sandbox) -> None:
    """GET /info needs no key and keeps clients from zstd."""
    info = requests.get(f"{sandbox.url}/info", timeout=10).json()
    assert True is info["batch_ingest_config"]["use_multipart_endpoint"]
    assert False is info["instance_flags"]["zstd_compression_enabled"]


def test_separate_parts_and_length_in_content_type(sandbox: Sandbox) -> None:
    """Fields may come as parts, lengths as a parameter, and post and patch in one request."""
    extra = json.dumps({"metadata": {"thread_id": "t-1"}}).encode()
    body = {k: v for k, v in post_body(ROOT).items() if k not in ("inputs", "extra")}
    sound = wav()
    answer = send_parts(
        sandbox.url,
        json_part(f"post.{ROOT}", json.dumps(body).encode()),
        json_part(f"post.{ROOT}.inputs", b'{"session": {}}'),
        json_part(f"post.{ROOT}.extra", extra),
        json_part(f"patch.{ROOT}", json.dumps(patch_body(ROOT)).encode()),
        json_part(f"patch.{ROOT}.error", b'"closed"'),
        (
            f"attachment.{ROOT}.conversation",
            sound,
            {"Content-Type": f"audio/wav; length={len(sound)}"},
        ),
    )
    conversation = sandbox.conversation(ROOT)
    assert conversation is not None
    root = conversation["root"]
    assert (answer.status_code, root["inputs"], root["error"]) == (202, {"session": {}}, "closed")
    assert [{"name": "conversation", "mime": "audio/wav", "size": len(sound)}] == root[
        "attachments"
    ]
    assert sandbox.violations() == []


def test_batch_and_gzip(sandbox: Sandbox) -> None:
    """POST /runs/batch takes posts and patches; any request may be zipped."""
    body = {"post": [post_body(ROOT)], "patch": [patch_body(ROOT)]}
    answer = requests.post(
        f"{sandbox.url}/api/v1/runs/batch",
        data=gzip.compress(json.dumps(body).encode()),
        headers={**HEADERS, "Content-Encoding": "gzip"},
        timeout=10,
    )
    assert answer.status_code == 202
    assert [found["status"] for found in sandbox.conversations()] == ["success"]


@pytest.mark.parametrize(
    "parts",
    [
        [json_part("post.no-uuid", b"{}")],
        [json_part(f"delete.{ROOT}", b"{}")],
        [json_part(f"post.{ROOT}.notes", b"{}")],
        [json_part(f"post.{ROOT}", b"[]")],
        [json_part(f"post.{ROOT}", json.dumps(post_body(run_id(2))).encode())],
        [json_part(f"patch.{ROOT}", b'{"id": "' + ROOT.encode() + b'"}')],
        [(f"post.{ROOT}", b"{}", {"Content-Type": "application/json"})],
        [json_part(f"post.{ROOT}", b"{}", **{"Content-Length": "3"})],
        [json_part(f"post.{ROOT}", json.dumps(post_body(ROOT, start_time="noon")).encode())],
    ],
)
def test_malformed_part_refuses_the_whole_request(
    parts: list[tuple[str, bytes, dict[str, str]]], sandbox: Sandbox
) -> None:
    """One bad part is answered 422, is reported, and nothing of the request is stored."""
    good = json_part(f"post.{run_id(7)}", json.dumps(post_body(run_id(7))).encode())
    answer = send_parts(sandbox.url, good, *parts)
    assert (answer.status_code, len(sandbox.violations())) == (422, 1)
    assert sandbox.conversations() == []


def test_cut_body_leaves_nothing(tmp_path: Path) -> None:
    """A multipart body without its end, or of a client that went, leaves no run and no file."""
    with Sandbox(tmp_path) as sandbox:
        post = json_part(f"post.{ROOT}", json.dumps(post_body(ROOT)).encode())
        answer = send_parts(sandbox.url, post, attachment_part(ROOT, wav()), cut=20)
        assert answer.status_code == 400
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as gone:
            gone.sendall(
                b"POST /runs/multipart HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nContent-Length: 999\r\n"
                b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n--edge\r\n"
                b'Content-Disposition: form-data; name="attachment.'
                + ROOT.encode()
                + b'.conversation"\r\nContent-Type: audio/wav\r\nContent-Length: 9\r\n\r\nRIFF'
            )
        assert sandbox.conversations() == []
    assert [*(tmp_path / "incoming").iterdir(), *(tmp_path / "files").iterdir()] == []


def test_too_large(tmp_path: Path) -> None:
    """Above the configured size the answer is 413, zipped or not, and nothing is kept."""
    with Sandbox(tmp_path, max_request_bytes=10_000) as sandbox:
        post = json_part(f"post.{ROOT}", json.dumps(post_body(ROOT)).encode())
        large = attachment_part(ROOT, wav(bytes(20_000)))
        assert send_parts(sandbox.url, post, large).status_code == 413
        zipped = requests.post(
            f"{sandbox.url}/runs",
            data=gzip.compress(bytes(20_000)),
            headers={**HEADERS, "Content-Encoding": "gzip"},
            timeout=10,
        )
        assert zipped.status_code == 413
        assert send_parts(sandbox.url, post).status_code == 202


def test_projects(sandbox: Sandbox) -> None:
    """A project is found by name, created once, and again only with upsert."""

    def create(query: str) -> int:
        url = f"{sandbox.url}/sessions{query}"
        return requests.post(url, json={"name": "new"}, headers=HEADERS, timeout=10).status_code

    assert [create(""), create(""), create("?upsert=true")] == [200, 409, 200]
    found = requests.get(f"{sandbox.url}/sessions?name=new", headers=HEADERS, timeout=10).json()
    assert [project["name"] for project in found] == ["new"]
    assert {"id", "tenant_id", "name"} <= set(found[0])


def test_many_conversations_at_once(tmp_path: Path) -> None:
    """Twenty conversations from eight threads are each whole, children before roots or after."""

    def converse(number: int) -> None:
        root = number * 1000
        identity = run_id(root)
        children = [S(root + n, parent=root, start=n * 1000) for n in range(1, 31)]
        export(sandbox.url, *children[:15])
        send_json(sandbox.url, "post", post_body(identity))
        export(sandbox.url, *children[15:])
        send_json(sandbox.url, "patch", patch_body(identity))

    with Sandbox(tmp_path) as sandbox:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(converse, range(1, 21)))
        assert [(found["runs"], found["status"]) for found in sandbox.conversations()] == [
            (31, "success")
        ] * 20
        assert sandbox.violations() == []


def test_long_conversation(tmp_path: Path) -> None:
    """Seven thousand spans that wait for their root are all shown when it comes."""
    with Sandbox(tmp_path) as sandbox:
        for first in range(2, 7002, 500):
            export(
                sandbox.url, *(S(n, parent=1, start=n * 1000) for n in range(first, first + 500))
            )
        export(sandbox.url, S(end=10 * SECOND))
        conversation = sandbox.conversation(ROOT)
        assert conversation is not None
        assert (len(conversation["runs"]), sandbox.violations()) == (7001, [])
