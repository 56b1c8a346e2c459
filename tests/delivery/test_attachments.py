"""Smaller files of a recording: the same sound, in the right kind of file, at flat memory."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from otel_realtime.delivery.attachments import attachment, encode
from otel_realtime.delivery.model import Closing
from otel_realtime.errors import RecordingError
from otel_realtime.langsmith.delivery import End
from otel_realtime.recording.about import About
from otel_realtime.recording.chunks import wav_header
from otel_realtime.recording.comments import comments_of, read_comments
from otel_realtime.recording.description import pack_description
from otel_realtime.recording.labels import Label, pack_labels
from tests.support.calls import DATA

soundfile = pytest.importorskip("soundfile")
Both = npt.NDArray[np.int16]
RATE = 24_000


def conversation(seconds: int = 12, rate_hz: int = RATE) -> Both:
    """The user speaks, then the agent, then both: noise with a voice's slope, 4 s each."""
    n = seconds * rate_hz
    white = np.random.default_rng(7).normal(0, 900, (n + 24, 2))
    voices = np.stack([np.convolve(white[:, side], np.ones(8), "same")[:n] for side in (0, 1)], 1)
    third = n // 3
    voices[:third, 1] = voices[third : 2 * third, 0] = 0
    return np.round(voices).astype("<i2")


def written(folder: Path, both: Both, rate_hz: int = RATE) -> Path:
    """A recording as it is rendered."""
    path = folder / "conversation.wav"
    path.write_bytes(wav_header(len(both), rate_hz) + both.tobytes())
    return path


def loudness(samples: Both) -> float:
    """Mean square."""
    return float((samples.astype(float) ** 2).mean())


def test_flac_is_bit_exact(tmp_path: Path) -> None:
    """Every sample of both sides comes back, from a smaller file that only the user can read."""
    both = conversation()
    path = encode(written(tmp_path, both), "flac")
    read, rate_hz = soundfile.read(path, dtype="int16")
    assert (RATE, ".flac") == (rate_hz, path.suffix)
    assert (both == read).all()
    assert path.stat().st_size < both.nbytes
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert {"conversation.wav", "conversation.flac"} == {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 22_050])
def test_opus_keeps_the_sides_apart(tmp_path: Path, rate_hz: int) -> None:
    """As long as the recording, a small part of its size, and nothing of one side on the other."""
    both = conversation(rate_hz=rate_hz)
    path = encode(written(tmp_path, both, rate_hz), "opus")
    assert b"OggS" == path.read_bytes()[:4]
    read, got_hz = soundfile.read(path, dtype="int16")
    assert (48_000 if rate_hz == 22_050 else rate_hz) == got_hz
    assert len(both) / rate_hz == pytest.approx(len(read) / got_hz, abs=0.03)
    assert path.stat().st_size < both.nbytes / (4 if rate_hz == 8_000 else 8)
    third, edge = len(read) // 3, got_hz // 10
    user, agent = read[edge : third - edge], read[third + edge : 2 * third - edge]
    assert loudness(user[:, 1]) < loudness(user[:, 0]) * 1e-5
    assert loudness(agent[:, 0]) < loudness(agent[:, 1]) * 1e-5
    assert loudness(user[:, 0]) == pytest.approx(loudness(both[: len(both) // 3, 0]), rel=0.3)


@pytest.mark.skipif(not DATA.exists(), reason="needs the shared sample data")
def test_two_voices_at_once_stay_apart_in_opus(tmp_path: Path) -> None:
    """What is heard on one side while both speak is that side: no trace of the other's voice."""
    user = np.frombuffer((DATA / "audio/marcelo_24khz.pcm").read_bytes(), "<i2")
    agent = np.roll(user[::-1], 5_000)
    both = np.stack([user, agent], 1)
    read, _ = soundfile.read(encode(written(tmp_path, both), "opus"), dtype="int16")
    sources = both[: len(read)].astype(float)
    for side in (0, 1):
        weights, *_ = np.linalg.lstsq(sources, read[:, side].astype(float), rcond=None)
        assert abs(weights[1 - side]) < 0.02
        assert weights[side] > 0.9


@pytest.mark.parametrize("name", ["flac", "opus"])
def test_a_smaller_file_says_what_the_wav_says(tmp_path: Path, name: str) -> None:
    """Its description as comments, its labels as chapters."""
    about = About(thread_id="t-7", trace_id="ab" * 16, start_ns=1_795_000_000_000_000_000)
    behind = pack_description(about, RATE) + pack_labels([Label(RATE, 9, "turn 2: agent")])
    both = conversation(3)
    path = tmp_path / "conversation.wav"
    path.write_bytes(wav_header(len(both), RATE, len(behind)) + both.tobytes() + behind)
    comments = read_comments(encode(path, name))
    assert comments == comments_of(path)
    assert comments is not None
    assert ["CHAPTER001=00:00:01.000", "CHAPTER001NAME=turn 2: agent"] == comments[-2:]


@pytest.mark.parametrize("audio_format", ["auto", "wav", "flac"])
def test_how_loud_each_side_is_goes_along(tmp_path: Path, audio_format: str) -> None:
    """Known when the recording is made, so it is not in the run's end before."""
    wav = written(tmp_path, conversation(3))
    end = End(
        Closing(end_ns=1, metadata={"turns": 2}),
        lambda: attachment(wav, audio_format, {"user": -23.1, "agent": -19.0}),
        None,
        1,
    )
    end.prepare()
    loudness = {"user_loudness_lufs": -23.1, "agent_loudness_lufs": -19.0}
    assert {"turns": 2, **loudness} == end.metadata
    assert {} == attachment(wav, audio_format).metadata


def chosen(wav: Path, audio_format: str, limit: int) -> list[tuple[str, str]]:
    """What is attached under a limit, and after each time that it is found too large."""
    end = End(Closing(end_ns=1), lambda: attachment(wav, audio_format), None, limit)
    end.prepare()
    found = []
    while end.attached is not None and end.attached.path is not None:
        found.append((end.attached.path.suffix, end.attached.mime))
        end.shrink()
    return [*found, ("", end.status)]


WAV, FLAC, OPUS = (".wav", "audio/wav"), (".flac", "audio/flac"), (".ogg", "audio/ogg")
TOO_LARGE = ("", "too_large")


def test_the_largest_file_that_fits(tmp_path: Path) -> None:
    """WAV, then FLAC, then Opus, as the limit or the server wants; then nothing, and why."""
    wav = written(tmp_path, conversation())
    sizes = [wav.stat().st_size, *(encode(wav, name).stat().st_size for name in ("flac", "opus"))]
    assert [WAV, FLAC, OPUS, TOO_LARGE] == chosen(wav, "auto", sizes[0])
    assert [FLAC, OPUS, TOO_LARGE] == chosen(wav, "auto", sizes[0] - 1)
    assert [OPUS, TOO_LARGE] == chosen(wav, "auto", sizes[1] - 1)
    assert [TOO_LARGE] == chosen(wav, "auto", sizes[2] - 1)


@pytest.mark.parametrize(("name", "only"), [("wav", WAV), ("flac", FLAC), ("opus", OPUS)])
def test_a_format_that_is_asked_for_is_the_only_one(
    tmp_path: Path, name: str, only: tuple[str, str]
) -> None:
    """The setting names what the team's tools read."""
    wav = written(tmp_path, conversation(3))
    assert [only, TOO_LARGE] == chosen(wav, name, wav.stat().st_size)
    assert [TOO_LARGE] == chosen(wav, name, 100)


@pytest.mark.parametrize(
    ("name", "expected"), [("auto", [TOO_LARGE]), ("flac", [TOO_LARGE]), ("opus", [TOO_LARGE])]
)
def test_without_the_library_the_log_says_what_to_install(
    tmp_path: Path,
    name: str,
    expected: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line names the extra; a recording that fits goes as WAV."""
    wav = written(tmp_path, conversation(3))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with caplog.at_level(logging.WARNING):
        assert expected == chosen(wav, name, 100)
    (line,) = caplog.messages
    assert 'pip install "otel-realtime[audio-formats]"' in line
    assert [WAV, TOO_LARGE] == chosen(wav, name, wav.stat().st_size)


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    """No WAV, or no room: an error that says so, and no half file."""
    with pytest.raises(RecordingError, match="FLAC"):
        encode(tmp_path / "conversation.wav", "flac")
    (tmp_path / "conversation.ogg").mkdir()
    with pytest.raises(RecordingError, match="OPUS"):
        encode(written(tmp_path, conversation(3)), "opus")
    assert {"conversation.wav", "conversation.ogg"} == {one.name for one in tmp_path.iterdir()}


GROWTH = """
import resource, sys
from pathlib import Path
from otel_realtime.delivery.attachments import encode
wav, short = Path(sys.argv[1]), Path(sys.argv[2])
encode(short, sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
encode(wav, sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("name", ["flac", "opus"])
def test_memory_does_not_grow_with_the_length(tmp_path: Path, name: str) -> None:
    """Two minutes, 11 MB, take no more memory than three seconds."""
    (tmp_path / "short").mkdir()
    short = written(tmp_path / "short", conversation(3))
    long = written(tmp_path, np.tile(conversation(12), (10 if name == "flac" else 5, 1)))
    command = [sys.executable, "-c", GROWTH, str(long), str(short), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 4_096  # kB
