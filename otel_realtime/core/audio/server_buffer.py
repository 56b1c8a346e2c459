"""Derives what was heard of the agent from the server's events, if its audio does not arrive here.

On the sideband of a WebRTC or SIP call (``connect(call_id=...)``) no audio arrives here. The server
owns the play-out buffer and reports what happens to it
(https://platform.openai.com/docs/api-reference/realtime-server-events/output_audio_buffer/started):

==================================  ================================================================
event                               what it says
==================================  ================================================================
output_audio_buffer.started         the response is audible from now on
output_audio_buffer.stopped         it was played to its end
output_audio_buffer.cleared         it was cut: an interruption, unless it had ``stopped`` before
conversation.item.truncated         exactly this much of the item was heard
response.output_item.added, ...     the item belongs to the response
response.done                       how many audio tokens the response has: 50 ms each
==================================  ================================================================

Rules:

1. ``truncated`` states how much was heard; otherwise the times of the events do.
2. A response that was not ended by an event of its own ended when the next one started, or else with
   the conversation: hearing ends there. If far more time has passed than its text and its tokens
   account for, the event that ended it was lost, and the excess is not counted.
3. An item is interrupted if it was cleared or truncated before it had been played to its end. A
   ``truncated`` that keeps everything that had been heard is not an interruption.
4. The items of a response play one after the other. Only a ``truncated`` says where one ends, so
   the time is divided by the length of their texts.
5. An item that was announced but never started was not heard.
6. The server does not state how much was *generated*, so it is unknown: tokens include the silence
   around speech, and servers have been seen to report fewer than were played. Tokens only serve to
   estimate how long the whole item would have been, to find the words that were heard.

Times are ns since the start of the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S
from otel_realtime.core.audio.parts import SERVER, ItemAudio, is_whole

#: An audio token of the assistant is 50 ms of audio
#: (https://platform.openai.com/docs/guides/realtime-costs).
TOKEN_NS: Final = 50 * NS_PER_MS
#: The usual rate of speech: about 150 English words a minute.
CHARACTERS_PER_S: Final = 15
#: A duration between two events is no more accurate than this.
EVENT_JITTER_NS: Final = 250 * NS_PER_MS
#: Maximum number of earlier responses that can still be in the buffer when a response starts.
MOST_QUEUED: Final = 8
#: How long after its estimated end to wait for a response whose end was not reported.
WAIT_NS: Final = 30 * NS_PER_S
#: The same, if its length is unknown.
LONGEST_NS: Final = 600 * NS_PER_S
#: How long to wait at most for a server that reports nothing about a response's play-out.
MOST_UNSAID_NS: Final = 60 * NS_PER_S


@dataclass(slots=True)
class _Truncate:
    """A ``conversation.item.truncated`` at ``t``: ``kept_ns`` were heard."""

    t: int
    kept_ns: int


@dataclass(slots=True)
class _Play:
    """One response in the server's buffer.

    Attributes:
        items: Its message items, in the order in which they were announced.
        started_t, stopped_t, cleared_t: When the event of that name came; None without one.
        number: Its number among those that started.
        tokens_ns: Duration of its audio tokens; 0 if unknown.
    """

    items: list[_Item] = field(default_factory=list)
    started_t: int | None = None
    stopped_t: int | None = None
    cleared_t: int | None = None
    number: int = 0
    tokens_ns: int = 0

    def audible_items(self) -> list[_Item]:
        """Return the items with audio, or all items if none is known to have audio."""
        return [item for item in self.items if item.audio] or self.items


@dataclass(slots=True)
class _Item:
    """One item.

    Attributes:
        play: Its response.
        first_t: When it was first seen.
        audio: Whether it is certain to have audio.
        characters: Length of its transcript.
        truncate: The server's truncation of it; None if there is none.
    """

    play: _Play
    first_t: int
    audio: bool = False
    characters: int = 0
    truncate: _Truncate | None = None


@dataclass(slots=True)
class _Heard:
    """When an item was heard, and how much of it; ``whole_ns``: 0 if unknown."""

    from_t: int | None
    until_t: int
    heard_ns: int
    interrupted: bool
    whole_ns: int = 0


class ServerBuffer:
    """Tracks the play-out of all responses by the server's events."""

    def __init__(self) -> None:
        self._plays: dict[str, _Play] = {}
        self._items: dict[str, _Item] = {}
        self._started: list[_Play] = []  # in this order
        # The responses to which an event without a response id can refer: announced, and started.
        self._waiting: dict[str, _Play] = {}
        self._open: dict[str, _Play] = {}
        self._speaks = False  # whether the server has reported anything about its buffer

    # --- records --------------------------------------------------------------------------------

    def add_item(
        self, t: int, item_id: str, response_id: str | None, *, audio: bool, characters: int
    ) -> None:
        """Add what an event says about a message item of the assistant.

        Args:
            t: When the event came.
            item_id: The item.
            response_id: Its response, if the event names one.
            audio: Whether the event shows that it has audio.
            characters: Length of its transcript; 0 if the event has none.
        """
        item = self._items.get(item_id)
        if item is None:
            play = _Play() if response_id is None else self._play(response_id)
            item = self._items[item_id] = _Item(play, t)
            play.items.append(item)
            if response_id is not None and play.started_t is None:
                self._waiting[response_id] = play
        item.audio = item.audio or audio
        item.characters = max(item.characters, characters)

    def add_tokens(self, response_id: str, tokens: int) -> None:
        """Add the number of audio tokens that a response has."""
        self._play(response_id).tokens_ns = tokens * TOKEN_NS

    def change(self, t: int, change: str, response_id: str | None) -> None:
        """Apply ``output_audio_buffer.started``, ``.stopped`` or ``.cleared``."""
        self._speaks = True
        if response_id is not None:
            named = [response_id]
        elif change == "started":  # it refers to the response that was announced last
            named = [next(reversed(self._waiting))] if self._waiting else []
        else:
            named = list(self._open)
        for known_id in named:
            play = self._play(known_id)
            # Each event comes once; a second one would be an echo.
            if change == "started" and play.started_t is None:
                play.started_t, play.number = t, len(self._started)
                self._started.append(play)
                self._waiting.pop(known_id, None)
            elif change == "stopped" and play.stopped_t is None:
                play.stopped_t = t
            elif change == "cleared" and play.cleared_t is None:
                play.cleared_t = t
            if _is_open(play):
                self._open[known_id] = play
            else:
                self._open.pop(known_id, None)

    def truncated(self, t: int, item_id: str, audio_end_ms: int) -> None:
        """Apply ``conversation.item.truncated``; the last one counts."""
        self.add_item(t, item_id, None, audio=True, characters=0)
        self._items[item_id].truncate = _Truncate(t, audio_end_ms * NS_PER_MS)

    def _play(self, response_id: str) -> _Play:
        return self._plays.setdefault(response_id, _Play())

    # --- queries --------------------------------------------------------------------------------

    def item(self, item_id: str, now: int, *, closed: bool) -> ItemAudio | None:
        """Return the audio facts of an item; None if the server has reported nothing about it.

        Args:
            item_id: The item.
            now: The time of the query, or of the close once the conversation is over.
            closed: Whether the conversation is over.
        """
        item = self._items.get(item_id)
        if item is None:
            return None
        play = item.play
        items = play.audible_items()
        stated = play.started_t is not None or play.cleared_t is not None
        stated = stated or any(member.truncate is not None for member in items)
        if item not in items or not (stated or (self._speaks and item.audio)):
            return None
        heard = self._hear(play, items, now, closed=closed)[items.index(item)]
        return ItemAudio(
            item_id=item_id,
            generated_ms=None,
            heard_ms=heard.heard_ns // NS_PER_MS,
            heard_source=SERVER,
            interrupted=heard.interrupted,
            first_chunk_t=heard.from_t,
            audible_from_t=heard.from_t,
            audible_until_t=heard.until_t,
            whole_ms=heard.whole_ns // NS_PER_MS if heard.whole_ns > heard.heard_ns else None,
        )

    def statement_due(self, item_id: str) -> int:
        """Return until when the server may still report what was heard of an item; 0: nothing to await.

        Applies to an item that is known to have audio, but whose audio does not pass through this
        connection and about whose play-out nothing was reported yet: an event may still end it.
        """
        item = self._items.get(item_id)
        if item is None or not item.audio:
            return 0
        return item.first_t + min(_longest_ns(item.play, item.play.audible_items()), MOST_UNSAID_NS)

    def _hear(self, play: _Play, items: Sequence[_Item], now: int, *, closed: bool) -> list[_Heard]:
        """Return what was heard of each item of a response."""
        start = self._audible_t(play)
        truncates = (item.truncate.t for item in items if item.truncate is not None)
        stops = [*truncates, *(() if play.cleared_t is None else (play.cleared_t,))]
        cut_t = min(stops, default=None)
        if play.stopped_t is not None and (cut_t is None or play.stopped_t <= cut_t):
            start = play.stopped_t if start is None else start
            return _played_out(items, start, play.stopped_t - start)
        if cut_t is not None:
            return _cut(play, items, start, cut_t if play.cleared_t is None else play.cleared_t)
        if start is None:
            return [_unheard(item, now, closed=closed) for item in items]
        following = self._next_start(play)
        if following is not None:
            return _played_out(items, start, min(following - start, _longest_ns(play, items)))
        return (_closed if closed else _playing)(play, items, start, now)

    def _audible_t(self, play: _Play) -> int | None:
        """Return when a response became audible: at its start, but after the one before it."""
        start = play.started_t
        if start is None:
            return None
        for other in self._started[max(play.number - MOST_QUEUED, 0) : play.number]:
            if other.stopped_t is not None:
                start = max(start, other.stopped_t)
            if other.cleared_t is not None and play.cleared_t is not None:
                # One barge-in clears everything that is queued: a waiting response was not heard.
                together = 0 <= play.cleared_t - other.cleared_t <= EVENT_JITTER_NS
                start = max(start, play.cleared_t if together else other.cleared_t)
        return start

    def _next_start(self, play: _Play) -> int | None:
        """Return when the next response started, as the buffer plays responses one after the other."""
        following = self._started[play.number + 1 : play.number + 2]
        return following[0].started_t if following else None


def _is_open(play: _Play) -> bool:
    return play.started_t is not None and play.stopped_t is None and play.cleared_t is None


def _divide(total_ns: int, items: Sequence[_Item]) -> list[int]:
    """Return the share of each item in a duration, by the length of its text."""
    characters = sum(item.characters for item in items)
    if not characters:
        return [total_ns // len(items)] * len(items)
    return [total_ns * item.characters // characters for item in items]


def _spoken_ns(items: Sequence[_Item]) -> int:
    """Return how long the items' texts take at the usual rate of speech; 0 without texts."""
    return sum(item.characters for item in items) * NS_PER_S // CHARACTERS_PER_S


def _longest_ns(play: _Play, items: Sequence[_Item]) -> int:
    """Return the longest time that a response can have played."""
    expected = max(play.tokens_ns, _spoken_ns(items))
    return 2 * expected + 2 * NS_PER_S if expected else LONGEST_NS


def _unheard(item: _Item, now: int, *, closed: bool) -> _Heard:
    """Return an item that was announced but has not started; it counts as interrupted after a wait."""
    due = item.first_t + WAIT_NS
    return _Heard(None, min(due, now) if closed else due, 0, closed or now >= due)


def _played_out(items: Sequence[_Item], start: int, played_ns: int) -> list[_Heard]:
    """Return the items of a response that was played to its end."""
    heard = []
    for item, duration in zip(items, _divide(max(played_ns, 0), items), strict=True):
        kept, interrupted = duration, False
        jitter = min(EVENT_JITTER_NS, duration // 10)
        if item.truncate is not None:  # came afterwards, at a client's request
            kept = _possible(item.truncate.kept_ns, duration)
            interrupted = not is_whole(kept + jitter, duration)
        from_t = start if kept else None
        heard.append(_Heard(from_t, start + min(kept, duration), kept, interrupted, duration))
        start += duration
    return heard


def _possible(kept_ns: int, elapsed_ns: int) -> int:
    """Return how much can have been played: no more than the time that has passed."""
    return kept_ns if kept_ns <= elapsed_ns + EVENT_JITTER_NS else max(elapsed_ns, 0)


def _cut(play: _Play, items: Sequence[_Item], start: int | None, end: int) -> list[_Heard]:
    """Return the items of a response that was cleared or truncated at ``end``."""
    index = _last_truncated(items)
    truncate = None if index is None else items[index].truncate
    if index is None or truncate is None:
        if start is None:
            return [_Heard(None, end, 0, interrupted=True) for _ in items]
        return _cut_by_time(play, items, start, end)
    kept, since = truncate.kept_ns, items[index].first_t if start is None else start
    if since < truncate.t:  # otherwise the item predates this connection
        kept = _possible(kept, end - since)
    from_t = max(end - kept, start or 0) if index or start is None else start
    whole_ns = _divide(play.tokens_ns, items)[index]
    # A truncate close to the estimated end came when nothing was left to play.
    played = whole_ns > 0 and is_whole(kept, whole_ns) and 4 * kept <= 5 * whole_ns
    interrupted = play.cleared_t is not None or not played
    heard = _played_out(items[:index], start, from_t - start) if index and start is not None else []
    heard += [_Heard(None, from_t, 0, interrupted=False) for _ in items[len(heard) : index]]
    until = max(min(from_t + kept, end), from_t)
    heard.append(_Heard(from_t if kept else None, until, kept, interrupted, whole_ns))
    return heard + [_Heard(None, end, 0, interrupted=True) for _ in items[index + 1 :]]


def _last_truncated(items: Sequence[_Item]) -> int | None:
    """Return the index of the item that was playing when the response was truncated; None without one.

    Items queued after it are truncated at 0.
    """
    truncated = [index for index, item in enumerate(items) if item.truncate is not None]
    heard = [index for index in truncated if (items[index].truncate or _NOTHING).kept_ns]
    return heard[-1] if heard else truncated[0] if truncated else None


_NOTHING: Final = _Truncate(0, 0)


def _cut_by_time(play: _Play, items: Sequence[_Item], start: int, end: int) -> list[_Heard]:
    """Return the items of a response that was cut at ``end``, by the times of its events."""
    played_ns = max(end - start, 0)
    estimates = (play.tokens_ns, _spoken_ns(items), played_ns)
    # An estimate below what was played cannot be right.
    durations = _divide(next(ns for ns in estimates if ns >= played_ns), items)
    heard, at = [], start
    for index, duration in enumerate(durations):
        kept = max(min(duration, end - at), 0)
        cut = kept < duration or index == len(items) - 1
        if kept:
            heard.append(_Heard(at, at + kept, kept, cut, duration))
        else:
            heard.append(_Heard(None, end, 0, cut, duration))
        at += duration
    return heard


def _closed(play: _Play, items: Sequence[_Item], start: int, end: int) -> list[_Heard]:
    """Return the items of a response that nothing had ended when the conversation ended."""
    expected = max(play.tokens_ns, _spoken_ns(items))
    if expected and is_whole(end - start, expected):
        return _played_out(items, start, min(end - start, _longest_ns(play, items)))
    return _cut_by_time(play, items, start, end)


def _playing(play: _Play, items: Sequence[_Item], start: int, now: int) -> list[_Heard]:
    """Return the items of a response that is playing: how it ends is not known yet."""
    expected = max(play.tokens_ns, _spoken_ns(items))
    until = start + (expected + WAIT_NS if expected else LONGEST_NS)
    so_far = _cut_by_time(play, items, start, now)
    return [_Heard(heard.from_t, until, heard.heard_ns, interrupted=False) for heard in so_far]
