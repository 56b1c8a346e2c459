"""The engine of a live conversation: it opens, handles frames, and ends.

What a frame does is in ``frames``. The writer thread calls back to write the responses that were
waiting for sound. Every entry is walled off, so no fault of ours reaches the app.

The life of a conversation::

    created --begin--> open --frames--> open --end--> closed --finisher--> delivered
       |                                                ^
       +-- not sampled, or suppressed: closed from the start
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.clock import Clock
from otel_realtime.conversation.endings import ended_by_app, ended_by_close
from otel_realtime.conversation.frames import Frames
from otel_realtime.core.protocol.outcome import Ending, Tally
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import HIDDEN
from otel_realtime.core.protocol.responses import Moment, ToolCall
from otel_realtime.delivery.finisher import Finish
from otel_realtime.state.notes import Notes
from otel_realtime.tracing.inference import write_inference

if TYPE_CHECKING:
    from otel_realtime.process.process import Process
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.settings import Settings
    from otel_realtime.tap.interface import Close
    from otel_realtime.tracing.closing import RootEnd
    from otel_realtime.tracing.tool import OpenTool
    from otel_realtime.tracing.trace import Trace

#: Longest time spent, at the close, on letting the sound's last facts be known.
CLOSE_BUDGET_S: Final = 0.005
#: The same for a conversation of the past, fed by hand faster than it was spoken: no call waits.
REPLAY_WAIT_S: Final = 10.0
#: Longest wait of the posting thread for the journal's first line.
POST_WAIT_S: Final = 1.0


class Engine:
    """One conversation, from its first frame to the hand-over of what is left to deliver.

    Args:
        trace: its trace.
        process: the services of this process.

    Attributes:
        trace: its trace.
        clock: tells its times.
        frames: handles its frames.
        face: the app's ``Conversation``, once it asked for it.
    """

    def __init__(self, trace: Trace, process: Process) -> None:
        self.trace = trace
        self.clock: Clock = trace.clock
        self.frames = Frames(trace, self)
        self.face: object = None
        self._process = process
        self._activation = trace.activation
        self._tally = Tally()

    def begin(self, recorder: Recorder) -> None:
        """Take frames from now on."""
        journaled = self.trace.journaled
        if journaled:
            self.trace.membership.note = recorder.note
            # A run that nobody could end must not be posted: first its journal stands on disk.
            self.trace.before_post = partial(recorder.settle, POST_WAIT_S)
        self.frames.begin(recorder, Notes(recorder.note if journaled else None))

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` as it is for this conversation."""
        return self.trace.settings.end_on_sigterm

    @property
    def closed(self) -> bool:
        """True once it has ended."""
        return self.frames.closed

    @property
    def folder(self) -> Path | None:
        """Where it stands on disk until it is delivered; None if it does not."""
        return self.frames.recorder.folder if self.frames.recorder is not None else None

    def knows_item(self, item_id: str) -> bool:
        """Return whether an item of that id belongs to it."""
        return self.frames.state.items.get(item_id) is not None

    # -- what the app itself knows -----------------------------------------------------------------------

    @property
    def recorder(self) -> Recorder | None:
        """What the app's own audio goes to; None once the conversation is closed."""
        return None if self.frames.closed else self.frames.recorder

    def enter_tool(
        self, call_id: str | None, name: str | None, arguments: str | None
    ) -> tuple[ToolCall | None, OpenTool]:
        """Open the exact span of a tool; see ``Conversation.tool``."""
        moment = self.clock.moment()
        with self.frames.lock:
            call = None
            if call_id is not None:
                call = self.frames.state.calls.setdefault(call_id, ToolCall(call_id))
            if arguments is not None and self._is_private(call_id):
                arguments = HIDDEN
            return call, self.trace.tools.enter(call, name, arguments, moment)

    def leave_tool(self, call: ToolCall | None, entered: OpenTool, error: object) -> None:
        """The tool has returned, or raised an exception."""
        moment = self.clock.moment()
        if isinstance(error, Exception):
            private = self._is_private(None if call is None else call.id)
            self.trace.tool_raised(entered.span, error, moment.at_ns, private=private)
        with self.frames.lock:
            self.trace.tools.leave(call, entered, moment.at_ns)

    def _is_private(self, call_id: str | None) -> bool:
        return self.frames.pause is not None and self.frames.pause.is_private(call_id)

    def pause(self) -> bool:
        """Begin a pause of the recording; False if there is nothing to pause."""
        with self.frames.lock:
            if self.frames.closed or self.frames.recorder is None:
                return False
            self.frames.pause = self.frames.pause or Pause()
            if self.frames.pause.enter(self.frames.state):
                self.frames.recorder.pause(self.clock.moment().t)
            return True

    def resume(self) -> None:
        """End a pause."""
        with self.frames.lock:
            ended = self.frames.pause is not None and self.frames.pause.leave()
            if ended and self.frames.recorder is not None:
                self.frames.recorder.resume(self.clock.moment().t)

    def describe(
        self, metadata: Mapping[str, Any], tags: tuple[str, ...], settings: Settings | None = None
    ) -> None:
        """Add metadata and tags to the root; stricter privacy of ``settings`` applies from now on."""
        with self.frames.lock:
            self.trace.add_metadata(metadata)
            self.trace.add_tags(tags)
            self.frames.notes.about(self.trace.identity)
            if settings is not None:
                self.trace.restrict_policy(settings)
                self.frames.notes.tightened(self.trace.writer.policy)
                if self.frames.recorder is not None and not self.trace.recorded:
                    self.frames.recorder.keep_no_audio()

    # -- background ------------------------------------------------------------------------------------

    def tick(self, now_t: int) -> None:
        """On the writer thread: write the responses whose last fact has come."""
        if self.frames.closed or not self.frames.state.unsettled:
            return
        try:
            with self.frames.lock:
                if not self.frames.closed:  # what comes at this very moment may not be taken in yet
                    self._settle(self.frames.state.settled(now_t - 1, self.frames.recorder))
        except Exception as error:  # noqa: BLE001 - the writer thread serves other conversations
            diagnostics.report("settling", error)

    def _settle(self, ready: list[Any], now_ns: int | None = None) -> None:
        if now_ns is None:
            now_ns = self.clock.start_ns + self.clock.t()
        for response in ready:
            found = write_inference(
                self.trace.writer, response, self.frames.state, self.frames.recorder, now_ns
            )
            self._tally.add(found.sound)
            self.trace.metrics.inference(response, found)
        self.frames.notes.settled(ready)

    # -- the end ---------------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None) -> None:
        """The app ends the conversation; cancellation is not an error."""
        self.end(lambda: ended_by_app(error, self.trace.writer.policy))

    def closed_by(self, close: Close) -> None:
        """The connection ended for good."""
        self.end(lambda: ended_by_close(close, self.trace.writer.policy))

    def end(self, how: Callable[[], Ending]) -> None:
        """End the conversation; all its spans end before this returns, once. Never blocks a loop."""
        try:
            ending = how()
        except Exception as error:  # noqa: BLE001 - it ends anyway
            diagnostics.report("closing", error)
            ending = Ending()
        try:
            self._end(ending)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("closing", error)

    def _end(self, ending: Ending) -> None:
        recorder, steps = self.frames.recorder, diagnostics.Steps("closing")
        if recorder is None:
            return
        with self.frames.lock:
            if self.frames.closed:
                return
            moment = self.clock.moment()
            with steps:
                dropped, refused = self.trace.events.dropped, self.trace.refused
                self.frames.notes.ended(
                    ending, moment, self.frames.state.counts.events, dropped, otlp=refused
                )
            with steps:
                recorder.close(moment.t, by_client=ending.by_client)
        with steps:
            if self.clock.is_replay:
                recorder.settle(REPLAY_WAIT_S)
            else:
                recorder.catch_up(CLOSE_BUDGET_S)
        with self.frames.lock:
            if self.frames.closed:
                return
            self.frames.closed = True
            self._finish(recorder, ending, moment, steps)
        with steps:
            if self._activation.attached:
                self._activation.leave()
        steps.report()

    def _finish(
        self, recorder: Recorder, ending: Ending, moment: Moment, steps: diagnostics.Steps
    ) -> None:
        """End all spans and hand over to the finisher; no step depends on the one before."""
        trace, closing = self.trace, None
        try:
            with steps:
                self._settle(self.frames.state.remaining(), moment.at_ns)
            with steps:
                trace.events.end(moment.at_ns)
            with steps:
                trace.tools.close(moment.at_ns)
            with steps:
                closing = trace.end(self.frames.state, self._tally, recorder, ending, moment)
        finally:  # also when the app is interrupted just now
            trace.ensure_ended(moment.at_ns)
            self._process.closed(self)
        with steps:
            trace.metrics.closed(moment.t / 1e9, "error" if ending.failure else "ok")
            diagnostics.lose(diagnostics.EVENT, trace.events.dropped)
        with steps:
            self._hand_over(recorder, closing, moment)

    def _hand_over(self, recorder: Recorder, closing: RootEnd | None, moment: Moment) -> None:
        trace, process = self.trace, self._process
        process.finisher.submit(
            Finish(
                recorder=recorder,
                settings=trace.settings,
                recorded=trace.recorded,
                name=trace.name,
                info=trace.recording_info(),
                delivery=trace.delivery,
                closing=None
                if closing is None
                else lambda: closing.with_final_tally().run_closing(),
                last_resort=lambda: trace.last_resort(moment.at_ns),
                done=partial(_done, trace, process),
                tidy=partial(process.tidy, trace.settings),
            )
        )

    def drop(self) -> None:
        """In a fork's child: not ours any more; nothing is ended, nothing is sent."""
        self.frames.closed = True
        self.frames.lock = threading.Lock()  # a thread of the parent may have held it
        self.trace.writer.event = None
        self.trace.tools.drop()


def _done(trace: Trace, process: Process, recording: str | None) -> None:
    """Everything of a conversation was delivered or given up."""
    if recording is not None:
        trace.metrics.upload(recording)
    process.finished(trace.membership)
