"""Which process a conversation's folder belongs to, and whether that process is alive.

Every process has an instance id and, once it writes, one lock file
``<state_dir>/owners/<instance id>.lock`` under a POSIX record lock, which the kernel releases when the
process ends, in whatever way. Closing *any* descriptor of the file would release the lock as well, so
the owner opens the file once and never again, and never deletes it; it knows its own id anyway.
Folders are ``<state_dir>/conversations/<instance id>-<uuid>``.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from otel_realtime.diagnostics import logger_of
from otel_realtime.state.files import descriptor_of, for_locking, is_folder
from otel_realtime.state.volume import warn_if_in_memory

try:
    import fcntl
except ImportError:  # no POSIX locks: the state of other processes is unknown
    fcntl = None  # type: ignore[assignment]

logger = logger_of(__name__)

CONVERSATIONS: Final = "conversations"
OWNERS: Final = "owners"
SPOOL: Final = "spool"
#: Whether this system can tell if another process is alive.
CAN_LOCK: Final = fcntl is not None


class _Instance:
    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.locks: dict[Path, int] = {}
        self.state_dirs: set[Path] = set()
        self.guard = threading.Lock()


_instance = _Instance()


def instance_id() -> str:
    """Return this process's id: 32 hex digits, new after a fork."""
    return _instance.id


def new_folder(state_dir: Path) -> Path:
    """Return a folder name for one conversation of this process; nothing is created."""
    return state_dir / CONVERSATIONS / f"{_instance.id}-{uuid.uuid4()}"


def owner_of(folder: Path) -> str:
    """Return the instance id in a conversation folder's name."""
    return folder.name.partition("-")[0]


def bytes_on_disk() -> int:
    """Return the bytes of this process's conversations on disk, live and undelivered."""
    found = 0
    for state_dir in list(_instance.state_dirs):
        for path in state_dir.glob(f"{CONVERSATIONS}/{_instance.id}-*/*"):
            try:
                found += path.stat().st_size
            except OSError:  # delivered meanwhile
                pass
    return found


def claim(folder: Path) -> None:
    """Take this process's lock in the state directory that contains ``folder``, once.

    Call it before the folder is created. Folders elsewhere have no owner.

    Raises:
        OSError: the lock file cannot be created or locked.
    """
    if folder.parent.name == CONVERSATIONS:
        claim_state(folder.parent.parent)


def claim_state(state_dir: Path) -> None:
    """Take this process's lock in a state directory, once, before it stores anything there.

    Raises:
        OSError: the lock file cannot be created or locked.
    """
    _instance.state_dirs.add(state_dir)
    if fcntl is None:
        return
    with _instance.guard:
        owners = state_dir / OWNERS
        path = owners / f"{_instance.id}.lock"
        held = _instance.locks.get(state_dir)
        if held is not None and _is_at(path, held):
            return
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (OWNERS, CONVERSATIONS, SPOOL):
            make_folder(state_dir / name)
        if held is None:
            warn_if_in_memory(state_dir)
        descriptor = for_locking(path)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        _instance.locks[state_dir] = descriptor


def make_folder(path: Path) -> None:
    """Create one of the state directory's folders; anything else in its place is moved aside.

    A link is moved as well, because its target is outside.

    Raises:
        OSError: it cannot be created.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if is_folder(path):
            return
        # Nothing here can have an owner, so no data of a live process is touched.
        aside = path.with_name(f"{path.name}.unusable-{time.time_ns()}")
        path.rename(aside)
        logger.warning("%s is not a folder; it is %s now", path, aside.name)
        path.mkdir(mode=0o700, exist_ok=True)


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether a lock file is still there: the state directory may have been deleted."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


@contextmanager
def taken_over(state_dir: Path, instance: str) -> Iterator[bool]:
    """Hold a dead process's lock for the block; yield ``False`` if its owner is alive.

    Without POSIX locks this is unknown, and the result is always ``False``.
    """
    path = state_dir / OWNERS / f"{instance}.lock"
    if fcntl is None or instance == _instance.id:
        yield False
        return
    # An owner creates its lock before anything else: without a lock, no owner is alive. The lock is
    # then created here, so that only one of several processes takes over.
    make_folder(path.parent)
    descriptor = for_locking(path)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def lives(state_dir: Path, instance: str) -> bool | None:
    """Return whether a process is alive, without taking over its lock; ``None`` if unknown."""
    if instance == _instance.id:
        return True  # asking the system would release the lock
    if fcntl is None:
        return None
    try:
        descriptor = descriptor_of(state_dir / OWNERS / f"{instance}.lock")
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.lockf(
            descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB
        )  # shared: only an owner's lock conflicts
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _after_fork() -> None:
    """Make the child a process of its own, which does not hold the parent's locks."""
    global _instance
    before, _instance = _instance, _Instance()
    for descriptor in before.locks.values():
        try:
            os.close(descriptor)
        except OSError:
            pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
