"""A disk that says no: the call goes on, and LangSmith gets its trace without the sound."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_realtime.recovery.sweep import recover
from otel_realtime.settings import Settings
from tests.support.langsmith_server import LangSmithServer, attributes
from tests.support.victims import environment, victims
from tests.support.waiting import wait_for

#: Options of a small file system -> what it runs out of.
MOUNTS = {"full": "size=64k", "no inodes": "size=8m,nr_inodes=4", "read-only": "size=8m"}


@contextmanager
def mounted(options: str, path: Path, *, read_only: bool) -> Iterator[bool]:
    """A file system in memory; False where this process may not mount one."""
    path.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    allowed = mount is not None and os.geteuid() == 0
    if not allowed or subprocess.run(command, check=False, capture_output=True).returncode:
        yield False
        return
    try:
        if read_only:
            subprocess.run([mount or "", "-o", "remount,ro", str(path)], check=True)
        yield True
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def whole_trace(server: LangSmithServer, state: Path, **variables: str) -> None:
    """Run a call to its end there; its root and all its spans arrive once, with what went wrong."""
    with victims(1, "close", environment(state, server.url, **variables)) as (victim,):
        victim.wait_for("closed")

        def parts(prefix: str) -> list[str]:
            names = [part.name for request in server.posts() for part in request.parts()]
            return [name for name in names if name.startswith(prefix) and name.count(".") == 1]

        def missing() -> set[str]:
            sent = {int.from_bytes(span.span_id, "big") for span in server.spans()}
            ended = victim.of("span")
            return {
                row["name"]
                for row in ended
                if row["name"] != "realtime_session" and int(row["id"], 16) not in sent
            }

        wait_for(lambda: bool(parts("patch.")), "the root's end", timeout_s=30)
        wait_for(lambda: not missing(), "all spans", timeout_s=30)
        assert (1, 1) == (len(parts("post.")), len(parts("patch.")))
    ids = [span.span_id for span in server.spans()]
    assert len(ids) == len({*ids})
    assert all(attributes(span) for span in server.spans())


@pytest.mark.parametrize("what", MOUNTS)
def test_a_file_system_that_takes_nothing(
    what: str, server: LangSmithServer, tmp_path: Path
) -> None:
    """Full, without inodes, or read-only. Without the right to mount: a file in the directory's place."""
    with mounted(MOUNTS[what], tmp_path / "disk", read_only=what == "read-only") as there:
        if not there:
            (tmp_path / "disk").rmdir()
            (tmp_path / "disk").write_text("no folder")
        whole_trace(server, tmp_path / "disk" / "state")
        recover(Settings(state_dir=tmp_path / "disk" / "state"), timeout_s=5)


def test_files_that_cannot_grow(server: LangSmithServer, tmp_path: Path) -> None:
    """Whatever is written before the disk is full is no journal of lies: nothing comes twice."""
    state = tmp_path / "state"
    whole_trace(server, state, VICTIM_FILE_BYTES="6000")
    recover(Settings(state_dir=state), timeout_s=20)
    names = [part.name for request in server.posts() for part in request.parts()]
    assert 1 == len([name for name in names if name.startswith("post.") and name.count(".") == 1])
