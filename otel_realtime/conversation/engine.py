"""The engine of a live conversation: frames in, spans and a recording out.

The tap and the app call it on the app's own task or thread. Audio frames are only queued; any
other frame is parsed once, the state machine takes a step, and spans open and close. The writer
thread calls back to settle what was waiting for sound. One lock per conversation; every entry
is walled off, so no fault of ours reaches the app.

The life of a conversation::

    created --begin--> open --frames--> open --end--> closed --finisher--> delivered
       |                                                ^
       +-- not sampled, or suppressed: closed from the start
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span

from otel_realtime import diagnostics
from otel_realtime.clock import Clock
from otel_realtime.conversation.endings import ended_by_app, ended_by_close
from otel_realtime.core.audio.timeline import EVENTS
from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.json_text import dump
from otel_realtime.core.protocol.json_values import table
from otel_realtime.core.protocol.outcome import Ending, Tally
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.redaction import HIDDEN, needs_scrub
from otel_realtime.core.protocol.responses import Moment, ToolCall
from otel_realtime.core.protocol.shown import payload_of, turn_of
from otel_realtime.core.protocol.state import (
    ConversationState,
    ToolAnnounced,
    ToolAnswered,
    ToolPending,
    Transcribed,
)
from otel_realtime.delivery.finisher import Finish
from otel_realtime.langsmith import parent_run
from otel_realtime.state.notes import Notes
from otel_realtime.tracing.failure import error_kind
from otel_realtime.tracing.inference import write_inference
from otel_realtime.tracing.transcription import write_transcription

if TYPE_CHECKING:
    from otel_realtime.process.process import Process
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.settings import Settings
    from otel_realtime.tap.interface import Close
    from otel_realtime.tracing.closing import RootEnd
    from otel_realtime.tracing.tool import OpenTool
    from otel_realtime.tracing.trace import Trace

# Module names: paid for every frame.
_AGENT_TEXT, _AGENT_BYTES = wire.AGENT_AUDIO_TEXT, wire.AGENT_AUDIO_BYTES
_USER_TEXT, _USER_BYTES = wire.USER_AUDIO_TEXT, wire.USER_AUDIO_BYTES
#: Client events that say something about spans; the others are requests nobody needs here.
_SENT_RULES: Final = frozenset({"response.create", "conversation.item.create"})
#: Longest time spent, at the close, on what is queued for the writer: on an event loop, where
#: waiting is forbidden, by working it off here; on a plain thread by waiting.
CLOSE_BUDGET_S: Final = 0.005
#: The same for a conversation of the past, fed by hand faster than it was spoken: no call waits.
REPLAY_WAIT_S: Final = 10.0
#: Longest wait of the posting thread for the journal's first line.
POST_WAIT_S: Final = 1.0

current: ContextVar[weakref.ref[Engine] | None] = ContextVar(
    "otel_realtime_conversation", default=None
)


class Engine:
    """What a conversation does with its frames.

    Args:
        trace: its trace.
        process: the services of this process.

    Attributes:
        trace: its trace.
        clock: tells its times.
        face: the app's ``Conversation``, once it asked for it.
    """

    def __init__(self, trace: Trace, process: Process) -> None:
        self.trace = trace
        self.clock: Clock = trace.clock
        self.face: object = None
        self._process = process
        self._recorder: Recorder | None = None
        self._state = ConversationState()
        self._activation = trace.activation
        self._tally = Tally()
        self._notes = Notes()
        self._lock = threading.Lock()
        #: Made by the first pause.
        self._pause: Pause | None = None
        #: Not sampled, or not begun yet: nothing is taken in.
        self._closed = True
        # Looked up once: they are used for every audio frame.
        self._mono_ns = trace.clock.mono_ns
        self._counts = self._state.counts
        self._reference = weakref.ref(self)
        self._skip = wire.skip_rule(trace.settings.skip_events)

    def begin(self, recorder: Recorder) -> None:
        """Take frames from now on."""
        self._recorder = recorder
        self._audio = recorder.frame
        if self.trace.journaled:
            self._notes = Notes(recorder.note)
            self.trace.membership.note = recorder.note
            # A run that nobody could end must not be posted: first its journal stands on disk.
            self.trace.before_post = partial(recorder.settle, POST_WAIT_S)
        self._closed = False

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` as it is for this conversation."""
        return self.trace.settings.end_on_sigterm

    @property
    def closed(self) -> bool:
        """True once it has ended."""
        return self._closed

    @property
    def folder(self) -> Path | None:
        """Where it stands on disk until it is delivered; None if it does not."""
        return self._recorder.folder if self._recorder is not None else None

    def knows_item(self, item_id: str) -> bool:
        """Return whether an item of that id belongs to it."""
        return self._state.items.get(item_id) is not None

    # -- frames ---------------------------------------------------------------------------------------

    def before_receive(self) -> None:
        """The app asks for the next frame: it is done with the current event."""
        try:
            if self.trace.writer.event is not None:
                with self._lock:
                    at_ns = self.clock.moment().at_ns
                    self.trace.events.end(at_ns)
                    self._notes.asked(at_ns)
            if self._activation.attached:
                self._activation.leave()
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("before_receive", error)

    def frame_received(self, frame: wire.Frame) -> None:
        """Handle one frame of the server, on the app's task."""
        try:
            prefixes = _AGENT_BYTES if frame.__class__ is bytes else _AGENT_TEXT
            if frame.startswith(prefixes) and not self._closed:  # type: ignore[arg-type]
                self._counts.events += 1
                self._audio(monotonic_ns() - self._mono_ns, False, frame)
                return
            self.receive(frame, self.clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("received", error)

    def frame_sent(self, frame: wire.Frame) -> None:
        """Handle one frame of the client, on the app's task or thread."""
        try:
            prefixes = _USER_BYTES if frame.__class__ is bytes else _USER_TEXT
            if frame.startswith(prefixes) and not self._closed:  # type: ignore[arg-type]
                self._audio(monotonic_ns() - self._mono_ns, True, frame)
                return
            self.send(frame, self.clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("sent", error)

    def start_by_hand(self, at_ns: int | None) -> None:
        """The first frame by hand says when the conversation starts, and makes it visible."""
        if at_ns is not None and self._recorder is not None:
            self._recorder.clock = self.clock.t
        if at_ns is not None and not self.clock.given:
            fresh = not (self._state.counts.events or self.trace.writer.begun)
            self.trace.start_at(at_ns, fresh=fresh)
            self._notes.started(self.clock.start_ns)
        if self.trace.delivery is None:
            self.trace.post()

    def receive(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle one frame of the server that was received at a moment."""
        if self._closed:
            return
        self._counts.events += 1
        if wire.is_delta(frame):
            if frame.startswith(_AGENT_BYTES if isinstance(frame, bytes) else _AGENT_TEXT):  # type: ignore[arg-type]
                self._audio(moment.t, False, frame)
            return
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        event = wire.parse(text)
        if event is None:
            return
        kind = event["type"]
        if kind.endswith(".delta"):
            if kind in wire.AGENT_AUDIO and self._recorder is not None:
                self._recorder.frame(moment.t, False, frame)
            return
        current.set(self._reference)
        self._handle(event, text, moment)
        if self._recorder is not None and kind in EVENTS:
            self._recorder.event(moment.t, False, event)

    def _handle(self, event: wire.Event, text: str, moment: Moment) -> None:
        kind, trace = event["type"], self.trace
        active: Span | None = None
        with self._lock:
            if self._closed:
                return
            stored, payload = self._admit(event, text)
            changes = self._state.receive(stored, moment)
            if kind == "response.created":
                response_id = table(event.get("response")).get("id")
                if isinstance(response_id, str):
                    trace.membership.responses.add(response_id)
            if not self._skip(kind):
                active = trace.events.open(stored, payload, moment, turn_of(stored, self._state))
            policy = trace.writer.policy
            self._notes.received(stored, moment, active, policy, self._counts.events)
            if kind == "error":
                trace.metrics.error(error_kind(stored))
            bears_tools = False
            for change in changes:
                bears_tools = bears_tools or not isinstance(change, Transcribed)
                active = self._apply(change, moment, active)
        if active is not None and trace.settings.activate_spans:
            run = None
            if bears_tools and "langsmith" in sys.modules:
                run = parent_run.parent_run(active, kind)
            self._activation.enter(active, run)

    def _admit(self, event: wire.Event, text: str) -> tuple[wire.Event, str]:
        """The event as it may be stored, and its span's payload as JSON text."""
        policy, limit = self.trace.writer.policy, self.trace.payload_limit
        stored, failure = event, None
        if self._pause is not None and self._pause.hides(event, self._state):
            stored = policy.hidden(policy.admit(event)[0])
            return stored, dump({"event": stored}, limit)
        untouched = policy.redact is None and policy.inputs and policy.outputs
        if not untouched or needs_scrub(text):
            stored, failure = policy.admit(event)
            if failure is not None:
                diagnostics.warn_once(
                    ("redact", failure),
                    "Settings.redact failed (%s); the payload is hidden",
                    failure,
                )
        elif len(text) + 12 <= limit:
            return stored, f'{{"event":{text}}}'
        return stored, payload_of(stored, self._state, policy, limit)

    def _apply(self, change: Any, moment: Moment, active: Span | None) -> Span | None:
        """Trace one change; returns the span to be current."""
        tools, metrics = self.trace.tools, self.trace.metrics
        if isinstance(change, ToolAnnounced):
            tools.announce(change.call)
        elif isinstance(change, ToolPending):
            span = tools.open(change.call, moment)
            return span if change.alone and span is not None else active
        elif isinstance(change, ToolAnswered):
            metrics.tool(tools.answer(change.call, moment), change.call.name)
        elif isinstance(change, Transcribed):
            metrics.transcription(write_transcription(self.trace.writer, change, moment))
        return active

    def send(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle one frame of the client that was sent at a moment."""
        if self._closed:
            return
        event = wire.parse(frame)
        if event is None:
            return
        kind = event["type"]
        if kind in wire.USER_AUDIO:
            if self._recorder is not None:
                self._recorder.frame(moment.t, True, frame)
            return
        if kind in _SENT_RULES:
            policy = self.trace.writer.policy
            stored, _ = policy.admit(event)
            with self._lock:
                if self._closed:
                    return
                if self._pause is not None and self._pause.hides(event, self._state):
                    stored = policy.hidden(stored)
                self._notes.sent(stored, moment, policy)
                for change in self._state.send(stored, moment):
                    self._apply(change, moment, None)
            if self._activation.attached:
                self._activation.step_out(self.trace.writer.event)
        if self._recorder is not None and kind in EVENTS:
            self._recorder.event(moment.t, True, event)

    # -- what the app itself knows -----------------------------------------------------------------------

    @property
    def recorder(self) -> Recorder | None:
        """What the app's own audio goes to; None once the conversation is closed."""
        return None if self._closed else self._recorder

    def enter_tool(
        self, call_id: str | None, name: str | None, arguments: str | None
    ) -> tuple[ToolCall | None, OpenTool]:
        """Open the exact span of a tool; see ``Conversation.tool``."""
        moment = self.clock.moment()
        with self._lock:
            call = None
            if call_id is not None:
                call = self._state.calls.setdefault(call_id, ToolCall(call_id))
            if arguments is not None and self._is_private(call_id):
                arguments = HIDDEN
            return call, self.trace.tools.enter(call, name, arguments, moment)

    def leave_tool(self, call: ToolCall | None, entered: OpenTool, error: object) -> None:
        """The tool has returned, or raised an exception."""
        moment = self.clock.moment()
        if isinstance(error, Exception):
            private = self._is_private(None if call is None else call.id)
            self.trace.tool_raised(entered.span, error, moment.at_ns, private=private)
        with self._lock:
            self.trace.tools.leave(call, entered, moment.at_ns)

    def _is_private(self, call_id: str | None) -> bool:
        return self._pause is not None and self._pause.is_private(call_id)

    def pause(self) -> bool:
        """Begin a pause of the recording; False if there is nothing to pause."""
        with self._lock:
            if self._closed or self._recorder is None:
                return False
            self._pause = self._pause or Pause()
            if self._pause.enter(self._state):
                self._recorder.pause(self.clock.moment().t)
            return True

    def resume(self) -> None:
        """End a pause."""
        with self._lock:
            ended = self._pause is not None and self._pause.leave()
            if ended and self._recorder is not None:
                self._recorder.resume(self.clock.moment().t)

    def describe(
        self, metadata: Mapping[str, Any], tags: tuple[str, ...], settings: Settings | None = None
    ) -> None:
        """Add metadata and tags to the root; stricter privacy of ``settings`` applies from now on."""
        with self._lock:
            self.trace.add_metadata(metadata)
            self.trace.add_tags(tags)
            self._notes.about(self.trace.identity)
            if settings is not None:
                self.trace.tighten(settings)
                self._notes.tightened(self.trace.writer.policy)
                if self._recorder is not None and not self.trace.recorded:
                    self._recorder.keep_no_audio()

    # -- background ------------------------------------------------------------------------------------

    def tick(self, now_t: int) -> None:
        """On the writer thread: write the responses whose last fact has come."""
        if self._closed or not self._state.unsettled:
            return
        try:
            with self._lock:
                if not self._closed:  # what comes at this very moment may not be taken in yet
                    self._settle(self._state.settled(now_t - 1, self._recorder))
        except Exception as error:  # noqa: BLE001 - the writer thread serves other conversations
            diagnostics.report("settling", error)

    def _settle(self, ready: list[Any], now_ns: int | None = None) -> None:
        if now_ns is None:
            now_ns = self.clock.start_ns + self.clock.t()
        for response in ready:
            found = write_inference(
                self.trace.writer, response, self._state, self._recorder, now_ns
            )
            self._tally.add(found.sound)
            self.trace.metrics.inference(response, found)
        self._notes.settled(ready)

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
        recorder, faults = self._recorder, _Faults()
        if recorder is None:
            return
        with self._lock:
            if self._closed:
                return
            moment = self.clock.moment()
            with faults:
                self._notes.ended(
                    ending,
                    moment,
                    self._counts.events,
                    self.trace.events.dropped,
                    otlp=self.trace.refused,
                )
            with faults:
                recorder.close(moment.t, by_client=ending.by_client)
        with faults:
            self._catch_up(recorder)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._finish(recorder, ending, moment, faults)
        with faults:
            if self._activation.attached:
                self._activation.leave()
        faults.report()

    def _catch_up(self, recorder: Recorder) -> None:
        """Let the sound's facts be known as far as that takes no time of the app's."""
        if self.clock.is_replay:
            recorder.settle(REPLAY_WAIT_S)
        elif _on_event_loop():
            recorder.drain(CLOSE_BUDGET_S / 2)
        else:
            recorder.settle(CLOSE_BUDGET_S)

    def _finish(self, recorder: Recorder, ending: Ending, moment: Moment, faults: _Faults) -> None:
        """End all spans and hand over to the finisher; no step depends on the one before."""
        trace, closing = self.trace, None
        with faults:
            self._settle(self._state.remaining(), moment.at_ns)
        with faults:
            trace.events.end(moment.at_ns)
        with faults:
            trace.tools.close(moment.at_ns)
        try:
            with faults:
                closing = trace.end(self._state, self._tally, recorder, ending, moment)
        finally:  # also when the app is interrupted just now
            trace.ensure_ended(moment.at_ns)
            self._process.closed(self)
        with faults:
            trace.metrics.closed(moment.t / 1e9, "error" if ending.failure else "ok")
            diagnostics.lose(diagnostics.EVENT, trace.events.dropped)
        with faults:
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
                closing=None if closing is None else lambda: closing.counted_anew().run(),
                last_resort=lambda: trace.last_resort(moment.at_ns),
                done=partial(_done, trace, process),
                tidy=partial(process.tidy, trace.settings),
            )
        )

    def drop(self) -> None:
        """In a fork's child: not ours any more; nothing is ended, nothing is sent."""
        self._closed = True
        self._lock = threading.Lock()  # a thread of the parent may have held it
        self.trace.writer.event = None
        self.trace.tools.drop()


class _Faults:
    """Lets each step of the close fail by itself; the faults are reported at its end."""

    def __init__(self) -> None:
        self._found: list[Exception] = []

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, Exception):
            self._found.append(error)
            return True
        return False

    def report(self) -> None:
        """Report what failed.

        Raises:
            Exception: see ``diagnostics.fault``.
        """
        for error in self._found:
            diagnostics.fault("closing", error)


def _done(trace: Trace, process: Process, recording: str | None) -> None:
    """Everything of a conversation was delivered or given up."""
    if recording is not None:
        trace.metrics.upload(recording)
    process.finished(trace.membership)


def _on_event_loop() -> bool:
    """Return whether this thread runs an event loop now, where nothing may wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
