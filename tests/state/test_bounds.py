"""The state directory stays within its bounds, oldest first, and what lives is not touched."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from otel_realtime.settings import Settings
from otel_realtime.state import owner, spool
from otel_realtime.state.bounds import tidy, units_of

MB = 1_000_000
DAY_S = 86_400


def conversation(state: Path, name: str, instance: str, size: int, days_old: float) -> Path:
    """A conversation's folder of some size and age."""
    folder = state / owner.CONVERSATIONS / f"{instance}-{name}"
    folder.mkdir(parents=True)
    _file(folder / "journal.jsonl", size, days_old)
    return folder


def batch(state: Path, name: str, instance: str, size: int, days_old: float) -> Path:
    """A batch of spans of some size and age."""
    folder = state / spool.SPOOL / instance
    folder.mkdir(parents=True, exist_ok=True)
    return _file(folder / (name + spool.SUFFIX), size, days_old)


def _file(path: Path, size: int, days_old: float) -> Path:
    path.write_bytes(bytes(size))
    when = time.time() - days_old * DAY_S
    os.utime(path, (when, when))
    return path


def test_the_oldest_go_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Conversations and batches go by age until the rest fits, and one line says how many."""
    kept = [
        conversation(tmp_path, "new", "dead1", MB, 1),
        batch(tmp_path, "new", "dead2", MB // 2, 2),
    ]
    gone = [
        batch(tmp_path, "old", "dead2", MB, 3),
        conversation(tmp_path, "older", "dead1", MB, 4),
    ]
    assert 2 == tidy(Settings(state_dir=tmp_path, state_max_mb=2), [])
    assert [True, True, False, False] == [path.exists() for path in (*kept, *gone)]
    [record] = caplog.records
    assert "1 undelivered conversations and 1 batches of spans (2.0 MB)" in record.getMessage()


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """After ``state_max_age_days`` nothing is kept, however much room there is."""
    old, new = (conversation(tmp_path, f"{days}", "dead", 9, days) for days in (15, 13))
    assert 1 == tidy(Settings(state_dir=tmp_path), [])
    assert [False, True] == [old.exists(), new.exists()]


def test_what_lives_stays(tmp_path: Path) -> None:
    """Neither a conversation that goes on nor anything of another live process is deleted."""
    owner.claim_state(tmp_path)
    live = conversation(tmp_path, "live", owner.instance_id(), 3 * MB, 30)
    closed = conversation(tmp_path, "closed", owner.instance_id(), MB, 20)
    assert 1 == tidy(Settings(state_dir=tmp_path, state_max_mb=1), [live])
    assert [True, False] == [live.exists(), closed.exists()]


def test_another_live_process_is_left_alone(tmp_path: Path) -> None:
    """Its lock says that it lives."""
    instance = "a" * 32
    theirs = conversation(tmp_path, "theirs", instance, MB, 30)
    (tmp_path / owner.OWNERS).mkdir()
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        import fcntl

        lock = os.open(tmp_path / owner.OWNERS / f"{instance}.lock", os.O_RDWR | os.O_CREAT)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        os.write(ready[1], b"1")
        os.read(done[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        assert 0 == tidy(Settings(state_dir=tmp_path), [])
        assert theirs.exists()
    finally:
        os.write(done[1], b"1")
        os.waitpid(child, 0)
    assert 1 == tidy(Settings(state_dir=tmp_path), [])
    for descriptor in (*ready, *done):
        os.close(descriptor)


def test_what_was_delivered_meanwhile_is_no_loss(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder, or a batch, that goes while the directory is looked through counts as nothing."""
    folders = [conversation(tmp_path, name, "dead", 9, 20) for name in ("a", "b")]
    batches = [batch(tmp_path, name, "dead", 9, 20) for name in ("a", "b")]
    found = units_of(tmp_path)
    seen = [next(found).path]
    for folder in folders:
        shutil.rmtree(folder)
    batches[0].unlink()
    left = [unit.path for unit in found]
    assert ([batches[1]], True) == (left, seen[0] in folders)
    batches[1].unlink()
    assert 0 == tidy(Settings(state_dir=tmp_path), [])
    assert [] == caplog.records


def test_what_cannot_be_deleted_is_not_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither as lost nor as room that was gained."""
    outside = _file(tmp_path / "outside", 3 * MB, 1)
    old = conversation(tmp_path / "state", "old", "dead", 9, 20)
    link = old.with_name("dead-link")
    link.symlink_to(outside.parent)
    assert 1 == tidy(Settings(state_dir=tmp_path / "state", state_max_mb=1), [])
    assert [False, True, True] == [old.exists(), link.is_symlink(), outside.exists()]
    assert "1 undelivered conversations and 0 batches of spans (0.0 MB)" in caplog.text
