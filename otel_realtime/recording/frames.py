"""Decodes audio frames of the wire.

``input_audio_buffer.append``:
https://platform.openai.com/docs/api-reference/realtime-client-events/input_audio_buffer/append
``response.output_audio.delta``:
https://platform.openai.com/docs/api-reference/realtime-server-events/response/output_audio/delta
"""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AudioFrame:
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
    event = _load(frame)
    raw = _decode(event.get("audio"))
    return None if raw is None else AudioFrame(raw)


def parse_delta(frame: str | bytes) -> AudioFrame | None:
    """Decode a server's ``response.output_audio.delta`` (beta: ``response.audio.delta``).

    Returns:
        The audio; ``None`` if there is none, or if it names no item.
    """
    event = _load(frame)
    raw, item, index = _decode(event.get("delta")), event.get("item_id"), event.get("content_index")
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


def _load(frame: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _decode(payload: object) -> bytes | None:
    if not isinstance(payload, str):
        return None
    try:
        return binascii.a2b_base64(payload)  # less overhead than ``base64.b64decode``
    except ValueError:  # includes binascii.Error
        return None
