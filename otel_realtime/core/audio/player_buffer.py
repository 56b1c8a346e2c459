"""How much audio the client's player holds back before it plays, as far as the call has shown.

A player that plays a chunk as soon as it comes has a hole wherever the network is late; so every real
one waits until it has some. How long is not on the wire, but follows from what is:

- A client that truncates an item at ``audio_end_ms`` has played exactly that by then: the play-out
  began so much earlier.
- A tap (``played``, ``record_agent_audio``) shows when an item began.

The distance from the arrival to the begin is the buffer. The median of the latest few is taken, of
two the lower one: a device that stalled, or a client that was slow to say something, is wrong once, and
makes the buffer look larger, never smaller. Once Once a tap has shown
it, only taps are asked: a client's position can be as coarse as its chunks. Until anything is known
a player is taken to hold what its answer's jitter asks for, 80 ms at most: an answer that comes faster
than it plays begins when it comes, and one that comes in step and a little unevenly has no hole.
Players in browsers and in the SDKs hold 50 to 150 ms. The journal says what was assumed, so that the
recording is rendered as its facts were told.
: a client's position can be as coarse as its chunks. Until anything is known
80 ms are assumed. Players in browsers and in the SDKs hold 50 to 150 ms: less would turn jitter that
they absorb into holes, more would put an answer later than its caller may have heard it. The
journal says what was assumed, so that the recording is rendered as its facts were told.

Some clients do not know what their player does, and claim the time since the first chunk came (the
Agents SDK without a tracker, pipecat, Twilio's samples). They teach a buffer of zero, which is what
they believe in: what they claim was heard has room only so.
"""

from __future__ import annotations

from statistics import median_low
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S

#: The most that a player of which nothing is known is taken to hold.
ASSUMED_NS: Final = 80 * NS_PER_MS
#: No player holds more. What would be explained only by more had another reason: it was paused, or
#: the client told its position long after it had stopped.
MOST_NS: Final = NS_PER_S
#: A position is rounded, and a device runs ahead of what it plays, by no more than this.
TOLERANCE_NS: Final = 20 * NS_PER_MS
#: So many of the latest observations count.
LATEST: Final = 5


class PlayerBuffer:
    """Learns the buffer from observations; they can be taken back, the latest first.

    Attributes:
        ns: The buffer, as far as is known; 0 until then.
        modelled: Whether there is one at all. Version 0.1 knew of none: what it recorded is rendered as
            its facts were told.
    """

    __slots__ = ("_assumed_ns", "_claimed", "_order", "_tapped", "modelled", "ns")

    def __init__(self) -> None:
        self._assumed_ns = 0
        self._claimed: list[int] = []
        self._tapped: list[int] = []
        self._order: list[list[int]] = []  # to which of the two each observation went
        self.ns = 0
        self.modelled = False

    def assume(self, buffer_ns: int) -> None:
        """Set how much jitter is absorbed until something is known."""
        self.modelled = True
        self._assumed_ns = buffer_ns

    @property
    def known(self) -> bool:
        """Whether it was observed."""
        return bool(self._order)

    @property
    def spare_ns(self) -> int:
        """How much more than ``ns`` it may be: what is assumed, until it is known."""
        return 0 if self._order else self._assumed_ns

    def observe(self, buffer_ns: int, *, tap: bool) -> None:
        """Add what an item shows; what no buffer explains is ignored.

        Args:
            buffer_ns: From the arrival of what begins to its begin, in ns.
            tap: Whether a tap shows it; else a client's claim.
        """
        if self.modelled and -TOLERANCE_NS <= buffer_ns <= MOST_NS:
            observed = self._tapped if tap else self._claimed
            observed.append(max(buffer_ns, 0))
            self._order.append(observed)
            self._learn()

    @property
    def observations(self) -> int:
        """How many there are."""
        return len(self._order)

    def forget(self, observations: int) -> None:
        """Take all observations back but so many."""
        if len(self._order) > observations:
            while len(self._order) > observations:
                self._order.pop().pop()
            self._learn()

    def _learn(self) -> None:
        observed = self._tapped or self._claimed
        self.ns = median_low(observed[-LATEST:]) if observed else 0
