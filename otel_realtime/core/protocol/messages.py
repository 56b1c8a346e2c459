"""Items as chat messages: LangSmith's (OpenAI's chat shape), the GenAI convention's, the root's.

LangSmith renders ``{"role", "content", "tool_calls"}``; the convention has
``{"role", "parts": [...]}``. The root's transcript adds to each message what a turn is:
its number, its place in the recording, what was heard of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.core.protocol.items import Item, Items
from otel_realtime.core.protocol.redaction import HIDDEN, ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts, Response

_MODEL_SIDE: Final = frozenset({"assistant"})
_CALLS: Final = frozenset({"function_call", "mcp_call"})
MS: Final = 1_000_000


def shown(text: str, role: str, policy: ContentPolicy) -> str:
    """The text, or a sign that this side's content is hidden."""
    allowed = policy.outputs if role in _MODEL_SIDE else policy.inputs
    return text if allowed or not text else HIDDEN


def chat_messages(items: Iterable[Item], policy: ContentPolicy) -> list[dict[str, Any]]:
    """Messages as LangSmith renders them; calls join the assistant message before them."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if item.kind in _CALLS:
            _join_call(messages, item, policy)
        elif item.kind == "function_call_output":
            messages.append(
                {
                    "role": "tool",
                    "tool_call_id": item.call_id or "",
                    "content": shown(item.output or "", "tool", policy),
                }
            )
        elif item.is_message:
            content = shown(item.text, item.role, policy)
            messages.append({"role": item.role, "content": content})
    return messages


def _join_call(messages: list[dict[str, Any]], item: Item, policy: ContentPolicy) -> None:
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
                "arguments": shown(item.arguments or "", "assistant", policy),
            },
        }
    )


def convention_messages(items: Iterable[Item], policy: ContentPolicy) -> list[dict[str, Any]]:
    """Messages as the GenAI convention writes them: a list of parts each."""
    messages: list[dict[str, Any]] = []
    for item in items:
        role, part = _part(item, policy)
        if not role:
            continue
        if messages and role == "assistant" == messages[-1]["role"]:
            messages[-1]["parts"].append(part)
        else:
            messages.append({"role": role, "parts": [part]})
    return messages


def _part(item: Item, policy: ContentPolicy) -> tuple[str, dict[str, Any]]:
    if item.kind in _CALLS:
        return "assistant", {
            "type": "tool_call",
            "id": item.call_id or item.id,
            "name": item.name or "",
            "arguments": shown(item.arguments or "", "assistant", policy),
        }
    if item.kind == "function_call_output":
        return "tool", {
            "type": "tool_call_response",
            "id": item.call_id or "",
            "response": shown(item.output or "", "tool", policy),
        }
    role = item.role if item.is_message else ""
    return role, {"type": "text", "content": shown(item.text, role, policy)}


def request_messages(response: Response) -> list[dict[str, Any]]:
    """The ``input`` that an out-of-band ``response.create`` brought along."""
    source = response.request.get("input")
    if not isinstance(source, list):
        return []
    items = []
    for index, one in enumerate(source):
        if isinstance(one, dict):
            item = Item(f"input_{index}")
            item.absorb(one)
            items.append(item)
    return chat_messages(items, ContentPolicy())


@dataclass(slots=True)
class Turn:
    """A maximal run of items of one role, with its place in the recording (ms)."""

    number: int
    role: str
    start_ms: int | None = None
    end_ms: int | None = None
    texts: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    interrupted: bool = False

    def extend(self, start_ms: int | None, end_ms: int | None) -> None:
        """Stretch the turn over one more stretch of time."""
        if start_ms is not None:
            self.start_ms = start_ms if self.start_ms is None else min(self.start_ms, start_ms)
        if end_ms is not None:
            self.end_ms = end_ms if self.end_ms is None else max(self.end_ms, end_ms)

    def message(self, policy: ContentPolicy) -> dict[str, Any]:
        """The turn as a message: LangSmith previews ``role`` and ``content``."""
        text = shown(" ".join(self.texts), self.role, policy)
        heard = shown(" ".join(part for part in self.heard if part), self.role, policy)
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


def transcript(items: Items, audio: AudioFacts | None, audible_only: frozenset[str]) -> list[Turn]:
    """The conversation as turns, in conversation order.

    Args:
        items: all items.
        audio: where they sound; None without audio facts.
        audible_only: items of out-of-band responses; they count only if they were heard.
    """
    turns: list[Turn] = []
    for item in items:
        if not item.is_message or item.role == "system":
            continue
        if not item.committed and item.id not in audible_only:
            continue
        start, end, heard, interrupted, audible = _heard(item, audio)
        if item.id in audible_only and not audible:
            continue
        if not turns or turns[-1].role != item.role:
            turns.append(Turn(len(turns) + 1, item.role))
        turn = turns[-1]
        turn.extend(start, end)
        if item.text:
            turn.texts.append(item.text)
            turn.heard.append(heard)
        turn.interrupted = turn.interrupted or interrupted
    return turns


def _heard(item: Item, audio: AudioFacts | None) -> tuple[int | None, int | None, str, bool, bool]:
    """Start and end (ms), the heard text, whether it was interrupted and audible at all."""
    if item.role == "assistant":
        sound = audio.item(item.id) if audio is not None else None
        if sound is None or sound.audible_from_t is None:
            cut = sound is not None and sound.interrupted
            return item.at_t // MS, item.at_t // MS, "" if cut else item.text, cut, False
        heard = heard_text(item.text, sound.generated_ms, sound.heard_ms, sound.interrupted)
        start, end = sound.audible_from_t // MS, sound.audible_until_t // MS
        return start, end, heard, sound.interrupted, sound.heard_ms > 0
    start_ms, end_ms = user_span(item, audio)
    return start_ms, end_ms, item.text, False, True


def user_span(item: Item, audio: AudioFacts | None) -> tuple[int, int]:
    """Where a user's item stands in the recording, ms: by the VAD's times, else by arrival."""
    start_t = end_t = None
    if audio is not None and item.audio_start_ms is not None:
        start_t = audio.user_time(item.audio_start_ms)
    if audio is not None and item.audio_end_ms is not None:
        end_t = audio.user_time(item.audio_end_ms)
    if end_t is None:
        end_t = item.stopped_t if item.stopped_t is not None else item.at_t
    if start_t is None:
        start_t = min(item.at_t, end_t)
    return start_t // MS, max(start_t, end_t) // MS


def heard_text(text: str, generated_ms: int, heard_ms: int, interrupted: bool) -> str:
    """An estimate of the words that were heard: as much of the text as of its sound.

    Cut at the end of a word; the model's words have no times of their own on the wire.
    """
    if not interrupted or generated_ms <= 0 or heard_ms >= generated_ms:
        return text
    cut = text[: round(len(text) * max(heard_ms, 0) / generated_ms)]
    if len(cut) < len(text) and not text[len(cut)].isspace():
        cut = cut.rpartition(" ")[0]
    return cut.rstrip()
