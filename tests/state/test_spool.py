"""Spans stand on disk from a second after their end until LangSmith has them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.exporter import DirectExporter
from otel_realtime.langsmith.span_queue import SpanQueue
from otel_realtime.state import owner, spool
from otel_realtime.state.spool import Spool
from tests.support.langsmith_server import LangSmithServer, Reply
from tests.support.rig import KEY, QUICK, Rig
from tests.support.waiting import wait_for


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def stored(state: Path) -> list[Path]:
    """The batches of this process on disk."""
    return spool.files(state / spool.SPOOL / owner.instance_id())


@pytest.fixture
def exporter(config: LangSmithConfig, rig: Rig, state: Path) -> Iterator[DirectExporter]:
    made = DirectExporter(
        config, spool=Spool(state, config.api_url, config.project), backoff=QUICK, linger_s=0.02
    )
    rig.outlet = made
    yield made
    made.shutdown(0)


def test_what_langsmith_has_is_not_on_disk(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig, state: Path
) -> None:
    """A batch goes when it is accepted, or was received before."""
    root = rig.root()
    for status in (200, 409):
        server.script(status)
        rig.child(rig.ours, "a", root).end()
        assert exporter.flush(5) is True
        assert [] == stored(state)
    exporter.shutdown(1)
    assert [] == list((state / spool.SPOOL).iterdir())


def test_a_stalled_server_does_not_keep_spans_from_the_disk(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig, state: Path
) -> None:
    """While one request hangs, later spans are written down."""
    held = threading.Event()
    server.script(Reply(200, hold=held))
    root = rig.root()
    rig.child(rig.ours, "first", root).end()
    server.wait(lambda: bool(server.traces()))
    rig.child(rig.ours, "second", root).end()
    wait_for(lambda: len(stored(state)) == 2, "second batch", timeout_s=5)
    held.set()
    assert exporter.flush(5) is True
    assert ["first", "second"] == [span.name for span in server.spans()]
    assert [] == stored(state)


def test_nobody_else_can_read_it_and_it_holds_no_key(
    server: LangSmithServer, exporter: DirectExporter, rig: Rig, state: Path
) -> None:
    """Folders are 0700, files 0600; the label names LangSmith and project, never the key."""
    server.judge = lambda _: Reply(503)
    rig.child(rig.ours, "a", rig.root()).end()
    wait_for(lambda: stored(state), "batch on disk")
    [path] = stored(state)
    modes = [oct(p.stat().st_mode & 0o777) for p in (state, path.parent.parent, path.parent, path)]
    assert ["0o700", "0o700", "0o700", "0o600"] == modes
    label, body = spool.read(path)
    assert (server.url, "voice", 1) == (label.api_url, label.project, label.spans)
    assert 1 == len(encoding.span_parents(body))
    assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("status", "kept"), [(401, 1), (403, 1), (404, 1), (307, 1), (400, 0), (422, 0)]
)
def test_what_somebody_can_mend_stays(
    server: LangSmithServer,
    exporter: DirectExporter,
    rig: Rig,
    state: Path,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kept: int,
) -> None:
    """With the wrong key or address spans wait on disk for recovery; what is invalid goes."""
    server.judge = lambda _: Reply(status)
    rig.child(rig.ours, "a", rig.root()).end()
    assert exporter.flush(5) is False
    assert kept == len(stored(state))
    assert bool(kept) == ("otel-realtime recover" in caplog.text)


def on_disk(queue: SpanQueue, spans: int) -> bool:
    """Whether so many spans were encoded by now."""
    return queue._dequeued == spans and queue._encoding_from is None


def test_beyond_the_memory_bound_spans_are_on_disk_only(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig, state: Path
) -> None:
    """An outage of any length fills the disk, not the memory, and nothing is lost."""
    queue = SpanQueue(max_bytes=200_000)
    exporter = DirectExporter(
        config,
        queue=queue,
        spool=Spool(state, config.api_url, config.project),
        backoff=QUICK,
        linger_s=0.01,
    )
    rig.outlet = exporter
    server.judge = lambda r: Reply(503) if r.is_traces else None
    root = rig.root()
    for number in range(20):
        text = os.urandom(30_000).hex()
        rig.child(rig.ours, f"{number}", root, attributes={"gen_ai.prompt": text}).end()
        wait_for(partial(on_disk, queue, number + 1), "span on disk", every_s=0.002)
    assert queue._held_bytes <= 100_000
    assert sum(path.stat().st_size for path in stored(state)) > 600_000
    server.judge = lambda _: None
    assert exporter.flush(10) is True
    assert exporter.lost == 0
    last_try = [s.name for r in server.traces()[-20:] for s in r.spans()]
    assert {str(n) for n in range(20)} == set(last_try) | {s.name for s in server.spans()}
    assert [] == stored(state)
    exporter.shutdown(0)


def test_batches_that_were_never_tried_go_together(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig, state: Path
) -> None:
    """Half a second of spans is a file, two seconds of files are a request."""
    exporter = DirectExporter(
        config, spool=Spool(state, config.api_url, config.project), backoff=QUICK, linger_s=60
    )
    rig.outlet = exporter
    root = rig.root()
    for number in range(3):
        rig.child(rig.ours, f"{number}", root).end()
        wait_for(lambda many=number + 1: len(stored(state)) == many, "batch on disk")
    assert [] == server.traces()
    assert exporter.flush(5) is True
    [request] = server.traces()
    assert ["0", "1", "2"] == [span.name for span in request.spans()]
    assert [] == stored(state)
    exporter.shutdown(0)


def test_a_disk_that_takes_nothing_costs_nothing(
    config: LangSmithConfig,
    server: LangSmithServer,
    rig: Rig,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Spans wait in memory then, and one line says so."""
    (tmp_path / "file").write_text("no folder")
    nowhere = Spool(tmp_path / "file" / "state", config.api_url, config.project)
    exporter = DirectExporter(config, spool=nowhere, backoff=QUICK, linger_s=0.01)
    rig.outlet = exporter
    root = rig.root()
    for _ in range(2):
        rig.child(rig.ours, "a", root).end()
        assert exporter.flush(5) is True
    assert 2 == len(server.spans())
    assert 1 == caplog.text.count("cannot be kept on disk")
    exporter.shutdown(0)


def test_a_file_that_is_gone_is_a_counted_loss(
    config: LangSmithConfig, server: LangSmithServer, rig: Rig, state: Path
) -> None:
    """Whoever empties the state directory loses those spans, and flush says so."""
    exporter = DirectExporter(
        config,
        queue=SpanQueue(max_bytes=4_000),
        spool=Spool(state, config.api_url, config.project),
        linger_s=60,
    )
    rig.outlet = exporter
    root = rig.root()
    rig.child(rig.ours, "gone", root, attributes={"gen_ai.prompt": os.urandom(1_500).hex()}).end()
    wait_for(lambda: stored(state), "batch on disk")
    stored(state)[0].unlink()
    rig.child(rig.ours, "there", root).end()
    assert exporter.flush(5) is False
    assert (1, ["there"]) == (exporter.lost, [span.name for span in server.spans()])
    exporter.shutdown(0)
