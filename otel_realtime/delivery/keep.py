"""Recordings for the team's own folder or bucket: ``Settings.recordings_dir``.

A folder, or any URL that fsspec knows (``s3://bucket/prefix``, ``gs://...``, ``sftp://...``) with
its own credentials and settings. A file appears under its name when it is whole, and memory stays
flat: what is sent is read block by block.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from otel_realtime.errors import RecordingError

EXTRA: Final = 'pip install "otel-realtime[buckets]"'
_BLOCK: Final = 8 << 20
"""Bytes of one part of an upload; S3 takes parts from 5 MB up."""
_STORES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
)
"""Where a path is only a name: there are no folders to be made."""


def is_remote(directory: str) -> bool:
    """Whether a ``recordings_dir`` is a URL, which may be slow or away."""
    return "://" in directory


def keep(recording: Path, directory: str, name: str) -> str:
    """Copy a finished recording to where the app wants it.

    Args:
        recording: the WAV.
        directory: a folder, which is made, or an fsspec URL.
        name: the copy's name without extension.

    Returns:
        Where it is now.

    Raises:
        RecordingError: it cannot be written there; the text says why.
    """
    target = f"{_without_password(directory).rstrip('/')}/{name}.wav"
    try:
        if not is_remote(directory):
            return str(_copy(recording, Path(directory).expanduser() / f"{name}.wav"))
        with recording.open("rb") as source:
            _upload(source, directory, f"{name}.wav")
    except Exception as error:
        # Each file system has exceptions of its own.
        raise RecordingError(f"the recording cannot be kept as {target}: {_said(error)}") from error
    return target


def _without_password(directory: str) -> str:
    scheme, separator, rest = directory.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else directory


def _said(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error}; for S3: {EXTRA}"
    return f"{type(error).__name__}: {error}"


def _copy(recording: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(recording, part)
    os.replace(part, target)
    return target


def _upload(source: IO[bytes], directory: str, name: str) -> None:
    from fsspec.core import url_to_fs
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with suppress_instrumentation():
        # Not the app's instance of the file system: state and settings stay apart.
        system, root = url_to_fs(directory, skip_instance_cache=True)
        if not _STORES.intersection(_protocols(system)):
            system.makedirs(root, exist_ok=True)
        target = system.open(
            f"{root.rstrip('/')}/{name}", "wb", block_size=_BLOCK, autocommit=False
        )
        try:
            shutil.copyfileobj(source, target, _BLOCK)
            target.close()
            target.commit()
        except BaseException:
            _discard(target)
            raise


def _protocols(system: Any) -> tuple[str, ...]:
    found = system.protocol
    return (found,) if isinstance(found, str) else tuple(found)


def _discard(target: Any) -> None:
    """Leave no half of an upload behind, as far as the other end lets us."""
    with suppress(Exception):  # the error that led here is the one to tell
        target.discard()
    with suppress(Exception):  # not every kind of file lets itself be told so
        target.closed = True  # else it would upload the rest when it is forgotten
