"""The app's side of one recording: it only puts references into a queue.

The numbers to hold are a fraction of a microsecond per audio frame on the app's task, no wait and
no exception, whatever the disk does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from otel_realtime.background import Worker
from otel_realtime.core.audio.parts import ItemAudio
from otel_realtime.recording.track import AudioSummary, TapAudio, Track

BACKLOG_BYTES: Final = 64 << 20
"""Frames a process may hold back; beyond it audio becomes a counted hole."""
#: Talk times of a recording up to this long (5 minutes: about 1 ms) may be measured anywhere.
MEASURED_INLINE_NS: Final = 300_000_000_000
NOTE_BYTES: Final = 1024
"""What a queued note counts as."""

Entry = tuple[int, "bool | None", Any] | Callable[[], object]


class Backlog:
    """Bytes queued in one process, over all its conversations."""

    __slots__ = ("queued",)

    def __init__(self) -> None:
        self.queued: float = 0


_SHUT: Final = Backlog()
_SHUT.queued = float("inf")  # what a closed recorder counts against: it takes nothing any more


class _Hole:
    """Consecutive frames that found the backlog full: how many of each direction, and their size."""

    __slots__ = ("_track", "frames", "sizes", "t")

    def __init__(self, track: Track, t: int) -> None:
        self._track = track
        self.t = t
        self.frames = {True: 0, False: 0}
        self.sizes = {True: 0, False: 0}

    def add(self, sent: bool, size: int) -> None:
        self.frames[sent] += 1
        self.sizes[sent] += size

    def __call__(self) -> None:
        for sent, frames in self.frames.items():
            if frames:
                self._track.hole(self.t, sent, frames, self.sizes[sent])


class _WriterOnly:
    """An entry that may take long, or touches the disk: never worked off on the app's thread."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __call__(self) -> None:
        self._call()


class Recorder:
    """Records one conversation.

    ``frame``, ``event``, ``note`` and ``close`` may be called from any thread; they are O(1), never
    block and never raise. Times ``t`` are ns since the conversation's start on the recording's
    clock. Queued objects are kept by reference and must not be changed afterwards.

    Attributes:
        on_tick: called on the writer's thread, about every 40 ms until the close, with a time up to
            which everything has been taken in.
        clock: tells the time instead of the monotonic clock, where the app gives times itself.
    """

    def __init__(self, track: Track, backlog: Backlog, worker: Worker, mono_ns: int | None) -> None:
        self._track = track
        self._backlog = backlog
        self._shared = backlog
        self._worker = worker
        self._wake = worker.hurry
        #: Held by whoever works entries off: the writer, or the app's thread in ``drain``.
        self._taking = threading.Lock()
        self._mono_ns = mono_ns
        self.on_tick: Callable[[int], None] | None = None
        self.clock: Callable[[], int] | None = None
        self._done = False
        self._queue: deque[Entry] = deque([_WriterOnly(track.open)])
        self._append = self._queue.append

    # --- the app's side -------------------------------------------------------------------------

    def frame(self, t: int, sent: bool, frame: str | bytes) -> None:
        """Queue an audio frame, unparsed.

        That is a client's ``input_audio_buffer.append`` or a server's
        ``response.output_audio.delta`` (beta: ``response.audio.delta``).
        """
        backlog = self._backlog
        size = len(frame)
        if backlog.queued > BACKLOG_BYTES:
            self._lose(t, sent, size)
            return
        backlog.queued += size
        self._append((t, sent, frame))

    def event(self, t: int, sent: bool, event: Mapping[str, Any]) -> None:
        """Queue a parsed event whose type is in ``AUDIO_EVENTS``."""
        if self._backlog is not _SHUT:
            self._append((t, sent, event))

    def tap(self, t: int, side: str, given: TapAudio) -> None:
        """Queue what the app itself hears (``user``) or plays (``agent``)."""
        backlog = self._backlog
        if backlog.queued <= BACKLOG_BYTES:
            backlog.queued += len(given.raw)
            self._append(partial(self._take_tap, t, side, given))
        elif backlog is not _SHUT:
            self._append(self._track.lose_tap)

    def played(self, t: int, item_id: str, content_index: int, audio_ms: float) -> None:
        """Queue how far the app has played an item."""
        if self._backlog is not _SHUT:
            self._append(partial(self._track.played, t, item_id, content_index, audio_ms))

    def note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Queue a journal record ``[kind, t, data]`` of the trace's own, of JSON values."""
        backlog = self._backlog
        if backlog.queued <= BACKLOG_BYTES:
            backlog.queued += NOTE_BYTES
            self._append((self.now(), None, (kind, data)))

    def pause(self, t: int) -> None:
        """Keep no audio that is queued from here on, until ``resume``."""
        self._append(partial(self._track.pause, t))

    def resume(self, t: int) -> None:
        """Keep audio again."""
        self._append(partial(self._track.resume, t))

    def keep_no_audio(self) -> None:
        """Write no more sound to disk; facts about it are still kept."""
        self._append(self._track.keep_no_audio)

    def close(self, t: int, *, by_client: bool) -> None:
        """End the recording; later calls of this side change nothing."""
        if self._backlog is not _SHUT:
            self._backlog = _SHUT
            self._append(partial(self._track.close, t, by_client))
            measure = self._track.measure
            self._append(measure if t <= MEASURED_INLINE_NS else _WriterOnly(measure))
            self._append(_WriterOnly(self._finish))
            self._wake()

    def settle(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is in the timeline and on disk.

        Returns:
            False if that took longer than ``timeout_s``.
        """
        reached = threading.Event()
        self._append(_WriterOnly(partial(self._mark, reached)))
        self._wake()
        return self._worker.wait_until(lambda: self._done or reached.is_set(), timeout_s)

    def catch_up(self, budget_s: float) -> None:
        """Let the facts of what is queued be known, as far as that takes no time of the app's.

        On a plain thread that is a short wait for the writer. On an event loop nothing may wait
        (BlockBuster, which ``langgraph dev`` runs under, raises then), so it is worked off here.
        """
        if _on_event_loop():
            self.drain(budget_s / 2)
        else:
            self.settle(budget_s)

    def drain(self, budget_s: float) -> None:
        """Work off what is queued on this thread, without waiting for anything or anybody.

        For an event loop, which must not be blocked: nothing is written to disk here, and if the
        writer is at it just now, or the budget is used up, the rest is left to the writer.
        """
        if not self._taking.acquire(blocking=False):
            return
        try:
            end = time.perf_counter() + budget_s
            self._take(lambda: time.perf_counter() >= end, inline=True)
        finally:
            self._taking.release()
            self._wake()

    def now(self) -> int:
        """This moment on the recording's clock; the latest record's time if it has its own."""
        if self.clock is not None:
            return max(self.clock(), self._track.last_t)
        if self._mono_ns is None:
            return self._track.last_t
        return max(time.monotonic_ns() - self._mono_ns, self._track.last_t)

    # --- facts ----------------------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """Where the recording stands; None if nothing of it is on disk."""
        return self._track.folder

    def item(self, item_id: str) -> ItemAudio | None:
        """What is known of an item's audio by now; None if it has none."""
        return self._track.item(item_id)

    def user_time(self, audio_ms: int) -> int | None:
        """When the user's audio at the server's ``audio_start_ms``/``audio_end_ms`` was spoken.

        Returns:
            ns since the conversation's start; None before any audio was appended.
        """
        return self._track.user_time(audio_ms)

    def last_voice(self, before_t: int) -> int | None:
        """End of the user's last 20 ms above -45 dBFS that end by ``before_t``; None if silent."""
        return self._track.last_voice(before_t)

    def summary(self) -> AudioSummary:
        """The recording in numbers, as far as it has been written."""
        return self._track.summary()

    def discard(self) -> None:
        """Delete the folder: it has been delivered, or nobody wants it."""
        self._append(_WriterOnly(self._track.discard))
        self._wake()
        if self._done:  # nobody may be there to do it
            self._track.discard()

    # --- the writer's side ----------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the recording has been closed and written to its end."""
        return self._done

    def take(self, due: Callable[[], bool]) -> bool:
        """Work off entries until ``due()`` or none is left, and write; True if some are left."""
        with self._taking:
            self._take(due)
            self._track.flush()
            return bool(self._queue)

    def _take(self, due: Callable[[], bool], *, inline: bool = False) -> None:
        queue, track, freed = self._queue, self._track, 0
        try:
            while queue:
                if inline and isinstance(queue[0], _WriterOnly):
                    break
                entry = queue.popleft()
                if not isinstance(entry, tuple):
                    entry()
                elif entry[1] is None:
                    freed += NOTE_BYTES
                    track.note(entry[0], *entry[2])
                elif isinstance(entry[2], (str, bytes)):
                    freed += len(entry[2])
                    track.frame(entry[0], entry[1], entry[2])
                else:
                    track.event(entry[0], entry[1], entry[2])
                if due():
                    break
        finally:
            self._shared.queued -= freed

    @property
    def pending(self) -> bool:
        """Whether entries wait for the writer."""
        return bool(self._queue)

    def fail(self, error: BaseException) -> None:
        """Go on without writing after a fault of our own."""
        self._track.fail(error)

    def abandon(self) -> None:
        """Let go of everything without writing: nobody will (a fork's child)."""
        self._taking = threading.Lock()
        self._backlog = _SHUT
        self._done = True
        self._queue.clear()
        self._track.abandon()

    def _finish(self) -> None:
        try:
            self._track.finish()
        finally:
            self._done = True

    def _take_tap(self, t: int, side: str, given: TapAudio) -> None:
        self._shared.queued -= len(given.raw)
        self._track.tap(t, side, given)

    def _mark(self, reached: threading.Event) -> None:
        self._track.flush()
        reached.set()

    def _lose(self, t: int, sent: bool, size: int) -> None:
        if self._backlog is _SHUT:
            return
        try:
            last: Entry | None = self._queue[-1]
        except IndexError:
            last = None
        if not isinstance(last, _Hole):
            last = _Hole(self._track, t)
            self._append(last)
        last.add(sent, size)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
