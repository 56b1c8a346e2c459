"""Audio frames of the wire, taken apart: the sound and whose it is."""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """Decoded audio; ``item_id`` and what follows it only for the agent's."""

    raw: bytes
    item_id: str = ""
    content_index: int = 0
    response_id: str | None = None


def parse_append(frame: str | bytes) -> AudioFrame | None:
    """Read a client's ``input_audio_buffer.append``; None if it holds no audio."""
    event = _load(frame)
    raw = _decode(event.get("audio"))
    return None if raw is None else AudioFrame(raw)


def parse_delta(frame: str | bytes) -> AudioFrame | None:
    """Read a server's ``response.output_audio.delta`` (beta: ``response.audio.delta``)."""
    event = _load(frame)
    raw, item, index = _decode(event.get("delta")), event.get("item_id"), event.get("content_index")
    if raw is None or not isinstance(item, str):
        return None
    response = event.get("response_id")
    return AudioFrame(
        raw,
        item,
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
        return binascii.a2b_base64(payload)
    except ValueError:  # also binascii.Error
        return None
