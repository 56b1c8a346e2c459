"""Decodes audio frames of the wire.

``input_audio_buffer.append``:
https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/append
``response.output_audio.delta``:
https://platform.openai.com/docs/api-reference/realtime-server-events/response/output_audio/delta
"""

from __future__ import annotations

import binascii
import json
from typing import Any, Final, NamedTuple

# Frames in the shape that every known client and server writes, audio last, are cut instead of parsed:
# nothing but audio stands behind these keys then.
_APPEND_KEYS: Final = (',"audio":"', ', "audio": "')
_DELTA_KEYS: Final = (',"delta":"', ', "delta": "')
_APPEND_KEYS_BYTES: Final = tuple(key.encode() for key in _APPEND_KEYS)
_DELTA_KEYS_BYTES: Final = tuple(key.encode() for key in _DELTA_KEYS)
#: The key stands within so many characters, or the frame is parsed.
_HEAD: Final = 512


class AudioFrame(NamedTuple):
    """Decoded audio of one frame.

    Attributes:
        raw: samples in the session's format.
        item_id, content_index, response_id: origin of the agent's audio; not set for the user's.
    """

    raw: bytes
    item_id: str = ""
    content_index: int = 0
    response_id: str | None = None


def parse_append(frame: str | bytes) -> AudioFrame | None:
    """Decode a client's ``input_audio_buffer.append``; return ``None`` if it has no audio."""
    found = _cut(frame, _APPEND_KEYS, _APPEND_KEYS_BYTES)
    raw = _decode(_load(frame).get("audio") if found is None else found[1])
    return None if raw is None else AudioFrame(raw)


def parse_delta(frame: str | bytes) -> AudioFrame | None:
    """Decode a server's ``response.output_audio.delta`` (beta: ``response.audio.delta``).

    Returns:
        The audio; ``None`` if there is none, or if it names no item.
    """
    found = _cut(frame, _DELTA_KEYS, _DELTA_KEYS_BYTES)
    if found is None:
        event = _load(frame)
        raw = _decode(event.get("delta"))
    else:
        event = _load(found[0])
        raw = _decode(found[1])
    item, index = event.get("item_id"), event.get("content_index")
    if raw is None or not isinstance(item, str):
        return None
    response = event.get("response_id")
    return AudioFrame(
        raw,
        item,
        # Indices of content parts are small; anything else is malformed.
        index if type(index) is int and 0 <= index < 1_000 else 0,
        response if isinstance(response, str) else None,
    )


def _cut(
    frame: str | bytes, keys: tuple[str, ...], keys_bytes: tuple[bytes, ...]
) -> tuple[str | bytes, str | bytes] | None:
    """Cut a frame before the last key of its object: JSON's parser would scan the audio once more.

    Returns:
        The object without that key, and the key's text, which is the rest of the frame; ``None`` if
        the frame has another shape.
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
    try:
        return binascii.a2b_base64(payload)  # less overhead than ``base64.b64decode``
    except ValueError:  # includes binascii.Error
        return None
