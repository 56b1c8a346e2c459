"""Passes a log to a conversation through the public API, in order of time.

Unlike a live call, a replay can wait for slow telemetry. So it waits for the writer of the recording,
which has bounded memory, and for the app's span processors, which have bounded queues.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_realtime.core.audio.formats import NS_PER_MS
from otel_realtime.core.protocol.dialects import is_user_audio
from otel_realtime.replaying.log import BadRow, Row
from otel_realtime.replaying.pace import Survey
from otel_realtime.replaying.sounds import BLOCK_MS, Sounds, Track

if TYPE_CHECKING:
    from otel_realtime.conversation.public import Conversation

#: Most bytes and events between two waits for the writer: far below the limits at which it drops any.
_BYTES: Final = 4 << 20
_EVENTS: Final = 400
#: Longest single wait, s; if the disk takes longer, audio may be lost, and is counted as lost.
_WAIT_S: Final = 60.0

#: A step of the replay: its time, ms, its order among steps of the same time, and a function that
#: performs it and returns its size in bytes.
_Told = tuple[float, int, Callable[[], int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One log that is replayed into one conversation.

    Attributes:
        call: the conversation.
        provider: the tracer provider that it writes to.
        survey: the survey of the log.
        sounds: the audio beside it.
        start_ns: time given to its first row, epoch ns.
        speed: speed relative to real time; None: as fast as possible.
        progress: called with the time that was reached, ms into the log.
    """

    call: Conversation
    provider: object
    survey: Survey
    sounds: Sounds
    start_ns: int
    speed: float | None
    progress: Callable[[float], None]

    def tell(self, rows: Iterable[Row | BadRow]) -> None:
        """Replay the log.

        Args:
            rows: its rows, the same that were surveyed.
        """
        began, size, events = time.monotonic(), 0, 0
        streams = [self._rows(rows)]
        for track, tell in ((self.sounds.agent, self._agent), (self.sounds.user, self._user)):
            if track is not None:
                streams.append(_blocks(track, tell))
        for t_ms, _, tell_one in heapq.merge(*streams, key=lambda told: told[:2]):
            if self.speed is not None:
                self.progress(t_ms)
                time.sleep(max(began + t_ms / 1_000 / self.speed - time.monotonic(), 0.0))
            size += tell_one()
            events += 1
            if size > _BYTES or events >= _EVENTS:
                size = events = 0
                self._wait()
                self.progress(t_ms)
        self._wait()
        self.progress(self.survey.duration_ms)

    def _rows(self, rows: Iterable[Row | BadRow]) -> Iterator[_Told]:
        appends, chunks = 0, self.survey.user_chunks
        good = (row for row in rows if isinstance(row, Row))
        for t_ms, row in zip(self.survey.times_ms, good, strict=False):
            event = row.event
            if is_user_audio(row.kind):
                cut = "user" in self.survey.cut
                audio = self.sounds.append(appends, chunks) if cut else None
                event = event if audio is None else {**event, "audio": audio}
                appends += 1
            yield t_ms, 2, self._teller(row.sent, event, self._at(t_ms))

    def _teller(self, sent: bool, event: Any, at_ns: int) -> Callable[[], int]:
        def tell() -> int:
            text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
            (self.call.sent if sent else self.call.received)(text, at_ns=at_ns)
            return len(text)

        return tell

    def _agent(self, track: Track, start: int, end: int) -> _Told:
        """Return the step that records a block of the agent, at the time of its first sample."""
        t_ms = start * 1_000 / track.rate_hz

        def tell() -> int:
            block = track.samples[start:end].tobytes()
            self.call.record_agent_audio(block, rate=track.rate_hz, at_ns=self._at(t_ms))
            return len(block)

        return t_ms, 0, tell

    def _user(self, track: Track, start: int, end: int) -> _Told:
        """Return the step that records a block of the user, at the time after its last sample."""
        t_ms = end * 1_000 / track.rate_hz

        def tell() -> int:
            block = track.samples[start:end].tobytes()
            self.call.record_user_audio(block, rate=track.rate_hz, at_ns=self._at(t_ms))
            return len(block)

        return t_ms, 1, tell

    def _at(self, t_ms: float) -> int:
        return self.start_ns + round(t_ms * NS_PER_MS)

    def _wait(self) -> None:
        engine = getattr(self.call, "_engine", None)  # missing if no conversation could be opened
        recorder = None if engine is None else engine.recorder or engine.frames.recorder
        if recorder is not None:
            recorder.settle(_WAIT_S)
        for processor in batching(self.provider):
            processor.force_flush(round(_WAIT_S * 1_000))


def _blocks(track: Track, tell: Callable[[Track, int, int], _Told]) -> Iterator[_Told]:
    step = max(track.rate_hz * BLOCK_MS // 1_000, 1)
    for start in range(0, len(track.samples), step):
        yield tell(track, start, min(start + step, len(track.samples)))


def batching(provider: object) -> list[BatchSpanProcessor]:
    """Return the processors that drop spans if they arrive too fast.

    The provider's own ``force_flush`` would also wait for LangSmith's processor, which drops no spans.
    """
    several = getattr(provider, "_active_span_processor", None)
    found = getattr(several, "_span_processors", ())
    return [one for one in found if isinstance(one, BatchSpanProcessor)]
