"""Records one conversation: the app's side enqueues references, and the writer's side processes them.

The app's side costs a fraction of a microsecond per audio frame: one comparison, one addition and one
``deque.append``, which is atomic in CPython, so no lock is taken. It never blocks and never raises,
whatever the disk does. Frames are decoded, measured and written on the writer thread::

    app's tasks and threads              writer thread (or the app's, in ``drain``)
    frame, event, tap, note, ...  -->  queue  -->  process  -->  Track  -->  files

Memory is bounded across all conversations of the process: beyond ``BACKLOG_BYTES``, the audio of a live
call is dropped and becomes a gap of the right length. When an app replays a call from its log, faster
than real time, it waits for the writer instead.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

# Bound at import: a test of the app that patches ``time.monotonic`` must not end a recording.
from time import monotonic, monotonic_ns, perf_counter
from typing import Any, Final

from otel_realtime import diagnostics
from otel_realtime.background import Worker
from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.core.audio.redactions import Stretch, Words
from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.interrupts import let_through
from otel_realtime.recording.track import AudioSummary, TapAudio, Track

#: Maximum number of bytes of enqueued frames in a process.
BACKLOG_BYTES: Final = 64 << 20
#: Above this number of bytes, the writer is woken. A few calls' audio can wait for seconds, but an app that
#: replays a call as fast as it can fills the backlog sooner than that.
CROWDED_BYTES: Final = 8 << 20
#: Maximum age of a conversation's facts, in seconds.
MAX_STALE_S: Final = 1.0
#: Talk times of a recording of up to 5 minutes are measured on any thread, because it takes about 1 ms.
MEASURED_INLINE_NS: Final = 300_000_000_000
#: Bytes that an enqueued note counts as; its real size is not known before it is encoded.
NOTE_BYTES: Final = 1024
#: Longest single wait of a replay, in seconds. After that the disk counts as stuck, and the replay no longer
#: waits.
REPLAY_PATIENCE_S: Final = 10.0
#: On an event loop, which must not wait, a replay processes entries itself for this long for each frame.
REPLAY_HELP_S: Final = 0.005

#: Maximum number of audio frames, and approximate maximum of their bytes, that are processed at once. They
#: take less than half a millisecond (see ``recording.pacing``).
RUN_FRAMES: Final = 64
RUN_BYTES: Final = 64 << 10

#: An audio frame in the queue: when (ns since the start), whether the client sent it, and the frame.
FrameEntry = tuple[int, bool, "str | bytes"]
#: A note in the queue: when, ``None``, and its kind and data.
NoteEntry = tuple[int, None, tuple[str, Mapping[str, Any]]]
#: An entry of the queue. Times are ns since the start; the flag is set if the client sent it.
Entry = (
    FrameEntry
    | tuple[int, bool, Mapping[str, Any]]  # an event that says something about audio
    | NoteEntry
    | Callable[[], object]  # anything else
)


class Backlog:
    """Number of bytes enqueued in a process, across all its conversations.

    Attributes:
        queued: the number.
        hurried: the writer was woken because of these bytes and has not started its round yet.

    ``queued`` is changed without a lock, because every frame would have to pay for one. CPython switches
    threads only at calls and jumps, so no update is lost as long as nothing is called between the read and
    the write. Without a GIL an update may be lost; the writer corrects that (``settle``).
    """

    __slots__ = ("hurried", "queued")

    def __init__(self) -> None:
        self.queued: float = 0
        self.hurried = False

    def settle(self) -> None:
        """Reset the number when nothing is enqueued, apart from what arrives at this moment."""
        self.queued = 0


# Backlog of a closed recorder. It is always full, so closed recorders drop frames without an extra check
# on the hot path.
_CLOSED: Final = Backlog()
_CLOSED.queued = float("inf")


class _Hole:
    """An entry for consecutive dropped audio frames: their number and size by direction.

    The sending and receiving threads add to it until the writer counts it.
    """

    __slots__ = ("_counted", "_lock", "_track", "frames", "sizes", "t")

    def __init__(self, track: Track, t: int) -> None:
        self._track = track
        self._lock = threading.Lock()
        self._counted = False
        self.t = t
        self.frames = {True: 0, False: 0}
        self.sizes = {True: 0, False: 0}

    def add(self, sent: bool, size: int) -> bool:
        """Add a frame; return ``False`` if the entry was already counted."""
        with self._lock:
            if self._counted:
                return False
            self.frames[sent] += 1
            self.sizes[sent] += size
        return True

    def __call__(self) -> None:
        with self._lock:
            self._counted = True
        for sent, frames in self.frames.items():
            if frames:
                self._track.hole(self.t, sent, frames, self.sizes[sent])


class _WriterOnly:
    """An entry that may take long or accesses the disk; ``drain`` leaves it to the writer thread."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __call__(self) -> None:
        self._call()


class Recorder:
    """Records one conversation.

    Methods of the app's side may be called from any thread. They take constant time, never block and
    never raise. Times ``t`` are ns since the conversation's start on the recording's clock. Enqueued
    objects are kept by reference and must not be changed afterwards.

    Args:
        track: the recording; used only by the thread that holds ``_processing``.
        backlog: bytes enqueued in the process.
        worker: runs the writer.
        mono_ns: ``time.monotonic_ns()`` at the conversation's start; ``None``: time advances only with
            what is recorded.

    Attributes:
        on_tick: called on the writer thread in each of its rounds until the close, with a time up to
            which everything has been processed.
        fresh: facts are known as of the latest tick; otherwise a query for them takes long.
        hurried: the writer should visit this recorder now instead of in its next regular round.
        clock: returns the time in place of the monotonic clock, if the app provides the times; set by
            ``use_clock``.
    """

    def __init__(self, track: Track, backlog: Backlog, worker: Worker, mono_ns: int | None) -> None:
        self._track = track
        self._backlog = backlog  # becomes ``_CLOSED`` at the close
        self._shared = backlog
        self._worker = worker
        self.hurried = False
        # Held while entries are processed: by the writer thread, or by an app's thread in ``drain``.
        self._processing = threading.Lock()
        self._mono_ns = mono_ns
        self.on_tick: Callable[[int], None] | None = None
        self.clock: Callable[[], int] | None = None
        self._is_replay: Callable[[], bool] | None = None
        self._done = False
        self.fresh = True
        self._refreshed = 0.0
        self._queue: deque[Entry] = deque([_WriterOnly(track.open)])
        self._append = self._queue.append

    # -- the app's side ----------------------------------------------------------------------------

    def frame(self, t: int, sent: bool, frame: str | bytes) -> None:
        """Enqueue an audio frame, unparsed.

        A frame is a client's ``input_audio_buffer.append`` or a server's
        ``response.output_audio.delta`` (beta: ``response.audio.delta``).

        Args:
            t: when it was sent or received.
            sent: the client sent it.
            frame: text or bytes of the frame.
        """
        backlog = self._backlog
        size = len(frame)
        if backlog.queued > CROWDED_BYTES and not (self._has_room() or self._make_room()):
            self._record_hole(t, sent, size)
            return
        backlog.queued += size
        self._append((t, sent, frame))

    def event(self, t: int, sent: bool, event: Mapping[str, Any]) -> None:
        """Enqueue a parsed event whose type is in ``AUDIO_EVENTS``."""
        if self._backlog is not _CLOSED:
            self._append((t, sent, event))

    def tap(self, t: int, side: str, audio: TapAudio) -> None:
        """Enqueue audio that the app hears (side ``user``) or plays (side ``agent``)."""
        backlog = self._backlog
        if backlog.queued <= CROWDED_BYTES or self._has_room() or self._make_room():
            size = len(audio.raw)
            backlog.queued += size
            self._append(partial(self._process_tap, t, side, audio))
        elif backlog is not _CLOSED:
            self._append(partial(self._track.tap_hole, side, audio))

    def played(self, t: int, item_id: str, content_index: int, audio_ms: float) -> None:
        """Enqueue how much of an item the app has played, in ms."""
        if self._backlog is not _CLOSED:
            self._append(partial(self._track.played, t, item_id, content_index, audio_ms))

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Enqueue a journal record ``[kind, t, data]`` about the trace; see ``state.notes``.

        Args:
            kind: kind of the record.
            data: JSON values.
        """
        backlog = self._backlog
        if backlog.queued <= CROWDED_BYTES or self._has_room():
            backlog.queued += NOTE_BYTES
            self._append((self.now(), None, (kind, data)))

    def use_clock(
        self, clock: Callable[[], int], is_replay: Callable[[], bool] | None = None
    ) -> None:
        """Use the times that the app provides from now on.

        Args:
            clock: returns the current time, ns since the start.
            is_replay: returns whether the app is replaying a call instead of running it live, so that
                it may be kept waiting.
        """
        if self.clock is None:
            self.clock, self._is_replay = clock, is_replay
            self._append(partial(self._track.use_given_times, 0))

    def jump(self) -> None:
        """Note that the app's times jumped forward and that the real time that passed is unknown."""
        if self._backlog is not _CLOSED:
            self._append(self._track.jump)

    def lose(self, t: int) -> None:
        """Note that the connection closed; queued audio still plays, and another connection may continue."""
        if self._backlog is not _CLOSED:
            self._append(partial(self._track.lose, t))

    def regain(self, t: int) -> None:
        """Note that another connection continues the conversation."""
        if self._backlog is not _CLOSED:
            self._append(partial(self._track.regain, t))

    def pause(self, t: int) -> None:
        """Discard audio that is enqueued from now on, until ``resume``."""
        self._append_urgent(partial(self._track.pause, t))

    def resume(self, t: int) -> None:
        """Keep audio again, after ``pause``."""
        self._append_urgent(partial(self._track.resume, t))

    def redact(self, t: int, stretch: Stretch) -> None:
        """Enqueue that a stretch is to be silenced in the finished recording."""
        if self._backlog is not _CLOSED:
            self._append_urgent(partial(self._track.redact, t, stretch))

    def spoken(self, t: int, side: str, item_id: str, place: Sequence[int | None]) -> None:
        """Enqueue where an item that arrives in fragments is, before its words are silenced.

        Args:
            t: when that became known.
            side: who said it.
            item_id: the item.
            place: the rest of the record; see ``core.audio.timeline``.
        """
        if self._backlog is not _CLOSED:
            self._append(partial(self._track.spoken, t, side, item_id, place))

    def silence_words(self, t: int, words: Words, text: str | None) -> None:
        """Enqueue that words of an item are to be silenced in the finished recording.

        Args:
            t: when that became known.
            words: the words.
            text: ``PARTIAL`` or ``COMPLETE``; see ``Redactions.add_words``.
        """
        if self._backlog is not _CLOSED:
            self._append_urgent(partial(self._track.silence_words, t, words, text))

    def keep_no_audio(self) -> None:
        """Stop writing audio to disk; facts about it are still collected."""
        self._append_urgent(self._track.keep_no_audio)

    def close(self, t: int, *, by_client: bool) -> None:
        """End the recording; later calls of this side have no effect.

        This method does not wake the writer; ``catch_up`` does. Otherwise the writer would start on the
        entries that the caller is about to process itself, and the caller would have to wait for it.

        Args:
            t: when the conversation ended.
            by_client: the app ended it.
        """
        if self._backlog is not _CLOSED:
            self._backlog = _CLOSED
            self._append(partial(self._track.close, t, by_client))
            measure = self._track.measure
            self._append(measure if t <= MEASURED_INLINE_NS else _WriterOnly(measure))
            self._append(_WriterOnly(self._finish))

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything enqueued so far is in the timeline and on disk.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``False`` on timeout.
        """
        reached = threading.Event()
        self._append(_WriterOnly(partial(self._mark, reached)))
        self.wake()
        return self._worker.wait_until(lambda: self._done or reached.is_set(), timeout_s)

    def catch_up(self, budget_s: float) -> None:
        """Process what is enqueued, within a budget in seconds, so that its facts are known.

        A plain thread waits for the writer. On an event loop nothing may block (BlockBuster, which
        ``langgraph dev`` runs under, raises there), so the entries are processed on this thread.
        """
        if _on_event_loop():
            self.drain(budget_s / 2)
        else:
            self.settle(budget_s)

    def drain(self, budget_s: float) -> None:
        """Process entries on this thread without blocking: no wait for a lock, no disk access.

        If the writer is processing at this moment, or once the budget (in seconds) is used up, the rest
        is left to the writer.
        """
        try:
            if self._processing.acquire(blocking=False):
                try:
                    end = perf_counter() + budget_s
                    self._process_entries(lambda: perf_counter() >= end, inline=True)
                finally:
                    self._processing.release()
        finally:
            self.wake()

    def now(self) -> int:
        """Return the current time on the recording's clock, never before the latest record."""
        if self.clock is not None:
            return max(self.clock(), self._track.last_t)
        if self._mono_ns is None:
            return self._track.last_t
        return max(monotonic_ns() - self._mono_ns, self._track.last_t)

    # -- facts, thread-safe ------------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """Folder of the journal and the audio; ``None`` if nothing is on disk."""
        return self._track.folder

    def item(self, item_id: str) -> ItemAudio | None:
        """Return what is known so far about an item's audio; ``None`` if it has none."""
        return self._track.item(item_id)

    def statement_due(self, item_id: str) -> int:
        """Return until when an item's unknown heard time may still be stated; 0: it is not pending."""
        return self._track.statement_due(item_id)

    def user_time(self, audio_ms: int) -> int | None:
        """Return when the user spoke at a position of the input audio buffer (``audio_start_ms``).

        https://platform.openai.com/docs/api-reference/realtime-server-events/input_audio_buffer/speech_started

        Returns:
            Time in ns since the conversation's start; ``None`` before any audio was appended.
        """
        return self._track.user_time(audio_ms)

    def user_item(self, item_id: str) -> tuple[int, int] | None:
        """Return when the user spoke an item that the client itself committed (push to talk).

        Returns:
            Start and end in ns since the conversation's start; ``None`` if the VAD committed it.
        """
        return self._track.user_item(item_id)

    def user_speech(self, item_id: str) -> tuple[int, int] | None:
        """Return when the user spoke an item: only the speech, without the padding and pauses around it.

        Returns:
            Start and end in ns since the conversation's start; ``None`` if neither a VAD nor a
            commit says where it is.
        """
        return self._track.user_speech(item_id)

    def last_voice(self, before_t: int) -> int | None:
        """Return the end of the user's last 20 ms frame with speech that ends by ``before_t``.

        Returns:
            Time in ns since the conversation's start; ``None`` if the user was silent.
        """
        return self._track.last_voice(before_t)

    def summary(self) -> AudioSummary:
        """Return totals of the part of the recording that has been processed."""
        return self._track.summary()

    def redacted(self) -> list[Stretch]:
        """Return what is silenced in the part of the recording that has been processed, in order."""
        return self._track.redacted()

    def timeline(self) -> Timeline | None:
        """Return the timeline of the finished recording, which no longer changes.

        Returns:
            ``None`` if the recording is not finished, or if it is incomplete on disk.
        """
        return self._track.timeline() if self._done else None

    def discard(self) -> None:
        """Delete the folder, because everything was delivered or the recording is not wanted."""
        self._append(_WriterOnly(self._track.discard))
        self.wake()
        if self._done:  # the writer no longer looks at this recorder
            self._track.discard()

    # -- the writer's side -------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the recording is closed and completely written."""
        return self._done

    @property
    def pending(self) -> bool:
        """Whether entries are waiting."""
        return bool(self._queue)

    def process(self, due: Callable[[], bool]) -> bool:
        """Process entries and write to disk; on the writer thread.

        Args:
            due: returns whether to stop after the current entry.

        Returns:
            Whether entries are left.
        """
        with self._processing:
            self._process_entries(due)
            self._track.flush()
            self._refresh()
            return bool(self._queue)

    def _refresh(self) -> None:
        """Prepare queries here, so that a caller that holds a lock does not have to."""
        now = monotonic()
        at_once = now >= self._refreshed + MAX_STALE_S
        self.fresh = self._track.refresh(at_once=at_once)
        if self.fresh:
            self._refreshed = now

    def _process_entries(self, due: Callable[[], bool], *, inline: bool = False) -> None:
        """Process entries until ``due()``; called with ``_processing`` held.

        Args:
            due: as for ``process``.
            inline: on the app's thread: stop before a ``_WriterOnly`` entry.
        """
        queue, track, freed = self._queue, self._track, 0
        try:
            while queue:
                if inline and isinstance(queue[0], _WriterOnly):
                    break
                entry = queue.popleft()
                notes: list[NoteEntry] = []
                try:
                    if not isinstance(entry, tuple):
                        entry()
                    elif entry[1] is None:
                        notes.append(entry)
                    elif isinstance(entry[2], (str, bytes)):
                        run, notes, size = self._take_frames(entry)
                        freed += size
                        track.frames(run)
                    else:
                        track.event(entry[0], entry[1], entry[2])
                except BaseException as error:  # noqa: BLE001 - an internal fault costs only this entry
                    let_through(error)
                    diagnostics.report("recording", error)
                freed += NOTE_BYTES * len(notes)
                self._write_notes(notes)
                if due():
                    break
        finally:  # also for an entry that raised: it has left the queue
            self._shared.queued -= freed

    def _take_frames(self, first: FrameEntry) -> tuple[list[FrameEntry], list[NoteEntry], int]:
        """Remove the audio frames that follow one, up to the size of a slice.

        Notes between them do not concern the timeline, so they are put off until after the frames.

        Returns:
            All frames, including the first one; the notes; and the size of the frames.
        """
        queue, size = self._queue, len(first[2])
        run: list[FrameEntry] = [first]
        notes: list[NoteEntry] = []
        while queue and len(run) < RUN_FRAMES and size < RUN_BYTES:
            entry = queue[0]
            if not isinstance(entry, tuple):
                break
            if entry[1] is None:
                notes.append(entry)
            elif isinstance(entry[2], (str, bytes)):
                run.append((entry[0], entry[1], entry[2]))
                size += len(entry[2])
            else:
                break
            queue.popleft()  # the same entry: no other thread removes any
        return run, notes, size

    def _write_notes(self, notes: list[NoteEntry]) -> None:
        for t, _, (kind, data) in notes:
            try:
                self._track.note(t, kind, data)
            except BaseException as error:  # noqa: BLE001 - an internal fault costs only this note
                let_through(error)
                diagnostics.report("recording", error)

    def fail(self, error: BaseException) -> None:
        """Stop writing after an internal fault; facts are still collected."""
        self._track.fail(error)

    def abandon(self) -> None:
        """Forget everything without writing, in a forked child: the files are the parent's."""
        self._processing = threading.Lock()  # a thread of the parent may have held it
        self._backlog = _CLOSED
        self._done = True
        self._queue.clear()
        self._track.abandon()

    def _finish(self) -> None:
        try:
            self._track.finish()
        finally:
            self._done = True

    def _process_tap(self, t: int, side: str, audio: TapAudio) -> None:
        size = len(audio.raw)
        self._shared.queued -= size
        self._track.tap(t, side, audio)

    def _mark(self, reached: threading.Event) -> None:
        self._track.flush()
        reached.set()

    def _append_urgent(self, entry: Callable[[], object]) -> None:
        """Enqueue something that a kill must not undo: that some audio is not to be heard."""
        self._append(entry)
        self.wake()

    def wake(self) -> None:
        """Make the writer visit this recorder now."""
        self.hurried = True
        self._worker.hurry()

    def _has_room(self) -> bool:
        """Wake the writer, once; return whether the backlog accepts more."""
        backlog = self._backlog
        if backlog is not _CLOSED and not backlog.hurried:
            backlog.hurried = True
            self.wake()
        return backlog.queued <= BACKLOG_BYTES

    def _make_room(self) -> bool:
        """Make a replay wait for the writer or help it; return whether there is room now.

        Do not call this while holding a lock that the writer thread may need.
        """
        is_replay = self._is_replay
        if is_replay is None or self._backlog is _CLOSED or not is_replay():
            return False
        backlog = self._shared
        if _on_event_loop():
            self._help(REPLAY_HELP_S)
            # While the writer itself is processing it cannot be helped, so accept some more.
            return backlog.queued <= 2 * BACKLOG_BYTES
        backlog.hurried = True  # the bytes may belong to other recordings
        self.wake()
        has_room = self._worker.wait_until(
            lambda: backlog.queued <= BACKLOG_BYTES, REPLAY_PATIENCE_S
        )
        if not has_room:
            self._is_replay = None
        return has_room

    def _help(self, budget_s: float) -> None:
        """Process entries on this thread, as soon as the writer is not doing so, within a budget."""
        end = perf_counter() + budget_s
        while self._shared.queued > BACKLOG_BYTES and perf_counter() < end:
            self.drain(end - perf_counter())

    def _record_hole(self, t: int, sent: bool, size: int) -> None:
        """Enqueue a gap for a dropped frame, or extend the one that is last in the queue."""
        if self._backlog is _CLOSED:
            return
        # Not ``if self._queue``: the writer thread may empty the queue in between.
        try:
            last: Entry | None = self._queue[-1]
        except IndexError:
            last = None
        if not (isinstance(last, _Hole) and last.add(sent, size)):
            hole = _Hole(self._track, t)
            hole.add(sent, size)
            self._append(hole)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
