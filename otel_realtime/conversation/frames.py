"""Handles each frame of a conversation: audio is enqueued, everything else advances the state.

The tap or the app itself calls it, on the app's own task or thread:

1. An audio frame (nearly all of a call's bytes) is recognised by its exact prefix and enqueued,
   unparsed, for the writer thread.
2. Any other frame is parsed once. It advances the state machine, and spans open and end accordingly.

Receives come from one task; sends may come from other tasks and threads at the same time. One lock
per conversation protects the state machine and the spans. Audio frames do not take it. Every entry
point catches this package's own errors.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from otel_realtime import diagnostics
from otel_realtime.conversation.context import Reference, current
from otel_realtime.core.protocol import dialects, partials
from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.changes import (
    Change,
    McpApproved,
    McpListed,
    ToolAnnounced,
    ToolAnswered,
    ToolChange,
    ToolCut,
    ToolOver,
    ToolPending,
    ToolRepeated,
    Transcribed,
)
from otel_realtime.core.protocol.fragments import Fragments
from otel_realtime.core.protocol.json_values import object_or_empty
from otel_realtime.core.protocol.lookups import lookups
from otel_realtime.core.protocol.pause import Pause
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.shown import event_turn, prepare_event
from otel_realtime.core.protocol.silencing import NamedWords, SpokenText
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith import parent_run
from otel_realtime.state.notes import Notes
from otel_realtime.tracing.facts import is_voice
from otel_realtime.tracing.failure import error_kind
from otel_realtime.tracing.mcp import write_approval, write_listing
from otel_realtime.tracing.transcription import write_transcription

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from otel_realtime.recording.recorder import Recorder
    from otel_realtime.tracing.trace import Trace

# Bound to module names, which saves two attribute look-ups for every frame. They cover all dialects,
# because an audio event's name means nothing else in another dialect; the usual ones come first.
_AGENT_TEXT, _AGENT_BYTES = dialects.ANY_AGENT_AUDIO.text, dialects.ANY_AGENT_AUDIO.data
_USER_TEXT, _USER_BYTES = dialects.ANY_USER_AUDIO.text, dialects.ANY_USER_AUDIO.data
#: Interval at which incomplete text is stored; a kill loses at most this much of it.
KEEP_EVERY_NS: Final = 250_000_000
#: Server events that can show whether a conversation uses voice, as the state machine names them.
_MODALITY_EVENTS: Final = frozenset({"session.created", "session.updated", "response.done"})

#: Server events that carry information about the whole trace.
_TELLING_EVENTS: Final = frozenset({"response.created", "error", *_MODALITY_EVENTS})


class Frames:
    """Handles the frames of one conversation.

    Args:
        trace: trace of the conversation.
        owner: engine of the conversation, which ``current`` refers to.

    Attributes:
        state: the conversation as its frames describe it.
        notes: writes to the journal.
        pause: decides which events a pause of the recording hides; ``None`` before the first pause.
        lock: must be held to change the state or the spans.
        recorder: recorder of the conversation; ``None`` before ``begin``.
        closed: whether frames are ignored: before ``begin``, if not sampled, and after the end.
        reference: value of ``current`` while a task handles the frames.
    """

    def __init__(self, trace: Trace, owner: object) -> None:
        self.state = ConversationState()
        self.state.session.other_model = trace.identity.model
        self.state.shortest_speech_ms = trace.settings.false_interruption_ms
        self.notes = Notes()
        self.pause: Pause | None = None
        self.lock = threading.Lock()
        self.recorder: Recorder | None = None
        self.closed = True
        self.reference = Reference(owner)
        self._trace = trace
        self._clock = trace.clock
        self._activation = trace.activation
        self._writer = trace.writer
        self._partials = partials.Partials()
        self._decided = False  # whether the dialect is known
        self._use(dialects.REALTIME)
        self._next_keep_t = 0
        self._named_words = NamedWords()
        self._skip = wire.skip_rule(trace.settings.skip_events)
        # Looked up once, because both are used for every audio frame.
        self._mono_ns = trace.clock.mono_ns
        self._counts = self.state.counts

    def expect(self, path: str) -> None:
        """Note the socket's request path, which may determine its dialect; call it before ``begin``."""
        dialect = dialects.by_path(path)
        if dialect is not None:
            self._decided = True
            self._use(dialect)

    def _use(self, dialect: dialects.Dialect) -> None:
        """Read frames in a dialect from now on."""
        self._dialect = dialect
        self._fragments = Fragments(dialect) if dialect.streams else None
        self._lookups = lookups(dialect)
        self.state.speak(dialect)

    def _decide(self, frame: wire.Frame) -> None:
        """Determine the dialect from a frame, unless several dialects are possible."""
        event = wire.parse(frame)
        dialect = None if event is None else dialects.by_event(event)
        if dialect is not None:
            with self.lock:
                self._decided = True
                if dialect is not self._dialect:
                    self._use(dialect)
                    self.notes.speaks(dialect.name)

    def begin(self, recorder: Recorder, notes: Notes) -> None:
        """Accept frames from now on.

        Args:
            recorder: records the audio.
            notes: writes to the journal.
        """
        self.recorder = recorder
        self.notes = notes
        self._enqueue_audio = recorder.frame
        self._clock.on_jump = self._jumped
        if self._dialect is not dialects.REALTIME:
            notes.speaks(self._dialect.name)
        self.closed = False

    def _jumped(self, jumps: int, forward: bool) -> None:
        self._counts.time_jumps = jumps
        if forward and self.recorder is not None:
            self.recorder.jump()
        self.notes.jumped(jumps)

    def before_receive(self) -> None:
        """End the current event's span: the app asks for the next frame, so it has handled the event."""
        try:
            # Check without the lock first: this runs before every receive, mostly without a span.
            if self._writer.event is not None:
                with self.lock:
                    at_ns = self._clock.wall()
                    self._trace.events.end(at_ns)
                    self.notes.asked(at_ns)
            if self._activation.attached:
                self._activation.leave()
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("before_receive", error)

    def frame_received(self, frame: wire.Frame) -> None:
        """Handle a frame from the server, on the app's task, before the app sees it."""
        try:
            prefixes = _AGENT_BYTES if frame.__class__ is bytes else _AGENT_TEXT
            if frame.startswith(prefixes) and not self.closed:  # type: ignore[arg-type]
                self._counts.events += 1
                self._enqueue_audio(monotonic_ns() - self._mono_ns, False, frame)
                return
            self.receive(frame, self._clock.moment())
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("received", error)

    def frame_sent(self, frame: wire.Frame) -> None:
        """Handle a frame from the client, on the sending task or thread, just before it is sent."""
        try:
            prefixes = _USER_BYTES if frame.__class__ is bytes else _USER_TEXT
            if frame.startswith(prefixes) and not self.closed:  # type: ignore[arg-type]
                self._enqueue_audio(monotonic_ns() - self._mono_ns, True, frame)
                return
            self.send(frame, self._clock.moment())
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("sent", error)

    def start_reported(self, at_ns: int | None) -> None:
        """Prepare for a frame that the app reports with ``received()`` or ``sent()``.

        The first frame determines the start of the conversation and makes it visible at the backend.
        Once the app has given a time, its times are the recording's clock.

        Args:
            at_ns: time that the app gave, in epoch ns; ``None`` means now.
        """
        if at_ns is not None and self.recorder is not None:
            self.recorder.use_clock(self._clock.t, lambda: self._clock.is_replay)
        if at_ns is not None and not self._clock.uses_app_times:
            fresh = not (self.state.counts.events or self._trace.writer.begun)
            self._trace.start_at(at_ns, fresh=fresh)
            self.notes.started(self._clock.start_ns)
        # It was not posted on opening: the start was not known then, and cannot be corrected later.
        if self._trace.delivery is None:
            self._trace.post()

    def receive(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle a frame from the server.

        Args:
            frame: text or bytes of the frame.
            moment: when it was received.
        """
        if self.closed:
            return
        self._counts.events += 1
        if not self._decided:
            self._decide(frame)
        known = self._lookups
        if wire.is_delta(frame):  # deltas never become spans, and most need no parsing
            if known.agent_audio.of(frame):
                self._enqueue_audio(moment.t, False, frame)
            elif known.deltas.of(frame):
                self._keep_text(wire.parse(frame), moment)
            return
        if known.reflected_audio is not None and known.reflected_audio.of(frame):
            self._enqueue_audio(moment.t, True, frame)
            return
        event, text = wire.read(frame)
        if event is None:
            return
        kind = event["type"]
        if kind.endswith(".delta") or kind in known.audio_types:
            self._handle_delta(event, frame, moment)  # a server that does not put ``type`` first
            return
        if kind in self._dialect.wraps:
            inner = self._dialect.inner(event)
            if inner["type"].endswith(".delta"):
                self._keep_text(inner, moment)
                return
        current.set(self.reference)
        self._handle(event, text, moment)
        self._record_event(event, moment, sent=False)

    def _handle_delta(self, event: wire.Event, frame: wire.Frame, moment: Moment) -> None:
        kind = event["type"]
        if kind in self._lookups.delta_types:
            self._keep_text(event, moment)
        elif self.recorder is not None and kind in self._lookups.audio_types:
            reflected = kind in self._dialect.reflected_audio
            self.recorder.frame(moment.t, reflected, frame)

    def _record_event(self, event: wire.Event, moment: Moment, *, sent: bool) -> None:
        """Pass an event to the recording if it says something about audio."""
        told = self._lookups.audio_event(event)
        if told is not None and self.recorder is not None:
            self.recorder.event(moment.t, sent, told)

    def _keep_text(self, delta: wire.Event | None, moment: Moment) -> None:
        """Keep a delta's text until the text is complete, because the call may end before that."""
        with self.lock:
            if delta is None or self.closed:
                return
            if self._fragments is not None:
                delta = self._fragments.read(delta, moment.t) or delta
            if self._partials.add(delta) is None:
                return
            if moment.t >= self._next_keep_t:
                self.keep_texts(moment)

    def texts_due(self, now_t: int) -> bool:
        """Return whether text has waited long enough to be stored; ``now_t`` is in ns since the start."""
        return self._partials.is_due and now_t >= self._next_keep_t

    def keep_texts(self, moment: Moment) -> None:
        """Store the texts that have grown; called with the lock held.

        This does not run for each delta, because the app's ``redact`` hook gets the whole text each
        time. It also runs before any other event is handled, when a pause begins or ends, on the
        writer thread, and at the end.
        """
        self._next_keep_t = moment.t + KEEP_EVERY_NS
        policy = self._trace.writer.policy
        for whole in self._partials.take_due():
            admitted = policy.admit(whole)
            stored = admitted.event
            self._silence(admitted.spoken, moment, partial=True)
            if self._is_private(whole):
                stored = policy.hidden(stored)
            partial = partials.read(whole, stored)
            if self._fragments is not None:
                partial = self._fragments.placed(partial)
            self.notes.said(partial, moment, policy)
            self.state.keep(partial, moment)

    def _is_private(self, whole: wire.Event) -> bool:
        """Return whether an incomplete text was spoken while the recording was paused."""
        if self.pause is None:
            return False
        hidden = self.pause.hides(whole, self.state)
        return hidden or bool(self._fragments and self._fragments.hides(whole.get("item_id")))

    def pause_begins(self, moment: Moment) -> None:
        """Note that a pause of the recording begins; called with the lock held."""
        if self._fragments is not None:
            self._fragments.pause(moment.t)

    def pause_ends(self, moment: Moment) -> None:
        """Note that a pause of the recording has ended; called with the lock held."""
        if self._fragments is not None:
            self._fragments.resume(moment.t)

    def _handle(self, event: wire.Event, text: str | None, moment: Moment) -> None:
        kind, trace = event["type"], self._trace
        run: object = None
        with self.lock:
            if self.closed:
                return
            dialect = self._dialect
            inner = dialect.inner(event) if kind in dialect.wraps else event
            if inner["type"] in partials.ENDS:
                self._partials.end(inner)
            if self._partials.is_due:
                self.keep_texts(moment)
            # Redact first: content that may not be stored must not enter the state either.
            stored, payload = self._admit(event, text, moment)
            changes = self.state.receive(stored, moment)
            named = dialect.name_of(inner["type"])
            if named in _TELLING_EVENTS:
                self._learn(named, inner, dialect.inner(stored), moment)
            event_span: Span | None = None
            if not self._skip(kind):
                turn = event_turn(stored, self.state)
                event_span = trace.events.open(stored, payload, moment, turn)
            active = event_span
            self.notes.received(
                stored, moment, event_span, self._writer.policy, self._counts.events
            )
            # Changes come after the event's span, which is the parent of their spans.
            bears_tools = False
            for change in changes:
                bears_tools = bears_tools or isinstance(change, ToolChange)
                active = self._apply(change, moment) or event_span
            if active is None or not trace.settings.activate_spans:
                return
            # Only for events that make the app run tools, because a LangSmith ``RunTree`` is expensive.
            if bears_tools and "langsmith" in sys.modules:
                run = trace.tools.run_of(active) or parent_run.parent_run(active, kind)
                trace.tools.keep_run(active, run)
        # Outside the lock: contexts belong to this task alone.
        self._activation.enter(active, run)

    def _learn(self, kind: str, event: wire.Event, stored: wire.Event, moment: Moment) -> None:
        """Note what one of ``_TELLING_EVENTS`` says about the whole trace."""
        trace = self._trace
        if kind in _MODALITY_EVENTS:
            if kind == "session.created" and self._fragments is not None:
                self._fragments.began(moment.t)
            trace.membership.about.voice = is_voice(self.state)
        elif kind == "response.created":
            response_id = object_or_empty(event.get("response")).get("id")
            if isinstance(response_id, str):
                trace.membership.responses.add(response_id)
        else:
            trace.metrics.error(error_kind(stored))

    def _admit(self, event: wire.Event, text: str | None, moment: Moment) -> tuple[wire.Event, str]:
        """Return an event in the form in which it may be stored, and its span's payload as JSON text."""
        shown = prepare_event(
            event,
            text,
            state=self.state,
            policy=self._trace.writer.policy,
            pause=self.pause,
            limit=self._trace.payload_limit,
        )
        admitted = shown.admitted
        if admitted.failure is not None:
            diagnostics.warn_once(
                ("redact", admitted.failure),
                "Settings.redact failed (%s); the payload is hidden: correct the function to see "
                "payloads again",
                admitted.failure,
            )
        if admitted.spoken:
            self._silence(admitted.spoken, moment)
        return admitted.event, shown.payload

    def _silence(
        self, spoken: tuple[SpokenText, ...], moment: Moment, *, partial: bool = False
    ) -> None:
        """Silence the words that the app's ``redact`` hook named; called with the lock held."""
        for words, text in self._named_words.words(spoken, partial=partial):
            if self.recorder is not None:
                said = self._fragments and self._fragments.silenced(words.item_id)
                if said:
                    side, place = said
                    self.recorder.spoken(moment.t, side, words.item_id, place)
                self.recorder.silence_words(moment.t, words, text)

    def disconnected(self, moment: Moment) -> None:
        """Trace what has ended because the socket has closed; called with the lock held."""
        for change in self.state.disconnected(moment):
            self._apply(change, moment)

    def _apply(self, change: Change, moment: Moment) -> Span | None:
        """Trace one change of the state.

        Args:
            change: the change.
            moment: when its event was received or sent.

        Returns:
            The tool's span if it must be current instead of the event's span, because the event makes
            the app run exactly this tool.
        """
        trace, span = self._trace, None
        tools = trace.tools
        if isinstance(change, ToolAnnounced):
            span = tools.announce(change.call, moment)
        elif isinstance(change, ToolRepeated):
            span = tools.repeat(change.call)
        elif isinstance(change, ToolPending):
            span = tools.pend(change.call, moment)
            return span if change.alone else None
        elif isinstance(change, ToolCut):
            tools.cut(change.call)
        elif isinstance(change, ToolOver):
            tools.leave_over(change.call)
        elif isinstance(change, ToolAnswered):
            tools.answer(change.call, moment)
        elif isinstance(change, McpApproved):
            write_approval(trace.writer, change.approval, moment.at_ns)
        elif isinstance(change, McpListed):
            write_listing(trace.writer, change.listing, moment.at_ns)
        elif isinstance(change, Transcribed):
            session_id = self.state.session.id
            trace.metrics.transcription(
                write_transcription(trace.writer, change, moment, session_id)
            )
        return span

    def send(self, frame: wire.Frame, moment: Moment) -> None:
        """Handle a frame from the client.

        Args:
            frame: text or bytes of the frame.
            moment: when it was sent.
        """
        if self.closed:
            return
        if not self._decided:
            self._decide(frame)
        event = wire.parse(frame)
        if event is None:
            return
        kind = event["type"]
        if kind in self._dialect.user_audio:  # a client that does not put ``type`` first
            if self.recorder is not None:
                self.recorder.frame(moment.t, True, frame)
            return
        if kind in self._dialect.client_events:
            policy = self._trace.writer.policy
            stored, _ = policy.apply(event)
            with self.lock:
                if self.closed:
                    return
                if self.pause is not None and self.pause.hides(event, self.state):
                    stored = policy.hidden(stored)
                self.notes.sent(stored, moment, policy)
                for change in self.state.send(stored, moment):
                    self._apply(change, moment)
            # A tool's result ends the tool's span; what the app does next belongs to the event again.
            if self._activation.attached:
                self._activation.step_out(self._trace.writer.event)
        self._record_event(event, moment, sent=True)
