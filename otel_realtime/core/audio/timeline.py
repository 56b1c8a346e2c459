"""The recording's timeline: who was heard when, derived from journal records.

The same records drive it during the call and when the recording is rendered, so both agree, and a
correction (a late truncate, a refusal) costs nothing. It combines
:mod:`otel_realtime.core.audio.user_side`, which places the user's audio, and
:mod:`otel_realtime.core.audio.agent_side`, which decides what was heard of the agent.

A record is ``[kind, t, ...]``; ``t`` is in ns since the start of the conversation and never
decreases. Offsets and sizes are bytes of the side's source; ``quiet`` is 1 for audio without voice
(``user``) or with zeros only (``tap`` of the agent). Records of other kinds are ignored::

    ["buffered", t, ms]                                            the assumed buffer of the player
    ["user", t, offset, size, quiet?]                              the client appended audio
    ["agent", t, offset, size, item_id, content_index, response_id, start_ms?]    a chunk arrived
    ["format", t, side, {"type", "rate"}]                          the side's format from now on
    ["hole", t, side, size]                                        audio that was not kept
    ["truncate", t, item_id, content_index, audio_end_ms, event_id]    the client's claim
    ["truncated", t, item_id, content_index, audio_end_ms]         the server's report
    ["delete", t, item_id, event_id]   ["deleted", t, item_id]     likewise for a delete
    ["refused", t, event_id, item_id]                              the server refused a claim
    ["speech", t, interrupts, audio_start_ms?, item_id?, prefix_ms?]   .speech_started of the input
    ["speech_end", t, audio_end_ms, item_id?, silence_ms?]         .speech_stopped of the input
    ["item", t, item_id, response_id, audio, characters]           an item of the agent was announced
    ["tokens", t, response_id, audio_tokens]                       response.done
    ["buffer", t, "started" | "stopped" | "cleared", response_id]  output_audio_buffer.*
    ["clear", t]                                                   output_audio_buffer.clear was sent
    ["cancel", t]                                                  response.cancel was sent
    ["flushed", t]                                                 the cancel did cut: the call continued
    ["tap", t, side, offset, size, item_id?, quiet?]               the app passed what it plays or hears
    ["tap_format", t, side, {"type", "rate"}]                      the format of the tap from now on
    ["played", t, item_id, content_index, audio_ms]                the app reported a position
    ["commit", t, "sent" | "cleared" | "refused" | "done", item_id?]   input_audio_buffer.commit*
    ["commit", t, "server", item_id]                               the server committed by itself
    ["reset", t]                                                   a new server session began
    ["pause", t]   ["resume", t]                                   nothing is recorded between them
    ["redact", t, start_ns, end_ns, side | null, how, why]         silenced afterwards
    ["words", t, side, item_id, from_ms | null, to_ms | null, "partial" | "complete" | null]
                                                                   words of an item are silenced
    ["spoken", t, side, item_id, start_ns, end_ns, from_ms?, to_ms?, around_ms?]
                                                                   where an item in fragments is
    ["given", t]                                                   the app provides the times from now on
    ["leap", t]                                                    the app's times jumped forward
    ["lost", t]                                                    the connection closed
    ["regained", t]                                                another connection continues
    ["close", t, by_client]                                        the conversation ended

Its own rules:

1. An item whose audio has arrived is judged by that audio, any other item by the server's own
   statements: :mod:`otel_realtime.core.audio.server_buffer`. Likewise for the user's audio:
   :mod:`otel_realtime.core.audio.session_clock`.
2. From the first buffer of the user's audio that the app passes, the tap replaces the wire.
3. Both sides are silent while the recording is paused.
4. Silencing audio afterwards (:mod:`otel_realtime.core.audio.redactions`) changes nothing else.
   A stretch may be redacted even after the close: by a command, in a recording that awaits delivery.
5. Hearing ends with the call, even if the user sends no audio: what is queued at the close is cut. An
   app that waits for the end of the play-out closes after it, and a tap itself states what was played.
   If the app's times jumped forward, the real time that passed is unknown: what was queued was heard.
6. Audio without an item (``item_id`` empty: Live sessions, live translation) arrives all the time,
   including silence. So it does not show that the agent is speaking. With a position on the session's
   clock (``start_ms``) it is placed by that: :mod:`otel_realtime.core.audio.stream`.
7. Nothing was said after the end either: audio that the client sent faster than it can have been spoken
   (a file) ends with the call. There are two exceptions. If the app provides the times, the close is
   not a moment in real time. If the journal has no close, the time of the close is unknown.
8. Audio that was queued when a connection was lost is still played. If no other connection continues,
   the call ended with the loss, however much later that becomes known, and nothing was heard after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from otel_realtime.core.audio.agent_side import Playback
from otel_realtime.core.audio.commits import Commits
from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S, PCM16, parse_format
from otel_realtime.core.audio.parts import ESTIMATED, SERVER, ItemAudio
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.redactions import PARTIAL, Redactions, Stretch, Words
from otel_realtime.core.audio.room import Room
from otel_realtime.core.audio.segments import (
    Interval,
    Segment,
    clip_to_intervals,
    exclude_intervals,
    order_without_overlap,
)
from otel_realtime.core.audio.server_buffer import ServerBuffer
from otel_realtime.core.audio.session_clock import SPREAD_NS, SessionClock
from otel_realtime.core.audio.spoken import SpokenItems
from otel_realtime.core.audio.stream import SessionStream
from otel_realtime.core.audio.user_side import UserPlacement
from otel_realtime.core.audio.vad_reports import Report, Reported, VadReports

#: The recording ends at most this long after the last sound: one hour.
MAX_SILENCE_NS: Final = 3_600 * NS_PER_S
#: Replaying this many entries of the player's log takes less than a millisecond.
CHEAP_REPLAY: Final = 256
#: End of a pause that has not ended.
FOREVER_NS: Final = 2**63


class Timeline:
    """Who was heard when in one conversation. Pure: it changes only by :meth:`apply` and :meth:`finish`.

    Attributes:
        last_t: Time of the latest record.
        close_t: When the conversation ended; None while it continues.
    """

    def __init__(self) -> None:
        self.last_t = 0
        self.close_t: int | None = None
        self._room = Room()
        self._user = UserPlacement(self._room)
        self._user_tap: UserPlacement | None = None
        self._user_tap_t = FOREVER_NS  # from when on the user's tap replaces the wire
        self._agent = Player()
        self._playback = Playback(self._agent)
        self._stream = SessionStream()
        self._server = ServerBuffer()
        self._session_clock = SessionClock()
        self._commits = Commits()
        self._spoken = SpokenItems(self._user, self._session_clock)
        self._agent_formats = {False: PCM16, True: PCM16}  # whether of the tap -> format
        self._vad = VadReports()
        self._redactions = Redactions()
        self._places: dict[tuple[str, str], Callable[[], Interval | None]] = {}
        self._pauses: list[Interval] = []
        self._paused_t: int | None = None
        self._applied = 0  # records since the last refresh
        self._given = False  # whether the app provides the times
        self._limit_t: int | None = None  # nothing was said after this time
        self._heard_until_t = 0  # end of what was queued when the app's times jumped forward
        self._lost_t: int | None = None  # since when no connection carries the conversation

    def apply(self, record: Sequence[Any]) -> None:
        """Apply one record; after ``close``, only ``redact`` records have an effect."""
        handler = _HANDLERS.get(record[0])
        if handler is None:
            return
        if self.close_t is not None:
            if record[0] == "redact":
                handler(self, *record[1:])
            return
        self._applied += 1
        self.last_t = max(self.last_t, record[1])  # a damaged journal may go back in time
        handler(self, *record[1:])

    def refresh(self, *, at_once: bool = False) -> bool:
        """Apply evidence that came late, so that the next queries are quick.

        Much work is put off until enough records have come that it costs each of them little. A query
        does the work in any case.

        Args:
            at_once: Do not put the work off.

        Returns:
            Whether no work is put off.
        """
        if not at_once and self._agent.stale > max(CHEAP_REPLAY, 4 * self._applied):
            return False
        self._agent.refresh()
        self._applied = 0
        return True

    def finish(self) -> None:
        """End a conversation without a ``close`` record at its last record, or at a connection loss."""
        if self.close_t is None and self._lost_t is not None:
            self._close(self.last_t)
        elif self.close_t is None:
            self._end(self.last_t)

    # --- queries --------------------------------------------------------------------------------

    def segments(self, side: str) -> list[Segment]:
        """Return what was heard of ``user`` or ``agent``, in order and without overlap.

        The user's pending frames, whose look-ahead has not passed yet, are not included.
        """
        segments = self._user_segments() if side == "user" else self._agent_segments()
        # Audio of a pause is never stored, but audio that was queued before it may extend into it.
        pauses = self.pauses
        return exclude_intervals(segments, pauses) if pauses else segments

    @property
    def pauses(self) -> list[Interval]:
        """When the recording was paused, in order; a pause that has not ended ends at ``FOREVER_NS``."""
        pauses = list(self._pauses)
        if self._paused_t is not None:
            pauses.append((self._paused_t, FOREVER_NS))
        return pauses

    def item(self, item_id: str) -> ItemAudio | None:
        """Return the audio facts of one of the agent's items; None if it has no audio."""
        received = self._playback.item(item_id, self._now)
        if received is not None:
            return received
        return self._server.item(item_id, self._now, closed=self.close_t is not None)

    def statement_due(self, item_id: str) -> int:
        """Return until when an item's unknown heard time may still be stated; 0: it is not pending."""
        return self._server.statement_due(item_id)

    def user_time(self, audio_ms: int) -> int | None:
        """Return when the audio at the server's ``audio_start_ms`` or ``audio_end_ms`` was spoken.

        The server counts the audio appended in its session, not wall time.
        """
        if self._user.last_sent_t is None:
            return self._session_clock.time(audio_ms)
        return self._within_call(self._user.session_time(audio_ms))

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """Return the start and end of an item that the client itself committed."""
        span = self._commits.of(item_id)
        times = None if span is None else self._user.times(span)
        if times is None or self._limit_t is None:
            return times
        return min(times[0], self._limit_t), min(times[1], self._limit_t)

    def user_reports(self) -> list[Reported]:
        """Return when the server's VAD says that the user speaks, in order."""
        return [self._reported(report) for report in self._vad.reports]

    def user_report(self, item_id: str) -> Reported | None:
        """Return the VAD's report of one item; None without one, or if the audio was not sent here.

        In the latter case only the session's clock knows when it was spoken: see :meth:`user_time`.
        """
        report = self._vad.of(item_id)
        elsewhere = self._user.last_sent_t is None
        return None if report is None or elsewhere else self._reported(report)

    def _reported(self, report: Report) -> Reported:
        if self._user.last_sent_t is None:  # times are those of the events, which may come late
            end = self._now if report.end_ns is None else report.end_ns
            return Reported((max(report.start_ns - SPREAD_NS, 0), end), None, None)
        user, (start, end_ns) = self._user, report.speech
        until = user.appended_ns if report.end_ns is None else report.end_ns
        within = user.times((report.start_ns, until)) or (0, 0)
        # 1 ns later, so that audio after a gap gets its own start, not the end of the audio before it.
        start_t = None if start is None else self._within_call(user.time_at(start + 1))
        start_t = None if start_t is None else max(start_t - 1, 0)
        end_t = None if end_ns is None else self._within_call(user.time_at(end_ns))
        limit = self._now if self._limit_t is None else self._limit_t
        return Reported((min(within[0], limit), min(within[1], limit)), start_t, end_t)

    def user_silences(self) -> list[Interval]:
        """Return when the user does not talk according to the server's VAD, which reported nothing.

        Stretches that the server committed without a report are excluded: they may be talk.
        """
        silences = [
            (start, FOREVER_NS if end is None else end) for start, end in self._vad.silent_from
        ]
        for unheard in self._vad.unheard:
            times = unheard if self._user.last_sent_t is None else self._user.times(unheard)
            if times is not None:
                silences = [
                    piece
                    for start, end in silences
                    for piece in ((start, min(end, times[0])), (max(start, times[1]), end))
                    if piece[0] < piece[1]
                ]
        return silences

    def user_time_at(self, audio_ns: int, *, tap: bool = False) -> int | None:
        """Return when the audio at a position in a whole source was spoken.

        Args:
            audio_ns: Position in ns.
            tap: Whether the source is the app's tap; otherwise it is what the client appended.
        """
        side = self._user_tap if tap else self._user
        return None if side is None else self._within_call(side.time_at(audio_ns))

    def redacted(self) -> list[Stretch]:
        """Return the silenced stretches of the recording, in order."""
        if not self._redactions:
            return []
        of_agent = self._playback.places(self._now)

        def locate(words: Words) -> Interval | None:
            place = self._places.get((words.side, words.item_id))
            if place is not None:
                return place()
            if words.side == "agent":
                return of_agent(words.item_id)
            return self._spoken.place(words.item_id, words.from_ms, words.to_ms, self._now)

        return self._redactions.stretches(locate, self.length_ns)

    def placed(self, side: str) -> list[Segment]:
        """Return all audio of a side that has a place in time, even if the recording does not contain it.

        Audio that the app passed replaces that on the wire, but both are on disk.
        """
        if side == "user":
            tapped = self._user_tap.segments if self._user_tap is not None else []
            return [*self._user.segments, *(replace(segment, tap=True) for segment in tapped)]
        streamed = self._stream.segments()
        return [*self._agent.segments(), *streamed, *self._playback.audio.segments]

    @property
    def user_is_tapped(self) -> bool:
        """Whether the user's side comes from the app's tap."""
        return self._user_tap_t != FOREVER_NS

    @property
    def tap_rejected(self) -> bool:
        """Whether a tap of the agent's side ran ahead of the clock and is not used."""
        return self._playback.rejected

    @property
    def player_buffer_ns(self) -> int | None:
        """How much the client's player buffers, as the call has shown; None if it has not."""
        return self._agent.buffer_ns

    @property
    def length_ns(self) -> int:
        """Length of the recording: the close, or the end of the last kept audio if that is later.

        At most an hour of silence at the end is included, whatever the records claim.
        """
        heard_ns = self._heard_end_ns()
        return max(min(self._now, heard_ns + MAX_SILENCE_NS), heard_ns)

    @property
    def cut_ns(self) -> int:
        """How much silence at the end was left out; 0 if nothing was."""
        return max(self._now - self._heard_end_ns() - MAX_SILENCE_NS, 0)

    def _heard_end_ns(self) -> int:
        user = self._user_segments()
        agent_end_ns = self._playback.end_ns(self._now)
        if self._stream:
            agent_end_ns = max(agent_end_ns, min(self._stream.end_ns, self._now))
        if self.close_t is not None and self._lost_t is not None:
            agent_end_ns = min(agent_end_ns, self.close_t)
        return max(user[-1].end_ns if user else 0, agent_end_ns)

    @property
    def _now(self) -> int:
        return self.last_t if self.close_t is None else self.close_t

    def _within_call(self, t: int | None) -> int | None:
        """Return a time of the user's audio, but no later than ``_limit_t``."""
        return t if t is None or self._limit_t is None else min(t, self._limit_t)

    @property
    def unsaid_ns(self) -> int:
        """How much of the user's audio is left out because the call ended before it was spoken."""
        said = self._placed_user_segments()
        return max(said[-1].end_ns - self._limit_t, 0) if said and self._limit_t is not None else 0

    def _user_segments(self) -> list[Segment]:
        segments = self._placed_user_segments()
        if self._limit_t is None or not segments or segments[-1].end_ns <= self._limit_t:
            return segments
        return clip_to_intervals(segments, [(0, self._limit_t)])

    def _placed_user_segments(self) -> list[Segment]:
        if self._user_tap is None:
            return self._user.segments
        sent = clip_to_intervals(self._user.segments, [(0, self._user_tap_t)])
        tapped = (replace(segment, tap=True) for segment in self._user_tap.segments)
        return order_without_overlap([*sent, *tapped])

    def _agent_segments(self) -> list[Segment]:
        segments = self._playback.segments(self._now)
        if self.close_t is not None and self._lost_t is not None:
            segments = clip_to_intervals(segments, [(0, self.close_t)])  # a tap may have continued
        if not self._stream:
            return segments
        # A tap has priority, also over the audio that the server reflects.
        tapped_t = self._playback.tapped_t
        end = self._now if tapped_t is None else min(tapped_t, self._now)
        streamed = clip_to_intervals(self._stream.segments(), [(0, end)])
        return order_without_overlap([*segments, *streamed])

    # --- records --------------------------------------------------------------------------------

    def _buffered(self, t: int, ms: int) -> None:
        self._agent.assume(ms * NS_PER_MS)

    def _user_frame(self, t: int, offset: int, size: int, quiet: object = None) -> None:
        self._user.append(t, offset, size, quiet=bool(quiet))

    def _agent_chunk(
        self,
        t: int,
        offset: int,
        size: int,
        item_id: str,
        content_index: int,
        response_id: str | None,
        start_ms: int | None = None,
    ) -> None:
        if start_ms is not None:
            self._stream.add(t, offset, size, start_ms)
            return
        self._agent.add_chunk(t, offset, size, item_id, content_index, response_id)
        if item_id:
            self._sounds(t, size)

    def _sounds(self, t: int, size: int, *, tap: bool = False) -> None:
        if self._room.add(t, self._agent_formats[tap].duration_ns(size), tap=tap):
            self._user.answered(t)

    def _format(self, t: int, side: str, value: object) -> None:
        audio_format = parse_format(value)
        if audio_format is not None:
            (self._user if side == "user" else self._agent).set_format(audio_format)
            if side == "agent":
                self._stream.set_format(audio_format)
                self._agent_formats[False] = audio_format

    def _hole(self, t: int, side: str, size: int) -> None:
        if side == "user":
            self._user.append_lost(t, size)
        else:
            self._agent.add_lost(t, size)

    def _truncate(
        self, t: int, item_id: str, content_index: int, audio_end_ms: int, event_id: str | None
    ) -> None:
        self._agent.truncate(item_id, content_index, audio_end_ms, event_id, by_client=True, t=t)
        self._playback.cut(t)  # a client that truncates has flushed its speaker

    def _truncated(self, t: int, item_id: str, content_index: int, audio_end_ms: int) -> None:
        # Only confirms a claim, or comes from a server that owns the buffer and has cut it itself.
        self._agent.truncate(item_id, content_index, audio_end_ms, None, by_client=False)
        self._server.truncated(t, item_id, audio_end_ms)

    def _delete(self, t: int, item_id: str, event_id: str | None) -> None:
        self._agent.delete(t, item_id, event_id, by_client=True)
        self._playback.cut(t)

    def _deleted(self, t: int, item_id: str) -> None:
        self._agent.delete(t, item_id, None, by_client=False)

    def _refused(self, t: int, event_id: str | None, item_id: str | None) -> None:
        self._agent.refuse(event_id, item_id)

    def _speech(
        self,
        t: int,
        interrupts: bool,
        audio_start_ms: int | None = None,
        item_id: str | None = None,
        prefix_ms: int | None = None,
    ) -> None:
        if audio_start_ms is not None:
            self._session_clock.add(t, audio_start_ms)
            self._user.detected = True
            self._vad.started(item_id, self._spoken.position(t, audio_start_ms), prefix_ms)
            if item_id is not None:
                self._spoken.started(item_id, t, audio_start_ms)
        if interrupts:
            self._cut(t)

    def _speech_end(
        self,
        t: int,
        audio_end_ms: int,
        item_id: str | None = None,
        silence_ms: int | None = None,
    ) -> None:
        self._session_clock.add(t, audio_end_ms)
        self._vad.stopped(item_id, self._spoken.position(t, audio_end_ms), silence_ms)
        if item_id is not None:
            self._spoken.stopped(item_id, t, audio_end_ms)

    def _item(
        self, t: int, item_id: str, response_id: str | None, audio: object, characters: int
    ) -> None:
        self._server.add_item(t, item_id, response_id, audio=bool(audio), characters=characters)

    def _tokens(self, t: int, response_id: str, audio_tokens: int) -> None:
        self._server.add_tokens(response_id, audio_tokens)

    def _buffer(self, t: int, change: str, response_id: str | None) -> None:
        self._server.change(t, change, response_id)
        if change == "cleared":
            self._cut(t, SERVER, response_id)
        elif response_id is not None and change == "started":
            self._agent.buffer_started(t, response_id)
        elif response_id is not None and change == "stopped":
            self._agent.buffer_stopped(response_id)

    def _clear(self, t: int) -> None:
        self._cut(t)

    def _cancel(self, t: int) -> None:
        self._agent.cancel(t)

    def _flushed(self, t: int) -> None:
        self._agent.confirm_cancels()

    def _cut(self, t: int, source: str = ESTIMATED, response_id: str | None = None) -> None:
        self._agent.cut(t, source, response_id)
        self._playback.cut(t)
        self._room.cut(t)

    def _tap(
        self,
        t: int,
        side: str,
        offset: int,
        size: int,
        item_id: str | None = None,
        quiet: object = None,
    ) -> None:
        if side == "agent":
            self._playback.add_audio(t, offset, size, item_id, zeros=bool(quiet))
            if not quiet:
                self._sounds(t, size, tap=True)
        else:
            tap = self._start_user_tap()
            tap.append(t, offset, size, quiet=bool(quiet))
            if self._user_tap_t == FOREVER_NS:
                # The first buffer was spoken before the app passed it.
                self._user_tap_t = t - tap.appended_ns

    def _tap_format(self, t: int, side: str, value: object) -> None:
        audio_format = parse_format(value)
        if audio_format is None:
            return
        if side == "agent":
            self._playback.set_tap_format(audio_format)
            self._agent_formats[True] = audio_format
        else:
            self._start_user_tap().set_format(audio_format)

    def _start_user_tap(self) -> UserPlacement:
        if self._user_tap is None:
            self._user_tap = UserPlacement()
        return self._user_tap

    def _played(self, t: int, item_id: str, content_index: int, audio_ms: float) -> None:
        self._playback.report(t, item_id, content_index, int(audio_ms * NS_PER_MS))

    def _commit(self, t: int, change: str, item_id: str | None = None) -> None:
        if change in ("sent", "server"):
            self._vad.committed(self._spoken.position(t))
        if change == "sent":
            self._commits.commit(self._user.appended_ns)
        elif change == "cleared":
            self._commits.clear(self._user.appended_ns)
        elif change == "refused":
            self._commits.refuse()
        elif change == "done" and item_id is not None:
            self._commits.committed(item_id)
            span = self._commits.of(item_id)
            if span is not None:
                self._spoken.committed(item_id, span)
        elif change == "server" and item_id is not None:
            self._spoken.named(item_id, t, whole=True)

    def _reset(self, t: int) -> None:
        self._user.reset()
        self._stream.reset()
        self._commits.reset(self._user.appended_ns)
        self._session_clock.reset()
        self._vad.reset(t)

    def _pause(self, t: int) -> None:
        if self._paused_t is None:
            self._paused_t = t

    def _resume(self, t: int) -> None:
        if self._paused_t is not None:
            self._pauses.append((self._paused_t, t))
            self._paused_t = None

    def _redact(self, t: int, start_ns: int, end_ns: int, *about: object) -> None:
        self._redactions.add(start_ns, end_ns, *about)

    def _words(
        self,
        t: int,
        side: str,
        item_id: str,
        from_ms: int | None,
        to_ms: int | None,
        text: object,
    ) -> None:
        if side == "user":
            self._spoken.named(item_id, t, whole=text != PARTIAL)
        self._redactions.add_words(Words(side, item_id, from_ms, to_ms), text)

    def _item_spoken(
        self,
        t: int,
        side: str,
        item_id: str,
        start_ns: int,
        end_ns: int,
        from_ms: int | None = None,
        to_ms: int | None = None,
        around_ms: int = 0,
    ) -> None:
        around = around_ms * NS_PER_MS
        # Audio that has arrived but not been played yet may belong to the item, too.
        queued = max(end_ns, self._agent.due_ns) if side == "agent" else end_ns

        def place() -> Interval:
            start, end = start_ns, queued
            if from_ms is not None and to_ms is not None:  # appended positions are best
                appended = self.user_time(from_ms), self.user_time(to_ms)
                start = start if appended[0] is None else appended[0]
                end = end if appended[1] is None else appended[1]
            return max(start - around, 0), end + around

        self._places[side, item_id] = place

    def _use_given_times(self, t: int) -> None:
        self._given = True

    def _jump(self, t: int) -> None:
        self._heard_until_t = max(self._heard_until_t, self._agent.end_ns)

    def _lose(self, t: int) -> None:
        self._lost_t = t

    def _regain(self, t: int) -> None:
        self._lost_t = None
        self._reset(t)

    def _close(self, t: int, by_client: object = None) -> None:
        t = t if self._lost_t is None else self._lost_t
        self._limit_t = None if self._given else t
        self._end(t)

    def _end(self, t: int) -> None:
        self.close_t = t
        for side in (self._user, self._user_tap):
            if side is not None:
                side.finish()
        self._cut(max(t, self._heard_until_t))


#: Kind of a record -> its handler; the arguments are the elements after the kind.
_HANDLERS: Final[Mapping[str, Callable[..., None]]] = {
    "buffered": Timeline._buffered,
    "user": Timeline._user_frame,
    "agent": Timeline._agent_chunk,
    "format": Timeline._format,
    "hole": Timeline._hole,
    "truncate": Timeline._truncate,
    "truncated": Timeline._truncated,
    "delete": Timeline._delete,
    "deleted": Timeline._deleted,
    "refused": Timeline._refused,
    "speech": Timeline._speech,
    "speech_end": Timeline._speech_end,
    "item": Timeline._item,
    "tokens": Timeline._tokens,
    "buffer": Timeline._buffer,
    "clear": Timeline._clear,
    "cancel": Timeline._cancel,
    "flushed": Timeline._flushed,
    "tap": Timeline._tap,
    "tap_format": Timeline._tap_format,
    "played": Timeline._played,
    "commit": Timeline._commit,
    "reset": Timeline._reset,
    "pause": Timeline._pause,
    "resume": Timeline._resume,
    "redact": Timeline._redact,
    "spoken": Timeline._item_spoken,
    "words": Timeline._words,
    "given": Timeline._use_given_times,
    "leap": Timeline._jump,
    "lost": Timeline._lose,
    "regained": Timeline._regain,
    "close": Timeline._close,
}
