"""Which stretches of the recording are silenced afterwards, and why.

There are two kinds of requests:

- A *stretch* gives its times in the recording: ``Conversation.redact_audio()``, or the command.
- *Words* name an item of the conversation, whole or from one position in its audio to another (a
  segment of its transcription). A ``redact`` hook requests them. Where they are in the recording is
  decided as late as anything else about the item, so a late truncate moves them, too.

No request is taken back, with one exception: what a hook requested for an incomplete text applies only
until the hook has seen the complete text.

Silencing changes no length, no placement and no facts: it is applied to the rendered samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from otel_realtime.core.audio.segments import Interval

SIDES: Final = ("user", "agent")
#: What is heard instead of the audio.
SILENCE: Final = "silence"
BEEP: Final = "beep"
#: Who requested it: the app through ``redact_audio()``, its ``redact`` hook, or the command.
BY_CALL: Final = "call"
BY_HOOK: Final = "hook"
BY_COMMAND: Final = "command"

#: The state of a text when a hook requests some of its words: it may still grow, or it is complete.
PARTIAL: Final = "partial"
COMPLETE: Final = "complete"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A silenced stretch of the recording.

    Attributes:
        start_ns: Where it begins, in ns since the start of the conversation.
        end_ns: Where it ends; exclusive.
        side: ``user`` or ``agent``; None for both.
        how: ``silence`` or ``beep``.
        why: ``call``, ``hook`` or ``command``.
    """

    start_ns: int
    end_ns: int
    side: str | None = None
    how: str = SILENCE
    why: str = BY_CALL


@dataclass(frozen=True, slots=True)
class Words:
    """Words of one item.

    Attributes:
        side: Who speaks them: ``user`` or ``agent``.
        item_id: The item.
        from_ms: Where they begin in the item's audio; None for its beginning.
        to_ms: Where they end; None for its end.
    """

    side: str
    item_id: str
    from_ms: int | None = None
    to_ms: int | None = None


#: Returns where words are in the recording; None if they are not in it.
Locate = Callable[[Words], "Interval | None"]


class Redactions:
    """Everything that is to be silenced in one conversation."""

    def __init__(self) -> None:
        # Keys of dictionaries, so that a repeated request, by an echo of the same text, counts once.
        self._stretches: dict[Stretch, None] = {}
        self._words: dict[Words, None] = {}
        self._partial: dict[str, dict[Words, None]] = {}  # by item

    def __bool__(self) -> bool:
        return bool(self._stretches or self._words or self._partial)

    def add(
        self,
        start_ns: int,
        end_ns: int,
        side: object = None,
        how: object = None,
        why: object = None,
    ) -> None:
        """Add a stretch with its times; see ``Stretch``.

        A damaged record with an unclear value silences more, not less.
        """
        stretch = Stretch(
            start_ns,
            end_ns,
            side=side if isinstance(side, str) and side in SIDES else None,
            how=BEEP if how == BEEP else SILENCE,
            why=why if isinstance(why, str) else BY_CALL,
        )
        if start_ns < end_ns:
            self._stretches[stretch] = None

    def add_words(self, words: Words, text: object = None) -> None:
        """Add words of an item.

        Args:
            words: The words.
            text: ``partial`` if their text may still grow; ``complete`` to drop the words that were
                added as partial: then ``words`` only names the item.
        """
        if text == COMPLETE:
            self._partial.pop(words.item_id, None)
        elif text == PARTIAL:
            self._partial.setdefault(words.item_id, {})[words] = None
        else:
            self._words[words] = None

    def stretches(self, locate: Locate, length_ns: int) -> list[Stretch]:
        """Return the silenced stretches, in order; none extends beyond the end of the recording.

        Args:
            locate: Finds words in the recording.
            length_ns: Length of the recording.
        """
        found = list(self._stretches)
        wanted = [*self._words, *(words for item in self._partial.values() for words in item)]
        for words in wanted:
            place = locate(words)
            if place is not None:
                found.append(Stretch(*place, side=words.side, why=BY_HOOK))
        clipped = (
            each if each.end_ns <= length_ns else replace(each, end_ns=length_ns) for each in found
        )
        # Two requests for the same place (a segment and its text) are one stretch.
        kept = dict.fromkeys(each for each in clipped if each.start_ns < each.end_ns)
        return sorted(kept, key=lambda each: (each.start_ns, each.end_ns, each.side or ""))


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same time as ordered intervals that neither overlap nor touch."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif start < end:
            merged.append((start, end))
    return merged


def intervals_of(stretches: Iterable[Stretch], side: str, how: str | None = None) -> list[Interval]:
    """Return when a side is silenced, merged; ``how`` selects only silence or only beeps."""
    return merge(
        (stretch.start_ns, stretch.end_ns)
        for stretch in stretches
        if stretch.side in (None, side) and how in (None, stretch.how)
    )
