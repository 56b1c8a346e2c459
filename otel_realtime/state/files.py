"""Opening what lies in the state directory: plain files only, and never waiting for anybody.

Opening a named pipe waits until somebody writes to it, so one in a journal's place would hold up
the recovery of everything else.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

_PLAIN: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def descriptor_of(path: Path) -> int:
    """Open a plain file for reading.

    Raises:
        OSError: it is not there, cannot be read, or is no plain file.
    """
    return _open(path, os.O_RDONLY)


def for_overwriting(path: Path) -> int:
    """Open a plain file for reading and writing; it is not made, and no link is followed.

    Raises:
        OSError: it is not there, cannot be written, or is no plain file.
    """
    return _open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))


def _open(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | _PLAIN)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a plain file", str(path))


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
