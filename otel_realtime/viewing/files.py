"""The files in a folder of recordings, on this machine or in a bucket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from otel_realtime.delivery.keep import EXTRA, is_remote, without_password
from otel_realtime.errors import ConfigError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Files(Protocol):
    """The files in one folder; names are without the folder."""

    def stamps(self) -> dict[str, str]:
        """Return each file's name, with a text that changes when the file does."""

    def read(self, name: str) -> bytes:
        """Return what is in a file.

        Raises:
            OSError: it cannot be read.
        """

    def local(self, name: str) -> Path:
        """Return a path on this machine under which the file can be read.

        Raises:
            OSError: it cannot be fetched.
        """


def files_of(directory: str, fetched: Path, *, stem: str | None = None) -> Files:
    """Return the files of a folder or of an fsspec URL.

    Args:
        directory: the folder or URL.
        fetched: a folder for what is fetched from a bucket.
        stem: the name, without extension, of the files of a folder that count; None: all.

    Raises:
        ConfigError: it is no folder, or the bucket cannot be reached.
    """
    if is_remote(directory):
        return _Remote(directory, fetched)
    folder = Path(os.path.expanduser(directory))
    if not folder.is_dir():
        raise ConfigError(f"{directory} is no folder of recordings")
    return _Local(folder, stem)


class _Local:
    def __init__(self, folder: Path, stem: str | None) -> None:
        self._folder = folder
        self._stem = stem

    def stamps(self) -> dict[str, str]:
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    if self._stem not in (None, Path(entry.name).stem):
                        continue
                    if entry.is_file():
                        status = entry.stat()
                        found[entry.name] = f"{status.st_mtime_ns}/{status.st_size}"
                except OSError:  # gone since it was listed
                    pass
        return found

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def local(self, name: str) -> Path:
        return self._folder / name


class _Remote:
    """A bucket: a recording is fetched when somebody listens to it, and then kept."""

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

    def stamps(self) -> dict[str, str]:
        self._system.invalidate_cache()
        return {
            item["name"].rpartition("/")[
                2
            ]: f"{item.get('ETag') or item.get('mtime') or item.get('LastModified')}/{item.get('size')}"
            for item in self._system.ls(self._root, detail=True)
            if item.get("type") == "file"
        }

    def read(self, name: str) -> bytes:
        content: bytes = self._system.cat_file(self._path(name))
        return content

    def local(self, name: str) -> Path:
        target = self._fetched / name
        if not target.exists():
            part = target.with_name(target.name + ".part")
            self._system.get_file(self._path(name), str(part))
            part.replace(target)
        return target

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"
