"""What was heard of the agent, by the best word there is: a tap's, else the player model's.

An app may report positions (:mod:`otel_realtime.core.audio.played_reports`) or give the audio that its speaker
plays (:mod:`otel_realtime.core.audio.played_audio`). From its first call on a tap is the truth, with two limits.
One that runs more than a second ahead of the clock tells what is queued, not what is played: it is
not believed, for all the call. One that says nothing for two seconds while audio is due has ended
there: the model stands in, and the facts say so, until the tap is heard again.
"""

from __future__ import annotations

from dataclasses import replace

from otel_realtime.core.audio.formats import AudioFormat
from otel_realtime.core.audio.parts import BY_TAP, ESTIMATED, Heard, ItemAudio, Part
from otel_realtime.core.audio.played_audio import Tapped
from otel_realtime.core.audio.played_reports import LATE_NS, SILENT_NS, Positions
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.segments import Segment, in_order, within
from otel_realtime.core.audio.user_side import GLUE_NS

MS_NS = 1_000_000
Span = tuple[int, int]


class Playback:
    """The agent's side of the recording.

    Attributes:
        player: the model.
        positions: what the app reported.
        tapped: what the app gave.
    """

    def __init__(self, player: Player) -> None:
        self.player = player
        self.positions = Positions(player)
        self.tapped = Tapped()

    @property
    def rejected(self) -> bool:
        """A tap was no playback and is not believed."""
        return self.positions.rejected or self.tapped.rejected

    def cut(self, t: int) -> None:
        """Something says that the play-out was cut at ``t``."""
        self.positions.cut(t)
        self.tapped.cut(t)

    def give(self, t: int, offset: int, size: int, item_id: str | None, *, zeros: bool) -> None:
        """The app gives ``size`` bytes of what its speaker plays now."""
        self.tapped.add(t, offset, size, item_id, self.player.parts, zeros=zeros)

    def set_tap_format(self, audio_format: AudioFormat) -> None:
        """Read what the app gives from here on in another format."""
        self.tapped.set_format(audio_format)

    # --- facts ----------------------------------------------------------------------------------

    def segments(self, now: int) -> list[Segment]:
        """What was heard by all that is known at ``now``, in order and without overlap."""
        found = self.player.segments()
        if self.positions.believed:
            parts = self.player.parts
            found = in_order(s for part in parts for s in self.positions.heard(part, now).segments)
        first_t = self._tapped_t
        if first_t is None:
            return found
        spans = [(0, first_t), *self._model_spans(found, now)]
        return in_order([*within(found, spans), *self.tapped.segments])

    def end_ns(self, now: int) -> int:
        """When the last audio that is kept has been played; 0 before any."""
        if self._tapped_t is None and not self.positions.believed:
            return self.player.end_ns
        segments = self.segments(now)
        return segments[-1].end_ns if segments else 0

    def item(self, item_id: str, now: int) -> ItemAudio | None:
        """The audio of an item; None if it has none."""
        known = self.player.item(item_id)
        if known is None or (self._tapped_t is None and not self.positions.believed):
            return known
        parts = self.player.parts_of(item_id)
        heard = [self._heard(part, now) for part in parts]
        pairs = zip(heard, parts, strict=True)
        return replace(
            known,
            heard_ms=sum(one.heard_ns for one in heard) // MS_NS,
            heard_source=min((one.source for one in heard), key=BY_TAP.__eq__),
            interrupted=any(one.heard_ns < part.received_ns for one, part in pairs),
            audible_from_t=min((o.from_t for o in heard if o.from_t is not None), default=None),
            audible_until_t=max(one.until_t for one in heard),
        )

    @property
    def _tapped_t(self) -> int | None:
        """Since when the tap's audio is the truth."""
        return None if self.tapped.rejected else self.tapped.first_t

    def _heard(self, part: Part, now: int) -> Heard:
        if self._tapped_t is None or self.positions.knows(part):
            return self.positions.heard(part, now)
        return self._sounded(part, now, self._tapped_t)

    def _sounded(self, part: Part, now: int, first_t: int) -> Heard:
        """A part by the audio that the app gave, and by the model where the tap was silent."""
        progress = self.tapped.progress.get(self.player.index_of(part.key))
        spans = self._model_spans(self.player.segments(), now)
        segments = within(part.segments, spans)
        source = ESTIMATED if segments else BY_TAP
        if progress is None:
            before = within(part.segments, [(0, first_t)])
            segments = [*before, *segments]
            source = part.source() if before else source
        bounds = [(segment.start_ns, segment.end_ns) for segment in segments]
        heard_ns = sum(end - start for start, end in bounds)
        if progress is not None:
            bounds.append((progress.start_ns, progress.end_ns))
            heard_ns += progress.heard_ns
        if heard_ns > part.received_ns - GLUE_NS:
            heard_ns = part.received_ns
        until = max([part.first_t, *(end for _, end in bounds)])
        cut_t = self.positions.cut_after(part.first_t)
        if heard_ns < part.received_ns and cut_t is None and not segments:  # it may go on
            until = max(until, now, part.segments[-1].end_ns if part.segments else 0)
        return Heard(
            segments,
            min(heard_ns, part.received_ns),
            source,
            min((start for start, _ in bounds), default=None),
            until,
        )

    def _model_spans(self, modelled: list[Segment], now: int) -> list[Span]:
        """Where the tap was silent for two seconds although audio was due, and did not resume it."""
        spans = []
        for start, end in self.tapped.silent(now):
            due = within(modelled, [(start, end)])
            due_ns = sum(segment.end_ns - segment.start_ns for segment in due)
            resumed = due and due[-1].end_ns >= end - LATE_NS and end < now
            if due_ns >= SILENT_NS and not resumed:
                spans.append((start, end))
        return spans
