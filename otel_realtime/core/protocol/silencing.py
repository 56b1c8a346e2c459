"""Find the spoken words that the app's ``redact`` hook wants to silence in the recording.

An event may quote speech: in a transcription of the user, a segment of it, the transcript of an answer,
or an item or response that contains such texts. The hook names words of such a text in one of two ways:

1. It sets the key ``redact_audio`` next to the text, or in an object that contains the text (the item,
   the event). The value is ``True`` for all of the text, ``False`` for none, or a list of spans
   ``[[start, end], ...]``, which are positions of characters in the text as the hook received it. The
   key is removed before anything is stored.
2. With ``Settings.redact_audio``, the words that the hook changed or removed are silenced, unless it
   sets the key.

The wire has no times of single words. It has the times of segments, if the transcription model produces
them; then a word is silenced with its segment. Otherwise its whole item is silenced: the heard part of
one answer, or one utterance of the user. If it is unclear which words are meant, all are silenced.

Sources: ``conversation.item.input_audio_transcription.*``, ``response.output_audio_transcript.done``
at https://platform.openai.com/docs/api-reference/realtime-server-events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from otel_realtime.core.audio.redactions import COMPLETE, PARTIAL, Words
from otel_realtime.core.protocol.events import (
    GA_NAMES,
    Event,
    JsonMapping,
    JsonObject,
    JsonValue,
)
from otel_realtime.core.protocol.json_values import object_or_empty, text_or_none

#: The key that the hook sets, next to a text or in an object that contains it.
KEY: Final = "redact_audio"
#: Start and end of a range of characters in a text; the end is exclusive.
Span = tuple[int, int]
#: Keys and indices that lead from an event to the object that holds a text.
_Path = tuple[str | int, ...]

_TRANSCRIPTION: Final = "conversation.item.input_audio_transcription."
_SEGMENT: Final = _TRANSCRIPTION + "segment"
_SIDES: Final = {"user": "user", "assistant": "agent"}
_WORD: Final = re.compile(r"\S+")
#: For texts that differ in more words than this, only a common beginning and end are compared.
_MOST_WORDS: Final = 500
#: Maximum number of items whose segments are kept.
_MOST_ITEMS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenText:
    """A text of an event that quotes speech.

    Attributes:
        item_id: Id of the item that was spoken.
        side: The speaker: ``user`` or ``agent``.
        text: The text as the hook received it.
        spans: The words that are to be silenced.
        segment: Whether it is a segment of a transcription.
        from_ms: Start of the segment in the item's audio, in ms; None if not given.
        to_ms: End of the segment in the item's audio, in ms; None if not given.
        partial: Whether the text may still grow.
    """

    item_id: str
    side: str
    text: str
    spans: tuple[Span, ...] = ()
    segment: bool = False
    from_ms: int | None = None
    to_ms: int | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """The position of a text in an event, and its speaker."""

    path: _Path
    key: str
    item_id: str
    side: str


def take_names(event: Event, answer: JsonObject, *, changes: bool) -> tuple[SpokenText, ...]:
    """Read which words a hook wants to silence, and remove its ``redact_audio`` keys.

    Args:
        event: The event as the hook received it.
        answer: The hook's result, as JSON values; changed in place.
        changes: Whether words that the hook changed are to be silenced, too.

    Returns:
        All texts of the event that quote speech, with or without words to silence.
    """
    places = list(_places(event))
    found = []
    for place in places:
        before, holder = _text_at(event, place), _at(answer, place.path)
        named = _named(answer, place.path, alone=len(places) == 1)
        if named is not None:
            spans = _named_spans(before, named)
        elif changes:
            spans = changed_spans(before, object_or_empty(holder).get(place.key))
        else:
            spans = ()
        found.append(_spoken(event, place, spans))
    for path in {place.path[:length] for place in places for length in range(len(place.path) + 1)}:
        holder = _at(answer, path)
        if isinstance(holder, dict):
            holder.pop(KEY, None)
    answer.pop(KEY, None)  # for an event that quotes no speech
    return tuple(found)


def _named(answer: JsonObject, path: _Path, *, alone: bool) -> JsonValue:
    """Return the innermost ``redact_audio`` value that applies to a text; None if there is none.

    Args:
        answer: The hook's result.
        path: Path of the object that holds the text.
        alone: Whether the event has no other text. If it has, spans in an outer object are ambiguous,
            and mean the whole text.
    """
    for length in range(len(path), -1, -1):
        named = object_or_empty(_at(answer, path[:length])).get(KEY)
        if named is not None:
            of_any = isinstance(named, list) and length < len(path) and not alone
            return bool(named) if of_any else named
    return None


def all_words(event: Event) -> tuple[SpokenText, ...]:
    """Return all texts of an event that quote speech, each with all of its words to silence."""
    return tuple(
        _spoken(event, place, ((0, len(_text_at(event, place))),)) for place in _places(event)
    )


def _places(event: Event) -> Iterator[_Place]:
    kind = GA_NAMES.get(event["type"], event["type"])
    item_id = text_or_none(event.get("item_id"))
    if item_id is not None:
        key = "text" if kind == _SEGMENT else "transcript"
        side = "user" if kind.startswith(_TRANSCRIPTION) else "agent"
        if text_or_none(event.get(key)):
            yield _Place((), key, item_id, side)
        if text_or_none(object_or_empty(event.get("part")).get("transcript")):
            yield _Place(("part",), "transcript", item_id, side)
    yield from _item_places(event.get("item"), ("item",))
    outputs = object_or_empty(event.get("response")).get("output")
    for number, item in enumerate(outputs if isinstance(outputs, list) else ()):
        yield from _item_places(item, ("response", "output", number))


def _item_places(item: JsonValue, path: _Path) -> Iterator[_Place]:
    source = object_or_empty(item)
    item_id, role, content = (source.get(key) for key in ("id", "role", "content"))
    side = _SIDES.get(role) if isinstance(role, str) else None
    if side is None or not isinstance(item_id, str) or not isinstance(content, list):
        return
    for index, part in enumerate(content):
        if text_or_none(object_or_empty(part).get("transcript")):
            yield _Place((*path, "content", index), "transcript", item_id, side)


def _at(value: JsonValue, path: _Path) -> JsonValue:
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text_at(event: Event, place: _Place) -> str:
    return str(_at(event, place.path)[place.key])


def _spoken(event: Event, place: _Place, spans: tuple[Span, ...]) -> SpokenText:
    segment = event["type"] == _SEGMENT
    return SpokenText(
        item_id=place.item_id,
        side=place.side,
        text=_text_at(event, place),
        spans=spans,
        segment=segment,
        from_ms=_ms(event.get("start"), up=False) if segment else None,
        to_ms=_ms(event.get("end"), up=True) if segment else None,
        partial=event["type"] == _TRANSCRIPTION + "updated" or _is_in_progress(event),
    )


def _is_in_progress(event: JsonMapping) -> bool:
    return "transcript" in event and event.get("status") == "in_progress"


def _ms(seconds: JsonValue, *, up: bool) -> int | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    if not 0 <= seconds < 10**9:  # the comparison is also false for NaN
        return None
    ms = round(seconds * 1000, 3)  # 1.1 * 1000 is slightly more than 1100
    return int(-(-ms // 1)) if up else int(ms)


def _named_spans(text: str, named: JsonValue) -> tuple[Span, ...]:
    """Return the spans that a hook named; an unreadable value or span means the whole text."""
    whole = (0, len(text))
    if named is False:
        return ()
    if not isinstance(named, list):
        return (whole,)
    return tuple(span for span in (_span(each, whole) for each in named) if span[0] < span[1])


def _span(given: JsonValue, whole: Span) -> Span:
    if not isinstance(given, list) or len(given) != 2:
        return whole
    start, end = given
    if type(start) is not int or type(end) is not int or start > end or start < 0:
        return whole
    return start, min(end, whole[1])


def changed_spans(before: str, after: JsonValue) -> tuple[Span, ...]:
    """Return the spans of words that were changed or removed in a text; added words do not count.

    Args:
        before: The original text.
        after: The changed text; if it is not a string, all words count as removed.
    """
    if after == before:
        return ()
    if not isinstance(after, str):
        return ((0, len(before)),)
    words = list(_WORD.finditer(before))
    places = [word.span() for word in words]
    old, new = [word[0] for word in words], after.split()
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    gone = range(first, len(old) - last)
    if len(gone) > _MOST_WORDS or len(new) - first - last > _MOST_WORDS:
        return ((places[gone[0]][0], places[gone[-1]][1]),) if gone else ()
    compared = SequenceMatcher(None, old[first : gone.stop], new[first : len(new) - last], False)
    return tuple(
        (places[first + start][0], places[first + end - 1][1])
        for kind, start, end, _, _ in compared.get_opcodes()
        if kind != "equal" and start < end
    )


class NamedWords:
    """Locates the words of one conversation that its hook names, by the segments of transcriptions.

    The original segments of the latest items are kept, in memory only.
    """

    def __init__(self) -> None:
        self._segments: dict[str, list[SpokenText]] = {}
        self._partial: set[str] = set()

    def words(
        self, texts: Iterable[SpokenText], *, partial: bool = False
    ) -> list[tuple[Words, str | None]]:
        """Return what to silence because of an event, as arguments of ``Redactions.add_words``.

        Args:
            texts: The event's texts, with or without words to silence.
            partial: Whether the texts are known to be incomplete.
        """
        found: list[tuple[Words, str | None]] = []
        for text in texts:
            if partial or text.partial:
                if text.spans:
                    self._partial.add(text.item_id)
                    found.append((Words(text.side, text.item_id), PARTIAL))
                continue
            if text.segment:
                self._keep(text)
            elif text.item_id in self._partial:
                self._partial.discard(text.item_id)
                found.append((Words(text.side, text.item_id), COMPLETE))
            if text.spans:
                found += ((words, None) for words in self._located(text))
        return found

    def _keep(self, segment: SpokenText) -> None:
        self._segments.setdefault(segment.item_id, []).append(segment)
        if len(self._segments) > _MOST_ITEMS:
            del self._segments[next(iter(self._segments))]

    def _located(self, text: SpokenText) -> list[Words]:
        whole = [Words(text.side, text.item_id)]
        if text.segment:
            return [_words_of(text)] if _has_times(text) else whole
        ranges = list(_ranges(text.text, self._segments.get(text.item_id, ())))
        found: dict[Words, None] = {}
        for start, end in text.spans:
            at = start
            for first, last, segment in ranges:
                if first >= end or last <= at:
                    continue
                if text.text[at:first].strip():
                    return whole  # a named word is in no segment
                found[_words_of(segment)] = None
                at = last
            if text.text[at:end].strip():
                return whole
        return list(found)


def _ranges(text: str, segments: Iterable[SpokenText]) -> Iterator[tuple[int, int, SpokenText]]:
    """Yield (start, end, segment) for each segment with times that occurs in the text."""
    at = 0
    for segment in segments:
        said = segment.text.strip()
        first = text.find(said, at)
        if first >= 0 and said and _has_times(segment):
            at = first + len(said)
            yield first, at, segment


def _has_times(segment: SpokenText) -> bool:
    return segment.from_ms is not None and segment.to_ms is not None


def _words_of(segment: SpokenText) -> Words:
    return Words(segment.side, segment.item_id, segment.from_ms, segment.to_ms)
