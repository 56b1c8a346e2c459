"""The one background worker of a process that writes recordings.

It looks at its conversations every 40 ms, works in slices of about a millisecond (see
:mod:`otel_realtime.recording.pacing`), and sleeps while there are none.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from otel_realtime import diagnostics
from otel_realtime.background import Again, Worker
from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.recorder import Backlog, Recorder
from otel_realtime.recording.track import Track

__all__ = ["Recorder", "Writer"]

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()

POLL_S: Final = 0.04
THREAD_NAME: Final = "otel-realtime-writer"


class Writer:
    """Writes the recordings of a process; its thread starts with the first conversation."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._worker = Worker(THREAD_NAME)
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._live: list[Recorder] = []
        #: A round is going on or due.
        self._scheduled = False

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
            header: JSON values for the journal's first record. ``mono_ns``, if given, is
                ``time.monotonic_ns()`` at the conversation's start and makes ticks follow it;
                without it they follow the times of what is recorded.
            folder: where journal and sources go; it is created by the writer. None: nothing goes
                to disk, only facts are kept.
            on_tick: called with the time (ns since the conversation's start) on the writer's
                thread, about every 40 ms until the recording is closed; may also be set later as
                ``Recorder.on_tick``.
            audio: keep the sound on disk, too; without it the journal says only what there was.
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
        if idle:
            self._worker.submit(self._round)
        else:
            self._worker.hurry()
        return recorder

    def shutdown(self, timeout_s: float) -> bool:
        """Write what is queued and stop; a later ``open`` starts again.

        Returns:
            False if that took longer than ``timeout_s``.
        """
        settled = all(recorder.settle(timeout_s) for recorder in list(self._live))
        stopped = self._worker.stop(timeout_s)
        with self._lock:
            self._scheduled = False
        return settled and stopped

    def reset_after_fork(self) -> None:
        """In a fork's child: let go of every recording, write nothing; done by itself, too."""
        live = self._live
        self._reset()
        self._backlog.queued = 0
        for recorder in live:
            recorder.abandon()

    # --- the thread -----------------------------------------------------------------------------

    def _round(self) -> Again | None:
        """Look at every conversation once."""
        with self._lock:
            live = list(self._live)
        pacer = Pacer()
        for recorder in live:
            try:
                self._serve(recorder, pacer)
            except BaseException as error:  # noqa: BLE001 - must cost nobody else
                diagnostics.report("writing", error)
        with self._lock:
            self._live = [recorder for recorder in self._live if not recorder.done]
            if not self._live:
                self._scheduled = False
                return None
        return Again(POLL_S)

    def _serve(self, recorder: Recorder, pacer: Pacer) -> None:
        now_t = recorder.now()  # before the drain: all that was queued until then is taken in after
        while self._write(recorder, pacer):
            pacer.rest()
        if recorder.on_tick is not None and not recorder.done:
            recorder.on_tick(now_t)
        pacer.step()

    def _write(self, recorder: Recorder, pacer: Pacer) -> bool:
        try:
            return recorder.take(pacer.due)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost the others
            recorder.fail(error)
            diagnostics.report("writing", error)
            return recorder.pending


def _after_fork() -> None:
    for writer in list(_writers):
        writer.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
