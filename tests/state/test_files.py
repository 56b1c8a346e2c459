"""Plain files are read; anything else is refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_realtime.state.files import (
    descriptor_of,
    for_appending,
    for_locking,
    for_overwriting,
    is_folder,
    made_anew,
    read_bytes,
)


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """As it is."""
    (tmp_path / "file").write_bytes(b"abc")
    assert b"abc" == read_bytes(tmp_path / "file")


def link_to_a_file(path: Path) -> None:
    """A link to a plain file outside."""
    (path.parent / "outside").write_bytes(b"abc")
    path.symlink_to("outside")


@pytest.mark.parametrize("make", [Path.touch, link_to_a_file, os.mkfifo])
def test_a_file_is_made_anew_in_the_place_of_anything(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    """Private, and nothing outside is touched."""
    make(tmp_path / "new")
    with open(tmp_path / "new", "wb", opener=made_anew) as file:
        file.write(b"xyz")
    assert (b"xyz", 0o600) == (
        read_bytes(tmp_path / "new"),
        (tmp_path / "new").stat().st_mode & 0o777,
    )
    assert [b"abc"] * (make is link_to_a_file) == [
        path.read_bytes() for path in tmp_path.glob("outside")
    ]


@pytest.mark.parametrize("make", [Path.mkdir, link_to_a_file])
def test_nothing_is_appended_or_locked_through_a_link(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    """Nor in a folder's place."""
    make(tmp_path / "thing")
    for opens in (for_appending, for_locking, for_overwriting):
        with pytest.raises(OSError):
            opens(tmp_path / "thing")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null"), link_to_a_file]
)
def test_anything_else_is_refused(make: Callable[[Path], object], tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, a device: no descriptor stays open."""
    make(tmp_path / "thing")
    before = os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else []
    with pytest.raises(OSError, match="not a plain file"):
        descriptor_of(tmp_path / "thing")
    assert len(before) == len(os.listdir("/dev/fd") if before else [])


def test_what_is_not_there_is_told_apart(tmp_path: Path) -> None:
    """By the usual error."""
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "nothing")


def test_a_link_is_no_folder(tmp_path: Path) -> None:
    """Whatever it leads to."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    paths = (tmp_path, tmp_path / "link", tmp_path / "file", tmp_path / "nothing")
    assert [True, False, False, False] == [is_folder(path) for path in paths]
