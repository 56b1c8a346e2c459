from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.http import Http
from otel_realtime.langsmith.runs import RunsClient
from otel_realtime.langsmith.statuses import Verdict
from tests.support.langsmith_server import PROJECT, TENANT, LangSmithServer, Reply
from tests.support.rig import KEY

START = 1_793_356_200_123_456_789
SPAN_ID = 0x00F067AA0BA902B7
RUN = "00000000-0000-0000-00f0-67aa0ba902b7"
OPENING = Opening(
    trace_id=7,
    span_id=SPAN_ID,
    name="realtime_session",
    start_ns=START,
    metadata={"thread_id": "t-1", "ls_modality": "audio"},
    tags=("prod",),
)
CLOSING = Closing(
    end_ns=START + 61_000_000_000,
    inputs={"session": {"voice": "marin"}},
    outputs={"messages": [{"role": "user", "content": "hi"}]},
    metadata={"turns": 3},
    tags=("prod", "vip"),
)


@pytest.fixture
def client(config: LangSmithConfig) -> RunsClient:
    return RunsClient(config)


def wav(folder: Path, size: int = 52) -> Path:
    path = folder / "call.wav"
    path.write_bytes(bytes(number % 251 for number in range(size)))
    return path


def test_the_post_is_a_pending_root(server: LangSmithServer, client: RunsClient) -> None:
    """Three JSON parts create a run that is its own trace and has no end."""
    assert client.post(OPENING).ruling.verdict is Verdict.DONE
    [request] = server.posts()
    assert (request.method, request.path) == ("POST", "/runs/multipart")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["x-tenant-id"] == "ws-1"
    assert {part.name: part.json for part in request.parts()} == {
        f"post.{RUN}": {
            "id": RUN,
            "trace_id": RUN,
            "dotted_order": f"20261030T103000123456Z{RUN}",
            "name": "realtime_session",
            "run_type": "chain",
            "start_time": "2026-10-30T10:30:00.123456+00:00",
            "session_name": "voice",
            "tags": ["prod"],
        },
        f"post.{RUN}.inputs": {},
        f"post.{RUN}.extra": {"metadata": {"thread_id": "t-1", "ls_modality": "audio"}},
    }


def test_the_patch_can_name_the_run(server: LangSmithServer, client: RunsClient) -> None:
    """Only then it has a name."""
    client.patch(OPENING, replace(CLOSING, name="What is the weather?"), {})
    run, *_ = server.posts()[0].parts()
    assert "What is the weather?" == run.json["name"]


def test_an_agents_address_takes_the_projects_place(
    server: LangSmithServer, config: LangSmithConfig
) -> None:
    """In the post; the patch finds its run by the id."""
    address = "lrn:agents/support/environments/staging"
    client = RunsClient(replace(config, project=address))
    client.post(OPENING)
    client.patch(OPENING, CLOSING, {})
    post, patch = (request.parts()[0].json for request in server.posts())
    assert (address, False) == (post["address"], "session_name" in post)
    assert not {"address", "session_name"} & set(patch)


def test_the_patch_repeats_the_ids_and_carries_the_recording(
    server: LangSmithServer, client: RunsClient, tmp_path: Path
) -> None:
    """Run, inputs, outputs and extra come in LangSmith's order, the attachment last."""
    path = wav(tmp_path)
    client.patch(OPENING, CLOSING, {"turns": 3}, Recording(path=path))
    parts = server.posts()[0].parts()
    *json_parts, attachment = parts
    assert [(part.name, part.json) for part in json_parts] == [
        (
            f"patch.{RUN}",
            {
                "id": RUN,
                "trace_id": RUN,
                "dotted_order": f"20261030T103000123456Z{RUN}",
                "end_time": "2026-10-30T10:31:01.123456+00:00",
                "tags": ["prod", "vip"],
            },
        ),
        (f"patch.{RUN}.inputs", {"session": {"voice": "marin"}}),
        (f"patch.{RUN}.outputs", {"messages": [{"role": "user", "content": "hi"}]}),
        (f"patch.{RUN}.extra", {"metadata": {"turns": 3}}),
    ]
    assert attachment.name == f"attachment.{RUN}.conversation"
    assert attachment.headers == {
        "Content-Disposition": f'form-data; name="attachment.{RUN}.conversation"',
        "Content-Type": "audio/wav",
        "Content-Length": "52",
    }
    assert attachment.body == path.read_bytes()
    assert {part.headers["Content-Type"] for part in json_parts} == {"application/json"}


def test_an_error_is_a_part_of_its_own(server: LangSmithServer, client: RunsClient) -> None:
    """A failed conversation says so; inputs that are not known are not overwritten."""
    closing = Closing(end_ns=START + 1, error="closed with 1011")
    client.patch(OPENING, closing, {})
    parts = {part.name: part.json for part in server.posts()[0].parts()}
    assert parts[f"patch.{RUN}.error"] == "closed with 1011"
    assert f"patch.{RUN}.inputs" not in parts


def test_odd_values_never_break_a_post(server: LangSmithServer, client: RunsClient) -> None:
    """Half an emoji, NaN and an object in the app's metadata are sent as something readable."""
    opening = Opening(
        trace_id=7,
        span_id=SPAN_ID,
        name="a \ud83d",
        start_ns=START,
        metadata={"x": float("nan"), "y": 2**90, "z": {1, 2}},
    )
    client.post(opening)
    parts = {part.name: part.json for part in server.posts()[0].parts()}
    assert parts[f"post.{RUN}"]["name"] == "a \ufffd"
    assert parts[f"post.{RUN}.extra"] == {"metadata": {"x": None, "y": str(2**90), "z": [1, 2]}}


def test_each_try_sends_the_whole_file_again(
    server: LangSmithServer, client: RunsClient, tmp_path: Path
) -> None:
    """A body that was cut half-way is sent from its first byte the next time."""
    path = wav(tmp_path, 400_000)
    server.script(Reply(cut_after=150_000))
    first = client.patch(OPENING, CLOSING, {}, Recording(path=path))
    assert (first.status, first.ruling.verdict) == (None, Verdict.RETRY)
    second = client.patch(OPENING, CLOSING, {}, Recording(path=path))
    assert second.status == 202
    assert server.posts()[0].parts()[-1].body == path.read_bytes()


def test_the_file_is_streamed(server: LangSmithServer, client: RunsClient, tmp_path: Path) -> None:
    """Sending 8 MB holds a small fraction of it in memory at any time."""
    path = tmp_path / "long.wav"
    path.write_bytes(b"\x01\x02" * 4_000_000)
    client.post(OPENING)  # imports and connections
    server.script(Reply(discard=True))
    tracemalloc.start()
    answer = client.patch(OPENING, CLOSING, {}, Recording(path=path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status == 202
    assert int(server.posts()[-1].headers["content-length"]) > 8_000_000
    assert peak < 1_000_000


def test_a_missing_file_is_told_before_anything_is_sent(
    server: LangSmithServer, client: RunsClient, tmp_path: Path
) -> None:
    """The caller decides what to send instead."""
    with pytest.raises(RecordingError, match=r"gone\.wav"):
        client.patch(OPENING, CLOSING, {}, Recording(path=tmp_path / "gone.wav"))
    assert server.requests == []


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(
    server: LangSmithServer, client: RunsClient, tmp_path: Path
) -> None:
    """A body shorter than promised is not sent as if it were whole."""
    path = wav(tmp_path, 300_000)

    class Shrinking(Http):
        def post(self, url, headers, body):  # type: ignore[no-untyped-def]
            path.write_bytes(b"short")
            return super().post(url, headers, body)

    config = LangSmithConfig(api_url=server.url, api_key="k")
    with pytest.raises(RecordingError, match="shorter"):
        RunsClient(config, Shrinking()).patch(OPENING, CLOSING, {}, Recording(path=path))


def test_an_address_that_is_none_is_final() -> None:
    """Without a scheme there is nothing to retry, and the answer says what to check."""
    answer = RunsClient(LangSmithConfig(api_url="api.example", api_key="k")).post(OPENING)
    assert answer.ruling.verdict is Verdict.DROP
    assert "LANGSMITH_ENDPOINT" in str(answer)


def test_a_malformed_key_is_final_and_not_shown(server: LangSmithServer) -> None:
    """The HTTP client's message would quote the key; ours does not."""
    config = LangSmithConfig(api_url=server.url, api_key="secret\nkey")
    answer = RunsClient(config).post(OPENING)
    assert answer.ruling.verdict is Verdict.DROP
    assert "secret" not in str(answer)


def test_the_projects_ids_are_looked_up(server: LangSmithServer, client: RunsClient) -> None:
    """One GET by name tells tenant and project; anything odd is none."""
    assert client.find_project("voice") == (TENANT, PROJECT)
    assert server.requests[0].path == "/sessions?name=voice&limit=1"
    for body in ("[]", "{}", "no json", '[{"name": "other", "id": "1", "tenant_id": "2"}]'):
        server.judge = lambda _, body=body: Reply(200, body)  # type: ignore[misc]
        assert client.find_project("voice") is None
    server.judge = lambda _: Reply(404)
    assert client.find_project("voice") is None
