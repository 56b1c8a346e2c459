"""The files of a folder, here or in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_realtime.errors import ConfigError
from otel_realtime.sandbox.call_index import Query
from otel_realtime.viewing.files import files_of
from otel_realtime.viewing.kept import KeptCalls
from tests.support import kept_call


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


def test_a_bucket_is_fetched_when_somebody_listens_and_again_when_it_changes(
    tmp_path: Path,
) -> None:
    """What is told of a recording without JSON stands in its first bytes."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    url = f"memory://{tmp_path.name}-bucket"
    sound = tmp_path / "sound.wav"
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for ms in (1000, 2000):
        kept_call.write_wav(sound, kept_call.sound((), ms))
        system.pipe(f"/{tmp_path.name}-bucket/old.wav", sound.read_bytes())
        if ms == 1000:
            calls = KeptCalls(files_of(url, fetched))
        else:
            calls.refresh()
        found = calls.call("old")
        assert found is not None
        assert (ms, []) == (found["duration_ms"], list(fetched.iterdir()))
        recording = calls.recording("old")
        assert recording is not None
        assert sound.read_bytes() == recording[0].read_bytes()


def test_errors_of_a_bucket_are_os_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file system has exceptions of its own."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    url = f"memory://{tmp_path.name}-broken"
    system.pipe(f"/{tmp_path.name}-broken/a.wav", b"x")
    calls = KeptCalls(files_of(url, tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise LookupError("expired")

    for name in ("cat_file", "get_file"):
        monkeypatch.setattr(type(system), name, fail)
    assert None is calls.recording("a")
    system.pipe(f"/{tmp_path.name}-broken/b.wav", b"x")
    system.pipe(f"/{tmp_path.name}-broken/b.json", b"{}")
    calls.refresh()
    assert {"a", "b"} == {call["id"] for call in calls.calls(Query())["calls"]}
