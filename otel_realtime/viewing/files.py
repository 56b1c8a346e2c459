"""Reads the files in a folder of recordings, on this machine or in a bucket."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from otel_realtime.delivery.keep import EXTRA, is_remote, without_password
from otel_realtime.errors import ConfigError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


#: Names under which fsspec's file systems report a file's version or the time of its last change.
_STAMPS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


class Files(Protocol):
    """The files in one folder; names do not include the folder."""

    def stamps(self) -> dict[str, str]:
        """Return, by file name, a text that changes when the file changes."""

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            OSError: it cannot be read.
        """

    def head(self, name: str, count: int) -> tuple[bytes, int]:
        """Return the first bytes of a file, and its length.

        Raises:
            OSError: it cannot be read.
        """

    def local(self, name: str) -> Path:
        """Return a path on this machine from which the file can be read.

        Raises:
            OSError: it cannot be fetched.
        """


def files_of(
    directory: str, fetched: Path, *, links: bool = False, stem: str | None = None
) -> Files:
    """Return the files of a folder or of an fsspec URL.

    Args:
        directory: the folder or URL.
        fetched: a folder for files that are fetched from a bucket.
        links: whether to follow links that lead out of the folder. If they are not followed, a link
            that somebody puts into the folder cannot expose other files of the machine.
        stem: use only files of the folder with this name, without extension; None: all.

    Raises:
        ConfigError: it is not a folder, or the bucket cannot be reached.
    """
    if is_remote(directory):
        return _Remote(directory, fetched)
    folder = Path(os.path.expanduser(directory))
    if not folder.is_dir():
        raise ConfigError(f"{directory} is no folder of recordings")
    return _Local(folder, links=links, stem=stem)


class _Local:
    def __init__(self, folder: Path, *, links: bool, stem: str | None) -> None:
        self._folder = folder
        self._links = links
        self._stem = stem

    def stamps(self) -> dict[str, str]:
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    if self._stem not in (None, Path(entry.name).stem):
                        continue
                    if entry.is_file() and (not entry.is_symlink() or self._leads_in(entry.name)):
                        status = entry.stat()
                        found[entry.name] = f"{status.st_mtime_ns}/{status.st_size}"
                except OSError:  # deleted since it was listed
                    pass
        return found

    def _leads_in(self, name: str) -> bool:
        folder = self._folder.resolve()
        return self._links or (folder / name).resolve().is_relative_to(folder)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def head(self, name: str, count: int) -> tuple[bytes, int]:
        with (self._folder / name).open("rb") as file:
            return file.read(count), os.fstat(file.fileno()).st_size

    def local(self, name: str) -> Path:
        return self._folder / name


class _Remote:
    """A bucket: a recording is fetched when it is first played, and then cached."""

    def __init__(self, url: str, fetched: Path) -> None:
        self._system: AbstractFileSystem
        try:
            from fsspec.core import url_to_fs

            self._system, self._root = url_to_fs(url)
            self._system.ls(self._root, detail=False)
        except ImportError as error:
            raise ConfigError(f"{without_password(url)}: {error}; for S3: {EXTRA}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(f"cannot list {without_password(url)}: {reason}") from error
        self._fetched = fetched
        self._fetching = threading.Lock()
        self._stamps: dict[str, str] = {}

    def stamps(self) -> dict[str, str]:
        with _as_os_errors():
            self._system.invalidate_cache()
            listed = self._system.ls(self._root, detail=True)
        found = {
            item["name"].rpartition("/")[2]: (
                f"{next((item[key] for key in _STAMPS if item.get(key)), None)}/{item.get('size')}"
            )
            for item in listed
            if item.get("type") == "file"
        }
        with self._fetching:
            for name, stamp in self._stamps.items():
                if found.get(name) != stamp:  # the fetched copy is out of date
                    (self._fetched / name).unlink(missing_ok=True)
            self._stamps = found
        return found

    def read(self, name: str) -> bytes:
        with _as_os_errors():
            content: bytes = self._system.cat_file(self._path(name))
        return content

    def head(self, name: str, count: int) -> tuple[bytes, int]:
        with _as_os_errors():
            size = int(self._system.size(self._path(name)) or 0)
            content: bytes = self._system.cat_file(self._path(name), start=0, end=min(count, size))
        return content, size

    def local(self, name: str) -> Path:
        target = self._fetched / name
        with self._fetching:  # two listeners of one recording fetch it once
            if not target.exists():
                part = target.with_name(target.name + ".part")
                with _as_os_errors():
                    self._system.get_file(self._path(name), str(part))
                part.replace(target)
        return target

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Convert exceptions to OSError, because each file system has its own exceptions."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
