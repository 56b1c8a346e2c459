"""Checks the state directory: permissions, space, file system, locks and undelivered data. Leaves no file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from otel_realtime.doctor.model import Result, Status, Surroundings
from otel_realtime.settings import PREFIX
from otel_realtime.state import owner, spool
from otel_realtime.state.bounds import Unit, units_of
from otel_realtime.state.volume import kind_of

_VARIABLE: Final = PREFIX + "STATE_DIR"
_LOST: Final = "sound and what is undelivered are not kept: a crash or an outage loses them"
#: Types of file systems, as the kernel names them.
_MEMORY: Final = ("tmpfs", "ramfs")
_CONTAINER: Final = ("overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs")
_NETWORK: Final = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs",
    "beegfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.ceph", "virtiofs",
)  # fmt: skip
#: With fewer free bytes, calls soon lose their audio: these last for about 15 minutes of one call.
_LITTLE: Final = 100_000_000
_DAY_S: Final = 86_400.0
#: Tries to take a lock that another process holds.
_TAKE: Final = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def look(here: Surroundings) -> Iterator[Result]:
    """Check the directory, or its nearest existing parent if it does not exist."""
    path = here.settings.state_dir
    nearest = _nearest(path)
    rights = _rights(path, nearest)
    yield rights
    if rights.status == "fail":
        return
    yield _space(path, nearest, here)
    yield _file_system(path, nearest)
    yield _locks(nearest, here.timeout_s)
    if path.is_dir():
        yield from _waiting(path, here)


def _nearest(path: Path) -> Path:
    for one in (path, *path.absolute().parents):
        if os.path.lexists(one):
            return one
    return Path(os.sep)


def _rights(path: Path, nearest: Path) -> Result:
    title, id_ = "state directory", "state.rights"

    def fails(seen: str, fix: str) -> Result:
        return Result(id=id_, title=title, status="fail", seen=seen, effect=_LOST, fix=fix)

    if not nearest.is_dir():
        return fails(f"{nearest} is not a folder", f"remove it, or set {_VARIABLE}")
    if not os.access(nearest, os.W_OK | os.X_OK | os.R_OK):
        user = f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
        what = "cannot be written" if nearest == path else f"cannot be made in {nearest}"
        return fails(f"{path} {what} by {user}", f"give it the rights, or set {_VARIABLE}")
    if nearest != path:
        seen = f"{path} does not exist yet; the first call makes it"
        return Result(id=id_, title=title, status="ok", seen=seen)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Result(
            id=id_,
            title=title,
            status="warn",
            seen=f"{path} has mode {mode:04o}",
            effect="others on this machine may see the names of its files; those have mode 0600",
            fix=f"chmod 700 {path}",
        )
    return Result(id=id_, title=title, status="ok", seen=f"{path}, writable, mode {mode:04o}")


def _space(path: Path, nearest: Path, here: Surroundings) -> Result:
    title, id_, settings = "free space", "state.space", here.settings
    found = os.statvfs(nearest)
    free, bound = found.f_bavail * found.f_frsize, settings.state_max_mb * 1_000_000
    seen = f"{_size(free)} free, state_max_mb is {settings.state_max_mb:g}"
    if found.f_files and not found.f_favail:
        return Result(
            id=id_, title=title, status="fail", seen="no inodes are left", effect=_LOST,
            fix=f"delete files there, or set {_VARIABLE}",
        )  # fmt: skip
    if free < _LITTLE:
        return Result(
            id=id_, title=title, status="fail", seen=seen,
            effect="a call takes up to 5.8 MB a minute: its sound is lost when the disk is full",
            fix=f"make room, or set {_VARIABLE} to another disk",
        )  # fmt: skip
    if free < bound:
        return Result(
            id=id_, title=title, status="warn", seen=seen,
            effect="the disk is full before the bound holds",
            fix=f"set {PREFIX}STATE_MAX_MB below {free // 1_000_000}, or make room",
        )  # fmt: skip
    return Result(id=id_, title=title, status="ok", seen=seen)


def _file_system(path: Path, nearest: Path) -> Result:
    kind = kind_of(nearest)
    status, effect, fix = judge_kind(kind)
    return Result(
        id="state.filesystem",
        title="file system",
        status=status,
        seen=kind or "not known on this system",
        effect=effect,
        fix=fix,
    )


def judge_kind(kind: str) -> tuple[Status, str, str]:
    """Judge the type of a file system; return status, effect and fix.

    Args:
        kind: the type, as the kernel names it; empty if unknown.
    """
    elsewhere = f"set {_VARIABLE} to a disk that outlives a restart"
    if kind in _MEMORY:
        effect = "it is in memory: sound counts against its limit, and a restart loses what waits"
        return "warn", effect, elsewhere
    if kind in _CONTAINER:
        effect = "it is a container's own layer: what waits goes with the container"
        return "warn", effect, f"set {_VARIABLE} to a volume"
    if kind in _NETWORK:
        effect = "it is on the network: each write of a live call waits for it"
        return "warn", effect, f"set {_VARIABLE} to a local disk"
    return ("ok" if kind else "info"), "", ""


def _locks(folder: Path, timeout_s: float) -> Result:
    title, id_ = "record locks", "state.locks"
    if not owner.CAN_LOCK:
        return Result(
            id=id_, title=title, status="warn", seen="this system has none",
            effect="nothing is recovered after a crash",
        )  # fmt: skip
    try:
        with _nameless(folder) as file:
            works = _excludes(file, timeout_s)
    except (OSError, subprocess.SubprocessError) as error:
        return Result(
            id=id_, title=title, status="warn", seen=f"cannot be tried: {error}",
            effect="if they do not work, nothing is recovered after a crash",
        )  # fmt: skip
    if works:
        return Result(id=id_, title=title, status="ok", seen="keep other processes out")
    return Result(
        id=id_,
        title=title,
        status="fail",
        seen="do not keep other processes out on this file system",
        effect="a recovery may take a living process for dead, and deliver its calls early",
        fix=f"set {_VARIABLE} to a local disk, or mount it with locks",
    )


def _nameless(folder: Path) -> IO[bytes]:
    """Open a file that never has a name if the system supports that, otherwise a deleted one."""
    flag = getattr(os, "O_TMPFILE", 0)
    if flag:
        with suppress(OSError):
            return open(os.open(folder, flag | os.O_RDWR, 0o600), "r+b")
    return tempfile.TemporaryFile(dir=folder)


def _excludes(file: IO[bytes], timeout_s: float) -> bool:
    import fcntl

    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    command = [sys.executable, "-I", "-S", "-c", _TAKE, str(file.fileno())]
    done = subprocess.run(
        command, pass_fds=(file.fileno(),), capture_output=True, timeout=timeout_s, check=False
    )
    return done.returncode != 0


def _waiting(path: Path, here: Surroundings) -> Iterator[Result]:
    title, id_ = "what waits", "state.waiting"
    live: list[Unit] = []
    dead: list[Unit] = []
    known: dict[str, bool | None] = {}
    for unit in units_of(path):
        if unit.instance not in known:
            known[unit.instance] = owner.lives(path, unit.instance)
        (dead if known[unit.instance] is False else live).append(unit)
    if live:
        yield Result(
            id="state.live",
            title="of processes that live",
            status="info",
            seen=_told(live),
            effect="they deliver it themselves",
        )
    if not dead:
        yield Result(id=id_, title=title, status="ok", seen="nothing of a dead process")
        return
    oldest_days = (time.time() - min(unit.changed for unit in dead)) / _DAY_S
    bound = here.settings.state_max_age_days
    yield Result(
        id=id_,
        title=title,
        status="warn",
        seen=f"{_told(dead)} of dead processes, the oldest {_age(oldest_days)}",
        effect="the next start of an app delivers it"
        if here.settings.recover_on_start
        else f"{PREFIX}RECOVER_ON_START is off: nobody delivers it; "
        f"it is deleted after {bound:g} days",
        fix="otel-realtime recover",
    )


def _told(units: list[Unit]) -> str:
    batches = sum(unit.path.suffix == spool.SUFFIX for unit in units)
    parts = [(len(units) - batches, "conversation"), (batches, "batch of spans")]
    counted = [f"{count} {_plural(name, count)}" for count, name in parts if count]
    return f"{' and '.join(counted)} ({_size(sum(unit.size for unit in units))})"


def _plural(name: str, count: int) -> str:
    if count == 1:
        return name
    return "batches of spans" if name.startswith("batch") else name + "s"


def _age(days: float) -> str:
    hours = days * 24
    if hours < 1:
        return f"{max(hours * 60, 0):.0f} minutes old"
    return f"{hours:.0f} hours old" if days < 2 else f"{days:.0f} days old"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
