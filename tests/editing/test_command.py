"""``otel-realtime redact``: what it changes, what it says, and its exit codes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import otel_realtime
from otel_realtime import cli
from otel_realtime.editing.command import position
from otel_realtime.errors import ConfigError
from otel_realtime.recording.chunks import wav_header
from otel_realtime.recording.render import render
from otel_realtime.state.progress import KEPT, Progress
from tests.e2e.test_redaction import read
from tests.support.redacted import AGENT, BOTH, USER, Silent, silenced

Leave = Callable[..., "tuple[otel_realtime.Conversation, Path]"]


def redact(*arguments: object) -> int:
    """Run the command; returns its exit code."""
    return cli.main(["redact", *map(str, arguments)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of 100 seconds, without a zero in it."""
    samples = np.random.default_rng(5).integers(1, 9_000, (100 * 8_000, 2)).astype("<i2")
    path = tmp_path / "call.wav"
    path.write_bytes(wav_header(len(samples), 8_000) + samples.tobytes())
    return path


@pytest.mark.parametrize(
    ("arguments", "silent"),
    [
        (("--from", "2", "--to", "3"), [(2_000, 3_000, BOTH)]),
        (("--from", "0:02.5", "--to", "1:03.125"), [(2_500, 63_125, BOTH)]),
        (("--from", "0", "--to", ".5", "--side", "user"), [(0, 500, USER)]),
        (("--from", "99", "--to", "1:00:00", "--side", "agent"), [(99_000, 100_000, AGENT)]),
    ],
)
def test_in_place(
    arguments: tuple[str, ...],
    silent: list[Silent],
    recording: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Silent inside, the same everywhere else; one line says what was done."""
    whole, rate_hz = read(recording)
    assert 0 == redact(recording, *arguments)
    assert np.array_equal(silenced(whole, rate_hz, silent), read(recording)[0])
    out, err = capsys.readouterr()
    assert ("", 1) == (err, out.count("\n"))
    assert out.startswith(f"{recording}: silenced ")


def test_the_line_says_what_was_silenced(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In minutes and seconds, as far as there is sound."""
    redact(recording, "--from", "62.5", "--to", "500", "--side", "agent")
    assert f"{recording}: silenced 1:02.500 to 1:40.000 of the agent's side\n" == (
        capsys.readouterr().out
    )


def test_to_another_file_with_a_beep(recording: Path, tmp_path: Path) -> None:
    """The original stays."""
    whole, rate_hz = read(recording)
    out = tmp_path / "out.wav"
    assert 0 == redact(recording, "--from", 1, "--to", 2, "--beep", "-o", out)
    found, _ = read(out)
    inside = slice(rate_hz, 2 * rate_hz)
    assert np.array_equal(whole, read(recording)[0])
    assert np.array_equal(np.delete(whole, inside, axis=0), np.delete(found, inside, axis=0))
    assert 3_276 == abs(found[inside]).max()


def test_a_conversation_in_both_of_its_places(
    leave: Leave, tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The copy that was kept, and what will be delivered."""
    _, folder = leave("caller-7", closed=False)
    (file,) = kept.glob("*.wav")
    whole, rate_hz = read(file)
    where = ("--recordings-dir", kept, "--state-dir", tmp_path / "left")
    assert 0 == redact("caller-7", "--from", 0.5, "--to", 1, *where)
    expected = silenced(whole, rate_hz, [(500, 1_000, BOTH)])
    assert np.array_equal(expected, read(file)[0])
    assert np.array_equal(expected, read(render(folder, tmp_path / "again.wav").path)[0])
    assert 2 == capsys.readouterr().out.count("silenced 0:00.500 to 0:01.000 of both sides")


def test_the_environment_names_the_folders(
    leave: Leave, tmp_path: Path, kept: Path, process: pytest.MonkeyPatch
) -> None:
    """As it does for the app."""
    call, folder = leave("caller-7", closed=False)
    process.setenv("OTEL_REALTIME_RECORDINGS_DIR", str(kept))
    process.setenv("OTEL_REALTIME_STATE_DIR", str(tmp_path / "left"))
    assert 0 == redact(call.trace_id, "--from", 0.5, "--to", 1)
    (file,) = kept.glob("*.wav")
    assert not read(file)[0][12_000:24_000].any()
    assert b'"redact"' in (folder / "journal.jsonl").read_bytes()


def test_a_copy_that_was_kept_elsewhere_is_not_forgotten(
    leave: Leave, tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal knows where; it is not followed there, and the exit code says so."""
    _, folder = leave("caller-7", closed=False)
    Progress(folder).note(KEPT)
    (tmp_path / "empty").mkdir()
    where = ("--recordings-dir", tmp_path / "empty", "--state-dir", tmp_path / "left")
    assert 1 == redact("caller-7", "--from", 0.5, "--to", 1, *where)
    assert f"a copy was kept in {kept}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "x", "--to", "1"), "--from 'x' is no position"),
        (("--from", "0", "--to", "nan"), "--to 'nan' is no position"),
        (("--from", "0", "--to", "1e3"), "--to '1e3' is no position"),
        (("--from", "0", "--to", "1:75"), "--to '1:75' is no position"),
        (("--from", "0", "--to", ""), "--to '' is no position"),
        (("--from", "0", "--to", "9" * 5_000), "is no position"),
        (("--from", "2", "--to", "1"), "--from 2 is not before --to 1"),
        (("--from", "1", "--to", "1"), "--from 1 is not before --to 1"),
    ],
)
def test_usage_errors(
    arguments: tuple[str, ...], message: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, and nothing is changed."""
    before = recording.read_bytes()
    assert 2 == redact(recording, *arguments)
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert err.startswith("otel-realtime: ")
    assert message in err
    assert before == recording.read_bytes()


def test_nothing_of_that_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error, too."""
    assert 2 == redact("nobody", "--from", 0, "--to", 1, "--state-dir", tmp_path)
    assert "no recording of 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--recordings-dir", "--state-dir"])
def test_a_folder_with_a_typo(
    option: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is not an empty one."""
    assert 2 == redact(recording, "--from", 0, "--to", 1, option, tmp_path / "typo")
    assert "typo: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("--from", "1"), ("--side", "both")])
def test_missing_and_unknown_arguments(
    arguments: tuple[str, ...], recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parser's own errors."""
    assert 2 == redact(recording, *arguments)
    assert "otel-realtime redact: " in capsys.readouterr().err.splitlines()[-1]


def test_the_result_as_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was silenced, in milliseconds into the recording."""
    assert 0 == redact(recording, "--from", 0.25, "--to", 0.5, "--side", "user", "--json")
    expected = {"path": str(recording), "start_ms": 250, "end_ms": 500, "side": "user"}
    assert {"silenced": [expected], "problems": []} == json.loads(capsys.readouterr().out)


def test_what_cannot_be_silenced_is_an_exit_code_of_one(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No recording, or beyond its end: one line each."""
    other = tmp_path / "notes.txt"
    other.write_text("no recording")
    for path, start, message in (
        (other, 0, "neither WAV nor FLAC nor Ogg"),
        (recording, 200, "is only 100.000 s long"),
    ):
        assert 1 == redact(path, "--from", start, "--to", start + 1)
        out, err = capsys.readouterr()
        assert ("", 1) == (out, err.count("\n"))
        assert message in err


def test_an_undelivered_one_has_no_file_to_write_from(
    leave: Leave, tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``-o`` reads a file."""
    leave("caller-7", closed=False)
    shutil.rmtree(kept)
    where = ("--state-dir", tmp_path / "left", "-o", tmp_path / "out.wav")
    assert 2 == redact("caller-7", "--from", 0, "--to", 1, *where)
    assert "--output needs a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("12", 12_000),
        ("12.", 12_000),
        (".25", 250),
        ("1:02.5", 62_500),
        ("01:02", 62_000),
        ("75", 75_000),
        ("2:00:01.001", 7_201_001),
        (" 3 ", 3_000),
    ],
)
def test_positions(text: str, expected: int) -> None:
    """Seconds, or minutes and seconds, in ms here."""
    assert expected * 1_000_000 == position(text, "--from")


@pytest.mark.parametrize(
    "text", ["-1", "1:2:3:4", "1:60", "１", "1,5", "inf", "0x10", "1:-2", "9" * 5_000 + ":00:00"]
)
def test_no_positions(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError, match="is no position"):
        position(text, "--from")
