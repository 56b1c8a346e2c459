"""The list of spans that reached the disk."""

from __future__ import annotations

from pathlib import Path

from otel_realtime.state.stored import STORED, note_stored, read_stored


def test_what_is_noted_is_read(tmp_path: Path) -> None:
    """Batch after batch, readable by nobody else."""
    note_stored(tmp_path, [1, 2**64 - 1])
    note_stored(tmp_path, [3])
    assert {1, 2**64 - 1, 3} == read_stored(tmp_path)
    assert 0o600 == (tmp_path / STORED).stat().st_mode & 0o777


def test_a_list_that_makes_no_sense(tmp_path: Path) -> None:
    """Torn, foreign and empty lines say nothing; the others do."""
    assert set() == read_stored(tmp_path)
    note_stored(tmp_path, [1, 0xFF])
    with (tmp_path / STORED).open("ab") as file:
        file.write(
            b"\n\xff\xfe\nzzzzzzzzzzzzzzzz\n00000000000000000\n0000000000000003\n00000000000"
        )
    assert {1, 0xFF, 3} == read_stored(tmp_path)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """Its conversation is delivered: there is nothing to note."""
    note_stored(tmp_path / "gone", [1])
    assert [] == [*tmp_path.iterdir()]
