"""The JSON beside a kept recording holds what may be stored, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.settings import Settings
from tests.recovery.victim import Caller
from tests.support.traces import Traces

SECRET = "wombat"


def kept(folder: Path, **settings: Any) -> str:
    """The JSON of a call in which the secret is said, sent to a tool and answered."""
    with otel_realtime.conversation(
        settings=Settings(recordings_dir=str(folder), langsmith="off", **settings),
        tracer_provider=Traces().provider,
    ) as call:
        caller = Caller(call)
        caller.begin()
        caller.turn()
    assert otel_realtime.flush(20)
    (path,) = folder.glob("*.json")
    return path.read_text()


def test_without_a_rule_it_holds_what_was_said(tmp_path: Path) -> None:
    """So that the others prove something."""
    call = json.loads(kept(tmp_path))
    assert f"Where is the {SECRET}?" == call["turns"][0]["text"]
    assert SECRET in json.dumps(call["tools"])


def test_what_the_hook_takes_out_is_not_in_it(tmp_path: Path) -> None:
    """From words, arguments and results."""

    def without(payload: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = json.loads(json.dumps(payload).replace(SECRET, "***"))
        return changed

    text = kept(tmp_path, redact=without)
    assert SECRET not in text
    assert "Where is the ***?" in text


@pytest.mark.parametrize("switch", ["OTEL_REALTIME_CAPTURE_CONTENT", "LANGSMITH_HIDE_INPUTS"])
def test_without_content_there_is_neither(
    tmp_path: Path, switch: str, process: pytest.MonkeyPatch
) -> None:
    """No recording, and so nothing beside it."""
    process.setenv(switch, str(not switch.endswith("CONTENT")).lower())
    settings = Settings(recordings_dir=str(tmp_path / "kept"), langsmith="off")
    with otel_realtime.conversation(settings=settings, tracer_provider=Traces().provider) as call:
        caller = Caller(call)
        caller.begin()
        caller.turn()
    assert otel_realtime.flush(20)
    assert [] == list(tmp_path.glob("kept/*"))
