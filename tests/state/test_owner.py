"""Who owns a conversation's folder, and whether the owner lives."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from otel_realtime.state import owner

pytestmark = pytest.mark.skipif(owner.fcntl is None, reason="needs POSIX record locks")

CHILD = """
import sys
from pathlib import Path
from otel_realtime.state import owner
folder = owner.new_folder(Path(sys.argv[1]))
owner.claim(folder)
folder.mkdir(parents=True)
print(owner.instance_id(), flush=True)
sys.stdin.read()
"""


def test_a_living_process_keeps_its_conversations(tmp_path: Path) -> None:
    """Another process can take them over only once it is gone, however it went."""
    state = tmp_path / "state"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert child.stdout is not None
        instance = child.stdout.readline().strip()
        (folder,) = (state / owner.CONVERSATIONS).iterdir()
        assert instance == owner.owner_of(folder)
        with owner.taken_over(state, instance) as taken:
            assert not taken
    finally:
        child.kill()
        child.wait()
        child.communicate()
    with owner.taken_over(state, instance) as taken:
        assert taken


def test_a_process_knows_itself_without_touching_the_lock(tmp_path: Path) -> None:
    """Opening and closing the file would release it."""
    folder = owner.new_folder(tmp_path / "state")
    owner.claim(folder)
    owner.claim(folder)
    with owner.taken_over(tmp_path / "state", owner.instance_id()) as taken:
        assert not taken
    lock = tmp_path / "state" / owner.OWNERS / f"{owner.instance_id()}.lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert stat.S_IMODE(lock.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert _held_elsewhere(lock)


def test_an_owner_without_a_lock_file_does_not_live(tmp_path: Path) -> None:
    """The lock is made before the first folder."""
    with owner.taken_over(tmp_path, "0" * 32) as taken:
        assert taken


def test_folders_elsewhere_have_no_owner(tmp_path: Path) -> None:
    """Nothing is created beside a folder that is not in a state directory."""
    owner.claim(tmp_path / "somewhere" / "call")
    assert os.listdir(tmp_path) == []


def test_a_forks_child_is_a_process_of_its_own(tmp_path: Path) -> None:
    """It has another id, and its end does not release the parent's lock."""
    folder = owner.new_folder(tmp_path / "state")
    owner.claim(folder)
    before = owner.instance_id()
    child = os.fork()
    if child == 0:
        os._exit(0 if owner.instance_id() != before else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert owner.instance_id() == before
    assert _held_elsewhere(tmp_path / "state" / owner.OWNERS / f"{before}.lock")


def _held_elsewhere(lock: Path) -> bool:
    """Whether another process finds the lock taken."""
    code = (
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "try:\n    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError:\n    sys.exit(7)\n"
    )
    return subprocess.run([sys.executable, "-c", code, str(lock)], check=False).returncode == 7


def test_who_lives_is_known_without_taking_the_lock(tmp_path: Path) -> None:
    """Nothing is made, and the owner keeps what it holds."""
    state = tmp_path / "state"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdin is not None
    instance = child.stdout.readline().strip()
    before = sorted(state.rglob("*"))
    assert owner.lives(state, instance) is True
    with owner.taken_over(state, instance) as mine:
        assert not mine
    assert owner.lives(state, owner.instance_id()) is True
    assert owner.lives(state, "0" * 32) is False  # an owner makes its lock before anything else
    child.stdin.close()
    child.wait(10)
    child.stdout.close()
    assert owner.lives(state, instance) is False
    assert before == sorted(state.rglob("*"))
    (state / owner.OWNERS / "folder.lock").mkdir()
    assert owner.lives(state, "folder") is None


def test_who_lives_is_seen_without_a_touch(tmp_path: Path) -> None:
    """This process does, one without a lock does not, and no lock is made or lost by asking."""
    state = tmp_path / "state"
    owner.claim_state(state)
    before = sorted(path.name for path in state.rglob("*"))
    assert owner.lives(state, owner.instance_id())
    assert not owner.lives(state, "0" * 31 + "1")
    assert before == sorted(path.name for path in state.rglob("*"))
