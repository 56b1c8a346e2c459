"""The energy of each side's audio in frames of 20 ms.

An :class:`EnergyTable` is fed one source's audio in the order in which it was appended or received, and
:mod:`otel_realtime.core.audio.voice` distinguishes speech from noise in it. Only the timeline knows where
each frame is in the recording, or whether it was heard at all: see :mod:`otel_realtime.core.audio.talk`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_realtime.core.audio.codecs import Samples
from otel_realtime.core.audio.formats import NS_PER_S
from otel_realtime.core.audio.voice import (
    FRAMES_PER_S,
    LINE_NOISE_DB,
    LOST_POWER,
    Voiced,
    band_powers,
    find_voice,
)

#: Duration of a frame, in ns and in seconds.
FRAME_NS: Final = NS_PER_S // FRAMES_PER_S
FRAME_S: Final = FRAME_NS / NS_PER_S
#: The immediate answer uses the noise of the last eight seconds: the softest block (of ``_BLOCK`` frames)
#: among the last ``_MEMORY`` blocks. ``_ENOUGH`` blocks, a second, are enough to begin with.
_BLOCK: Final = 10
_MEMORY: Final = 40
_ENOUGH: Final = 5


def _mean_square(dbfs: float) -> float:
    return float((32_768 * 10 ** (dbfs / 20)) ** 2)


#: Power up to this factor above the softest recent 200 ms is still noise: 6 dB.
_NOISE_FACTOR: Final = 4.0
#: Minimum, initial value and maximum of the limit below which power is quiet.
_QUIET_AT_LEAST: Final = _mean_square(-70)
_QUIET_AT_FIRST: Final = _mean_square(-45)
_QUIET_AT_MOST: Final = _mean_square(-24)


class EnergyTable:
    """The energy of a source, frame by frame; a frame takes twelve bytes.

    Args:
        loudest_noise_db: Audio louder than this is speech, in dBFS.
    """

    def __init__(self, loudest_noise_db: float = LINE_NOISE_DB) -> None:
        self._loudest_noise_db = loudest_noise_db
        self._bands = (bytearray(), bytearray(), bytearray())
        self._rest: npt.NDArray[np.float32] = np.empty(0, np.float32)
        self._rate_hz = 0
        self._skipped_ns = 0
        self._recent: list[float] = []
        self._floors: deque[float] = deque(maxlen=_MEMORY)
        self._quiet = _QUIET_AT_FIRST
        self._loud = 0

    def feed(self, samples: Samples, rate_hz: int) -> bool:
        """Add the next samples; return whether there may be voice in them.

        The answer is immediate and final, so it is a guess based on the noise so far; :meth:`voiced` gives
        a better one. An incomplete last frame counts, too.

        Args:
            samples: Samples of shape ``(n,)``.
            rate_hz: Their rate; it may change between calls.
        """
        return self.feed_chunks(samples, (samples.size,), rate_hz)[0]

    def feed_chunks(self, samples: Samples, sizes: Sequence[int], rate_hz: int) -> list[bool]:
        """Add consecutive chunks as ``feed`` would, one by one, but much faster for many chunks.

        Args:
            samples: Samples of all chunks, of shape ``(n,)``.
            sizes: Number of samples of each chunk.
            rate_hz: Their rate; it may change between calls.

        Returns:
            For each chunk, whether there may be voice in it.
        """
        if rate_hz != self._rate_hz:
            if self._rest.size:  # a frame cannot mix rates, so the rest of the old one is dropped
                self.skip(self._rest.size * NS_PER_S // self._rate_hz)
            self._rest = np.empty(0, np.float32)
            self._rate_hz = rate_hz
        size = rate_hz // FRAMES_PER_S
        end = self._rest.size
        audio = np.concatenate((self._rest, samples), dtype=np.float32, casting="unsafe")
        frames = audio[: audio.size - audio.size % size].reshape(-1, size)
        powers = self._measure(frames)
        self._rest = audio[frames.size :].copy()  # not a view: it would keep all of ``audio``
        answers = []
        for chunk in sizes:
            first, end = end // size, end + chunk
            last, over = divmod(end, size)
            complete, quiet = powers[first:last], self._quiet
            loud = 0
            for power in complete:  # usually two frames: a function call would take longer
                loud += power > quiet
            self._loud += loud
            if over and chunk and not loud:
                rest = audio[end - over : end]
                loud = float(rest @ rest) > quiet * over
            answers.append(loud > 0)
            self._recent += complete
            if len(self._recent) >= _BLOCK:
                self._learn()
        return answers

    def skip(self, duration_ns: int) -> None:
        """Add audio that was lost; it counts as silence, so that later frames keep their positions."""
        frames, self._skipped_ns = divmod(self._skipped_ns + duration_ns, FRAME_NS)
        lost = np.full(frames, LOST_POWER, np.float32).tobytes()
        for band in self._bands:
            band += lost

    @property
    def frames(self) -> int:
        """Number of complete frames so far."""
        # Another thread may be adding frames, and it adds them to the last band last.
        return len(self._bands[-1]) // 4

    @property
    def loud_frames(self) -> int:
        """How many of them were louder than the noise known at that time."""
        return self._loud

    def voiced(self, start: int = 0, end: int | None = None) -> Voiced:
        """Return which frames from ``start`` to ``end`` contain speech, judged by those frames alone."""
        end = self.frames if end is None else min(end, self.frames)
        return find_voice(
            [np.frombuffer(band[4 * start : 4 * end], np.float32) for band in self._bands],
            self._loudest_noise_db,
        )

    def _measure(self, frames: npt.NDArray[np.float32]) -> list[float]:
        """Add complete frames; return their powers."""
        if not len(frames):
            return []
        bands = band_powers(frames, self._rate_hz)
        for band, powers in zip(self._bands, bands, strict=True):
            band += powers.tobytes()
        every: list[float] = bands[0].tolist()
        return every

    def _learn(self) -> None:
        """Learn the noise from recent frames, for the immediate answer."""
        whole = len(self._recent) - len(self._recent) % _BLOCK
        for at in range(0, whole, _BLOCK):
            self._floors.append(sum(self._recent[at : at + _BLOCK]) / _BLOCK)
        del self._recent[:whole]
        if len(self._floors) >= _ENOUGH:
            noise = min(self._floors) * _NOISE_FACTOR
            self._quiet = min(max(noise, _QUIET_AT_LEAST), _QUIET_AT_MOST)
