"""Kept recordings as calls: with and without their JSON, new and changed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.sandbox.call_index import Query
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls
from tests.support import kept_call


def calls_in(folder: Path) -> KeptCalls:
    return KeptCalls(files_of(str(folder), folder))


def ids(calls: KeptCalls) -> set[str]:
    return {call["id"] for call in calls.calls(Query())["calls"]}


def test_a_recording_and_its_json_are_one_call(tmp_path: Path) -> None:
    """With the file's own name for its sound."""
    kept_call.keep(tmp_path, kept_call.call_object())
    calls = calls_in(tmp_path)
    assert ids(calls) == {"call-1"}
    assert calls.recording("call-1") == (tmp_path / "call-1.wav", "audio/wav")
    assert calls.spans("call-1") is None


def test_a_recording_alone_is_a_call(tmp_path: Path) -> None:
    """Its id and start are in its name."""
    name = "20261127T080000Z-thread-7-0af7651916cd43dd"
    kept_call.write_wav(tmp_path / f"{name}.wav", kept_call.sound((), 2000))
    calls = calls_in(tmp_path)
    found: Any = calls.call("00000000-0000-0000-0af7-651916cd43dd")
    assert (found["name"], found["started_at"], found["duration_ms"]) == (
        name,
        "2026-11-27T08:00:00.000Z",
        2000,
    )


def test_json_alone_is_a_call_without_sound(tmp_path: Path) -> None:
    """A text-only call, or one whose recording went elsewhere."""
    kept_call.keep(tmp_path, kept_call.call_object(), None)
    calls = calls_in(tmp_path)
    assert calls.recording("call-1") is None
    found: Any = calls.call("call-1")
    assert found["recording"] is None


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "5", '{"schema": "else"}', '{"schema": "otel-realtime/call", "version": 2}',
     '{"schema": "otel-realtime/call", "version": 1}', "[" * 100_000],
)  # fmt: skip
def test_other_files_are_left_alone(content: str, tmp_path: Path) -> None:
    """What is no call object of this version is none."""
    (tmp_path / "other.json").write_text(content)
    (tmp_path / "notes.txt").write_text("hello")
    kept_call.keep(tmp_path, kept_call.call_object())
    assert ids(calls_in(tmp_path)) == {"call-1"}


@pytest.mark.parametrize("key", sorted(kept_call.call_object()))
def test_a_broken_member_costs_that_call_at_most(key: str, tmp_path: Path) -> None:
    """Of any type."""
    kept_call.keep(tmp_path, kept_call.call_object())
    for n, value in enumerate([None, 5, "x", [], {}, [5], [None], {"a": 1}]):
        call = {**kept_call.call_object(f"broken-{n}"), key: value}
        (tmp_path / f"broken-{n}.json").write_text(json.dumps(call))
    assert "call-1" in ids(calls_in(tmp_path))


def test_what_comes_changes_and_goes(tmp_path: Path) -> None:
    """At the next look."""
    kept_call.keep(tmp_path, kept_call.call_object())
    calls = calls_in(tmp_path)
    kept_call.keep(tmp_path, kept_call.call_object("call-2"), None)
    calls.refresh()
    assert ids(calls) == {"call-1", "call-2"}
    changed = kept_call.call_object("call-2", name="renamed")
    kept_call.keep(tmp_path, changed, None)
    calls.refresh()
    assert [call["name"] for call in calls.calls(Query(text="renamed"))["calls"]] == ["renamed"]
    (tmp_path / "call-1.wav").unlink()
    (tmp_path / "call-1.json").unlink()
    calls.refresh()
    assert ids(calls) == {"call-2"}


@pytest.mark.parametrize("name", ["call-1", "thread-call-1", "call-1.wav", "call-1.json"])
def test_a_call_is_found_by_its_names(name: str, tmp_path: Path) -> None:
    """Id, thread, file."""
    kept_call.keep(tmp_path, kept_call.call_object())
    kept_call.keep(tmp_path, kept_call.call_object("call-2"), None)
    assert calls_in(tmp_path).find(name) == "call-1"


def test_a_name_of_several_or_of_none(tmp_path: Path) -> None:
    """Says which there are."""
    for name in ("a", "b"):
        kept_call.keep(tmp_path, kept_call.call_object(name, thread_id="same"), None)
    calls = calls_in(tmp_path)
    with pytest.raises(ConfigError, match=r"'same' has 2 calls, name one of them: [ab], [ab]"):
        calls.find("same")
    with pytest.raises(ConfigError, match="no kept call of 'nobody'"):
        calls.find("nobody")
