"""A recording by any of its names: found, in both of its places, or not found in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import otel_realtime
from otel_realtime.editing.find import find
from otel_realtime.errors import ConfigError

Leave = Callable[..., "tuple[otel_realtime.Conversation, Path]"]
THREAD = "+49 30/1234"


def names(call: otel_realtime.Conversation) -> dict[str, str]:
    """What one may call a conversation."""
    return {
        "thread": call.thread_id,
        "trace": call.trace_id,
        "run": call.langsmith_run_id,
        "span": call.langsmith_run_id.replace("-", "")[16:],
    }


def test_what_waits_is_found_by_every_name(leave: Leave, tmp_path: Path, kept: Path) -> None:
    """Its folder, and the copy that was kept; other calls are left alone."""
    call, folder = leave(THREAD, closed=False)
    leave("another", closed=False)
    (file,) = (path for path in kept.glob("*.wav") if "another" not in path.name)
    for name in [*names(call).values(), folder.name, file.stem]:
        found = find(name, str(kept), tmp_path / "left")
        assert ([file], [folder]) == (found.files, [path for path, _ in found.folders]), name


def test_what_is_kept_only_is_found_by_what_its_name_says(leave: Leave, kept: Path) -> None:
    """The thread, and the root span; not the trace."""
    call, _ = leave(THREAD)
    (file,) = kept.glob("*.wav")
    nowhere = kept / "nothing"
    for kind, name in [*names(call).items(), ("file", file.stem)]:
        if kind != "trace":
            assert [file] == find(name, str(kept), nowhere).files
    with pytest.raises(ConfigError, match="no recording of"):
        find(call.trace_id, str(kept), nowhere)


def test_a_path_needs_no_folders(leave: Leave, tmp_path: Path, kept: Path) -> None:
    """Of a file, or of a conversation's folder."""
    _, folder = leave(THREAD, closed=False)
    (file,) = kept.glob("*.wav")
    assert [file] == find(str(file), None, tmp_path).files
    assert [folder] == [path for path, _ in find(str(folder), None, tmp_path).folders]


def test_converted_copies_count(tmp_path: Path) -> None:
    """Of one recording; other files of that name are none."""
    for suffix in (".wav", ".flac", ".ogg", ".txt", ".wav.part"):
        (tmp_path / f"a-{7:016x}{suffix}").write_bytes(b"")
    found = find("a", str(tmp_path), tmp_path / "no")
    assert [".flac", ".ogg", ".wav"] == sorted(path.suffix for path in found.files)


def test_a_thread_of_several_calls_is_named(tmp_path: Path) -> None:
    """So that one of them can be chosen; one whose id only begins so is another thread."""
    for number in range(7):
        (tmp_path / f"a-{number:016x}.wav").write_bytes(b"")
    (tmp_path / f"a-b-{9:016x}.wav").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"'a' has 7 recordings.*a-0000000000000000, .*, \.\.\.$"):
        find("a", str(tmp_path), tmp_path / "no")
    assert 1 == len(find(f"a-{3:016x}", str(tmp_path), tmp_path / "no").files)
    assert 1 == len(find(f"{3:016x}", str(tmp_path), tmp_path / "no").files)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("x", None, "no folder of recordings is named"),
        ("x", "s3://bucket/calls", "have to be fetched first"),
        ("x", "/no/such/folder", "nor in /no/such/folder"),
        ("x", "~nobody-at-all/calls", "no recording of 'x'"),
        ("x" * 5_000, None, "no recording of"),
        ("", None, "no recording of ''"),
    ],
)
def test_what_is_not_found(name: str, folder: Any, message: str, tmp_path: Path) -> None:
    """The line says where it was looked for."""
    with pytest.raises(ConfigError, match=message):
        find(name, folder, tmp_path)


def test_what_cannot_be_read_is_in_nobodys_way(leave: Leave, tmp_path: Path) -> None:
    """Other things in the state directory."""
    call, folder = leave(THREAD, closed=False)
    for name in ("a-file", "empty", "torn"):
        path = folder.with_name(name)
        if name == "a-file":
            path.write_bytes(b"")
        else:
            path.mkdir()
    (folder.with_name("torn") / "journal.jsonl").write_bytes(b'["open",0,{"tra')
    folder.with_name("link").symlink_to(folder)
    found = find(call.thread_id, None, tmp_path / "left")
    assert [folder] == [path for path, _ in found.folders]
