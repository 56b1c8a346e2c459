"""A WAV says whose it is, when it began and who is where, to readers of either kind of chunk."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
import wavinfo

from otel_realtime.recording.about import About
from otel_realtime.recording.chunks import Chunk, chunks_of, wav_header
from otel_realtime.recording.description import (
    forget_loudness,
    pack_description,
    read_description,
)
from otel_realtime.version import VERSION

soundfile = pytest.importorskip("soundfile")

TRACE = "0af7651916cd43dd8448eb211c80319c"
#: 2026-11-18T11:06:40.123456789 UTC.
START_NS = 1_795_000_000_123_456_789
ABOUT = About(thread_id="thread-7", trace_id=TRACE, start_ns=START_NS)


def written(path: Path, about: About, loudness: float | None = None, rate_hz: int = 24_000) -> str:
    """A silent WAV that describes itself."""
    behind = pack_description(about, rate_hz, loudness)
    path.write_bytes(wav_header(100, rate_hz, len(behind)) + bytes(400) + behind)
    return str(path)


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 48_000])
def test_the_broadcast_extension(tmp_path: Path, rate_hz: int) -> None:
    """Every field as EBU Tech 3285 has it; the start to the sample, in samples since midnight."""
    read = wavinfo.WavInfoReader(written(tmp_path / "a.wav", ABOUT, -23.456, rate_hz))
    assert {
        "description": "left: user, right: agent; thread thread-7",
        "originator": "otel-realtime",
        "originator_ref": TRACE,
        "originator_date": "2026-11-18",
        "originator_time": "11:06:40",
        "time_reference": round((11 * 3_600 + 6 * 60 + 40.123_456_789) * rate_hz),
        "version": 2,
        "umid": bytes(64),
        "coding_history": f"A=PCM,F={rate_hz},W=16,M=stereo,"
        f"T=otel-realtime {VERSION};left=user;right=agent;times in UTC\r\n",
        "loudness_value": -23.46,
        "loudness_range": 327.67,  # 0x7FFF: not used
        "max_true_peak": 327.67,
        "max_momentary_loudness": 327.67,
        "max_shortterm_loudness": 327.67,
    } == read.bext.to_dict()


def test_the_info_list(tmp_path: Path) -> None:
    """What players and taggers show."""
    with soundfile.SoundFile(written(tmp_path / "a.wav", ABOUT)) as sound:
        found, log = sound.copy_metadata(), sound.extra_info
    assert {
        "title": "Conversation thread-7",
        "artist": "user (left), agent (right)",
        "comment": f"left: user, right: agent; thread thread-7; trace {TRACE}; "
        "started at 2026-11-18T11:06:40.123456Z",
        "date": "2026-11-18",
        "software": f"otel-realtime {VERSION}",
    } == found
    assert "***" not in log


def test_our_own_reader(tmp_path: Path) -> None:
    """What comments in other formats are made of."""
    with open(written(tmp_path / "a.wav", ABOUT), "rb") as file:
        found = read_description(file, chunks_of(file))
    assert ("otel-realtime", TRACE, "2026-11-18T11:06:40") == (
        found.originator, found.trace_id, found.started_at,
    )  # fmt: skip
    assert "thread-7" == found.info["ISBJ"]


@pytest.mark.parametrize(
    "about",
    [
        About(),
        replace(ABOUT, start_ns=10**24),
        replace(ABOUT, start_ns=-(10**24)),
        replace(ABOUT, thread_id="\ud800\0\N{GRINNING FACE}, ÄÖ"),
        replace(ABOUT, thread_id="x" * 10**6),
        replace(ABOUT, thread_id="", trace_id="not one of ours, and long" * 9),
    ],
    ids=["nothing", "no year", "no year before", "odd text", "long text", "foreign ids"],
)
def test_whatever_an_app_gives_makes_a_file_that_can_be_read(tmp_path: Path, about: About) -> None:
    """What is not known is left out; text is cut, not the file."""
    path = written(tmp_path / "a.wav", about)
    read = wavinfo.WavInfoReader(path)
    assert 2 == read.bext.version
    assert f"otel-realtime {VERSION}" == read.info.software
    assert 100 == soundfile.info(path).frames
    assert Path(path).stat().st_size < 10_000


@pytest.mark.parametrize("loudness", [None, -23.0, -400.0, 400.0])
def test_the_length_does_not_depend_on_the_loudness(loudness: float | None) -> None:
    """The header says it before anything was measured."""
    assert len(pack_description(ABOUT, 24_000)) == len(pack_description(ABOUT, 24_000, loudness))


def test_a_loudness_can_be_forgotten(tmp_path: Path) -> None:
    """And nothing else changes; too short a chunk is left alone."""
    path = written(tmp_path / "a.wav", ABOUT, -20.0)
    raw = bytearray(Path(path).read_bytes())
    with open(path, "rb") as file:
        (bext,) = [each for each in chunks_of(file) if each.name == b"bext"]
    raw[bext.at : bext.at + bext.size] = forget_loudness(bytes(raw[bext.at : bext.at + bext.size]))
    unknown = Path(written(tmp_path / "b.wav", ABOUT)).read_bytes()
    assert unknown == bytes(raw)
    assert b"short" == forget_loudness(b"short")


def test_chunks_that_are_cut_off_say_nothing() -> None:
    """A damaged file has no description."""
    found = read_description(BytesIO(b"bext"), [Chunk(b"bext", 0, 4), Chunk(b"LIST", 0, 4)])
    assert ({}, "") == (found.info, found.originator)
