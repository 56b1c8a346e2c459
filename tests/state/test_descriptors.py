"""Files that are appended to: a bounded number is open, whatever is written where."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_realtime.state import descriptors
from otel_realtime.state.descriptors import Descriptors, bound
from tests.support.fault_server import open_files


@contextmanager
def limit(files: int) -> Iterator[None]:
    """This process may have so many descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def as_many_as_there_are(path: Path) -> Iterator[int]:
    """Open descriptors until there are no more."""
    try:
        while True:
            yield os.open(path, os.O_RDONLY)
    except OSError:
        return


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Ten files are kept open; sets after how many seconds one is not busy any more."""
    monkeypatch.setattr(descriptors, "bound", lambda: 10)
    return lambda seconds: monkeypatch.setattr(descriptors, "_BUSY_S", seconds)


@pytest.mark.parametrize("busy_s", [0.0, 60.0])
def test_what_is_written_is_whole_and_in_order(
    tmp_path: Path, few: Callable[[float], None], busy_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a file was closed meanwhile; it is said once."""
    few(busy_s)
    open_ones, before = Descriptors(), open_files()
    paths = [str(tmp_path / str(number)) for number in range(100)]
    for number in range(5):
        for path in paths:
            open_ones.append(path, f"{number},".encode(), create=number == 0)
            assert len(open_ones) <= 10
            assert open_files() <= before + 10
    assert {"0,1,2,3,4,"} == {Path(path).read_text() for path in paths}
    assert 1 == len(caplog.messages)
    assert "opened by hand" in caplog.text
    open_ones.close(paths)
    assert before == open_files()


def test_files_that_are_written_to_all_the_time_stay_open(
    tmp_path: Path, few: Callable[[float], None]
) -> None:
    """The first ones do, when there is no room for all; one that is idle makes room."""
    few(60.0)
    open_ones = Descriptors()
    for _ in range(3):
        for number in range(20):
            open_ones.append(str(tmp_path / str(number)), b".", create=True)
    assert [str(tmp_path / str(number)) for number in range(10)] == sorted(open_ones._idle)
    few(0.0)
    open_ones.append(str(tmp_path / "15"), b".")
    assert str(tmp_path / "15") in open_ones._idle
    open_ones.close(list(open_ones._idle))


def test_at_the_limit_of_the_process_ours_are_given_back(tmp_path: Path) -> None:
    """The app has all but a few; what is to be written is written."""
    open_ones = Descriptors()
    mine = [str(tmp_path / str(number)) for number in range(8)]
    for path in mine:
        open_ones.append(path, b"a", create=True)
    with limit(open_files() + 2):
        theirs = list(as_many_as_there_are(tmp_path))
        open_ones.append(str(tmp_path / "new"), b"b", create=True)
        assert 1 == len(open_ones)
    for descriptor in theirs:
        os.close(descriptor)
    open_ones.append(mine[0], b"b")
    assert (b"ab", b"b") == (Path(mine[0]).read_bytes(), (tmp_path / "new").read_bytes())
    open_ones.close([mine[0], str(tmp_path / "new")])


def test_a_file_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """Nor is a link followed that was put in its place."""
    open_ones, path = Descriptors(), tmp_path / "a"
    open_ones.append(str(path), b"a", create=True)
    open_ones.close([str(path)])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        open_ones.append(str(path), b"b")
    (tmp_path / "other").write_text("other")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        open_ones.append(str(path), b"b", create=True)
    assert "other" == (tmp_path / "other").read_text()


@pytest.mark.parametrize(
    ("files", "kept"), [(1024, 256), (100, 25), (16, 8), (resource.RLIM_INFINITY, 4096)]
)
def test_the_bound_is_a_part_of_the_processs_limit(
    monkeypatch: pytest.MonkeyPatch, files: int, kept: int
) -> None:
    """A quarter: the app's sockets need the rest."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert kept == bound()


def test_a_forked_child_keeps_none(tmp_path: Path) -> None:
    """They are the parent's, which goes on writing."""
    open_ones = Descriptors()
    open_ones.append(str(tmp_path / "a"), b"a", create=True)
    inherited = list(open_ones._idle.values())
    child = os.fork()
    if not child:
        open_ones.after_fork()
        try:
            os.fstat(inherited[0][0])
        except OSError:
            os._exit(0 if not len(open_ones) else 1)
        os._exit(2)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    open_ones.append(str(tmp_path / "a"), b"b")
    assert b"ab" == (tmp_path / "a").read_bytes()
    open_ones.close([str(tmp_path / "a")])
