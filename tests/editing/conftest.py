"""Recordings that exist: kept, and left undelivered by a process that is dead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import otel_realtime
from otel_realtime.settings import Settings
from tests.support.redacted import Told
from tests.support.traces import Traces

DEAD = "0" * 31 + "1"
"""The instance id of a process that never was."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where recordings are kept."""
    return tmp_path / "kept"


@pytest.fixture
def leave(tmp_path: Path, kept: Path) -> Callable[..., tuple[otel_realtime.Conversation, Path]]:
    """Tells a call of two seconds whose recording is kept; its folder is left by a dead process."""

    def take(thread: str, *, closed: bool = True) -> tuple[otel_realtime.Conversation, Path]:
        settings = Settings(recordings_dir=str(kept), langsmith="off")
        call = otel_realtime.conversation(
            thread_id=thread, settings=settings, tracer_provider=Traces().provider
        ).__enter__()
        Told(call).both(2_000)
        recorder = call._engine.frames.recorder
        assert recorder is not None
        assert recorder.settle(5)
        folder = recorder.folder
        assert folder is not None
        copy = tmp_path / "left" / "conversations" / (DEAD + folder.name[len(DEAD) :])
        if not closed:
            shutil.copytree(folder, copy)
        call.close()
        if closed:
            assert recorder.settle(5)
            if folder.exists():
                shutil.copytree(folder, copy)
        assert otel_realtime.flush(20)
        return call, copy

    return take
