"""The GA Realtime protocol from the server's side: validation of client events, session objects.

Everything that a client may send is listed in tables. Anything else raises ``RequestError``, which
becomes the service's ``error`` event with the client's ``event_id``.

Client events: https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Collection, Mapping
from typing import Any, Final

from otel_realtime.demo.g711 import NAMES as G711

#: A JSON object of the protocol.
Json = dict[str, Any]

#: The default audio format.
PCM: Final[Json] = {"type": "audio/pcm", "rate": 24_000}
#: The default turn detection, as the service reports it in ``session.created``.
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

#: Type of a client event -> (required keys, optional keys besides ``event_id``).
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
#: Keys of the session in ``session.update``: a dict is a nested table, None accepts any value.
SESSION_KEYS: Final[Json] = {
    **dict.fromkeys(("type", "model", "output_modalities", "instructions", "max_output_tokens")),
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "reasoning", "prompt")),
    **dict.fromkeys(("tracing", "truncation", "include")),
    **_AUDIO,
}
#: Keys of the response in ``response.create``.
RESPONSE_KEYS: Final[Json] = {
    **dict.fromkeys(("conversation", "input", "instructions", "max_output_tokens", "metadata")),
    **dict.fromkeys(("output_modalities", "parallel_tool_calls", "prompt", "reasoning")),
    **dict.fromkeys(("tool_choice", "tools")),
    "audio": {"output": {"format": None, "voice": None}},
}
#: Role of a message -> the types of content part that it may have.
CONTENT_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"input_text", "input_audio", "input_image"}),
    "assistant": frozenset({"output_text", "output_audio"}),
    "system": frozenset({"input_text"}),
}


class RequestError(Exception):
    """A client event that the server rejects with an ``error`` event.

    Attributes:
        code: ``error.code``.
        param: ``error.param``, the offending parameter.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param

    def event(self, client_event_id: str | None) -> Json:
        """Return the body of the ``error`` event.

        Args:
            client_event_id: the rejected event's ``event_id``, if it has one.
        """
        error = {
            "type": "invalid_request_error",
            "code": self.code,
            "message": str(self),
            "param": self.param,
            "event_id": client_event_id,
        }
        return {"error": error}


def new_id(prefix: str) -> str:
    """Return a new id such as ``item_1f0c...``."""
    return f"{prefix}_{uuid.uuid4().hex[:21]}"


def parse(frame: str | bytes) -> Json:
    """Parse a client frame.

    Raises:
        RequestError: the frame is not a JSON object.
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
        RequestError: the type is unknown, or a key is missing or unknown.
    """
    if event.get("type") is None:
        raise RequestError("missing_required_parameter", _missing("type"), "type")
    event_type = str(event["type"])
    _check_choice(event_type, CLIENT_EVENTS, "type")
    required, optional = CLIENT_EVENTS[event_type]
    for key in sorted(required - event.keys()):
        raise RequestError("missing_required_parameter", _missing(key), key)
    for key in sorted(event.keys() - required - optional - {"type", "event_id"}):
        raise RequestError("unknown_parameter", f"Unknown parameter: '{key}'.", key)


def check_keys(value: object, keys: Mapping[str, Any], path: str) -> Json:
    """Check that a value is an object with only known keys, and return it.

    Args:
        value: the value to check.
        keys: the known keys, as in ``SESSION_KEYS``.
        path: the value's path in the event, for the error message.

    Raises:
        RequestError: the value is not an object or has an unknown key.
    """
    if not isinstance(value, dict):
        raise RequestError("invalid_type", f"Invalid type for '{path}': expected an object.", path)
    for key, child in value.items():
        name = f"{path}.{key}"
        if key not in keys:
            raise RequestError("unknown_parameter", f"Unknown parameter: '{name}'.", name)
        if isinstance(keys[key], dict):
            check_keys(child, keys[key], name)
    return value


def check_item(item: object) -> Json:
    """Check an item that the client creates, and return it.

    Raises:
        RequestError: the service does not support its type, role or content.
    """
    if not isinstance(item, dict):
        raise RequestError("invalid_type", "Invalid type for 'item': expected an object.", "item")
    item_type = str(item.get("type"))
    _check_choice(item_type, _ITEM_KEYS, "item.type")
    for key in _ITEM_KEYS[item_type]:
        if key not in item:
            raise RequestError("missing_required_parameter", _missing(f"item.{key}"), f"item.{key}")
    if item_type == "message":
        _check_content(item)
    return item


#: Type of an item -> its required keys.
_ITEM_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("role", "content"),
    "function_call": ("name", "call_id", "arguments"),
    "function_call_output": ("call_id", "output"),
    "mcp_approval_response": ("id", "approval_request_id", "approve"),
}
#: Keys of an MCP tool in the session: https://platform.openai.com/docs/guides/realtime-mcp
_MCP_KEYS: Final = frozenset(
    {"type", "server_label", "server_url", "connector_id", "server_description"}
    | {"authorization", "headers", "allowed_tools", "require_approval", "defer_loading"}
)
#: Range of ``turn_detection.idle_timeout_ms``:
#: https://platform.openai.com/docs/api-reference/realtime-client-events/session/update
IDLE_TIMEOUT_MS: Final = range(5_000, 30_001)


def check_input(items: object) -> list[Json]:
    """Check the ``input`` of a response: items, and references to items of the conversation.

    Raises:
        RequestError: it is not a list of items.
    """
    if not isinstance(items, list):
        message = "Invalid type for 'response.input': expected an array of objects."
        raise RequestError("invalid_type", message, "response.input")
    for index, item in enumerate(items):
        path = f"response.input[{index}]"
        if isinstance(item, dict) and item.get("type") == "item_reference":
            check_keys(item, {"type": None, "id": None}, path)
            if "id" not in item:
                raise RequestError("missing_required_parameter", _missing(f"{path}.id"), path)
        else:
            check_item(item)
    return items


def _check_tools(tools: object) -> None:
    if not isinstance(tools, list):
        message = "Invalid type for 'session.tools': expected an array of objects."
        raise RequestError("invalid_type", message, "session.tools")
    for index, tool in enumerate(tools):
        path = f"session.tools[{index}]"
        if not isinstance(tool, dict):
            message = f"Invalid type for '{path}': expected an object."
            raise RequestError("invalid_type", message, path)
        if tool.get("type") == "mcp":
            check_keys(tool, dict.fromkeys(_MCP_KEYS), path)
            if "server_label" not in tool:
                name = f"{path}.server_label"
                raise RequestError("missing_required_parameter", _missing(name), name)


def _check_turn_detection(turn_detection: Json) -> None:
    idle_ms = turn_detection["idle_timeout_ms"]
    if idle_ms is not None and (not isinstance(idle_ms, int) or idle_ms not in IDLE_TIMEOUT_MS):
        path = "session.audio.input.turn_detection.idle_timeout_ms"
        bounds = f"from {IDLE_TIMEOUT_MS[0]} to {IDLE_TIMEOUT_MS[-1]}"
        message = f"Invalid value for '{path}': expected an integer {bounds}."
        raise RequestError("invalid_value", message, path)


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
    """Return the session that a connection starts with.

    Args:
        kind: ``realtime`` or ``transcription``.
        model: the model.
        voice: the voice of the model's audio.
        instructions: the default instructions.
        vad: overrides of ``TURN_DETECTION``.
        expires_at: seconds since the Unix epoch.
    """
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


def updated_session(session: Json, changes: object) -> Json:
    """Return the session after a ``session.update``; the given one is not modified.

    Args:
        session: the current session.
        changes: the ``session`` object of the event.

    Raises:
        RequestError: the changes are invalid.
    """
    checked = check_keys(changes, SESSION_KEYS, "session")
    if checked.get("type") not in ("realtime", "transcription"):
        raise RequestError("missing_required_parameter", _missing("session.type"), "session.type")
    if checked.get("tools") is not None:
        _check_tools(checked["tools"])
    updated = copy.deepcopy(session)
    _merge(updated, checked, SESSION_KEYS)
    audio = updated["audio"]
    for side in ("input", "output"):
        audio[side]["format"] = check_format(audio[side]["format"], f"session.audio.{side}.format")
    # The service reports these objects with every key, even those that the client did not send.
    if audio["input"]["turn_detection"] is not None:
        audio["input"]["turn_detection"] = {**TURN_DETECTION, **audio["input"]["turn_detection"]}
        _check_turn_detection(audio["input"]["turn_detection"])
    if audio["input"]["transcription"] is not None:
        audio["input"]["transcription"] = {**TRANSCRIPTION, **audio["input"]["transcription"]}
    return updated


def check_format(audio_format: object, param: str) -> Json:
    """Check an audio format and return it as the service echoes it.

    Args:
        audio_format: the format that the client sent; None is PCM16 at 24 kHz.
        param: its path in the event, for the error message.

    Raises:
        RequestError: the service does not support the format.
    """
    audio_format = dict(PCM) if audio_format is None else audio_format
    if not isinstance(audio_format, dict):
        raise RequestError(
            "invalid_type", f"Invalid type for '{param}': expected an object.", param
        )
    _check_choice(audio_format.get("type"), (PCM["type"], *G711), f"{param}.type")
    if audio_format["type"] in G711:
        return {"type": audio_format["type"]}
    if audio_format.get("rate", PCM["rate"]) != PCM["rate"]:
        # The rate is compared as text, because the error message quotes the supported values.
        _check_choice(audio_format["rate"], (str(PCM["rate"]),), f"{param}.rate")
    return dict(PCM)


def _merge(target: Json, changes: Mapping[str, Any], keys: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(keys[key], dict):
            _merge(target[key], value, keys[key])
        else:
            target[key] = copy.deepcopy(value)
