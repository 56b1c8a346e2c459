"""The smallest origin of a stream over a window of later frames.

To place a stream of audio by the times of its frames, one needs to know when it would have begun if it
had run at 1x all along. Each frame gives one estimate of this origin: the time at which it came minus
the duration of the audio before it. A late frame gives a late estimate. So the smallest estimate of a
frame and of those after it is used, as far as the window reaches.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque


class LeastOrigin:
    """A sliding minimum in constant time per frame.

    An origin that a later frame undercuts can never be the smallest again, so only origins that ascend
    with the numbers of their frames are kept.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[int, int]] = deque()  # number of a frame, and its origin

    def add(self, number: int, origin_ns: int) -> bool:
        """Add the origin that the latest frame gives, in ns; return whether it is the smallest.

        Frame numbers must ascend.
        """
        steps = self._steps
        while steps and steps[-1][1] >= origin_ns:
            steps.pop()
        steps.append((number, origin_ns))
        return len(steps) == 1

    def drop(self, number: int) -> None:
        """Forget the oldest frame."""
        if self._steps[0][0] == number:
            self._steps.popleft()

    @property
    def ns(self) -> int:
        """The smallest origin of all frames, in ns."""
        return self._steps[0][1]

    def since(self, number: int) -> int:
        """Return the smallest origin of a frame and all later ones, in ns."""
        return self._steps[bisect_left(self._steps, number, key=lambda step: step[0])][1]

    def last_below(self, origin_ns: int) -> int:
        """Return the number of the last frame with an origin below ``origin_ns``; -1 if there is none."""
        steps = self._steps
        index = bisect_left(steps, origin_ns, key=lambda step: step[1])
        return steps[index - 1][0] if index else -1
