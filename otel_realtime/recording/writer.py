"""The background thread of a process that writes its recordings.

It visits its conversations every 500 ms, works in slices of about a millisecond (see
``recording.pacing``), and sleeps while there are no conversations.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

# Bound at import: a test of the app that patches ``time.monotonic`` must not affect our threads.
from time import monotonic
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.interrupts import let_through
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.recorder import Backlog, Recorder
from otel_realtime.recording.track import Track

#: All writers, to be reset in a forked child.
_writers: weakref.WeakSet[Writer] = weakref.WeakSet()

#: Interval between two rounds. A kill loses what arrived since the last round, which is at most a second.
#: Processing many frames at once costs a fraction of processing them one by one. A caller that cannot wait
#: wakes the writer.
POLL_S: Final = 0.5
THREAD_NAME: Final = "otel-realtime-writer"


class Writer:
    """Writes the recordings of a process; its thread starts with the first conversation."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        # One thread serves all conversations, so files are written in order without a lock.
        self._worker = Worker(THREAD_NAME)
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._live: list[Recorder] = []
        self._due = 0.0  # when the next regular round begins, ``monotonic``
        self._scheduled = False  # a round is running or due

    def open(
        self,
        header: Mapping[str, object],
        *,
        folder: Path | None,
        on_tick: Callable[[int], None] | None = None,
        audio: bool = True,
    ) -> Recorder:
        """Begin a recording.

        Args:
            header: JSON values for the journal's first record. ``mono_ns``, if present, is
                ``time.monotonic_ns()`` at the conversation's start, and ticks follow that clock.
                Without it they follow the times of what is recorded.
            folder: folder of the journal and the audio, which the writer creates; ``None``: write
                nothing and only collect facts.
            on_tick: called on the writer thread in each round until the recording is closed, with a
                time in ns since the start up to which everything has been processed. May also be set
                later, as ``Recorder.on_tick``.
            audio: write audio to disk; ``False``: only the journal.
        """
        mono_ns = header.get("mono_ns")
        track = Track(header, folder, keeps_audio=audio)
        clock = mono_ns if isinstance(mono_ns, int) else None
        recorder = Recorder(track, self._backlog, self._worker, clock)
        recorder.on_tick = on_tick
        with self._lock:
            self._live.append(recorder)
            idle, self._scheduled = not self._scheduled, True
        self._worker.resume()
        recorder.hurried = True  # its first line should be on disk before the root run is posted
        if idle:
            self._worker.submit(self._round, repeats=True)
        else:
            self._worker.hurry()
        return recorder

    def shutdown(self, timeout_s: float) -> bool:
        """Write what is enqueued and stop; a later ``open`` starts the thread again.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            ``False`` on timeout.
        """
        deadline = monotonic() + timeout_s
        settled = [
            recorder.settle(max(deadline - monotonic(), 0.0)) for recorder in list(self._live)
        ]
        stopped = self._worker.stop(max(deadline - monotonic(), 0.0))
        with self._lock:
            self._scheduled = False
        return all(settled) and stopped

    def reset_after_fork(self) -> None:
        """Forget all recordings in a forked child without writing; also called automatically."""
        live = self._live
        self._reset()
        self._backlog.queued = 0
        self._backlog.hurried = False
        for recorder in live:
            recorder.abandon()

    # -- the writer thread -------------------------------------------------------------------------

    def _round(self) -> Again | None:
        """Visit every conversation once, or only the hurried ones if the round comes early.

        The job repeats as long as there are conversations.
        """
        with self._lock:
            live = list(self._live)
        # Also visit all of them if the backlog caused the round: its bytes may belong to any of them.
        if monotonic() >= self._due or self._backlog.hurried:
            self._backlog.hurried = False
            self._due = monotonic() + POLL_S
        else:
            live = [recorder for recorder in live if recorder.hurried]
        pacer = Pacer()
        for recorder in live:
            try:
                self._visit(recorder, pacer)
            except BaseException as error:  # noqa: BLE001 - must not affect other conversations
                diagnostics.report("writing", error)
        with self._lock:
            if not any(recorder.pending for recorder in self._live):
                self._backlog.settle()
            self._live = [recorder for recorder in self._live if not recorder.done]
            if not self._live:
                self._scheduled = False
                return None
        return Again(max(self._due - monotonic(), 0.0))

    def _visit(self, recorder: Recorder, pacer: Pacer) -> None:
        # Taken before processing: afterwards, everything enqueued up to this time has been processed.
        recorder.hurried = False
        now_t = recorder.now()
        while self._process(recorder, pacer):
            pacer.rest()
        if recorder.on_tick is not None and recorder.fresh and not recorder.done:
            recorder.on_tick(now_t)
            if recorder.pending:  # notes that the tick wrote should not wait for the next round
                self._process(recorder, pacer)
        pacer.step()

    def _process(self, recorder: Recorder, pacer: Pacer) -> bool:
        """Process entries for one slice; return whether some are left."""
        try:
            return recorder.process(pacer.due)
        except BaseException as error:  # noqa: BLE001 - ends this recording, not the others
            let_through(error)
            recorder.fail(error)
            diagnostics.report("writing", error)
            return recorder.pending


def _after_fork() -> None:
    for writer in list(_writers):
        writer.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
