"""Where the user's audio sits in the recording.

Clients send audio after it was spoken, sometimes long after: a stalled loop sends its backlog in
one burst. What is certain is that audio sent by ``t`` was spoken before ``t``. With ``A(j)`` the
audio appended up to and including frame ``j``, the stream's origin can therefore be no later than
``t(j) - A(j)``, and the smallest of these over the sends of the next five seconds is taken::

    origin(i) = min(t(j) - A(j))   for sends j >= i with t(j) <= t(i) + 5 s
    start(i)  = origin(i) + A(i - 1), not before the end of the frame before, nor before 0

* A gap below 20 ms is jitter: the frame is glued to the one before; so it is below 50 ms in the
  midst of speech, where a gap would click. The start is absolute, so small gaps do not add up to
  a drift; they open as one gap once they are real.
* Audio that would sit more than five seconds before its own send is a file, not speech: it runs
  on from its send.
* Frames that would begin only after they were sent, although they come at the pace of a
  microphone (after a file or a backlog, or with a clock that runs fast), catch up in silence:
  the beginning of a quiet frame is left out.

A decision needs five seconds of later sends; until then queries use what is known so far.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Final

from otel_realtime.core.audio.formats import NS, AudioFormat
from otel_realtime.core.audio.segments import LOST, Odometer, Segment

LOOK_AHEAD_NS: Final = 5 * NS
GLUE_NS: Final = NS // 50
"""Gaps and lags below this are jitter."""
SPEECH_GLUE_NS: Final = NS // 20
"""Gaps below this do not open between two frames with voice in them."""


@dataclass(slots=True)
class _Frame:
    number: int
    t: int
    before_ns: int
    after_ns: int
    offset: int
    size: int
    quiet: bool
    paced: bool

    @property
    def duration_ns(self) -> int:
        return self.after_ns - self.before_ns


class UserPlacement:
    """Places appended frames; bounded by the look-ahead, whatever the length of the call.

    Attributes:
        segments: what has been decided, in order and without overlap.
        last_sent_t: when the latest frame was sent; None before the first.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.last_sent_t: int | None = None
        self._appended = Odometer()  # lost audio included
        self._decided_ns = 0  # how much of it is placed
        self._end_ns = 0
        self._script_lag_ns = 0  # a script that keeps pace sends its first frame at once
        self._in_speech = False  # the last placed frame has voice in it
        self._session_ns = 0
        self._pending: deque[_Frame] = deque()
        self._origins: deque[tuple[int, int]] = deque()  # (frame number, origin), origins rising
        self._count = 0

    @property
    def appended_ns(self) -> int:
        """All audio so far, what was lost included."""
        return self._appended.total_ns

    def append(self, t: int, offset: int, size: int, *, quiet: bool = False) -> None:
        """Add a frame of ``size`` bytes sent at ``t``; ``offset`` is its place in the source."""
        self.advance(t)
        before = self._appended.add(size)
        after = self._appended.total_ns
        spacing = LOOK_AHEAD_NS if self.last_sent_t is None else t - self.last_sent_t
        paced = 2 * spacing >= after - before
        self._pending.append(_Frame(self._count, t, before, after, offset, size, quiet, paced))
        self._add_origin(self._count, t - after)
        self._count += 1
        self.last_sent_t = t
        # Only an origin below all others can turn out that the oldest frame belongs to a file.
        while len(self._origins) == 1 and self._pending and self._is_file(self._pending[0]):
            self._place(self._pending[0])

    def lose(self, t: int, size: int) -> None:
        """Add audio that was sent but not kept: it takes its time and stays silent."""
        self.append(t, LOST, size)

    def advance(self, t: int) -> None:
        """Decide every frame whose look-ahead lies before ``t``."""
        while self._pending and self._pending[0].t + LOOK_AHEAD_NS < t:
            self._place(self._pending[0])

    def finish(self) -> None:
        """Decide what is left; no more frames will come."""
        while self._pending:
            self._place(self._pending[0])

    def set_format(self, audio_format: AudioFormat) -> None:
        """Read the frames from here on in another format."""
        self.finish()  # what came before is decided in its own format
        self._appended.set_format(audio_format)

    def reset(self) -> None:
        """A new server session begins: its ``audio_*_ms`` count from here."""
        self._session_ns = self._appended.total_ns

    def session_time(self, audio_ms: int) -> int | None:
        """When the audio at the server's ``audio_start_ms``/``audio_end_ms`` was spoken."""
        return self.time_at(self._session_ns + audio_ms * 1_000_000)

    def time_at(self, audio_ns: int) -> int | None:
        """Map a position in the appended audio to recording time; None before any audio.

        Positions past the end count as its end. Rises with ``audio_ns``.
        """
        if not self._appended.total_ns:
            return None
        audio_ns = min(max(audio_ns, 0), self._appended.total_ns)
        if audio_ns > self._decided_ns or not self.segments:
            return self._time_pending(audio_ns)
        at = bisect_left(self.segments, audio_ns, key=lambda segment: segment.position_ns)
        segment = self.segments[max(at - 1, 0)]
        past = max(audio_ns - segment.position_ns, 0)
        return min(segment.start_ns + past, segment.end_ns)

    def _time_pending(self, audio_ns: int) -> int:
        at = bisect_left(self._pending, audio_ns, key=lambda frame: frame.after_ns)
        number = self._pending[at].number
        first = bisect_left(self._origins, number, key=lambda origin: origin[0])
        lag = self._end_ns - self._decided_ns
        return max(self._origins[first][1] + audio_ns, lag + audio_ns, 0)

    def _add_origin(self, number: int, origin: int) -> None:
        while self._origins and self._origins[-1][1] >= origin:
            self._origins.pop()
        self._origins.append((number, origin))

    def _is_file(self, frame: _Frame) -> bool:
        return self._origins[0][1] + frame.before_ns < frame.t - LOOK_AHEAD_NS

    def _place(self, frame: _Frame) -> None:
        """Decide the oldest pending frame and leave the window."""
        start = (
            self._file_start(frame)
            if self._is_file(frame)
            else self._origins[0][1] + frame.before_ns
        )
        self._pending.popleft()
        if self._origins[0][0] == frame.number:
            self._origins.popleft()
        self._decided_ns = frame.after_ns
        if not self.segments and -frame.duration_ns <= start < 0:
            self._script_lag_ns = -start
        start = max(start, 0)
        late = self._end_ns - start
        skipped = 0
        lag = late - self._script_lag_ns
        if frame.quiet and frame.paced and lag >= GLUE_NS:
            skipped = min(self._appended.format.size(lag), frame.size)
        elif -late < self._glue_ns(frame) and self.segments:
            start = self._end_ns
        self._in_speech = not frame.quiet
        self._write(frame, max(start, self._end_ns), skipped)

    def _glue_ns(self, frame: _Frame) -> int:
        return SPEECH_GLUE_NS if self._in_speech and not frame.quiet else GLUE_NS

    def _file_start(self, frame: _Frame) -> int:
        """Where audio starts that something later makes look far too early.

        The sends up to the first burst are a microphone's and place the frame; a burst itself
        starts when it was sent.
        """
        pending = self._pending
        if len(pending) < 2 or not pending[1].paced:
            return frame.t
        origin = frame.t - frame.after_ns
        for follower in list(pending)[1:]:
            if not follower.paced:
                break
            origin = min(origin, follower.t - follower.after_ns)
        start = origin + frame.before_ns
        return start if start >= frame.t - LOOK_AHEAD_NS else frame.t

    def _write(self, frame: _Frame, start: int, skipped: int) -> None:
        size = frame.size - skipped
        if size <= 0:
            return
        audio_format = self._appended.format
        offset = frame.offset if frame.offset == LOST else frame.offset + skipped
        last = self.segments[-1] if self.segments else None
        if last is not None and start == self._end_ns and last.goes_on(offset, audio_format):
            last.size += size
        else:
            position = frame.before_ns + audio_format.duration_ns(skipped)
            last = Segment(start, offset, size, audio_format, position)
            self.segments.append(last)
        self._end_ns = last.end_ns
