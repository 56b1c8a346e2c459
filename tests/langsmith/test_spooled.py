"""A process that leaves its deliveries to a worker: what is on disk, and what is handed over."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime import Settings, diagnostics
from otel_realtime.conversation import engine
from otel_realtime.langsmith import encoding
from otel_realtime.langsmith.config import LangSmithConfig
from otel_realtime.langsmith.spooled import Spooled
from otel_realtime.process.process import PROCESS
from otel_realtime.recovery.sweep import instances, recover
from otel_realtime.sandbox import Sandbox
from otel_realtime.state import owner, spool
from otel_realtime.state.spool import Spool
from tests.recovery.conftest import one_turn
from tests.support.rig import Rig
from tests.support.traces import Traces


@pytest.fixture
def state(process: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The state directory of a process that only writes."""
    process.setenv("OTEL_REALTIME_DELIVER", "worker")
    return tmp_path / "state"


def mine(state: Path) -> list[Path]:
    """This process's batches on disk."""
    return spool.files(state / owner.SPOOL / owner.instance_id())


def deliver(state: Path) -> list[dict[str, Any]]:
    """Do a worker's work once."""
    report = recover(Settings(state_dir=state), timeout_s=20)
    assert report.complete
    return report.conversations


def test_flush_answers_when_all_is_on_disk(sandbox: Sandbox, state: Path, traces: Traces) -> None:
    """Spans of a call that goes on; of one that has ended everything, and it is nobody's any more."""
    call = one_turn(traces)
    assert True is otel_realtime.flush(10)
    assert mine(state)
    assert [] == instances(state)
    call.close()
    assert True is otel_realtime.flush(10)
    assert [] == mine(state)
    assert 1 == len(instances(state))
    assert None is call.langsmith_url
    assert [] == sandbox.conversations()
    (row,) = deliver(state)
    assert (call.langsmith_run_id, True) == (row["id"], row["delivered"])
    found = sandbox.conversation(str(row["id"]))
    assert found is not None
    assert ([], "success") == (found["violations"], found["status"])


def test_the_run_is_what_the_process_itself_would_have_sent(
    sandbox: Sandbox, process: pytest.MonkeyPatch, state: Path, traces: Traces
) -> None:
    """Inputs, outputs, metadata and spans, but for ids, times and what depends on them."""
    found = []
    for mode in ("process", "worker"):
        process.setenv("OTEL_REALTIME_DELIVER", mode)
        call = one_turn(traces, thread_id="t", metadata={"seat": 4}, tags=["a"])
        call.close()
        assert otel_realtime.flush(20)
        if mode == "worker":
            deliver(state)
        one = sandbox.conversation(str(call.langsmith_run_id))
        assert one is not None
        found.append(one)
    theirs, ours = (
        (
            one["root"]["name"],
            one["root"]["metadata"].keys(),
            json.dumps(one["root"]["inputs"]).replace("\n", ""),
            [message["role"] for message in one["root"]["outputs"]["messages"]],
            sorted(run["name"] for run in one["runs"]),
        )
        for one in found
    )
    assert theirs == ours


def test_a_span_of_the_app_that_outlives_its_call(
    sandbox: Sandbox, state: Path, traces: Traces
) -> None:
    """It comes when it ends, once, as the app made it: nobody takes it for dead."""
    call = one_turn(traces)
    tracer = traces.provider.get_tracer("app")
    with call.tool("call_1", name="look"):
        late = tracer.start_span("late")
    call.close()
    assert otel_realtime.flush(10)
    deliver(state)
    late.set_attribute("answer", 42)
    late.end()
    assert otel_realtime.flush(10)
    assert [] == mine(state)
    deliver(state)
    found = sandbox.conversation(str(call.langsmith_run_id))
    assert found is not None
    (run,) = [run for run in found["runs"] if run["name"] == "late"]
    assert ([], None) == (found["violations"], run["error"])


def test_the_apps_own_function_gets_the_recording_first(
    sandbox: Sandbox, state: Path, traces: Traces
) -> None:
    """It is called in this process, which is the only one that has it; the worker attaches it then."""
    heard: list[tuple[float, Any]] = []

    def on_recording(path: Path, info: dict[str, Any]) -> None:
        with wave.open(str(path)) as file:
            heard.append((file.getnframes() / file.getframerate(), info["thread_id"]))

    call = one_turn(traces, thread_id="t", settings=Settings(on_recording=on_recording))
    call.close()
    assert otel_realtime.flush(10)
    ((seconds, thread),) = heard
    assert (True, "t") == (seconds > 0.2, thread)
    deliver(state)
    assert sandbox.recording(str(call.langsmith_run_id)) is not None


def test_the_worker_keeps_recordings_where_both_are_told_to(
    sandbox: Sandbox, process: pytest.MonkeyPatch, state: Path, traces: Traces, tmp_path: Path
) -> None:
    """This process writes nothing but its state."""
    process.setenv("OTEL_REALTIME_RECORDINGS_DIR", str(tmp_path / "kept"))
    call = one_turn(traces)
    call.close()
    assert otel_realtime.flush(10)
    assert not (tmp_path / "kept").exists()
    deliver(state)
    assert [".json", ".wav"] == sorted(path.suffix for path in (tmp_path / "kept").iterdir())


def test_what_cannot_be_moved_is_said_and_stays(
    sandbox: Sandbox, process: pytest.MonkeyPatch, state: Path, traces: Traces
) -> None:
    """``flush`` answers no, and the worker delivers it when this process has ended."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    process.setattr(engine, "release", refuse)
    call = one_turn(traces)
    call.close()
    assert False is otel_realtime.flush(10)
    assert [] == instances(state)
    assert 1 == len(list((state / owner.CONVERSATIONS).iterdir()))


def test_nothing_is_recovered_by_the_app(
    sandbox: Sandbox, process: pytest.MonkeyPatch, state: Path
) -> None:
    """What dead processes left is the worker's, too."""
    scheduled: list[object] = []
    process.setattr(
        PROCESS.recoveries._chores, "submit", lambda *job, **when: scheduled.append(job)
    )
    PROCESS.recoveries.schedule(Settings())
    assert [] == scheduled


# -- the writer of spans -----------------------------------------------------------------------------


@pytest.fixture
def spooled(config: LangSmithConfig, rig: Rig, tmp_path: Path) -> Spooled:
    """The backend, without a conversation."""
    made = Spooled(Spool(tmp_path / "state", config.address, config.project, unsent=True))
    rig.outlet = made
    return made


def names_in(path: Path) -> int:
    """How many spans a file holds."""
    return len(encoding.span_parents(spool.read(path)[1]))


def test_each_conversation_has_files_of_its_own(spooled: Spooled, rig: Rig, tmp_path: Path) -> None:
    """So that one which ends can be given up without the others."""
    for count in (2, 3):
        root = rig.root()
        for number in range(count):
            rig.child(rig.ours, f"{number}", root).end()
    assert spooled.flush(5)
    assert [2, 3] == [names_in(path) for path in mine(tmp_path / "state")]
    assert all(spool.read(path)[0].unsent for path in mine(tmp_path / "state"))
    assert [3] == [names_in(path) for path in spooled.batches_of(rig.trace)]
    assert [] == spooled.batches_of(rig.trace)
    assert spooled.stop(5)


def test_spans_that_the_disk_does_not_take_are_lost_and_said(
    spooled: Spooled, rig: Rig, tmp_path: Path
) -> None:
    """Once: the next ``flush`` is about the next ones."""
    (tmp_path / "state").write_text("not a folder")
    rig.child(rig.ours, "a", rig.root()).end()
    assert not spooled.flush(5)
    assert spooled.flush(5)
    assert 1 == diagnostics.lost()[diagnostics.SPAN]
    assert spooled.stop(5)


def test_after_the_stop_nothing_is_taken(spooled: Spooled, rig: Rig) -> None:
    """A span that ends then is lost, and counted."""
    child = rig.child(rig.ours, "a", rig.root())
    assert spooled.stop(1)
    child.end()
    assert 1 == diagnostics.lost()[diagnostics.SPAN]


def test_a_root_is_never_accepted_here(spooled: Spooled) -> None:
    """It is pending until the worker has sent it."""
    told: list[tuple[bool, str]] = []
    opening: Any = None
    closing: Any = None
    root = spooled.open(opening)
    done: Callable[[bool, str], None] = lambda ok, status: told.append((ok, status))  # noqa: E731
    root.finish(closing, on_done=done)
    assert ("pending", None, [(False, "none")]) == (root.status, root.url, told)
