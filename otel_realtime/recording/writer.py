"""The one background thread of a process that writes recordings.

It looks at its conversations every 40 ms, works in slices of about a millisecond (see
:mod:`otel_realtime.recording.pacing`), and sleeps while there are none.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from otel_realtime.recording.pacing import Pacer
from otel_realtime.recording.recorder import Backlog, Recorder
from otel_realtime.recording.track import Track

__all__ = ["Recorder", "Writer"]

logger = logging.getLogger(__name__)

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()

POLL_S: Final = 0.04
THREAD_NAME: Final = "otel-realtime-writer"


class Writer:
    """Writes the recordings of a process; its thread starts with the first conversation."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._faults: set[str] = set()
        self._reset()
        _writers.add(self)

    def _reset(self) -> None:
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._live: list[Recorder] = []

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
        recorder = Recorder(track, self._backlog, self._wake.set, clock)
        recorder.on_tick = on_tick
        with self._guard:
            self._live.append(recorder)
            self._start()
        self._wake.set()
        return recorder

    def shutdown(self, timeout_s: float) -> bool:
        """Write what is queued and stop; a later ``open`` starts again.

        Returns:
            False if that took longer than ``timeout_s``.
        """
        with self._guard:
            thread, self._stopping = self._thread, True
        self._wake.set()
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout_s)
        return not thread.is_alive()

    def reset_after_fork(self) -> None:
        """In a fork's child: let go of every recording, write nothing; done by itself, too."""
        live = self._live
        self._reset()
        self._backlog.queued = 0
        for recorder in live:
            recorder.abandon()

    # --- the thread -----------------------------------------------------------------------------

    def _start(self) -> None:
        self._stopping = False
        if self._thread is not None:
            return
        thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads: the call goes on, nothing is written
            for recorder in self._live:
                recorder.abandon()
                recorder.fail(error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while True:
            self._wake.clear()
            with self._guard:
                live, stopping = list(self._live), self._stopping
            pacer = Pacer()
            for recorder in live:
                self._serve(recorder, pacer)
            with self._guard:
                self._live = [recorder for recorder in self._live if not recorder.done]
                if stopping and self._stopping:
                    self._thread = None
                    return
                idle = not self._live
            self._wake.wait(None if idle else POLL_S)

    def _serve(self, recorder: Recorder, pacer: Pacer) -> None:
        now_t = recorder.now()  # before the drain: all that was queued until then is taken in after
        while self._write(recorder, pacer):
            pacer.rest()
        if recorder.on_tick is not None and not recorder.done:
            try:
                recorder.on_tick(now_t)
            except Exception as error:  # noqa: BLE001 - must not end the thread
                self._report(error)
        pacer.step()

    def _write(self, recorder: Recorder, pacer: Pacer) -> bool:
        try:
            return recorder.take(pacer.due)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the thread
            recorder.fail(error)
            self._report(error)
            return recorder.pending

    def _report(self, error: Exception) -> None:
        kind = type(error).__name__
        if kind not in self._faults:
            self._faults.add(kind)
            logger.error("telemetry lost, the conversation is fine", exc_info=error)


def _after_fork() -> None:
    for writer in list(_writers):
        writer.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
