"""Apps that only write, and the watcher beside them that delivers: real processes, killed at will."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.sandbox import Sandbox
from otel_realtime.state import owner
from otel_realtime.state.progress import RELEASED, Progress
from tests.recovery.test_kill import check, conversation, recorded_s
from tests.recovery.test_steps import sent
from tests.support.langsmith_server import LangSmithServer, Reply
from tests.support.processes import free_ports
from tests.support.victims import Victim, environment, files_below, victims
from tests.support.waiting import wait_for
from tests.support.watchers import Watcher, watching


def worker(state: Path, url: str, **extra: str) -> dict[str, str]:
    """Variables of an app that leaves delivering to a worker."""
    return environment(state, url, OTEL_REALTIME_DELIVER="worker", **extra)


def is_whole(sandbox: Sandbox, victim: Victim) -> None:
    """A call that ended is there as if its own process had delivered it."""
    found = conversation(sandbox, victim.run)
    assert ("success", None) == (found["status"], found["root"]["error"])
    assert victim.ended_before(0) == {run["id"] for run in found["runs"]} - {victim.run}
    assert "attached" == found["root"]["metadata"]["ls_audio_attach_status"]
    assert recorded_s(sandbox, victim.run) > 0.4
    assert 4 == found["root"]["metadata"]["seat"]


def released(state: Path) -> list[Path]:
    """The conversations that a living process has handed over."""
    found = (state / owner.CONVERSATIONS).glob("*")
    return [folder for folder in found if Progress(folder).done(RELEASED)]


def test_a_living_process_hands_over_what_has_ended(sandbox: Sandbox, tmp_path: Path) -> None:
    """It delivers nothing itself; the watcher does, and only the lock of the living one is left."""
    state = tmp_path / "state"
    with victims(1, "close", worker(state, sandbox.url)) as (victim,):
        victim.wait_for("closed")
        wait_for(lambda: released(state), "the conversation to be handed over")
        assert [] == sandbox.conversations()
        with watching(state, environment(state, sandbox.url)) as (watcher,):
            watcher.wait_for(victim.run)
            assert 0 == watcher.stop()
        victim.killed_ns = time.time_ns()
        is_whole(sandbox, victim)
        assert [".lock"] == [path.suffix for path in files_below(state)]
    assert {"kind": "stopped", "delivered": 1, "spans": 12, "left": 0}.keys() == watcher.rows[
        -1
    ].keys()


def test_the_process_itself_sends_nothing(server: LangSmithServer, tmp_path: Path) -> None:
    """No request of it reaches LangSmith, from the handshake to its exit, which waits for nobody."""
    state = tmp_path / "state"
    with victims(1, "exit", worker(state, server.url)) as (victim,):
        closed = victim.wait_for("closed")
        assert 0 == victim.wait_for_exit()
        assert (time.time_ns() - closed["at"]) / 1e9 < 5
        victim.killed_ns = time.time_ns()
    assert [] == server.requests
    assert 1 == len(list((state / owner.CONVERSATIONS).iterdir()))
    with watching(state, environment(state, server.url)) as (watcher,):
        watcher.wait_for(victim.run)
        assert 0 == watcher.stop()
    runs, spans = sent(server, victim.run)
    assert {"post": 1, "patch": 1} == runs
    assert {1} == {*spans.values()}
    assert victim.ended_before(0) == spans.keys()
    # Many small batches on disk, few requests.
    assert len(server.traces()) == 1
    assert [] == files_below(state)


def test_the_app_needs_no_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """Where LangSmith is asked for, only the watcher has the key."""
    state = tmp_path / "state"
    variables = worker(state, sandbox.url)
    del variables["LANGSMITH_API_KEY"]
    with (
        watching(state, environment(state, sandbox.url)) as (watcher,),
        victims(1, "exit", variables) as (victim,),
    ):
        assert 0 == victim.wait_for_exit()
        victim.killed_ns = time.time_ns()
        watcher.wait_for(victim.run)
        is_whole(sandbox, victim)


def test_killed_in_mid_call(sandbox: Sandbox, tmp_path: Path) -> None:
    """A pod that goes at once loses nothing: the watcher ends its conversation and delivers it."""
    state = tmp_path / "state"
    with (
        watching(state, environment(state, sandbox.url)) as (watcher,),
        victims(2, "talk", worker(state, sandbox.url)) as (first, second),
    ):
        for victim in (first, second):
            victim.wait_for("step", name="answered")
        first.kill()
        watcher.wait_for(first.run)
        check(sandbox, first)
        assert None is sandbox.conversation(second.run)
        second.kill()
        watcher.wait_for(second.run)
        check(sandbox, second)
        assert 0 == watcher.stop()
    assert [] == files_below(state)


RELEASE = "otel_realtime.state.release"
STEPS = (
    "otel_realtime.conversation.engine:Engine._hand_over:before",
    "otel_realtime.delivery.finisher:Finisher._release:before",
    "otel_realtime.langsmith.spooled:Spooled.store:before",
    "otel_realtime.langsmith.spooled:Spooled.store:after",
    f"{RELEASE}:release:before",
    f"{RELEASE}:os.replace:before:.spans",
    f"{RELEASE}:os.replace:after:.spans",
    f"{RELEASE}:Progress.note:before",
    f"{RELEASE}:Progress.note:after",
    f"{RELEASE}:os.replace:before:conversations",
    f"{RELEASE}:os.replace:after:conversations",
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.removeprefix("otel_realtime."))
def test_killed_while_it_hands_over(step: str, server: LangSmithServer, tmp_path: Path) -> None:
    """One post, one end, each span once, whatever had been handed over when it died."""
    state = tmp_path / "state"
    # The clocks of the spool's files and the victim's wait for a post do not matter here.
    variables = worker(state, server.url, VICTIM_DIES=step, VICTIM_WAITS="0")
    with victims(1, "close", variables) as (victim,):
        victim.wait_for_death()
    with watching(state, environment(state, server.url)) as (watcher,):
        watcher.wait_for(victim.run)
        wait_for(lambda: not left_in(state), "an empty state directory")
        assert 0 == watcher.stop()
    runs, spans = sent(server, victim.run)
    assert {"post": 1, "patch": 1} == runs
    assert {1} == {*spans.values()}
    assert set() == victim.ended_before(0) - spans.keys()


def test_several_watchers_deliver_each_once(server: LangSmithServer, tmp_path: Path) -> None:
    """Three side by side, six calls that end in different ways: each is one's alone."""
    state = tmp_path / "state"
    with (
        watching(state, environment(state, server.url), count=3) as watchers,
        victims(3, "close", worker(state, server.url)) as ended,
        victims(3, "talk", worker(state, server.url)) as killed,
    ):
        for victim in killed:
            victim.wait_for("step", name="answered")
            victim.kill()
        for victim in ended:
            victim.wait_for("closed")
            victim.killed_ns = time.time_ns()
        everybody = [*ended, *killed]

        def told() -> list[str]:
            return sorted(run for watcher in watchers for run in watcher.delivered())

        wait_for(lambda: len(told()) >= len(everybody), "all of them", timeout_s=40)
        assert sorted(victim.run for victim in everybody) == told()
        assert [0, 0, 0] == [watcher.stop() for watcher in watchers]
        for victim in everybody:
            runs, spans = sent(server, victim.run)
            assert {"post": 1, "patch": 1} == runs
            assert {1} == {*spans.values()}


def left_in(state: Path) -> list[Path]:
    """What is not delivered; the lock of a process that left nothing else goes a minute after it."""
    return [path for path in files_below(state) if path.suffix != ".lock"]


WATCHER_STEPS = {
    "otel_realtime.recovery.combine:_write:before": None,
    "otel_realtime.state.spool:write:before:+": None,
    "otel_realtime.state.spool:write:after:+": None,
    "otel_realtime.state.spool:remove:after": None,
    "otel_realtime.langsmith.runs:RunsClient.post:after": "post",
    "otel_realtime.state.progress:Progress.note:after:posted": None,
    "otel_realtime.langsmith.runs:RunsClient.patch:before": None,
    "otel_realtime.langsmith.runs:RunsClient.patch:after": "patch",
    "otel_realtime.state.progress:Progress.note:after:root": None,
    "otel_realtime.langsmith.exporter:DirectExporter._settle:before": "spans",
    "otel_realtime.recovery.sweep:DeadProcess._delete:before": None,
}


@pytest.mark.parametrize(
    "step", WATCHER_STEPS, ids=lambda step: step.removeprefix("otel_realtime.")
)
def test_a_watcher_that_is_killed_there(step: str, server: LangSmithServer, tmp_path: Path) -> None:
    """The next one goes on; twice comes only what LangSmith took without an answer being read."""
    state = tmp_path / "state"
    with victims(1, "exit", worker(state, server.url)) as (victim,):
        victim.wait_for_exit()
        victim.killed_ns = time.time_ns()
    dying = [sys.executable, "-m", "tests.support.dying", step]
    command = [*dying, "recover", "--watch", "--state-dir", str(state), "--interval", "0.3"]
    died = subprocess.run(
        command, env=environment(state, server.url), timeout=60, capture_output=True, check=False
    )
    assert -9 == died.returncode, died.stderr
    with watching(state, environment(state, server.url)) as (watcher,):
        wait_for(lambda: not left_in(state), "an empty state directory")
        assert 0 == watcher.stop()
    twice, (runs, spans) = WATCHER_STEPS[step], sent(server, victim.run)
    assert {"post": 1 + (twice == "post"), "patch": 1 + (twice == "patch")} == runs
    assert {1, 1 + (twice == "spans")} >= {*spans.values()}
    assert victim.ended_before(0) == spans.keys()


def test_langsmith_is_away_for_a_while(tmp_path: Path, process: pytest.MonkeyPatch) -> None:
    """Everything waits on disk, a watcher that stops leaves it, and goes out when LangSmith is back."""
    (port,) = free_ports(1)
    url, state = f"http://127.0.0.1:{port}", tmp_path / "state"
    with victims(3, "close", worker(state, url)) as calls:
        for victim in calls:
            victim.wait_for("closed")
            victim.killed_ns = time.time_ns()
        with watching(state, environment(state, url), "--grace", "1") as (first,):
            time.sleep(4)
            assert [] == first.delivered()
            begun = time.monotonic()
            assert 1 == first.stop()
            assert time.monotonic() - begun < 6
            assert 3 == first.rows[-1]["left"]
        with watching(state, environment(state, url)) as (second,):
            time.sleep(2)
            with Sandbox(tmp_path / "sandbox", port=port) as sandbox:
                second.wait_for(*(victim.run for victim in calls), timeout_s=90)
                for victim in calls:
                    is_whole(sandbox, victim)
                assert 0 == second.stop()
    assert [] == left_in(state)


def test_sigterm_lets_it_deliver_what_there_is(sandbox: Sandbox, tmp_path: Path) -> None:
    """A sidecar is told to stop when the app has: what that left is delivered first."""
    state = tmp_path / "state"
    with (
        watching(state, environment(state, sandbox.url), "--interval", "60") as (watcher,),
        victims(1, "talk", worker(state, sandbox.url)) as (victim,),
    ):
        victim.wait_for("step", name="answered")
        victim.kill()
        assert 0 == watcher.stop()
    assert [victim.run] == watcher.delivered()
    check(sandbox, victim)
    assert [] == files_below(state)


def test_what_is_refused_is_left_and_said_once(server: LangSmithServer, tmp_path: Path) -> None:
    """A key that LangSmith does not take: one line, nothing deleted, and the exit code says so."""
    state = tmp_path / "state"
    server.judge = lambda request: Reply(401) if request.method == "POST" else None
    with victims(1, "exit", worker(state, server.url)) as (victim,):
        victim.wait_for_exit()
    before = {*files_below(state / owner.CONVERSATIONS)}
    with watching(state, environment(state, server.url)) as (watcher,):
        wait_for(lambda: watcher.rows, "a line")
        assert 1 == watcher.stop()
    lines = [row for row in watcher.rows if row["kind"] == "conversation"]
    assert [(victim.run, False)] == [(row["id"], row["delivered"]) for row in lines]
    assert before <= {*files_below(state / owner.CONVERSATIONS)}


def test_a_poison_file_is_named_and_in_nobodys_way(sandbox: Sandbox, tmp_path: Path) -> None:
    """Whatever lies about in the directory, the calls beside it are delivered."""
    state = tmp_path / "state"
    for name in ("conversations", "spool"):
        (state / name).mkdir(parents=True, mode=0o700)
    poison = state / "conversations" / f"{'a' * 32}-x"
    poison.mkdir()
    (poison / "journal.jsonl").write_bytes(b'["open", 0, {"format": 99, "version": "9.9"}]\n')
    (state / "spool" / ("b" * 32)).mkdir()
    (state / "spool" / ("b" * 32) / "0.spans").write_bytes(b"\x00\xff")
    (state / "conversations" / "not-a-folder").write_text("x")
    with (
        watching(state, environment(state, sandbox.url)) as (watcher,),
        victims(1, "exit", worker(state, sandbox.url)) as (victim,),
    ):
        victim.wait_for_exit()
        victim.killed_ns = time.time_ns()
        watcher.wait_for(victim.run)
        time.sleep(1.5)
        assert 1 == watcher.stop()
    is_whole(sandbox, victim)
    named = sorted(row["path"] for row in watcher.rows if row["kind"] == "unreadable")
    assert [f"conversations/{poison.name}", "conversations/not-a-folder"] == named[:2]
    assert 3 == len(named)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def _is_allowed(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    # Another user may not even find this interpreter's libraries.
    run = subprocess.run([*command, sys.executable, "-c", ""], capture_output=True)
    return run.returncode == 0


@as_root
def test_another_users_directory_is_refused(open_folder: Path) -> None:
    """One line names both users and what to do."""
    other = ("setpriv", "--reuid", "1000680000", "--regid", "0", "--clear-groups")
    if not _is_allowed(*other):
        pytest.skip("setpriv does not work here")
    state = open_folder / "state"
    (state / "conversations").mkdir(parents=True, mode=0o700)
    variables = environment(state, "http://127.0.0.1:9", HOME=str(open_folder))
    watcher = Watcher(state, variables, within=other)
    assert 2 == watcher.wait()
    assert "belongs to uid 0 and cannot be read and written" in watcher.errors
    assert "uid 1000680000" in watcher.errors


@contextmanager
def _in_pid_namespace(mode: str, variables: Mapping[str, str]) -> Iterator[Any]:
    victim = Victim(mode, variables, within=("unshare", "--pid", "--fork", "--kill-child"))
    try:
        yield victim
    finally:
        victim.kill()


@as_root
def test_pids_of_another_namespace_mean_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The app is pid 1 of a namespace of its own: alive it is left alone, dead it is delivered."""
    if not _is_allowed("unshare", "--pid", "--fork"):
        pytest.skip("no PID namespaces here")
    state = tmp_path / "state"
    with (
        watching(state, environment(state, sandbox.url)) as (watcher,),
        _in_pid_namespace("talk", worker(state, sandbox.url)) as victim,
    ):
        victim.wait_for("step", name="answered", count=2)
        time.sleep(1)
        assert [] == watcher.delivered()
        victim.kill()  # of unshare, which takes the namespace with it
        watcher.wait_for(victim.run)
        check(sandbox, victim)
