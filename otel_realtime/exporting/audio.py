"""Writes the recording of an exported call as a WAV, and cuts it into clips."""

from __future__ import annotations

import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.calls.schema import Call, Turn
from otel_realtime.delivery.attachments import EXTRA
from otel_realtime.editing.wav import PCM, Layout, read_layout
from otel_realtime.errors import RecordingError

#: Channel of each role in a stereo recording.
_CHANNELS: Final = {"user": 0, "assistant": 1}
#: Number of frames that are converted at a time.
_BLOCK: Final = 1 << 16


def as_wav(source: Path, target: Path) -> tuple[int, int]:
    """Write a recording as a WAV, whatever its format.

    Args:
        source: the recording: WAV, FLAC or Ogg Opus.
        target: the WAV file to write.

    Returns:
        Its sample rate in Hz, and its number of frames.

    Raises:
        RecordingError: the recording cannot be read, or the WAV cannot be written.
    """
    try:
        with source.open("rb") as file:
            is_wav = file.read(4) in (b"RIFF", b"RF64")
        if is_wav:
            shutil.copyfile(source, target)
        else:
            _decode(source, target)
        with target.open("rb") as made:
            layout = read_layout(made)
        return layout.rate_hz, layout.frames
    except (OSError, wave.Error) as error:
        raise RecordingError(f"cannot read {source} as a recording: {error}") from error


def _decode(source: Path, target: Path) -> None:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is installed, libsndfile is not
        raise RecordingError(f"{source.name} needs soundfile ({error}): {EXTRA}") from error
    try:
        with soundfile.SoundFile(source) as encoded, wave.open(str(target), "wb") as made:
            made.setnchannels(encoded.channels)
            made.setsampwidth(2)
            made.setframerate(encoded.samplerate)
            for block in encoded.blocks(_BLOCK, dtype="int16", always_2d=True):
                made.writeframes(block.astype("<i2").tobytes())
    except soundfile.LibsndfileError as error:
        raise RecordingError(f"cannot read {source} as a recording: {error}") from error


def clips(recording: Path, call: Call, folder: Path) -> list[Path]:
    """Write each turn as a WAV of its side's channel, ``001-user.wav``; a turn without audio has none.

    Args:
        recording: the call's recording as WAV; unless it is stereo, clips keep all its channels.
        call: the call.
        folder: where to write the clips.

    Raises:
        RecordingError: the recording's format cannot be cut, or a clip cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(exist_ok=True)
        with recording.open("rb") as file:
            layout = read_layout(file)
            if (layout.format, layout.width) != (PCM, 2):
                raise RecordingError(f"{recording.name} has no 16-bit samples to cut")
            for turn in call["turns"]:
                samples = _cut(file, layout, turn)
                if len(samples):
                    path = folder / f"{turn['index'] + 1:03}-{turn['role']}.wav"
                    _write(path, samples, layout.rate_hz)
                    written.append(path)
    except (OSError, wave.Error) as error:
        raise RecordingError(f"cannot cut {recording.name} into clips: {error}") from error
    return written


def _cut(file: IO[bytes], layout: Layout, turn: Turn) -> npt.NDArray[Any]:
    start_ms, end_ms = turn["start_ms"], turn["end_ms"]
    if start_ms is None or end_ms is None:
        return np.empty((0, 1), "<i2")
    start, end = (
        min(max(at, 0) * layout.rate_hz // 1_000, layout.frames) for at in (start_ms, end_ms)
    )
    frame = layout.width * layout.channels
    file.seek(layout.at + start * frame)
    samples = np.frombuffer(file.read(max(end - start, 0) * frame), "<i2")
    own, samples = _CHANNELS[turn["role"]], samples.reshape(-1, layout.channels)
    return samples[:, own : own + 1] if layout.channels == 2 else samples


def _write(path: Path, samples: npt.NDArray[Any], rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def stale_clips(folder: Path) -> Iterator[Path]:
    """Yield the clips that an earlier export left in the folder."""
    yield from folder.glob("[0-9][0-9][0-9]*-*.wav")
