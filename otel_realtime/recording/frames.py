"""Decodes audio frames from the wire.

``input_audio_buffer.append``:
https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/append
``response.output_audio.delta``:
https://platform.openai.com/docs/api-reference/realtime-server-events/response/output_audio/delta

Live sessions and live translation send ``session.output_audio.delta`` continuously; this audio belongs
to no item. On a sideband connection, ``start_ms`` gives its position on the session's clock.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

try:  # the extra ``fast`` decodes ten times as fast, which saves a quarter of a recording's cost
    from pybase64 import b64decode as _b64decode
except ImportError:
    _strict: Callable[..., bytes] | None = None
else:
    _strict = _b64decode

# Frames in the shape that every known client and server writes, with the audio last, are cut instead of
# parsed: in this shape, nothing but audio follows these keys.
_APPEND_KEYS: Final = (',"audio":"', ', "audio": "')
_DELTA_KEYS: Final = (',"delta":"', ', "delta": "')
_APPEND_KEYS_BYTES: Final = tuple(key.encode() for key in _APPEND_KEYS)
_DELTA_KEYS_BYTES: Final = tuple(key.encode() for key in _DELTA_KEYS)
#: Stands for the item of audio that belongs to the session. It is empty, which no id on the wire is.
STREAM: Final = ""
#: Eleven days: a longer time is not a position in a call.
_MAX_MS: Final = 10**9
#: The frame is parsed unless the key begins within this many characters.
_HEAD: Final = 512


class AudioFrame(NamedTuple):
    """Decoded audio of one frame.

    Attributes:
        raw: samples in the session's format.
        item_id, content_index, response_id: origin of the agent's audio; not set for the user's.
        start_ms: where it begins on the session's clock; ``None`` if the frame does not say.
        rate_hz: its own sample rate; ``None`` if the session's applies.
    """

    raw: bytes
    item_id: str = ""
    content_index: int = 0
    response_id: str | None = None
    start_ms: int | None = None
    rate_hz: int | None = None


def parse_append(frame: str | bytes) -> AudioFrame | None:
    """Decode a client's ``input_audio_buffer.append``; return ``None`` if it has no audio."""
    found = _cut(frame, _APPEND_KEYS, _APPEND_KEYS_BYTES)
    raw = _decode(_load(frame).get("audio") if found is None else found[1])
    return None if raw is None else AudioFrame(raw)


def parse_appends(frames: Sequence[str | bytes]) -> list[AudioFrame | None]:
    """Decode a client's frames as ``parse_append`` does, all at once if they have the same shape.

    Nearly all do: a client writes every frame of its microphone in the same way.
    """
    raws = _decode_alike(frames)
    if raws is None:
        return [parse_append(frame) for frame in frames]
    return [AudioFrame(raw) for raw in raws]


def _decode_alike(frames: Sequence[str | bytes]) -> list[bytes] | None:
    """Decode frames that differ only in their unpadded base64; return ``None`` for any others."""
    first = frames[0]
    found = _cut(first, _APPEND_KEYS, _APPEND_KEYS_BYTES)
    if found is None:
        return None
    kind, empty, tail = first.__class__, first[:0], first[-2:]
    head = first[: len(first) - len(tail) - len(found[1])]
    start = len(head)
    payloads: list[Any] = []
    for frame in frames:
        if frame.__class__ is not kind or not (frame.startswith(head) and frame.endswith(tail)):  # type: ignore[arg-type]
            return None
        payloads.append(frame[start:-2])
    sizes = list(map(len, payloads))
    joined = _decode(empty.join(payloads))
    # Decoding skips characters that are not base64 (a closing quote, an escape) and stops at padding.
    if joined is None or 4 * len(joined) != 3 * sum(sizes) or any(size % 4 for size in sizes):
        return None
    raws, at = [], 0
    for size in sizes:
        end = at + size // 4 * 3
        raws.append(joined[at:end])
        at = end
    return raws


def parse_delta(frame: str | bytes) -> AudioFrame | None:
    """Decode a server's ``response.output_audio.delta`` (beta: ``response.audio.delta``) or the like.

    Returns:
        The audio; ``None`` if there is no audio, or if a response's audio names no item.
    """
    found = _cut(frame, _DELTA_KEYS, _DELTA_KEYS_BYTES)
    if found is None:
        event = _load(frame)
        raw = _decode(event.get("delta", event.get("audio")))  # live translation calls it ``audio``
    else:
        event = _load(found[0])
        raw = _decode(found[1])
    item, index = event.get("item_id"), event.get("content_index")
    if raw is None:
        return None
    if not isinstance(item, str):
        return _of_session(event, raw)
    response = event.get("response_id")
    return AudioFrame(
        raw,
        item,
        # Indices of content parts are small; anything else is malformed.
        index if type(index) is int and 0 <= index < 1_000 else 0,
        response if isinstance(response, str) else None,
    )


def _of_session(event: dict[str, Any], raw: bytes) -> AudioFrame | None:
    """Return audio that belongs to no item; ``None`` if audio of this event type should name one."""
    kind = event.get("type")
    if not isinstance(kind, str) or kind.startswith("response."):
        return None
    start_ms, rate = event.get("start_ms"), event.get("sample_rate")
    return AudioFrame(
        raw,
        STREAM,
        start_ms=start_ms if type(start_ms) is int and 0 <= start_ms <= _MAX_MS else None,
        rate_hz=rate if type(rate) is int and 1_000 <= rate <= 384_000 else None,
    )


def _cut(
    frame: str | bytes, keys: tuple[str, ...], keys_bytes: tuple[bytes, ...]
) -> tuple[str | bytes, str | bytes] | None:
    """Cut a frame before the last key of its object, because JSON's parser would scan the audio again.

    Returns:
        The object without that key, and the key's text, which is the rest of the frame; ``None`` if
        the frame has a different shape.
    """
    if isinstance(frame, str):
        for key in keys:
            at = frame.find(key, 0, _HEAD)
            if at < 0:
                continue
            text = frame[at + len(key) : -2]
            plain = frame.endswith('"}') and '"' not in text and "\\" not in text
            return (frame[:at] + "}", text) if plain else None
        return None
    for key_bytes in keys_bytes:
        at = frame.find(key_bytes, 0, _HEAD)
        if at < 0:
            continue
        data = frame[at + len(key_bytes) : -2]
        plain = frame.endswith(b'"}') and b'"' not in data and b"\\" not in data
        return (frame[:at] + b"}", data) if plain else None
    return None


def _load(frame: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _decode(payload: object) -> bytes | None:
    if not isinstance(payload, (str, bytes)):
        return None
    if _strict is not None:
        try:
            return _strict(payload, validate=True)
        except ValueError:
            pass  # decode leniently, so that the result does not depend on what is installed
    try:
        return binascii.a2b_base64(payload)  # less overhead than ``base64.b64decode``
    except ValueError:  # includes binascii.Error
        return None
