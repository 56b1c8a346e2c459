"""Transcripts that arrive in fragments: divide them into turns and place them in the recording.

Live sessions and live translation transcribe all the time. A fragment is a few words with a time; no
event ends an utterance, names an item, or says whose turn it is. The rules:

1. A fragment continues its speaker's last utterance, unless the speaker has been silent for a second.
2. A fragment also begins a new utterance after a pause of more than 200 ms in which the other speaker
   began to speak. This rule does not apply where both talk all the time (interpreting).
3. Speech of the other speaker without such a pause (a "yes", both talking at once) ends nobody's turn.
4. An utterance ends at 2,000 characters, and the text after that is the next item of the same turn.
   This limits the text that a ``redact`` hook receives repeatedly.

Times on the session's clock are mapped to the recording by ``session.started``, which arrives when the
clock starts. A sideband joins later; there the fragment with the smallest delay determines the mapping,
because each fragment arrives after the speech that it transcribes. A fragment that seems to arrive much
too early (by more than half a second) is not from a live stream, and is not used for the mapping.
Fragments without a time are placed where they arrived.

Sources: ``types/live/input_transcript_delta_event`` and
``types/realtime/realtime_translation_input_transcript_delta_event`` of the ``openai`` package (3.57).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from otel_realtime.core.protocol.dialects import ARRIVAL, INPUT, SESSION, Dialect, Stream
from otel_realtime.core.protocol.events import Event
from otel_realtime.core.protocol.items import Place
from otel_realtime.core.protocol.json_values import milliseconds
from otel_realtime.core.protocol.messages import NS_PER_MS
from otel_realtime.core.protocol.partials import Partial

#: A speaker who is silent for this long has ended the turn.
SILENCE_MS: Final = 1_000
#: A speaker who pauses for at most this long keeps the turn.
BREATH_MS: Final = 200
#: Number of characters at which an item is complete.
LONGEST: Final = 2_000
#: Margin around a text that is silenced in the recording: with exact times, and with arrival times.
AROUND_MS: Final = 300
AROUND_ARRIVAL_MS: Final = 1_000
#: Maximum number of pauses remembered.
MOST_PAUSES: Final = 1_024
#: Assumed maximum variation of the delay of network and transcription.
SPREAD_NS: Final = 500 * NS_PER_MS
#: Maximum number of items whose places are remembered. Text is stored within a second, so few are needed.
MOST_KEPT: Final = 64
#: Eleven days: a longer time is not a position in a call, and could overflow when converted to ns.
_MAX_MS: Final = 10**9

#: Role of the speaker -> type of the delta that a fragment is converted to.
_AS: Final = {
    "user": "conversation.item.input_audio_transcription.delta",
    "assistant": "response.output_audio_transcript.delta",
}


@dataclass(slots=True)
class _Utterance:
    """The last utterance of a speaker; times are in ms on the stream's clock.

    Attributes:
        item_id: Id of its item.
        start: Its start.
        end: Its end.
        stream: The stream that it is a part of.
        came_t: When its first and its last fragment arrived, in ns since the start.
        after_silence: Whether its speaker had been silent before it.
        length: Its length in characters.
    """

    item_id: str
    start: int
    end: int
    stream: Stream
    came_t: tuple[int, int]
    after_silence: bool
    length: int = 0


class Fragments:
    """The transcripts of one conversation.

    Args:
        dialect: The dialect of the conversation; one without ``streams`` has no fragments.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._latest: dict[str, _Utterance] = {}  # by role
        self._by_item: dict[str, _Utterance] = {}
        self._count = 0
        self._sessions = 0
        self._origin_t: int | None = None  # when the session's clock was 0
        self._anchored = False  # ``_origin_t`` is known exactly
        self._pauses: deque[tuple[int, int | None]] = deque(maxlen=MOST_PAUSES)

    def began(self, t: int) -> None:
        """Note that a session began at ``t`` ns since the start; each session's clock starts at 0."""
        self._sessions += 1
        if self._sessions > 1:
            self._latest.clear()
            self._origin_t = None
        if self._dialect.begins_session:
            self._origin_t, self._anchored = t, True

    def pause(self, t: int) -> None:
        """Note that a pause of the recording begins; later speech becomes a new item."""
        self._latest.clear()
        self._pauses.append((t, None))

    def resume(self, t: int) -> None:
        """Note that a pause of the recording ends; later speech becomes a new item."""
        self._latest.clear()
        if self._pauses and self._pauses[-1][1] is None:
            self._pauses[-1] = self._pauses[-1][0], t

    def hides(self, item_id: object) -> bool:
        """Return whether an item was said during a pause, even if its text arrived later."""
        said = self._by_item.get(item_id) if isinstance(item_id, str) else None
        if said is None:
            return False
        start, end = self._in_recording(said)
        return any(
            start < (end if until is None else until) and since < max(end, start + 1)
            for since, until in self._pauses
        )

    def silenced(self, item_id: str) -> tuple[str, list[int | None]] | None:
        """Return who spoke an item, and its place as the recording logs it; None if it has no fragments."""
        said = self._by_item.get(item_id)
        if said is None:
            return None
        side = "user" if said.stream.role == "user" else "agent"
        place: list[int | None] = [*self._in_recording(said)]
        appended = said.stream.clock == INPUT
        place += [said.start, said.end] if appended else [None, None]
        around = AROUND_ARRIVAL_MS if said.stream.clock == ARRIVAL else AROUND_MS
        return side, [*place, around]

    def read(self, delta: Event, t: int) -> Event | None:
        """Convert a fragment to a delta of an item.

        Args:
            delta: The fragment.
            t: When it arrived, in ns since the start.

        Returns:
            A delta as a Realtime server sends it; None if ``delta`` is not a fragment or has no text.
        """
        stream, text = self._dialect.streams.get(delta["type"]), delta.get("delta")
        if stream is None or not isinstance(text, str) or not text:
            return None
        start, end = self._times(delta, stream, t)
        said = self._latest.get(stream.role)
        if said is None or not self._goes_on(said, start, end):
            said = self._begin(stream, start, end, t)
        said.start, said.end = min(said.start, start), max(said.end, end)
        said.came_t = said.came_t[0], max(said.came_t[1], t)
        text = text if said.length else text.lstrip()
        said.length += len(text)
        if not text:
            return None
        return {"type": _AS[stream.role], "item_id": said.item_id, "delta": text}

    def placed(self, partial: Partial) -> Partial:
        """Return the text so far of an item, with its place if the item is made of fragments."""
        said = self._by_item.get(partial.item_id)
        if said is None:
            return partial
        start_t, end_t = self._in_recording(said)
        appended = (said.start, said.end) if said.stream.clock == INPUT else (None, None)
        place = Place(start_t, end_t, said.after_silence, *appended)
        return replace(partial, text=partial.text.rstrip(), place=place)

    def _observe(self, t: int, start: int, end: int) -> None:
        """Estimate from a fragment when the session's clock was 0, if that is not known exactly."""
        if self._anchored:
            return
        # The socket reports nothing that was said before it opened: ``start`` is not before that.
        origin = max(t - end * NS_PER_MS, -start * NS_PER_MS)
        if self._origin_t is None or 0 < self._origin_t - origin <= SPREAD_NS:
            self._origin_t = origin

    def _times(self, delta: Event, stream: Stream, t: int) -> tuple[int, int]:
        end = milliseconds(delta.get(stream.end))
        if end is None or end > _MAX_MS:
            # Without a time: its arrival, converted to the clock of the other fragments.
            origin = self._origin_t if stream.clock == SESSION else None
            end = max(t - (origin or 0), 0) // NS_PER_MS
            return end, end
        start = milliseconds(delta.get(stream.start))
        if start is None or stream.start == stream.end:
            start = end - stream.step_ms
        start = max(min(start, end), 0)
        if stream.clock == SESSION:
            self._observe(t, start, end)
        return start, end

    def _goes_on(self, said: _Utterance, start: int, end: int) -> bool:
        pause = start - said.end
        if pause >= SILENCE_MS or said.length >= LONGEST:
            return False
        if not self._dialect.takes_floor or pause <= BREATH_MS:
            return True
        others = (each for role, each in self._latest.items() if role != said.stream.role)
        return not any(said.end <= other.start <= start for other in others)

    def _begin(self, stream: Stream, start: int, end: int, t: int) -> _Utterance:
        before = self._latest.get(stream.role)
        silent = before is not None and start - before.end >= SILENCE_MS
        self._count += 1
        # Not an id from the wire, where these texts have none.
        item_id = f"said_{self._count}"
        said = _Utterance(item_id, start, end, stream, (t, t), silent)
        self._latest[stream.role] = self._by_item[item_id] = said
        if len(self._by_item) > MOST_KEPT:
            del self._by_item[next(iter(self._by_item))]
        return said

    def _in_recording(self, said: _Utterance) -> tuple[int, int]:
        """Return start and end of an utterance, in ns since the start."""
        if said.stream.clock != SESSION or self._origin_t is None:
            return said.came_t
        start = max(self._origin_t + said.start * NS_PER_MS, 0)
        return start, max(self._origin_t + said.end * NS_PER_MS, start)
