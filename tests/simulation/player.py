"""The reference player: what was heard is known here to the sample.

Times are milliseconds since the conversation's start.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: A queue that runs dry for longer than this was waiting for another answer, not for the network.
UNDERRUN_MS = 1_000
#: An adaptive buffer grows no further.
MOST_MS = 300


@dataclass(frozen=True)
class Chunk:
    """Audio that arrived: ``ms`` of ``item`` from ``begin``."""

    at: float
    item: str
    begin: float
    ms: float
    response: str


@dataclass(frozen=True)
class Sounded:
    """A stretch that came out of the speaker."""

    at: float
    item: str
    begin: float
    ms: float

    @property
    def end(self) -> float:
        """When its last sample had been played."""
        return self.at + self.ms

    @property
    def until(self) -> float:
        """How far it got in its item."""
        return self.begin + self.ms


@dataclass(frozen=True)
class Stall:
    """The device stops for ``ms`` at the first chunk boundary after ``at``."""

    at: float
    ms: float


@dataclass(frozen=True)
class Buffering:
    """How a player begins whenever its queue was empty.

    Attributes:
        late: ms by which it begins late, at least and at most; the same for all of a call.
        prebuffer: it begins once so many ms are queued, or so long after the first of them.
        adaptive: the prebuffer grows by half, plus 20 ms, whenever the queue ran dry in mid-answer.
    """

    late: tuple[float, float] = (0.0, 0.0)
    prebuffer: float = 0.0
    adaptive: bool = False


class Player:
    """A queue that plays at 1x.

    Attributes:
        latest: by how much it began late at most, so far.
    """

    def __init__(self, buffering: Buffering, chance: random.Random) -> None:
        self._late = chance.uniform(*buffering.late)
        self._prebuffer = buffering.prebuffer
        self._adaptive = buffering.adaptive
        self.latest = max(self._late, self._prebuffer)

    def play(self, chunks: Sequence[Chunk], stalls: Sequence[Stall], busy: float) -> list[Sounded]:
        """What would be heard of an answer if nobody broke in.

        Args:
            chunks: in the order of their arrival.
            stalls: of the device.
            busy: until when something else plays.
        """
        heard: list[Sounded] = []
        head, left = busy, list(stalls)
        for index, chunk in enumerate(chunks):
            start = head
            if head <= chunk.at:
                if heard and self._adaptive and chunk.at - head < UNDERRUN_MS:
                    self._prebuffer = min(self._prebuffer * 1.5 + 20, MOST_MS)
                    self.latest = max(self.latest, self._prebuffer)
                start = self._begin(chunks[index:]) + self._late
            while left and left[0].at <= start:
                start += left.pop(0).ms
            heard.append(Sounded(start, chunk.item, chunk.begin, chunk.ms))
            head = start + chunk.ms
        return heard

    def _begin(self, chunks: Sequence[Chunk]) -> float:
        first, queued = chunks[0].at, 0.0
        for chunk in chunks:
            if chunk.at >= first + self._prebuffer:
                break
            queued += chunk.ms
            if queued >= self._prebuffer:
                return chunk.at
        return first + self._prebuffer


def cut(heard: Sequence[Sounded], at: float) -> list[Sounded]:
    """What was heard if everything stopped at a time."""
    return [replace(one, ms=min(one.ms, at - one.at)) for one in heard if one.at < at]


def merged(heard: Sequence[Sounded]) -> list[Sounded]:
    """The same in stretches without a gap."""
    found: list[Sounded] = []
    for one in heard:
        last = found[-1] if found else None
        if last and last.item == one.item and abs(last.end - one.at) < 1e-6:
            found[-1] = replace(last, ms=last.ms + one.ms)
        else:
            found.append(one)
    return found
