"""Plain files are read; anything else is refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_realtime.state.files import descriptor_of, is_folder, read_bytes


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    """Also through a link to it."""
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert [b"abc", b"abc"] == [read_bytes(tmp_path / name) for name in ("file", "link")]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
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
