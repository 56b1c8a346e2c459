"""The file that goes along with a root run: the WAV, or a smaller one of the same sound.

FLAC and Ogg Opus are written by libsndfile (``soundfile``), block by block from the WAV. There is
no MP3: its joint stereo lets one side be heard on the other's channel; Opus does not at the
bit rate used here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from otel_realtime.delivery.model import Recording
from otel_realtime.errors import RecordingError

logger = logging.getLogger(__name__)

EXTRA: Final = 'pip install "otel-realtime[audio-formats]"'
_CHANNELS: Final = 2
_OPUS_RATES: Final = frozenset({8_000, 12_000, 16_000, 24_000, 48_000})


@dataclass(frozen=True, slots=True)
class _Format:
    suffix: str
    mime: str
    options: Mapping[str, Any]
    rates: frozenset[int] | None = field(default=None)  # None: any


_FORMATS: Final[Mapping[str, _Format]] = {
    "flac": _Format(".flac", "audio/flac", {"format": "FLAC", "subtype": "PCM_16"}),
    # About 40 kbit/s while somebody speaks: an hour is less than 20 MB.
    "opus": _Format(
        ".ogg",
        "audio/ogg",
        {"format": "OGG", "subtype": "OPUS", "compression_level": 0.94},
        _OPUS_RATES,
    ),
}
_CHAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": ("wav", "flac", "opus"),
    "wav": ("wav",),
    "flac": ("flac",),
    "opus": ("opus",),
}


def attachment(wav: Path, audio_format: str) -> Recording:
    """What to attach of a finished recording.

    Args:
        wav: the recording.
        audio_format: ``Settings.audio_format``. ``auto`` begins with the WAV and has smaller files
            behind it; another one is the only one, or the WAV if it cannot be made.
    """
    first, *rest = _CHAINS[audio_format]
    if first == "wav":
        return Recording(path=wav, smaller=_smaller(wav, rest))
    try:
        return _encoded(wav, first)
    except RecordingError as error:
        logger.warning("%s; the recording goes as WAV", error)
        return Recording(path=wav)


def _smaller(wav: Path, names: list[str]) -> Callable[[], Recording] | None:
    return partial(_next, wav, names) if names else None


def _next(wav: Path, names: list[str]) -> Recording:
    """The first of these formats that can be made."""
    try:
        made = _encoded(wav, names[0])
    except RecordingError as error:
        logger.warning("%s; it is too large as WAV and is not attached", error)
        return Recording(status="too_large")
    return Recording(path=made.path, mime=made.mime, smaller=_smaller(wav, names[1:]))


def _encoded(wav: Path, name: str) -> Recording:
    found = _FORMATS[name]
    return Recording(path=encode(wav, name), mime=found.mime)


def encode(wav: Path, name: str) -> Path:
    """Write ``flac`` or ``opus`` beside the WAV; the file appears when it is whole.

    Raises:
        RecordingError: the library is missing, or the file cannot be made.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, libsndfile is not
        raise RecordingError(f"{name.upper()} needs soundfile ({error}): {EXTRA}") from error
    found = _FORMATS[name]
    out = wav.with_suffix(found.suffix)
    partial_file = wav.with_suffix(found.suffix + ".part")
    try:
        os.close(os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with soundfile.SoundFile(wav) as source:
            rate_hz = source.samplerate
            allowed = found.rates is None or rate_hz in found.rates
            to_hz = rate_hz if allowed else max(_OPUS_RATES)
            with soundfile.SoundFile(
                partial_file, "w", to_hz, _CHANNELS, **found.options
            ) as target:
                for block in _blocks(source, to_hz):
                    target.write(block)
        os.replace(partial_file, out)
    except (OSError, soundfile.SoundFileError) as error:
        partial_file.unlink(missing_ok=True)
        raise RecordingError(
            f"the recording cannot be written as {name.upper()}: {error}"
        ) from error
    return out


def _blocks(source: Any, to_hz: int) -> Iterator[Any]:
    """A second at a time, at the rate the format takes."""
    blocks = source.blocks(source.samplerate, dtype="int16", always_2d=True)
    if to_hz == source.samplerate:
        yield from blocks
        return
    from otel_realtime.recording.resample import Resampler

    stream = Resampler(source.samplerate, to_hz, _CHANNELS)
    for block in blocks:
        yield stream.feed(block)
    yield stream.finish()
