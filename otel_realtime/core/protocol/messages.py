"""Render items as chat messages in LangSmith's shape and in the GenAI convention's shape.

- LangSmith renders OpenAI's chat shape, ``{"role", "content", "tool_calls"}``
  (https://docs.langchain.com/langsmith/log-llm-trace).
- The GenAI convention uses ``{"role", "parts": [...]}``
  (https://github.com/open-telemetry/semantic-conventions-genai).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypedDict

from otel_realtime.core.protocol.events import JsonObject
from otel_realtime.core.protocol.items import Item
from otel_realtime.core.protocol.json_text import object_or_text
from otel_realtime.core.protocol.parts import Image, Segment
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy

_MODEL_ROLES: Final = frozenset({"assistant"})
#: Kinds of items that are shown as tool calls. Their outputs are separate messages.
_CALLS: Final = frozenset({"function_call", "mcp_call"})
#: Kinds of items of an MCP approval -> role of their message.
APPROVALS: Final[Mapping[str, str]] = {
    "mcp_approval_request": "assistant",
    "mcp_approval_response": "user",
}
#: Nanoseconds in a millisecond.
NS_PER_MS: Final = 1_000_000


class FunctionCall(TypedDict):
    """The ``function`` of a tool call in OpenAI's chat shape; ``arguments`` is JSON text."""

    name: str
    arguments: str


class ToolCallMessage(TypedDict):
    """One element of ``tool_calls`` in OpenAI's chat shape."""

    id: str
    type: str
    index: int
    function: FunctionCall


class ChatMessage(TypedDict, total=False):
    """A message in OpenAI's chat shape; ``role`` and ``content`` are always present.

    ``content`` is text, or a list of parts if it includes an image. ``phase`` is the item's phase as
    received. ``segments`` states who said what and when.
    """

    role: str
    content: str | list[JsonObject]
    tool_calls: list[ToolCallMessage]
    tool_call_id: str
    phase: str
    segments: list[Segment]


class Choice(TypedDict):
    """One element of ``choices`` in the shape of OpenAI's chat completions."""

    index: int
    message: ChatMessage
    finish_reason: str


class ConventionMessage(TypedDict, total=False):
    """A message in the GenAI convention's shape; the keys of a part depend on its ``type``.

    ``role`` and ``parts`` are always present.
    """

    role: str
    parts: list[JsonObject]
    phase: str


def visible_text(text: str, role: str, policy: ContentPolicy) -> str:
    """Return the text, or a marker if the policy hides the content of that role."""
    allowed = policy.outputs if role in _MODEL_ROLES else policy.inputs
    return text if allowed or not text else HIDDEN


def visible_segments(
    segments: Iterable[Segment], role: str, policy: ContentPolicy
) -> list[Segment]:
    """Return the segments with ``visible_text`` applied to text and speaker; times are unchanged."""
    visible: list[Segment] = []
    for segment in segments:
        shown: Segment = {**segment, "text": visible_text(segment["text"], role, policy)}
        if "speaker" in segment:  # may be a person's name
            shown["speaker"] = visible_text(segment["speaker"], role, policy)
        visible.append(shown)
    return visible


def placeholder(item: Item, span_ms: int | None = None) -> str:
    """Return a placeholder for a user's audio without a transcript; empty for any other item.

    Args:
        item: The item.
        span_ms: Its length in the recording, in ms; used if the item itself has no length.
    """
    if item.role != "user" or not item.audio or item.text or item.images:
        return ""
    return f"[{'silence' if item.idle else 'audio'}{_length(item, span_ms)}]"


def _length(item: Item, span_ms: int | None = None) -> str:
    length_ms = item.audio_ms if item.audio_ms is not None else span_ms
    return "" if length_ms is None else f" {length_ms / 1000:.1f} s"


def audio_part(item: Item) -> JsonObject:
    """Return a part for the audio of a user's item, without its transcript."""
    return {"type": "text", "content": f"[audio{_length(item)}]", "modality": "audio"}


def _message_text(item: Item, policy: ContentPolicy) -> str:
    return visible_text(item.text, item.role, policy) or placeholder(item)


def _approval_text(item: Item, policy: ContentPolicy) -> str:
    """Return an MCP approval as text, because neither shape has a message for it."""
    if item.kind == "mcp_approval_request":
        arguments = visible_text(item.arguments_so_far, "assistant", policy)
        return f"[approval requested: {_tool_name(item)} {arguments}]"
    answer = "approved" if item.approve else "not approved"
    reason = visible_text(item.reason or "", "user", policy)
    return f"[{answer}{': ' if reason else ''}{reason}]"


def _tool_name(item: Item) -> str:
    return f"{item.server_label}.{item.name}" if item.server_label else item.name or ""


def chat_messages(
    items: Iterable[Item], policy: ContentPolicy, *, results: bool = False
) -> list[ChatMessage]:
    """Return messages in OpenAI's chat shape; calls are added to the assistant message before them.

    Args:
        items: The items, in order.
        policy: What may be shown.
        results: Whether to add a message for the result of each MCP call. The call's item holds it, and
            the model has read it.
    """
    messages: list[ChatMessage] = []
    for item in items:
        if item.kind in _CALLS:
            _append_call(messages, item, policy)
            if results and item.kind == "mcp_call" and item.has_result:
                messages.append(_tool_message(item.id, item.output or item.error, policy))
        elif item.kind == "function_call_output":
            messages.append(_tool_message(item.call_id or "", item.output, policy))
        elif item.kind in APPROVALS:
            text = _approval_text(item, policy)
            messages.append({"role": APPROVALS[item.kind], "content": text})
        elif item.is_message:
            message: ChatMessage = {"role": item.role, "content": _content(item, policy)}
            if item.phase:
                message["phase"] = item.phase
            if item.segments:
                message["segments"] = visible_segments(item.segments, item.role, policy)
            messages.append(message)
    return messages


def _content(item: Item, policy: ContentPolicy) -> str | list[JsonObject]:
    if not item.images:
        return _message_text(item, policy)
    parts: list[JsonObject] = []
    texts = item.texts
    for index in sorted({*texts, *item.images}):
        image = item.images.get(index)
        if image is not None:
            url = visible_text(image.reference, item.role, policy)
            detail = {"detail": image.detail} if image.detail else {}
            parts.append({"type": "image_url", "image_url": {"url": url, **detail}})
        elif texts[index]:
            text = visible_text(texts[index], item.role, policy)
            parts.append({"type": "text", "text": text})
    return parts


def _tool_message(call_id: str, output: str | None, policy: ContentPolicy) -> ChatMessage:
    content = visible_text(output or "", "tool", policy)
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def choices(items: Iterable[Item], policy: ContentPolicy, finish_reason: str) -> list[Choice]:
    """Return a response's output in the shape of OpenAI's chat completions.

    A response can have several messages, such as a remark before a call and the answer after it.
    The shape has one message per choice, so each message becomes a separate choice.

    Args:
        items: The output items.
        policy: What may be shown.
        finish_reason: The convention's finish reason of the response.
    """
    # The convention uses ``tool_call``, OpenAI's chat shape ``tool_calls``.
    reason = "tool_calls" if finish_reason == "tool_call" else finish_reason
    return [
        {"index": index, "message": message, "finish_reason": reason}
        for index, message in enumerate(chat_messages(items, policy))
    ]


def _append_call(messages: list[ChatMessage], item: Item, policy: ContentPolicy) -> None:
    # The chat shape has no message for a call alone: it must belong to an assistant message.
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": "", "tool_calls": []})
    calls = messages[-1].setdefault("tool_calls", [])
    calls.append(
        {
            "id": item.call_id or item.id,
            "type": "function",
            "index": len(calls),
            "function": {
                "name": item.name or "",
                "arguments": visible_text(item.arguments_so_far, "assistant", policy),
            },
        }
    )


def convention_messages(
    items: Iterable[Item], policy: ContentPolicy, *, results: bool = False
) -> list[ConventionMessage]:
    """Return messages in the GenAI convention's shape; arguments as for ``chat_messages``."""
    messages: list[ConventionMessage] = []
    for item in items:
        for role, parts in _convention_parts(item, policy, results=results):
            # The model's text and calls are one message; each tool response is a separate message.
            last = messages[-1] if messages else None
            joins = last is not None and role == "assistant" == last["role"]
            if last is not None and joins and last.get("phase") == item.phase:
                last["parts"].extend(parts)
            else:
                messages.append({"role": role, "parts": parts})
                if item.phase:
                    messages[-1]["phase"] = item.phase
    return messages


def _convention_parts(
    item: Item, policy: ContentPolicy, *, results: bool
) -> Iterator[tuple[str, list[JsonObject]]]:
    """Yield the messages of an item, as role and parts."""
    if item.kind in _CALLS:
        call = {
            "type": "tool_call",
            "id": item.call_id or item.id,
            "name": item.name or "",
            "arguments": object_or_text(visible_text(item.arguments_so_far, "assistant", policy)),
        }
        yield "assistant", [call]
        if results and item.kind == "mcp_call" and item.has_result:
            yield "tool", [_tool_response(item.id, item.output or item.error, policy)]
    elif item.kind == "function_call_output":
        yield "tool", [_tool_response(item.call_id or "", item.output, policy)]
    elif item.kind in APPROVALS:
        text = _approval_text(item, policy)
        yield APPROVALS[item.kind], [{"type": "text", "content": text}]
    elif item.is_message and not item.images:
        yield item.role, [_spoken_part(item, policy)]
    elif item.is_message:
        yield item.role, list(_message_parts(item, policy))


def _spoken_part(item: Item, policy: ContentPolicy) -> JsonObject:
    text = visible_text(item.text, item.role, policy)
    part = text_part(text, audio=item.audio)
    if not text:  # no transcript: the placeholder must not appear as one
        part["content"] = placeholder(item)
    if item.segments:
        part["segments"] = visible_segments(item.segments, item.role, policy)
    return part


def text_part(text: str, *, audio: bool = False) -> JsonObject:
    """Return a part with text, or with the transcript of audio.

    The audio itself is in the recording. A part of type ``blob`` or ``uri`` would need its bytes or its
    address, so this is a text part with the additional keys ``modality`` and ``transcript``. Both keys
    are the convention's, which allows additional keys on every part.
    """
    part: JsonObject = {"type": "text", "content": text}
    if audio:
        part["modality"] = "audio"
        if text:
            part["transcript"] = text
    return part


def _message_parts(item: Item, policy: ContentPolicy) -> Iterator[JsonObject]:
    texts = item.texts
    for index in sorted({*texts, *item.images}):
        image = item.images.get(index)
        if image is None:
            yield text_part(visible_text(texts[index], item.role, policy))
        else:
            yield _image_part(image, item.role, policy)


def _image_part(image: Image, role: str, policy: ContentPolicy) -> JsonObject:
    """Return an image as the convention's ``uri`` or ``file`` part, else as a ``generic`` part."""
    about = {"mime_type": image.mime, "size": image.size, "detail": image.detail}
    known = {key: value for key, value in about.items() if value is not None}
    reference = visible_text(image.reference, role, policy)
    if image.file_id is not None:
        return {"type": "file", "modality": "image", "file_id": reference, **known}
    if image.uri is not None:
        return {"type": "uri", "modality": "image", "uri": reference, **known}
    # A ``blob`` part would need the bytes, which are never kept.
    return {"type": "generic", "modality": "image", "content": reference, **known}


def _tool_response(call_id: str, output: str | None, policy: ContentPolicy) -> JsonObject:
    response = visible_text(output or "", "tool", policy)
    return {"type": "tool_call_response", "id": call_id, "response": object_or_text(response)}
