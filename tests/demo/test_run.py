"""How the demo starts; the whole of it is run by the CI, with its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.demo.run import run_demo


def test_the_users_langsmith_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--langsmith`` without a key ends at once and says which variable is missing."""
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    monkeypatch.delenv("LANGCHAIN_API_KEY", raising=False)
    lines: list[str] = []
    code = run_demo(
        fast=True,
        browser=False,
        keep_running=False,
        langsmith=True,
        data_dir=tmp_path,
        out=lines.append,
    )
    assert (code, lines) == (
        2,
        ["--langsmith requires the environment variable LANGSMITH_API_KEY."],
    )
    assert list(tmp_path.iterdir()) == []
