"""The call object of a journal is that of the call's spans; the journal stays as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import otel_realtime
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.rows import Row
from otel_realtime.calls.schema import Call, json_schema
from otel_realtime.core.protocol.dialects import is_agent_audio, is_user_audio
from otel_realtime.errors import RecordingError
from otel_realtime.recording.render import render
from otel_realtime.recovery.call import call_and_about, call_in
from otel_realtime.settings import Settings
from tests.recovery.conftest import one_turn
from tests.recovery.victim import tone
from tests.support import golden
from tests.support.streams import all_streams, stream
from tests.support.traces import Traces

Snapshot = Callable[[otel_realtime.Conversation], Path]


def row_of(span: ReadableSpan) -> Row:
    """A span as it was exported."""
    context = span.get_span_context()
    assert context is not None
    return Row(
        span_id=f"{context.span_id:016x}",
        parent_id=None if span.parent is None else f"{span.parent.span_id:016x}",
        name=span.name,
        start_ns=span.start_time or 0,
        end_ns=span.end_time,
        failed=span.status.status_code is StatusCode.ERROR,
        message=span.status.description,
        attributes=dict(span.attributes or {}),
    )


def files(folder: Path) -> dict[str, str]:
    """Everything in a folder, by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def comparable(call: Call) -> dict[str, Any]:
    """A call without what only one of the two ways knows: its end, and what ended it."""
    found: dict[str, Any] = dict(call)
    for name in ("duration_ms", "status", "error", "recording", "project", "live"):
        found.pop(name)
    return found


def is_audio(event: dict[str, Any]) -> bool:
    """Whether it is a chunk of audio."""
    return is_user_audio(event["type"]) or is_agent_audio(event["type"])


def test_a_journal_gives_what_the_spans_give(
    process: pytest.MonkeyPatch, tmp_path: Path, snapshot: Snapshot
) -> None:
    """Turns, responses, tools, tokens and facts, each the same; a second reading, too."""
    traces = Traces()
    settings = Settings(recordings_dir=str(tmp_path / "kept"), langsmith="off")
    call = one_turn(traces, settings=settings, thread_id="t", metadata={"a": 1}, tags=["x"])
    folder = snapshot(call)
    assert call_in(folder, live=True)["live"]
    call.close()
    expected = call_of([row_of(span) for span in traces.of(call.trace_id)], trace_id=call.trace_id)
    assert expected is not None
    before = files(folder)
    found = call_in(folder)
    Draft202012Validator(json_schema()).validate(found)
    assert before == files(folder)
    assert comparable(found) == comparable(call_in(folder))
    for name in ("id", "trace_id", "thread_id", "metadata", "tags", "model", "started_at"):
        assert expected[name] == found[name], name  # type: ignore[literal-required]
    assert [turn["text"] for turn in expected["turns"]] == [turn["text"] for turn in found["turns"]]
    assert [turn["item_ids"] for turn in expected["turns"]] == [
        turn["item_ids"] for turn in found["turns"]
    ]
    assert expected["usage"] == found["usage"]
    assert [tool["result"] for tool in expected["tools"]] == [
        tool["result"] for tool in found["tools"]
    ]
    assert [one["turn"] for one in expected["responses"]] == [
        one["turn"] for one in found["responses"]
    ]


def test_a_killed_call_failed_and_a_living_one_goes_on(
    process: pytest.MonkeyPatch, tmp_path: Path, snapshot: Snapshot
) -> None:
    """Whether its process lives is for the caller to know."""
    call = one_turn(Traces(), settings=Settings(recordings_dir=str(tmp_path / "kept")))
    folder = snapshot(call)
    dead, living = call_in(folder), call_in(folder, live=True)
    assert ("error", False) == (dead["status"], dead["live"])
    assert dead["duration_ms"] is not None
    assert ("ok", True, None, None) == (
        living["status"],
        living["live"],
        living["duration_ms"],
        living["error"],
    )
    call.close()


@pytest.mark.parametrize("index", range(7))
def test_an_old_journal_gives_all_its_turns(tmp_path: Path, index: int) -> None:
    """Version 0.1.0 listed no spans: nothing is missing all the same."""
    state = golden.copy("0.1.0", tmp_path / "s", url="http://127.0.0.1:9", recordings=tmp_path)
    folders = sorted((state / "conversations").iterdir())
    if index >= len(folders):
        pytest.skip("there are fewer")
    found = call_in(folders[index])
    Draft202012Validator(json_schema()).validate(found)
    assert found["facts"]["responses"] == len(found["responses"])
    assert found["facts"]["turns"] == len(found["turns"])
    assert found["facts"]["tool_calls"] == len(found["tools"])


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    """In one line."""
    with pytest.raises(RecordingError, match="the journal of"):
        call_in(tmp_path)


#: The recorded streams that have audio, and a call of our own.
HEARD = [name for name in all_streams() if any(is_audio(event) for _, event in stream(name))]


@pytest.mark.parametrize("name", ["one turn", *HEARD])
def test_what_is_beside_a_recording_is_what_its_journal_gives(
    process: pytest.MonkeyPatch, tmp_path: Path, snapshot: Snapshot, name: str
) -> None:
    """The live call knows its audio; a journal is read back with its audio files."""
    left: list[Path] = []
    settings = Settings(
        recordings_dir=str(tmp_path / "kept"),
        on_recording=lambda *_: left.append(snapshot(call)),
        langsmith="off",
    )
    if name == "one turn":
        call = one_turn(Traces(), settings=settings)
        call.redact_audio(0.1, 0.15, side="user")
    else:
        traces = Traces()
        call = otel_realtime.conversation(
            settings=settings, tracer_provider=traces.provider
        ).__enter__()
        for is_sent, event in stream(name):
            key = "audio" if is_user_audio(event["type"]) else "delta"
            sound = {key: tone(100, 330)} if is_audio(event) else {}  # the streams' own was cut out
            (call.sent if is_sent else call.received)({**event, **sound})
    call.close()
    assert otel_realtime.flush(20)
    [beside] = (tmp_path / "kept").glob("*.json")
    kept = json.loads(beside.read_text())
    found, about = call_and_about(left[0])
    assert kept == {**found, "recording": kept["recording"]}
    again = render(left[0], tmp_path / "again.wav", about=about)
    assert beside.with_suffix(".wav").read_bytes() == again.path.read_bytes()
