"""Nobody but the process's own user reads what is in the state directory, whatever the umask is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_realtime
from otel_realtime import Settings
from tests.support.isolation import langsmith_variables
from tests.support.processes import free_ports
from tests.support.traces import Traces


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """Mode of everything below a folder, by its path there."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.usefixtures("_open_umask")
def test_folders_and_files_are_private(
    traces: Traces, tmp_path: Path, process: pytest.MonkeyPatch
) -> None:
    """While a call goes on, when it was rendered, and in the spool of a LangSmith that is away."""
    (port,) = free_ports(1)
    for name, value in langsmith_variables(f"http://127.0.0.1:{port}").items():
        process.setenv(name, value)
    state, rendered = tmp_path / "state", {}
    settings = Settings(
        state_dir=state, on_recording=lambda path, info: rendered.update(modes(state))
    )
    with otel_realtime.conversation(settings=settings, tracer_provider=traces.provider) as call:
        call.received({"type": "session.created", "session": {"id": "sess_1"}})
        call.record_agent_audio(b"\1\1" * 4_800)
    assert not otel_realtime.flush(2)
    found = {**rendered, **modes(state)}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    names = {Path(path).suffix for path in found}
    assert {".jsonl", ".raw", ".wav", ".spans", ".lock"} <= names
    for path, mode in found.items():
        assert mode in ((0o600,) if Path(path).suffix else (0o700,)), (path, oct(mode))
