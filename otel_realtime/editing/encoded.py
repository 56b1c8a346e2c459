"""Silences a stretch of a FLAC or Ogg Opus file: decodes, silences and encodes it again, block by block.

FLAC is lossless, so samples outside of the stretch do not change. Opus is lossy: the whole file is
encoded a second time. Length, rate, channels and comments are kept; a file that this package made gets
one more chapter, which says what was silenced. libsndfile (package ``soundfile``) decodes and encodes;
parts of a FLAC file that it does not support (pictures, cue sheets) are lost.
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
#: Subtype -> number type that holds its samples without loss; other subtypes are read as floats.
_EXACT: Final = {"PCM_S8": "int16", "PCM_16": "int16", "PCM_24": "int32"}
#: The same compression level as for attachments: about 40 kbit/s for speech.
_OPUS_LEVEL: Final = 0.94


@dataclass(frozen=True, slots=True)
class Layout:
    """Channels and length of an encoded file.

    Attributes:
        channels: number of channels.
        length_ns: length of the recording, ns.
    """

    channels: int
    length_ns: int


def read_layout(path: Path) -> Layout:
    """Read the layout of a file.

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
        stretch: what to silence; if it names a side, the file must have two channels.

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
    """Copy the comments of the original file to the new one."""
    comments = read_comments(path)
    if comments is None:
        return  # for example Ogg Vorbis: ``_like`` has copied the comments that libsndfile knows
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
    """Open a file for writing, with the format and tags of the source."""
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
