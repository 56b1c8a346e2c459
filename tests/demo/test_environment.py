"""The variables the demo runs with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otel_realtime.demo.environment import PROJECT, environment


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that is set up for the user's own work."""
    for name, value in {
        "LANGSMITH_API_KEY": "the user's",
        "LANGCHAIN_PROJECT": "the user's",
        "LANGSMITH_WORKSPACE_ID": "the user's",
        "OTEL_REALTIME_CAPTURE_CONTENT": "false",
        "OTEL_SDK_DISABLED": "true",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://api.smith.langchain.com/otel/v1/traces",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318",
    }.items():
        monkeypatch.setenv(name, value)


def test_nothing_leads_to_the_users_langsmith(tmp_path: Path) -> None:
    """A key in the shell is not enough to send the demo there; other destinations stay."""
    with environment(tmp_path, "http://127.0.0.1:1"):
        names = {
            name for name in os.environ if name.startswith(("LANGSMITH", "LANGCHAIN", "OTEL_"))
        }
        found = (os.environ["LANGSMITH_ENDPOINT"], os.environ["LANGSMITH_PROJECT"])
        assert "the user's" not in os.environ.values()
    assert found == ("http://127.0.0.1:1", PROJECT)
    assert {
        "LANGSMITH_API_KEY",
        "LANGSMITH_ENDPOINT",
        "LANGSMITH_PROJECT",
        "LANGSMITH_TRACING",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_REALTIME_LANGSMITH",
        "OTEL_REALTIME_RECORDINGS_DIR",
        "OTEL_REALTIME_STATE_DIR",
    } == names


def test_langsmith_takes_the_users_own_set_up(tmp_path: Path) -> None:
    """Without the sandbox the user's key and project hold."""
    with environment(tmp_path, None):
        found = (os.environ["LANGSMITH_API_KEY"], os.environ["LANGCHAIN_PROJECT"])
        assert "LANGSMITH_ENDPOINT" not in os.environ
    assert found == ("the user's", "the user's")


def test_the_shell_is_put_back(tmp_path: Path) -> None:
    """Whatever happens inside, the variables are as before."""
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), environment(tmp_path, "http://127.0.0.1:1"):
        _ = 1 / 0
    assert before == dict(os.environ)
