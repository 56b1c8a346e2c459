"""The seam: a backend that is no LangSmith gets everything a conversation delivers."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.process.process import PROCESS
from tests.support.folder_backend import FolderBackend, routes_to
from tests.support.handmade_call import MESSAGES
from tests.support.traces import Traces, facts


@pytest.fixture
def folder(tmp_path: Path, process: pytest.MonkeyPatch) -> Path:
    """Where conversations go instead of to LangSmith."""
    process.setattr(PROCESS, "choose_route", routes_to(tmp_path / "backend"))
    return tmp_path / "backend"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_another_backend_is_one_object(traces: Traces, folder: Path) -> None:
    """Root at the open, its end with the recording at the close, the ended spans between."""
    with otel_realtime.conversation(tracer_provider=traces.provider, metadata={"a": 1}) as call:
        for direction, message in MESSAGES:
            (call.received if direction == "r" else call.sent)(message)
        assert call.langsmith_url == str(folder / f"{traces_root(call)}.json")
        assert 1 == read(folder / "opening.json")["metadata"]["a"]
    assert otel_realtime.flush(10)
    closing = read(folder / "closing.json")
    assert "Hello." in json.dumps(closing["outputs"])
    assert closing["error"] is None
    with wave.open(str(folder / "conversation.wav")) as file:
        assert (2, 24_000) == (file.getnchannels(), file.getframerate())
    (backend,) = PROCESS._backends.values()
    assert isinstance(backend, FolderBackend)
    assert {"session.created", "response.done", "realtime_session"} <= set(backend.spans)
    assert otel_realtime.shutdown(10)
    assert backend.stopped


def traces_root(call: otel_realtime.Conversation) -> str:
    """The root's span id."""
    return call.langsmith_run_id.replace("-", "")[16:]


def test_its_spans_carry_nothing_of_langsmiths_ids(traces: Traces, folder: Path) -> None:
    """Explicit linking is LangSmith's own affair."""
    with otel_realtime.conversation(tracer_provider=traces.provider) as call:
        call.received({"type": "session.created", "session": {}})
    assert not [
        key
        for span in traces.spans
        for key in facts(span)
        if key.startswith(("langsmith.trace.", "langsmith.span.id", "langsmith.span.dotted"))
    ]
