"""The command says what is wrong instead of raising."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.sandbox import Sandbox, command


def test_command_without_a_free_port(
    tmp_path: Path, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says in one line that the address is taken, and returns 1."""
    port = int(sandbox.url.rsplit(":", 1)[1])
    assert command.run("127.0.0.1", port, tmp_path, False) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_command_with_a_folder_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says in one line which folder it cannot use, and returns 1."""
    (tmp_path / "file").write_text("")
    assert command.run("127.0.0.1", 0, tmp_path / "file", False) == 1
    assert "cannot store data in" in capsys.readouterr().err
