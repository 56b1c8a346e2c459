"""Conversation items in conversation order, and the turns they form.

A *turn* is a maximal run of message items of one role. Items do not arrive in conversation order:
the position of an item comes from ``previous_item_id`` of ``conversation.item.added`` and
``input_audio_buffer.committed``. In ``conversation.item.done`` that key is often null even if the
item has a predecessor, so it is ignored there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from otel_realtime.core.protocol.events import JsonMapping
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none
from otel_realtime.core.protocol.parts import Image, Segment, read_image

#: Keys of a content part that hold its text, in order of preference: audio parts have a
#: ``transcript``, text parts a ``text``.
_PART_TEXT: Final = ("transcript", "text")
#: Number of items at the end of a conversation that are checked for audio.
MOST_NEW: Final = 64
#: Kinds of items that only a model produces.
_MODEL_KINDS: Final = frozenset({"function_call", "mcp_call", "mcp_approval_request"})
#: Keys of an item that hold text and are copied unchanged.
_TEXT_FIELDS: Final = (
    "role", "status", "name", "call_id", "phase", "server_label", "approval_request_id", "reason",
)  # fmt: skip


#: Key of a call's arguments in ``Item.partial``, where other keys are content indices.
ARGUMENTS: Final = -1


@dataclass(frozen=True, slots=True)
class Place:
    """When a text was said that arrives in fragments and has no item on the wire.

    Attributes:
        start_t: Start in the recording, in ns since the start of the conversation.
        end_t: End in the recording, in the same unit.
        after_silence: Whether its speaker had been silent before; it then begins a new turn.
        start_ms: Start in the audio that the client appended, in ms, if known; more exact than
            ``start_t``.
        end_ms: End in that audio, in ms, if known.
    """

    start_t: int
    end_t: int
    after_silence: bool = False
    start_ms: int | None = None
    end_ms: int | None = None


# Compared by identity: otherwise ``list.index`` and ``list.remove`` would compare all fields.
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
        partial: Text received so far of parts whose ``.done`` has not arrived, by content index.
        images: Images among its content parts, by content index.
        audio: Whether it has audio.
        audio_start_ms: ``audio_start_ms`` of ``speech_started``, in ms of appended audio.
        audio_end_ms: ``audio_end_ms`` of ``speech_stopped``, in ms of appended audio.
        committed_ms: Length of the audio that the client itself committed (push to talk), in ms.
        stopped_t: When ``speech_stopped`` arrived, or ``committed`` without it; in ns since the start.
        commit_sent_t: When the client sent the ``input_audio_buffer.commit`` that made it (push to
            talk); in ns since the start.
        committed_t: When ``input_audio_buffer.committed`` arrived; in ns since the start.
        transcribed: Indices of the content parts whose input transcription completed or failed.
        committed: Whether it belongs to the conversation; a ``speech_started`` alone is not enough.
        deleted: Whether the client deleted it, so that the model no longer reads it.
        response_id: The response that produced it; None for the client's items.
        status: ``completed``, ``incomplete`` or ``in_progress``.
        name: Function or tool name of a call.
        call_id: Id that connects a function call to its output.
        answers: For an output, id of the call's item; a ``call_id`` is not enough, because some models
            reuse it.
        arguments: Arguments of a call, as JSON text.
        output: Output of a function or MCP call.
        error: Error message of an MCP call.
        error_code: Code of that error, if it is an integer.
        phase: ``commentary`` or ``final_answer`` of an assistant's message (gpt-realtime-2).
        server_label: Label of the MCP server of a call, an approval or a list of tools.
        approval_request_id: The request that an ``mcp_approval_response`` answers.
        approve: Whether an ``mcp_approval_response`` approves; None for other kinds.
        reason: The user's reason for approving or refusing.
        idle: Whether the server committed it because nobody spoke (``timeout_triggered``).
        cut: Whether its response was cancelled before the item was complete.
        replayed: Whether the client created it again for a new session of the server; a replay adds
            nothing to what is known.
        segments: Who said what and when, if the transcription distinguishes speakers.
        languages: Languages that the transcription detected.
        place: When it was said, if its text arrives in fragments.
        aside: Whether it belongs to no turn, because it is part of the work that a Live model delegates.
    """

    id: str
    kind: str = "message"
    role: str = ""
    at_t: int = 0
    turn: int = 0
    parts: dict[int, str] = field(default_factory=dict)
    partial: dict[int, str] = field(default_factory=dict)
    images: dict[int, Image] = field(default_factory=dict)
    audio: bool = False
    audio_start_ms: int | None = None
    audio_end_ms: int | None = None
    committed_ms: int | None = None
    stopped_t: int | None = None
    commit_sent_t: int | None = None
    committed_t: int | None = None
    transcribed: set[int] = field(default_factory=set)
    committed: bool = False
    deleted: bool = False
    response_id: str | None = None
    status: str | None = None
    name: str | None = None
    call_id: str | None = None
    answers: str | None = None
    arguments: str | None = None
    output: str | None = None
    error: str | None = None
    error_code: int | None = None
    phase: str | None = None
    server_label: str | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None
    idle: bool = False
    cut: bool = False
    replayed: bool = False
    segments: list[Segment] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    place: Place | None = None
    aside: bool = False

    @property
    def texts(self) -> dict[int, str]:
        """Text of each content part by index, complete or as received so far."""
        return {**self.partial, **self.parts} if self.partial else self.parts

    @property
    def text(self) -> str:
        """Text of all content parts in order, one per line; without any, the text of the segments."""
        texts = self.texts
        spoken = "\n".join(texts[index] for index in sorted(texts) if texts[index])
        return spoken or " ".join(segment["text"] for segment in self.segments)

    @property
    def arguments_so_far(self) -> str:
        """Arguments of a call, complete or as received so far; empty if there are none."""
        return self.arguments or self.partial.get(ARGUMENTS, "")

    @property
    def is_models(self) -> bool:
        """Whether models produce items of this kind; the client may also seed them as history."""
        return self.kind in _MODEL_KINDS or (self.kind == "message" and self.role == "assistant")

    @property
    def has_result(self) -> bool:
        """Whether the output or the error of a call is known."""
        return self.output is not None or self.error is not None

    @property
    def unfinished(self) -> bool:
        """Whether its text is incomplete because its ``.done`` never arrived."""
        return bool(self.partial) and self.status != "completed"

    @property
    def audio_ms(self) -> int | None:
        """Length of the user's audio in ms, from the server's VAD or the client's commit."""
        if self.audio_start_ms is None or self.audio_end_ms is None:
            return self.committed_ms
        return max(self.audio_end_ms - self.audio_start_ms, 0)

    def set_part(self, index: int, text: str) -> None:
        """Set the complete text of a content part, and discard the text of its deltas."""
        self.parts[index] = text
        self.partial.pop(index, None)

    @property
    def is_message(self) -> bool:
        """Whether it is a message of the user, the assistant or the developer."""
        return self.kind == "message" and self.role != ""

    def set_partial(self, index: int, text: str) -> None:
        """Set the text received so far of a content part, unless its complete text is known.

        Args:
            index: Index of the part, or ``ARGUMENTS``.
            text: The text.
        """
        if index == ARGUMENTS and self.kind == "message":  # the item itself has not arrived yet
            self.kind = "function_call"
        if not (self.arguments if index == ARGUMENTS else index in self.parts):
            self.partial[index] = text

    def put(self, place: Place) -> None:
        """Set when it was said. An item with a place counts as complete, even if its text still grows."""
        self.place = place
        self.status = "completed"
        self.audio_start_ms, self.audio_end_ms = place.start_ms, place.end_ms

    def merge(self, source: JsonMapping) -> None:
        """Update the item from an ``item`` object on the wire; absent and empty keys change nothing.

        The server sends an item several times, each time with more of its content, and some servers
        omit what they have sent before.
        """
        self.kind = text_or_none(source.get("type")) or self.kind
        for key in _TEXT_FIELDS:
            text = source.get(key)
            if isinstance(text, str) and text:
                setattr(self, key, text)
        if isinstance(source.get("approve"), bool):
            self.approve = source["approve"]
        for key in ("arguments", "output"):
            value = source.get(key)
            if isinstance(value, str) and value:
                setattr(self, key, value)
        if self.arguments:
            self.partial.pop(ARGUMENTS, None)
        error = source.get("error")  # an object whose fields depend on its type (MCP)
        if error:
            self.error = str(object_or_empty(error).get("message") or error)
            code = object_or_empty(error).get("code")
            if type(code) is int and -(2**63) <= code < 2**63:  # a span attribute holds 64 bits
                self.error_code = code
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
                self.set_part(index, value)
                return
        image = read_image(part)
        if image is not None:
            self.images[index] = image


class _Order:
    """A doubly linked list of items: insertion and removal take constant time.

    ``None`` is the sentinel before the first and after the last item.
    """

    def __init__(self) -> None:
        self._next: dict[Item | None, Item | None] = {None: None}
        self._previous: dict[Item | None, Item | None] = {None: None}

    def __iter__(self) -> Iterator[Item]:
        item = self._next[None]
        while item is not None:
            yield item
            item = self._next[item]

    def __reversed__(self) -> Iterator[Item]:
        item = self._previous[None]
        while item is not None:
            yield item
            item = self._previous[item]

    @property
    def last(self) -> Item | None:
        """The last item; None if the list is empty."""
        return self._previous[None]

    def insert(self, item: Item, previous: Item | None) -> None:
        """Insert an item after ``previous``, or at the beginning if that is None."""
        following = self._next[previous]
        self._next[previous] = self._previous[following] = item
        self._next[item], self._previous[item] = following, previous

    def remove(self, item: Item) -> None:
        """Remove an item."""
        previous, following = self._previous.pop(item), self._next.pop(item)
        self._next[previous], self._previous[following] = following, previous


class Items:
    """All items of a conversation, by id and in conversation order.

    Attributes:
        turns: Number of turns so far.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Item] = {}
        self._order = _Order()
        self._have_audio = False
        self.turns = 0
        self._last_role = ""

    def __iter__(self) -> Iterator[Item]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def have_audio(self) -> bool:
        """Whether any item has audio; only the latest ``MOST_NEW`` items are checked on each call."""
        if not self._have_audio:
            self._have_audio = any(item.audio for item in islice(reversed(self._order), MOST_NEW))
        return self._have_audio

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
            previous_id: Id of the item that a new item follows; if unknown, it is added at the end.
        """
        item = self._by_id.get(item_id)
        if item is None:
            item = Item(item_id, at_t=t)
            self._insert(item, previous_id)
            self._by_id[item_id] = item
        # ``speech_started`` and ``committed`` imply the role; the item itself arrives later.
        if role and not item.role:
            item.role = role
            self.assign_turn(item)
        return item

    def alias(self, item_id: str, item: Item) -> None:
        """Register another id for an item, which a new session of the server uses for it."""
        self._by_id.setdefault(item_id, item)

    def move(self, item: Item, previous_id: object) -> None:
        """Move an item to the position after ``previous_id``, unless that id is unknown."""
        previous = self.get(previous_id)
        if previous is not None and previous is not item:
            self._order.remove(item)
            self._order.insert(item, previous)

    def sort_in(self, item: Item) -> None:
        """Move an item to the position given by its start time, because fragments may arrive late."""
        start_t, previous = _start_t(item), None
        for other in reversed(self._order):
            if other is not item and _start_t(other) <= start_t:
                previous = other
                break
        self._order.remove(item)
        self._order.insert(item, previous)

    def _insert(self, item: Item, previous_id: object) -> None:
        self._order.insert(item, self.get(previous_id) or self._order.last)

    def assign_turn(self, item: Item) -> None:
        """Assign a turn number to a message item: a new one if the role differs from the last one.

        A system message comes from the developer and is not a turn of either speaker. Silence that the
        server committed as the user's turn is not a turn either.
        """
        if item.turn or item.idle or item.aside or not item.is_message or item.role == "system":
            return
        if item.role != self._last_role or begins_turn(item):
            self._last_role = item.role
            self.turns += 1
        item.turn = self.turns


def begins_turn(item: Item) -> bool:
    """Return whether an item begins a turn even if the item before it has the same role."""
    return item.place is not None and item.place.after_silence


def _start_t(item: Item) -> int:
    return item.at_t if item.place is None else item.place.start_t
