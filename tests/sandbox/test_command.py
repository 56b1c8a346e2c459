"""The command says what is wrong instead of raising."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from otel_realtime.errors import ConfigError
from otel_realtime.sandbox import Sandbox, command
from tests.support.waiting import wait_for


def test_command_without_a_free_port(tmp_path: Path, sandbox: Sandbox) -> None:
    """The command says in one line that the address is taken."""
    port = int(sandbox.url.rsplit(":", 1)[1])
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already"):
        command.run("127.0.0.1", port, tmp_path, False)


def test_command_with_a_folder_it_cannot_use(tmp_path: Path) -> None:
    """The command says in one line which folder it cannot use."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=f"cannot store data in {tmp_path / 'file'}: "):
        command.run("127.0.0.1", 0, tmp_path / "file", False)


def test_where_it_listens_as_json(tmp_path: Path) -> None:
    """The first line says it all, for a script that starts one."""
    options = ["--port", "0", "--json", "--data-dir", str(tmp_path)]
    child = subprocess.Popen(
        [sys.executable, "-m", "otel_realtime", "sandbox", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        assert {"url": told["url"], "data_dir": str(tmp_path), "keys": False} == told
        wait_for(lambda: _status(told["url"]) == 200, "the server", timeout_s=20)
    finally:
        child.terminate()
        child.wait(10)


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
