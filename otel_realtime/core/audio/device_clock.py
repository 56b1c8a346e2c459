"""Places the blocks that an app passes to its speaker in time.

An output device asks for a block whenever its buffer has room for one, and plays at 1x as long as it
has data. Only the times of the app's calls are known. A call may be early, late, or together with
another, because the app's thread has other things to do. The buffer absorbs that. So blocks are placed
on the clock of the device, which is derived from many blocks, and not each at its own time.

The origin of a block is the time of its call minus the duration of all audio passed before it: when the
stream would have begun if the device had run without a pause. Rules:

1. If a block comes more than ``BUFFER_NS`` after its place, the device had run dry or the app had
   stopped, and the clock starts anew. It starts when the block was passed, or, if the block was early
   compared with the median of the origins of the next second, at that median.
2. From there on blocks adjoin. A gap opens only where the device must have run dry: if every block of
   the next five seconds comes at least ``JITTER_NS`` after its place. One late block proves nothing,
   and neither do the last blocks before the app stops: a gap takes ``PROOF`` calls, or a call that is
   ``UNPROVEN_NS`` late and is followed by no earlier one.
3. After silence that outlasts any buffer, the clock is set by the blocks that follow, if it is off by
   ``EARLY_NS`` or more. So a device that is off by 200 ppm is placed as accurately after an hour as at
   the start. Audio that was passed ahead when the device started stays in its buffer.
4. Blocks that come together count as one call: the first of them shows when the device asked.

Nothing is left out, repeated or moved before earlier audio. Zeros take up their time, but are not
placed. Until the look-ahead of a block has passed, queries use what is known so far.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import islice, takewhile
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S, AudioFormat
from otel_realtime.core.audio.least_origin import LeastOrigin
from otel_realtime.core.audio.segments import DurationCounter, Segment
from otel_realtime.core.audio.user_side import JITTER_NS, LOOK_AHEAD_NS

#: The largest buffer that a device is assumed to have. PortAudio's defaults for a safe latency are 35 to
#: 240 ms (ALSA, CoreAudio, WASAPI, MME, DirectSound), Android's and PulseAudio's about 200 ms.
BUFFER_NS: Final = 200 * NS_PER_MS
#: A gap takes this many late calls of the app, or fewer that are at least this late.
PROOF: Final = 4
UNPROVEN_NS: Final = BUFFER_NS // 2
#: The clock is set by the median of the origins within this duration.
SMOOTH_NS: Final = NS_PER_S
#: A block that is closer than this to that median was passed when the device asked.
EARLY_NS: Final = JITTER_NS // 2
#: Smaller differences are rounding of block lengths, neither gaps nor unheard audio.
ROUNDING_NS: Final = 1_000


class _Follows(Enum):
    """What precedes a block."""

    NOTHING = auto()  #: a pause of the app, or a device that ran dry
    SILENCE = auto()  #: zeros, longer than any buffer
    BLOCK = auto()  #: the previous block


@dataclass(slots=True)
class _Block:
    """One block that the app passed.

    Attributes:
        number: Its number among all blocks.
        call: The number of the device's call that it belongs to.
        asks: Whether it is the first block of that call.
        t: When it was passed, in ns since the start.
        begin_ns: Duration of all audio passed before it.
        duration_ns: Its own duration.
        offset: Where it begins in the source, in bytes.
        size: Its size in bytes.
        format: Its format.
        zeros: Whether it is silent.
        follows: What precedes it.
    """

    number: int
    call: int
    asks: bool
    t: int
    begin_ns: int
    duration_ns: int
    offset: int
    size: int
    format: AudioFormat
    zeros: bool
    follows: _Follows

    @property
    def origin_ns(self) -> int:
        """When the stream would have begun, judged by this block alone."""
        return self.t - self.begin_ns


@dataclass(slots=True)
class _Placed:
    """What has been placed, and the state that places the next block.

    Attributes:
        segments: Blocks with sound.
        origin_ns: The device's clock: a block is placed at its position in the stream plus this.
        least_ns: The smallest origin that is believed.
        ahead_ns: How far the app's calls run ahead of the device, because of its initial fill.
    """

    segments: list[Segment]
    origin_ns: int = 0
    least_ns: int = 0
    ahead_ns: int = 0

    def continued(self) -> _Placed:
        """Return a copy on which to place more blocks; it has only the last of the segments."""
        return replace(self, segments=[replace(segment) for segment in self.segments[-1:]])

    def place(self, blocks: Sequence[_Block], index: int, least: LeastOrigin) -> None:
        """Place a block.

        Args:
            blocks: All blocks that are known.
            index: Index of the block to place.
            least: The smallest origins of it and later ones.
        """
        block = blocks[index]
        least_ns = least.since(block.number)
        if block.follows is _Follows.NOTHING or block.origin_ns - self.origin_ns > BUFFER_NS:
            asked_ns = _asked(blocks, index, least)
            self.origin_ns = max(asked_ns, block.origin_ns)
            # A device fills its buffer when it starts. If it starts with zeros, only zeros wait there.
            fills = block.number == 0 and not block.zeros
            self.ahead_ns = self.origin_ns - asked_ns if fills else 0
        elif block.follows is _Follows.SILENCE:
            asked_ns = _asked(blocks, index, least)
            if abs(asked_ns + self.ahead_ns - self.origin_ns) >= EARLY_NS:
                self.origin_ns = asked_ns + self.ahead_ns
        elif self._unproven(block, blocks[-1], least_ns):
            least_ns = self.least_ns
        elif least_ns - self.origin_ns >= JITTER_NS:
            self.origin_ns = _asked(blocks, index, least)
            self.ahead_ns = 0
        self.least_ns = least_ns
        if not block.zeros:
            self._write(block)

    def _unproven(self, block: _Block, latest: _Block, least_ns: int) -> bool:
        """Return whether there are too few calls to prove a later clock from this block on."""
        proven = latest.call - block.call >= PROOF - 1 or least_ns - self.origin_ns >= UNPROVEN_NS
        return not proven and least_ns > self.least_ns

    def _write(self, block: _Block) -> None:
        start = self.origin_ns + block.begin_ns
        last = self.segments[-1] if self.segments else None
        if last is not None and start - last.end_ns < ROUNDING_NS:
            if last.end_ns - start > ROUNDING_NS:
                self.origin_ns += last.end_ns - start
            start = last.end_ns
            if last.is_continued_by(block.offset, block.format):
                last.size += block.size
                return
        start = max(start, 0)
        self.segments.append(
            Segment(start, block.offset, block.size, block.format, block.begin_ns, tap=True)
        )


class DeviceClock:
    """Places the blocks that an app passes; memory is bounded by the look-ahead.

    Attributes:
        ahead_ns: How long the latest block waits before it plays, if the device can hold it.
        end_ns: When it will have been played at the latest, in ns since the start.
        resumes: Whether it comes after silence, so that what the device held has been played.
        late: Whether it came after its place, so that the device may have run dry.
    """

    def __init__(self) -> None:
        self.ahead_ns = 0
        self.end_ns = 0
        self.resumes = True
        self.late = True
        self._given = DurationCounter()
        self._placed = _Placed([])
        self._pending: deque[_Block] = deque()
        self._least = LeastOrigin()
        self._latest: _Block | None = None
        self._origin_ns = 0  # the clock as far as it is known without look-ahead
        self._calls: deque[int] = deque(maxlen=PROOF)  # origins of the latest calls
        self._zeros_ns = 0  # zeros since the last sound
        self._shown: tuple[int, list[Segment]] = (-1, [])

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of the blocks from now on."""
        self._given.set_format(audio_format)

    def add(self, t: int, offset: int, size: int, *, zeros: bool) -> tuple[int, int]:
        """Add a block; return its position in the stream and its duration, in ns.

        Args:
            t: When it was passed, in ns since the start.
            offset: Where it begins in the source, in bytes.
            size: Its size in bytes.
            zeros: Whether it is silent.
        """
        begin = self._given.add(size)
        duration = self._given.total_ns - begin
        last, silence = self._latest, self._zeros_ns
        follows, asks = _Follows.BLOCK, True
        if last is None or t - begin - self._origin_ns > BUFFER_NS:
            follows = _Follows.NOTHING
            self._settle()
        else:
            asks = 2 * (t - last.t) >= last.duration_ns
            if not zeros and silence >= BUFFER_NS:
                follows = _Follows.SILENCE
        self.late = follows is _Follows.NOTHING or t - begin - self._origin_ns >= JITTER_NS
        if follows is not _Follows.BLOCK:
            self._origin_ns = t - begin
            self._calls.clear()
        if asks:
            self._calls.append(t - begin)
        if len(self._calls) == PROOF:
            self._origin_ns = max(self._origin_ns, min(self._calls))
        paused = last is None or t - last.t - last.duration_ns >= BUFFER_NS
        self.resumes = paused or follows is _Follows.NOTHING or silence >= JITTER_NS
        self.ahead_ns = self._origin_ns - (t - begin)
        self.end_ns = max(t, self._origin_ns + begin) + duration
        self._zeros_ns = silence + duration if zeros else 0
        number, call = (last.number + 1, last.call + asks) if last is not None else (0, 0)
        self._latest = _Block(
            number,
            call,
            asks,
            t,
            begin,
            duration,
            offset,
            size,
            self._given.format,
            zeros,
            follows,
        )
        self._advance(self._latest)
        self._pending.append(self._latest)
        self._least.add(number, t - begin)
        return begin, duration

    @property
    def segments(self) -> list[Segment]:
        """What was heard, as far as it is known, in order and without overlap."""
        if not self._pending:
            return self._placed.segments
        number = self._pending[-1].number
        if self._shown[0] != number:
            self._shown = (number, [*self._placed.segments[:-1], *self._provisional()])
        return self._shown[1]

    def start_of(self, position_ns: int) -> int:
        """Return when sound that begins at a position in the stream was first heard."""
        return self._time_at(position_ns, bisect_right)

    def end_of(self, position_ns: int) -> int:
        """Return when sound that ends at a position in the stream had been heard."""
        return self._time_at(position_ns, bisect_left)

    def _time_at(self, position_ns: int, bisect: Callable[..., int]) -> int:
        segments = self.segments
        index = bisect(segments, position_ns, key=lambda segment: segment.position_ns)
        segment = segments[max(index - 1, 0)]
        return min(segment.start_ns + max(position_ns - segment.position_ns, 0), segment.end_ns)

    def _provisional(self) -> list[Segment]:
        """Return the last settled segment, and what comes after it."""
        placed, pending = self._placed.continued(), list(self._pending)
        for index in range(len(pending)):
            placed.place(pending, index, self._least)
        return placed.segments

    def _advance(self, latest: _Block) -> None:
        """Settle blocks whose look-ahead has passed, by time or by the amount of audio passed."""
        pending = self._pending
        while pending and (
            latest.t - pending[0].t > LOOK_AHEAD_NS
            or latest.begin_ns - pending[0].begin_ns > 2 * LOOK_AHEAD_NS
        ):
            self._settle_oldest()

    def _settle(self) -> None:
        while self._pending:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        self._placed.place(self._pending, 0, self._least)
        self._least.drop(self._pending.popleft().number)


def _asked(blocks: Sequence[_Block], index: int, least: LeastOrigin) -> int:
    """Return the origin at which the device asks for blocks, from one block on, in ns.

    This is the median of the origins of a second's calls, or the block's own origin if that is less than
    ``EARLY_NS`` away. Calls from which on all calls come later do not count: there the device had run dry.

    Args:
        blocks: Blocks that were passed.
        index: Index of the block.
        least: The smallest origins of it and later ones.
    """
    own = blocks[index]
    # Without its own origin: an early block does not make the others late.
    least_ns = least.since(min(own.number + 1, blocks[-1].number))
    last = least.last_below(least_ns + JITTER_NS)
    following = takewhile(
        lambda block: block.t <= own.t + SMOOTH_NS and block.number <= last,
        islice(blocks, index, None),
    )
    origins = sorted(block.origin_ns for block in following if block.asks)
    middle_ns = origins[(len(origins) - 1) // 2] if origins else own.origin_ns
    return own.origin_ns if abs(own.origin_ns - middle_ns) < EARLY_NS else middle_ns
