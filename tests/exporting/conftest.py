"""Calls to export: kept, undelivered, and in a sandbox."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_realtime import cli
from tests.replaying.build import timed, write


@dataclass(frozen=True, slots=True)
class Kept:
    """A call of two turns a side, 4 s, that was kept."""

    folder: Path
    ids: dict[str, Any]

    @property
    def recording(self) -> Path:
        """Its recording."""
        return Path(self.ids["recording"])


@pytest.fixture
def kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kept:
    """A call that was kept."""
    return keep(tmp_path, capsys, "thread-7")


def keep(tmp_path: Path, capsys: pytest.CaptureFixture[str], thread: str) -> Kept:
    """Keep a call of a thread."""
    log, folder = write(tmp_path / f"{thread}.jsonl", timed(2)), tmp_path / "kept"
    arguments = ["replay", str(log), "--out", str(folder), "--thread-id", thread, "--json"]
    assert 0 == cli.main(arguments)
    return Kept(folder, json.loads(capsys.readouterr().out)["conversations"][0])
