"""Opens files in the state directory: plain files only, no links, and without blocking.

Opening a named pipe blocks until another process writes to it, so a pipe in a journal's place would
block the recovery of everything else. With a link in a file's place, this process would read, send
and overwrite files outside with its own rights.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_PLAIN: Final = (
    getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
_NOT_PLAIN: Final = "not a plain file"


def descriptor_of(path: Path) -> int:
    """Open a plain file for reading.

    Raises:
        OSError: it is missing, cannot be read, or is not a plain file.
    """
    return _open(path, os.O_RDONLY)


def for_overwriting(path: Path) -> int:
    """Open a plain file for reading and writing; it must exist.

    Raises:
        OSError: it is missing, cannot be written, or is not a plain file.
    """
    return _open(path, os.O_RDWR)


def for_appending(path: Path) -> int:
    """Open a plain file for appending, and create it, private, if it is missing.

    Raises:
        OSError: it cannot be written, or is not a plain file.
    """
    return _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def for_locking(path: Path) -> int:
    """Open a plain file for a lock, and create it, private, if it is missing.

    Raises:
        OSError: it cannot be written, or is not a plain file.
    """
    return _open(path, os.O_RDWR | os.O_CREAT)


def made_anew(path: str | Path, flags: int = os.O_WRONLY) -> int:
    """Create a private file for writing, in place of another one; an opener for ``open``.

    An existing file, for instance a link, is removed and not written to.

    Raises:
        OSError: it cannot be created, or a folder is in its place.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)


def clear(path: Path) -> None:
    """Remove anything in place of one of our own files that is not a file: a folder, a link, a pipe."""
    if is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.is_symlink() or not path.is_file():
        path.unlink(missing_ok=True)


def _open(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _PLAIN, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link
            raise OSError(errno.EINVAL, _NOT_PLAIN, str(path)) from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, _NOT_PLAIN, str(path))


def read_bytes(path: Path) -> bytes:
    """Read a plain file.

    Raises:
        OSError: it is missing, cannot be read, or is not a plain file.
    """
    with open(descriptor_of(path), "rb") as file:
        return file.read()


def remove_folder(path: Path, first: str) -> None:
    """Delete a folder as far as possible, and this file in it first.

    If the process dies in between, the missing file shows that the rest is no longer valid.
    """
    with suppress(OSError):
        (path / first).unlink()
    shutil.rmtree(path, ignore_errors=True)


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder itself, and not a link to one."""
    return path.is_dir() and not path.is_symlink()
