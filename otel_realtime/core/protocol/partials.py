"""Text that was received and is not complete yet: what the deltas of a content part add up to.

A call can end in the middle of a sentence (hang-up, cancel, a killed process), and some servers
never send the ``.done`` that repeats the whole text. So the text so far is kept until then.

It takes the form of the event that would complete it. So the content policy and the app's
``redact`` hook see the text as a whole, never a piece of it, in which a secret may be cut in two.

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
        done: Type of the event that completes it.
        key: Key of the text in that event.
        role: Who says it; empty for the arguments of a call, which is no message.
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
        """Whether it is of a call's arguments, of which an item has one."""
        return self.key == "arguments"


_INPUT: Final = "conversation.item.input_audio_transcription."
#: Type of a delta (GA name) -> what it is a part of.
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
#: Types of the events that end a text, by their names in any dialect.
ENDS: Final = frozenset(
    {
        *(delta.done for delta in TEXT_DELTAS.values()),
        _INPUT + "failed",
        "response.audio_transcript.done",
        "response.text.done",
    }
)
#: Parts whose text is kept at a time; a server without ``.done`` would make them pile up.
MOST_OPEN: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The text so far of one content part.

    Attributes:
        item_id: Its item.
        index: Index of the part; ``items.ARGUMENTS`` for the arguments of a call.
        role: Who says it: ``user`` or ``assistant``; empty for the arguments of a call.
        response_id: The response that says it; None for the user.
        text: The text.
        audio: Whether it is the transcript of audio.
        place: Where it was said, if it comes in fragments (``fragments``).
    """

    item_id: str
    index: int
    role: str
    response_id: str | None
    text: str
    audio: bool = False
    place: Place | None = None


class Partials:
    """The texts of one conversation that are not complete."""

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
        """Add a delta; return the event that would complete its text now.

        Returns:
            An event that is not yet fit to be stored; None if this is no delta of a text.
        """
        kind = TEXT_DELTAS.get(GA_NAMES.get(delta["type"], delta["type"]))
        item_id, piece = text_or_none(delta.get("item_id")), delta.get("delta")
        if kind is None or item_id is None or not isinstance(piece, str):
            return None
        index = ARGUMENTS if kind.arguments else content_index(delta.get("content_index"))
        # Popped, so that the part that was heard of last is the last to be forgotten.
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
        """Forget a text that ``event`` ends; see ``ENDS``."""
        item_id = event.get("item_id")
        if isinstance(item_id, str):
            kind = _BY_DONE.get(str(event.get("type")))
            of_call = kind is not None and kind.arguments
            key = (item_id, ARGUMENTS if of_call else content_index(event.get("content_index")))
            self._texts.pop(key, None)
            self._due.pop(key, None)


def read(whole: Event, stored: Event) -> Partial:
    """Read what ``Partials.add`` returned.

    Args:
        whole: That event.
        stored: The same after the content policy and the app's ``redact`` hook, which may have taken
            anything out of it.
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
