"""Many small batches that nobody has sent become few; a kill in between loses and doubles nothing."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_realtime.langsmith import encoding
from otel_realtime.recovery import combine as module
from otel_realtime.recovery.combine import combine
from otel_realtime.state import spool
from otel_realtime.state.spool import Label, Spool


def request_of(number: int) -> bytes:
    """A request with one span."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.span_id = number.to_bytes(8, "big")
    return gzip.compress(request.SerializeToString())


def batch(folder: Path, number: int, *, project: str = "p", unsent: bool = True) -> Path:
    """A batch of one span, whose id is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:020d}-{number:06d}{spool.SUFFIX}"
    spool.write(path, Label("http://x", project, 1, 100, unsent), request_of(number))
    return path


def spans(folder: Path) -> list[list[int]]:
    """Ids of the spans, file by file."""
    return [[*encoding.span_parents(spool.read(path)[1])] for path in spool.files(folder)]


def test_they_become_one_in_their_order(tmp_path: Path) -> None:
    """Once: what was combined is not unsent any more, so its request stays as it is."""
    for number in (1, 2, 3):
        batch(tmp_path, number)
    combine(tmp_path)
    (path,) = spool.files(tmp_path)
    label, _ = spool.read(path)
    assert ([[1, 2, 3]], 3, 300, False) == (spans(tmp_path), label.spans, label.size, label.unsent)
    batch(tmp_path, 4)
    combine(tmp_path)
    assert [[1, 2, 3], [4]] == spans(tmp_path)


def test_a_request_has_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more spans than a request takes, and none of another project."""
    monkeypatch.setattr(module, "_SPANS", 2)
    for number in range(1, 6):
        batch(tmp_path, number, project="p" if number < 4 else "q")
    combine(tmp_path)
    assert [[1, 2], [3], [4, 5]] == spans(tmp_path)


def test_what_may_have_been_sent_is_left_as_it_is(tmp_path: Path) -> None:
    """A process that delivers itself may have sent its batches: their requests are not changed."""
    for number in (1, 2):
        batch(tmp_path, number, unsent=False)
    combine(tmp_path)
    assert [[1], [2]] == spans(tmp_path)


def test_killed_before_the_parts_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one deletes them, and only them."""
    for number in (1, 2):
        batch(tmp_path, number)
    with monkeypatch.context() as patch:
        patch.setattr(spool, "remove", lambda path: None)
        combine(tmp_path)
    assert 3 == len(spool.files(tmp_path))
    batch(tmp_path, 3)
    combine(tmp_path)
    assert [[1, 2], [3]] == spans(tmp_path)


def test_a_damaged_one_is_in_nobodys_way(tmp_path: Path) -> None:
    """Where one cannot be joined, all of its group are sent one by one."""
    batch(tmp_path, 1)
    spool.write(tmp_path / f"0-0{spool.SUFFIX}", Label("http://x", "p", 1, 1, True), b"no gzip")
    (tmp_path / f"9{spool.SUFFIX}").write_bytes(b"\xff")
    combine(tmp_path)
    assert 3 == len(spool.files(tmp_path))


def test_a_label_says_that_nobody_has_sent_it(tmp_path: Path) -> None:
    """Only where that is so; earlier versions know nothing of it."""
    for unsent in (True, False):
        path = Spool(tmp_path, "http://x", "p", unsent=unsent).write(b"", 1, 1)
        assert path is not None
        label, _ = spool.read(path)
        assert (unsent, unsent) == (label.unsent, "unsent" in label.to_wire())
