"""Conversation items in conversation order, and the turns they make.

A *turn* is a maximal run of message items of one role. Items arrive in another order than
they stand in the conversation: ``previous_item_id`` of ``added`` / ``committed`` says where an
item belongs; in ``done`` it is often null and is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from otel_realtime.core.protocol.json_values import table, text_or_none

#: Keys of a content part that hold what it says, in order of preference.
_PART_TEXT: Final = ("transcript", "text", "image_url")


@dataclass(slots=True, eq=False)
class Item:
    """One conversation item.

    Attributes:
        kind: ``message``, ``function_call``, ``function_call_output``, ``mcp_call``, ...
        parts: what each content part says, by content index.
        turn: the number of its turn as events came in; 0 for items that are no speech.
        audio: True if it has sound.
        spoken_ms: ``audio_start_ms`` and ``audio_end_ms`` of the VAD, if it told.
        at_t: when it was first seen; ns since the conversation's start.
        transcribed: content parts whose input transcript has arrived or failed.
        committed: it belongs to the conversation (a VAD start alone does not).
        deleted: the client took it out again; the model reads it no more.
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
        """What the item says: its parts in order."""
        return "\n".join(self.parts[index] for index in sorted(self.parts) if self.parts[index])

    @property
    def is_message(self) -> bool:
        """True for what a user, the assistant or the developer says."""
        return self.kind == "message" and self.role != ""

    def absorb(self, item: Mapping[str, Any]) -> None:
        """Take over what an ``item`` object of the wire says."""
        self.kind = text_or_none(item.get("type")) or self.kind
        self.role = text_or_none(item.get("role")) or self.role
        self.status = text_or_none(item.get("status")) or self.status
        self.name = text_or_none(item.get("name")) or self.name
        self.call_id = text_or_none(item.get("call_id")) or self.call_id
        for key in ("arguments", "output"):
            value = item.get(key)
            if isinstance(value, str) and value:
                setattr(self, key, value)
        error = item.get("error")
        if error:
            self.error = str(table(error).get("message") or error)
        content = item.get("content")
        if isinstance(content, list):
            for index, part in enumerate(content):
                self._absorb_part(index, table(part))

    def _absorb_part(self, index: int, part: Mapping[str, Any]) -> None:
        if "audio" in str(part.get("type")):
            self.audio = True
        for key in _PART_TEXT:
            value = part.get(key)
            if isinstance(value, str) and value:
                self.parts[index] = value
                return


class Items:
    """All items of a conversation, by id and in order."""

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
        """The item of that id, if it is known."""
        return self._by_id.get(item_id) if isinstance(item_id, str) else None

    def ensure(self, item_id: str, t: int, *, role: str = "", after: object = None) -> Item:
        """The item of that id, made at the place ``after`` names when it is new."""
        item = self._by_id.get(item_id)
        if item is None:
            item = Item(item_id, at_t=t)
            self._place(item, after)
            self._by_id[item_id] = item
        if role and not item.role:
            item.role = role
            self.count_turn(item)
        return item

    def move(self, item: Item, after: object) -> None:
        """Put an item where ``previous_item_id`` says it belongs."""
        previous = self.get(after)
        if previous is None or previous is item:
            return
        place = self._order.index(previous) + 1
        if place < len(self._order) and self._order[place] is item:
            return
        self._order.remove(item)
        self._order.insert(self._order.index(previous) + 1, item)

    def _place(self, item: Item, after: object) -> None:
        previous = self.get(after)
        if previous is None or self._order[-1] is previous:
            self._order.append(item)
        else:
            self._order.insert(self._order.index(previous) + 1, item)

    def count_turn(self, item: Item) -> None:
        """Give a message item its turn number: a new one when the role changes.

        A system message is the developer's, not a turn of the two who talk.
        """
        if item.turn or not item.is_message or item.role == "system":
            return
        if item.role != self._last_role:
            self._last_role = item.role
            self.turns += 1
        item.turn = self.turns
