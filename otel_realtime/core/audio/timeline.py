"""The recording's timeline, from the journal's records.

The same records drive it while the call goes on and when the recording is rendered, so both say
the same. A record is ``[kind, t, ...]``; times never go back. Kinds that are not the timeline's
are ignored::

    ["user", t, offset, size, quiet?]                              the client appended audio
    ["agent", t, offset, size, item_id, content_index, response_id]  a chunk of audio arrived
    ["format", t, side, {"type", "rate"}]                          that side's format from here on
    ["hole", t, side, size]                                        audio that was not kept
    ["truncate", t, item_id, content_index, audio_end_ms, event_id]  claimed by the client
    ["truncated", t, item_id, content_index, audio_end_ms]         said by the server
    ["delete", t, item_id, event_id]   ["deleted", t, item_id]     likewise
    ["refused", t, event_id, item_id]                              a claim did not hold
    ["speech", t, interrupts]                                      the server heard the user begin
    ["buffer", t, "started" | "stopped" | "cleared", response_id]  the server's output buffer
    ["clear", t]                                                   the client clears that buffer
    ["tap", t, side, offset, size, item_id?, quiet?]               the app gave what it plays or hears
    ["tap_format", t, side, {"type", "rate"}]                      how that is to be read from here on
    ["played", t, item_id, content_index, audio_ms]                the app says how far it has played
    ["reset", t]                                                   a new server session began
    ["pause", t]   ["resume", t]                                   nobody is recorded in between
    ["close", t, by_client]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from otel_realtime.core.audio.agent_side import Playback
from otel_realtime.core.audio.formats import NS, parse_format
from otel_realtime.core.audio.parts import BY_SERVER, ESTIMATED, ItemAudio
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.segments import Segment, in_order, within, without
from otel_realtime.core.audio.user_side import UserPlacement

__all__ = ["ItemAudio", "Timeline"]

HANG_UP_NS: Final = 2 * NS
"""A microphone that sent within this time before the close belongs to a live caller."""
FOREVER_NS: Final = 2**63
"""The end of a pause that nobody ended."""


class Timeline:
    """Who was heard when; pure, driven by :meth:`apply`.

    Attributes:
        last_t: time of the latest record.
        close_t: when the conversation ended; None while it goes on.
    """

    def __init__(self) -> None:
        self.last_t = 0
        self.close_t: int | None = None
        self._user = UserPlacement()
        self._user_tap: UserPlacement | None = None
        self._user_tap_t = FOREVER_NS
        self._agent = Player()
        self._playback = Playback(self._agent)
        self._pauses: list[tuple[int, int]] = []
        self._paused_t: int | None = None

    def apply(self, record: Sequence[Any]) -> None:
        """Take in one record; after ``close`` nothing changes any more."""
        rule = _RULES.get(record[0])
        if rule is None or self.close_t is not None:
            return
        self.last_t = max(self.last_t, record[1])
        rule(self, *record[1:])

    def finish(self) -> None:
        """End a conversation whose journal has no ``close``, at its last record."""
        if self.close_t is None:
            self._close(self.last_t)

    # --- facts ----------------------------------------------------------------------------------

    def segments(self, side: str) -> list[Segment]:
        """What was heard of ``user`` or ``agent``, in order and without overlap.

        Frames of the user that are still waiting for their look-ahead are not among them, nor is
        anything that sounded while the recording was paused.
        """
        segments = self._user_segments() if side == "user" else self._playback.segments(self._now)
        pauses = list(self._pauses)
        if self._paused_t is not None:
            pauses.append((self._paused_t, FOREVER_NS))
        return without(segments, pauses) if pauses else segments

    def item(self, item_id: str) -> ItemAudio | None:
        """The audio of one of the agent's items; None if it has none."""
        return self._playback.item(item_id, self._now)

    def user_time(self, audio_ms: int) -> int | None:
        """When the audio at ``audio_start_ms`` or ``audio_end_ms`` of the server was spoken.

        The server counts the audio appended in its session, not time.
        """
        return self._user.session_time(audio_ms)

    def user_time_at(self, audio_ns: int, *, tap: bool = False) -> int | None:
        """When the audio at a position in all that was ever appended, or given, was spoken."""
        if tap:
            return self._user_tap.time_at(audio_ns) if self._user_tap else None
        return self._user.time_at(audio_ns)

    @property
    def user_is_tapped(self) -> bool:
        """Whether the user's side is what the app gave."""
        return self._user_tap_t != FOREVER_NS

    @property
    def tap_rejected(self) -> bool:
        """Whether a tap of the agent's side was no playback and is not believed."""
        return self._playback.rejected

    @property
    def length_ns(self) -> int:
        """Length of the recording: the close, or the end of the last audio that is kept."""
        end = self.last_t if self.close_t is None else self.close_t
        user = self._user_segments()
        return max(end, user[-1].end_ns if user else 0, self._playback.end_ns(self._now))

    @property
    def _now(self) -> int:
        return self.last_t if self.close_t is None else self.close_t

    def _user_segments(self) -> list[Segment]:
        """What was sent until the app began to give what it hears."""
        if self._user_tap is None:
            return self._user.segments
        sent = within(self._user.segments, [(0, self._user_tap_t)])
        return in_order([*sent, *(replace(s, tap=True) for s in self._user_tap.segments)])

    # --- records --------------------------------------------------------------------------------

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
    ) -> None:
        self._agent.chunk(t, offset, size, item_id, content_index, response_id)

    def _format(self, t: int, side: str, value: Mapping[str, Any]) -> None:
        audio_format = parse_format(value)
        if audio_format is not None:
            (self._user if side == "user" else self._agent).set_format(audio_format)

    def _hole(self, t: int, side: str, size: int) -> None:
        (self._user if side == "user" else self._agent).lose(t, size)

    def _truncate(
        self, t: int, item_id: str, content_index: int, audio_end_ms: int, event_id: str | None
    ) -> None:
        self._agent.truncate(item_id, content_index, audio_end_ms, event_id, by_client=True, t=t)
        self._playback.cut(t)

    def _truncated(self, t: int, item_id: str, content_index: int, audio_end_ms: int) -> None:
        self._agent.truncate(item_id, content_index, audio_end_ms, None, by_client=False)

    def _delete(self, t: int, item_id: str, event_id: str | None) -> None:
        self._agent.delete(t, item_id, event_id, by_client=True)
        self._playback.cut(t)

    def _deleted(self, t: int, item_id: str) -> None:
        self._agent.delete(t, item_id, None, by_client=False)

    def _refused(self, t: int, event_id: str | None, item_id: str | None) -> None:
        self._agent.refuse(event_id, item_id)

    def _speech(self, t: int, interrupts: bool) -> None:
        if interrupts:
            self._cut(t)

    def _buffer(self, t: int, what: str, response_id: str | None) -> None:
        if what == "cleared":
            self._cut(t, BY_SERVER)
        elif response_id is not None and what == "started":
            self._agent.buffer_started(t, response_id)
        elif response_id is not None and what == "stopped":
            self._agent.buffer_stopped(response_id)

    def _clear(self, t: int) -> None:
        self._cut(t)

    def _cut(self, t: int, source: str = ESTIMATED) -> None:
        self._agent.cut(t, source)
        self._playback.cut(t)

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
            self._playback.give(t, offset, size, item_id, zeros=bool(quiet))
        else:
            tap = self._start_user_tap()
            tap.append(t, offset, size, quiet=bool(quiet))
            if self._user_tap_t == FOREVER_NS:
                self._user_tap_t = t - tap.appended_ns

    def _tap_format(self, t: int, side: str, value: Mapping[str, Any]) -> None:
        audio_format = parse_format(value)
        if audio_format is None:
            return
        if side == "agent":
            self._playback.set_tap_format(audio_format)
        else:
            self._start_user_tap().set_format(audio_format)

    def _start_user_tap(self) -> UserPlacement:
        if self._user_tap is None:
            self._user_tap = UserPlacement()
        return self._user_tap

    def _played(self, t: int, item_id: str, content_index: int, audio_ms: float) -> None:
        self._playback.positions.add(t, item_id, content_index, int(audio_ms * 1_000_000))

    def _reset(self, t: int) -> None:
        self._user.reset()

    def _pause(self, t: int) -> None:
        if self._paused_t is None:
            self._paused_t = t

    def _resume(self, t: int) -> None:
        if self._paused_t is not None:
            self._pauses.append((self._paused_t, t))
            self._paused_t = None

    def _close(self, t: int, by_client: object = None) -> None:
        """A script's queued audio plays on; a caller who hangs up hears no more of it."""
        self.close_t = t
        self._user.finish()
        if self._user_tap is not None:
            self._user_tap.finish()
        last = self._user.last_sent_t
        if last is not None and t - last <= HANG_UP_NS:
            self._cut(t)


_RULES: Final[Mapping[str, Callable[..., None]]] = {
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
    "buffer": Timeline._buffer,
    "clear": Timeline._clear,
    "tap": Timeline._tap,
    "tap_format": Timeline._tap_format,
    "played": Timeline._played,
    "reset": Timeline._reset,
    "pause": Timeline._pause,
    "resume": Timeline._resume,
    "close": Timeline._close,
}
