"""Shapes of the GA Realtime protocol, seen from the server: objects sent, requests checked.

Everything a client may send is listed in tables; what is not in them is refused with the error
event the service answers, carrying the client's ``event_id``.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Final

from otel_realtime.demo.g711 import NAMES as G711

Json = dict[str, Any]

PCM: Final[Json] = {"type": "audio/pcm", "rate": 24_000}
TURN_DETECTION: Final[Json] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
TRANSCRIPTION: Final[Json] = {"model": None, "language": None, "prompt": None}

CLIENT_EVENTS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "session.update": (frozenset({"session"}), frozenset()),
    "input_audio_buffer.append": (frozenset({"audio"}), frozenset()),
    "input_audio_buffer.commit": (frozenset(), frozenset()),
    "input_audio_buffer.clear": (frozenset(), frozenset()),
    "conversation.item.create": (frozenset({"item"}), frozenset({"previous_item_id"})),
    "conversation.item.retrieve": (frozenset({"item_id"}), frozenset()),
    "conversation.item.delete": (frozenset({"item_id"}), frozenset()),
    "conversation.item.truncate": (
        frozenset({"item_id", "content_index", "audio_end_ms"}),
        frozenset(),
    ),
    "response.create": (frozenset(), frozenset({"response"})),
    "response.cancel": (frozenset(), frozenset({"response_id"})),
}
"""Type of a client event -> (keys it must have, keys it may have besides ``event_id``)."""

_AUDIO: Final = {
    "audio": {
        "input": {
            "format": None,
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": None,
        },
        "output": {"format": None, "voice": None, "speed": None},
    }
}
SESSION_KEYS: Final[Json] = {
    **dict.fromkeys(("type", "model", "output_modalities", "instructions", "max_output_tokens")),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "reasoning", "prompt")),
    **dict.fromkeys(("tracing", "truncation", "include")),
    **_AUDIO,
}
"""Keys of ``session.update``'s session; a dict value is a level below, None is left as it is."""
RESPONSE_KEYS: Final[Json] = {
    **dict.fromkeys(("conversation", "input", "instructions", "max_output_tokens", "metadata")),
    **dict.fromkeys(("output_modalities", "parallel_tool_calls", "prompt", "reasoning")),
    **dict.fromkeys(("tool_choice", "tools")),
    "audio": {"output": {"format": None, "voice": None}},
}
CONTENT_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"input_text", "input_audio", "input_image"}),
    "assistant": frozenset({"output_text", "output_audio"}),
    "system": frozenset({"input_text"}),
}


class RequestError(Exception):
    """A client event that the server refuses; becomes an ``error`` event."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def event(self, client_event_id: str | None) -> Json:
        """The body of the ``error`` event that answers the client event with that id."""
        error = {
            "type": "invalid_request_error",
            "code": self.code,
            "message": str(self),
            "param": self.param,
            "event_id": client_event_id,
        }
        return {"error": error}


def new_id(prefix: str) -> str:
    """A fresh id such as ``item_1f0c...``."""
    return f"{prefix}_{uuid.uuid4().hex[:21]}"


def parse(frame: str | bytes) -> Json:
    """Read a client frame.

    Raises:
        RequestError: it is no JSON object.
    """
    try:
        event = json.loads(frame)
    except ValueError as error:
        raise RequestError("invalid_json", f"Could not parse the event as JSON: {error}.") from None
    if not isinstance(event, dict):
        raise RequestError("invalid_type", "Invalid type: expected an object.")
    return event


def check_event(event: Json) -> None:
    """Check the type and the keys of a client event.

    Raises:
        RequestError: an unknown type, a missing or an unknown key.
    """
    if event.get("type") is None:
        raise RequestError("missing_required_parameter", _missing("type"), "type")
    kind = str(event["type"])
    _check_choice(kind, CLIENT_EVENTS, "type")
    required, optional = CLIENT_EVENTS[kind]
    for key in sorted(required - event.keys()):
        raise RequestError("missing_required_parameter", _missing(key), key)
    for key in sorted(event.keys() - required - optional - {"type", "event_id"}):
        raise RequestError("unknown_parameter", f"Unknown parameter: '{key}'.", key)


def check_keys(value: object, keys: Mapping[str, Any], path: str) -> Json:
    """Check that ``value`` is an object with no keys but those of the table.

    Raises:
        RequestError: it is not.
    """
    if not isinstance(value, dict):
        raise RequestError("invalid_type", f"Invalid type for '{path}': expected an object.", path)
    for key, below in value.items():
        name = f"{path}.{key}"
        if key not in keys:
            raise RequestError("unknown_parameter", f"Unknown parameter: '{name}'.", name)
        if isinstance(keys[key], dict):
            check_keys(below, keys[key], name)
    return value


def check_item(item: object) -> Json:
    """Check an item that the client creates.

    Raises:
        RequestError: its type, role or content is not one the service takes.
    """
    if not isinstance(item, dict):
        raise RequestError("invalid_type", "Invalid type for 'item': expected an object.", "item")
    kind = str(item.get("type"))
    _check_choice(kind, _ITEM_CHECKS, "item.type")
    for key in _ITEM_CHECKS[kind]:
        if key not in item:
            raise RequestError("missing_required_parameter", _missing(f"item.{key}"), f"item.{key}")
    if kind == "message":
        _check_content(item)
    return item


_ITEM_CHECKS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("role", "content"),
    "function_call": ("name", "call_id", "arguments"),
    "function_call_output": ("call_id", "output"),
}


def _check_content(item: Json) -> None:
    role, content = str(item["role"]), item["content"]
    _check_choice(role, CONTENT_TYPES, "item.role")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        message = "Invalid type for 'item.content': expected an array of objects."
        raise RequestError("invalid_type", message, "item.content")
    for index, part in enumerate(content):
        _check_choice(part.get("type"), sorted(CONTENT_TYPES[role]), f"item.content[{index}].type")


def _check_choice(value: object, choices: Collection[str], param: str) -> None:
    if value not in choices:
        names = ", ".join(f"'{name}'" for name in choices)
        message = f"Invalid value: '{value}'. Supported values are: {names}."
        raise RequestError("invalid_value", message, param)


def _missing(name: str) -> str:
    return f"Missing required parameter: '{name}'."


def new_session(
    *, kind: str, model: str, voice: str, instructions: str, vad: Mapping[str, Any], expires_at: int
) -> Json:
    """The session a connection starts with."""
    return {
        "type": kind,
        "object": "realtime.session",
        "id": new_id("sess"),
        "model": model,
        "output_modalities": ["audio"],
        "instructions": instructions,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": dict(PCM),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {**TURN_DETECTION, **vad},
            },
            "output": {"format": dict(PCM), "voice": voice, "speed": 1.0},
        },
        "include": None,
    }


def updated_session(session: Json, change: object) -> Json:
    """The session after a ``session.update``.

    Raises:
        RequestError: the change is not one the server takes.
    """
    checked = check_keys(change, SESSION_KEYS, "session")
    if checked.get("type") not in ("realtime", "transcription"):
        raise RequestError("missing_required_parameter", _missing("session.type"), "session.type")
    updated = copy.deepcopy(session)
    _merge(updated, checked, SESSION_KEYS)
    sound = updated["audio"]
    for side in ("input", "output"):
        sound[side]["format"] = check_format(sound[side]["format"], f"session.audio.{side}.format")
    if sound["input"]["turn_detection"] is not None:
        sound["input"]["turn_detection"] = {**TURN_DETECTION, **sound["input"]["turn_detection"]}
    if sound["input"]["transcription"] is not None:
        sound["input"]["transcription"] = {**TRANSCRIPTION, **sound["input"]["transcription"]}
    return updated


def check_format(form: object, param: str) -> Json:
    """The audio format that a client asks for, as the service echoes it; None is PCM16.

    Raises:
        RequestError: it is none of the service's.
    """
    form = dict(PCM) if form is None else form
    if not isinstance(form, dict):
        raise RequestError(
            "invalid_type", f"Invalid type for '{param}': expected an object.", param
        )
    _check_choice(form.get("type"), (PCM["type"], *G711), f"{param}.type")
    if form["type"] in G711:
        return {"type": form["type"]}
    if form.get("rate", PCM["rate"]) != PCM["rate"]:
        _check_choice(form["rate"], (str(PCM["rate"]),), f"{param}.rate")
    return dict(PCM)


def _merge(into: Json, change: Mapping[str, Any], keys: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(keys[key], dict):
            _merge(into[key], value, keys[key])
        else:
            into[key] = copy.deepcopy(value)
