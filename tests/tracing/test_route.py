"""The seam between a trace and a backend: what holds without one, and where spans go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.settings import Settings
from otel_realtime.tracing.members import Membership
from otel_realtime.tracing.route import Route, is_wanted, may_record
from tests.support.folder_backend import FolderBackend

ROOT: dict[str, Any] = {
    "root_span_id": 7,
    "trace_id": 8,
    "start_ns": 10**18,
    "thread_id": "t",
    "leg": "none",
}


def test_without_a_backend_nothing_goes_anywhere() -> None:
    """Nothing is hidden, nothing is noted, and the root is the app's exporters'."""
    route = Route()
    membership = route.join(**ROOT)
    assert ("none", ContentPolicy(), False, None) == (
        route.leg,
        route.policy,
        route.delivers_root,
        route.outlet(None),
    )
    assert (Membership, {}) == (type(membership), route.note(membership))
    assert membership.delivered_mark is None


@pytest.mark.parametrize(("leg", "direct"), [("direct", True), ("collector", False)])
def test_spans_go_to_the_backend_on_the_direct_leg(tmp_path: Path, leg: str, direct: bool) -> None:
    """On another leg they are the app's exporters' alone."""
    backend = FolderBackend(tmp_path)
    route = Route(leg=leg, connect=lambda: backend)
    assert (True, backend if direct else None) == (route.delivers_root, route.outlet(backend))


def test_a_backend_need_not_take_spans() -> None:
    """It may be there for root runs and recordings only."""

    class Roots:
        pass

    assert Route(leg="direct").outlet(Roots()) is None  # type: ignore[arg-type]


def test_sound_is_recorded_only_if_it_may_be_and_has_somewhere_to_go() -> None:
    """Policy and setting both allow it; a folder, a callback or a backend takes it."""
    assert may_record(Settings(), ContentPolicy())
    assert not may_record(Settings(record_audio=False), ContentPolicy())
    assert not may_record(Settings(), ContentPolicy(audio=False))
    assert not is_wanted(Settings(), delivers_root=False)
    assert is_wanted(Settings(), delivers_root=True)
    assert is_wanted(Settings(recordings_dir="kept"), delivers_root=False)
    assert is_wanted(Settings(on_recording=lambda path, info: None), delivers_root=False)
