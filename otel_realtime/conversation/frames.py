"""What each frame of a conversation does: audio is queued, anything else takes the state a step.

The tap and the app call this on the app's own task or thread. Audio frames are recognised by their
exact prefix and only queued; any other frame is parsed once, the state machine takes a step, and
spans open and close. One lock per conversation; every entry is walled off.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextvars import ContextVar
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from otel_realtime import diagnostics
from otel_realtime.core.audio.evidence import AUDIO_EVENTS
from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.changes import (
    ToolAnnounced,
    ToolAnswered,
    ToolPending,
    Transcribed,
)
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.shown import event_turn, prepare_event
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.langsmith import parent_run
from otel_realtime.state.notes import Notes
from otel_realtime.tracing.failure import error_kind
from otel_realtime.tracing.transcription import write_transcription

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.tracing.trace import Trace

# Module names: paid for every frame.
_AGENT_TEXT, _AGENT_BYTES = wire.AGENT_AUDIO_TEXT, wire.AGENT_AUDIO_BYTES
_USER_TEXT, _USER_BYTES = wire.USER_AUDIO_TEXT, wire.USER_AUDIO_BYTES
#: Client events that say something about spans; the others are requests nobody needs here.
_SENT_RULES: Final = frozenset({"response.create", "conversation.item.create"})

current: ContextVar[weakref.ref[Any] | None] = ContextVar(
    "otel_realtime_conversation", default=None
)
"""The engine of the conversation that this task received from last, or that was announced."""


class Frames:
    """Handles the frames of one conversation.

    Args:
        trace: its trace.
        owner: the engine, for ``current``.

    Attributes:
        state: what the frames say of the conversation.
        notes: its journal.
        pause: what must not be told of it; None until the first pause.
        lock: held while a frame moves the state; whoever else moves it holds it too.
        recorder: takes its audio; None before ``begin``.
        closed: nothing is taken in: not sampled, not begun yet, or over.
    """

    def __init__(self, trace: Trace, owner: object) -> None:
        self.state = ConversationState()
        self.notes = Notes()
        self.pause: Pause | None = None
        self.lock = threading.Lock()
        self.recorder: Recorder | None = None
        self.closed = True
        self._owner = weakref.ref(owner)
        self._trace = trace
        self._clock = trace.clock
        self._activation = trace.activation
        self._skip = wire.skip_rule(trace.settings.skip_events)
        # Looked up once: they are used for every audio frame.
        self._mono_ns = trace.clock.mono_ns
        self._counts = self.state.counts

    def begin(self, recorder: Recorder, notes: Notes) -> None:
        """Take frames from now on."""
        self.recorder = recorder
        self.notes = notes
        self._audio = recorder.frame
        self.closed = False

    def before_receive(self) -> None:
        """The app asks for the next frame: it is done with the current event."""
        try:
            if self._trace.writer.event is not None:
                with self.lock:
                    at_ns = self._clock.moment().at_ns
                    self._trace.events.end(at_ns)
                    self.notes.asked(at_ns)
            if self._activation.attached:
                self._activation.leave()
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("before_receive", error)

    def frame_received(self, frame: wire.Frame) -> None:
        """Handle one frame of the server, on the app's task."""
        try:
            prefixes = _AGENT_BYTES if frame.__class__ is bytes else _AGENT_TEXT
            if frame.startswith(prefixes) and not self.closed:  # type: ignore[arg-type]
                self._counts.events += 1
                self._audio(monotonic_ns() - self._mono_ns, False, frame)
                return
            self.receive(frame, self._clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("received", error)

    def frame_sent(self, frame: wire.Frame) -> None:
        """Handle one frame of the client, on the app's task or thread."""
        try:
            prefixes = _USER_BYTES if frame.__class__ is bytes else _USER_TEXT
            if frame.startswith(prefixes) and not self.closed:  # type: ignore[arg-type]
                self._audio(monotonic_ns() - self._mono_ns, True, frame)
                return
            self.send(frame, self._clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("sent", error)

    def start_by_hand(self, at_ns: int | None) -> None:
        """The first frame by hand says when the conversation starts, and makes it visible."""
        if at_ns is not None and self.recorder is not None:
            self.recorder.clock = self._clock.t
        if at_ns is not None and not self._clock.uses_app_times:
            fresh = not (self.state.counts.events or self._trace.writer.begun)
            self._trace.start_at(at_ns, fresh=fresh)
            self.notes.started(self._clock.start_ns)
        if self._trace.delivery is None:
            self._trace.post()

    def receive(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle one frame of the server that was received at a moment."""
        if self.closed:
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
            if kind in wire.AGENT_AUDIO and self.recorder is not None:
                self.recorder.frame(moment.t, False, frame)
            return
        current.set(self._owner)
        self._handle(event, text, moment)
        if self.recorder is not None and kind in AUDIO_EVENTS:
            self.recorder.event(moment.t, False, event)

    def _handle(self, event: wire.Event, text: str, moment: Moment) -> None:
        kind, trace = event["type"], self._trace
        active: Span | None = None
        with self.lock:
            if self.closed:
                return
            stored, payload = self._admit(event, text)
            changes = self.state.receive(stored, moment)
            if kind == "response.created":
                response_id = object_or_empty(event.get("response")).get("id")
                if isinstance(response_id, str):
                    trace.membership.responses.add(response_id)
            if not self._skip(kind):
                active = trace.events.open(stored, payload, moment, event_turn(stored, self.state))
            policy = trace.writer.policy
            self.notes.received(stored, moment, active, policy, self._counts.events)
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
        stored, payload, failure = prepare_event(
            event,
            text,
            state=self.state,
            policy=self._trace.writer.policy,
            pause=self.pause,
            limit=self._trace.payload_limit,
        )
        if failure is not None:
            diagnostics.warn_once(
                ("redact", failure), "Settings.redact failed (%s); the payload is hidden", failure
            )
        return stored, payload

    def _apply(self, change: Any, moment: Moment, active: Span | None) -> Span | None:
        """Trace one change; returns the span to be current."""
        tools, metrics = self._trace.tools, self._trace.metrics
        if isinstance(change, ToolAnnounced):
            tools.announce(change.call)
        elif isinstance(change, ToolPending):
            span = tools.open(change.call, moment)
            return span if change.alone and span is not None else active
        elif isinstance(change, ToolAnswered):
            metrics.tool(tools.answer(change.call, moment), change.call.name)
        elif isinstance(change, Transcribed):
            metrics.transcription(write_transcription(self._trace.writer, change, moment))
        return active

    def send(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle one frame of the client that was sent at a moment."""
        if self.closed:
            return
        event = wire.parse(frame)
        if event is None:
            return
        kind = event["type"]
        if kind in wire.USER_AUDIO:
            if self.recorder is not None:
                self.recorder.frame(moment.t, True, frame)
            return
        if kind in _SENT_RULES:
            policy = self._trace.writer.policy
            stored, _ = policy.apply(event)
            with self.lock:
                if self.closed:
                    return
                if self.pause is not None and self.pause.hides(event, self.state):
                    stored = policy.hidden(stored)
                self.notes.sent(stored, moment, policy)
                for change in self.state.send(stored, moment):
                    self._apply(change, moment, None)
            if self._activation.attached:
                self._activation.step_out(self._trace.writer.event)
        if self.recorder is not None and kind in AUDIO_EVENTS:
            self.recorder.event(moment.t, True, event)
