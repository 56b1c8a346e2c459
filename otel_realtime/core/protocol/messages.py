"""Render items as chat messages: LangSmith's, the GenAI convention's, and the root's transcript.

- LangSmith renders OpenAI's chat shape, ``{"role", "content", "tool_calls"}``
  (https://docs.langchain.com/langsmith/log-llm-trace).
- The GenAI convention has ``{"role", "parts": [...]}``
  (https://github.com/open-telemetry/semantic-conventions-genai).
- The root's transcript is in LangSmith's shape too; each message is a turn and adds its number, its
  place in the recording, and what was heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypedDict

from otel_realtime.core.protocol.events import JsonObject
from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.json_text import object_or_text
from otel_realtime.core.protocol.parts import Segment
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts

_MODEL_ROLES: Final = frozenset({"assistant"})
#: Items that LangSmith shows as tool calls. Their outputs are messages of their own.
_CALLS: Final = frozenset({"function_call", "mcp_call"})
#: Items of an MCP approval, and who speaks in them.
APPROVALS: Final[Mapping[str, str]] = {
    "mcp_approval_request": "assistant",
    "mcp_approval_response": "user",
}
#: Nanoseconds in a millisecond.
NS_PER_MS: Final = 1_000_000
#: The usual rate of speech, where nothing tells how long a text takes.
CHARACTERS_PER_S: Final = 15


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

    ``content`` is text, or a list of parts if an image is among them. ``phase`` is the wire's.
    """

    role: str
    content: str | list[JsonObject]
    tool_calls: list[ToolCallMessage]
    tool_call_id: str
    phase: str


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


class _PlainTurn(TypedDict):
    role: str
    content: str
    turn: int
    start_ms: int | None
    end_ms: int | None
    text: str
    heard_text: str
    interrupted: bool


class TurnMessage(_PlainTurn, total=False):
    """A turn of the transcript: LangSmith previews ``role`` and ``content``.

    ``segments``: who said what when, if the transcription tells speakers apart.
    """

    segments: list[Segment]


def visible_text(text: str, role: str, policy: ContentPolicy) -> str:
    """Return the text, or a marker if the policy hides the content of that role."""
    allowed = policy.outputs if role in _MODEL_ROLES else policy.inputs
    return text if allowed or not text else HIDDEN


def visible_segments(
    segments: Iterable[Segment], role: str, policy: ContentPolicy
) -> list[Segment]:
    """Return segments with their text as ``visible_text`` has it; speakers and times stay."""
    return [
        {**segment, "text": visible_text(segment["text"], role, policy)} for segment in segments
    ]


def placeholder(item: Item, span_ms: int | None = None) -> str:
    """Return what stands for a user's audio without a transcript; empty for any other item.

    Args:
        item: The item.
        span_ms: Its length in the recording, in ms, for want of the server's word.
    """
    if item.role != "user" or not item.audio or item.text or item.images:
        return ""
    length_ms = item.audio_ms if item.audio_ms is not None else span_ms
    length = "" if length_ms is None else f" {length_ms / 1000:.1f} s"
    return f"[silence{length}]" if item.idle else f"[audio{length}]"


def _message_text(item: Item, policy: ContentPolicy) -> str:
    return visible_text(item.text, item.role, policy) or placeholder(item)


def _approval_text(item: Item, policy: ContentPolicy) -> str:
    """Return an MCP approval as text: neither shape has a message for it."""
    if item.kind == "mcp_approval_request":
        arguments = visible_text(item.arguments or "", "assistant", policy)
        return f"[approval requested: {_tool_name(item)} {arguments}]"
    answer = "approved" if item.approve else "not approved"
    reason = visible_text(item.reason or "", "user", policy)
    return f"[{answer}{': ' if reason else ''}{reason}]"


def _tool_name(item: Item) -> str:
    return f"{item.server_label}.{item.name}" if item.server_label else item.name or ""


def chat_messages(
    items: Iterable[Item], policy: ContentPolicy, *, results: bool = False
) -> list[ChatMessage]:
    """Return messages in OpenAI's chat shape; calls join the assistant message before them.

    Args:
        items: The items, in order.
        policy: What may be shown.
        results: Also show the results of the server's own tools, which stand in the calls' items:
            the model read them.
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
    The shape has one message per choice, so each is a choice of its own: none is lost.

    Args:
        items: the output items.
        policy: which content may be stored.
        finish_reason: the convention's finish reason of the response.
    """
    # The convention says ``tool_call``, OpenAI's chat ``tool_calls``.
    reason = "tool_calls" if finish_reason == "tool_call" else finish_reason
    return [
        {"index": index, "message": message, "finish_reason": reason}
        for index, message in enumerate(chat_messages(items, policy))
    ]


def _append_call(messages: list[ChatMessage], item: Item, policy: ContentPolicy) -> None:
    # The chat shape has no message for a bare call: it belongs to an assistant message.
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
                "arguments": visible_text(item.arguments or "", "assistant", policy),
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
            # What the model said and called is one message; each tool's response is its own.
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
            "arguments": object_or_text(visible_text(item.arguments or "", "assistant", policy)),
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
    if not text:  # nothing was transcribed: what stands for it is no transcript
        part["content"] = placeholder(item)
    return part


def text_part(text: str, *, audio: bool = False) -> JsonObject:
    """Return a part with text, or with the transcript of audio.

    The audio itself is in the recording. A part of type ``blob`` or ``uri`` would need its bytes or an
    address, so it is a text part that says what it is the text of; both keys are the convention's,
    which allows further keys on every part.
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
            part: JsonObject = {"type": "uri", "modality": "image"}
            if image.mime:
                part["mime_type"] = image.mime
            if image.size is not None:
                part["size"] = image.size
            yield {**part, "uri": visible_text(image.reference, item.role, policy)}


def _tool_response(call_id: str, output: str | None, policy: ContentPolicy) -> JsonObject:
    response = visible_text(output or "", "tool", policy)
    return {"type": "tool_call_response", "id": call_id, "response": object_or_text(response)}


@dataclass(slots=True)
class Turn:
    """A maximal run of items of one role.

    Attributes:
        number: Its number, from 1, in conversation order.
        role: Role of all its items.
        start_ms: Where it begins in the recording, in ms.
        end_ms: Where it ends in the recording, in ms.
        texts: Text of each item.
        heard: What was heard of each of these texts.
        interrupted: Whether the audio of one of its items was cut, or its text is unfinished.
        segments: Who said what when, if the transcription tells speakers apart.
    """

    number: int
    role: str
    start_ms: int | None = None
    end_ms: int | None = None
    texts: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    interrupted: bool = False
    segments: list[Segment] = field(default_factory=list)

    def extend(self, start_ms: int | None, end_ms: int | None) -> None:
        """Extend the turn so that it also covers ``start_ms`` to ``end_ms``."""
        if start_ms is not None:
            self.start_ms = start_ms if self.start_ms is None else min(self.start_ms, start_ms)
        if end_ms is not None:
            self.end_ms = end_ms if self.end_ms is None else max(self.end_ms, end_ms)

    def message(self, policy: ContentPolicy) -> TurnMessage:
        """Return the turn as a message of the transcript."""
        text = visible_text(" ".join(self.texts), self.role, policy)
        heard = visible_text(" ".join(part for part in self.heard if part), self.role, policy)
        message: TurnMessage = {
            "role": self.role,
            "content": text,
            "turn": self.number,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "text": text,
            "heard_text": heard,
            "interrupted": self.interrupted,
        }
        if self.segments:
            message["segments"] = visible_segments(self.segments, self.role, policy)
        return message


#: Start and end of an item in the recording (ms), the text that was heard of it, whether it was
#: interrupted, and whether it was audible at all. A plain tuple, because a long call has many.
_Placement = tuple[int, int, str, bool, bool]


def transcript(items: Items, audio: AudioFacts | None, audible_only: frozenset[str]) -> list[Turn]:
    """Return the conversation as turns, in conversation order.

    Args:
        items: All items.
        audio: Where they are in the recording; None if the conversation has no audio facts.
        audible_only: Ids of items that count only if they were heard: out-of-band responses.
    """
    turns: list[Turn] = []
    for item in items:
        if not item.is_message or item.role == "system":
            continue
        # Uncommitted: the VAD heard speech begin, but the server has not made an item of it. What
        # the user said until then is a turn all the same, should the call end here.
        said = item.role == "user" and item.text
        if not (item.committed or said or item.id in audible_only):
            continue
        if item.idle and not item.text:  # the server took silence for the user's turn
            continue
        start_ms, end_ms, heard, interrupted, audible = _placement(item, audio)
        if item.id in audible_only and not audible:
            continue
        # Numbered anew: ``Item.turn`` counts in order of arrival, before items were moved.
        if not turns or turns[-1].role != item.role:
            turns.append(Turn(len(turns) + 1, item.role))
        turn = turns[-1]
        turn.extend(start_ms, end_ms)
        if item.text:
            turn.texts.append(item.text)
            turn.heard.append(heard)
        elif item.audio and item.role == "user":
            text = placeholder(item, (end_ms - start_ms) or None)
            turn.texts.append(text)
            turn.heard.append(text)
        turn.segments.extend(item.segments)
        turn.interrupted = turn.interrupted or interrupted or item.unfinished
    return turns


def _placement(item: Item, audio: AudioFacts | None) -> _Placement:
    if item.role != "assistant":
        start_ms, end_ms = user_span(item, audio)
        return start_ms, end_ms, item.text, False, True
    facts = audio.item(item.id) if audio is not None else None
    if facts is None or facts.audible_from_t is None:
        silenced = facts is not None and facts.interrupted
        at_ms = item.at_t // NS_PER_MS
        # Without audio (a text answer) the text was read, unless a cut says that it was silenced.
        cut = silenced or (facts is None and item.cut)
        return at_ms, at_ms, "" if silenced else item.text, cut, False
    whole_ms = facts.whole_ms if facts.generated_ms is None else facts.generated_ms
    heard = heard_text(item.text, whole_ms, facts.heard_ms, facts.interrupted)
    start_ms = facts.audible_from_t // NS_PER_MS
    end_ms = facts.audible_until_t // NS_PER_MS
    return start_ms, end_ms, heard, facts.interrupted, facts.heard_ms > 0


def user_span(item: Item, audio: AudioFacts | None) -> tuple[int, int]:
    """Return start and end of a user's item in the recording, in ms.

    The VAD's ``audio_start_ms`` and ``audio_end_ms`` count appended audio, so they need the
    timeline; so does what a push-to-talk client commits. Without it the events' arrival stands in.
    """
    start_t = end_t = None
    committed = None if audio is None else audio.user_item(item.id)
    if committed is not None:
        start_t, end_t = committed
    if audio is not None and item.audio_start_ms is not None:
        start_t = audio.user_time(item.audio_start_ms)
    if audio is not None and item.audio_end_ms is not None:
        end_t = audio.user_time(item.audio_end_ms)
    if end_t is None:
        end_t = item.stopped_t if item.stopped_t is not None else item.at_t
    if start_t is None:
        start_t = min(item.at_t, end_t)  # without a VAD the item is first seen at its commit
    return start_t // NS_PER_MS, max(start_t, end_t) // NS_PER_MS


def heard_text(text: str, whole_ms: int | None, heard_ms: int, interrupted: bool) -> str:
    """Return an estimate of the words that were heard: as much of the text as of the audio.

    The wire has no times for single words, so the text is taken to be spoken at a constant rate,
    and cut at the end of a word. If it is unknown how long the whole item is, or would have been,
    that rate is 15 characters a second: about 150 English words a minute. An interruption always
    costs the last word: what was cut was no whole text.

    Args:
        text: The whole text.
        whole_ms: Duration of the whole item, in ms; None if it is unknown.
        heard_ms: How much of it was heard, in ms.
        interrupted: Whether it was cut.
    """
    if not interrupted:
        return text
    heard_ms = max(heard_ms, 0)
    if whole_ms is not None and whole_ms > heard_ms:
        length = round(len(text) * heard_ms / whole_ms)
    else:
        length = round(heard_ms / 1_000 * CHARACTERS_PER_S)
    text = text.rstrip()
    length = min(length, len(text) - 1)
    if any(character.isspace() for character in text[max(length - 1, 0) : length + 1]):
        return text[:length].rstrip()
    # Within a word, which was not heard to its end. Some scripts have no spaces between words.
    spaced = text.isascii() or any(character.isspace() for character in text)
    return " ".join(text[:length].rsplit(maxsplit=1)[:-1]) if spaced else text[:length]
