"""The transcript on the root span: the conversation as turns, with their positions in the recording.

Each turn is a message in LangSmith's shape, plus its number, its position in the recording, and the
part of its text that was heard.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypedDict

from otel_realtime.core.protocol.items import Item, Items, begins_turn
from otel_realtime.core.protocol.messages import (
    NS_PER_MS,
    placeholder,
    visible_segments,
    visible_text,
)
from otel_realtime.core.protocol.parts import Segment
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.core.protocol.responses import AudioFacts

#: Assumed rate of speech if the duration of a text is unknown.
CHARACTERS_PER_S: Final = 15


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
    """A turn of the transcript; LangSmith previews ``role`` and ``content``.

    ``segments`` states who said what and when, if the transcription distinguishes speakers.
    """

    segments: list[Segment]


@dataclass(slots=True)
class Turn:
    """A maximal run of items of one role, or of fragments without a silence between them.

    Attributes:
        number: Its number, from 1, in conversation order.
        role: Role of all its items.
        start_ms: Start in the recording, in ms.
        end_ms: End in the recording, in ms.
        texts: Text of each item.
        heard: The part of each of these texts that was heard.
        interrupted: Whether the audio of one of its items was cut, or the text of one is unfinished.
        segments: Who said what and when, if the transcription distinguishes speakers.
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


#: Start and end of an item in the recording (ms), the part of its text that was heard, whether it was
#: interrupted, and whether it was audible at all. A plain tuple, because a long call has many items.
_Placement = tuple[int, int, str, bool, bool]


def transcript(items: Items, audio: AudioFacts | None, audible_only: frozenset[str]) -> list[Turn]:
    """Return the conversation as turns, in conversation order.

    Args:
        items: All items.
        audio: Where the items are in the recording; None if the conversation has no audio facts.
        audible_only: Ids of items that are included only if they were heard (items of out-of-band
            responses).
    """
    turns: list[Turn] = []
    for item in items:
        if not item.is_message or item.role == "system" or item.aside:
            continue
        # Not committed: the VAD reported the start of speech, but the server has not committed it as
        # an item. If the call ends here, what the user has said so far is still a turn.
        said = item.role == "user" and item.text
        if not (item.committed or said or item.id in audible_only):
            continue
        if item.idle and not item.text:  # the server took silence for the user's turn
            continue
        start_ms, end_ms, heard, interrupted, audible = _placement(item, audio)
        if item.id in audible_only and not audible:
            continue
        # ``Item.turn`` is not used: it numbers turns in order of arrival, before items were moved.
        if not turns or turns[-1].role != item.role or begins_turn(item):
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
    if item.place is not None:
        place = item.place
        return place.start_t // NS_PER_MS, place.end_t // NS_PER_MS, item.text, False, True
    facts = audio.item(item.id) if audio is not None else None
    if facts is None or facts.audible_from_t is None:
        silenced = facts is not None and facts.interrupted
        at_ms = item.at_t // NS_PER_MS
        # Without audio (a text answer) the text counts as read, unless the item was cut.
        cut = silenced or (facts is None and item.cut)
        return at_ms, at_ms, "" if silenced else item.text, cut, False
    whole_ms = facts.whole_ms if facts.generated_ms is None else facts.generated_ms
    heard = heard_text(item.text, whole_ms, facts.heard_ms, facts.interrupted)
    start_ms = facts.audible_from_t // NS_PER_MS
    end_ms = facts.audible_until_t // NS_PER_MS
    return start_ms, end_ms, heard, facts.interrupted, facts.heard_ms > 0


def user_span(item: Item, audio: AudioFacts | None) -> tuple[int, int]:
    """Return start and end of a user's item in the recording, in ms.

    The timeline knows the position of speech that the VAD reported or the client committed. Other
    positions in events (a timeout's ``audio_start_ms``) count appended audio, so the timeline must
    convert them. Without a timeline, the arrival times of the events are used instead.
    """
    start_t = end_t = None
    spoken = None if audio is None else audio.user_speech(item.id)
    if spoken is not None:
        start_t, end_t = spoken
    elif audio is not None:
        if item.audio_start_ms is not None:
            start_t = audio.user_time(item.audio_start_ms)
        if item.audio_end_ms is not None:
            end_t = audio.user_time(item.audio_end_ms)
    if item.place is not None:
        start_t = item.place.start_t if start_t is None else start_t
        end_t = item.place.end_t if end_t is None else end_t
    if end_t is None:
        end_t = item.stopped_t if item.stopped_t is not None else item.at_t
    if start_t is None:
        start_t = min(item.at_t, end_t)  # without a VAD the item first appears at its commit
    return start_t // NS_PER_MS, max(start_t, end_t) // NS_PER_MS


def heard_text(text: str, whole_ms: int | None, heard_ms: int, interrupted: bool) -> str:
    """Return an estimate of the words that were heard: the same share of the text as of the audio.

    The wire has no times for single words, so the text is assumed to be spoken at a constant rate and
    is cut at the end of a word. If the duration of the whole item is unknown, the rate is 15
    characters per second, about 150 English words per minute. An interruption always removes at least
    the last word, because an interrupted text was not heard in full.

    Args:
        text: The whole text.
        whole_ms: Duration of the whole item, in ms; None if unknown.
        heard_ms: How much of the item was heard, in ms.
        interrupted: Whether the item was cut.
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
    # The cut is within a word, so drop that word. Some scripts have no spaces between words.
    spaced = text.isascii() or any(character.isspace() for character in text)
    return " ".join(text[:length].rsplit(maxsplit=1)[:-1]) if spaced else text[:length]
