"""The reference player: what was heard is known here to the sample.

Times are milliseconds since the conversation's start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


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


def play(
    chunks: Sequence[Chunk], latency: float, stalls: Sequence[Stall], busy: float
) -> list[Sounded]:
    """A queue that plays at 1x and starts ``latency`` late whenever it was empty.

    Args:
        chunks: in the order of their arrival.
        latency: ms.
        stalls: of the device.
        busy: until when it plays something else.
    """
    heard: list[Sounded] = []
    head, left = busy, list(stalls)
    for chunk in chunks:
        start = head if head > chunk.at else chunk.at + latency
        while left and left[0].at <= start:
            start += left.pop(0).ms
        heard.append(Sounded(start, chunk.item, chunk.begin, chunk.ms))
        head = start + chunk.ms
    return heard


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
