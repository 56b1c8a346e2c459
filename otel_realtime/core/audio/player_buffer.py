"""Learns how much audio the client's player buffers before it plays, as far as the call shows it.

A player that plays each chunk as soon as it arrives has a hole wherever the network is late, so every
real player first waits until it has some audio. How much is not on the wire, but it follows from other
evidence:

- A client that truncates an item at ``audio_end_ms`` has played exactly that much by then, so the
  play-out began that much earlier.
- A tap (``played``, ``record_agent_audio``) shows when an item began.

The buffer is the time from the arrival of an item to its begin. The median of the latest few observations
is used, the lower one if there are two: a stalled device, or a client that was slow to report, causes a
single wrong observation, which makes the buffer look larger, never smaller. Once a tap has shown the
buffer, only taps count, because a client's position can be as coarse as its chunks.

Until anything is known, a player is assumed to buffer what the jitter of its answer requires, at most
80 ms: an answer that arrives faster than it plays begins when it arrives, and one that arrives in real
time with slight jitter has no hole. Players in browsers and in the SDKs buffer 50 to 150 ms. The journal
says what was assumed, so that the recording is rendered consistently with its facts.

Some clients do not know what their player does, and claim the time since the first chunk arrived (the
Agents SDK without a tracker, pipecat, Twilio's samples). They teach a buffer of zero, which matches their
own assumption: only then is there room for what they claim was heard.
"""

from __future__ import annotations

from statistics import median_low
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S

#: The largest buffer that is assumed for a player of which nothing is known.
ASSUMED_NS: Final = 80 * NS_PER_MS
#: No player buffers more. A delay that only a larger buffer would explain had another reason: the player
#: was paused, or the client reported its position long after it had stopped.
MOST_NS: Final = NS_PER_S
#: Maximum error of an observation, because a position is rounded and a device runs ahead of what it plays.
TOLERANCE_NS: Final = 20 * NS_PER_MS
#: Number of latest observations that count.
LATEST: Final = 5


class PlayerBuffer:
    """Learns the buffer from observations; they can be taken back, latest first.

    Attributes:
        ns: The buffer as far as it is known; 0 until then.
        modelled: Whether a buffer is modelled at all. Version 0.1 modelled none, and its recordings are
            rendered consistently with their facts.
    """

    __slots__ = ("_assumed_ns", "_claimed", "_order", "_tapped", "modelled", "ns")

    def __init__(self) -> None:
        self._assumed_ns = 0
        self._claimed: list[int] = []
        self._tapped: list[int] = []
        self._order: list[list[int]] = []  # the list to which each observation was added
        self.ns = 0
        self.modelled = False

    def assume(self, buffer_ns: int) -> None:
        """Set how much jitter is absorbed until the buffer is known."""
        self.modelled = True
        self._assumed_ns = buffer_ns

    @property
    def known(self) -> bool:
        """Whether the buffer was observed."""
        return bool(self._order)

    @property
    def spare_ns(self) -> int:
        """How much larger than ``ns`` it may be: the assumed value, until it is known."""
        return 0 if self._order else self._assumed_ns

    def observe(self, buffer_ns: int, *, tap: bool) -> None:
        """Add what an item shows; a value that no buffer explains is ignored.

        Args:
            buffer_ns: Time from the arrival of what begins to its begin, in ns.
            tap: Whether a tap shows it; otherwise a client's claim does.
        """
        if self.modelled and -TOLERANCE_NS <= buffer_ns <= MOST_NS:
            observed = self._tapped if tap else self._claimed
            observed.append(max(buffer_ns, 0))
            self._order.append(observed)
            self._learn()

    @property
    def observations(self) -> int:
        """Number of observations."""
        return len(self._order)

    def forget(self, observations: int) -> None:
        """Take back all observations but the first ``observations``."""
        if len(self._order) > observations:
            while len(self._order) > observations:
                self._order.pop().pop()
            self._learn()

    def _learn(self) -> None:
        observed = self._tapped or self._claimed
        self.ns = median_low(observed[-LATEST:]) if observed else 0
