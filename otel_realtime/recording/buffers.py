"""Converts audio in any array or buffer type that an app's audio library uses to 16-bit mono.

``sounddevice`` passes NumPy arrays of shape ``(frames, channels)``, float32 unless told otherwise
(https://python-sounddevice.readthedocs.io/en/latest/usage.html#callback-streams). PyAudio passes
``bytes``, and others pass ``memoryview`` or ``array.array``. An object is classified by its ``dtype`` and
``shape``, or otherwise by the ``format`` of its buffer:

=======================================  =======================================================
elements                                 read as
=======================================  =======================================================
bytes (``bytes``, buffers of ``B``)      16-bit samples, little endian, as on the wire; 32-bit floats
                                         if they cannot be anything else
16-bit integers, of either byte order    as they are
32-bit integers                          full scale is 32 bits; the upper 16 are kept
floats, 16 to 64 bits                    full scale is 1.0; values beyond it are clipped
a list of numbers                        floats if any of them is a float, else 16-bit integers
anything else                            refused: 8-bit and unsigned samples, booleans, objects, and
                                         floats on the scale of integers
=======================================  =======================================================

``sounddevice``'s raw streams pass bytes without a type (a CFFI buffer), and their default is 32-bit
floats. Read as 16-bit samples, these would be noise at full scale.

Channels are averaged. They may come last, ``(frames, channels)``, or first.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_realtime.interrupts import let_through

#: No microphone or speaker has more channels than this; a longer axis counts frames.
MOST_CHANNELS: Final = 32
_FULL_SCALE: Final = 32_768.0
#: If most floats exceed this, they are not clipped peaks but on the scale of integers.
_LOUDEST: Final = 16.0
#: The last byte of a 32-bit float between 1e-6 and 1, of either sign, as most audio samples are.
_FLOAT_BYTES: Final = bytes((*range(0x35, 0x40), *range(0xB5, 0xC0)))
#: Fewer of these bytes than this prove nothing.
_LEAST_FLOATS: Final = 32
#: Formats of a buffer of plain bytes: https://docs.python.org/3/library/struct.html#format-characters
_BYTES: Final = frozenset("Bbc")

_Array = npt.NDArray[Any]


class RefusedAudio(ValueError):
    """An app passed something that cannot be recorded as audio; the text says why."""


def as_pcm16(audio: object) -> bytes:
    """Return a copy of an app's audio as 16-bit mono samples, little endian.

    Args:
        audio: Any buffer, array or list; see above. The caller may reuse it at once.

    Raises:
        RefusedAudio: The audio is in a form that is not understood.
    """
    # Most audio already comes as bytes: do not make an array of them.
    try:
        raw = bytes(audio) if isinstance(audio, bytes | bytearray) else None
        samples = _array_of(audio) if raw is None else raw
        if isinstance(samples, bytes):
            if not _are_floats(samples):
                return whole_samples(samples)
            samples = np.frombuffer(samples, "<f4")
        with np.errstate(all="ignore"):
            return _pcm16(_mono(samples)).astype("<i2", copy=False).tobytes()
    except RefusedAudio:
        raise
    except BaseException as error:  # whatever the object's own methods raise
        let_through(error)
        raise RefusedAudio(f"{type(audio).__name__} cannot be read as audio") from error


def as_bytes(audio: object) -> bytes:
    """Return a copy of bytes that contain audio in another encoding.

    Raises:
        RefusedAudio: It is not a buffer of bytes.
    """
    try:
        view = memoryview(audio)  # type: ignore[arg-type]
        if view.itemsize == 1:
            return view.tobytes()
    except (TypeError, ValueError, NotImplementedError) as error:
        raise RefusedAudio(f"{_kind_of(audio)} is no buffer of bytes") from error
    raise RefusedAudio(f"{_kind_of(audio)} is no buffer of bytes")


def whole_samples(raw: bytes) -> bytes:
    """Return bytes without a trailing half sample."""
    return raw[:-1] if len(raw) % 2 else raw


def sound_in(samples: npt.NDArray[np.int16], rate_hz: int) -> tuple[int, int]:
    """Return a block's first sample with sound and the index after its last; 0 and 0 if all are zeros.

    Leading or trailing zeros shorter than a millisecond count as sound.
    """
    sound = np.flatnonzero(samples)
    if not sound.size:
        return 0, 0
    first, after, least = int(sound[0]), int(sound[-1]) + 1, rate_hz // 1000
    return first if first >= least else 0, after if samples.size - after >= least else samples.size


def _are_floats(raw: bytes) -> bool:
    """Return whether bytes are 32-bit floats that would not make sense as 16-bit samples."""
    if len(raw) % 4:
        return False
    last = raw[3::4]
    others = last.translate(None, _FLOAT_BYTES)
    found = len(last) - len(others)
    if found < _LEAST_FLOATS or 10 * len(others.translate(None, b"\0")) > found:
        return False
    # Loud 16-bit samples look the same, but then the two halves of each supposed float are alike.
    halves = np.frombuffer(raw, "<i2").reshape(-1, 2).astype(np.int32)
    alike = np.abs(halves[:, 0] - halves[:, 1])[halves[:, 1] != 0] < 4_096
    return bool(2 * np.count_nonzero(alike) < alike.size)


def _kind_of(audio: object) -> str:
    dtype = getattr(audio, "dtype", None)
    shape = getattr(audio, "shape", None)
    name = type(audio).__name__
    return name if dtype is None else f"{name} of {dtype}, shape {shape}"


def _array_of(audio: object) -> _Array | bytes:
    """Return an app's audio as an array of numbers, or as bytes if it is a buffer of bytes."""
    if isinstance(audio, list | tuple):
        return _of_list(audio)
    if hasattr(audio, "__array_interface__") or hasattr(audio, "__array__"):
        return _checked(np.asarray(audio), audio)
    try:
        view = memoryview(audio)  # type: ignore[arg-type]
    except TypeError as error:
        raise RefusedAudio(f"{_kind_of(audio)} is no buffer of samples") from error
    if view.format.lstrip("@=<>!") in _BYTES:
        return view.tobytes()
    return _checked(np.asarray(view), audio)


def _of_list(audio: list[Any] | tuple[Any, ...]) -> _Array:
    array = np.asarray(audio)
    if not array.size:
        return np.empty(0, np.int16)
    if array.dtype.kind == "i":
        numbers: _Array = np.clip(array, -32_768, 32_767).astype(np.int16)
        return numbers
    return _checked(array, audio)


def _checked(array: _Array, audio: object) -> _Array:
    dtype = array.dtype
    if dtype.kind == "f" or (dtype.kind == "i" and dtype.itemsize in (2, 4)):
        return array
    raise RefusedAudio(
        f"{type(audio).__name__} of {dtype} is not understood; pass 16-bit integers, or floats "
        "between -1 and 1"
    )


def _mono(samples: _Array) -> _Array:
    if samples.ndim == 1:
        return samples
    if samples.ndim and not samples.size:
        return np.empty(0, np.int16)
    if samples.ndim == 2 and 1 in samples.shape:
        return np.ravel(samples)
    few = [axis for axis in (1, 0) if samples.ndim == 2 and samples.shape[axis] <= MOST_CHANNELS]
    if not few:
        raise RefusedAudio(f"an array of shape {samples.shape} is not understood; pass one channel")
    # Channels come last, unless there are too many of them.
    mixed: _Array = samples.mean(axis=few[0], dtype=np.float64)
    if samples.dtype.kind != "i":
        return mixed
    rounded: _Array = np.rint(mixed).astype(samples.dtype)  # keep the scale of the integers
    return rounded


def _pcm16(samples: _Array) -> _Array:
    if samples.dtype.kind == "f":
        # NaN becomes silence; infinity becomes full scale.
        if np.count_nonzero(np.abs(samples) > _LOUDEST) * 2 > np.count_nonzero(samples):
            raise RefusedAudio(
                "floats on the scale of integers are not understood; divide by 32768"
            )
        scaled = np.nan_to_num(samples.astype(np.float64) * _FULL_SCALE, nan=0.0)
        return np.clip(np.rint(scaled), -32_768, 32_767).astype(np.int16)
    if samples.dtype.itemsize == 4:
        return (samples >> 16).astype(np.int16)
    return samples.astype(np.int16)
