"""``Conversation``: a live conversation as the app sees it.

Every method may be called from any task or thread, and does nothing once the conversation is closed.
None of them raises because of telemetry: faults of our own, of a sampler, of a span processor, or of
an argument's own methods are reported in the log instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from opentelemetry.trace import Span

from otel_realtime import diagnostics
from otel_realtime.attributes import LS_METADATA
from otel_realtime.conversation.arguments import (
    Refused,
    position,
    recording_time,
    refuse,
    tapped,
    tapped_mulaw,
    wall_time,
)
from otel_realtime.conversation.blocks import conversation_here
from otel_realtime.conversation.options import current_options
from otel_realtime.conversation.redacting import read_stretch
from otel_realtime.conversation.running import ToolBlock
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.conversation.workers import note_asked
from otel_realtime.core.protocol import events as wire
from otel_realtime.diagnostics import walled, warn_once
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith.ids import run_id

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Buffer

    from otel_realtime.conversation.engine import Engine
    from otel_realtime.recording.track import TapAudio

    #: NumPy arrays are listed because they declare the buffer protocol only from Python 3.12 on.
    Audio = Buffer | npt.NDArray[Any] | Sequence[float]


def current_conversation() -> Conversation | None:
    """Return the live conversation that this code belongs to, else ``None``.

    It is the one that this task announced, last received from, or runs a tool of. In code that a
    framework or the app runs elsewhere it is the only live conversation that was opened in the
    ``using(...)`` block around, in a task or a thread without one the only one of the process. Where
    two come into question the answer is ``None``.

    While the conversation waits for the result of a tool, spans that the code then starts without a
    parent are below that tool; so are those of all code inside the ``using(...)`` block.

    Added in 0.1.0.
    """
    engine = conversation_here(current_options().block, PROCESS)
    if engine is None:
        return None
    note_asked(engine)
    return Conversation.of(engine)


class Conversation:
    """One Realtime conversation.

    Returned by ``otel_realtime.conversation(...)``, or, for a conversation that was opened
    automatically on an instrumented connection, by ``otel_realtime.current_conversation()``.

    Added in 0.1.0.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, engine: Engine) -> Conversation:
        """Return the ``Conversation`` of an engine, always the same one."""
        if engine.public is None:
            engine.public = cls(engine)
        return cast("Conversation", engine.public)

    # -- ids ---------------------------------------------------------------------------------------

    @property
    def thread_id(self) -> str:
        """LangSmith thread of the conversation: the app's id, the ``call_id``, or a new UUID."""
        return self._engine.trace.identity.thread_id

    @property
    def trace_id(self) -> str:
        """OpenTelemetry trace id, 32 hex digits."""
        return self._engine.trace.trace_id

    @property
    def langsmith_run_id(self) -> str:
        """LangSmith's id of the root run: eight zero bytes and the root's span id, as a UUID."""
        return run_id(self._engine.trace.span_id)

    @property
    def langsmith_url(self) -> str | None:
        """Page of the root run; ``None`` without LangSmith, and until the project's id is known."""
        delivery = self._engine.trace.delivery
        return delivery.url if delivery is not None else None

    # -- frames that the app reports ---------------------------------------------------------------

    @walled
    def received(self, message: object, *, at_ns: int | None = None) -> None:
        """Report a message from the server, for an app on a transport that is not instrumented.

        Args:
            message: text or bytes of a frame, a mapping, or an SDK event.
            at_ns: time of receipt, epoch ns; ``None``: now. Once given, these times are the
                recording's clock, too, and the conversation starts at the first one. One that
                jumps, back or by more than an hour forward, counts as the time before it. A call
                that is told faster than its audio can be written waits; a live one never does.
        """
        engine = self._engine
        if not engine.closed:
            at_ns = wall_time(engine, at_ns, "received()")
            engine.frames.start_reported(at_ns)
        # Also when closed: this task may still have the context of the last event.
        engine.frames.before_receive()
        if not engine.closed:
            frame = _read(message, "received()")
            if frame is not None:
                engine.frames.receive(frame, engine.clock.moment(at_ns))

    @walled
    def sent(self, message: object, *, at_ns: int | None = None) -> None:
        """Report a message to the server; arguments as for ``received``."""
        engine = self._engine
        if not engine.closed:
            at_ns = wall_time(engine, at_ns, "sent()")
            engine.frames.start_reported(at_ns)
            frame = _read(message, "sent()")
            if frame is not None:
                engine.frames.send(frame, engine.clock.moment(at_ns))

    # -- audio that the app plays and hears --------------------------------------------------------

    def record_agent_audio(
        self,
        pcm: Audio,
        *,
        item_id: str | None = None,
        rate: float | None = None,
        at_ns: int | None = None,
    ) -> None:
        """Report the samples that the speaker plays now; call it where they go to the device.

        May be called from an audio callback thread: it copies the buffer and never blocks. From the
        first call on, these samples are the agent's side of the recording, instead of our model of a
        player. If calls run more than a second ahead of the clock they report what is queued, not
        what is played: then there is one warning, and the model is used again. If no call comes for
        two seconds while audio is due, the model is used until the next call.

        A call that comes early or late, or several at once, are what a device's buffer is for: they
        open no gap. Where all calls that follow come 20 ms late or more, or one 200 ms, it ran dry.

        A buffer that cannot be understood is named in the log, once for each kind, counted as lost,
        and costs only itself.

        Args:
            pcm: samples in any buffer, array or list: bytes and 16-bit integers are taken as they
                are, floats from -1 to 1, 32-bit integers from full scale. Of several channels,
                ``(frames, channels)``, the mean is taken. Zeros are silence.
            item_id: conversation item that the samples belong to, if known.
            rate: samples per second; ``None``: the session's output rate.
            at_ns: time of the first sample, as for ``received``; ``None``: now.
        """
        self._record("agent", partial(tapped, pcm, rate, item_id), at_ns)

    def record_user_audio(
        self, pcm: Audio, *, rate: float | None = None, at_ns: int | None = None
    ) -> None:
        """Report samples of the microphone; call it where they come from the device.

        May be called from an audio callback thread: it copies the buffer and never blocks. From the
        first call on, these samples are the user's side of the recording, instead of the audio that
        is sent to the server.

        Args:
            pcm: samples in any buffer, array or list, as for ``record_agent_audio``.
            rate: samples per second; ``None``: the session's input rate.
            at_ns: time of the last sample, as for ``received``; ``None``: now.
        """
        self._record("user", partial(tapped, pcm, rate, None), at_ns)

    @walled
    def played(
        self, item_id: str, content_index: int, audio_ms: float, *, at_ns: int | None = None
    ) -> None:
        """Report how much of an item has been played, from its beginning.

        The position is that of ``conversation.item.truncate`` (``audio_end_ms``):
        https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate
        A position lower than an earlier one is ignored. Positions that run ahead of the clock are
        treated as by ``record_agent_audio``.

        Args:
            item_id: item that is playing.
            content_index: index of its content part.
            audio_ms: position in the part, ms.
            at_ns: time of the position, as for ``received``; ``None``: now.
        """
        recorder = self._engine.recorder
        if recorder is None:
            return
        try:
            item, index, at_ms = position(item_id, content_index, audio_ms)
        except Refused as refused:
            refuse("played()", str(refused), "this position is left out")
            return
        if at_ms > 0:
            recorder.played(recording_time(self._engine, at_ns, "played()"), item, index, at_ms)

    @walled
    def _record(self, side: str, read: Callable[[], TapAudio], at_ns: int | None) -> None:
        recorder = self._engine.recorder
        if recorder is None:
            return
        function = f"record_{side}_audio()"
        try:
            audio = read()  # copied now: an audio callback reuses its buffer as soon as it returns
        except Refused as refused:
            refuse(function, str(refused), "it is not recorded")
            diagnostics.lose(diagnostics.AUDIO)
            return
        recorder.tap(recording_time(self._engine, at_ns, function), side, audio)

    # -- tools -------------------------------------------------------------------------------------

    @contextmanager
    def tool(
        self,
        call_id: str | None = None,
        *,
        name: str | None = None,
        arguments: str | None = None,
    ) -> Iterator[Span]:
        """Run a tool in its own span, which is current inside the block and lasts as long as it.

        Args:
            call_id: ``call_id`` of the model's function call, which gives the span its name,
                arguments and parent.
            name: name of the tool, if the model did not call it.
            arguments: JSON text of its arguments.

        Yields:
            The tool's span. An exception of the block marks it as failed and passes through.
        """
        block = ToolBlock(self._engine)
        error: BaseException | None = None
        try:
            yield block.enter(call_id, name, arguments) or self._engine.trace.root
        except BaseException as raised:
            error = raised
            raise
        finally:
            block.leave(error)

    # -- privacy -----------------------------------------------------------------------------------

    @contextmanager
    def pause_recording(self) -> Iterator[None]:
        """Neither record nor trace what is said in the block, such as a card number.

        Both channels of the recording are silent while the block lasts. Payloads of its events are
        hidden, and so are those of later events that refer to it, such as the transcript of what
        was said. Audio that arrives in the block is discarded, so it stays silent even if it is
        played later. Times, usage and statuses remain. Blocks may nest and overlap.
        """
        paused = walled(self._engine.pause)()
        try:
            yield
        finally:
            if paused:
                walled(self._engine.resume)()

    @walled
    def redact_audio(
        self,
        start_ms: float,
        end_ms: float,
        *,
        side: Literal["user", "agent"] | None = None,
        how: Literal["silence", "beep"] = "silence",
    ) -> None:
        """Silence a stretch of the recording, whatever was or will be heard in it.

        Its length does not change, nor anything else in it. The stretch may lie in the past or in
        the future; what of it lies beyond the end of the call has no effect. It can be said until
        the conversation is closed; afterwards the command ``otel-realtime redact`` does the same to
        files.

        Args:
            start_ms: where it begins, in ms of the recording, which begins with the conversation.
            end_ms: where it ends.
            side: whose channel; ``None``: both.
            how: ``silence``, or ``beep``, a tone in its place.

        Added after 0.1.0.
        """
        recorder = self._engine.recorder
        if recorder is None:
            if self._engine.trace.recorded:
                warn_once(
                    "late redaction",
                    "redact_audio() was called for a conversation that has ended; its recording "
                    "stays as it was: `otel-realtime redact` silences it",
                )
            return
        try:
            stretch = read_stretch(start_ms, end_ms, side, how)
        except Refused as refused:
            refuse("redact_audio()", str(refused), "nothing is silenced")
            return
        if stretch is not None:
            recorder.redact(self._engine.clock.t(), stretch)

    # -- metadata, reconnects, end -----------------------------------------------------------------

    @walled
    def set_metadata(self, **metadata: Any) -> None:
        """Add metadata to the root; later values of a key win."""
        self._engine.describe(metadata, ())

    @walled
    def add_tags(self, *tags: str) -> None:
        """Add tags to the root."""
        self._engine.describe({}, tags)

    @walled
    def attach(self, connection: object) -> None:
        """Continue this conversation on another connection, for an app that reconnects by itself."""
        sink = SOCKETS.sockets.attach(connection)
        if sink is not None:
            sink.carry(self._engine)

    @walled
    def close(self, error: BaseException | None = None) -> None:
        """End the conversation; all its spans have ended when this returns.

        Further calls do nothing.

        Args:
            error: exception of the app that ended it; cancellation is not an error.
        """
        self._engine.close(error)


def record_user_mulaw(call: Conversation, audio: Audio, *, at_ns: int | None = None) -> None:
    """Report audio of the user in G.711 mu-law at 8 kHz, the format of telephony; kept unchanged.

    Args:
        call: the conversation.
        audio: mu-law samples in any buffer (ITU-T G.711: https://www.itu.int/rec/T-REC-G.711).
        at_ns: as for ``record_user_audio``.
    """
    call._record("user", partial(tapped_mulaw, audio), at_ns)


@walled
def tell_of_event(call: Conversation, key: str, value: bool) -> None:
    """Add LangSmith metadata to the span of the event that the app is handling.

    Args:
        call: the conversation.
        key: of ``attributes.Meta``.
        value: its value.
    """
    engine = getattr(call, "_engine", None)  # a null conversation has none
    span = None if engine is None else engine.trace.writer.event
    if span is not None:
        span.set_attribute(LS_METADATA + key, value)


def _read(message: object, function: str) -> wire.Frame | None:
    """Return the text or bytes of a message; None, and a line in the log, if it has none."""
    try:
        return _frame(message)
    except BaseException as error:  # noqa: BLE001 - whatever the object's own methods raise
        let_through(error)
        kind = type(message).__name__
        refuse(function, f"a message of type {kind} cannot be read", "it is left out")
        return None


def _frame(message: object) -> wire.Frame:
    """Return the text or bytes of a message in any form that ``received`` accepts."""
    if isinstance(message, str | bytes):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    if isinstance(message, Mapping):
        return json.dumps(message, default=str)
    # SDK events are pydantic models, v2 or v1.
    for method in ("model_dump_json", "to_json", "json"):
        dumper = getattr(message, method, None)
        if callable(dumper):
            return str(dumper())
    return str(message)
