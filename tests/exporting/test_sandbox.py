"""A call that a sandbox has, exported by its address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.exporting.sandbox import from_sandbox
from otel_realtime.sandbox import Sandbox
from tests.exporting.test_command import ALL, call_of, export, files
from tests.replaying.build import timed, write


@pytest.fixture
def run_id(sandbox: Sandbox, tmp_path: Path) -> str:
    """A call of two turns a side, delivered by a process of its own."""
    log = write(tmp_path / "a.jsonl", timed(2))
    command = [
        sys.executable,
        "-m",
        "otel_realtime",
        "replay",
        str(log),
        "--thread-id",
        "t",
        "--json",
    ]
    done = subprocess.run(
        command, env=dict(os.environ), capture_output=True, check=False, timeout=120
    )
    assert 0 == done.returncode, done.stderr
    found: str = json.loads(done.stdout)["conversations"][0]["run_id"]
    return found


def test_a_call_of_a_sandbox(
    sandbox: Sandbox, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its run id, its thread, its trace, or the address of its page; with its recording."""
    out = tmp_path / "out"
    assert 0 == export(run_id, "--url", sandbox.url, "-o", out)
    assert ALL == files(out)
    call = call_of(out)
    assert (run_id, 4_000) == (call["id"], call["recording"]["duration_ms"])
    capsys.readouterr()
    for name in ("t", call["trace_id"], f"{sandbox.url}/conversations/{run_id}"):
        assert 0 == export(name, "--url", sandbox.url, "--json")
        assert run_id == json.loads(capsys.readouterr().out)["id"]


def test_a_call_that_it_does_not_have(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Is named with the address."""
    assert 2 == export("nobody", "--url", sandbox.url)
    assert f"no call 'nobody' in the sandbox at {sandbox.url}" in capsys.readouterr().err


@pytest.mark.parametrize("listed", [[{"id": "../../x", "thread_id": "t"}], [{}], [3], None, "x"])
def test_a_server_that_lists_something_else_is_no_sandbox(
    listed: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders are named after what it lists."""

    class Answer:
        status_code = 200

        def json(self) -> object:
            return {"conversations": listed}

    monkeypatch.setattr("requests.get", lambda *_, **__: Answer())
    with pytest.raises(ConfigError, match="is this a sandbox"):
        from_sandbox("t", "http://127.0.0.1:1", None)
