"""Reads the items of a call from its event spans: their roles, words, responses and times.

The root's transcript has the words and the times too, but only after the call has ended, only complete
if no limit shortened it, and without item ids.

Events: https://platform.openai.com/docs/api-reference/realtime-server-events
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime import attributes as names
from otel_realtime.attributes import Fact
from otel_realtime.calls.rows import Row, mapping, text

#: Events that hold an item's words, and the member that has them.
_WORDS: Final[Mapping[str, str]] = {
    "conversation.item.input_audio_transcription.completed": "transcript",
    "response.output_audio_transcript.done": "transcript",
    "response.audio_transcript.done": "transcript",
    "response.output_text.done": "text",
    "response.text.done": "text",
}
#: Events that hold a whole item.
_ITEMS: Final = frozenset(
    {
        "conversation.item.added", "conversation.item.created", "conversation.item.done",
        "response.output_item.added", "response.output_item.done",
    }
)  # fmt: skip
_SPEECH_STARTED: Final = "input_audio_buffer.speech_started"
_SPEECH_STOPPED: Final = "input_audio_buffer.speech_stopped"
_COMMITTED: Final = "input_audio_buffer.committed"
_IDLE: Final = "input_audio_buffer.timeout_triggered"


@dataclass(slots=True)
class HeardOf:
    """One item as read from the events; times are the arrival of events, ms into the recording.

    Attributes:
        id: its id.
        role: ``user`` or ``assistant``; None while unknown, and for items that are not messages.
        response: id of the response that made it.
        words: its text, by content index.
        start_ms: arrival of the first event about it.
        end_ms: arrival of its ``speech_stopped`` event.
        audio: whether it is committed audio of the user.
        idle: whether the server made it from silence, after its idle timeout.
    """

    id: str
    role: str | None = None
    response: str | None = None
    words: dict[int, str] = field(default_factory=dict)
    start_ms: int | None = None
    end_ms: int | None = None
    audio: bool = False
    idle: bool = False

    @property
    def text(self) -> str:
        """Its whole text."""
        return " ".join(self.words[index] for index in sorted(self.words) if self.words[index])


@dataclass(slots=True)
class Heard:
    """The items and function calls of a call, as read from its events.

    Attributes:
        items: items by id, in order of arrival.
        calls: call id of each function call -> id of the response that made it.
    """

    items: dict[str, HeardOf] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)


def read_events(rows: Iterable[Row]) -> Heard:
    """Read the event spans of a call; ``rows`` are ordered by start."""
    heard = Heard()
    for row in rows:
        kind = row.text(names.EVENT_TYPE)
        if kind is None:
            continue
        item_id, response_id = row.text(names.ITEM_ID), row.text(names.OUR_RESPONSE_ID)
        call_id = row.text(names.CALL_ID)
        if call_id and response_id:
            heard.calls.setdefault(call_id, response_id)
        if item_id is None:
            continue
        item = heard.items.setdefault(item_id, HeardOf(item_id))
        item.response = item.response or response_id
        _read(item, kind, row)
    return heard


def _read(item: HeardOf, kind: str, row: Row) -> None:
    offset = row.fact_int(Fact.AUDIO_OFFSET)
    if kind == _SPEECH_STOPPED:
        item.end_ms = offset
    elif kind in {_SPEECH_STARTED, _COMMITTED, _IDLE}:
        item.role = "user"
        item.audio = item.audio or kind == _COMMITTED
        item.idle = item.idle or kind == _IDLE
    if item.start_ms is None:
        item.start_ms = offset
    if kind in _WORDS:
        event = row.event()
        item.role = item.role or ("user" if kind.startswith("conversation.") else "assistant")
        item.words[_index(event)] = text(event.get(_WORDS[kind])) or ""
    elif kind in _ITEMS:
        _whole(item, mapping(row.event().get("item")))


def _whole(item: HeardOf, told: Mapping[str, Any]) -> None:
    role = text(told.get("role"))
    if told.get("type") != "message" or role not in {"user", "assistant"}:
        return
    item.role = role
    content = told.get("content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        known = mapping(part)
        item.audio = item.audio or known.get("type") == "input_audio"
        said = text(known.get("text")) or text(known.get("transcript"))
        if said is not None:
            item.words[index] = said


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("content_index")
    return index if type(index) is int and 0 <= index < 2**31 else 0
