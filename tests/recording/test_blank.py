"""What is silenced is overwritten in the sources, sample by sample; everything else stays there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from otel_realtime.core.audio.formats import ALAW, MULAW, AudioFormat
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.recording.blank import blank_sources

MS = 1_000_000


def timeline(*records: list[object]) -> Timeline:
    """A timeline at its end; times in ms."""
    found = Timeline()
    for kind, at_ms, *rest in records:
        assert isinstance(at_ms, int)
        found.apply([kind, at_ms * MS, *rest])
    found.finish()
    return found


def loud(folder: Path, name: str) -> list[tuple[int, int]]:
    """Where the bytes of a source are still what they were (7), as (first, after last)."""
    raw = np.frombuffer((folder / name).read_bytes(), np.uint8)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], raw == 7, [0]))))
    return [(int(first), int(after)) for first, after in edges.reshape(-1, 2)]


def write(folder: Path, **sizes: int) -> None:
    """Sources of so many bytes."""
    for name, size in sizes.items():
        (folder / f"{name.replace('_', '-')}.raw").write_bytes(b"\x07" * size)


def test_only_the_stretch_only_its_side(tmp_path: Path) -> None:
    """The samples that lie wholly inside."""
    write(tmp_path, user=1_000 * 48, agent=1_000 * 48)
    blank_sources(
        tmp_path,
        timeline(
            ["agent", 0, 0, 1_000 * 48, "a", 0, "r"],
            ["user", 1_000, 0, 1_000 * 48],
            ["redact", 1_000, 100 * MS, 300 * MS, "user"],
            ["redact", 1_000, 200 * MS, 400 * MS, "user"],
        ),
    )
    assert [(0, 100 * 48), (400 * 48, 1_000 * 48)] == loud(tmp_path, "user.raw")
    assert [(0, 1_000 * 48)] == loud(tmp_path, "agent.raw")


@pytest.mark.parametrize(("encoding", "silent"), [(MULAW, 0xFF), (ALAW, 0xD5)])
def test_g711_has_a_silence_of_its_own(tmp_path: Path, encoding: str, silent: int) -> None:
    """A byte of zeros would be a loud sample."""
    write(tmp_path, agent=1_000 * 8)
    blank_sources(
        tmp_path,
        timeline(
            ["format", 0, "agent", AudioFormat(encoding).to_wire()],
            ["agent", 0, 0, 1_000 * 8, "a", 0, "r"],
            ["redact", 1_000, 0, 500 * MS],
        ),
    )
    assert {silent} == set((tmp_path / "agent.raw").read_bytes()[: 500 * 8])
    assert [(500 * 8, 1_000 * 8)] == loud(tmp_path, "agent.raw")


def test_what_the_tap_replaced_is_on_disk_as_well(tmp_path: Path) -> None:
    """The wire says the same words as the microphone."""
    write(tmp_path, user=1_000 * 48, user_tap=1_000 * 48)
    blank_sources(
        tmp_path,
        timeline(
            ["user", 1_000, 0, 1_000 * 48],
            ["tap", 1_000, "user", 0, 1_000 * 48],
            ["redact", 1_000, 100 * MS, 300 * MS],
        ),
    )
    for name in ("user.raw", "user-tap.raw"):
        assert [(0, 100 * 48), (300 * 48, 1_000 * 48)] == loud(tmp_path, name)


def test_holes_missing_files_and_torn_ones_are_left_alone(tmp_path: Path) -> None:
    """Nothing is made, nothing becomes longer."""
    write(tmp_path, user=50)
    blank_sources(
        tmp_path,
        timeline(
            ["user", 100, 0, 100 * 48],
            ["hole", 200, "user", 100 * 48],
            ["agent", 200, 0, 1_000 * 48, "a", 0, "r"],
            ["redact", 200, 0, 10**12],
        ),
    )
    assert ["user.raw"] == os.listdir(tmp_path)
    assert bytes(50) == (tmp_path / "user.raw").read_bytes()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody's file elsewhere is overwritten because somebody planted a link."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"\x07" * 4_800)
    (tmp_path / "user.raw").symlink_to(elsewhere)
    told = timeline(["user", 100, 0, 4_800], ["redact", 100, 0, 100 * MS])
    with pytest.raises(OSError):
        blank_sources(tmp_path, told)
    assert b"\x07" * 4_800 == elsewhere.read_bytes()
