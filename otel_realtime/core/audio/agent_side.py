"""Decides what was heard of the agent by the best evidence: a tap, or else the player model.

Theory of operation. There are three sources of evidence, and this module decides between them:

- :mod:`otel_realtime.core.audio.player` models the client's player from what is on the wire. It
  always has an answer.
- :mod:`otel_realtime.core.audio.played_reports` has the positions that the app reports.
- :mod:`otel_realtime.core.audio.played_audio` has the audio that the app's speaker plays.

The rules, in order:

1. Before the first call of a tap, the model decides.
2. From its first call on, a tap decides: first the reported positions of a part, if there are any, else
   the audio that the app passed.
3. A tap that runs more than one second ahead of the clock reports what is queued, not what is
   played. It is rejected for the rest of the call, and the model decides.
4. A tap that is silent for two seconds while audio is due has ended there. The model stands in, and
   ``heard_source`` is ``estimated``, until the tap resumes.
5. From when a tap shows an item to begin, the model learns the player's buffer, for audio that no tap
   reports.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace

from otel_realtime.core.audio.device_clock import ROUNDING_NS
from otel_realtime.core.audio.formats import NS_PER_MS, AudioFormat
from otel_realtime.core.audio.parts import ESTIMATED, TAP, HeardPart, ItemAudio, Part, is_whole
from otel_realtime.core.audio.played_audio import PlayedAudio
from otel_realtime.core.audio.played_reports import LATE_REPORT_NS, TAP_TIMEOUT_NS, PlayedReports
from otel_realtime.core.audio.player import Player
from otel_realtime.core.audio.redactions import merge
from otel_realtime.core.audio.segments import (
    LOST,
    TIME_END_NS,
    Interval,
    Segment,
    clip_to_intervals,
    order_without_overlap,
)
from otel_realtime.core.audio.user_side import JITTER_NS


class Playback:
    """The agent's side of the recording.

    Attributes:
        player: The model.
        reports: The positions that the app reported.
        audio: The audio that the app passed.
    """

    def __init__(self, player: Player) -> None:
        self.player = player
        self.reports = PlayedReports(player)
        self.audio = PlayedAudio()

    @property
    def rejected(self) -> bool:
        """Whether a tap ran ahead of the clock and is not used."""
        return self.reports.rejected or self.audio.rejected

    def cut(self, t: int) -> None:
        """Note evidence that the play-out was cut at ``t``."""
        self.reports.cut(t)
        self.audio.cut(t)

    def add_audio(
        self, t: int, offset: int, size: int, item_id: str | None, *, zeros: bool
    ) -> None:
        """Add ``size`` bytes that the app's speaker plays now; see ``PlayedAudio.add``."""
        if self.audio.first_t is None:
            self.player.refresh()  # the tap begins with what is due now
        before = self.audio.latest
        named = () if item_id is None else self.player.indices_of(item_id)
        self.audio.add(t, offset, size, item_id, self.player.parts, named=named, zeros=zeros)
        latest = self.audio.latest
        if latest is not None and latest != before and not self.audio.rejected:
            progress = self.audio.progress(latest)
            # A tap that joins in the middle of an item has not heard it begin.
            if progress is not None and progress.start_ns > t - TAP_TIMEOUT_NS:
                self.player.began(t, latest, progress.start_ns)

    def report(self, t: int, item_id: str, content_index: int, position_ns: int) -> None:
        """Add a position that the app reported; see ``PlayedReports.add``."""
        part = self.player.part(item_id, content_index)
        begins = part is not None and not self.reports.covers(part)
        self.reports.add(t, item_id, content_index, position_ns)
        if part is not None and begins and self.reports.covers(part):
            self.player.began(t, self.player.index_of(part.key), t - position_ns)

    def set_tap_format(self, audio_format: AudioFormat) -> None:
        """Set the format of what the app passes from now on."""
        self.audio.set_format(audio_format)

    # --- queries --------------------------------------------------------------------------------

    def segments(self, now: int) -> list[Segment]:
        """Return what was heard, as known at ``now``, in order and without overlap."""
        segments = self.player.segments()
        # The reports place parts independently; parts that would then overlap are queued.
        if self.reports.trusted:
            segments = order_without_overlap(
                segment
                for part in self.player.parts
                for segment in self.reports.heard(part, now).segments
            )
        first_t = self._audio_t
        if first_t is None:
            return segments
        modelled = [(0, first_t), *self._modelled_intervals(now)]
        return order_without_overlap([*clip_to_intervals(segments, modelled), *self.audio.segments])

    def end_ns(self, now: int) -> int:
        """Return when the last kept audio has been played; 0 before any."""
        if self._audio_t is None and not self.reports.trusted:
            return self.player.end_ns
        segments = self.segments(now)
        return segments[-1].end_ns if segments else 0

    def item(self, item_id: str, now: int) -> ItemAudio | None:
        """Return the audio facts of an item; None if it has no audio."""
        modelled = self.player.item(item_id)
        if modelled is None or (self._audio_t is None and not self.reports.trusted):
            return modelled
        parts = self.player.parts_of(item_id)
        heard = [self._heard(part, now) for part in parts]
        pairs = zip(heard, parts, strict=True)
        starts = [part.from_t for part in heard if part.from_t is not None]
        return replace(
            modelled,
            heard_ms=(sum(part.heard_ns for part in heard) + ROUNDING_NS) // NS_PER_MS,
            # A single part without evidence from the tap makes the evidence of the item weaker.
            heard_source=min((part.source for part in heard), key=TAP.__eq__),
            interrupted=not all(_is_whole(played.heard_ns, part) for played, part in pairs),
            audible_from_t=min(starts, default=None),
            audible_until_t=max(part.until_t for part in heard),
        )

    def places(self, now: int) -> Callable[[str], Interval | None]:
        """Return a function that says from when to when an item is heard in the recording.

        This may be later than the item's facts say, because audio that would overlap in the recording is
        queued. The function returns None for an item that is not heard. It is valid until something is
        added.
        """
        if self._audio_t is None and not self.reports.trusted:
            heard: list[Segment] = []  # the model's own places match the facts
        else:
            wire = (each for each in self.segments(now) if not each.tap and each.offset != LOST)
            heard = sorted(wire, key=lambda segment: segment.offset)
        offsets = [segment.offset for segment in heard]
        ends = [segment.offset + segment.size for segment in heard]

        def place(item_id: str) -> Interval | None:
            facts = self.item(item_id, now)
            if facts is None or facts.audible_from_t is None:
                return None
            start, end = facts.audible_from_t, facts.audible_until_t
            for first, last in self._sources(item_id) if heard else ():
                for index in range(bisect_right(ends, first), bisect_left(offsets, last)):
                    start = min(start, heard[index].start_ns)
                    end = max(end, heard[index].end_ns)
            return start, end

        return place

    def _sources(self, item_id: str) -> list[Interval]:
        """Return where an item's audio lies in the source of the wire, in bytes."""
        return merge(
            (offset, offset + size)
            for part in self.player.parts_of(item_id)
            for _, offset, size, _ in self.player.arrivals(part)
            if offset != LOST
        )

    @property
    def tapped_t(self) -> int | None:
        """From when on the audio that the app passed decides; None if it does not."""
        return self._audio_t

    @property
    def _audio_t(self) -> int | None:
        """From when on the audio that the app passed decides; None if it does not."""
        return None if self.audio.rejected else self.audio.first_t

    def _heard(self, part: Part, now: int) -> HeardPart:
        if self._audio_t is None or self.reports.covers(part):
            return self.reports.heard(part, now, placed=False)
        return self._heard_by_audio(part, now, self._audio_t)

    def _heard_by_audio(self, part: Part, now: int, first_t: int) -> HeardPart:
        """Return a part by the audio that the app passed, and by the model where the tap was silent."""
        progress = self.audio.progress(self.player.index_of(part.key))
        segments: list[Segment] = []
        if part.segments:
            placed = (part.segments[0].start_ns, part.segments[-1].end_ns)
            segments = clip_to_intervals(part.segments, self._modelled_intervals(now, placed))
        source = ESTIMATED if segments else TAP
        if progress is None:
            # The part may have been heard, wholly or partly, before the tap began.
            before = clip_to_intervals(part.segments, [(0, first_t)])
            segments = [*before, *segments]
            source = part.source() if before else source
        bounds = [(segment.start_ns, segment.end_ns) for segment in segments]
        heard_ns = sum(end - start for start, end in bounds)
        if progress is not None:
            bounds.append((progress.start_ns, progress.end_ns))
            heard_ns += progress.heard_ns
        if heard_ns > part.received_ns - NS_PER_MS:
            heard_ns = part.received_ns  # the app uses another rate and has slightly fewer samples
        until = max([part.first_t, *(end for _, end in bounds)])
        cut_t = self.reports.cut_after(part.first_t)
        if not _is_whole(heard_ns, part) and cut_t is None and not segments:
            # Neither its end nor a cut has been reached, so it may continue to play.
            until = max(until, now, part.segments[-1].end_ns if part.segments else 0)
        return HeardPart(
            segments,
            min(heard_ns, part.received_ns),
            source,
            min((start for start, _ in bounds), default=None),
            until,
        )

    def _modelled_intervals(self, now: int, between: Interval = (0, TIME_END_NS)) -> list[Interval]:
        """Return where the tap was silent for two seconds while audio was due, and did not resume.

        Args:
            now: The time of the query.
            between: Only intervals that overlap this one are of interest.
        """
        intervals = []
        for start, end in self.audio.inactive(now, between):
            due = clip_to_intervals(self.player.segments_between(start, end), [(start, end)])
            due_ns = sum(segment.end_ns - segment.start_ns for segment in due)
            # The tap returned while audio was still due: it had been paused, not ended.
            resumed = due and due[-1].end_ns >= end - LATE_REPORT_NS and end < now
            if due_ns >= TAP_TIMEOUT_NS and not resumed:
                intervals.append((start, end))
        return intervals


def _is_whole(heard_ns: int, part: Part) -> bool:
    """Return whether the heard duration of a part (ns) counts as all of it.

    A remainder below 20 ms is the end of a last buffer that the app did not pass, not an interruption.
    """
    return part.received_ns - heard_ns < JITTER_NS or is_whole(heard_ns, part.received_ns)
