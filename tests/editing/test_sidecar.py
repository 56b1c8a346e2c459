"""The JSON beside a recording says what was silenced in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_realtime import cli
from otel_realtime.calls.schema import SCHEMA
from otel_realtime.core.audio.redactions import BY_COMMAND, SILENCE, Stretch
from otel_realtime.editing.sidecar import note_silenced
from otel_realtime.errors import RecordingError
from otel_realtime.recording.chunks import wav_header

STRETCH = Stretch(1_500_000, 2_000_000_001, "user", SILENCE, BY_COMMAND)


def test_the_command_notes_it(tmp_path: Path) -> None:
    """Each time, beside what is listed already; the rest stays as it is."""
    wav, about = tmp_path / "a.wav", tmp_path / "a.json"
    wav.write_bytes(wav_header(80_000, 8_000) + bytes(320_000))
    about.write_text(json.dumps({"schema": SCHEMA, "turns": ["é"]}))
    about.chmod(0o640)
    assert 0 == cli.main(["redact", str(wav), "--from", "1", "--to", "2", "--side", "agent"])
    assert 0 == cli.main(["redact", str(wav), "--from", "3", "--to", "4"])
    told = json.loads(about.read_text())
    assert [(1_000, 2_000, "agent"), (3_000, 4_000, "both")] == [
        (one["start_ms"], one["end_ms"], one["side"]) for one in told["redacted"]
    ]
    assert (["é"], 0o640) == (told["turns"], about.stat().st_mode & 0o777)
    assert ["a.json", "a.wav"] == sorted(path.name for path in tmp_path.iterdir())


def test_other_json_is_left_alone(tmp_path: Path) -> None:
    """And a recording may have none."""
    note_silenced(tmp_path / "a.wav", STRETCH)
    (tmp_path / "a.json").write_text("[1]")
    note_silenced(tmp_path / "a.wav", STRETCH)
    assert "[1]" == (tmp_path / "a.json").read_text()


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The recording is silenced all the same."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RecordingError, match=r"a\.wav is silenced, but .*a\.json does not say so"):
        note_silenced(tmp_path / "a.wav", STRETCH)
