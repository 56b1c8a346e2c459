"""Opening what lies in the state directory: plain files only, no links, and never waiting for anybody.

Opening a named pipe waits until somebody writes to it, so one in a journal's place would hold up
the recovery of everything else. A link in a file's place would have us read, send and overwrite what
lies outside, with the rights of this process.
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
        OSError: it is not there, cannot be read, or is no plain file.
    """
    return _open(path, os.O_RDONLY)


def for_overwriting(path: Path) -> int:
    """Open a plain file for reading and writing; it is not made.

    Raises:
        OSError: it is not there, cannot be written, or is no plain file.
    """
    return _open(path, os.O_RDWR)


def for_appending(path: Path) -> int:
    """Open a plain file for writing at its end, and make it, private, if it is not there.

    Raises:
        OSError: it cannot be written, or is no plain file.
    """
    return _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def for_locking(path: Path) -> int:
    """Open a plain file for a lock, and make it, private, if it is not there.

    Raises:
        OSError: it cannot be written, or is no plain file.
    """
    return _open(path, os.O_RDWR | os.O_CREAT)


def made_anew(path: str | Path, flags: int = os.O_WRONLY) -> int:
    """Make a private file for writing, in the place of another one; an opener for ``open``.

    What was there is removed, a link for instance, and not written to.

    Raises:
        OSError: it cannot be made; a folder is there.
    """
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)


def clear(path: Path) -> None:
    """Remove what is in the place of one of our own files and is none: a folder, a link, a pipe."""
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
        OSError: it is not there, cannot be read, or is no plain file.
    """
    with open(descriptor_of(path), "rb") as file:
        return file.read()


def remove_folder(path: Path, first: str) -> None:
    """Delete a folder as far as that is possible, this file in it first.

    Whoever dies in between leaves something that says by its absence that it is nothing any more.
    """
    with suppress(OSError):
        (path / first).unlink()
    shutil.rmtree(path, ignore_errors=True)


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one."""
    return path.is_dir() and not path.is_symlink()
