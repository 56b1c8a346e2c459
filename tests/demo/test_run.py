"""How the demo starts; the whole of it is run by the CI, with its exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.demo.run import run_demo
from otel_realtime.errors import ConfigError


def test_the_users_langsmith_needs_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--langsmith`` without a key ends at once and says which variable is missing."""
    monkeypatch.delenv("LANGSMITH_API_KEY", raising=False)
    monkeypatch.delenv("LANGCHAIN_API_KEY", raising=False)
    with pytest.raises(ConfigError) as refused:
        run_demo(fast=True, browser=False, keep_running=False, langsmith=True, data_dir=tmp_path)
    assert "--langsmith requires the environment variable LANGSMITH_API_KEY" == str(refused.value)
    assert list(tmp_path.iterdir()) == []
