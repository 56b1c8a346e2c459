"""``otel-realtime replay``: what comes out of a log, what is said of it, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import wave
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otel_realtime import cli
from otel_realtime.replaying.command import _time
from otel_realtime.sandbox import Sandbox
from tests.replaying.build import SESSION, append, timed, turn, write
from tests.replaying.test_sounds import wav
from tests.support import live_server
from tests.support.talking import tone

CASES = Path(__file__).parents[2] / ".." / "shared" / "data" / "events"


def replay(*arguments: object) -> int:
    """Run the command; returns its exit code."""
    return cli.main(["replay", *map(str, arguments)])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What it printed as JSON."""
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def sounds(path: str | Path) -> tuple[float, list[float]]:
    """Length of a recording, and how long each side sounds, s."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        rate = file.getframerate()
    return len(samples) / rate, [float((samples[:, side] != 0).sum()) / rate for side in (0, 1)]


def call_beside(recording: str) -> dict[str, Any]:
    """The JSON beside a recording."""
    found: dict[str, Any] = json.loads(Path(recording).with_suffix(".json").read_text())
    return found


def test_a_log_becomes_a_recording_and_a_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the length it had, with all its sound and words; it ends now."""
    log, out = write(tmp_path / "a.jsonl", timed(3)), tmp_path / "out"
    assert 0 == replay(log, "--out", out, "--thread-id", "thread-7", "--json")
    (made,) = told(capsys)["conversations"]
    assert (6_000, True, [], "thread-7") == (
        made["duration_ms"],
        made["timed"],
        made["bad_rows"],
        made["thread_id"],
    )
    assert (6.0, [3.0, 3.0]) == sounds(made["recording"])
    call = call_beside(made["recording"])
    assert ["Question number 1?", "Answer number 1."] == [one["text"] for one in call["turns"][:2]]
    assert {"replayed_from": "a.jsonl"} == call["metadata"]
    began = datetime.fromisoformat(call["started_at"].replace("Z", "+00:00")).timestamp()
    assert 0 <= time.time() - began - 6 < 60


@pytest.mark.parametrize("kind", ["live", "translation"])
def test_a_log_of_another_dialect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Live sessions and live translation have turns and both channels, too."""
    rows = [
        {"dir": "sent" if is_sent else "recv", "event": event}
        for is_sent, event in live_server.rows(kind)
    ]
    log = write(tmp_path / "a.jsonl", rows)
    assert 0 == replay(log, "--out", tmp_path / "out", "--json")
    (made,) = told(capsys)["conversations"]
    first, second, *_ = call_beside(made["recording"])["turns"]
    assert ("user", "assistant") == (first["role"], second["role"])
    assert [0.1, 0.6] == sounds(made["recording"])[1]


def test_a_long_log_without_pauses_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However fast it is told: the writer is waited for."""
    log = write(tmp_path / "a.jsonl", timed(30, 10_000, 10_000))
    assert 0 == replay(log, "--out", tmp_path / "out", "--json")
    found = told(capsys)
    assert (0, True) == (found["lost"], found["delivered"])
    assert (600.0, [300.0, 300.0]) == sounds(found["conversations"][0]["recording"])


def test_plain_events_get_a_pace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of their sound is there, one side after the other."""
    events = [SESSION, *(event for n in (1, 2) for _, event in turn(n))]
    log = write(tmp_path / "a.jsonl", [*events, {"type": "rate_limits.updated"}])
    assert 0 == replay(log, "--out", tmp_path / "out")
    out = capsys.readouterr().out
    assert "at a modelled pace" in out
    (recording,) = (tmp_path / "out").glob("*.wav")
    length_s, heard = sounds(recording)
    assert [2.0, 2.0] == [round(side, 1) for side in heard]
    assert 4.0 < length_s < 6.0


def test_bad_lines_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file and line; the rest is replayed."""
    rows = timed(1)
    log = write(tmp_path / "a.jsonl", [*rows[:3], "{", *rows[3:], {"dir": "up", "event": SESSION}])
    assert 1 == replay(log, "--out", tmp_path / "out")
    err = capsys.readouterr().err.splitlines()
    assert f"otel-realtime: {log}:4: not JSON: " in err[0]
    assert f"{log}:{len(rows) + 2}: dir is 'up'" in err[1]
    assert "otel-realtime: 2 lines left out: no events of a log" == err[2]
    assert (2.0, [1.0, 1.0]) == sounds(*(tmp_path / "out").glob("*.wav"))


def test_nothing_to_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of something else, and an empty one."""
    for text in ("hello\nworld\n", ""):
        (tmp_path / "a.jsonl").write_text(text)
        assert 2 == replay(tmp_path / "a.jsonl", "--out", tmp_path / "out")
        assert "nothing to replay" in capsys.readouterr().err


def test_a_folder_and_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs of a folder by their names; a conversation each."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("b.ndjson", "a.jsonl", "c.txt"):
        write(logs / name, timed(1))
    text = (logs / "a.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert 0 == replay(logs, "-", "--out", tmp_path / "out", "--json")
    made = told(capsys)["conversations"]
    assert [str(logs / "a.jsonl"), str(logs / "b.ndjson"), "stdin"] == [one["file"] for one in made]
    assert 3 == len({one["thread_id"] for one in made})


def test_audio_beside_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes the place of what was cut out."""
    cut = {"audio": "A" * 44, "delta": "A" * 44}
    rows = [
        {**row, "event": {**row["event"], **{k: v for k, v in cut.items() if k in row["event"]}}}
        for row in timed(2)
    ]
    log = write(tmp_path / "x.jsonl", rows)
    wav(tmp_path / "x.user.wav", np.frombuffer(tone(4_000, 300), "<i2"), rate=24_000)
    wav(tmp_path / "x.agent.wav", np.frombuffer(tone(3_000, 500), "<i2"), rate=24_000)
    assert 0 == replay(log, "--out", tmp_path / "out", "--json")
    length_s, heard = sounds(told(capsys)["conversations"][0]["recording"])
    assert (4.0, [4.0, 3.0]) == (length_s, [round(side, 1) for side in heard])


def test_raw_audio_is_put_back_into_the_appends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In equal parts."""
    cut = {"type": "input_audio_buffer.append", "audio": "A" * 44}
    events = [SESSION, *[cut] * 20, {"type": "input_audio_buffer.commit"}]
    log = write(tmp_path / "x.jsonl", events)
    (tmp_path / "x.pcm").write_bytes(tone(2_000, 300))
    assert 0 == replay(log, "--out", tmp_path / "out", "--json")
    _, heard = sounds(told(capsys)["conversations"][0]["recording"])
    assert [2.0, 0.0] == [round(side, 2) for side in heard]


def test_in_real_time(tmp_path: Path) -> None:
    """Or any other."""
    log = write(tmp_path / "a.jsonl", timed(1))
    began = time.monotonic()
    assert 0 == replay(log, "--out", tmp_path / "out", "--speed", "2")
    assert 0.95 < time.monotonic() - began < 8


def test_the_start_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The call is of that day, and so is the name of its recording."""
    log = write(tmp_path / "a.jsonl", timed(1))
    given = ("--start", "2026-05-04T03:02:01.5Z")
    assert 0 == replay(log, "--out", tmp_path / "out", "--json", *given)
    (made,) = told(capsys)["conversations"]
    assert Path(made["recording"]).name.startswith("20260504T030201Z-")
    assert "2026-05-04T03:02:01.500Z" == call_beside(made["recording"])["started_at"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-04T03:02:01", datetime(2026, 5, 4, 3, 2, 1, tzinfo=timezone.utc)),
        ("2026-05-04", datetime(2026, 5, 4, tzinfo=timezone.utc)),
        ("2026-05-04T03:02:01+02:00", datetime(2026, 5, 4, 1, 2, 1, tzinfo=timezone.utc)),
        ("1777856521.5", datetime.fromtimestamp(1777856521.5, timezone.utc)),
    ],
)
def test_times_of_several_kinds(text: str, expected: datetime) -> None:
    """Without a zone it is UTC."""
    assert round(expected.timestamp() * 1e9) == _time(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.jsonl", "--out", "o"), "cannot read none.jsonl: No such file or directory"),
        (("{log}",), "nothing says where to send it: set LANGSMITH_TRACING=true"),
        (
            ("{log}", "--out", "o", "--start", "soon"),
            "--start 'soon' is no time of a call: give 2026-",
        ),
        (("{log}", "--out", "o", "--speed", "0"), "--speed 0.0: a number from 0.001 on is wanted"),
        (("{log}", "--out", "o", "--speed", "nan"), "--speed nan: a number"),
        (("{empty}", "--out", "o"), "no logs in this folder (*.jsonl, *.ndjson)"),
        (("-1", "--out", "o"), "No such option"),
        ((), "Missing argument 'FILE...'"),
    ],
)
def test_what_a_user_can_get_wrong(
    tmp_path: Path,
    arguments: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line that names it; exit code 2."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    log = write(tmp_path / "a.jsonl", timed(1))
    names = {"log": log, "empty": tmp_path / "empty"}
    assert 2 == replay(*(one.format(**names) for one in arguments))
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_disabled_sdk_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], process: pytest.MonkeyPatch
) -> None:
    """Nothing would come of it."""
    process.setenv("OTEL_SDK_DISABLED", "true")
    assert 2 == replay(write(tmp_path / "a.jsonl", timed(1)), "--out", tmp_path / "out")
    assert "OTEL_SDK_DISABLED=true: nothing is traced" in capsys.readouterr().err


def run(log: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "otel_realtime", "replay", str(log)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_it_goes_to_langsmith(tmp_path: Path, sandbox: Sandbox) -> None:
    """With its recording; the address is told."""
    done = run(write(tmp_path / "a.jsonl", timed(2)))
    assert (0, "") == (done.returncode, done.stderr)
    (listed,) = sandbox.conversations()
    assert (True, 4, 0) == (listed["has_recording"], listed["turns"], listed["violations"])
    assert 4.0 == round(listed["duration_s"], 3)
    assert listed["id"] in done.stdout


def test_an_exporter_that_is_away_is_said_once(tmp_path: Path) -> None:
    """And the replay is not complete."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_METRICS_EXPORTER": "none",
    }
    done = run(write(tmp_path / "a.jsonl", timed(2)), **variables)
    assert 1 == done.returncode
    assert 1 == done.stderr.count("Failed to export")
    assert "not everything was delivered" in done.stderr


@pytest.mark.skipif(not CASES.is_dir(), reason="no recorded streams beside the repository")
def test_recorded_streams_are_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """GA and beta, with and without times, cut and whole."""
    assert 0 == replay(CASES, "--out", tmp_path / "out", "--json")
    found = told(capsys)
    assert len(list(CASES.glob("*.jsonl"))) == len(found["conversations"])
    assert 0 == found["lost"]


def test_one_long_append_is_no_hole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clip that was sent at once."""
    log = write(tmp_path / "a.jsonl", [SESSION, append(8_000), {"type": "response.create"}])
    assert 0 == replay(log, "--out", tmp_path / "out", "--json")
    _, heard = sounds(told(capsys)["conversations"][0]["recording"])
    assert [8.0, 0.0] == [round(side, 1) for side in heard]


def test_a_log_without_audio_has_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that is said."""
    log = write(tmp_path / "a.jsonl", [SESSION, {"type": "rate_limits.updated"}])
    assert 0 == replay(log, "--out", tmp_path / "out")
    assert "  recording none: no audio in the log" in capsys.readouterr().out.splitlines()
