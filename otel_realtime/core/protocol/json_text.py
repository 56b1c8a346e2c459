"""Encode values as JSON text of bounded length that is always valid and that any exporter can send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Final

from otel_realtime.core.protocol.events import (
    MAX_DEPTH,
    TOO_DEEP,
    JsonValue,
    limit_depth,
    replace_surrogates,
)
from otel_realtime.interrupts import let_through

#: Replaces a value that cannot be encoded at all.
UNREADABLE: Final = '"[unreadable]"'


def dump(value: object, limit: int | None = None) -> str:
    """Return the value as JSON text of at most ``limit`` characters.

    Lone surrogates become U+FFFD, non-finite floats become null, and objects without a JSON
    equivalent become their ``str``. Text that is too long is shortened within its values, so that it
    stays valid JSON. Does not raise.

    Args:
        value: Any JSON value; objects of the app are tolerated.
        limit: Maximum length in characters; None for no limit.
    """
    text = _dump_or_unreadable(value)
    if limit is not None and len(text) > limit:
        text = shorten(value, limit)
        if len(text) > limit:
            text = "{}"
    return text


def _dump_or_unreadable(value: object) -> str:
    try:
        return encode(value)
    except BaseException as error:  # noqa: BLE001 - converting an object of the app may raise anything
        let_through(error)
        return UNREADABLE


def object_or_text(text: str) -> JsonValue:
    """Return the JSON object that a text holds, or the text itself if it holds anything else.

    A tool's arguments and result are text on the wire, and objects in the GenAI convention
    (``gen_ai.tool.call.arguments``: "expected to be an object"). Only objects are decoded: a result
    ``42`` or ``null`` may be the app's plain text.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # also an integer with more digits than Python converts
        return text
    return limit_depth(value)


def encode(value: object) -> str:
    """Return the value as JSON text of any length.

    Raises:
        Exception: Whatever the ``__str__`` of an object of the app raises.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        # Not plain JSON: NaN or infinity (RFC 8259, section 6), a reference cycle, or an object of
        # the app. Converting only here avoids walking every payload, because almost none needs it.
        text = json.dumps(_to_plain(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return replace_surrogates(text)


def _to_plain(value: object, levels: int = MAX_DEPTH) -> JsonValue:
    if isinstance(value, float):
        return value if value - value == 0 else None  # inf - inf and nan - nan are nan
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {str(key): _to_plain(member, levels - 1) for key, member in value.items()}
    return [_to_plain(element, levels - 1) for element in value]


def shorten(value: object, limit: int) -> str:
    """Return the value as valid JSON text, with its strings, arrays and objects shortened.

    Args:
        value: Any JSON value.
        limit: Maximum length in characters, at least 18 (the length of ``{"truncated":true}``).
    """
    # The encoded length cannot be predicted, so tighter limits are tried until the text fits.
    # Strings shrink faster than containers, because keys are more useful to a reader than long values.
    characters, members = 4096, 200
    while characters >= 8:
        text = _dump_or_unreadable(_truncate(value, characters, members))
        if len(text) <= limit:
            return text
        characters //= 2
        members = max(members * 2 // 3, 3)
    return '{"truncated":true}'


def _truncate(value: object, characters: int, members: int, levels: int = MAX_DEPTH) -> JsonValue:
    if isinstance(value, str) and len(value) > characters:
        return f"{value[:characters]}… [{len(value) - characters} more characters]"
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return TOO_DEEP
    omitted = len(value) - members
    if isinstance(value, Mapping):
        pairs = islice(value.items(), members)
        kept = {key: _truncate(member, characters, members, levels - 1) for key, member in pairs}
        return {**kept, "…": f"{omitted} more"} if omitted > 0 else kept
    elements = [_truncate(element, characters, members, levels - 1) for element in value[:members]]
    return [*elements, f"… [{omitted} more]"] if omitted > 0 else elements
