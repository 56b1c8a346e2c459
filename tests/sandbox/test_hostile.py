"""Whatever is sent, the answer is a 4xx, never a 500; nothing inflates without bound."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_realtime.sandbox import Sandbox
from otel_realtime.sandbox.bodies import IN_MEMORY
from tests.support.sandbox_client import HEADERS, S, post_body, run_id, trace_request

ROOT = run_id(1)
JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=edge"}
#: Every endpoint that takes a body, and a media type that it takes.
ENDPOINTS = (
    ("POST", "/otel/v1/traces", PROTOBUF),
    ("POST", "/otel/v1/traces", JSON),
    ("POST", "/runs/multipart", MULTIPART),
    ("POST", "/runs/batch", JSON),
    ("POST", "/runs", JSON),
    ("PATCH", f"/runs/{ROOT}", JSON),
    ("POST", "/sessions", JSON),
    ("POST", "/api/v1/otel/v1/traces", JSON),
    ("POST", "/api/v1/runs/multipart", MULTIPART),
    ("POST", "/login", JSON),
)


def part(name: str, data: bytes, **headers: str) -> bytes:
    """A multipart body of one part."""
    given_headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    lines = "".join(f"{key}: {value}\r\n" for key, value in {**given_headers, **headers}.items())
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--edge\r\n{disposition}\r\n{lines}\r\n".encode() + data + b"\r\n--edge--\r\n"


DEEP = b"[" * 100_000 + b"]" * 100_000
LESS_DEEP = b'{"a":' * 900 + b"1" + b"}" * 900
POST = f"post.{ROOT}"
BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "NUL": b"\0" * 50,
    "NUL in a string": b'{"name": "a\\u0000b"}',
    "a number": b"5",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"x"',
    "deep": DEEP,
    "less deep": LESS_DEEP,
    "lone surrogate": b'{"name": "\\ud800", "id": "\\ud800"}',
    "huge number": b'{"name": ' + b"9" * 10_000 + b"}",
    "huge float": b'{"name": 1e999, "start_time": 1e999}',
    "NaN": b'{"name": NaN}',
    "random": bytes(range(256)) * 4,
    "cut protobuf": trace_request(S())[:-5],
    "long protobuf": trace_request(S()) + b"\x0a\xff\xff\xff\xff\x7f",
    "no part": b"--edge--\r\n",
    "no header": b"--edge\r\n\r\nx\r\n--edge--\r\n",
    "no boundary": b"hello",
    "cut part": part(POST, b"{}")[:-9],
    "deep part": part(POST, DEEP),
    "less deep part": part(POST, LESS_DEEP),
    "part of rubbish": part(POST, b"\xff\0\xfe"),
    "odd charset": part(POST, b"{}", **{"Content-Type": "a/b; charset*=x'y'%ff"}),
    "odd name": part("post.\x7f\u00e9", b"{}"),
    "attachment alone": part(f"attachment.{ROOT}.x", b"RIFF"),
    "attachment of nobody": part("attachment.x.y", b""),
    "negative length": part(POST, b"{}", **{"Content-Length": "-1"}),
}


def is_refused(answer: requests.Response) -> bool:
    """Answered with a client error, or taken."""
    return answer.status_code < 500


@pytest.mark.parametrize(("method", "path", "headers"), ENDPOINTS)
@pytest.mark.parametrize("body", BODIES)
def test_no_body_is_answered_500(
    sandbox: Sandbox, method: str, path: str, headers: dict[str, str], body: str
) -> None:
    """Plain, and as gzip; what is no gzip as gzip, too."""
    url, data = sandbox.url + path, BODIES[body]
    packed = {"Content-Encoding": "gzip"}
    for sent, more in ((data, {}), (gzip.compress(data), packed), (data, packed)):
        answer = requests.request(
            method, url, data=sent, headers={**HEADERS, **headers, **more}, timeout=20
        )
        assert is_refused(answer), (answer.status_code, answer.text)
    assert isinstance(sandbox.violations(), list)


#: Fields of a run with a value of another type, which JSON allows.
ODD: tuple[Any, ...] = (
    5, -1, 10**30, 1.5, 1e308, True, "", "\ud800", "\0", [], [1], [[]], {}, {"a": {"b": None}},
    "0000-00-00T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x" * 100_000,
)  # fmt: skip
FIELDS = (
    "id", "trace_id", "parent_run_id", "dotted_order", "name", "run_type", "start_time", "end_time",
    "session_name", "address", "inputs", "outputs", "extra", "tags", "error", "events",
    "attachments", "serialized",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_no_type_of_a_field_is_answered_500(sandbox: Sandbox, field: str) -> None:
    """In a post, a patch, a batch and a multipart body; then everything can be read."""
    for odd in ODD:
        body = json.dumps(post_body(ROOT, **{field: odd}))
        batch = json.dumps({"post": [json.loads(body)], "patch": [json.loads(body)]})
        for method, path, data, headers in (
            ("POST", "/runs", body.encode(), JSON),
            ("PATCH", f"/runs/{ROOT}", body.encode(), JSON),
            ("POST", "/runs/batch", batch.encode(), JSON),
            ("POST", "/runs/multipart", part(POST, body.encode()), MULTIPART),
        ):
            answer = requests.request(
                method, sandbox.url + path, data=data, headers={**HEADERS, **headers}, timeout=20
            )
            assert is_refused(answer), (odd, path, answer.status_code, answer.text)
        _everything_can_be_read(sandbox)
        sandbox.clear()


def _everything_can_be_read(sandbox: Sandbox) -> None:
    paths = ["/api/conversations", "/api/violations", "/api/shapes", "/sessions"]
    paths += [f"/api/conversations/{found['id']}" for found in sandbox.conversations()]
    paths += [f"/runs/{found['id']}" for found in sandbox.conversations()]
    for path in paths:
        answer = requests.get(sandbox.url + path, headers=HEADERS, timeout=20)
        assert answer.status_code == 200, (path, answer.text)
        answer.json()


@pytest.mark.parametrize("post", [5, "x", {"a": 1}, [5], [[]], [None], True])
def test_a_batch_of_anything_is_refused(sandbox: Sandbox, post: Any) -> None:
    """What should be a list of runs."""
    for body in ({"post": post}, {"patch": post}):
        answer = requests.post(f"{sandbox.url}/runs/batch", json=body, headers=HEADERS, timeout=20)
        assert answer.status_code == 422


def _trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(
        ["resourceSpans", "scopeSpans", "spans", "attributes", "events", "key", "value", "scope",
         "resource", "name", "traceId", "spanId", "startTimeUnixNano", "stringValue", "intValue",
         "doubleValue", "arrayValue", "kvlistValue", "bytesValue", "values", "status", "code"]
    )  # fmt: skip
    return st.lists(leaves, max_size=3) | st.dictionaries(keys, leaves, max_size=4)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "1e999", "-1"])
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.recursive(LEAVES, _trees, max_leaves=25))
def test_no_shape_of_otlp_json_is_answered_500(sandbox: Sandbox, value: Any) -> None:
    """Any JSON with OTLP's own keys; and inside of a span that is right."""
    span = {"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "00f067aa0ba902b7"}
    wrapped = [{"scopeSpans": [{"spans": [{**span, **more}]}]} for more in _wrapped(value)]
    for body in (value, *({"resourceSpans": [one]} for one in wrapped)):
        answer = requests.post(
            f"{sandbox.url}/otel/v1/traces",
            data=json.dumps(body),
            headers={**HEADERS, **JSON},
            timeout=20,
        )
        assert is_refused(answer), (body, answer.text)
    _everything_can_be_read(sandbox)
    sandbox.clear()


def _wrapped(value: Any) -> Iterator[dict[str, Any]]:
    yield {"attributes": value}
    yield {"events": value}
    yield {"name": value, "startTimeUnixNano": value, "endTimeUnixNano": value, "status": value}
    keys = ("langsmith.usage_metadata", "langsmith.span.id", "metadata", "langsmith.attachments")
    for key in (*keys, "langsmith.trace.session_name", "gen_ai.prompt", "langsmith.metadata.x"):
        text = json.dumps(value)
        yield {"attributes": [{"key": key, "value": {"stringValue": text}}]}
        yield {"attributes": [{"key": key, "value": {"arrayValue": {"values": [value]}}}]}


@pytest.mark.parametrize(
    "query",
    ["limit=-1", "limit=x", "offset=-9", "limit=99999999999999999999999", "name=%00", "name=%ff",
     "name=", "payloads=%ff", "payloads=-1"],
)  # fmt: skip
@pytest.mark.parametrize(
    "path",
    ["/api/conversations", "/api/violations", "/sessions", "/", f"/api/conversations/{ROOT}",
     "/api/runs/%00", "/api/conversations/%ff%fe/recording", "/api/runs/" + "9" * 5000,
     "/conversations/..%2f..", "/static/..%2f..%2fapp.py", "/runs/not-a-uuid", "/o/a/projects/p/b/r/%00"],
)  # fmt: skip
def test_no_query_and_no_path_is_answered_500(sandbox: Sandbox, path: str, query: str) -> None:
    """Negative pages, absurd ids, paths that lead out."""
    for method in ("GET", "DELETE", "PUT", "HEAD"):
        answer = requests.request(
            method,
            f"{sandbox.url}{path}?{query}",
            headers=HEADERS,
            timeout=20,
            allow_redirects=False,
        )
        assert is_refused(answer), (method, answer.text)
        assert "PartReader" not in answer.text


# -- bodies that inflate ---------------------------------------------------------------------------


def bomb(size: int) -> Iterator[bytes]:
    """A gzip stream that unpacks to so many zeros."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    for _ in range(size >> 20):
        yield packer.compress(block)
    yield packer.flush()


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/otel/v1/traces", PROTOBUF), ("/runs", JSON), ("/runs/batch", JSON), ("/sessions", JSON)],
)
def test_a_bomb_is_refused(sandbox: Sandbox, path: str, headers: dict[str, str]) -> None:
    """A hundred megabytes of zeros in a hundred kilobytes."""
    data = b"".join(bomb(100 << 20))
    more = {**HEADERS, **headers, "Content-Encoding": "gzip"}
    answer = requests.post(sandbox.url + path, data=data, headers=more, timeout=60)
    assert 413 == answer.status_code


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """It is unpacked in pieces: the bound and a little more, not what one chunk inflates to."""
    data = b"".join(bomb(256 << 20))
    with Sandbox(tmp_path, max_request_bytes=1_000_000) as sandbox:
        tracemalloc.start()
        answer = requests.post(
            f"{sandbox.url}/otel/v1/traces",
            data=data,
            headers={**HEADERS, **PROTOBUF, "Content-Encoding": "gzip"},
            timeout=60,
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert 413 == answer.status_code
    assert 20_000_000 > peak


@pytest.mark.parametrize(
    "body",
    [
        lambda: part(POST, b'{"a": "' + b"x" * (IN_MEMORY + 1000) + b'"}'),
        lambda: b"--edge\r\nX: " + b"x" * (IN_MEMORY + 1000) + b"\r\n\r\n\r\n--edge--\r\n",
        lambda: b"--edge\r\nA: b\r\n\r\n\r\n" * (IN_MEMORY // 900) + b"--edge--\r\n",
    ],
    ids=["content", "a header", "many parts"],
)
def test_parts_in_memory_are_bounded(sandbox: Sandbox, body: Callable[[], bytes]) -> None:
    """An attachment goes to the disk; JSON, headers and what describes a part do not."""
    packed = gzip.compress(body(), 1)
    headers = {**HEADERS, **MULTIPART, "Content-Encoding": "gzip"}
    answer = requests.post(
        f"{sandbox.url}/runs/multipart", data=packed, headers=headers, timeout=60
    )
    assert answer.status_code in {413, 400}  # the parser bounds headers itself


def test_gzip_of_several_members_is_one_stream(sandbox: Sandbox) -> None:
    """RFC 1952; what follows the last one is no gzip, and is refused."""
    data = json.dumps(post_body(ROOT)).encode()
    members = gzip.compress(data[:50]) + gzip.compress(data[50:])
    headers = {**HEADERS, **JSON, "Content-Encoding": "gzip"}
    url = f"{sandbox.url}/runs"
    assert 202 == requests.post(url, data=members, headers=headers, timeout=20).status_code
    junk = requests.post(url, data=members + b"junk", headers=headers, timeout=20)
    assert 400 == junk.status_code
