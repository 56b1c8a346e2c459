"""The files of a folder, here or in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.viewing.files import files_of


@pytest.mark.parametrize("remote", [False, True], ids=["folder", "bucket"])
def test_names_stamps_contents(remote: bool, tmp_path: Path) -> None:
    """The same of both; folders are no files."""
    if remote:
        pytest.importorskip("fsspec")
    folder, fetched = tmp_path / "kept", tmp_path / "fetched"
    (folder / "more").mkdir(parents=True)
    fetched.mkdir()
    (folder / "a.json").write_bytes(b"{}")
    files = files_of(f"file://{folder}" if remote else str(folder), fetched)
    before = files.stamps()
    assert before.keys() == {"a.json"}
    assert files.read("a.json") == files.local("a.json").read_bytes() == b"{}"
    (folder / "a.json").write_bytes(b'{"more": 1}')
    assert files.stamps() != before


@pytest.mark.parametrize("directory", ["/nowhere/at/all", "nowhere://x", "file:///nowhere/at/all"])
def test_what_is_no_folder_is_named(directory: str, tmp_path: Path) -> None:
    """By an error of ours."""
    with pytest.raises(ConfigError, match="nowhere"):
        files_of(directory, tmp_path)
