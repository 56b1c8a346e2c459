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

from otel_realtime.core.events import Event

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
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{512,}={0,2}\Z")

#: Strings with these keys describe shape, not content; they stay when content is hidden.
_SHAPE_KEYS: Final = frozenset(
    {
        "type", "id", "event_id", "item_id", "response_id", "previous_item_id", "call_id",
        "conversation_id", "object", "status", "role", "phase", "code", "reason", "model", "voice",
        "format", "modality", "eagerness", "truncation", "status_reason",
    }
)  # fmt: skip
_SHAPE_LISTS: Final = frozenset({"modalities", "output_modalities"})
#: Numbers that are content: digits of a card, a user's answer.
_CONTENT_OBJECTS: Final = frozenset({"metadata", "variables", "parameters", "prompt", "tools"})

#: A frame without any of these needs no scrubbing and can be stored as it came.
_TRIGGERS: Final = (
    '"audio":"', '"audio": "', '"image_url"', '"session"', "authorization", '"headers"', "client_secret",
    '"logprobs"', '"obfuscation"', "ek_", "sk-", "lsv2_", "\\ud", '"api', '"password"', '"secret"',
)  # fmt: skip


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

    def admit(self, event: Event) -> tuple[Event, str | None]:
        """The event as it may be stored, and why a hook failed (None: it did not).

        With content hidden the result holds no content at all, so whatever is made of it
        holds none either.
        """
        failure = None
        shown = scrub(event)
        if self.redact is not None:
            try:
                answer = self.redact(copy.deepcopy(shown))
                if not isinstance(answer, dict):
                    msg = f"redact returned {type(answer).__name__}, not a dict"
                    raise TypeError(msg)
                shown = {**answer, **{key: event[key] for key in _IDENTITY if key in event}}
            except Exception as error:  # noqa: BLE001 - an app's hook; its failure hides
                return hide(shown), f"{type(error).__name__}: {error}"
        if not (self.inputs or self.outputs):
            shown = hide(shown)
        return shown, failure


    def hidden(self, event: Event) -> Event:
        """The event's shape, for a span that must not show its content."""
        found: Event = hide(event)
        return found


_IDENTITY: Final = ("type", "event_id", "item_id", "response_id", "call_id")


def needs_scrub(text: str) -> bool:
    """False if the JSON text certainly holds nothing that ``scrub`` would change."""
    for trigger in _TRIGGERS:  # noqa: SIM110 - a third of the cost of any(), for every event
        if trigger in text:
            return True
    return False


def scrub(value: Any, key: str = "") -> Any:
    """Secrets, audio, images and padding out of any JSON value."""
    if key in _SECRET_KEYS and value:
        return SECRET
    if isinstance(value, dict):
        return {k: scrub(v, k) for k, v in value.items() if k not in _DROPPED_KEYS}
    if isinstance(value, list):
        return [scrub(item, key) for item in value]
    if isinstance(value, str):
        return _scrub_text(value, key)
    return value


def _scrub_text(text: str, key: str) -> str:
    if key == "audio" and text:
        return f"[audio: {_decoded_size(text)} bytes]"
    if text.startswith("data:"):
        mime = text[5:].partition(";")[0].partition(",")[0]
        return f"[{mime}: {_decoded_size(text.partition(',')[2])} bytes]"
    if len(text) >= 512 and _BASE64.match(text):
        return f"[base64: {_decoded_size(text)} bytes]"
    if key == "server_url":
        return text.partition("?")[0]
    if any(hint in text for hint in _SECRET_HINTS):
        return _SECRET_VALUE.sub(SECRET, text)
    return text


def _decoded_size(base64_text: str) -> int:
    return len(base64_text) * 3 // 4 - base64_text.count("=", -2)


def hide(value: Any, key: str = "") -> Any:
    """The shape of a JSON value: ids, types, statuses and numbers stay, content goes."""
    if isinstance(value, dict):
        if key in _CONTENT_OBJECTS:
            return HIDDEN
        return {k: _hide_member(value, k, v) for k, v in value.items()}
    if isinstance(value, list):
        if key in _SHAPE_LISTS:
            return list(value)
        return HIDDEN if key in _CONTENT_OBJECTS else [hide(item, key) for item in value]
    if isinstance(value, str) and key not in _SHAPE_KEYS:
        return HIDDEN
    return value


def _hide_member(owner: Mapping[str, Any], key: str, value: Any) -> Any:
    if key == "name" and owner.get("type") in _NAMED and isinstance(value, str):
        return value  # a function's name is the developer's, not the caller's
    if key == "event" and owner.get("type") == "input_audio_buffer.dtmf_event_received":
        return HIDDEN  # a key press can be a digit of a card, number or not
    return hide(value, key)


_NAMED: Final = frozenset(
    {"function_call", "mcp_call", "response.function_call_arguments.done", "tokens", "requests"}
)


def dump(value: Any, limit: int | None = None) -> str:
    """JSON text that every OTel exporter can encode, at most ``limit`` characters.

    Lone surrogates become U+FFFD, non-finite floats null. What is too long is shortened from
    within, so that the text stays valid JSON.
    """
    text = _dumps(value)
    if limit is not None and len(text) > limit:
        text = shorten(value, limit)
    return text


def _dumps(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), default=str)
    except TypeError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), default=str)
    return clean(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def clean(text: str) -> str:
    """The text without lone surrogates, which no exporter can encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def shorten(value: Any, limit: int) -> str:
    """JSON text of at most ``limit`` characters: strings and lists are cut from within."""
    length, members = 4096, 200
    while length >= 8:
        text = _dumps(_cut(value, length, members))
        if len(text) <= limit:
            return text
        length //= 2
        members = max(members * 2 // 3, 3)
    return '{"truncated":true}'


def _cut(value: Any, length: int, members: int) -> Any:
    if isinstance(value, str) and len(value) > length:
        return f"{value[:length]}… [{len(value) - length} more characters]"
    if isinstance(value, Mapping):
        return {key: _cut(item, length, members) for key, item in value.items()}
    if isinstance(value, list | tuple):
        kept = [_cut(item, length, members) for item in value[:members]]
        if len(value) > members:
            kept.append(f"… [{len(value) - members} more]")
        return kept
    return value
