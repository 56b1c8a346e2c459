"""Render items as chat messages: LangSmith's, the GenAI convention's, and the root's transcript.

- LangSmith renders OpenAI's chat shape, ``{"role", "content", "tool_calls"}``
  (https://docs.langchain.com/langsmith/log-llm-trace).
- The GenAI convention has ``{"role", "parts": [...]}``
  (https://github.com/open-telemetry/semantic-conventions-genai).
- The root's transcript is in LangSmith's shape too; each message is a turn and adds its number, its
  place in the recording, and what was heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypedDict

from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts, Response

_MODEL_ROLES: Final = frozenset({"assistant"})
#: Items that LangSmith shows as tool calls. Their outputs are messages of their own.
_CALLS: Final = frozenset({"function_call", "mcp_call"})
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
    """A message in OpenAI's chat shape; ``role`` and ``content`` are always present."""

    role: str
    content: str
    tool_calls: list[ToolCallMessage]
    tool_call_id: str


class ConventionMessage(TypedDict):
    """A message in the GenAI convention's shape; the keys of a part depend on its ``type``."""

    role: str
    parts: list[dict[str, str]]


class TurnMessage(TypedDict):
    """A turn of the transcript: LangSmith previews ``role`` and ``content``."""

    role: str
    content: str
    turn: int
    start_ms: int | None
    end_ms: int | None
    text: str
    heard_text: str
    interrupted: bool


def visible_text(text: str, role: str, policy: ContentPolicy) -> str:
    """Return the text, or a marker if the policy hides the content of that role."""
    allowed = policy.outputs if role in _MODEL_ROLES else policy.inputs
    return text if allowed or not text else HIDDEN


def chat_messages(items: Iterable[Item], policy: ContentPolicy) -> list[ChatMessage]:
    """Return messages in OpenAI's chat shape; calls join the assistant message before them."""
    messages: list[ChatMessage] = []
    for item in items:
        if item.kind in _CALLS:
            _append_call(messages, item, policy)
        elif item.kind == "function_call_output":
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": item.call_id or "",
                    "content": visible_text(item.output or "", "tool", policy),
                }
            )
        elif item.is_message:
            content = visible_text(item.text, item.role, policy)
            messages.append({"role": item.role, "content": content})
    return messages


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


def convention_messages(items: Iterable[Item], policy: ContentPolicy) -> list[ConventionMessage]:
    """Return messages in the GenAI convention's shape; assistant parts in a row share a message."""
    messages: list[ConventionMessage] = []
    for item in items:
        role, part = _part(item, policy)
        if not role:
            continue
        # What the model said and called is one message; each tool's response is its own.
        if messages and role == "assistant" == messages[-1]["role"]:
            messages[-1]["parts"].append(part)
        else:
            messages.append({"role": role, "parts": [part]})
    return messages


def _part(item: Item, policy: ContentPolicy) -> tuple[str, dict[str, str]]:
    if item.kind in _CALLS:
        return "assistant", {
            "type": "tool_call",
            "id": item.call_id or item.id,
            "name": item.name or "",
            "arguments": visible_text(item.arguments or "", "assistant", policy),
        }
    if item.kind == "function_call_output":
        return "tool", {
            "type": "tool_call_response",
            "id": item.call_id or "",
            "response": visible_text(item.output or "", "tool", policy),
        }
    role = item.role if item.is_message else ""
    return role, {"type": "text", "content": visible_text(item.text, role, policy)}


def request_messages(response: Response) -> list[ChatMessage]:
    """Return the ``input`` of the ``response.create`` that asked for an out-of-band response.

    Such a response reads this input instead of the conversation.
    """
    elements = response.request.get("input")
    if not isinstance(elements, list):
        return []
    items = []
    for index, element in enumerate(elements):
        if isinstance(element, dict):
            item = Item(f"input_{index}")
            item.merge(element)
            items.append(item)
    # The policy was applied to the event, and the caller decides whether inputs are shown at all.
    return chat_messages(items, ContentPolicy())


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
        interrupted: Whether the audio of one of its items was cut.
    """

    number: int
    role: str
    start_ms: int | None = None
    end_ms: int | None = None
    texts: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    interrupted: bool = False

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
        return {
            "role": self.role,
            "content": text,
            "turn": self.number,
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "text": text,
            "heard_text": heard,
            "interrupted": self.interrupted,
        }


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
        # Uncommitted: the VAD heard speech begin, but the server has not made an item of it.
        if not item.committed and item.id not in audible_only:
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
        turn.interrupted = turn.interrupted or interrupted
    return turns


def _placement(item: Item, audio: AudioFacts | None) -> _Placement:
    if item.role != "assistant":
        start_ms, end_ms = user_span(item, audio)
        return start_ms, end_ms, item.text, False, True
    facts = audio.item(item.id) if audio is not None else None
    if facts is None or facts.audible_from_t is None:
        cut = facts is not None and facts.interrupted
        at_ms = item.at_t // NS_PER_MS
        # Without audio (a text answer) the text was read, unless a cut says that it was silenced.
        return at_ms, at_ms, "" if cut else item.text, cut, False
    heard = heard_text(item.text, facts.generated_ms, facts.heard_ms, facts.interrupted)
    start_ms = facts.audible_from_t // NS_PER_MS
    end_ms = facts.audible_until_t // NS_PER_MS
    return start_ms, end_ms, heard, facts.interrupted, facts.heard_ms > 0


def user_span(item: Item, audio: AudioFacts | None) -> tuple[int, int]:
    """Return start and end of a user's item in the recording, in ms.

    The VAD's ``audio_start_ms`` and ``audio_end_ms`` count appended audio, so they need the
    timeline; without it the events' arrival stands in.
    """
    start_t = end_t = None
    if audio is not None and item.audio_start_ms is not None:
        start_t = audio.user_time(item.audio_start_ms)
    if audio is not None and item.audio_end_ms is not None:
        end_t = audio.user_time(item.audio_end_ms)
    if end_t is None:
        end_t = item.stopped_t if item.stopped_t is not None else item.at_t
    if start_t is None:
        start_t = min(item.at_t, end_t)  # without a VAD the item is first seen at its commit
    return start_t // NS_PER_MS, max(start_t, end_t) // NS_PER_MS


def heard_text(text: str, generated_ms: int, heard_ms: int, interrupted: bool) -> str:
    """Return an estimate of the words that were heard: as much of the text as of the audio.

    The wire has no times for single words, so the text is taken to be spoken at a constant rate,
    and cut at the end of a word.
    """
    if not interrupted or generated_ms <= 0 or heard_ms >= generated_ms:
        return text
    cut = text[: round(len(text) * max(heard_ms, 0) / generated_ms)]
    if len(cut) < len(text) and not text[len(cut)].isspace():
        cut = cut.rpartition(" ")[0]
    return cut.rstrip()
