"""FLAC and Ogg Opus say of themselves what the WAV says, and sound as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otel_realtime.recording.about import About
from otel_realtime.recording.chunks import wav_header
from otel_realtime.recording.comments import (
    Chapter,
    comments_of,
    copy_with_comments,
    is_ours,
    read_comments,
    with_chapter,
)
from otel_realtime.recording.description import pack_description
from otel_realtime.recording.labels import Label, pack_labels
from otel_realtime.version import VERSION

soundfile = pytest.importorskip("soundfile")

RATE = 24_000
KINDS = {
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}
#: More than a page of an Ogg file takes: 255 segments of 255 bytes.
LONG = [f"CHAPTER{n:03}NAME={'x' * 200}" for n in range(900)]


def encoded(folder: Path, kind: str, seconds: int = 5) -> Path:
    """A file as libsndfile makes it."""
    noise = np.random.default_rng(2).normal(0, 3_000, (seconds * RATE, 2)).astype("<i2")
    path = folder / f"a.{kind}"
    soundfile.write(path, noise, RATE, **KINDS[kind])
    return path


def wav(path: Path, about: About, labels: list[Label]) -> Path:
    """A silent second that describes itself."""
    behind = pack_description(about, RATE) + pack_labels(labels)
    path.write_bytes(wav_header(RATE, RATE, len(behind)) + bytes(RATE * 4) + behind)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("comments", [[], ["TITLE=ä", "EMPTY="], LONG], ids=["no", "few", "many"])
def test_a_copy_has_the_comments_and_the_same_sound(
    tmp_path: Path, kind: str, comments: list[str]
) -> None:
    """Read by libsndfile, which checks every page's checksum; a copy of a copy, too."""
    source = encoded(tmp_path, kind)
    for number in range(2):
        target = tmp_path / f"{number}.{kind}"
        copy_with_comments(source, target, comments)
        assert comments == read_comments(target)
        before, rate_hz = soundfile.read(source, dtype="int16")
        after, _ = soundfile.read(target, dtype="int16")
        assert RATE == rate_hz
        assert np.array_equal(before, after)
        with soundfile.SoundFile(target) as sound:
            assert ("ä" if "TITLE=ä" in comments else None) == sound.copy_metadata().get("title")
        source = target


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_cut_off_is_not_read_for_ever(tmp_path: Path, kind: str) -> None:
    """Nothing, or what is still there; never an error that nobody expects."""
    whole = encoded(tmp_path, kind).read_bytes()
    part = tmp_path / "part"
    for length in [*range(200), len(whole) // 2]:
        part.write_bytes(whole[:length])
        assert read_comments(part) in (None, [])
    part.write_bytes(b"RIFF" + whole)
    assert read_comments(part) is None
    with pytest.raises(ValueError):
        copy_with_comments(part, tmp_path / "copy", [])


def test_more_than_a_flac_file_can_hold_is_an_error(tmp_path: Path) -> None:
    """A block has 24 bits for its length."""
    with pytest.raises(ValueError, match="too long"):
        copy_with_comments(encoded(tmp_path, "flac"), tmp_path / "b.flac", ["A=" + "x" * 2**24])


def test_what_a_wav_says_becomes_comments(tmp_path: Path) -> None:
    """Names that players know, names for what they do not, and its labels as chapters."""
    about = About(thread_id="t-7", trace_id="ab" * 16, start_ns=1_795_000_000_123_456_789)
    labels = [Label(0, 12_000, "turn 1: user"), Label(12_012, 0, "barge-in")]
    comments = comments_of(wav(tmp_path / "a.wav", about, labels))
    assert [
        "TITLE=Conversation t-7",
        "ARTIST=user (left), agent (right)",
        "DATE=2026-11-18",
        (
            f"DESCRIPTION=left: user, right: agent; thread t-7; trace {'ab' * 16}; "
            "started at 2026-11-18T11:06:40.123456Z"
        ),
        f"ENCODER=otel-realtime {VERSION}",
        "THREAD_ID=t-7",
        "CHANNEL_LEFT=user",
        "CHANNEL_RIGHT=agent",
        f"TRACE_ID={'ab' * 16}",
        "START_TIME=2026-11-18T11:06:40Z",
        "CHAPTER001=00:00:00.000",
        "CHAPTER001NAME=turn 1: user",
        "CHAPTER002=00:00:00.500",
        "CHAPTER002NAME=barge-in",
    ] == comments
    assert is_ours(comments)


def test_a_foreign_wav_says_less_or_nothing(tmp_path: Path) -> None:
    """No description, no format: no comment."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav_header(2, RATE) + bytes(8))
    assert [] == comments_of(path)
    path.write_bytes(b"RIFF\0\0\0\0WAVE")
    assert [] == comments_of(path)
    assert not is_ours(["ENCODER=somebody"])


def test_there_are_no_more_chapters_than_three_digits_count(tmp_path: Path) -> None:
    """A fourth digit would be read as another chapter's name."""
    labels = [Label(n, 0, f"turn {n}") for n in range(1_200)]
    comments = comments_of(wav(tmp_path / "a.wav", About(), labels))
    assert "CHAPTER999NAME=turn 998" == comments[-1]


def test_a_chapter_is_added_at_its_place() -> None:
    """The others keep their names; what is no chapter, or has no time, stays."""
    comments = ["TITLE=a", "CHAPTER001=00:00:01.000", "CHAPTER001NAME=one", "chapter002=1:02:03.5"]
    assert [
        "TITLE=a",
        "CHAPTER001=00:00:01.000",
        "CHAPTER001NAME=one",
        "CHAPTER002=00:00:01.500",
        "CHAPTER002NAME=new",
        "CHAPTER003=01:02:03.500",
        "CHAPTER003NAME=",
    ] == with_chapter(comments, Chapter(1_500, "new"))
    assert [
        "CHAPTER001=00:00:00.000",
        "CHAPTER001NAME=",
        "CHAPTER002=00:00:00.000",
        "CHAPTER002NAME=new",
    ] == with_chapter(["CHAPTER007=soon"], Chapter(0, "new"))
