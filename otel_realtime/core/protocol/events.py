"""Classify and parse the frames of a Realtime websocket.

Dispatch is on the raw JSON ``type``, never on SDK classes: the SDK turns an unknown type into the
first member of its event union. ``type`` need not be the first key (Azure Voice Live and xAI send
other keys before it), so a frame is classified without parsing only if it begins with ``type``.

The events that :func:`parse` returns are safe to walk recursively and to encode: they are not
nested too deeply, and every string in them is valid Unicode.

Sources: https://platform.openai.com/docs/api-reference/realtime-server-events and
https://platform.openai.com/docs/api-reference/realtime-client-events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final, cast

#: A value that ``json.loads`` returned, or a part of it; its type depends on the peer.
JsonValue = Any
#: A decoded JSON object that may be changed.
JsonObject = dict[str, JsonValue]
#: A decoded JSON object that is only read.
JsonMapping = Mapping[str, JsonValue]

#: One websocket message as the client library returns it.
Frame = str | bytes
#: A parsed event; ``type`` is always present and a string.
Event = JsonObject

#: First components of the event types that a Realtime server sends. ``error`` has only this one.
FAMILIES: Final = frozenset(
    {
        "session",
        "transcription_session",
        "conversation",
        "response",
        "input_audio_buffer",
        "output_audio_buffer",
        "mcp_list_tools",
        "rate_limits",
        "error",
    }
)

#: Server events that carry agent audio: the GA name and the beta name.
AGENT_AUDIO: Final = ("response.output_audio.delta", "response.audio.delta")
#: Server events that carry text, or the arguments of a call, in pieces: GA and beta names.
TEXT_DELTAS: Final = (
    "response.output_audio_transcript.delta",
    "response.audio_transcript.delta",
    "response.output_text.delta",
    "response.text.delta",
    "conversation.item.input_audio_transcription.delta",
    "response.function_call_arguments.delta",
    "response.mcp_call_arguments.delta",
)
#: The client event that carries user audio.
USER_AUDIO: Final = ("input_audio_buffer.append",)

#: Beta name -> GA name. The state machine knows only GA names; spans keep the name on the wire.
GA_NAMES: Final[Mapping[str, str]] = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
    "conversation.item.created": "conversation.item.added",
    "transcription_session.created": "session.created",
    "transcription_session.updated": "session.updated",
}

#: Maximum nesting. The code runs on the app's stack, which may already be deep, so walking a more
#: deeply nested value recursively could exhaust it.
MAX_DEPTH: Final = 100
#: Replaces a value nested deeper than :data:`MAX_DEPTH`.
TOO_DEEP: Final = "[nested too deep]"

# The two ways in which JSON encoders write the first key (``separators`` without and with a space).
_TYPE_FIRST: Final = ('{"type":"', '{"type": "')


def prefixes_of(types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(head + name + '"' for name in types for head in _TYPE_FIRST)


#: Prefixes of audio frames, for one ``startswith`` call per frame instead of a parse.
AGENT_AUDIO_TEXT: Final = prefixes_of(AGENT_AUDIO)
AGENT_AUDIO_BYTES: Final = tuple(prefix.encode() for prefix in AGENT_AUDIO_TEXT)
TEXT_DELTA_TEXT: Final = prefixes_of(TEXT_DELTAS)
TEXT_DELTA_BYTES: Final = tuple(prefix.encode() for prefix in TEXT_DELTA_TEXT)
USER_AUDIO_TEXT: Final = prefixes_of(USER_AUDIO)
USER_AUDIO_BYTES: Final = tuple(prefix.encode() for prefix in USER_AUDIO_TEXT)


def is_delta(frame: Frame) -> bool:
    """Return whether the first key of the frame is a ``type`` that ends in ``.delta``.

    False does not prove that the frame is not a delta: ``type`` need not be the first key.
    """
    # Event types are ASCII, and the longest delta type has 49 characters.
    head = frame[:80]
    if (b'.delta"' if isinstance(head, bytes) else '.delta"') not in head:  # type: ignore[operator]
        return False  # true for most of the frames that are checked
    # latin-1 can decode any byte
    text = head.decode("latin-1") if isinstance(head, bytes) else head
    for start in _TYPE_FIRST:
        if text.startswith(start):
            end = text.find('"', len(start))
            return end > 0 and text.endswith(".delta", 0, end)
    return False


def parse(frame: Frame) -> Event | None:
    """Parse one frame.

    Returns:
        The event, or None if the frame is not a JSON object with a string ``type``.
    """
    return read(frame)[0]


def read(frame: Frame) -> tuple[Event | None, str | None]:
    """Parse one frame; also return its JSON text if that text is equivalent to the event.

    Returns:
        The event as :func:`parse` returns it, and the JSON text from which it was parsed. The text is
        None if it is not valid JSON (RFC 8259) or if the event was changed after parsing.
    """
    text = (
        frame.decode("utf-8", "replace") if isinstance(frame, bytes) else replace_surrogates(frame)
    )
    shown: str | None = text
    try:
        event, end = _decode(text)
        if end != len(text):
            event = json.loads(text)  # trailing white space, or not JSON
    except RecursionError:
        return None, None
    except ValueError:
        try:
            event, shown = json.loads(text), None  # leading white space, NaN or infinity
        except (ValueError, RecursionError):
            return None, None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None, None
    # The number of brackets is an upper bound of the depth, and cheaper than walking every event.
    if text.count("{") + text.count("[") > MAX_DEPTH:
        event, shown = limit_depth(event), None
    # JSON allows an escaped lone surrogate (RFC 8259, section 8.2); Python decodes it as such.
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        event = json.loads(replace_surrogates(json.dumps(event, ensure_ascii=False)))
        shown = None
    return cast(Event, event), shown


def _refuse(constant: str) -> None:
    """Reject ``NaN`` and ``Infinity``, which Python's decoder accepts by default."""
    raise ValueError(constant)


#: Decodes valid JSON without leading white space; faster than ``json.loads``.
_decode: Final = json.JSONDecoder(parse_constant=_refuse).raw_decode


def limit_depth(value: JsonValue, levels: int = MAX_DEPTH) -> JsonValue:
    """Return the JSON value with everything nested deeper than ``levels`` replaced."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, dict):
        return {key: limit_depth(member, levels - 1) for key, member in value.items()}
    return [limit_depth(element, levels - 1) for element in value]


def replace_surrogates(text: str) -> str:
    """Return the text with every lone surrogate replaced by U+FFFD.

    A lone surrogate has no UTF-8 encoding, so protobuf and HTTP exporters raise on it. Text
    without one is returned unchanged, as the same object.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Through UTF-16, which joins matching surrogates into a character before it replaces lone ones.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_json(frame: Frame) -> bool:
    """Return whether the frame is JSON of any kind; a Realtime server sends only JSON."""
    try:
        json.loads(frame)
    except (ValueError, RecursionError):
        return False
    return True


def is_known(event: Event) -> bool:
    """Return whether the event's type belongs to a family that Realtime servers send."""
    return event["type"].partition(".")[0] in FAMILIES


@lru_cache(maxsize=64)
def skip_rule(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a predicate that is true for event types that never become a span.

    Args:
        globs: Shell-style patterns of event types (``Settings.skip_events``).
    """
    if not globs:
        return lambda _kind: False
    match = re.compile("|".join(translate(glob) for glob in globs)).match
    # A server usually sends a few types repeatedly. The cache is bounded because it could send any number.
    return lru_cache(maxsize=1024)(lambda kind: match(kind) is not None)
