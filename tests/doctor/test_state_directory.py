"""The state directory: real folders, real locks, real processes; and nothing is changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_realtime.doctor.model import Result
from otel_realtime.doctor.state_directory import judge_kind, look
from otel_realtime.state import volume
from otel_realtime.state.owner import CONVERSATIONS, OWNERS, SPOOL
from tests.support.doctor import by_id, here

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
DEAD, ALIVE = "d" * 32, "a" * 32


@pytest.fixture
def folder(process: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A state directory as this package makes it."""
    path = tmp_path / "voice"
    path.mkdir(mode=0o700)
    process.setenv("OTEL_REALTIME_STATE_DIR", str(path))
    return path


def found() -> dict[str, Result]:
    """What is said of it."""
    return by_id(look(here()))


def listing(path: Path) -> list[tuple[str, int, int]]:
    """Everything below a folder, with size and time of change."""
    paths = [path, *sorted(path.rglob("*"))]
    return [(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in paths]


def conversation(path: Path, instance: str, *, size: int, age_s: float = 0) -> None:
    """Something that waits."""
    inside = path / CONVERSATIONS / f"{instance}-1"
    inside.mkdir(parents=True)
    file = inside / "journal.jsonl"
    file.write_bytes(bytes(size))
    os.utime(file, (time.time() - age_s,) * 2)


def test_an_empty_one_is_fine_and_stays_as_it_is(folder: Path) -> None:
    """Looking at it, and trying its locks, leaves nothing."""
    before = listing(folder)
    assert {"ok"} == {result.status for result in found().values()}
    assert before == listing(folder)


def test_one_that_does_not_exist_yet_is_not_made(
    process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its nearest parent is looked at."""
    process.setenv("OTEL_REALTIME_STATE_DIR", str(tmp_path / "a" / "b"))
    assert "does not exist yet" in found()["state.rights"].seen
    assert [] == list(tmp_path.iterdir())


def test_a_file_in_its_place_fails(process: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing can be kept then."""
    (tmp_path / "file").write_text("")
    process.setenv("OTEL_REALTIME_STATE_DIR", str(tmp_path / "file" / "below"))
    result = found()["state.rights"]
    assert ("fail", True) == (result.status, "is not a folder" in result.seen)


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_one_that_cannot_be_written_fails(folder: Path) -> None:
    """The fix names rights and variable."""
    folder.chmod(0o500)
    try:
        result = found()["state.rights"]
    finally:
        folder.chmod(0o700)
    assert ("fail", True) == (result.status, "cannot be written" in result.seen)
    assert "OTEL_REALTIME_STATE_DIR" in result.fix


def test_rights_for_others_are_a_warning(folder: Path) -> None:
    """Names of files may say something."""
    folder.chmod(0o755)
    result = found()["state.rights"]
    assert ("warn", f"chmod 700 {folder}") == (result.status, result.fix)


def test_a_bound_beyond_the_free_space_is_a_warning(
    folder: Path, process: pytest.MonkeyPatch
) -> None:
    """The disk is full first."""
    process.setenv("OTEL_REALTIME_STATE_MAX_MB", "1e9")
    result = found()["state.space"]
    assert ("warn", "the disk is full before the bound holds") == (result.status, result.effect)


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("ext4", "ok", ""),
        ("xfs", "ok", ""),
        ("tmpfs", "warn", "memory"),
        ("overlay", "warn", "container"),
        ("nfs4", "warn", "network"),
        ("cifs", "warn", "network"),
        ("fuse.sshfs", "warn", "network"),
        ("", "info", ""),
    ],
)
def test_what_a_kind_of_file_system_means(kind: str, status: str, word: str) -> None:
    """By the name that the kernel has for it."""
    judged, effect, fix = judge_kind(kind)
    assert (status, True) == (judged, word in effect)
    assert bool(fix) == (status == "warn")


@pytest.mark.skipif(volume.kind_of(Path("/dev/shm")) != "tmpfs", reason="no tmpfs here")
def test_a_real_tmpfs(process: pytest.MonkeyPatch) -> None:
    """As containers mount ``/dev/shm``."""
    process.setenv("OTEL_REALTIME_STATE_DIR", "/dev/shm")
    assert ("warn", "tmpfs") == (
        found()["state.filesystem"].status,
        found()["state.filesystem"].seen,
    )


def test_what_waits_of_a_dead_process(folder: Path) -> None:
    """Counted, with size and age; the fix delivers it."""
    (folder / OWNERS).mkdir()
    (folder / OWNERS / f"{DEAD}.lock").touch()
    conversation(folder, DEAD, size=2_500_000, age_s=3 * 86_400)
    spool = folder / SPOOL / DEAD
    spool.mkdir(parents=True)
    (spool / "1.spans").write_bytes(bytes(500_000))
    (spool / "2.spans").write_bytes(bytes(500_000))
    before = listing(folder)
    result = found()["state.waiting"]
    expected = (
        "1 conversation and 2 batches of spans (3.5 MB) of dead processes, the oldest 3 days old"
    )
    assert ("warn", expected) == (result.status, result.seen)
    assert ("the next start of an app delivers it", "otel-realtime recover") == (
        result.effect,
        result.fix,
    )
    assert before == listing(folder)


def test_nobody_delivers_it_where_that_is_switched_off(
    folder: Path, process: pytest.MonkeyPatch
) -> None:
    """The bound on its age is said."""
    conversation(folder, DEAD, size=10)
    process.setenv("OTEL_REALTIME_RECOVER_ON_START", "false")
    assert "nobody delivers it; it is deleted after 14 days" in found()["state.waiting"].effect


@pytest.fixture
def living(folder: Path) -> Iterator[None]:
    """Another process that holds its lock."""
    (folder / OWNERS).mkdir()
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder / OWNERS / f"{ALIVE}.lock")]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    assert "held\n" == child.stdout.readline()
    yield
    child.stdin.close()
    child.wait(10)
    child.stdout.close()


@pytest.mark.usefixtures("living")
def test_what_a_living_process_has_is_its_own(folder: Path) -> None:
    """It does not wait, and its lock stays with it."""
    conversation(folder, ALIVE, size=1_000)
    results = found()
    assert "1 conversation (1.0 kB)" == results["state.live"].seen
    assert "nothing of a dead process" == results["state.waiting"].seen
    assert "nothing of a dead process" == found()["state.waiting"].seen
