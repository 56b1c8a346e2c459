"""The command says what is wrong instead of raising."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from otel_realtime.sandbox import Sandbox, command
from tests.support.waiting import wait_for


def test_command_without_a_free_port(
    tmp_path: Path, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says in one line that the address is taken, and returns 2: a set-up error."""
    port = int(sandbox.url.rsplit(":", 1)[1])
    assert command.run("127.0.0.1", port, tmp_path, False) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_command_with_a_folder_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says in one line which folder it cannot use, and returns 2."""
    (tmp_path / "file").write_text("")
    assert command.run("127.0.0.1", 0, tmp_path / "file", False) == 2
    assert "cannot store data in" in capsys.readouterr().err


def test_command_with_a_key_and_a_name(tmp_path: Path) -> None:
    """It takes and shows what comes with the key, under the name too; the key is not printed."""
    options = ["--port", "0", "--no-browser", "--data-dir", str(tmp_path)]
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "otel_realtime",
            "sandbox",
            *options,
            "--key",
            "k1",
            "--name",
            "box",
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert child.stdout is not None
        url = child.stdout.readline().split()[3]
        printed = "".join(child.stdout.readline() for _ in range(5))
        assert "k1" not in printed
        wait_for(lambda: _status(url) == 401, "the server", timeout_s=20)
        assert 200 == _status(url, **{"x-api-key": "k1"})
        assert 200 == _status(url, **{"x-api-key": "k1", "Host": "box"})
        assert 421 == _status(url, **{"x-api-key": "k1", "Host": "other"})
    finally:
        child.terminate()
        child.wait(10)


def _status(url: str, **headers: str) -> int:
    try:
        return requests.get(f"{url}/api/violations", headers=headers, timeout=5).status_code
    except requests.ConnectionError:
        return 0
