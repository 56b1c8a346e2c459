"""The engine of one conversation: it opens, handles frames, and ends.

``frames`` handles the frames. Responses are written as spans later, on the writer thread (``tick``),
when it is known how much of their audio was played. Every entry point catches this package's own
errors.

Life of a conversation::

    created --begin--> open --frames--> open --end--> closed --finisher--> delivered
       |                                 |              ^
       |                                 +---waiting----+
       +-- not sampled, or suppressed: closed from the start

A conversation is waiting while its socket has closed and another one may continue it; see ``between``.

Threads: frames and the end run on the app's tasks and threads, ``tick`` runs on the writer thread, and
posting and delivery run on their own threads. ``frames.lock`` serialises all changes of state and spans.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.clock import Clock
from otel_realtime.conversation.between import Between
from otel_realtime.conversation.endings import ended_by_app, ended_by_close, ended_since
from otel_realtime.conversation.frames import Frames
from otel_realtime.core.protocol.latency import response_audio
from otel_realtime.core.protocol.outcome import Ending, Tally
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.core.protocol.responses import Moment, Response, ToolCall
from otel_realtime.delivery.finisher import Finish
from otel_realtime.interrupts import let_through
from otel_realtime.recording.pacing import Pacer
from otel_realtime.state.notes import Notes
from otel_realtime.state.progress import POSTED, Progress
from otel_realtime.state.release import release
from otel_realtime.state.stored import note_stored
from otel_realtime.tracing.handoff import write_handoff
from otel_realtime.tracing.inference import Inference, write_inference
from otel_realtime.tracing.mcp import write_unfinished
from otel_realtime.tracing.transcription import write_interrupted

if TYPE_CHECKING:
    from otel_realtime.process.process import Process
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.settings import Settings
    from otel_realtime.tap.interface import Close
    from otel_realtime.tracing.closing import RootEnd
    from otel_realtime.tracing.tool import OpenTool
    from otel_realtime.tracing.trace import Trace

#: Longest time the close spends on processing the last audio, so that the root's facts are complete.
CLOSE_BUDGET_S: Final = 0.005
#: The same for a recorded conversation that the app replays faster than it was spoken: no caller waits.
REPLAY_WAIT_S: Final = 10.0
#: Maximum number of unsettled responses to examine while the conversation is locked; takes less than 1 ms.
MOST_LOOKS: Final = 16
#: Maximum number of responses that one tick writes, so that other conversations get their turn.
MOST_SETTLED: Final = 32
#: Longest time the posting thread waits until the journal's first line is on disk.
POST_WAIT_S: Final = 1.0


class Engine:
    """One conversation, from its first frame until its delivery is handed to the finisher.

    Args:
        trace: trace of the conversation.
        process: services of this process.

    Attributes:
        trace: trace of the conversation.
        clock: clock of the conversation.
        frames: handles its frames.
        between: handles the time between two of its sockets.
        carrier: the sink of the socket that carries it now; ``None`` if there is none.
        public: the app's ``Conversation``; ``None`` until the app asks for it.
    """

    def __init__(self, trace: Trace, process: Process) -> None:
        self.trace = trace
        self.clock: Clock = trace.clock
        self.frames = Frames(trace, self)
        self.between = Between(trace, self.frames)
        self.carrier: object = None
        self.public: object = None
        self._process = process
        self._activation = trace.activation
        self._tally = Tally()
        # Responses that the close wrote; their metrics are recorded when all audio has been processed.
        self._last: list[tuple[Response, Inference]] = []

    def begin(self, recorder: Recorder) -> None:
        """Accept frames from now on.

        Args:
            recorder: records the audio and writes the journal.
        """
        journaled = self.trace.journaled
        if journaled:
            self.trace.membership.note = recorder.note
            # The journal must exist before the post: without a journal no recovery could end the run
            # if this process died, and the run would stay pending forever.
            self.trace.before_post = partial(recorder.settle, POST_WAIT_S)
            if recorder.folder is not None:
                self.trace.after_post = partial(Progress(recorder.folder).note, POSTED)
                self.trace.membership.stored = partial(note_stored, recorder.folder)
        notes = Notes(recorder.note, recorder.wake) if journaled else Notes()
        self.frames.begin(recorder, notes)

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` of this conversation."""
        return self.trace.settings.end_on_sigterm

    @property
    def closed(self) -> bool:
        """Whether the conversation has ended, or is not traced at all."""
        return self.frames.closed

    @property
    def folder(self) -> Path | None:
        """Folder of the journal and the audio; ``None`` if the conversation is not on disk."""
        return self.frames.recorder.folder if self.frames.recorder is not None else None

    def knows_item(self, item_id: str) -> bool:
        """Return whether an item belongs to this conversation."""
        return self.frames.state.items.get(item_id) is not None

    # -- calls of the app --------------------------------------------------------------------------

    @property
    def recorder(self) -> Recorder | None:
        """Recorder for audio from the app; ``None`` once the conversation is closed."""
        return None if self.frames.closed else self.frames.recorder

    def enter_tool(
        self,
        call_id: str | None,
        name: str | None,
        arguments: str | None,
        *,
        adapted: bool = False,
    ) -> OpenTool:
        """Open a tool's span at the exact start of its execution; see ``Conversation.tool``.

        Returns:
            The open tool, for ``leave_tool``.
        """
        moment = self.clock.moment()
        with self.frames.lock:
            call = None
            if call_id is not None:
                # The app may start a tool before the event that announces its call is handled.
                call = self.frames.state.calls.setdefault(call_id, ToolCall(call_id))
            if arguments is not None and self._is_private(call_id):
                arguments = HIDDEN
            return self.trace.tools.enter(call, name, arguments, moment, adapted=adapted)

    def leave_tool(self, entered: OpenTool, error: object) -> None:
        """Leave the block of a tool that has returned or has raised ``error``."""
        moment, failure = self.clock.moment(), None
        if isinstance(error, Exception):  # cancellation is not a failure of the tool
            private = self._is_private(None if entered.call is None else entered.call.id)
            failure = self.trace.tool_raised(entered.span, error, moment.at_ns, private=private)
        with self.frames.lock:
            self.trace.tools.leave(entered, moment.at_ns, failure)

    def knows_call(self, call_id: str) -> bool:
        """Return whether the model made this call in this conversation and the conversation is open."""
        return not self.frames.closed and call_id in self.frames.state.calls

    def handed_over(self, agent: str, call_id: str | None, begun: Moment) -> None:
        """Trace that a framework handed the conversation over to another agent.

        Args:
            agent: name of that agent.
            call_id: the model's call that asked for the handover, if any.
            begun: when the framework began the handover.
        """
        moment = self.clock.moment()
        with self.frames.lock:
            if not self.frames.closed:
                trace = self.trace
                parent = trace.tools.context_of(call_id) or trace.writer.root
                write_handoff(trace.writer, agent, parent, begun, moment.at_ns)

    def _is_private(self, call_id: str | None) -> bool:
        return self.frames.pause is not None and self.frames.pause.is_private(call_id)

    def pause(self) -> bool:
        """Pause the recording; return ``False`` if there is no recording."""
        with self.frames.lock:
            if self.frames.closed or self.frames.recorder is None:
                return False
            self.frames.keep_texts(self.clock.moment())
            self.frames.pause = self.frames.pause or Pause()
            if self.frames.pause.enter(self.frames.state):  # false inside an outer pause
                self.frames.pause_begins(self.clock.moment())
                self.frames.recorder.pause(self.clock.moment().t)
            return True

    def resume(self) -> None:
        """End a pause of the recording; an outer pause continues."""
        with self.frames.lock:
            if not self.frames.closed:
                self.frames.keep_texts(self.clock.moment())
            ended = self.frames.pause is not None and self.frames.pause.leave()
            if ended:
                self.frames.pause_ends(self.clock.moment())
            if ended and self.frames.recorder is not None:
                self.frames.recorder.resume(self.clock.moment().t)

    def describe(
        self, metadata: Mapping[str, Any], tags: tuple[str, ...], settings: Settings | None = None
    ) -> None:
        """Add metadata and tags to the root.

        Args:
            metadata: metadata from the app.
            tags: tags from the app.
            settings: settings whose privacy rules apply from now on where they are stricter.
        """
        with self.frames.lock:
            if self.frames.closed and self.trace.sampled:
                diagnostics.warn_once(
                    "late description",
                    "metadata or tags were given to a conversation that has ended; it stays as it was",
                )
                return
            self.trace.add_metadata(metadata)
            self.trace.add_tags(tags)
            self.frames.notes.about(self.trace.identity)
            if settings is not None:
                self.trace.restrict_policy(settings)
                self.frames.notes.tightened(self.trace.writer.policy)
                if self.frames.recorder is not None and not self.trace.recorded:
                    self.frames.recorder.keep_no_audio()

    # -- the writer thread -------------------------------------------------------------------------

    def tick(self, now_t: int) -> None:
        """Write the responses whose audio facts are final, and store text that has grown.

        Called on the writer thread.

        Args:
            now_t: time up to which all audio has been processed, in ns since the start.
        """
        # Check without the lock first, because most ticks have nothing to do.
        frames = self.frames
        if frames.closed or not (frames.state.unsettled or frames.texts_due(now_t)):
            return
        # Whether audio that is still playing is heard is known only when another socket continues the
        # conversation, or when it ends without one.
        if self.between.parted is not None:
            return
        pacer = Pacer()
        try:
            # One response at a time: the app's task may be waiting for the lock.
            for _ in range(MOST_SETTLED):
                with frames.lock:
                    if frames.closed or self.between.parted is not None:
                        return
                    if frames.texts_due(now_t):
                        frames.keep_texts(self.clock.moment())
                    # - 1, because events of this very nanosecond may still be queued
                    settled = frames.state.take_settled(
                        now_t - 1, frames.recorder, looks=MOST_LOOKS, most=1
                    )
                    self._settle(settled)
                if not settled:
                    return
                pacer.rest()
        except BaseException as error:  # noqa: BLE001 - the writer thread also serves other conversations
            let_through(error)
            diagnostics.report("settling", error)

    def _settle(self, responses: list[Response], now_ns: int | None = None) -> None:
        """Write responses as spans; called with the lock held.

        Args:
            responses: settled responses.
            now_ns: end time for responses without ``response.done``, in epoch ns; ``None`` means now.
        """
        if now_ns is None:
            now_ns = self.clock.start_ns + self.clock.t()
        for response in responses:
            inference = write_inference(
                self.trace.writer, response, self.frames.state, self.frames.recorder, now_ns
            )
            self._tally.add(inference.sound)
            if self.frames.closed:
                self._last.append((response, inference))
            else:
                self.trace.metrics.inference(response, inference)
        # After the spans, because a recovery writes the responses that have no note.
        self.frames.notes.settled(responses)

    # -- the end -----------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None) -> None:
        """End the conversation on behalf of the app.

        Args:
            error: the app's exception; cancellation is not an error.
        """
        self.end(lambda: ended_by_app(error, self.trace.writer.policy))

    def closed_by(self, close: Close) -> None:
        """End the conversation because its connection has ended for good."""
        self.end(lambda: ended_by_close(close, self.trace.writer.policy))

    def part(self, close: Close) -> bool:
        """Let the conversation wait for another socket; return ``False`` if it has ended."""
        try:
            return self.between.part(close)
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("closing", error)
            return False

    def end(self, make_ending: Callable[[], Ending]) -> None:
        """End the conversation, once. All its spans have ended when this returns.

        A conversation that waits for another socket ends with the time and the ending of its latest
        socket, unless the app reports a failure. This method never makes a blocking call on an event
        loop: BlockBuster, which ``langgraph dev`` runs under, would raise there.

        Args:
            make_ending: returns how the conversation ended.
        """
        try:
            ending = make_ending()
        except BaseException as error:  # noqa: BLE001 - the conversation must end anyway
            let_through(error)
            diagnostics.report("closing", error)
            ending = Ending()
        try:
            self._end(ending)
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("closing", error)

    def _end(self, ending: Ending) -> None:
        recorder, steps = self.frames.recorder, diagnostics.Steps("closing")
        if recorder is None:
            return
        # 1. Journal the end, so that a recovery does not treat the conversation as killed.
        with self.frames.lock:
            if self.frames.closed:
                return
            parted = self.between.parted
            if parted is not None:
                ending, moment = ended_since(parted.ending, ending), parted.moment
            else:
                moment = self.clock.end()
            with steps:
                self.frames.reference.ended_ns = time.monotonic_ns()
            with steps:
                self.frames.keep_texts(moment)
            with steps:
                dropped, refused = self.trace.events.dropped, self.trace.refused
                self.frames.notes.ended(
                    ending, moment, self.frames.state.counts.events, dropped, otlp=refused
                )
            with steps:
                recorder.close(moment.t, by_client=ending.by_client)
        # 2. Process the last audio, without the lock: the writer thread may need it for ``tick``.
        with steps:
            if self.clock.is_replay:
                recorder.settle(REPLAY_WAIT_S)
            else:
                recorder.catch_up(CLOSE_BUDGET_S)
        # 3. End all spans, unless another thread has ended the conversation meanwhile.
        with self.frames.lock:
            if self.frames.closed:
                return
            self.frames.closed = True
            self.carrier = None  # breaks a reference cycle: the sink refers to this conversation
            self._finish(recorder, ending, moment, steps)
        # 4. Give this task the app's own context back.
        with steps:
            if self._activation.attached:
                self._activation.leave()
        steps.report()

    def _finish(
        self, recorder: Recorder, ending: Ending, moment: Moment, steps: diagnostics.Steps
    ) -> None:
        """End all spans, the root last, and hand the rest to the finisher.

        No step depends on the success of an earlier one; called with the lock held.
        """
        trace, closing = self.trace, None
        try:
            with steps:
                self._settle(self.frames.state.take_remaining(), moment.at_ns)
            with steps:
                trace.events.end(moment.at_ns)
            with steps:
                trace.tools.close(moment.at_ns)
            with steps:
                write_unfinished(trace.writer, self.frames.state, moment.at_ns)
            with steps:
                write_interrupted(trace.writer, self.frames.state, moment)
            with steps:
                closing = trace.end(self.frames.state, self._tally, recorder, ending, moment)
        finally:  # also after a KeyboardInterrupt, which ``steps`` lets pass
            trace.ensure_ended(moment.at_ns)
            self._process.closed(self)
        with steps:
            trace.metrics.closed(moment.t / 1e9, "error" if ending.failure else "ok")
            diagnostics.lose(diagnostics.EVENT, trace.events.dropped)
        with steps:
            self._hand_over(recorder, closing, moment, partial(self._measure, recorder))

    def _measure(self, recorder: Recorder) -> None:
        """Record the metrics of the responses that the close wrote, and of the whole talk.

        Called when all audio has been processed; at the close, some of it was still queued.
        """
        for response, inference in self._last:
            sound = response_audio(response, self.frames.state, recorder)
            self.trace.metrics.inference(response, replace(inference, sound=sound))
        self.trace.metrics.talk(recorder.summary())

    def _hand_over(
        self,
        recorder: Recorder,
        closing: RootEnd | None,
        moment: Moment,
        measure: Callable[[], None],
    ) -> None:
        """Submit the remaining work to the finisher, which runs in the background."""
        trace, process = self.trace, self._process
        process.finisher.submit(
            Finish(
                recorder=recorder,
                settings=trace.settings,
                recorded=trace.recorded,
                name=trace.name,
                info=trace.recording_info(),
                delivery=trace.delivery,
                describe=partial(_describe, recorder),
                about=None if closing is None else closing.about,
                stored=trace.store,
                processed=measure,
                # Evaluated later, when all audio has been processed.
                closing=(
                    None if closing is None else lambda: closing.with_final_tally().run_closing()
                ),
                last_resort=lambda: trace.last_resort(moment.at_ns),
                done=partial(_delivered, trace, process),
                release=(
                    partial(_release, trace, process, recorder)
                    if trace.settings.deliver == "worker"
                    else None
                ),
                tidy=partial(process.tidy, trace.settings),
            )
        )

    def drop(self) -> None:
        """Forget the conversation in a forked child: it belongs to the parent process."""
        self.frames.closed = True
        self.frames.lock = threading.Lock()  # a thread of the parent may have held it
        self.trace.activation.reset_after_fork()
        self.trace.writer.event = None
        self.trace.tools.drop()


def _describe(recorder: Recorder, folder: Path, file: str, duration_s: float, rate_hz: int) -> str:
    """Return the call as JSON text, from its journal and the recorder's facts; on the keeper's thread."""
    from otel_realtime.recovery.call import text_of  # imports all of recovery, which no call needs

    return text_of(recorder, folder, file, duration_s, rate_hz)


def _release(trace: Trace, process: Process, recorder: Recorder) -> None:
    """Hand over to the worker what has ended: the journal, the audio and the spans.

    Raises:
        OSError: the files cannot be moved.
    """
    process.finished(trace.membership)  # from now on, a span that ends late is released by itself
    release(trace.settings.state_dir, recorder.folder, trace.take_batches())


def _delivered(trace: Trace, process: Process, recording: str | None) -> None:
    """Count the recording's outcome and forget the members: everything is delivered or given up."""
    try:
        if recording is not None:
            trace.metrics.upload(recording)
    finally:  # even if one of the app's metric instruments raises
        process.finished(trace.membership)
