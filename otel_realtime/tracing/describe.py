"""Facts of the conversation as span attributes: pure functions, no span is touched here."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.core.conversation import ConversationState, Transcribed
from otel_realtime.core.events import Event, clean
from otel_realtime.core.items import Item
from otel_realtime.core.messages import (
    MS,
    chat_messages,
    convention_messages,
    request_messages,
    shown,
)
from otel_realtime.core.payload import HIDDEN, ContentPolicy, dump
from otel_realtime.core.responses import AudioFacts, Moment, Response
from otel_realtime.core.session import table, text_or_none
from otel_realtime.core.sound import SoundFacts, sound_facts
from otel_realtime.core.usage import (
    Usage,
    audio_seconds,
    read_usage,
    usage_attributes,
    usage_metadata,
)

Attributes = dict[str, Any]
#: Characters of an error's text: a status is no place for a document.
MESSAGE_LIMIT: Final = 2048


@dataclass(frozen=True, slots=True)
class Provider:
    """Who serves the model: the convention's name, LangSmith's name, and the address."""

    name: str = "openai"
    host: str | None = None
    port: int | None = None

    @classmethod
    def of(cls, host: str | None, port: int | None) -> Provider:
        """Tell the provider from the host of the websocket."""
        known = next((name for end, name in _HOSTS.items() if (host or "").endswith(end)), "openai")
        return cls(known, host or None, port)


_HOSTS: Final[Mapping[str, str]] = {
    ".openai.azure.com": "azure.ai.openai",
    ".cognitiveservices.azure.com": "azure.ai.openai",
    ".services.ai.azure.com": "azure.ai.openai",
    "api.x.ai": "x_ai",
}
#: LangSmith prices by these provider names.
_LS_PROVIDERS: Final[Mapping[str, str]] = {"azure.ai.openai": "azure", "x_ai": "xai"}


def twice(facts: Mapping[str, Any]) -> Attributes:
    """Product facts stand twice: for any backend and as LangSmith metadata; None is left out."""
    found: Attributes = {}
    for key, value in facts.items():
        if value is not None:
            found[names.OURS + key] = value
            found[names.LS_METADATA + key] = value
    return found


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as ``error.type`` and an ``exception`` event say it."""

    type: str
    message: str


def error_kind(event: Event) -> str:
    """The code of the error an event reports, else its type, else the event's own."""
    error = table(event.get("error"))
    return text_or_none(error.get("code")) or text_or_none(error.get("type")) or str(event["type"])


def event_failure(event: Event, policy: ContentPolicy) -> Failure | None:
    """The failure an event reports: ``error``, ``*.failed``, a failed ``response.done``."""
    kind = event["type"]
    if kind == "error" or kind.endswith(".failed"):
        what = error_kind(event)
        return Failure(what, _message(table(event.get("error")).get("message"), policy) or what)
    if kind == "response.done":
        response = table(event.get("response"))
        if response.get("status") == "failed":
            error = table(table(response.get("status_details")).get("error"))
            what = text_or_none(error.get("code")) or text_or_none(error.get("type")) or "failed"
            return Failure(what, _message(error.get("message"), policy) or what)
    return None


def raised(error: BaseException, policy: ContentPolicy) -> tuple[Failure, str | None]:
    """The app's exception as it may be told, and its stack trace where its words may be.

    It may quote anything, so it passes the same gates as an ``error`` event of the server.
    """
    kind = type(error).__qualname__
    if not policy.payloads:
        return Failure(kind, HIDDEN), None
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
        told = {"type": kind, "message": str(error), "stacktrace": "".join(lines)}
    except Exception:  # noqa: BLE001 - an app's exception that cannot be put into words
        return Failure(kind, kind), None
    stored, _ = policy.admit({"type": "error", "error": told})
    shown_error = table(stored.get("error"))
    message = text_or_none(shown_error.get("message")) or kind
    trace = text_or_none(shown_error.get("stacktrace"))
    return Failure(kind, clean(message)[:MESSAGE_LIMIT]), None if trace is None else clean(trace)


def admitted_arguments(
    call_id: str | None, name: str | None, arguments: str, policy: ContentPolicy
) -> str:
    """Arguments that the app itself gives of a tool, as they may be stored."""
    item = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
    stored, _ = policy.admit(item)
    return text_or_none(stored.get("arguments")) or ""


def _message(value: object, policy: ContentPolicy) -> str:
    """A server's message can quote either side."""
    text = text_or_none(value) or ""
    return text if policy.payloads or not text else HIDDEN


#: Where an event may name what it belongs to: attribute <- keys, outermost first.
_NAMED: Final[tuple[tuple[str, str, str, str], ...]] = (
    (names.EVENT_ID, "event_id", "", ""),
    (names.ITEM_ID, "item_id", "item", "id"),
    (names.OUR_RESPONSE_ID, "response_id", "response", "id"),
    (names.CALL_ID, "call_id", "item", "call_id"),
)


def event_attributes(event: Event, payload: str, t: int, turn: int) -> Attributes:
    """Attributes of an event's span; ``payload`` is the JSON of the scrubbed event."""
    seconds = round(t / 1e9, 6)
    offset = t // MS
    found: Attributes = {
        names.LS_KIND: names.KIND_CHAIN,
        names.PROMPT: payload,
        names.EVENT_TYPE: event["type"],
        names.EVENT_RECEIVED_AT: seconds,
        names.LS_METADATA + "received_at_s": seconds,
        names.AUDIO_OFFSET: offset,
        names.LS_METADATA + "audio_offset_ms": offset,
    }
    if turn:
        found[names.TURN] = found[names.LS_METADATA + "turn"] = turn
    for name, key, inner, inner_key in _NAMED:
        value = event.get(key)
        if value is None and inner:
            source = event.get(inner)
            value = source.get(inner_key) if isinstance(source, dict) else None
        if value and isinstance(value, str):
            found[name] = value
    return found


@dataclass(slots=True)
class Inference:
    """One settled model call, ready to become a span."""

    name: str
    attributes: Attributes
    failure: Failure | None
    sound: SoundFacts
    tokens: Usage | None


def inference(
    response: Response,
    state: ConversationState,
    audio: AudioFacts | None,
    policy: ContentPolicy,
    provider: Provider,
    limit: int,
) -> Inference:
    """A response as one ``chat`` span: messages, usage, latencies, what was heard."""
    model = text_or_none(response.config.get("model")) or state.session.model or "unknown"
    outputs = response.output_items(state.items)
    usage = read_usage(response.usage)
    sound = sound_facts(response, state, audio)
    turn = max((item.turn for item in outputs), default=0) or response.turn
    found: Attributes = {
        names.LS_KIND: names.KIND_LLM,
        names.OPERATION: "chat",
        names.PROVIDER: provider.name,
        names.SYSTEM: provider.name,
        names.REQUEST_MODEL: model,
        names.RESPONSE_MODEL: model,
        names.RESPONSE_ID: response.id,
        names.OUR_RESPONSE_ID: response.id,
        names.FINISH_REASONS: response.finish_reasons(state.items),
        names.OUTPUT_TYPE: "speech" if any(item.audio for item in outputs) else "text",
        names.LS_METADATA + "ls_provider": _LS_PROVIDERS.get(provider.name, provider.name),
        names.LS_METADATA + "ls_model_name": model,
        names.RESPONSE_STATUS: response.status,
        names.LS_METADATA + "status": response.status,
        **_messages(response, state, outputs, policy, limit),
        **_request(response, state),
        **_usage(usage, limit),
        **twice(
            {
                "turn": turn or None,
                "audio_offset_ms": response.created.t // MS,
                "time_to_first_audio_ms": sound.first_audio_ms,
                "voice_to_voice_ms": sound.voice_to_voice_ms,
                "context_items": response.context_items,
                "generated_ms": sound.generated_ms,
                "heard_ms": sound.heard_ms,
                "heard_source": sound.heard_source,
                "interrupted": sound.interrupted if sound.heard_source else None,
            }
        ),
    }
    if response.status_reason:
        found[names.RESPONSE_STATUS_REASON] = response.status_reason
        found[names.LS_METADATA + "status_reason"] = response.status_reason
    if response.out_of_band:
        found.update(twice({"out_of_band": True}))
    return Inference(
        name=f"chat {model}",
        attributes=found,
        failure=_response_failure(response, policy),
        sound=sound,
        tokens=usage,
    )


def _messages(
    response: Response,
    state: ConversationState,
    outputs: list[Item],
    policy: ContentPolicy,
    limit: int,
) -> Attributes:
    inputs = [item for item in map(state.items.get, response.inputs) if item is not None]
    asked = chat_messages(inputs, policy)
    if response.out_of_band and policy.inputs:
        asked += request_messages(response)
    answered = chat_messages(outputs, policy)
    return {
        names.PROMPT: dump({"messages": asked}, limit),
        names.COMPLETION: dump({"messages": answered}, limit),
        names.INPUT_MESSAGES: dump(convention_messages(inputs, policy), limit),
        names.OUTPUT_MESSAGES: dump(convention_messages(outputs, policy), limit),
    }


def _request(response: Response, state: ConversationState) -> Attributes:
    found: Attributes = {}
    config = {**state.session.config, **response.config}
    temperature = _amount(config.get("temperature"))
    if temperature is not None:
        found[names.REQUEST_TEMPERATURE] = float(temperature)
    for key in ("max_output_tokens", "max_response_output_tokens"):
        value = _amount(config.get(key))
        if value is not None:
            found[names.REQUEST_MAX_TOKENS] = int(value)
    return found


def _amount(value: object) -> int | float | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
        return value
    return None


def _usage(usage: Any, limit: int) -> Attributes:
    if usage is None:
        return {}
    found: Attributes = {names.USAGE + key: count for key, count in usage_attributes(usage).items()}
    text = dump(usage_metadata(usage))
    if len(text) <= limit:  # half of it would be worse than none
        found[names.LS_USAGE] = text
    return found


def _response_failure(response: Response, policy: ContentPolicy) -> Failure | None:
    if response.status == "failed":
        what = response.status_reason or "failed"
        return Failure(what, _message(response.error_message, policy) or what)
    if response.done is None:
        return Failure("conversation_closed", "the conversation ended before response.done")
    return None


def transcription(
    change: Transcribed, policy: ContentPolicy, provider: Provider, limit: int
) -> Attributes:
    """An input transcription as one ``transcribe`` span, with usage of its own."""
    usage = read_usage(change.event.get("usage"))
    text = change.event.get("transcript")
    spoken = shown(text if isinstance(text, str) else "", "user", policy)
    asked, answered = {"role": "user"}, {"role": "assistant"}
    part = {"type": "text", "content": "[audio]"}
    return {
        names.LS_KIND: names.KIND_LLM,
        names.OPERATION: "chat",
        names.PROVIDER: provider.name,
        names.SYSTEM: provider.name,
        names.REQUEST_MODEL: change.model,
        names.RESPONSE_MODEL: change.model,
        names.OUTPUT_TYPE: "text",
        names.ITEM_ID: change.item.id,
        names.LS_METADATA + "ls_provider": _LS_PROVIDERS.get(provider.name, provider.name),
        names.LS_METADATA + "ls_model_name": change.model,
        names.PROMPT: dump({"messages": [{**asked, "content": "[audio]"}]}, limit),
        names.COMPLETION: dump({"messages": [{**answered, "content": spoken}]}, limit),
        names.INPUT_MESSAGES: dump([{**asked, "parts": [part]}], limit),
        names.OUTPUT_MESSAGES: dump([{**answered, "parts": [{**part, "content": spoken}]}], limit),
        **_usage(usage, limit),
        **twice(
            {
                "turn": change.item.turn or None,
                "audio_offset_ms": change.started_t // MS,
                "transcription.seconds": audio_seconds(change.event.get("usage")),
            }
        ),
    }


def tool(
    call_id: str | None, name: str, arguments: str | None, policy: ContentPolicy, limit: int
) -> Attributes:
    """Attributes a tool span has when it starts."""
    found: Attributes = {
        names.LS_KIND: names.KIND_TOOL,
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: name,
        names.TOOL_TYPE: "function",
    }
    if call_id:
        found[names.TOOL_CALL_ID] = found[names.CALL_ID] = call_id
    if arguments is not None:
        text = _raw(shown(arguments, "assistant", policy), limit)
        found[names.PROMPT] = found[names.TOOL_ARGUMENTS] = text
    return found


def tool_result(output: str | None, policy: ContentPolicy, limit: int) -> Attributes:
    """The attributes a tool span gets with its result."""
    if output is None:
        return {}
    text = _raw(shown(output, "tool", policy), limit)
    return {names.COMPLETION: text, names.TOOL_RESULT: text}


def _raw(text: str, limit: int) -> str:
    """A tool's arguments or result: its own JSON as it is, other text as a JSON string."""
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return dump(text, limit)
    return text if len(text) <= limit and text.isascii() else dump(value, limit)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def place(started: Moment, turn: int) -> Attributes:
    """Where in the conversation, and in its recording, something stands."""
    return twice({"turn": turn or None, "audio_offset_ms": started.t // MS})


def mcp_tool(item: Item, policy: ContentPolicy, limit: int) -> Attributes:
    """A tool call that the server made by itself."""
    found = tool(item.id, item.name or "unknown", item.arguments, policy, limit)
    found[names.TOOL_TYPE] = "extension"
    return {**found, **tool_result(item.output, policy, limit)}


def mcp_failure(item: Item, policy: ContentPolicy) -> Failure:
    """What went wrong in a tool call that the server made."""
    return Failure("mcp_call_failed", _message(item.error, policy) or "the MCP call failed")
