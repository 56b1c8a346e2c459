"""Copies of recordings in the app's folder or bucket: ``Settings.recordings_dir``.

The target is a folder, or a URL of any file system that fsspec supports (``s3://bucket/prefix``,
``gs://...``, ``sftp://...``), with fsspec's own credentials and settings:
https://filesystem-spec.readthedocs.io/en/latest/features.html

A copy gets its name when it is complete. It is transferred block by block, so memory use does not
depend on its size. The call as a JSON object (``calls.schema``) is stored beside it, with the same name.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from datetime import datetime, timezone
from errno import EACCES
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from otel_realtime.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

#: End of the name of the JSON object beside a recording.
SIDECAR: Final = ".json"
#: Command that installs fsspec and its S3 file system.
EXTRA: Final = 'pip install "otel-realtime[buckets]"'
#: Bytes per part of an upload; S3 accepts parts of 5 MiB and more:
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_BLOCK: Final = 8 << 20
#: Characters that are not used in a file name.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
#: The prefix that ``name_of`` adds.
_DATE: Final = re.compile(r"\A\d{8}T\d{6}Z-")
#: Protocols of object stores: a path there is only a name, so there are no folders to create.
_OBJECT_STORES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
)


def is_remote(directory: str) -> bool:
    """Return whether a ``recordings_dir`` is a URL, whose target may be slow or unreachable."""
    return "://" in directory


def name_of(thread_id: str, span_id: int, start_ns: int) -> str:
    """Return the name of a kept recording, without extension; names sort by the calls' start.

    Args:
        thread_id: id of the conversation's thread.
        span_id: id of its root span.
        start_ns: its start, epoch ns.
    """
    try:
        start = datetime.fromtimestamp(start_ns // 1_000_000_000, timezone.utc)
        return f"{start:%Y%m%dT%H%M%SZ}-{undated_name(thread_id, span_id)}"
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # the app gave a time whose year does not exist
        return undated_name(thread_id, span_id)


def undated_name(thread_id: str, span_id: int) -> str:
    """Return the name without its date, as version 0.1.0 made it: the thread's id and a unique part."""
    # A thread id may be a path or start with a dot; it is the app's text, or even the caller's.
    thread = _UNSAFE.sub("_", thread_id)[:80].lstrip(".-")
    return f"{thread or 'call'}-{span_id:016x}"


def without_date(name: str) -> str:
    """Return the name of a kept recording in the form of ``undated_name``."""
    return _DATE.sub("", name)


def uri_of(directory: str, name: str) -> str:
    """Return the URI that a copy will have, before it is made; without credentials.

    Args:
        directory: a folder, or an fsspec URL.
        name: name of the copy, without extension.
    """
    if is_remote(directory):
        return f"{without_password(directory).rstrip('/')}/{name}.wav"
    return (Path(directory).expanduser().absolute() / f"{name}.wav").as_uri()


def check_folder(directory: str) -> None:
    """Create the folder for copies, for a command: after the call it is too late to report an error.

    Buckets are not checked.

    Raises:
        ConfigError: it cannot be created, or written to.
    """
    if is_remote(directory):
        return
    folder = Path(os.path.expanduser(directory))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    except OSError as error:
        raise ConfigError(
            f"cannot keep recordings in {directory}: {error.strerror or error}; check --out, or "
            "OTEL_REALTIME_RECORDINGS_DIR"
        ) from error


def keep(recording: Path, directory: str, name: str) -> str:
    """Copy a rendered recording to a folder or bucket.

    Args:
        recording: the WAV.
        directory: a folder, which is created if needed, or an fsspec URL.
        name: name of the copy, without extension.

    Returns:
        Path or URL of the copy.

    Raises:
        RecordingError: the copy cannot be written; the message says why.
    """
    target = f"{without_password(directory).rstrip('/')}/{name}.wav"
    try:
        if not is_remote(directory):
            return str(_copy(recording, Path(directory).expanduser() / f"{name}.wav"))
        with recording.open("rb") as source:
            _upload(source, directory, f"{name}.wav")
    except BaseException as error:
        # Each fsspec file system has exceptions of its own; it runs on our thread, not the app's.
        reason = _reason(error)
        raise RecordingError(f"cannot keep the recording as {target}: {reason}") from error
    return target


def keep_beside(text: str, directory: str, name: str) -> None:
    """Write the JSON object of a call beside its recording; it gets its name when it is complete.

    Args:
        text: the JSON text.
        directory: a folder, or an fsspec URL, as for ``keep``.
        name: name of the recording, without extension.

    Raises:
        RecordingError: it cannot be written; the message says why.
    """
    data = text.encode("utf-8", "replace")
    try:
        if is_remote(directory):
            _upload(BytesIO(data), directory, f"{name}{SIDECAR}")
        else:
            target = Path(directory).expanduser() / f"{name}{SIDECAR}"
            part = target.with_name(target.name + ".part")
            part.write_bytes(data)
            os.replace(part, target)
    except BaseException as error:
        target_name = f"{without_password(directory).rstrip('/')}/{name}{SIDECAR}"
        raise RecordingError(f"cannot write {target_name}: {_reason(error)}") from error


def without_password(directory: str) -> str:
    """Return a URL without credentials, for the log; ``sftp://user:password@host/path`` has some."""
    scheme, separator, rest = directory.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else directory


def _reason(error: BaseException) -> str:
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
        # fsspec caches instances, and the app may use the same one and close it.
        system, root = url_to_fs(directory, skip_instance_cache=True)
        if not _OBJECT_STORES.intersection(_protocols(system)):
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


def _protocols(system: AbstractFileSystem) -> tuple[str, ...]:
    protocols = system.protocol
    return (protocols,) if isinstance(protocols, str) else tuple(protocols)


def _discard(target: AbstractBufferedFile) -> None:
    """Abort an upload, if the file system supports that."""
    with suppress(BaseException):  # the caller raises the error that led here
        target.discard()
    with suppress(BaseException):  # not every file class allows it
        target.closed = True  # otherwise the destructor would upload what is still buffered
