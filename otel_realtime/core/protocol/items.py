"""Conversation items in conversation order, and the turns they form.

A *turn* is a maximal run of message items of one role. Items do not arrive in conversation order:
the position of an item comes from ``previous_item_id`` of ``conversation.item.added`` and
``input_audio_buffer.committed``. In ``conversation.item.done`` that key is often null even for an
item that has a predecessor, so it is not used there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none

#: Keys of a content part that hold its text, in order of preference: audio parts have a
#: ``transcript``, text parts a ``text``; the URL of an image is a placeholder once scrubbed.
_PART_TEXT: Final = ("transcript", "text", "image_url")


# Compared by identity: ``list.index`` and ``list.remove`` would compare twenty fields otherwise.
@dataclass(slots=True, eq=False)
class Item:
    """One conversation item.

    Attributes:
        id: Its id on the wire.
        kind: ``message``, ``function_call``, ``function_call_output``, ``mcp_call``, ...
        role: ``user``, ``assistant`` or ``system`` of a message; empty for other kinds.
        at_t: When it was first seen, in ns since the start of the conversation.
        turn: Number of its turn in order of arrival; 0 for items that belong to no turn.
        parts: Text of each content part, by content index.
        audio: Whether it has audio.
        audio_start_ms: ``audio_start_ms`` of ``speech_started``, in ms of appended audio.
        audio_end_ms: ``audio_end_ms`` of ``speech_stopped``, in ms of appended audio.
        stopped_t: When ``speech_stopped`` arrived, else ``committed``; in ns since the start.
        transcribed: Indices of the content parts whose input transcription completed or failed.
        committed: Whether it belongs to the conversation; a VAD start alone does not suffice.
        deleted: Whether the client deleted it, so that the model no longer reads it.
        response_id: The response that produced it; None for the client's items.
        status: ``completed``, ``incomplete`` or ``in_progress``.
        name: Function or tool name of a call.
        call_id: Id that connects a function call with its output.
        arguments: Arguments of a call, as JSON text.
        output: Output of a function or MCP call.
        error: Error message of an MCP call.
    """

    id: str
    kind: str = "message"
    role: str = ""
    at_t: int = 0
    turn: int = 0
    parts: dict[int, str] = field(default_factory=dict)
    audio: bool = False
    audio_start_ms: int | None = None
    audio_end_ms: int | None = None
    stopped_t: int | None = None
    transcribed: set[int] = field(default_factory=set)
    committed: bool = False
    deleted: bool = False
    response_id: str | None = None
    status: str | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None
    output: str | None = None
    error: str | None = None

    @property
    def text(self) -> str:
        """Text of all content parts in order, one per line."""
        return "\n".join(self.parts[index] for index in sorted(self.parts) if self.parts[index])

    @property
    def is_message(self) -> bool:
        """Whether it is a message of the user, the assistant or the developer."""
        return self.kind == "message" and self.role != ""

    def merge(self, source: JsonMapping) -> None:
        """Update the item from an ``item`` object on the wire; absent and empty keys change nothing.

        The server sends an item several times, with more of it each time, and some servers leave
        out what they have sent before.
        """
        self.kind = text_or_none(source.get("type")) or self.kind
        self.role = text_or_none(source.get("role")) or self.role
        self.status = text_or_none(source.get("status")) or self.status
        self.name = text_or_none(source.get("name")) or self.name
        self.call_id = text_or_none(source.get("call_id")) or self.call_id
        for key in ("arguments", "output"):
            value = source.get(key)
            if isinstance(value, str) and value:
                setattr(self, key, value)
        error = source.get("error")  # an object, whose fields depend on its type (MCP)
        if error:
            self.error = str(object_or_empty(error).get("message") or error)
        content = source.get("content")
        if isinstance(content, list):
            for index, part in enumerate(content):
                self._merge_part(index, object_or_empty(part))

    def _merge_part(self, index: int, part: JsonMapping) -> None:
        # ``input_audio``, ``output_audio``; ``audio`` in the beta.
        if "audio" in str(part.get("type")):
            self.audio = True
        for key in _PART_TEXT:
            value = part.get(key)
            if isinstance(value, str) and value:
                self.parts[index] = value
                return


class Items:
    """All items of a conversation, by id and in conversation order.

    Attributes:
        turns: Number of turns so far.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Item] = {}
        self._order: list[Item] = []
        self.turns = 0
        self._last_role = ""

    def __iter__(self) -> Iterator[Item]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def get(self, item_id: object) -> Item | None:
        """Return the item with that id, or None if it is unknown or not an id at all."""
        return self._by_id.get(item_id) if isinstance(item_id, str) else None

    def get_or_create(
        self, item_id: str, t: int, *, role: str = "", previous_id: object = None
    ) -> Item:
        """Return the item with that id; create it if it is new.

        Args:
            item_id: Its id.
            t: When it was seen, in ns since the start of the conversation.
            role: Its role, if the event implies one; an item keeps the first role it gets.
            previous_id: The item that a new item follows; at the end if that one is unknown.
        """
        item = self._by_id.get(item_id)
        if item is None:
            item = Item(item_id, at_t=t)
            self._insert(item, previous_id)
            self._by_id[item_id] = item
        # ``speech_started`` and ``committed`` concern the user; the item itself comes later.
        if role and not item.role:
            item.role = role
            self.assign_turn(item)
        return item

    def move(self, item: Item, previous_id: object) -> None:
        """Move an item behind ``previous_id``, unless that one is unknown."""
        previous = self.get(previous_id)
        if previous is None or previous is item:
            return
        index = self._order.index(previous) + 1
        if index < len(self._order) and self._order[index] is item:
            return
        self._order.remove(item)
        # Removing it may have shifted the predecessor.
        self._order.insert(self._order.index(previous) + 1, item)

    def _insert(self, item: Item, previous_id: object) -> None:
        # Nearly every item follows the last one; only then there is no search through the list.
        previous = self.get(previous_id)
        if previous is None or self._order[-1] is previous:
            self._order.append(item)
        else:
            self._order.insert(self._order.index(previous) + 1, item)

    def assign_turn(self, item: Item) -> None:
        """Assign its turn number to a message item: a new one if the role differs from the last.

        A system message comes from the developer and is not a turn of either speaker.
        """
        if item.turn or not item.is_message or item.role == "system":
            return
        if item.role != self._last_role:
            self._last_role = item.role
            self.turns += 1
        item.turn = self.turns
