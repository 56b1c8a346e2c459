"""One conversation whose finishing takes for ever holds up neither the finishing of others nor delivery."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.delivery import finisher as finishing
from otel_realtime.delivery import keeper as keeping
from otel_realtime.delivery.finisher import Finisher
from otel_realtime.process.process import PROCESS
from otel_realtime.recording import render as rendering
from tests.faults.test_destinations import Talk, ended
from tests.support.hostile_http import accept, hostile
from tests.support.traces import Traces
from tests.support.waiting import wait_for

#: Others are held up for so many seconds instead of some more.
PATIENCE_S = 0.3


@pytest.fixture
def talk(traces: Traces, process: pytest.MonkeyPatch) -> Talk:
    """Holds calls in a process that has little patience."""
    process.setattr(finishing, "PATIENCE_S", PATIENCE_S)
    process.setattr(keeping, "CALL_PATIENCE_S", PATIENCE_S)
    process.setattr(keeping, "COPY_PATIENCE_S", PATIENCE_S)
    process.setattr(PROCESS, "_finisher", Finisher())
    return Talk(traces, process)


@pytest.mark.parametrize("stuck", ["on_recording", "render", "bucket"])
def test_what_is_stuck_holds_up_no_other_call(
    talk: Talk, stuck: str, process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their recordings reach LangSmith, the app's function and its folder meanwhile; then it ends."""
    go_on, told = threading.Event(), []
    first = threading.Lock()

    def wait_once() -> None:
        if first.acquire(blocking=False):
            go_on.wait(30)

    def function(path: Path, info: dict[str, Any]) -> None:
        if stuck == "on_recording":
            wait_once()
        told.append(info["langsmith_run_id"])

    render, keep = rendering.render, keeping.keep

    def slow_render(*given: Any, **named: Any) -> Any:
        wait_once()
        return render(*given, **named)

    def slow_keep(*given: Any) -> Any:
        wait_once()
        return keep(*given)

    if stuck == "render":
        process.setattr(rendering, "render", slow_render)
    elif stuck == "bucket":
        process.setattr(keeping, "keep", slow_keep)
    settings = {"on_recording": function, "recordings_dir": str(tmp_path / "kept")}
    with hostile(lambda _: accept) as server:
        try:
            mine = talk.call(server, **settings)
            wait_for(first.locked, "the one that is stuck", every_s=0.005)
            started = time.monotonic()
            others = [talk.call(server, **settings) for _ in range(5)]
            for run in others:
                wait_for(ended(server, run), "the delivery of the others")
            wait_for(lambda: sorted(told) == sorted(others), "the app's function for the others")
            assert time.monotonic() - started < 5
            assert ended(server, mine)() is (stuck != "render")
            assert not otel_realtime.flush(0.1)
        finally:
            go_on.set()
        assert otel_realtime.flush(20)
        assert ended(server, mine)()
        assert mine in told
        assert 6 == len(list((tmp_path / "kept").glob("*.wav")))
        wait_for(lambda: not list(tmp_path.glob("state/conversations/*")), "end of the folders")
