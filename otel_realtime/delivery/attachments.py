"""The file that is attached to a root run: the WAV, or a smaller encoding of the same recording.

libsndfile (package ``soundfile``) encodes FLAC (https://www.rfc-editor.org/rfc/rfc9639) and Ogg Opus
(https://www.rfc-editor.org/rfc/rfc7845) block by block from the WAV. The WAV's description of itself
becomes comments (``recording.comments``). MP3 is not offered, because its joint stereo leaks each side
into the other's channel. Opus does not, at the bit rate used here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime.attributes import RootFact
from otel_realtime.delivery.model import Recording
from otel_realtime.diagnostics import logger_of
from otel_realtime.errors import RecordingError
from otel_realtime.recording.comments import comments_of, copy_with_comments
from otel_realtime.state.files import made_anew
from otel_realtime.state.quota import quota_for

if TYPE_CHECKING:
    import soundfile

    from otel_realtime.core.audio.codecs import Samples

logger = logger_of(__name__)

#: Command that installs the encoders.
EXTRA: Final = 'pip install "otel-realtime[audio-formats]"'
_CHANNELS: Final = 2
#: Sample rates in Hz that Opus encodes: https://www.rfc-editor.org/rfc/rfc6716#section-2.1.3
_OPUS_RATES: Final = frozenset({8_000, 12_000, 16_000, 24_000, 48_000})


@dataclass(frozen=True, slots=True)
class _Format:
    """A format of the attachment.

    Attributes:
        suffix: extension of the file name.
        mime: MIME type by which LangSmith's player selects it.
        options: keyword arguments for ``soundfile.SoundFile``.
        rates: sample rates in Hz that the format accepts; ``None``: any.
    """

    suffix: str
    mime: str
    options: Mapping[str, Any]
    rates: frozenset[int] | None = field(default=None)


_FORMATS: Final[Mapping[str, _Format]] = {
    "flac": _Format(".flac", "audio/flac", {"format": "FLAC", "subtype": "PCM_16"}),
    # ``compression_level`` 0.94 gives about 40 kbit/s of speech: an hour is less than 20 MB.
    "opus": _Format(
        ".ogg",
        "audio/ogg",
        {"format": "OGG", "subtype": "OPUS", "compression_level": 0.94},
        _OPUS_RATES,
    ),
}
#: Formats to try for each ``Settings.audio_format``, largest file first.
_CHAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "auto": ("wav", "flac", "opus"),
    "wav": ("wav",),
    "flac": ("flac",),
    "opus": ("opus",),
}


#: Metadata keys of each side's loudness, which is known after rendering.
_LOUDNESS: Final = {"user": RootFact.USER_LOUDNESS, "agent": RootFact.AGENT_LOUDNESS}


def attachment(
    wav: Path, audio_format: str, loudness: Mapping[str, float] | None = None
) -> Recording:
    """Return the attachment for a rendered recording, with the metadata that is known only now.

    Args:
        wav: the recording.
        audio_format: ``Settings.audio_format``. ``auto`` starts with the WAV, and falls back to
            smaller formats if the WAV is refused as too large. Any other format is used alone; if it
            cannot be encoded, the WAV is attached.
        loudness: loudness of each side, LUFS.
    """
    metadata = {_LOUDNESS[side]: lufs for side, lufs in (loudness or {}).items()}
    return replace(_first(wav, audio_format), metadata=metadata)


def _first(wav: Path, audio_format: str) -> Recording:
    first, *rest = _CHAINS[audio_format]
    if first == "wav":
        return Recording(path=wav, smaller=_fallback(wav, rest))
    try:
        return _encoded(wav, first)
    except RecordingError as error:
        logger.warning("%s; attaching the recording as WAV", error)
        return Recording(path=wav)


def _fallback(wav: Path, names: list[str]) -> Callable[[], Recording] | None:
    # Lazy: most recordings fit as WAV, and encoding an hour takes seconds.
    return partial(_encode_next, wav, names) if names else None


def _encode_next(wav: Path, names: list[str]) -> Recording:
    """Return the recording in the first of some formats, with the others as its fallbacks."""
    try:
        encoded = _encoded(wav, names[0])
    except RecordingError as error:
        logger.warning("%s; the recording is too large as WAV and is not attached", error)
        return Recording(status="too_large")
    return Recording(path=encoded.path, mime=encoded.mime, smaller=_fallback(wav, names[1:]))


def _encoded(wav: Path, name: str) -> Recording:
    return Recording(path=encode(wav, name), mime=_FORMATS[name].mime)


def encode(wav: Path, name: str) -> Path:
    """Encode a recording as ``flac`` or ``opus``, next to the WAV.

    The file gets its name when it is complete.

    Args:
        wav: the recording.
        name: the format.

    Returns:
        Path of the encoded file.

    Raises:
        RecordingError: ``soundfile`` is missing, or the file cannot be written.
    """
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is installed, libsndfile is not
        raise RecordingError(f"{name.upper()} needs soundfile ({error}): {EXTRA}") from error
    target_format = _FORMATS[name]
    out = wav.with_suffix(target_format.suffix)
    partial_file = wav.with_suffix(target_format.suffix + ".part")
    # libsndfile's own file, which lacks most of the WAV's description of itself.
    bare = wav.with_suffix(target_format.suffix + ".bare")
    try:
        # Created first, because libsndfile would create them readable by everyone.
        os.close(made_anew(bare))
        os.close(made_anew(partial_file))
        # It should not be larger than the WAV, so the WAV's size is reserved.
        room = quota_for(wav.parent).reserved(wav.stat().st_size, keep=wav.parent)
        with room, soundfile.SoundFile(wav) as source:
            rate_hz = source.samplerate
            allowed = target_format.rates is None or rate_hz in target_format.rates
            to_hz = rate_hz if allowed else max(_OPUS_RATES)
            with soundfile.SoundFile(
                bare, "w", to_hz, _CHANNELS, **target_format.options
            ) as target:
                for block in _blocks(source, to_hz):
                    target.write(block)
            copy_with_comments(bare, partial_file, comments_of(wav))
        os.replace(partial_file, out)
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        partial_file.unlink(missing_ok=True)
        raise RecordingError(f"cannot encode the recording as {name.upper()}: {error}") from error
    finally:
        bare.unlink(missing_ok=True)
    return out


def _blocks(source: soundfile.SoundFile, to_hz: int) -> Iterator[Samples]:
    """Yield the samples second by second, shape ``(n, 2)``, resampled to ``to_hz`` if needed."""
    blocks = source.blocks(source.samplerate, dtype="int16", always_2d=True)
    if to_hz == source.samplerate:
        yield from blocks
        return
    from otel_realtime.recording.resample import Resampler

    stream = Resampler(source.samplerate, to_hz, _CHANNELS)
    for block in blocks:
        yield stream.feed(block)
    yield stream.finish()
