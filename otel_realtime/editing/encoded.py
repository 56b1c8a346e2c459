"""Silencing a stretch of a FLAC or Ogg Opus file: decoded, silenced and encoded again, block by block.

FLAC is lossless, so everything outside of the stretch keeps its samples. Opus is not: it is encoded a
second time. Either keeps its length, rate, channels and comments; one that this package made gets one
more chapter, which says what was silenced. libsndfile (package ``soundfile``) does the work; what it
does not know of a FLAC file (pictures, cue sheets) is lost.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S
from otel_realtime.core.audio.redactions import SIDES, Stretch
from otel_realtime.errors import RecordingError
from otel_realtime.recording.about import redaction_label
from otel_realtime.recording.comments import (
    Chapter,
    copy_with_comments,
    is_ours,
    read_comments,
    with_chapter,
)
from otel_realtime.recording.mask import Mask

#: Command that installs the decoders and encoders.
EXTRA: Final = 'pip install "otel-realtime[audio-formats]"'
#: How the samples of a subtype are read without loss; all others as floats.
_EXACT: Final = {"PCM_S8": "int16", "PCM_16": "int16", "PCM_24": "int32"}
#: As strong as the attachments are compressed: about 40 kbit/s of speech.
_OPUS_LEVEL: Final = 0.94


@dataclass(frozen=True, slots=True)
class Layout:
    """What an encoded file holds.

    Attributes:
        channels: number of channels.
        length_ns: length of the recording, ns.
    """

    channels: int
    length_ns: int


def read_layout(path: Path) -> Layout:
    """Read what a file holds.

    Raises:
        RecordingError: ``soundfile`` is missing, or cannot read the file.
    """
    soundfile = _soundfile(path)
    try:
        with soundfile.SoundFile(path) as source:
            length_ns = source.frames * NS_PER_S // source.samplerate
            return Layout(source.channels, length_ns)
    except soundfile.SoundFileError as error:
        raise RecordingError(f"cannot read {path}: {error}") from error


def silence(path: Path, out: Path, stretch: Stretch) -> None:
    """Write a file with a stretch silenced.

    Args:
        path: the file.
        out: where to write the new one.
        stretch: what to silence; with a side, the file has two channels.

    Raises:
        RecordingError: ``soundfile`` is missing, or cannot read or write the file.
    """
    soundfile = _soundfile(path)
    try:
        with soundfile.SoundFile(path) as source, _like(soundfile, source, out) as target:
            _copy(source, target, stretch)
        _keep_comments(path, out, stretch)
    except soundfile.SoundFileError as error:
        raise RecordingError(f"cannot silence {path}: {error}") from error


def _keep_comments(path: Path, out: Path, stretch: Stretch) -> None:
    """Give a file the comments of the one that it was made from."""
    comments = read_comments(path)
    if comments is None:
        return  # Ogg Vorbis, say: it has those that libsndfile knows
    if is_ours(comments):
        chapter = Chapter(stretch.start_ns // NS_PER_MS, redaction_label(stretch.side))
        comments = with_chapter(comments, chapter)
    bare = out.with_name(f"{out.name}.bare")
    os.replace(out, bare)
    try:
        os.close(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        copy_with_comments(bare, out, comments)
    except ValueError as error:
        raise RecordingError(f"cannot write the comments of {path}: {error}") from error
    finally:
        bare.unlink()


def _copy(source: Any, target: Any, stretch: Stretch) -> None:
    rate_hz, start = source.samplerate, 0
    masks = [Mask([stretch], SIDES[channel % 2], rate_hz) for channel in range(source.channels)]
    dtype = _EXACT.get(source.subtype, "float32")
    for block in source.blocks(rate_hz, dtype=dtype, always_2d=True):
        for channel, mask in enumerate(masks):
            mask.apply(block[:, channel], start)
        target.write(block)
        start += len(block)


def _like(soundfile: Any, source: Any, out: Path) -> Any:
    """Open a file for writing that is of the same kind and has the same tags."""
    level = {"compression_level": _OPUS_LEVEL} if source.subtype == "OPUS" else {}
    target = soundfile.SoundFile(
        out,
        "w",
        samplerate=source.samplerate,
        channels=source.channels,
        format=source.format,
        subtype=source.subtype,
        **level,
    )
    for name, value in source.copy_metadata().items():
        setattr(target, name, value)
    return target


def _soundfile(path: Path) -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is installed, libsndfile is not
        raise RecordingError(f"{path.name} needs soundfile ({error}): {EXTRA}") from error
    return soundfile
