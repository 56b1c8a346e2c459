"""Incomplete text: the concatenated deltas of a content part.

A call can end in the middle of a sentence (hang-up, cancel, a killed process), and some servers
never send the ``.done`` that repeats the whole text. So the text so far is kept until it is complete.

It is represented as the event that would complete it. So the content policy and the app's ``redact``
hook see the whole text so far, and never a single piece, which may hold only a part of a secret.

Sources: ``response.output_audio_transcript.delta``, ``response.output_text.delta``,
``conversation.item.input_audio_transcription.delta`` and ``response.function_call_arguments.delta``
at https://platform.openai.com/docs/api-reference/realtime-server-events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from otel_realtime.core.protocol.events import GA_NAMES, Event
from otel_realtime.core.protocol.items import ARGUMENTS, Place
from otel_realtime.core.protocol.json_values import content_index, text_or_none


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A kind of delta.

    Attributes:
        done: Type of the event that completes the text.
        key: Key of the text in that event.
        role: Role of the speaker; empty for the arguments of a call, which is not a message.
    """

    done: str
    key: str
    role: str

    @property
    def audio(self) -> bool:
        """Whether it is the transcript of audio."""
        return self.key == "transcript"

    @property
    def arguments(self) -> bool:
        """Whether it carries the arguments of a call; an item has only one such text."""
        return self.key == "arguments"


_INPUT: Final = "conversation.item.input_audio_transcription."
#: Type of a delta (GA name) -> its description.
TEXT_DELTAS: Final[Mapping[str, TextDelta]] = {
    "response.output_audio_transcript.delta": TextDelta(
        "response.output_audio_transcript.done", "transcript", "assistant"
    ),
    "response.output_text.delta": TextDelta("response.output_text.done", "text", "assistant"),
    _INPUT + "delta": TextDelta(_INPUT + "completed", "transcript", "user"),
    "response.function_call_arguments.delta": TextDelta(
        "response.function_call_arguments.done", "arguments", ""
    ),
    "response.mcp_call_arguments.delta": TextDelta(
        "response.mcp_call_arguments.done", "arguments", ""
    ),
}
_BY_DONE: Final = {kind.done: kind for kind in TEXT_DELTAS.values()}
#: Types of the events that end a text, with GA and beta names.
ENDS: Final = frozenset(
    {
        *(delta.done for delta in TEXT_DELTAS.values()),
        _INPUT + "failed",
        "response.audio_transcript.done",
        "response.text.done",
    }
)
#: Maximum number of texts kept; without a limit they would accumulate if a server sends no ``.done``.
MOST_OPEN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The text so far of one content part.

    Attributes:
        item_id: Id of its item.
        index: Index of the part; ``items.ARGUMENTS`` for the arguments of a call.
        role: Role of the speaker, ``user`` or ``assistant``; empty for the arguments of a call.
        response_id: Id of the response that it belongs to; None for the user's text.
        text: The text.
        audio: Whether it is the transcript of audio.
        place: When it was said, if it arrives in fragments (``fragments``).
    """

    item_id: str
    index: int
    role: str
    response_id: str | None
    text: str
    audio: bool = False
    place: Place | None = None


class Partials:
    """The incomplete texts of one conversation."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str] = {}
        self._due: dict[tuple[str, int], Event] = {}

    @property
    def is_due(self) -> bool:
        """Whether a text has grown since ``take_due``."""
        return bool(self._due)

    def take_due(self) -> list[Event]:
        """Return the texts that have grown since the last call, each as ``add`` returned it."""
        due = list(self._due.values())
        self._due.clear()
        return due

    def add(self, delta: Event) -> Event | None:
        """Add a delta and return the event that would complete its text now.

        Returns:
            An event to which the content policy has not been applied; None if this is not a text delta.
        """
        kind = TEXT_DELTAS.get(GA_NAMES.get(delta["type"], delta["type"]))
        item_id, piece = text_or_none(delta.get("item_id")), delta.get("delta")
        if kind is None or item_id is None or not isinstance(piece, str):
            return None
        index = ARGUMENTS if kind.arguments else content_index(delta.get("content_index"))
        # Remove and insert again, so that the text that grew least recently is dropped first.
        text = self._texts.pop((item_id, index), "") + piece
        self._texts[(item_id, index)] = text
        if len(self._texts) > MOST_OPEN:
            del self._texts[next(iter(self._texts))]
        whole: Event = {"type": kind.done, "item_id": item_id}
        if not kind.arguments:
            whole["content_index"] = index
        for name in ("response_id", "call_id"):
            if isinstance(delta.get(name), str):
                whole[name] = delta[name]
        whole[kind.key] = text
        self._due[(item_id, index)] = whole
        return whole

    def end(self, event: Event) -> None:
        """Drop the text that ``event`` ends; see ``ENDS``."""
        item_id = event.get("item_id")
        if isinstance(item_id, str):
            kind = _BY_DONE.get(str(event.get("type")))
            of_call = kind is not None and kind.arguments
            key = (item_id, ARGUMENTS if of_call else content_index(event.get("content_index")))
            self._texts.pop(key, None)
            self._due.pop(key, None)


def read(whole: Event, stored: Event) -> Partial:
    """Convert an event that ``Partials.add`` returned to a :class:`Partial`.

    Args:
        whole: That event.
        stored: The event after the content policy and the app's ``redact`` hook, which may have removed
            any part of it.
    """
    kind = _BY_DONE[whole["type"]]
    return Partial(
        item_id=text_or_none(stored.get("item_id")) or whole["item_id"],
        index=whole.get("content_index", ARGUMENTS),
        role=kind.role,
        response_id=text_or_none(stored.get("response_id")),
        text=text_or_none(stored.get(kind.key)) or "",
        audio=kind.audio,
    )
