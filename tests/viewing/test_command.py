"""The commands `view` and `report`, as they are typed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import otel_realtime
from otel_realtime import Settings
from otel_realtime.cli import main
from tests.recovery.conftest import DEAD
from tests.support import kept_call
from tests.support.redacted import Told
from tests.support.traces import Traces


def test_view_serves_a_folder_until_ctrl_c(tmp_path: Path) -> None:
    """The first line says where; every call is there, with its sound in ranges."""
    kept_call.keep(tmp_path, kept_call.call_object())
    command = [
        sys.executable,
        "-m",
        "otel_realtime",
        "view",
        str(tmp_path),
        "--json",
        "--link",
        "Jaeger=http://j/{trace_id}",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        listed = requests.get(f"{url}/api/calls", timeout=10).json()
        shown = requests.get(f"{url}/api/calls/call-1", timeout=10).json()
        part = requests.get(
            f"{url}/api/calls/call-1/recording", headers={"Range": "bytes=0-3"}, timeout=10
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [call["id"] for call in listed["calls"]] == ["call-1"]
    assert [link["label"] for link in shown["links"]] == ["Jaeger"]
    assert (part.status_code, part.content) == (206, b"RIFF")


def test_view_of_one_call_leads_to_its_page(tmp_path: Path) -> None:
    """By its thread, of the folder that the environment names."""
    kept_call.keep(tmp_path, kept_call.call_object())
    command = [
        sys.executable,
        "-m",
        "otel_realtime",
        "view",
        "thread-call-1",
        "--json",
        "--recordings-dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert url.endswith("/conversations/call-1")
        assert requests.get(url, timeout=10).status_code == 200  # it serves: Ctrl-C is its end
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["view"], "no folder of recordings is named"),
        (["view", "nobody", "--recordings-dir", "{}"], "nobody"),
        (["view", "{}", "--link", "Jaeger"], "--link takes NAME=https://..., not 'Jaeger'"),
        (["view", "{}", "--link", "Evil=javascript:x"], "--link takes"),
        (["report", "{}"], "is a folder: name one of its calls"),
        (["report", "call-1", "--recordings-dir", "{}", "-o", "{}/no/such.html"], "cannot write"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In one line, with exit code 2."""
    monkeypatch.delenv("OTEL_REALTIME_RECORDINGS_DIR", raising=False)
    kept_call.keep(tmp_path, kept_call.call_object(), None)
    assert main([argument.format(tmp_path) for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_report_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, too; to standard output where it is asked for."""
    kept_call.keep(tmp_path, kept_call.call_object(), None)
    target = tmp_path / "call.html"
    assert main(["report", str(tmp_path / "call-1.json"), "-o", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["id"], said["file"]) == ("call-1", str(target))
    assert main(["report", "call-1", "--recordings-dir", str(tmp_path), "-o", "-"]) == 0
    assert capsys.readouterr().out == target.read_text(encoding="utf-8")
    assert re.search(r"script-src 'sha256-[\w+/]+=*'", target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("by", ["thread", "folder"])
def test_a_call_that_waits_is_reported_too(
    by: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a dead process left undelivered: rendered for the report, and left as it is."""
    pytest.importorskip("soundfile")
    settings = Settings(recordings_dir=str(tmp_path / "gone"), langsmith="off")
    with otel_realtime.conversation(
        thread_id="left", settings=settings, tracer_provider=Traces().provider
    ) as call:
        Told(call).both(2_000)
        recorder = call._engine.frames.recorder
        assert recorder is not None
        assert recorder.settle(5)
        assert recorder.folder is not None
        name = DEAD + recorder.folder.name[len(DEAD) :]
        folder = tmp_path / "left/conversations" / name
        shutil.copytree(recorder.folder, folder)
    assert otel_realtime.flush(20)
    monkeypatch.setenv("OTEL_REALTIME_STATE_DIR", str(tmp_path / "left"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    what = {"thread": "left", "folder": str(folder)}[by]
    assert main(["report", what, "-o", str(tmp_path / "call.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == call.langsmith_run_id
    assert "audio/ogg" in (tmp_path / "call.html").read_text(encoding="utf-8")
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_a_report_in_a_pipe_is_utf8(tmp_path: Path) -> None:
    """As the page says of itself, whatever the encoding of the terminal is."""
    kept_call.keep(tmp_path, kept_call.call_object())
    file = next(tmp_path.glob("*.wav"))
    done = subprocess.run(
        [sys.executable, "-m", "otel_realtime", "report", str(file), "-o", "-"],
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.decode("utf-8").rstrip().endswith("</html>")


def test_a_report_of_a_file_reads_no_other_call(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So what lies beside it and cannot be read is not spoken of."""
    kept_call.keep(tmp_path, kept_call.call_object())
    (tmp_path / "other.json").write_text("{")
    assert 0 == main(["report", str(next(tmp_path.glob("*.wav"))), "-o", str(tmp_path / "x.html")])
    assert "" == capfd.readouterr().err
