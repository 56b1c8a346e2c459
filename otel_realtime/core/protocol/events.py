"""From a websocket frame to an event: what kind it is, and what it may cost to find out.

Dispatch is on the raw JSON ``type``, never on SDK classes: the SDK turns unknown types into
the first member of its union. ``type`` need not be the first key; only frames that begin with
it are recognised without parsing. What ``parse`` hands out is safe to walk and to encode: not
nested too deep, and every string in it is valid Unicode.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final, cast

Frame = str | bytes
Event = dict[str, Any]

#: First part of the type of every event a Realtime server sends. ``error`` stands alone.
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

#: Server events that carry agent audio: GA and beta name.
AGENT_AUDIO: Final = ("response.output_audio.delta", "response.audio.delta")
#: The client event that carries user audio.
USER_AUDIO: Final = ("input_audio_buffer.append",)

#: Beta names of events whose GA names the rest of the core uses.
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

#: Deeper values are cut off: walking them could exhaust the stack of an app that is deep itself.
MAX_DEPTH: Final = 100
TOO_DEEP: Final = "[nested too deep]"

_TYPE_FIRST: Final = ('{"type":"', '{"type": "')


def _prefixes(types: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(head + name + '"' for name in types for head in _TYPE_FIRST)


AGENT_AUDIO_TEXT: Final = _prefixes(AGENT_AUDIO)
AGENT_AUDIO_BYTES: Final = tuple(prefix.encode() for prefix in AGENT_AUDIO_TEXT)
USER_AUDIO_TEXT: Final = _prefixes(USER_AUDIO)
USER_AUDIO_BYTES: Final = tuple(prefix.encode() for prefix in USER_AUDIO_TEXT)


def is_delta(frame: Frame) -> bool:
    """True if the frame says in its very first key that its type ends in ``.delta``."""
    head = frame[:80].decode("latin-1") if isinstance(frame, bytes) else frame[:80]
    for start in _TYPE_FIRST:
        if head.startswith(start):
            end = head.find('"', len(start))
            return end > 0 and head.endswith(".delta", 0, end)
    return False


def parse(frame: Frame) -> Event | None:
    """Read one frame; None when it is no JSON object with a text ``type``."""
    text = frame.decode("utf-8", "replace") if isinstance(frame, bytes) else clean(frame)
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        return None
    if text.count("{") + text.count("[") > MAX_DEPTH:
        event = cut_depth(event)
    if "\\ud" in text or "\\uD" in text:  # an escaped half of a pair is valid JSON
        event = json.loads(clean(json.dumps(event, ensure_ascii=False)))
    return cast(Event, event)


def cut_depth(value: Any, room: int = MAX_DEPTH) -> Any:
    """The JSON value without what is nested deeper than ``room`` levels."""
    if not isinstance(value, dict | list):
        return value
    if not room:
        return TOO_DEEP
    if isinstance(value, dict):
        return {key: cut_depth(item, room - 1) for key, item in value.items()}
    return [cut_depth(item, room - 1) for item in value]


def clean(text: str) -> str:
    """The text with lone surrogates, which no exporter can encode, as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_json(frame: Frame) -> bool:
    """True if the frame is JSON of any kind: a Realtime server sends nothing else."""
    try:
        json.loads(frame)
    except (ValueError, RecursionError):
        return False
    return True


def is_known(event: Event) -> bool:
    """True if the event's type is of a family that Realtime servers send."""
    return event["type"].partition(".")[0] in FAMILIES


@lru_cache(maxsize=64)
def skip_rule(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """A test whether an event type is one that never becomes a span."""
    if not globs:
        return lambda _kind: False
    match = re.compile("|".join(translate(glob) for glob in globs)).match
    return lru_cache(maxsize=1024)(lambda kind: match(kind) is not None)
