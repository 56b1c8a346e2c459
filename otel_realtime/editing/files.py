"""Silences a stretch of a file, in place or into another file.

The file is first copied beside its target and changed there; the copy takes the target's name when it is
complete. If an error or a kill interrupts this, the original is unchanged. The file keeps its mode, and
a symbolic link stays a link to the file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from otel_realtime.core.audio.redactions import Stretch
from otel_realtime.editing import encoded, wav
from otel_realtime.errors import RecordingError

#: File extension of the recordings that this package makes -> kind of file.
KINDS: Final = {".wav": "WAV", ".flac": "FLAC", ".ogg": "Ogg", ".opus": "Ogg"}
#: First four bytes of a file -> kind of file.
_MAGIC: Final = {b"RIFF": "WAV", b"RF64": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg"}


def silence(path: Path, stretch: Stretch, out: Path | None = None) -> Stretch:
    """Silence a stretch of a recording.

    Args:
        path: the recording: WAV, FLAC or Ogg Opus.
        stretch: what to silence.
        out: where to write the result; ``None``: in place.

    Returns:
        The stretch that was silenced, cut off at the end of the recording.

    Raises:
        RecordingError: the file cannot be read or written, or has no such stretch.
    """
    try:
        source = path.resolve(strict=True)
        target = source if out is None else out.resolve()
        kind = _kind_of(source)
        if out is not None and KINDS.get(target.suffix.lower(), kind) != kind:
            raise RecordingError(f"{out} is written as {kind}, as {path} is: name it so")
        if kind == "WAV":
            with source.open("rb") as file:
                clipped = _clip(path, stretch, wav.read_layout(file))
            with _replacing(source, target) as copy:
                shutil.copyfile(source, copy)
                with copy.open("r+b") as file:
                    layout = wav.read_layout(file)
                    wav.silence(file, layout, clipped)
                    wav.note_silenced(file, layout, clipped)
        else:
            clipped = _clip(path, stretch, encoded.read_layout(source))
            with _replacing(source, target) as copy:
                encoded.silence(source, copy, clipped)
    except (OSError, RuntimeError) as error:  # RuntimeError: a cycle of links
        reason = getattr(error, "strerror", None) or error
        into = "" if out is None else f" into {out}"
        raise RecordingError(f"cannot silence {path}{into}: {reason}") from error
    return clipped


def _kind_of(path: Path) -> str:
    if not path.is_file():
        raise RecordingError(f"{path} is not a file")
    with path.open("rb") as file:
        kind = _MAGIC.get(file.read(4))
    if kind is None:
        raise RecordingError(f"{path} is no recording: neither WAV nor FLAC nor Ogg")
    return kind


def _clip(path: Path, stretch: Stretch, layout: wav.Layout | encoded.Layout) -> Stretch:
    length_ns = layout.length_ns
    if stretch.start_ns >= length_ns:
        raise RecordingError(f"{path} is only {length_ns / 1e9:.3f} s long")
    if stretch.side is not None and layout.channels != 2:
        raise RecordingError(f"{path} has no sides: it has {layout.channels} channel(s)")
    end_ns = min(stretch.end_ns, length_ns)
    return Stretch(stretch.start_ns, end_ns, stretch.side, stretch.how, stretch.why)


@contextmanager
def _replacing(source: Path, target: Path) -> Iterator[Path]:
    """Yield a new empty file beside the target that takes its name after the block."""
    copy = target.with_name(f".{target.name}.{os.getpid()}.part")
    mode = (target if target.exists() else source).stat().st_mode
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield copy
        descriptor = os.open(copy, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # otherwise a power cut could leave an empty file under the name
        finally:
            os.close(descriptor)
        copy.chmod(mode & 0o7777)
        os.replace(copy, target)
    except BaseException:
        with suppress(OSError):
            copy.unlink()
        raise
