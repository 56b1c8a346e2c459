"""JSON text that every exporter can encode, of bounded length and always valid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from otel_realtime.core.protocol.events import MAX_DEPTH, TOO_DEEP, clean

UNREADABLE: Final = '"[unreadable]"'


def dump(value: Any, limit: int | None = None) -> str:
    """JSON text that every OTel exporter can encode, at most ``limit`` characters.

    Lone surrogates become U+FFFD, non-finite floats null, other objects their text. What is
    too long is shortened from within, so that the text stays valid JSON.
    """
    text = _dumps(value)
    if limit is not None and len(text) > limit:
        text = shorten(value, limit)
        if len(text) > limit:
            text = "{}"
    return text


def _dumps(value: Any) -> str:
    try:
        return encode(value)
    except Exception:  # noqa: BLE001 - an app's object may refuse to be read
        return UNREADABLE


def encode(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # not plain JSON: foreign, endless or infinite
        text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return clean(text)


def _plain(value: Any, room: int = MAX_DEPTH) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not room:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {str(key): _plain(item, room - 1) for key, item in value.items()}
    return [_plain(item, room - 1) for item in value]


def shorten(value: Any, limit: int) -> str:
    """JSON text of at most ``limit`` characters: strings, lists and objects are cut from within.

    Args:
        value: any JSON value.
        limit: characters, 18 at least.
    """
    length, members = 4096, 200
    while length >= 8:
        text = _dumps(_cut(value, length, members))
        if len(text) <= limit:
            return text
        length //= 2
        members = max(members * 2 // 3, 3)
    return '{"truncated":true}'


def _cut(value: Any, length: int, members: int, room: int = MAX_DEPTH) -> Any:
    if isinstance(value, str) and len(value) > length:
        return f"{value[:length]}… [{len(value) - length} more characters]"
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not room:
        return TOO_DEEP
    more = len(value) - members
    if isinstance(value, Mapping):
        pairs = islice(value.items(), members)
        found = {key: _cut(item, length, members, room - 1) for key, item in pairs}
        return {**found, "…": f"{more} more"} if more > 0 else found
    kept = [_cut(item, length, members, room - 1) for item in value[:members]]
    return [*kept, f"… [{more} more]"] if more > 0 else kept
