"""Processes are killed in mid-call; recovery finishes what they left, once."""

from __future__ import annotations

import json
import random
import time
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_realtime import cli
from otel_realtime.sandbox import Sandbox
from tests.support.isolation import sandboxed
from tests.support.realtime_server import Peer, ReplayServer
from tests.support.talking import chunks, tone
from tests.support.traces import samples, stretches
from tests.support.victims import SECOND, Victim, environment, files_below, victims
from tests.support.waiting import wait_for


def recover(state: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Run the command; returns its exit code and its report."""
    code = cli.main(["recover", "--state-dir", str(state), "--json", "--timeout", "30"])
    return code, json.loads(capsys.readouterr().out)


def nothing() -> dict[str, Any]:
    """The report of a recovery that found nothing to do."""
    return {
        "delivered": 0,
        "left": 0,
        "spans_delivered": 0,
        "spans_left": 0,
        "spans_lost": 0,
        "conversations": [],
        "unreadable": [],
    }


def conversation(sandbox: Sandbox, run_id: str) -> dict[str, Any]:
    """A conversation as it arrived, by the contract."""
    found = sandbox.conversation(run_id)
    assert found is not None, "the conversation has not arrived"
    assert [] == found["violations"]
    return found


def recorded_s(sandbox: Sandbox, run_id: str) -> float:
    """Seconds up to the last sound on the user's side of the recording."""
    path = sandbox.recording(run_id)
    assert path is not None, "no recording"
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        return float(np.flatnonzero(samples[:, 0])[-1] / file.getframerate())


def check(sandbox: Sandbox, victim: Victim) -> None:
    """All but the last second of a killed process arrived, once, and says what happened."""
    found = conversation(sandbox, victim.run)
    assert "error" == found["status"]
    assert "the process died while the conversation was open" == found["root"]["error"]
    runs = {run["id"] for run in found["runs"]}
    assert set() == victim.ended_before(1.0) - runs
    sounds = victim.of("sound")
    if sounds:
        heard_s = (sounds[-1]["at"] - victim.of("opened")[0]["at"]) / SECOND
        assert recorded_s(sandbox, victim.run) >= heard_s - 1.0


def test_killed_at_random_moments(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight processes die in mid-call: each leaves one failed root, its spans and its sound."""
    kill_at_random(8, 4.0, sandbox, tmp_path / "victims", capsys)


@pytest.mark.soak
def test_killed_at_fifty_random_moments(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same fifty times."""
    for batch in range(10):
        kill_at_random(5, 12.0, sandbox, tmp_path / f"victims{batch}", capsys)


def kill_at_random(
    count: int,
    longest_s: float,
    sandbox: Sandbox,
    state: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Kill processes at random moments, recover twice, and look at what arrived."""
    chance = random.Random(len(str(state)) + count)
    with victims(count, "talk", environment(state, sandbox.url)) as started:
        for victim in started:
            victim.wait_for("opened")
        moments = sorted(chance.uniform(0.05, longest_s) for _ in started)
        begun = time.monotonic()
        for victim, moment in zip(started, moments, strict=True):
            time.sleep(max(begun + moment - time.monotonic(), 0))
            victim.kill()
    code, report = recover(state, capsys)
    assert (0, count, 0) == (code, report["delivered"], report["left"])
    for victim in started:
        check(sandbox, victim)
    assert (0, nothing()) == recover(state, capsys)
    assert [] == files_below(state)


def test_what_was_open_ends_with_the_ids_it_had(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool that ran when the process died is there, under its event, with an error."""
    state = tmp_path / "victims"
    with victims(1, "talk", environment(state, sandbox.url)) as (victim,):
        victim.wait_for("step", name="tool", count=2)
        time.sleep(0.7)  # the journal is written twice a second
        victim.kill()
    assert 0 == recover(state, capsys)[0]
    runs = {run["id"]: run for run in conversation(sandbox, victim.run)["runs"]}
    tools = sorted(
        (r for r in runs.values() if r["run_type"] == "tool"), key=lambda r: r["start_ns"]
    )
    assert ["execute_tool look"] * 2 == [run["name"] for run in tools]
    assert [False, True] == ["the process died" in (run["error"] or "") for run in tools]
    assert "response.done" == runs[tools[1]["parent_id"]]["name"]
    models = [run for run in runs.values() if run["name"] == "chat gpt-realtime"]
    # The call that asked for the second tool ended within the last, unflushed second.
    assert len(models) in {2, 3}


def test_a_call_that_was_over_is_only_delivered(
    tmp_path: Path,
    process: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """LangSmith was away and the process died after the close: everything arrives, without error."""
    state = tmp_path / "victims"
    with victims(1, "close", environment(state, "http://127.0.0.1:9")) as (victim,):
        victim.wait_for("closed")
        time.sleep(1.5)
        victim.kill()
    rename_destination(state, "http://127.0.0.1:9", "{url}")
    with sandboxed(tmp_path, process) as sandbox:
        rename_destination(state, "{url}", sandbox.url)
        assert 0 == recover(state, capsys)[0]
        found = conversation(sandbox, victim.run)
        assert ("success", None) == (found["status"], found["root"]["error"])
        assert victim.ended_before(0) == {run["id"] for run in found["runs"]} - {victim.run}
        assert recorded_s(sandbox, victim.run) > 0.4
        assert "attached" == found["root"]["metadata"]["ls_audio_attach_status"]
        assert 4 == found["root"]["metadata"]["seat"]
    assert [] == files_below(state)


def rename_destination(state: Path, old: str, new: str) -> None:
    """Let what stands on disk be meant for another LangSmith: the dead one has another port."""
    for path in files_below(state):
        if path.suffix in (".jsonl", ".spans"):
            path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))


def test_nothing_is_left_out_without_a_key(
    sandbox: Sandbox,
    process: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Recovery without a key, or with that of another LangSmith, says so and keeps everything."""
    state = tmp_path / "victims"
    with victims(1, "talk", environment(state, sandbox.url)) as (victim,):
        victim.wait_for("step", name="answered", count=3)
        victim.kill()
    before = {path: path.stat().st_size for path in files_below(state)}
    process.delenv("LANGSMITH_API_KEY")
    code, report = recover(state, capsys)
    assert (1, 1, "set LANGSMITH_API_KEY") == (
        code,
        report["left"],
        report["conversations"][0]["what"],
    )
    process.setenv("LANGSMITH_API_KEY", "lsv2_pt_test")
    process.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    assert 1 == recover(state, capsys)[0]
    assert before.items() <= {p: p.stat().st_size for p in files_below(state)}.items()
    process.setenv("LANGSMITH_ENDPOINT", sandbox.url)
    assert 0 == recover(state, capsys)[0]
    check(sandbox, victim)


def test_killed_between_two_sockets(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The conversation ended when, and how, its latest socket closed; the gap before is there, too."""
    state, seconds = tmp_path / "victims", 0

    def lose(peer: Peer) -> None:
        nonlocal seconds
        seconds += 1
        response = {"id": f"resp_{seconds}"}
        item = {"id": f"item_{seconds}", "type": "message", "role": "assistant"}
        ids = {"response_id": response["id"], "item_id": item["id"]}
        peer.send(
            {"type": "session.created", "session": {"id": f"sess_{seconds}", "model": "m"}},
            {"type": "response.created", "response": response},
            {"type": "response.output_item.added", "item": item, **ids},
            *(
                {"type": "response.output_audio.delta", "content_index": 0, "delta": audio, **ids}
                for audio in chunks(tone(3_000))
            ),
        )
        if seconds == 1:
            peer.send({"type": "response.done", "response": {**response, "status": "completed"}})
        time.sleep(0.3)
        peer.close(1011, "restarting")

    with ReplayServer(lose) as server:
        variables = environment(state, sandbox.url, VICTIM_URL=f"{server.url}/realtime?model=m")
        with victims(1, "gap", variables) as (victim,):
            lost = [victim.wait_for("lost", count=count)["at"] for count in (1, 2)]
            time.sleep(0.5)
            victim.kill()
    assert 0 == recover(state, capsys)[0]
    found = conversation(sandbox, victim.run)
    assert "the server closed with code 1011: restarting" == found["root"]["error"]
    assert lost[1] == pytest.approx(found["root"]["end_ns"], abs=0.1 * SECOND)
    metadata = found["root"]["metadata"]
    assert (1, 1) == (metadata["reconnects"], metadata["reconnects_after_websocket_1011"])
    runs = sorted(found["runs"], key=lambda run: run["start_ns"])
    (gap,) = [run for run in runs if run["name"] == "reconnect"]
    assert lost[0] == pytest.approx(gap["start_ns"], abs=0.1 * SECOND)
    assert 1011 == gap["metadata"]["close_code"]
    models = [run for run in runs if run["name"] == "chat m"]
    assert [None, "the connection closed before response.done"] == [run["error"] for run in models]
    assert models[1]["end_ns"] // 1_000 <= found["root"]["end_ns"] // 1_000
    path = sandbox.recording(victim.run)
    assert path is not None
    _, right = samples(path)
    length_s = (found["root"]["end_ns"] - found["root"]["start_ns"]) / SECOND
    assert length_s == pytest.approx(right.size / 24_000, abs=0.1)
    # The first answer plays on in the gap, and what is queued at the end is never heard.
    (heard,) = stretches(right)
    assert length_s == pytest.approx(heard[1] / 24_000, abs=0.1)
    assert [] == files_below(state)


def test_a_live_owner_is_left_alone(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a process that lives is at work on is not touched, whatever else is recovered."""
    state = tmp_path / "victims"
    with victims(2, "talk", environment(state, sandbox.url)) as (dead, alive):
        for victim in (dead, alive):
            victim.wait_for("step", name="answered")
        dead.kill()
        code, report = recover(state, capsys)
        assert (0, [dead.run]) == (code, [row["id"] for row in report["conversations"]])
        wait_for(lambda: sandbox.conversation(alive.run), "conversation of the live process")
        assert "pending" == (sandbox.conversation(alive.run) or {})["status"]
        alive.wait_for("step", name="answered", count=len(alive.of("step")) // 2 + 1)
    assert 0 == recover(state, capsys)[0]
    check(sandbox, alive)


def test_a_forked_child_keeps_nobody_alive(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The owner is the process that opened the conversation; its child holds no lock of it."""
    import os
    import signal

    state = tmp_path / "victims"
    with victims(1, "fork", environment(state, sandbox.url)) as (victim,):
        child = victim.wait_for("child")["pid"]
        try:
            victim.kill()
            code, report = recover(state, capsys)
        finally:
            os.kill(child, signal.SIGKILL)
    assert (0, 1) == (code, report["delivered"])
    check(sandbox, victim)


def test_with_content_off_no_secret_is_on_disk(
    sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words and sound stand in no file, and recovery finishes the trace without them."""
    state = tmp_path / "victims"
    variables = environment(
        state, sandbox.url, OTEL_REALTIME_CAPTURE_CONTENT="false", VICTIM_SECRET="xylophone"
    )
    with victims(1, "talk", variables) as (victim,):
        victim.wait_for("step", name="answered", count=2)
        victim.kill()
    written = files_below(state)
    assert "journal.jsonl" in {path.name for path in written}
    assert {"user.raw", "agent.raw"}.isdisjoint(path.name for path in written)
    assert [] == [path.name for path in written if b"xylophone" in path.read_bytes()]
    assert 0 == recover(state, capsys)[0]
    found = conversation(sandbox, victim.run)
    assert "disabled" == found["root"]["metadata"]["ls_audio_attach_status"]
    assert "xylophone" not in json.dumps(found)
    assert sandbox.recording(victim.run) is None
