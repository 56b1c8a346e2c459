"""The engine of a live conversation: frames in, spans and a recording out.

The tap and the app call it on the app's own task or thread. Audio frames are only queued; any
other frame is parsed once, the state machine takes a step, and spans open and close. The writer
thread calls back to settle what was waiting for sound. One lock per conversation; every entry
is walled off by ``guard``, so no fault of ours reaches the app.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span

from otel_realtime import guard
from otel_realtime.clock import Clock
from otel_realtime.core import events as wire
from otel_realtime.core.conversation import (
    ConversationState,
    ToolAnnounced,
    ToolAnswered,
    ToolPending,
    Transcribed,
)
from otel_realtime.core.discretion import Discretion
from otel_realtime.core.payload import dump, needs_scrub
from otel_realtime.core.responses import Moment
from otel_realtime.core.session import table
from otel_realtime.core.timeline import EVENTS
from otel_realtime.runtime import RUNTIME
from otel_realtime.tracing import parent_run
from otel_realtime.tracing.chronicle import Chronicle, NoChronicle
from otel_realtime.tracing.describe import error_kind
from otel_realtime.tracing.root import Ending, Tally

if TYPE_CHECKING:
    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.tap import Close
    from otel_realtime.tracing.trace import Trace

# Module names: paid for every frame.
_AGENT_TEXT, _AGENT_BYTES = wire.AGENT_AUDIO_TEXT, wire.AGENT_AUDIO_BYTES
_USER_TEXT, _USER_BYTES = wire.USER_AUDIO_TEXT, wire.USER_AUDIO_BYTES
#: Client events that say something about spans; the others are requests nobody needs here.
_SENT_RULES: Final = frozenset({"response.create", "conversation.item.create"})
#: Longest wait for the audio summary when a conversation closes on the app's task.
CLOSE_WAIT_S: Final = 0.005
#: The same for a conversation of the past, fed by hand faster than it was spoken: no call waits.
REPLAY_WAIT_S: Final = 10.0
#: Longest wait of the posting thread for the journal's first line.
POST_WAIT_S: Final = 1.0

current: ContextVar[weakref.ref[Engine] | None] = ContextVar(
    "otel_realtime_conversation", default=None
)


class Engine:
    """What a conversation does with its frames; ``Conversation`` is its public face."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._recorder: Recorder | None = None
        self._state = ConversationState()
        self._spans = trace.spans
        self._activation = trace.activation
        self._tally = Tally()
        self._chronicle: Chronicle = NoChronicle()
        self._lock = threading.Lock()
        #: Made by the first pause.
        self._discretion: Discretion | None = None
        #: Not sampled, or not begun yet: nothing is taken in.
        self._closed = True
        self._clock: Clock = trace.clock
        # Looked up once: they are used for every audio frame.
        self._mono_ns = trace.clock.mono_ns
        self._counts = self._state.counts
        self._reference = weakref.ref(self)
        self._skip = trace.skip

    def begin(self, recorder: Recorder) -> None:
        """Take frames from now on."""
        self._recorder = recorder
        self._audio = recorder.frame
        if self._trace.journaled:
            self._chronicle = Chronicle(recorder.note)
            self._trace.stamp.note = recorder.note
            # A run that nobody could end must not be posted: first its journal stands on disk.
            self._trace.before_post = partial(recorder.settle, POST_WAIT_S)
        self._closed = False

    @property
    def ends_on_sigterm(self) -> bool:
        """``Settings.end_on_sigterm`` as it is for this conversation."""
        return self._trace.settings.end_on_sigterm

    @property
    def closed(self) -> bool:
        """True once it has ended."""
        return self._closed

    @property
    def folder(self) -> Path | None:
        """Where it stands on disk until it is delivered; None if it does not."""
        return self._recorder.folder if self._recorder is not None else None

    # -- frames ---------------------------------------------------------------------------------------

    def before_receive(self) -> None:
        """The app asks for the next frame: it is done with the current event."""
        try:
            if self._spans.current is not None:
                with self._lock:
                    at_ns = self._clock.moment().at_ns
                    self._spans.end_event(at_ns)
                    self._chronicle.asked(at_ns)
            if self._activation.attached:
                self._activation.leave()
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("before_receive", error)

    def frame_received(self, frame: wire.Frame) -> None:
        """Take one frame of the server, on the app's task."""
        try:
            prefixes = _AGENT_BYTES if frame.__class__ is bytes else _AGENT_TEXT
            if frame.startswith(prefixes) and not self._closed:  # type: ignore[arg-type]
                self._counts.events += 1
                self._audio(monotonic_ns() - self._mono_ns, False, frame)
                return
            self._take(frame, self._clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("received", error)

    def frame_sent(self, frame: wire.Frame) -> None:
        """Take one frame of the client, on the app's task or thread."""
        try:
            prefixes = _USER_BYTES if frame.__class__ is bytes else _USER_TEXT
            if frame.startswith(prefixes) and not self._closed:  # type: ignore[arg-type]
                self._audio(monotonic_ns() - self._mono_ns, True, frame)
                return
            self.give(frame, self._clock.moment())
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("sent", error)

    def _take(self, frame: wire.Frame, moment: Moment) -> None:
        if self._closed:
            return
        counts = self._state.counts
        counts.events += 1
        if wire.is_delta(frame):
            if frame.startswith(_AGENT_BYTES if isinstance(frame, bytes) else _AGENT_TEXT):  # type: ignore[arg-type]
                self._audio(moment.t, False, frame)
            return
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        event = wire.parse(text)
        if event is None:
            counts.unreadable += 1
            return
        kind = event["type"]
        if kind.endswith(".delta"):
            if kind in wire.AGENT_AUDIO and self._recorder is not None:
                self._recorder.frame(moment.t, False, frame)
            return
        current.set(self._reference)
        self._receive(event, text, moment)
        if self._recorder is not None and kind in EVENTS:
            self._recorder.event(moment.t, False, event)

    def _receive(self, event: wire.Event, text: str, moment: Moment) -> None:
        kind = event["type"]
        active: Span | None = None
        with self._lock:
            if self._closed:
                return
            stored, payload = self._admit(event, text)
            changes = self._state.receive(stored, moment)
            if kind == "response.created":
                self._trace.stamp_response(table(event.get("response")).get("id"))
            if not self._skip(kind):
                active = self._spans.event(stored, payload, moment, self._turn_of(stored))
            policy = self._spans.policy
            self._chronicle.received(stored, moment, active, policy, self._counts.events)
            if kind == "error":
                self._trace.metrics.error(error_kind(stored))
            bears_tools = False
            for change in changes:
                bears_tools = bears_tools or not isinstance(change, Transcribed)
                active = self._apply(change, moment, active)
        if active is not None and self._trace.activate:
            run = None
            if bears_tools and "langsmith" in sys.modules:
                run = parent_run.parent_run(active, kind)
            self._activation.enter(active, run)

    def _admit(self, event: wire.Event, text: str) -> tuple[wire.Event, str]:
        """The event as it may be stored, and its span's payload as JSON text."""
        policy, limit = self._spans.policy, self._trace.payload_limit
        stored, failure = event, None
        if self._discretion is not None and self._discretion.hides(event, self._state):
            stored = policy.hidden(policy.admit(event)[0])
            return stored, dump({"event": stored}, limit)
        untouched = policy.redact is None and policy.inputs and policy.outputs
        if not untouched or needs_scrub(text):
            stored, failure = policy.admit(event)
            if failure is not None:
                self._trace.say_once(
                    "redact", "Settings.redact failed (%s); the payload is hidden", failure
                )
        elif len(text) + 12 <= limit:
            return stored, f'{{"event":{text}}}'
        shown = stored
        if not policy.payloads:
            shown = policy.hidden(stored)
        elif event["type"] in _SESSION_EVENTS:
            session = self._state.session.without_repeats(table(stored.get("session")))
            shown = {**stored, "session": session}
        return stored, dump({"event": shown}, limit)

    def _turn_of(self, event: wire.Event) -> int:
        items = self._state.items
        item = items.get(event.get("item_id") or table(event.get("item")).get("id"))
        return item.turn if item is not None and item.turn else items.turns

    def _apply(self, change: Any, moment: Moment, active: Span | None) -> Span | None:
        """Trace one change; returns the span to be current."""
        if isinstance(change, ToolAnnounced):
            self._spans.announce(change.call)
        elif isinstance(change, ToolPending):
            span = self._spans.open_tool(change.call, moment)
            return span if change.alone and span is not None else active
        elif isinstance(change, ToolAnswered):
            self._trace.metrics.tool(self._spans.answer(change.call, moment), change.call.name)
        elif isinstance(change, Transcribed):
            self._trace.metrics.transcription(self._spans.transcription(change, moment))
        return active

    def give(self, frame: wire.Frame, moment: Moment) -> None:
        """Take one frame of the client that was sent at a moment."""
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
            stored, _ = self._spans.policy.admit(event)
            with self._lock:
                if self._closed:
                    return
                if self._discretion is not None and self._discretion.hides(event, self._state):
                    stored = self._spans.policy.hidden(stored)
                self._chronicle.sent(stored, moment, self._spans.policy)
                for change in self._state.send(stored, moment):
                    self._apply(change, moment, None)
            if self._activation.attached:
                self._activation.step_out(self._spans.current)
        if self._recorder is not None and kind in EVENTS:
            self._recorder.event(moment.t, True, event)

    # -- background ------------------------------------------------------------------------------------

    def tick(self, now_t: int) -> None:
        """On the writer thread: write the responses whose last fact has come."""
        RUNTIME.look_around()
        if self._closed or not self._state.unsettled:
            return
        try:
            with self._lock:
                if not self._closed:  # what comes at this very moment may not be taken in yet
                    self._settle(self._state.settled(now_t - 1, self._recorder))
        except Exception as error:  # noqa: BLE001 - the writer thread serves other conversations
            guard.fault("settling", error)

    def _settle(self, ready: list[Any], now_ns: int | None = None) -> None:
        if now_ns is None:
            now_ns = self._clock.start_ns + self._clock.t()
        for response in ready:
            found = self._spans.inference(response, self._state, self._recorder, now_ns)
            self._tally.add(found.sound)
            self._trace.metrics.inference(response, found)
        self._chronicle.settled(ready)

    # -- the end ---------------------------------------------------------------------------------------

    def close(self, error: BaseException | None = None) -> None:
        """End the conversation; all its spans end before this returns, once.

        Args:
            error: the app's exception that ended it; cancellation is none.
        """
        self.end(Ending.of_error(error, self._spans.policy))

    def closed_by(self, close: Close) -> None:
        """The tap's word that the connection ended for good."""
        self.end(Ending.of_close(close, self._spans.policy))

    def end(self, ending: Ending) -> None:
        """End the conversation one way or another."""
        try:
            self._end(ending)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("closing", error)

    def _end(self, ending: Ending) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        with self._lock:
            if self._closed:
                return
            moment = self._clock.moment()
            self._chronicle.ended(
                ending, moment, self._counts.events, self._spans.dropped, otlp=self._trace.refused
            )
            recorder.close(moment.t, by_client=ending.by_client)
        recorder.settle(REPLAY_WAIT_S if self._clock.is_replay else CLOSE_WAIT_S)
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._finish(recorder, ending, moment)
            finally:
                RUNTIME.closed(self)
        if self._activation.attached:
            self._activation.leave()

    def _finish(self, recorder: Recorder, ending: Ending, moment: Moment) -> None:
        """End all spans; a fault in one step does not keep the others from being taken."""
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._settle(self._state.remaining(), moment.at_ns),
            lambda: self._spans.close(moment.at_ns),
            lambda: self._trace.end(self._state, self._tally, recorder, ending, moment),
        )
        faults: list[Exception] = []
        try:
            for step in steps:
                try:
                    step()
                except Exception as error:  # noqa: BLE001 - told below
                    faults.append(error)
        finally:
            self._trace.make_sure(moment.at_ns)
        for fault in faults:
            guard.fault("closing", fault)

    def drop(self) -> None:
        """In a fork's child: not ours any more; nothing is ended, nothing is sent."""
        self._closed = True
        self._lock = threading.Lock()  # a thread of the parent may have held it
        self._spans.drop()


_SESSION_EVENTS: Final = frozenset(
    {"session.created", "session.updated", "transcription_session.updated"}
)
