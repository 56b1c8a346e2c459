"""Which process a conversation's folder belongs to, and whether it still lives.

Every process has an instance id and, once it writes, one lock file
``<state_dir>/owners/<instance id>.lock`` under a POSIX record lock, which the kernel drops when the
process ends, however it ends. Closing *any* descriptor of the file would drop the lock as well, so
the owner opens it once, never again, and never deletes it; its own id it knows without looking.
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
except ImportError:  # no POSIX locks: nothing can be known about other processes
    fcntl = None  # type: ignore[assignment]

logger = logger_of(__name__)

CONVERSATIONS: Final = "conversations"
OWNERS: Final = "owners"
SPOOL: Final = "spool"
#: Whether this system can tell if another process lives.
CAN_LOCK: Final = fcntl is not None


class _Instance:
    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.locks: dict[Path, int] = {}
        self.state_dirs: set[Path] = set()
        self.guard = threading.Lock()


_instance = _Instance()


def instance_id() -> str:
    """This process's id: 32 hex digits, new after a fork."""
    return _instance.id


def new_folder(state_dir: Path) -> Path:
    """A folder name for one conversation of this process; nothing is created."""
    return state_dir / CONVERSATIONS / f"{_instance.id}-{uuid.uuid4()}"


def owner_of(folder: Path) -> str:
    """The instance id in a conversation folder's name."""
    return folder.name.partition("-")[0]


def bytes_on_disk() -> int:
    """Bytes of this process's conversations on disk: those that go on, and those undelivered."""
    found = 0
    for state_dir in list(_instance.state_dirs):
        for path in state_dir.glob(f"{CONVERSATIONS}/{_instance.id}-*/*"):
            try:
                found += path.stat().st_size
            except OSError:  # delivered meanwhile
                pass
    return found


def claim(folder: Path) -> None:
    """Take this process's lock in the state directory that ``folder`` lies in, once.

    To be called before the folder is created. Folders elsewhere have no owner.

    Raises:
        OSError: the lock file cannot be made or locked.
    """
    if folder.parent.name == CONVERSATIONS:
        claim_state(folder.parent.parent)


def claim_state(state_dir: Path) -> None:
    """Take this process's lock in a state directory, once; before anything of it stands there.

    Raises:
        OSError: the lock file cannot be made or locked.
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
    """Make one of the state directory's folders; what else is in its place is moved aside.

    A link is moved as well: what it leads to is outside.

    Raises:
        OSError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if is_folder(path):
            return
        # Nobody can own anything here, so nothing of a live process is touched.
        aside = path.with_name(f"{path.name}.unusable-{time.time_ns()}")
        path.rename(aside)
        logger.warning("%s is not a folder; it is %s now", path, aside.name)
        path.mkdir(mode=0o700, exist_ok=True)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether a lock file is still there: somebody may have deleted the state directory."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


@contextmanager
def taken_over(state_dir: Path, instance: str) -> Iterator[bool]:
    """Hold a dead process's lock for the block; False if its owner lives.

    Without POSIX locks nobody can tell, and the answer is always False.
    """
    path = state_dir / OWNERS / f"{instance}.lock"
    if fcntl is None or instance == _instance.id:
        yield False
        return
    # An owner makes its lock before anything else: where none is, none lives. It is made then, so
    # that of several processes only one takes over.
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
    """Whether a process lives; its lock stays where it is. None: nobody can tell."""
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
        )  # shared: only an owner is in its way
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _after_fork() -> None:
    """The child is a process of its own: the parent's locks are not its to hold."""
    global _instance
    before, _instance = _instance, _Instance()
    for descriptor in before.locks.values():
        try:
            os.close(descriptor)
        except OSError:
            pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
