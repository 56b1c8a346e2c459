"""Remove what must not be stored from events: secrets and audio always, content by policy.

Input: a JSON value from the wire or from the app. Output: a new JSON value; the argument is never
changed. There are three classes of fields:

- *Never recorded*: secrets, regardless of any setting, and bulk data that is useless to a reader.
  Audio and images are replaced by their size, other base64 by its decoded length.
- *Subject to the content settings*: every field that can hold what was said, asked, answered or
  instructed.
- *Kept once*: instructions and tools, which are recorded on the root span and on the event that changed
  them (see ``session.SessionFacts.without_repeats``).

The rules, in order:

1. :func:`scrub` removes secrets, by key and by the shape of the value, and replaces binary data.
2. The app's ``redact`` hook receives a copy of the result. Fields that identify an event (ids, types,
   roles, statuses) are restored afterwards, because the trace depends on them. If the hook raises or
   returns something other than a dict, the payload is hidden. The hook may also name words that are to
   be silenced in the recording; see :mod:`otel_realtime.core.protocol.silencing`.
3. :func:`hide` keeps only the shape of a payload: identifiers, enumerated values and numbers. A string
   counts as content unless its key is known to hold an identifier and the value is a single word.

:func:`scrub` walks the whole value. :func:`needs_scrub` decides from the JSON text whether that can be
skipped. It may report a needed walk that turns out to change nothing, but never skips a needed one.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeVar

from otel_realtime.core.protocol.events import (
    MAX_DEPTH,
    TOO_DEEP,
    Event,
    JsonMapping,
    JsonObject,
    JsonValue,
)
from otel_realtime.core.protocol.json_text import encode
from otel_realtime.core.protocol.silencing import SpokenText, all_words, take_names
from otel_realtime.credentials import (
    SCHEMA_VALUES,
    SECRET,
    is_schema,
    may_hold_secret,
    names_secret,
    without_secrets,
)
from otel_realtime.interrupts import let_through

HIDDEN: Final = "[hidden]"
UNCHANGED: Final = "[unchanged]"

#: Keys of bulk data that is useless to a reader: random padding and token probabilities.
_DROPPED_KEYS: Final = frozenset({"obfuscation", "logprobs"})
#: Minimum length of an unbroken run of base64 characters that cannot be a word.
_LONG_RUN: Final = 512
#: Both alphabets of RFC 4648: standard (``+/``) and URL-safe (``-_``).
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{512,}={0,2}\Z")
#: ``data:<media type>;<parameters>,<data>`` (RFC 2397).
_DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+=-]+)*,([A-Za-z0-9+/_%=-]*)")
#: PCM16 at 24 kHz, the default audio format on the wire.
PCM16_BYTES_PER_MS: Final = 48

#: Keys whose strings are identifiers or enumerated values; they are kept when content is hidden.
_SHAPE_KEYS: Final = frozenset(
    {
        "type", "id", "event_id", "item_id", "response_id", "previous_item_id", "call_id",
        "conversation_id", "object", "status", "role", "phase", "code", "reason", "model", "voice",
        "format", "modality", "eagerness", "truncation", "status_reason", "conversation",
        "approval_request_id", "server_label",
    }
)  # fmt: skip
#: An identifier is one word of printable ASCII; any other string under such a key is content.
_WORD: Final = re.compile(r"[!-~]{1,256}\Z")
_SHAPE_LISTS: Final = frozenset({"modalities", "output_modalities"})
#: Objects in which even numbers and keys are content: an app's labels, a tool's schema.
_CONTENT_OBJECTS: Final = frozenset({"metadata", "variables", "parameters", "prompt", "tools"})
#: Types of objects whose ``name`` is that of a function. Elsewhere it may be a person's name.
_NAMED: Final = frozenset(
    {
        "function_call",
        "mcp_call",
        "mcp_approval_request",
        "response.function_call_arguments.done",
    }
)
#: Values of ``rate_limits[].name`` in ``rate_limits.updated``; these objects have no ``type``.
_LIMITS: Final = ("tokens", "requests")
#: Keys that a ``redact`` hook cannot remove, because the state machine needs them.
_IDENTITY: Final = frozenset(
    {
        "type", "id", "event_id", "item_id", "response_id", "previous_item_id", "call_id",
        "conversation_id", "conversation", "role", "status", "approval_request_id",
    }
)  # fmt: skip

#: Strings that make scrubbing necessary; ``needs_scrub`` also checks for credentials and long runs.
_TRIGGERS: Final = ('"logprobs"', '"obfuscation"', "data:")
#: The key ``audio`` with a string value, of any length; the same word as a ``type`` is harmless.
_AUDIO_TEXT: Final = re.compile(r'"audio"\s*:\s*"')

#: A key shorter than this cannot contain a credential.
_SHORT_NAME: Final = 12
#: Keys that may hold the name of a name-value pair.
_PAIR_NAMES: Final = ("name", "key", "header")

_Json = TypeVar("_Json")


@dataclass(slots=True)  # not frozen: that would cost every event half a microsecond
class Admitted:
    """An event after the content policy.

    Attributes:
        event: The event as it may be stored.
        failure: Why the ``redact`` hook failed; None if it succeeded or there is none.
        spoken: The texts of the event that quote speech, with the words that are to be silenced; empty
            without a hook.
    """

    event: Event
    failure: str | None = None
    spoken: tuple[SpokenText, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPolicy:
    """Which parts of a conversation may be stored.

    Attributes:
        inputs: Whether to store what the user, the tools and the developer said.
        outputs: Whether to store what the model said.
        audio: Whether to store the audio of both sides.
        run_inputs: Whether spans and runs may have inputs, regardless of the speaker.
        run_outputs: Whether spans and runs may have outputs, regardless of the speaker.
        redact: The app's hook, which receives each payload before it is stored.
        silences: Whether spoken words that the hook changes are silenced in the recording.
    """

    inputs: bool = True
    outputs: bool = True
    audio: bool = True
    run_inputs: bool = True
    run_outputs: bool = True
    redact: Callable[[JsonObject], JsonObject] | None = None
    silences: bool = False

    @property
    def payloads(self) -> bool:
        """Whether whole events may be stored; both sides must be allowed, because events show both."""
        return self.inputs and self.outputs

    def stricter(self, *, capture: bool, audio: bool) -> ContentPolicy:
        """Return this policy with further restrictions; a switch that is on changes nothing.

        Args:
            capture: Whether content may be stored, of either side.
            audio: Whether audio may be stored; without ``capture`` it may not.
        """
        return replace(
            self,
            inputs=self.inputs and capture,
            outputs=self.outputs and capture,
            audio=self.audio and audio and capture,
        )

    def apply(
        self, event: Event, *, bytes_per_ms: int = PCM16_BYTES_PER_MS
    ) -> tuple[Event, str | None]:
        """Return the event as it may be stored, and why the ``redact`` hook failed.

        Same as ``admit``, but for events whose words are not in the recording.
        """
        admitted = self.admit(event, bytes_per_ms=bytes_per_ms)
        return admitted.event, admitted.failure

    def admit(self, event: Event, *, bytes_per_ms: int = PCM16_BYTES_PER_MS) -> Admitted:
        """Return the event as it may be stored, with the result of the ``redact`` hook.

        If the policy hides all content, the result has none, so nothing derived from it has any. Does not
        raise if the hook fails.

        Args:
            event: One event from the wire.
            bytes_per_ms: Bytes per millisecond of its audio, to report the duration.
        """
        stored = scrub(event, bytes_per_ms=bytes_per_ms)
        spoken: tuple[SpokenText, ...] = ()
        if self.redact is not None:
            try:
                # Pass a copy: the hook may change its argument in place and then raise.
                answer = self.redact(copy.deepcopy(stored))
                if not isinstance(answer, dict):
                    return self._failed(stored, f"it returned {type(answer).__name__}, not a dict")
                # Convert through JSON text, so that no object of the app is stored by reference.
                answer = json.loads(encode(answer))
                spoken = take_names(stored, answer, changes=self.silences)
                stored = _restore(answer, hide(stored))
            except BaseException as error:  # noqa: BLE001 - the app's hook may raise anything
                let_through(error)
                # Report only the type, because the message may quote the content.
                return self._failed(stored, type(error).__name__)
        if not (self.inputs or self.outputs):
            stored = self.hidden(stored)
        return Admitted(stored, spoken=spoken)

    def _failed(self, event: Event, reason: str) -> Admitted:
        """Hide an event whose hook failed, because what the hook would have removed is unknown."""
        return Admitted(self.hidden(event), reason, all_words(event) if self.silences else ())

    def hidden(self, event: Event) -> Event:
        """Return the event's shape, for a span that must not show its content."""
        return hide(event)


def _restore(answer: JsonObject, shape: JsonMapping) -> JsonObject:
    """Restore what a hook must not remove: identifiers, and missing objects as their shape."""
    for key, value in shape.items():
        given = answer.get(key)
        if key in _IDENTITY and not isinstance(value, dict | list):
            answer[key] = value
        elif isinstance(value, dict):
            answer[key] = _restore(given, value) if isinstance(given, dict) else value
        elif isinstance(value, list):
            answer[key] = _restore_list(given, value)
    return answer


def _restore_list(given: JsonValue, shape: list[JsonValue]) -> list[JsonValue]:
    if not isinstance(given, list):
        return shape
    # The hook added or removed elements, so they cannot be matched with the original ones.
    if len(given) != len(shape):
        return given
    return [
        (_restore(element, bare) if isinstance(element, dict) else bare)
        if isinstance(bare, dict)
        else element
        for element, bare in zip(given, shape, strict=True)
    ]


def needs_scrub(text: str) -> bool:
    """Return False only if JSON text certainly holds nothing that :func:`scrub` would change.

    Args:
        text: The text of an event, as ``events.read`` returns it.
    """
    # A run of at least this length covers a multiple of the length, so checking those is enough.
    for at in range(_LONG_RUN, len(text), _LONG_RUN):
        end = text.find('"', at)
        if (end if end >= 0 else len(text)) - text.rfind('"', 0, at) > _LONG_RUN:
            return True
    for trigger in _TRIGGERS:
        if trigger in text:
            return True
    # Characters written as escapes could spell any of these.
    if "\\" in text and "\\u00" in text:
        return True
    if '"audio"' in text and _AUDIO_TEXT.search(text):
        return True
    return may_hold_secret(text, text.lower())


def scrub(value: _Json, *, bytes_per_ms: int = PCM16_BYTES_PER_MS) -> _Json:
    """Return a JSON value without secrets, audio, images and padding.

    Args:
        value: Any JSON value.
        bytes_per_ms: Bytes per millisecond of audio, to report its duration.
    """
    scrubbed: _Json = _scrub(value, "", bytes_per_ms, MAX_DEPTH)
    return scrubbed


def _scrub(value: object, key: str, bytes_per_ms: int, levels: int) -> JsonValue:
    # A flag (``{"api_key": true}``) and an empty value are not credentials.
    if value and value is not True and names_secret(key):
        return _scrub_secret(value, bytes_per_ms, levels)
    if isinstance(value, str):
        return _scrub_text(value, key, bytes_per_ms, levels)
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return TOO_DEEP
    if isinstance(value, list):
        return [_scrub(element, key, bytes_per_ms, levels - 1) for element in value]
    scrubbed = {
        # An app may use any text as a key, even a credential. Most keys of the protocol are short.
        name if len(name) < _SHORT_NAME else _clean_name(name): _scrub(
            member, name, bytes_per_ms, levels - 1
        )
        for name, member in value.items()
        if name not in _DROPPED_KEYS
    }
    # A header or a variable as a name-value pair: ``{"name": "X-API-Key", "value": "..."}``.
    if scrubbed.get("value") and any(names_secret(scrubbed.get(name)) for name in _PAIR_NAMES):
        scrubbed["value"] = SECRET
    return scrubbed


@lru_cache(maxsize=1024)
def _clean_name(name: str) -> str:
    return without_secrets(name)


def _scrub_secret(value: object, bytes_per_ms: int, levels: int) -> JsonValue:
    """Replace a value under a credential's name; if it is a tool's schema, only its values are replaced."""
    if not levels or not isinstance(value, dict) or not is_schema(value):
        return SECRET
    return {
        name: SECRET if name in SCHEMA_VALUES else _scrub(member, name, bytes_per_ms, levels - 1)
        for name, member in value.items()
    }


def _scrub_text(text: str, key: str, bytes_per_ms: int, levels: int) -> str:
    if key == "audio" and text:
        size = _decoded_size(text)
        return f"[audio: {size} bytes, {size // bytes_per_ms} ms]"
    if len(text) >= _LONG_RUN and _BASE64.match(text):
        return f"[base64: {_decoded_size(text)} bytes]"
    if "data:" in text:
        text = _DATA_URI.sub(_summarize_data_uri, text)
    if not may_hold_secret(text, text.lower()):
        return text
    if text.lstrip().startswith(("{", "[", '"')):
        # JSON in a string, such as arguments and results of tools: scrub its parsed structure, so that
        # the result stays valid JSON.
        with suppress(ValueError, RecursionError):
            value = json.loads(text, object_pairs_hook=_unambiguous)
            scrubbed = _scrub(value, "", bytes_per_ms, levels - 1) if levels else TOO_DEEP
            return text if scrubbed == value else encode(scrubbed)
    return without_secrets(text)


def _unambiguous(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    """Return an object's members; raise for a duplicate key, of which the parser would keep only one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _summarize_data_uri(uri: re.Match[str]) -> str:
    return f"[{uri[1]}: {_decoded_size(uri[2])} bytes]"


def _decoded_size(base64_text: str) -> int:
    # Four characters encode three bytes; up to two ``=`` at the end pad the last group.
    return len(base64_text) * 3 // 4 - base64_text.count("=", -2)


def hide(value: _Json) -> _Json:
    """Return the shape of a JSON value: ids, types, statuses and numbers, without content."""
    shape: _Json = _hide(value, "", MAX_DEPTH)
    return shape


def _hide(value: object, key: str, levels: int) -> JsonValue:
    if isinstance(value, str):
        return value if key in _SHAPE_KEYS and _WORD.match(value) else HIDDEN
    if not isinstance(value, dict | list):
        return value
    if key in _CONTENT_OBJECTS or not levels:
        return HIDDEN
    if isinstance(value, list):
        element_key = "modality" if key in _SHAPE_LISTS else ""
        return [_hide(element, element_key, levels - 1) for element in value]
    return {name: _hide_member(value, name, member, levels - 1) for name, member in value.items()}


def _hide_member(owner: JsonMapping, key: str, value: object, levels: int) -> JsonValue:
    if key == "name" and isinstance(value, str):
        kind = owner.get("type")
        named = isinstance(kind, str) and kind in _NAMED  # other servers may send any type
        return value if named or value in _LIMITS else HIDDEN
    if key == "reason" and owner.get("type") == "mcp_approval_response":
        return HIDDEN  # the user's words
    if key == "event" and owner.get("type") == "input_audio_buffer.dtmf_event_received":
        return HIDDEN  # a key press may be a digit of a card number, even if it is sent as a number
    return _hide(value, key, levels)
