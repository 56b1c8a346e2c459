"""``state_max_mb`` while calls go on and recordings are rendered: kept, said, counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime import Settings, diagnostics
from tests.faults.test_limits import settle
from tests.support.fault_server import HELLO
from tests.support.traces import Traces, facts

MB = 1_000_000
START_NS = 1_700_000_000 * 10**9
SECOND_NS = 10**9
#: A second of a voice, 48 kB.
SECOND = b"\x10\x20" * 24_000


def used(state: Path) -> int:
    """Bytes in a state directory."""
    return sum(path.lstat().st_size for path in state.rglob("*") if path.is_file())


@pytest.fixture
def bounded(process: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the bound in MB."""
    return lambda mb: process.setenv("OTEL_REALTIME_STATE_MAX_MB", str(mb))


def talk(traces: Traces, seconds: int, state: Path | None = None, **given: Any) -> list[int]:
    """Hold a call; return what was used after each ten seconds of it."""
    found = []
    block = otel_realtime.conversation(tracer_provider=traces.provider, settings=Settings(**given))
    with block as call:
        call.received(HELLO, at_ns=START_NS)
        for second in range(1, seconds + 1):
            call.record_user_audio(SECOND, rate=24_000, at_ns=START_NS + second * SECOND_NS)
            if state is not None and second % 10 == 0:
                settle()
                found.append(used(state))
        call.received({"type": "response.created"}, at_ns=START_NS + seconds * SECOND_NS)
    return found


def test_a_live_call_stays_within_the_bound(
    traces: Traces,
    tmp_path: Path,
    bounded: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its sound ends there; call and journal go on, the root says it, and it is counted."""
    bounded(3)
    found = talk(traces, 100, tmp_path / "state", on_recording=lambda path, info: None)
    assert max(found) <= 3 * MB
    assert max(found) > MB
    otel_realtime.flush(20)
    assert used(tmp_path / "state") <= 3 * MB
    assert "state_max_mb is used up" in facts(traces.root)["otel_realtime.recording_error"]
    assert 1 == len([line for line in caplog.messages if "state_max_mb is used up, also" in line])
    assert diagnostics.lost()[diagnostics.AUDIO] >= 1
    assert {"session.created", "response.created"} <= {span.name for span in traces.spans}


def test_a_recording_that_would_exceed_the_bound_is_not_rendered(
    traces: Traces,
    tmp_path: Path,
    bounded: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its sound stays on disk, which is said; a call after it has its recording."""
    bounded(5)
    recorded: list[float] = []
    hook = {"on_recording": lambda path, info: recorded.append(info["duration_s"])}
    talk(traces, 60, **hook)
    most = 0
    while not otel_realtime.flush(0.01) and not caplog.messages:
        most = max(most, used(tmp_path / "state"))
    otel_realtime.flush(10)
    assert max(most, used(tmp_path / "state")) <= 5 * MB
    assert [] == recorded
    (said,) = [line for line in caplog.messages if "delivered without its recording" in line]
    assert "state_max_mb is used up" in said
    assert 1 == diagnostics.lost()[diagnostics.AUDIO]
    assert used(tmp_path / "state") > 2.5 * MB
    talk(traces, 5, **hook)
    assert otel_realtime.flush(10)
    assert [5.0] == [round(seconds) for seconds in recorded]


def test_older_undelivered_data_makes_room(
    traces: Traces,
    tmp_path: Path,
    bounded: Callable[[float], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The oldest first, and counted."""
    bounded(8)

    def refuse(path: Path, info: dict[str, Any]) -> None:
        raise ValueError

    logging.getLogger("otel_realtime.delivery.keeper").setLevel(logging.CRITICAL)
    try:
        for _ in range(3):  # each leaves some 2.9 MB
            talk(traces, 20, on_recording=refuse)
            assert not otel_realtime.flush(10)
            time.sleep(0.02)
    finally:
        logging.getLogger("otel_realtime.delivery.keeper").setLevel(logging.NOTSET)
    assert used(tmp_path / "state") <= 8 * MB
    recorded: list[float] = []
    talk(traces, 30, on_recording=lambda path, info: recorded.append(info["duration_s"]))
    assert otel_realtime.flush(10)
    assert [30.0] == [round(seconds) for seconds in recorded]
    assert diagnostics.lost()[diagnostics.CONVERSATION] >= 1
    assert "the oldest, were deleted" in caplog.text
    assert diagnostics.AUDIO not in diagnostics.lost()


def test_two_state_directories_have_bounds_of_their_own(
    traces: Traces, tmp_path: Path, bounded: Callable[[float], None]
) -> None:
    """What fills one takes nothing from the other."""
    bounded(3)
    recorded: list[Path] = []
    for name, seconds in (("a", 100), ("b", 10)):
        talk(
            traces,
            seconds,
            state_dir=tmp_path / name,
            on_recording=lambda path, info: recorded.append(path),
        )
        otel_realtime.flush(10)
    assert MB < used(tmp_path / "a") <= 3 * MB
    (path,) = recorded
    assert (tmp_path / "b") in path.parents
    assert used(tmp_path / "b") < 100_000
