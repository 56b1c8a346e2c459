"""``otel-realtime export``: a call from wherever it is, written down."""

from __future__ import annotations

import hashlib
import json
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from jsonschema import Draft202012Validator

import otel_realtime
from otel_realtime import cli
from otel_realtime.calls.schema import json_schema
from otel_realtime.recording.chunks import wav_header
from otel_realtime.settings import Settings
from tests.exporting.conftest import Kept, keep
from tests.recovery.conftest import DEAD
from tests.support.redacted import Told
from tests.support.traces import Traces

ALL = {
    "call.json",
    "recording.wav",
    "captions.vtt",
    "captions.srt",
    "transcript.txt",
    "clips/001-user.wav",
    "clips/002-assistant.wav",
    "clips/003-user.wav",
    "clips/004-assistant.wav",
}


def export(*arguments: object) -> int:
    """Run the command; returns its exit code."""
    return cli.main(["export", *map(str, arguments)])


def files(folder: Path) -> set[str]:
    """The files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def samples(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    """The samples of a WAV, a column a channel."""
    with wave.open(str(path)) as file:
        data = file.readframes(file.getnframes())
        return np.frombuffer(data, "<i2").reshape(-1, file.getnchannels())


def call_of(folder: Path) -> dict[str, Any]:
    """The call object that was written, which fits its schema."""
    found: dict[str, Any] = json.loads((folder / "call.json").read_text())
    Draft202012Validator(json_schema()).validate(found)
    return found


def test_a_kept_call_is_written_down(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything, and one line says what and where."""
    out = tmp_path / "out"
    assert 0 == export(kept.recording, "-o", out)
    assert ALL == files(out)
    assert f"{out}/: recording.wav, call.json, " in capsys.readouterr().out
    call = call_of(out)
    assert {
        "file": "recording.wav", "mime": "audio/wav", "duration_ms": 4_000, "sample_rate": 24_000,
        "channels": ["user", "agent"],
    } == call["recording"]  # fmt: skip
    assert kept.recording.read_bytes() == (out / "recording.wav").read_bytes()
    assert "Question number 2?" in (out / "captions.vtt").read_text()
    assert "Agent: Answer number 1." in (out / "captions.srt").read_text()
    assert "User: Question number 1?" in (out / "transcript.txt").read_text()


def test_a_clip_is_the_turns_own_side(kept: Kept, tmp_path: Path) -> None:
    """From its start to its end, to the sample."""
    out = tmp_path / "out"
    assert 0 == export(kept.recording, "-o", out)
    whole = samples(out / "recording.wav")
    for turn in call_of(out)["turns"]:
        start, end = (turn[key] * 24 for key in ("start_ms", "end_ms"))
        clip = samples(out / "clips" / f"{turn['index'] + 1:03}-{turn['role']}.wav")
        side = 0 if turn["role"] == "user" else 1
        assert np.array_equal(whole[start:end, side : side + 1], clip)
        assert np.count_nonzero(clip) > 0.9 * len(clip)


def test_a_recording_whose_sizes_have_64_bits_is_cut_too(kept: Kept, tmp_path: Path) -> None:
    """An RF64, as recordings beyond 4 GiB are; this one says more than it holds."""
    out, clip = tmp_path / "out", "clips/002-assistant.wav"
    assert 0 == export(kept.recording, "-o", out)
    expected = samples(out / clip)
    kept.recording.write_bytes(wav_header(2**30, 24_000) + kept.recording.read_bytes()[44:])
    assert 0 == export(kept.recording, "-o", out)
    assert np.array_equal(expected, samples(out / clip))
    assert 4_000 <= call_of(out)["recording"]["duration_ms"] < 4_100  # with what stands behind it


@pytest.mark.parametrize("what", ["thread_id", "trace_id", "run_id", "stem", "json"])
def test_a_kept_call_has_many_names(
    kept: Kept, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its ids, its file's name, and the JSON beside it."""
    names = {"stem": kept.recording.stem, "json": str(kept.recording.with_suffix(".json"))}
    name = names.get(what) or kept.ids[what]
    assert 0 == export(name, "--recordings-dir", kept.folder, "--json")
    assert kept.ids["run_id"] == json.loads(capsys.readouterr().out)["id"]


def test_a_folder_holds_several(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder each, named after the recording; with JSON an array."""
    another = keep(tmp_path, capsys, "thread-8")
    (kept.folder / "notes.json").write_text("{}")
    out = tmp_path / "out"
    assert 0 == export(kept.folder, "-o", out)
    assert {kept.recording.stem, another.recording.stem} == {path.name for path in out.iterdir()}
    assert ALL == files(out / another.recording.stem)
    capsys.readouterr()
    assert 0 == export(kept.folder, "--json")
    threads = {one["thread_id"] for one in json.loads(capsys.readouterr().out)}
    assert {"thread-7", "thread-8"} == threads


def test_parts(kept: Kept, tmp_path: Path) -> None:
    """Only those that are wanted; what an export left before goes."""
    out = tmp_path / "out"
    assert 0 == export(kept.recording, "-o", out, "--only", "vtt", "--only", "clips")
    assert {one for one in ALL if "clips" in one} | {"captions.vtt"} == files(out)
    (out / "clips" / "017-user.wav").write_bytes(b"old")
    (out / "clips" / "mine.wav").write_bytes(b"mine")
    assert 0 == export(kept.recording, "-o", out, "--only", "clips")
    assert {"clips/mine.wav"} == files(out) - ALL
    other = tmp_path / "other"
    assert 0 == export(kept.recording, "-o", other, "--only", "call")
    assert {"call.json"} == files(other)
    assert None is call_of(other)["recording"]


def test_into_the_folder_where_it_is_kept(kept: Kept) -> None:
    """The recording that was kept stays."""
    before = kept.recording.read_bytes()
    assert 0 == export(kept.recording, "-o", kept.folder)
    assert before == kept.recording.read_bytes()
    assert before == (kept.folder / "recording.wav").read_bytes()


def test_without_a_folder_it_is_named_after_the_call(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the working directory."""
    monkeypatch.chdir(tmp_path)
    assert 0 == export(kept.recording)
    assert ALL == files(tmp_path / kept.recording.stem)


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_a_recording_that_was_converted(kept: Kept, tmp_path: Path, kind: str) -> None:
    """Becomes a WAV again."""
    whole = samples(kept.recording)
    converted = kept.recording.with_suffix(f".{kind}")
    options: dict[str, Any] = {"format": "OGG", "subtype": "OPUS"} if kind == "ogg" else {}
    soundfile.write(converted, whole, 24_000, **options)
    kept.recording.unlink()
    out = tmp_path / "out"
    assert 0 == export(converted, "-o", out)
    assert ALL == files(out)
    again = samples(out / "recording.wav")
    assert 2 == again.shape[1]
    assert abs(len(whole) - len(again)) < 240
    if kind == "flac":
        assert np.array_equal(whole, again)


def test_a_recording_alone(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an earlier version: what there is, and a word on the rest."""
    kept.recording.with_suffix(".json").unlink()
    out = tmp_path / "out"
    assert 1 == export(kept.recording, "-o", out)
    assert {"recording.wav"} == files(out)
    assert "no JSON lies beside its recording" in capsys.readouterr().err
    assert 1 == export(kept.recording, "--json")


def test_json_without_its_recording(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The words are written all the same."""
    about = kept.recording.with_suffix(".json")
    kept.recording.unlink()
    out = tmp_path / "out"
    assert 1 == export(about, "-o", out)
    assert {"call.json", "captions.vtt", "captions.srt", "transcript.txt"} == files(out)
    assert None is call_of(out)["recording"]
    assert "its recording is not there" in capsys.readouterr().err


def digests(folder: Path) -> dict[str, str]:
    """Everything below a folder, by its content."""
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder)
    }


@pytest.fixture
def waiting(tmp_path: Path) -> tuple[otel_realtime.Conversation, Path]:
    """A call of two seconds that a dead process left undelivered, a part of it silenced."""
    settings = Settings(recordings_dir=str(tmp_path / "gone"), langsmith="off")
    call = otel_realtime.conversation(
        thread_id="left", settings=settings, tracer_provider=Traces().provider
    ).__enter__()
    Told(call).both(2_000)
    call.redact_audio(500, 1_000)
    recorder = call._engine.frames.recorder
    assert recorder is not None
    assert recorder.settle(5)
    assert recorder.folder is not None
    state = tmp_path / "left"
    shutil.copytree(
        recorder.folder, state / "conversations" / (DEAD + recorder.folder.name[len(DEAD) :])
    )
    call.close()
    assert otel_realtime.flush(20)
    shutil.rmtree(tmp_path / "gone")
    return call, state


@pytest.mark.parametrize("by", ["id", "folder", "state"])
def test_what_waits_is_written_down_and_stays(
    waiting: tuple[otel_realtime.Conversation, Path], tmp_path: Path, by: str
) -> None:
    """As it is, to the byte; what is to be silenced is silent in the copy."""
    call, state = waiting
    before = digests(state)
    (folder,) = (state / "conversations").iterdir()
    what = {"id": call.trace_id, "folder": folder, "state": state}[by]
    assert 0 == export(what, "--state-dir", state, "-o", tmp_path / "out")
    assert before == digests(state)
    found = call_of(tmp_path / "out")
    assert (call.langsmith_run_id, call.trace_id, "left", "error") == (
        found["id"],
        found["trace_id"],
        found["thread_id"],
        found["status"],
    )
    assert [(500, 1_000, "both")] == [
        (one["start_ms"], one["end_ms"], one["side"]) for one in found["redacted"]
    ]
    heard = samples(tmp_path / "out" / "recording.wav")
    assert not heard[12_000:24_000].any()
    assert heard[:9_600, 0].all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody",), "no recording of 'nobody': "),
        (("",), "the name of the call is empty"),
        (("x", "--recordings-dir", "/none"), "--recordings-dir /none: there is no such folder"),
        (("x", "--only", "mp3"), "'mp3' is not one of"),
        (("x", "--url", "here"), "--url 'here' is no address"),
        (("x", "--url", "http://127.0.0.1:9"), "no sandbox answers at http://127.0.0.1:9: "),
        (("{tmp}",), "no calls in {tmp}: neither recordings nor the JSON beside them"),
        (("{tmp}/a.json",), "{tmp}/a.json is no call: its schema is not otel-realtime/call"),
        (("{tmp}/b.json",), "{tmp}/b.json is a call of version 2: this otel-realtime reads 1"),
        (("{tmp}/c.json",), "{tmp}/c.json is no whole call: close, "),
        (("{tmp}/d.json",), "{tmp}/d.json is no JSON: "),
        ((), "Missing argument 'CONVERSATION|DIR|FILE'"),
    ],
)
def test_what_a_user_can_get_wrong(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names it; exit code 2."""
    if arguments[:1] != ("{tmp}",):
        schema = {"schema": "otel-realtime/call"}
        for name, value in (
            ("a", {}),
            ("b", {**schema, "version": 2}),
            ("c", {**schema, "version": 1}),
        ):
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        (tmp_path / "d.json").write_text("{")
    assert 2 == export(*(one.format(tmp=tmp_path) for one in arguments))
    assert said.format(tmp=tmp_path) in capsys.readouterr().err.splitlines()[-1]


def test_one_bad_sidecar_does_not_keep_the_others_from_being_exported(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its recording is written, and what is wrong with it is said; exit code 1."""
    folder = Path(kept.folder)
    shutil.copy(kept.recording, folder / "bad.wav")
    (folder / "bad.json").write_text('{"schema": "otel-realtime/call", "version": 1}')
    assert 1 == export(str(folder), "-o", str(tmp_path / "out"))
    assert (tmp_path / "out" / "bad" / "recording.wav").is_file()
    assert (tmp_path / "out" / kept.recording.stem / "call.json").is_file()
    err = capsys.readouterr().err
    assert f"bad: the call itself is not known: {folder}/bad.json is no whole call: close, " in err


def test_several_calls_of_a_thread_are_named(
    kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them has to be."""
    keep(tmp_path, capsys, "thread-7")
    assert 2 == export("thread-7", "--recordings-dir", kept.folder)
    err = capsys.readouterr().err
    assert "'thread-7' has 2 recordings, name one of them: " in err
    assert kept.recording.stem in err


def test_a_call_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is live, and has what was said so far; nobody is disturbed."""
    settings = Settings(recordings_dir=str(tmp_path / "kept"), langsmith="off")
    call = otel_realtime.conversation(
        thread_id="now", settings=settings, tracer_provider=Traces().provider
    ).__enter__()
    Told(call).both(2_000)
    recorder = call._engine.frames.recorder
    assert recorder is not None
    assert recorder.settle(5)
    assert 0 == export("now", "-o", tmp_path / "out")
    found = call_of(tmp_path / "out")
    assert (True, None, "ok") == (found["live"], found["duration_ms"], found["status"])
    call.close()
    assert otel_realtime.flush(20)
    assert 1 == len(list((tmp_path / "kept").glob("*.wav")))
