"""What of an event may be stored: secrets and audio out, content behind the switch, length bounded.

Three classes of fields. *Never recorded*: secrets, whatever any switch says. *Behind the
switch*: everything that can hold what was said, asked, answered or instructed. *Kept once*:
instructions and tools, on the root and on the event that changed them. Base64 becomes its
size. Every function returns JSON values and leaves its argument alone.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime.core.protocol.events import MAX_DEPTH, TOO_DEEP, Event, clean
from otel_realtime.core.protocol.json_text import encode

SECRET: Final = "[secret]"
HIDDEN: Final = "[hidden]"
UNCHANGED: Final = "[unchanged]"

#: Keys whose value is a secret (an MCP tool's ``authorization`` and ``headers``, the beta
#: session's ``client_secret``) whatever it looks like.
_SECRET_KEYS: Final = frozenset(
    {"authorization", "headers", "client_secret", "api_key", "api-key", "password", "secret"}
)
#: Bulky and without meaning to a reader: padding and per-token probabilities.
_DROPPED_KEYS: Final = frozenset({"obfuscation", "logprobs"})
_SECRET_VALUE: Final = re.compile(
    r"\b(?:ek_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{16,}|lsv2_(?:pt|sk)_[A-Za-z0-9_]{8,})"
)
_SECRET_HINTS: Final = ("ek_", "sk-", "lsv2_")
#: A run of base64 characters of this length or more is no word.
_LONG: Final = 512
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{512,}={0,2}\Z")
_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+=-]+)*,([A-Za-z0-9+/_%=-]*)")
#: PCM16 at 24 kHz, what the wire carries unless a session says otherwise.
PCM16_BYTES_PER_MS: Final = 48

#: Strings with these keys describe shape, not content; they stay when content is hidden.
_SHAPE_KEYS: Final = frozenset(
    {
        "type", "id", "event_id", "item_id", "response_id", "previous_item_id", "call_id",
        "conversation_id", "object", "status", "role", "phase", "code", "reason", "model", "voice",
        "format", "modality", "eagerness", "truncation", "status_reason", "conversation",
    }
)  # fmt: skip
#: A shape is one word; free text under such a key is content.
_WORD: Final = re.compile(r"[!-~]{1,256}\Z")
_SHAPE_LISTS: Final = frozenset({"modalities", "output_modalities"})
#: Numbers and keys in these are content as well: a user's answer, a tool's description.
_CONTENT_OBJECTS: Final = frozenset({"metadata", "variables", "parameters", "prompt", "tools"})
#: What carries a name that is the developer's, not the caller's: functions and rate limits.
_NAMED: Final = frozenset({"function_call", "mcp_call", "response.function_call_arguments.done"})
_LIMITS: Final = ("tokens", "requests")
#: What a redact hook cannot take away: without it the trace falls apart.
_IDENTITY: Final = frozenset(
    {
        "type", "id", "event_id", "item_id", "response_id", "previous_item_id", "call_id",
        "conversation_id", "conversation", "role", "status",
    }
)  # fmt: skip

#: A frame without any of these, and without a long run of characters, needs no scrubbing.
_TRIGGERS: Final = (
    '"image_url"', '"session"', "authorization", '"headers"', "client_secret", '"logprobs"',
    '"obfuscation"', "ek_", "sk-", "lsv2_", '"api', '"password"', '"secret"', "data:",
    '"server_url"', "NaN", "Infinity",
    "\\ud", "\\uD",  # an escaped half of a surrogate pair
    "\\u00",  # letters written as escapes could hide any of the above
)  # fmt: skip
_AUDIO_TEXT: Final = re.compile(r'"audio"\s*:\s*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPolicy:
    """What may be stored.

    Attributes:
        inputs: what the user, the tools and the developer said.
        outputs: what the model said.
        audio: the sound of both.
        redact: the app's hook; sees each payload first. A hook that raises hides the payload.
    """

    inputs: bool = True
    outputs: bool = True
    audio: bool = True
    redact: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    @property
    def payloads(self) -> bool:
        """Whole events show both sides, so either side hidden hides them."""
        return self.inputs and self.outputs

    def stricter(self, *, capture: bool, audio: bool) -> ContentPolicy:
        """This policy with a switch turned off on top of it; nothing is turned on."""
        return ContentPolicy(
            inputs=self.inputs and capture,
            outputs=self.outputs and capture,
            audio=self.audio and audio and capture,
            redact=self.redact,
        )

    def admit(
        self, event: Event, *, bytes_per_ms: int = PCM16_BYTES_PER_MS
    ) -> tuple[Event, str | None]:
        """The event as it may be stored, and why a hook failed (None: it did not).

        With content hidden the result holds no content at all, so whatever is made of it
        holds none either. A hook may change or remove anything but what the trace stands on:
        ids, types, roles, statuses and the numbers of a nested object come back.

        Args:
            event: one event of the wire.
            bytes_per_ms: of its audio, for the length of what is left out.
        """
        shown: Event = scrub(event, bytes_per_ms=bytes_per_ms)
        if self.redact is not None:
            try:
                answer = self.redact(copy.deepcopy(shown))
                if not isinstance(answer, dict):
                    return self.hidden(shown), f"it returned {type(answer).__name__}, not a dict"
                shown = _restore(json.loads(encode(answer)), hide(shown))
            except Exception as error:  # noqa: BLE001 - an app's hook; its failure hides
                return self.hidden(shown), type(error).__name__  # its message may quote content
        if not (self.inputs or self.outputs):
            shown = self.hidden(shown)
        return shown, None

    def hidden(self, event: Event) -> Event:
        """The event's shape, for a span that must not show its content."""
        found: Event = hide(event)
        return found


def _restore(answer: dict[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """Put back what a hook must not remove: identity, and objects as their bare shape."""
    for key, value in shape.items():
        given = answer.get(key)
        if key in _IDENTITY and not isinstance(value, dict | list):
            answer[key] = value
        elif isinstance(value, dict):
            answer[key] = _restore(given, value) if isinstance(given, dict) else value
        elif isinstance(value, list):
            answer[key] = _restore_list(given, value)
    return answer


def _restore_list(given: Any, shape: list[Any]) -> list[Any]:
    if not isinstance(given, list):
        return shape
    if len(given) != len(shape):
        return given
    return [
        (_restore(one, bare) if isinstance(one, dict) else bare) if isinstance(bare, dict) else one
        for one, bare in zip(given, shape, strict=True)
    ]


def needs_scrub(text: str) -> bool:
    """False if the JSON text certainly holds nothing that ``scrub`` would change.

    Also true for text that is not what ``parse`` made of it: what JSON does not allow, what
    cannot be encoded, what is nested too deep.
    """
    if any(trigger in text for trigger in _TRIGGERS):
        return True
    if '"audio"' in text and _AUDIO_TEXT.search(text):
        return True
    if len(text) > _LONG and max(map(len, text.split('"'))) >= _LONG:
        return True
    return clean(text) is not text or text.count("{") + text.count("[") > MAX_DEPTH


def scrub(value: Any, *, bytes_per_ms: int = PCM16_BYTES_PER_MS) -> Any:
    """Secrets, audio, images and padding out of any JSON value.

    Args:
        value: any JSON value.
        bytes_per_ms: of base64 audio, for its length.
    """
    return _scrub(value, "", bytes_per_ms, MAX_DEPTH)


def _scrub(value: Any, key: str, bytes_per_ms: int, room: int) -> Any:
    if key in _SECRET_KEYS and value:
        return SECRET
    if isinstance(value, str):
        return _scrub_text(value, key, bytes_per_ms)
    if not isinstance(value, dict | list):
        return value
    if not room:
        return TOO_DEEP
    if isinstance(value, list):
        return [_scrub(item, key, bytes_per_ms, room - 1) for item in value]
    return {
        name: _scrub(item, name, bytes_per_ms, room - 1)
        for name, item in value.items()
        if name not in _DROPPED_KEYS
    }


def _scrub_text(text: str, key: str, bytes_per_ms: int) -> str:
    if key == "audio" and text:
        size = _decoded_size(text)
        return f"[audio: {size} bytes, {size // bytes_per_ms} ms]"
    if len(text) >= _LONG and _BASE64.match(text):
        return f"[base64: {_decoded_size(text)} bytes]"
    if key == "server_url":
        text = text.partition("?")[0]
    if "data:" in text:
        text = _DATA_URI.sub(_without_data, text)
    if any(hint in text for hint in _SECRET_HINTS):
        text = _SECRET_VALUE.sub(SECRET, text)
    return text


def _without_data(uri: re.Match[str]) -> str:
    return f"[{uri[1]}: {_decoded_size(uri[2])} bytes]"


def _decoded_size(base64_text: str) -> int:
    return len(base64_text) * 3 // 4 - base64_text.count("=", -2)


def hide(value: Any) -> Any:
    """The shape of a JSON value: ids, types, statuses and numbers stay, content goes."""
    return _hide(value, "", MAX_DEPTH)


def _hide(value: Any, key: str, room: int) -> Any:
    if isinstance(value, str):
        return value if key in _SHAPE_KEYS and _WORD.match(value) else HIDDEN
    if not isinstance(value, dict | list):
        return value
    if key in _CONTENT_OBJECTS or not room:
        return HIDDEN
    if isinstance(value, list):
        inner = "modality" if key in _SHAPE_LISTS else ""
        return [_hide(item, inner, room - 1) for item in value]
    return {name: _hide_member(value, name, item, room - 1) for name, item in value.items()}


def _hide_member(owner: Mapping[str, Any], key: str, value: Any, room: int) -> Any:
    if key == "name" and isinstance(value, str):
        return value if owner.get("type") in _NAMED or value in _LIMITS else HIDDEN
    if key == "reason" and owner.get("type") == "mcp_approval_response":
        return HIDDEN  # the user's words
    if key == "event" and owner.get("type") == "input_audio_buffer.dtmf_event_received":
        return HIDDEN  # a key press can be a digit of a card, number or not
    return _hide(value, key, room)
