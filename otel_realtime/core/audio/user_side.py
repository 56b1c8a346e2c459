"""Places the user's audio in the recording.

Clients send audio after it was spoken, sometimes long after: an event loop that stalled sends its
backlog in one burst. The only certainty is that audio sent by ``t`` was spoken before ``t``. With
``A(j)`` as the duration of all audio appended up to and including frame ``j``, the origin of the stream
can be no later than ``t(j) - A(j)``. The smallest such bound over the sends of the next five seconds is
used:

    origin(i) = min(t(j) - A(j))   over sends j >= i with t(j) <= t(i) + 5 s
    start(i)  = origin(i) + A(i - 1), not before the end of the frame before, nor before 0

Input: appended frames with the times of their sends. Output: segments. The rules, in order:

1. Audio that would start more than five seconds before its own send is a file, not speech. So is audio
   that arrives all at once, does not adjoin what a microphone sends before or after it, and would lie
   over the agent's speech or before the call. The exception is audio in microphone-sized frames without
   a VAD: push to talk holds it back until the button is released. A file plays from its send on. If the
   answer comes before its end, the file is moved before the answer, as far as there is room after what
   caused it.
2. A gap below 20 ms is jitter, and the frame adjoins the one before it. Between two frames with
   voice the limit is 50 ms, because a gap would be audible as a click. Starts are absolute, so small
   gaps do not accumulate as drift: they open as one gap once their sum reaches the limit.
3. A frame can be placed later than its send although frames arrive at the pace of a microphone:
   after a file or a backlog, or if the client's clock runs fast. The lag is reduced in silence, by
   leaving out the beginning of a quiet frame.

Deciding on a frame takes five seconds of later sends. Until then, queries use what is known so far.

The server's ``audio_start_ms`` and ``audio_end_ms`` count the audio appended in its session, not
wall time; :meth:`UserPlacement.session_time` maps them to the recording
(https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

from otel_realtime.core.audio.formats import NS_PER_MS, NS_PER_S, AudioFormat
from otel_realtime.core.audio.least_origin import LeastOrigin
from otel_realtime.core.audio.room import Room
from otel_realtime.core.audio.segments import LOST, DurationCounter, Segment

LOOK_AHEAD_NS: Final = 5 * NS_PER_S
#: Gaps and lags below this are jitter.
JITTER_NS: Final = 20 * NS_PER_MS
#: The same limit between two frames with voice.
SPEECH_JITTER_NS: Final = 50 * NS_PER_MS
#: Maximum length of a microphone's frames.
MICROPHONE_NS: Final = 60 * NS_PER_MS
#: Audio that arrives all at once and is no longer than this is not a file: clients send microphone audio
#: in batches.
LEAST_FILE_NS: Final = 1_000 * NS_PER_MS
#: Audio this close to what a microphone sends belongs to it.
ADJOINS_NS: Final = 250 * NS_PER_MS


@dataclass(slots=True)
class _Frame:
    """One appended frame.

    Attributes:
        number: Its number among all frames.
        t: When it was sent, in ns since the start.
        before_ns: Duration of all audio before it.
        after_ns: The same, including the frame.
        offset: Where it begins in the source, in bytes; ``LOST`` for a hole.
        size: Its size in bytes.
        quiet: Whether it contains no voice.
        paced: Whether it arrived no faster than twice real time.
    """

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
        """Its duration in ns."""
        return self.after_ns - self.before_ns


class UserPlacement:
    """Places appended frames; memory is bounded by the look-ahead, whatever the call's length.

    Args:
        room: Knows when the agent is speaking.

    Attributes:
        segments: The placements that have been decided, in order and without overlap.
        last_sent_t: When the latest frame was sent, in ns since the start; None before the first.
        detected: Whether the server's VAD reports speech. If so, the client does not use push to talk.
    """

    def __init__(self, room: Room | None = None) -> None:
        self._room = Room() if room is None else room
        # The latest file, until it is answered: when it was sent, the end of the audio placed before
        # it, and its position in all audio.
        self._file: tuple[int, int, int] | None = None
        self._file_end_ns = 0  # up to where the audio belongs to a file
        self._is_live = False  # whether the last placed frame comes from a microphone
        self.detected = False
        self.segments: list[Segment] = []
        self.last_sent_t: int | None = None
        self._appended = DurationCounter()  # lost audio included
        self._decided_ns = 0  # how much of it has been placed
        self._end_ns = 0
        self._script_lag_ns = 0  # of a paced script, which sends its first frame at once
        self._in_speech = False  # whether the last placed frame contains voice
        self._session_ns = 0  # audio appended before the current server session
        self._pending: deque[_Frame] = deque()
        self._least = LeastOrigin()
        self._count = 0

    @property
    def appended_ns(self) -> int:
        """Duration of all audio so far, lost audio included, in ns."""
        return self._appended.total_ns

    def append(self, t: int, offset: int, size: int, *, quiet: bool = False) -> None:
        """Add a frame.

        Args:
            t: When it was sent, in ns since the start.
            offset: Where it begins in the source, in bytes; ``LOST`` for a hole.
            size: Its size in bytes.
            quiet: Whether it contains no voice.
        """
        pending, number = self._pending, self._count
        if pending and pending[0].t + LOOK_AHEAD_NS < t:
            self.advance(t)
        before = self._appended.add(size)
        after = self._appended.total_ns
        spacing = LOOK_AHEAD_NS if self.last_sent_t is None else t - self.last_sent_t
        paced = 2 * spacing >= after - before
        pending.append(_Frame(number, t, before, after, offset, size, quiet, paced))
        least = self._least.add(number, t - after)
        self._count = number + 1
        self.last_sent_t = t
        # Only a bound below all others can reveal that the oldest frame belongs to a file.
        while least and pending and self._is_file(pending[0]):
            self._place(pending[0])

    def append_lost(self, t: int, size: int) -> None:
        """Add audio that was sent but not kept: it takes up its time and is silent."""
        self.append(t, LOST, size)

    def answered(self, t: int) -> None:
        """Note that the agent begins to speak: a file that has not ended by then is moved before it."""
        if self._file is None:
            return
        sent_t, floor, position = self._file
        self._file = None
        first = bisect_left(self.segments, position, key=lambda segment: segment.position_ns)
        own = self.segments[first:]
        if t > sent_t + LOOK_AHEAD_NS or not own or own[0].position_ns != position:
            return
        start = own[0].start_ns
        self._extend_file()
        end = start + self._file_end_ns - position
        earlier = min(end - t, start - max(floor, self._room.caused(sent_t)))
        if earlier > 0:
            for segment in own:
                segment.start_ns -= earlier
            self._end_ns -= earlier

    def advance(self, t: int) -> None:
        """Decide all frames whose look-ahead ends before ``t``."""
        while self._pending and self._pending[0].t + LOOK_AHEAD_NS < t:
            self._place(self._pending[0])

    def finish(self) -> None:
        """Decide all pending frames; no more will come."""
        while self._pending:
            self._place(self._pending[0])

    def set_format(self, audio_format: AudioFormat) -> None:
        """Set the format of the frames from now on."""
        self.finish()  # pending frames are in the previous format
        self._appended.set_format(audio_format)

    def reset(self) -> None:
        """Begin a new server session: its ``audio_*_ms`` count from here."""
        self._session_ns = self._appended.total_ns

    def session_time(self, audio_ms: int) -> int | None:
        """Return when the audio at ``audio_start_ms`` or ``audio_end_ms`` was spoken, in ns."""
        return self.time_at(self.session_position(audio_ms))

    def session_position(self, audio_ms: int) -> int:
        """Return the position in all appended audio, in ns, for a position in the server's session."""
        return self._session_ns + audio_ms * NS_PER_MS

    def times(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """Map a stretch of the appended audio, its start and end in ns, as ``time_at`` does."""
        # 1 ns later, so that audio after a gap gets its own start, not the end of the audio before it.
        start, end = self.time_at(span[0] + 1), self.time_at(span[1])
        if start is None or end is None:
            return None
        start = max(start - 1, 0)
        return start, max(start, end)

    def time_at(self, audio_ns: int) -> int | None:
        """Map a position in the appended audio to the recording.

        Args:
            audio_ns: Position in ns; a position beyond the end counts as the end.

        Returns:
            Time in ns since the start, which never decreases as ``audio_ns`` increases; None
            before any audio.
        """
        if not self._appended.total_ns:
            return None
        audio_ns = min(max(audio_ns, 0), self._appended.total_ns)
        if audio_ns > self._decided_ns or not self.segments:
            return self._pending_time_at(audio_ns)
        index = bisect_left(self.segments, audio_ns, key=lambda segment: segment.position_ns)
        segment = self.segments[max(index - 1, 0)]
        past = max(audio_ns - segment.position_ns, 0)
        return min(segment.start_ns + past, segment.end_ns)

    def _pending_time_at(self, audio_ns: int) -> int:
        index = bisect_left(self._pending, audio_ns, key=lambda frame: frame.after_ns)
        number = self._pending[index].number
        lag = self._end_ns - self._decided_ns
        return max(self._least.since(number) + audio_ns, lag + audio_ns, 0)

    def _is_file(self, frame: _Frame) -> bool:
        return self._least.ns + frame.before_ns < frame.t - LOOK_AHEAD_NS

    def _place(self, frame: _Frame) -> None:
        """Decide the oldest pending frame and remove it from the window."""
        before, file_end_ns = frame.before_ns, self._file_end_ns
        start = self._least.ns + before
        if file_end_ns and (before < file_end_ns or (before == file_end_ns and not frame.paced)):
            self._file_end_ns = max(file_end_ns, frame.after_ns)
            start = self._end_ns
            self._is_live = False
        # Nearly all frames are placed shortly before their send; those need no further check.
        elif start > frame.t - LEAST_FILE_NS:
            self._is_live = True
        else:
            is_clip = self._is_clip(frame)
            self._is_live = not (is_clip or self._is_file(frame))
            if not self._is_live:
                start = max(self._file_start(frame, is_clip=is_clip), self._end_ns)
        self._pending.popleft()
        self._least.drop(frame.number)
        self._decided_ns = frame.after_ns
        # A frame sent before it could have been recorded comes from a script, not a microphone.
        if not self.segments and -frame.duration_ns <= start < 0:
            self._script_lag_ns = -start
        start = max(start, 0)
        late = self._end_ns - start
        skipped = 0
        lag = late - self._script_lag_ns
        if frame.quiet and frame.paced and lag >= JITTER_NS:
            skipped = min(self._appended.format.size(lag), frame.size)
        elif -late < self._jitter_ns(frame) and self.segments:
            start = self._end_ns
        self._in_speech = not frame.quiet
        self._write(frame, max(start, self._end_ns), skipped)

    def _jitter_ns(self, frame: _Frame) -> int:
        return SPEECH_JITTER_NS if self._in_speech and not frame.quiet else JITTER_NS

    def _burst(self) -> tuple[list[_Frame], _Frame | None]:
        """Return the burst that begins with the oldest pending frame, and the frame after it."""
        burst = [self._pending[0]]
        for frame in islice(self._pending, 1, None):
            if frame.paced:
                return burst, frame
            burst.append(frame)
        return burst, None

    def _extend_file(self) -> None:
        """Count pending frames that came at once with the latest file as a part of it."""
        for frame in self._pending:
            if frame.before_ns >= self._file_end_ns:
                if frame.paced:
                    return
                self._file_end_ns = frame.after_ns

    def _is_clip(self, frame: _Frame) -> bool:
        """Return whether the oldest pending frame begins a file shorter than five seconds."""
        start = self._least.ns + frame.before_ns
        if not frame.paced or start > frame.t - LEAST_FILE_NS:
            return False
        burst, follower = self._burst()
        end = start + burst[-1].after_ns - frame.before_ns
        if end - start <= LEAST_FILE_NS or (start >= 0 and not self._room.is_taken(start, end)):
            return False
        if self._is_live and start - self._end_ns <= ADJOINS_NS:  # a microphone's backlog
            return False
        if follower and follower.t - follower.duration_ns <= burst[-1].t + ADJOINS_NS:
            return False
        # With push to talk, the button may be held while the agent speaks.
        return self.detected or any(one.duration_ns > MICROPHONE_NS for one in burst)

    def _file_start(self, frame: _Frame, *, is_clip: bool) -> int:
        """Return the start of a file, or of a frame that a later send makes look far too early.

        A burst that begins with the frame is a file. Otherwise the sends before the first burst come from
        a microphone, and only they place the frame.
        """
        pending = self._pending
        if is_clip or len(pending) < 2 or not pending[1].paced:
            burst, _ = self._burst()
            self._file_end_ns = burst[-1].after_ns
            self._file = (frame.t, self._end_ns, frame.before_ns)
            return self._room.start(frame.t, self._file_end_ns - frame.before_ns)
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
        begins_file = self._file is not None and self._file[2] == frame.before_ns
        continues = start == self._end_ns and not begins_file
        if last and continues and last.is_continued_by(offset, audio_format):
            last.size += size
        else:
            position = frame.before_ns + audio_format.duration_ns(skipped)
            last = Segment(start, offset, size, audio_format, position)
            self.segments.append(last)
        self._end_ns = last.end_ns
