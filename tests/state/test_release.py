"""What has ended is given to whoever delivers, while its process lives on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otel_realtime.recovery.sweep import instances
from otel_realtime.state import owner, spool
from otel_realtime.state.progress import RELEASED, Progress
from otel_realtime.state.release import release
from otel_realtime.state.spool import Spool


def folder_in(state: Path) -> Path:
    """A conversation of this process."""
    folder = owner.new_folder(state)
    owner.claim(folder)
    folder.mkdir()
    (folder / "journal.jsonl").write_text("[]\n")
    return folder


def test_it_belongs_to_nobody_afterwards(tmp_path: Path) -> None:
    """Conversation and spans stand under one id of their own, whose lock is free; nothing else moves."""
    folder, other = folder_in(tmp_path), folder_in(tmp_path)
    writer = Spool(tmp_path, "http://x", "p", unsent=True)
    mine, others = writer.write(b"a", 1, 1), writer.write(b"b", 1, 1)
    assert mine is not None
    assert [] == instances(tmp_path)
    release(tmp_path, folder, [mine])
    (heir,) = instances(tmp_path)
    assert False is owner.lives(tmp_path, heir)
    (moved,) = [path for path in (tmp_path / "conversations").iterdir() if path != other]
    assert (heir, folder.name[32:]) == (owner.owner_of(moved), moved.name[32:])
    assert Progress(moved).done(RELEASED)
    assert [mine.name] == [path.name for path in spool.files(tmp_path / "spool" / heir)]
    assert [others] == spool.files(tmp_path / "spool" / owner.instance_id())


def test_nobody_takes_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is moved, the new id's lock is held."""
    folder = folder_in(tmp_path)
    mine = tmp_path / "owners" / f"{owner.instance_id()}.lock"
    locks: list[Path] = []
    monkeypatch.setattr(Progress, "note", lambda self, step: locks.extend(_locked(tmp_path, mine)))
    release(tmp_path, folder)
    assert 1 == len(locks)


def _locked(state: Path, mine: Path) -> list[Path]:
    """The locks of others that somebody holds, as another process sees it."""
    code = (
        "import sys; from pathlib import Path; from otel_realtime.state import owner;"
        "print(owner.lives(Path(sys.argv[1]), sys.argv[2]))"
    )
    found = [path for path in (state / "owners").iterdir() if path != mine]
    asked = [
        subprocess.run([sys.executable, "-c", code, state, path.stem], capture_output=True).stdout
        for path in found
    ]
    return [path for path, answer in zip(found, asked, strict=True) if answer.strip() == b"True"]


def test_a_batch_that_bounds_deleted_meanwhile_is_no_obstacle(tmp_path: Path) -> None:
    """The others and the conversation are released all the same."""
    folder = folder_in(tmp_path)
    writer = Spool(tmp_path, "http://x", "p", unsent=True)
    gone, there = writer.write(b"a", 1, 1), writer.write(b"b", 1, 1)
    assert gone is not None
    assert there is not None
    gone.unlink()
    release(tmp_path, folder, [gone, there])
    (heir,) = instances(tmp_path)
    assert [there.name] == [path.name for path in spool.files(tmp_path / "spool" / heir)]


def test_it_stays_this_processs_if_it_cannot_be_moved(tmp_path: Path) -> None:
    """The caller is told."""
    with pytest.raises(OSError):
        release(tmp_path, tmp_path / "conversations" / f"{owner.instance_id()}-x")
