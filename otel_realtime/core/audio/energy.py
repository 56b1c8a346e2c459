"""The energy of each side's audio by frames of 20 ms.

An :class:`EnergyTable` is fed one source's audio in the order in which it was appended or received;
:mod:`otel_realtime.core.audio.voice` tells speech from noise in it. Where each frame ended up in the
recording, or whether it was heard at all, only the timeline knows: see
:mod:`otel_realtime.core.audio.talk`.
"""

from __future__ import annotations

from collections import deque
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
#: Frames are measured so many at a time at least: one by one costs several times as much.
_BATCH: Final = 10
#: The noise of the last eight seconds tells at once what is quiet.
_MEMORY: Final = 40


def _mean_square(dbfs: float) -> float:
    return float((32_768 * 10 ** (dbfs / 20)) ** 2)


#: So much above the softest 200 ms of late is still noise: 6 dB.
_NOISE_FACTOR: Final = 4.0
#: What is below the first of these is quiet in any case, what is above the last one never.
_QUIET_AT_LEAST: Final = _mean_square(-70)
_QUIET_AT_FIRST: Final = _mean_square(-45)
_QUIET_AT_MOST: Final = _mean_square(-24)


class EnergyTable:
    """The energy of a source, frame by frame: twelve bytes each.

    Args:
        loudest_noise_db: What is louder than this is speech, in dBFS.
    """

    def __init__(self, loudest_noise_db: float = LINE_NOISE_DB) -> None:
        self._loudest_noise_db = loudest_noise_db
        self._bands = (bytearray(), bytearray(), bytearray())
        self._pending: list[npt.NDArray[np.float32]] = []
        self._pending_size = 0
        self._rate_hz = 0
        self._skipped_ns = 0
        self._floors: deque[float] = deque(maxlen=_MEMORY)
        self._quiet = _QUIET_AT_FIRST
        self._loud = 0

    def feed(self, samples: Samples, rate_hz: int) -> bool:
        """Add the next samples; return whether there may be voice in them.

        The answer comes at once and for good, so it is guessed by the noise so far: see
        :meth:`voiced` for the better one. An incomplete last frame counts for it.

        Args:
            samples: Samples of shape ``(n,)``, of any number of frames.
            rate_hz: Their rate; it may change between calls.
        """
        if rate_hz != self._rate_hz:
            self._change_rate(rate_hz)
        audio = samples.astype(np.float32)
        self._pending.append(audio)
        self._pending_size += audio.size
        loud = self._is_loud(audio)
        if self._pending_size >= _BATCH * (rate_hz // FRAMES_PER_S):
            self._settle()
        return loud

    def skip(self, duration_ns: int) -> None:
        """Add audio that was lost; it counts as silence, so that later frames keep their place."""
        self._settle()
        frames, self._skipped_ns = divmod(self._skipped_ns + duration_ns, FRAME_NS)
        lost = np.full(frames, LOST_POWER, np.float32).tobytes()
        for band in self._bands:
            band += lost

    @property
    def frames(self) -> int:
        """Number of complete frames so far."""
        self._settle()
        return len(self._bands[0]) // 4

    @property
    def loud_frames(self) -> int:
        """How many of them were louder than the noise was until then."""
        self._settle()
        return self._loud

    def voiced(self, start: int = 0, end: int | None = None) -> Voiced:
        """Tell which frames from ``start`` to ``end`` have speech in them, by those frames alone."""
        self._settle()
        return find_voice(
            [
                np.frombuffer(bytes(band[4 * start : None if end is None else 4 * end]), np.float32)
                for band in self._bands
            ],
            self._loudest_noise_db,
        )

    def _change_rate(self, rate_hz: int) -> None:
        """Begin with samples of another rate, which no frame can share with those before."""
        self._settle()
        rest_ns = self._pending_size * NS_PER_S // self._rate_hz if self._pending_size else 0
        self._pending.clear()
        self._pending_size = 0
        self.skip(rest_ns)
        self._rate_hz = rate_hz

    def _is_loud(self, audio: npt.NDArray[np.float32]) -> bool:
        size = self._rate_hz // FRAMES_PER_S
        complete = audio.size - audio.size % size
        rest = audio[complete:]
        if rest.size and float(rest @ rest) > self._quiet * rest.size:
            return True
        if complete == size:
            frame = audio[:complete]
            return float(frame @ frame) > self._quiet * size
        frames = audio[:complete].reshape(-1, size)
        # Sum of squares per frame without a temporary array; compared with the power times n.
        energies = np.einsum("ij,ij->i", frames, frames)
        return bool((energies > self._quiet * size).any())

    def _settle(self) -> None:
        """Measure the frames that are complete."""
        size = self._rate_hz // FRAMES_PER_S
        if not size or self._pending_size < size:
            return
        audio = np.concatenate(self._pending) if len(self._pending) > 1 else self._pending[0]
        complete = audio.size - audio.size % size
        self._pending = [audio[complete:]]
        self._pending_size = audio.size - complete
        frames = audio[:complete].reshape(-1, size)
        bands = band_powers(frames, self._rate_hz)
        for band, powers in zip(self._bands, bands, strict=True):
            band += powers.tobytes()
        self._loud += int(np.count_nonzero(bands[0] > self._quiet))
        self._learn(bands[0])

    def _learn(self, powers: npt.NDArray[np.float32]) -> None:
        """Learn the noise from some frames, for the answer that comes at once."""
        for at in range(0, powers.size - powers.size % _BATCH, _BATCH):
            self._floors.append(float(powers[at : at + _BATCH].mean()))
        if 2 * len(self._floors) > _BATCH:  # a second
            noise = min(self._floors) * _NOISE_FACTOR
            self._quiet = min(max(noise, _QUIET_AT_LEAST), _QUIET_AT_MOST)
