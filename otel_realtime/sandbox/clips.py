"""Cuts a part of a recording into a WAV file of its own."""

from __future__ import annotations

import wave
from io import BytesIO
from pathlib import Path
from typing import Final

#: Longest clip, ms: one that easily fits into memory.
LONGEST_MS: Final = 15 * 60_000


def clip(recording: Path, start_ms: int, end_ms: int) -> bytes:
    """Return a stretch of a WAV, FLAC or Ogg Opus recording as WAV, with all its channels.

    Raises:
        OSError: the recording cannot be read.
        ValueError: the stretch is empty, or the recording is not in a format that can be read here.
    """
    end_ms = min(end_ms, start_ms + LONGEST_MS)
    if not 0 <= start_ms < end_ms:
        raise ValueError(f"no stretch from {start_ms} to {end_ms} ms")
    with recording.open("rb") as file:
        is_wav = file.read(4) == b"RIFF"
    frames, rate, channels = (_of_wav if is_wav else _of_other)(recording, start_ms, end_ms)
    target = BytesIO()
    with wave.open(target, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(frames)
    return target.getvalue()


def _frames(start_ms: int, end_ms: int, rate: int, length: int) -> tuple[int, int]:
    start, end = (min(round(at * rate / 1000), length) for at in (start_ms, end_ms))
    if start >= end:
        raise ValueError("the recording ends before")
    return start, end


def _of_wav(recording: Path, start_ms: int, end_ms: int) -> tuple[bytes, int, int]:
    try:
        with wave.open(str(recording), "rb") as file:
            rate, channels = file.getframerate(), file.getnchannels()
            if file.getsampwidth() != 2:
                raise ValueError("it has no 16-bit samples")
            start, end = _frames(start_ms, end_ms, rate, file.getnframes())
            file.setpos(start)
            return file.readframes(end - start), rate, channels
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{recording.name} is no WAV file: {error}") from error


def _of_other(recording: Path, start_ms: int, end_ms: int) -> tuple[bytes, int, int]:
    try:
        import soundfile
    except ImportError as error:
        raise ValueError(
            'its format needs soundfile: pip install "otel-realtime[audio-formats]"'
        ) from error
    try:
        with soundfile.SoundFile(str(recording)) as file:
            start, end = _frames(start_ms, end_ms, file.samplerate, file.frames)
            file.seek(start)
            block = file.read(end - start, dtype="int16", always_2d=True)
            return block.astype("<i2").tobytes(), file.samplerate, file.channels
    except soundfile.SoundFileError as error:
        raise ValueError(f"{recording.name} cannot be read: {error}") from error
