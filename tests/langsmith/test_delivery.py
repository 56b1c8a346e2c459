from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.delivery.model import Closing, Opening, Recording
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.delivery import Deliveries
from otel_realtime.langsmith.ids import run_id
from otel_realtime.langsmith.statuses import Backoff
from tests.langsmith.test_runs import CLOSING, OPENING, RUN, wav
from tests.support.langsmith_server import PROJECT, TENANT, LangSmithServer, Reply, Request
from tests.support.rig import QUICK


@pytest.fixture
def deliveries(config: LangSmithConfig) -> Iterator[Deliveries]:
    made = Deliveries(config, backoff=QUICK)
    yield made
    made.shutdown(0)


class Done:
    """An on_done callback that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[bool, str]] = []

    def __call__(self, delivered: bool, attach_status: str) -> None:
        self.calls.append((delivered, attach_status))


def is_patch(request: Request) -> bool:
    return b'name="patch.' in request.body


def has_file(request: Request) -> bool:
    return b'name="attachment.' in request.body


def metadata(request: Request) -> dict[str, Any]:
    extras = [p.json for p in request.parts() if p.name.endswith(".extra")]
    found: dict[str, Any] = extras[0]["metadata"]
    return found


def another(number: int) -> Opening:
    return replace(OPENING, span_id=number)


def test_the_end_can_take_back_what_was_posted(
    server: LangSmithServer, deliveries: Deliveries
) -> None:
    """A key whose value at the end is None is not in the run any more."""
    opening = replace(OPENING, metadata={**OPENING.metadata, "assumed": "audio"})
    root = deliveries.open(opening)
    root.finish(replace(CLOSING, metadata={**CLOSING.metadata, "assumed": None}))
    assert deliveries.flush(5) is True
    post, patch = (metadata(request) for request in server.posts())
    assert ("audio", False) == (post["assumed"], "assumed" in patch)


def test_a_run_is_visible_at_once_and_ends_once(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """The post goes when the call opens; one patch with everything, at its end."""
    root = deliveries.open(OPENING)
    assert deliveries.flush(5) is True
    assert root.status == "accepted"
    done = Done()
    path = wav(tmp_path)
    found = Recording(path=path, metadata={"ls_audio_recording_started_at": 1.5})
    root.finish(CLOSING, lambda: found, on_done=done)
    root.finish(CLOSING, lambda: found, on_done=done)
    assert deliveries.flush(5) is True
    post, patch = server.posts()
    assert (is_patch(post), is_patch(patch)) == (False, True)
    assert metadata(patch) == {
        "thread_id": "t-1",
        "ls_modality": "audio",
        "turns": 3,
        "ls_audio_recording_started_at": 1.5,
        "ls_audio_attach_status": "attached",
    }
    assert patch.parts()[-1].body == path.read_bytes()
    assert done.calls == [(True, "attached")]


def test_the_url_is_known_after_the_first_post(
    server: LangSmithServer, deliveries: Deliveries
) -> None:
    """The project is looked up once, however many conversations there are."""
    roots = [deliveries.open(another(number)) for number in (1, 2, 3)]
    server.wait(lambda: all(root.url is not None for root in roots))
    assert roots[0].url == f"{server.url}/o/{TENANT}/projects/p/{PROJECT}/r/{run_id(1)}?poll=true"
    assert sum(r.path.startswith("/sessions") for r in server.requests) == 1


def test_the_patch_waits_for_the_post(server: LangSmithServer, deliveries: Deliveries) -> None:
    """A call that ends while the post is still failing is patched after the post got through."""
    server.script(503, Reply(cut_after=10), 500)
    root = deliveries.open(OPENING)
    root.finish(CLOSING)
    assert deliveries.flush(5) is True
    assert [is_patch(r) for r in server.posts()] == [False, False, False, True]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_both_are_retried(server: LangSmithServer, deliveries: Deliveries, status: int) -> None:
    """What may pass is tried again, for the post and for the patch."""
    server.script(status, 202, status)
    deliveries.open(OPENING).finish(CLOSING)
    assert deliveries.flush(5) is True
    assert [is_patch(r) for r in server.posts() if r] == [False, False, True, True]


def test_a_run_langsmith_has_already_is_accepted(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """409 on post and patch means delivered."""
    server.script(409)
    root = deliveries.open(OPENING)
    assert deliveries.flush(5) is True
    assert root.status == "accepted"
    server.judge = lambda r: Reply(409) if is_patch(r) else None
    done = Done()
    root.finish(CLOSING, lambda: Recording(path=wav(tmp_path)), on_done=done)
    assert deliveries.flush(5) is True
    assert done.calls == [(True, "attached")]


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_final_and_says_what_to_fix(
    server: LangSmithServer, deliveries: Deliveries, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """The post is refused once, the end is not sent, the log names the variables, once."""
    server.judge = lambda _: Reply(status, '{"error": "bad key"}')
    done = Done()
    first = deliveries.open(OPENING)
    first.finish(CLOSING, lambda: pytest.fail("nothing is rendered"), on_done=done)
    second = deliveries.open(another(2))
    assert deliveries.flush(5) is False
    assert (first.status, second.status) == ("refused", "refused")
    assert "LANGSMITH_API_KEY" in first.refusal
    assert "bad key" in first.refusal
    assert first.url is None
    assert done.calls == [(False, "no_credentials")]
    assert len(server.posts()) == 2
    assert caplog.text.count("LANGSMITH_WORKSPACE_ID") == 1
    assert deliveries.flush(5) is True, "a loss is reported once"


@pytest.mark.parametrize("status", [302, 400, 404, 422])
def test_other_refusals_of_the_post_are_final(
    server: LangSmithServer, deliveries: Deliveries, status: int
) -> None:
    """A refused post is not repeated and its end tells the caller."""
    server.script(status)
    root, done = deliveries.open(OPENING), Done()
    assert deliveries.flush(5) is False
    root.finish(CLOSING, on_done=done)
    assert deliveries.flush(5) is False
    assert done.calls == [(False, "failed")]
    assert len(server.posts()) == 1


def test_a_recording_too_large_for_the_server_is_left_out(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """413 makes the patch go without it, so the run does not stay pending."""
    server.judge = lambda r: Reply(413) if has_file(r) else None
    done = Done()
    root = deliveries.open(OPENING)
    root.finish(CLOSING, lambda: Recording(path=wav(tmp_path)), on_done=done)
    assert deliveries.flush(5) is True
    refused, patch = server.posts()[1:]
    assert (has_file(refused), has_file(patch)) == (True, False)
    assert metadata(patch)["ls_audio_attach_status"] == "too_large"
    assert done.calls == [(True, "too_large")]


def test_the_next_smaller_recording_is_tried_on_413(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """A smaller file of the same recording takes the place of one that was too large."""
    small = tmp_path / "call.flac"
    small.write_bytes(b"fLaC")
    server.judge = lambda r: Reply(413) if b"audio/wav" in r.body else None
    flac = Recording(path=small, mime="audio/flac")
    root = deliveries.open(OPENING)
    root.finish(CLOSING, lambda: Recording(path=wav(tmp_path), smaller=lambda: flac))
    assert deliveries.flush(5) is True
    last = server.posts()[-1].parts()[-1]
    assert (last.headers["Content-Type"], last.body) == ("audio/flac", b"fLaC")
    assert metadata(server.posts()[-1])["ls_audio_attach_status"] == "attached"


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_that_may_be_the_files_is_tried_without_it(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path, status: int
) -> None:
    """The run's end is worth one more request."""
    server.judge = lambda r: Reply(status) if has_file(r) else None
    done = Done()
    root = deliveries.open(OPENING)
    root.finish(CLOSING, lambda: Recording(path=wav(tmp_path)), on_done=done)
    assert deliveries.flush(5) is True
    assert done.calls == [(True, "failed")]


def test_a_key_revoked_during_the_call(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """The patch is not repeated, and the caller keeps the recording."""
    server.judge = lambda r: Reply(401) if is_patch(r) else None
    done = Done()
    deliveries.open(OPENING).finish(CLOSING, lambda: Recording(path=wav(tmp_path)), on_done=done)
    assert deliveries.flush(5) is False
    assert done.calls == [(False, "no_credentials")]
    assert len(server.posts()) == 2


def broken() -> Recording:
    raise RuntimeError("no audio")


@pytest.mark.parametrize(
    ("render", "expected"),
    [
        (None, "none"),
        (lambda: None, "none"),
        (lambda: Recording(status="disabled"), "disabled"),
        (lambda: Recording(path=Path("/nowhere/call.wav")), "failed"),
        (broken, "failed"),
    ],
)
def test_without_a_recording_the_patch_says_why(
    server: LangSmithServer, deliveries: Deliveries, render: Any, expected: str
) -> None:
    """Whatever is wrong with the recording, the run gets its end."""
    done = Done()
    deliveries.open(OPENING).finish(CLOSING, render, on_done=done)
    assert deliveries.flush(5) is True
    assert metadata(server.posts()[-1])["ls_audio_attach_status"] == expected
    assert done.calls == [(True, expected)]


def test_a_file_above_the_limit_is_not_sent(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """The limit of the setting holds before anything goes over the wire."""
    path = wav(tmp_path, 5_000)
    deliveries.open(OPENING).finish(CLOSING, lambda: Recording(path=path), max_attachment_mb=0.004)
    assert deliveries.flush(5) is True
    [patch] = [r for r in server.posts() if is_patch(r)]
    assert (has_file(patch), metadata(patch)["ls_audio_attach_status"]) == (False, "too_large")


def test_an_upload_that_breaks_off_is_sent_whole_again(
    server: LangSmithServer, deliveries: Deliveries, tmp_path: Path
) -> None:
    """The recording is rendered once and sent from its start on each try."""
    path, rendered = wav(tmp_path, 300_000), []

    def render() -> Recording:
        rendered.append(path)
        return Recording(path=path)

    server.script(202, Reply(cut_after=100_000))
    deliveries.open(OPENING).finish(CLOSING, render)
    assert deliveries.flush(5) is True
    assert server.posts()[-1].parts()[-1].body == path.read_bytes()
    assert len(rendered) == 1


def test_uploads_hold_up_no_post(server: LangSmithServer, deliveries: Deliveries) -> None:
    """While every upload thread is busy a new call still becomes visible."""
    gate = threading.Event()
    for number in (1, 2, 3):
        deliveries.open(another(number)).finish(CLOSING, lambda: gate.wait(10) and None)
    new = deliveries.open(another(4))
    server.wait(lambda: new.status == "accepted")
    assert not any(is_patch(r) for r in server.posts())
    gate.set()
    assert deliveries.flush(5) is True


def test_flush_is_bounded_and_honest(config: LangSmithConfig, server: LangSmithServer) -> None:
    """With the server down flush is False in time, and True once it is back."""
    deliveries = Deliveries(config, backoff=Backoff(first_s=30, ceiling_s=30))
    server.judge = lambda _: Reply(503)
    root = deliveries.open(OPENING)
    root.finish(CLOSING)
    assert deliveries.flush(0.3) is False
    assert root.status == "pending"
    server.judge = lambda _: None
    assert deliveries.flush(5) is True
    assert root.status == "accepted"
    assert deliveries.shutdown(1) is True


def test_the_servers_wish_to_wait_is_kept(config: LangSmithConfig, server: LangSmithServer) -> None:
    """A flush hurries our own backoff, never a Retry-After."""
    deliveries = Deliveries(config, backoff=QUICK)
    server.script(Reply(429, headers={"Retry-After": "30"}))
    deliveries.open(OPENING)
    assert deliveries.flush(0.2) is False
    assert deliveries.flush(0.1) is False
    assert len(server.posts()) == 1
    assert deliveries.shutdown(0) is False


def test_after_shutdown_nothing_is_taken(server: LangSmithServer, deliveries: Deliveries) -> None:
    """A run opened too late is refused at once and flush says so."""
    open_before = deliveries.open(OPENING)
    assert deliveries.shutdown(5) is True
    late = deliveries.open(another(2))
    assert late.status == "refused"
    open_before.finish(CLOSING)
    assert deliveries.flush(1) is False
    assert len(server.posts()) == 1


def test_a_faulty_callback_holds_up_nothing(
    server: LangSmithServer, deliveries: Deliveries
) -> None:
    """What on_done raises is logged, and the delivery counts as what it was."""

    def fail(delivered: bool, attach_status: str) -> None:
        raise RuntimeError("callback")

    deliveries.open(OPENING).finish(CLOSING, on_done=fail)
    assert deliveries.flush(5) is True


def test_a_forked_child_delivers_only_its_own(
    config: LangSmithConfig, server: LangSmithServer
) -> None:
    """The reset drops what the parent has in hand."""
    deliveries = Deliveries(config, backoff=Backoff(first_s=30, ceiling_s=30))
    server.script(503)
    deliveries.open(OPENING)
    server.wait(lambda: len(server.posts()) == 1)
    deliveries.reset_after_fork()
    assert deliveries.flush(0) is True
    deliveries.open(another(2)).finish(Closing(end_ns=OPENING.start_ns + 5))
    assert deliveries.flush(5) is True
    assert [RUN.encode() in r.body for r in server.posts()] == [True, False, False]
    deliveries.shutdown(0)


def test_importing_stays_light() -> None:
    """Neither an HTTP client nor the OTLP encoder is loaded before something is delivered."""
    import subprocess
    import sys

    code = (
        "import sys, otel_realtime.langsmith.delivery, otel_realtime.langsmith.exporter\n"
        "heavy = {'requests', 'urllib3', 'opentelemetry.exporter', 'google.protobuf', 'langsmith'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
