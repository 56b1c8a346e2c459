"""``Conversation``: a live conversation as the app sees it.

Every method may be called from any task or thread, and does nothing once the conversation is closed.
No method raises because of telemetry: errors in this package, in a sampler, in a span processor, or
in an argument's own methods are logged instead.
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
    """Return the live conversation that this code belongs to, or ``None``.

    This is the conversation that the current task announced, last received a frame from, or runs a
    tool for. For code that a framework or the app runs elsewhere, it is the only live conversation
    opened in the enclosing ``using(...)`` block; without such a block, it is the only live
    conversation of the process. If two conversations are possible, the result is ``None``.

    While the conversation waits for the result of a tool, any span that the calling code starts
    without a parent becomes a child of that tool's span. The same holds for all code inside the
    ``using(...)`` block.

    Added in 0.1.0.
    """
    engine = conversation_here(current_options().block, PROCESS)
    if engine is None:
        return None
    note_asked(engine)
    return Conversation.of(engine)


class Conversation:
    """One Realtime conversation.

    ``otel_realtime.conversation(...)`` returns it on entry. For a conversation that was opened
    automatically on an instrumented connection, ``otel_realtime.current_conversation()`` returns it.

    Added in 0.1.0.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, engine: Engine) -> Conversation:
        """Return the ``Conversation`` of an engine; it is always the same object."""
        if engine.public is None:
            engine.public = cls(engine)
        return cast("Conversation", engine.public)

    # -- ids ---------------------------------------------------------------------------------------

    @property
    def thread_id(self) -> str:
        """LangSmith thread of the conversation: the app's id, else the ``call_id``, else a new UUID."""
        return self._engine.trace.identity.thread_id

    @property
    def trace_id(self) -> str:
        """OpenTelemetry trace id, 32 hex digits."""
        return self._engine.trace.trace_id

    @property
    def langsmith_run_id(self) -> str:
        """LangSmith's id of the root run: a UUID of eight zero bytes and the root's span id."""
        return run_id(self._engine.trace.span_id)

    @property
    def langsmith_url(self) -> str | None:
        """URL of the root run's page; ``None`` without LangSmith or while the project's id is unknown."""
        delivery = self._engine.trace.delivery
        return delivery.url if delivery is not None else None

    # -- frames that the app reports ---------------------------------------------------------------

    @walled
    def received(self, message: object, *, at_ns: int | None = None) -> None:
        """Report a message from the server, for an app whose transport is not instrumented.

        Args:
            message: text or bytes of a frame, a mapping, or an SDK event.
            at_ns: time of receipt in epoch ns; ``None`` means now. Once the app passes a time, its
                times are also the recording's clock, and the conversation starts at the first one.
                A time that jumps back, or forward by more than an hour, is replaced by the previous
                time. If a replayed call is reported faster than its audio can be written, this
                method waits; it never waits in a live call.
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
        """Report a message to the server; the arguments are those of ``received``."""
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
        """Report the samples that the speaker plays now; call it where they are passed to the device.

        This method may be called from an audio callback thread: it copies the buffer and never
        blocks. From the first call on, these samples are the agent's side of the recording, in place
        of the modelled player. Calls that run more than a second ahead of the clock report what is
        queued, not what is played: the package then logs one warning and uses the model again. If no
        call arrives for two seconds while audio is due, the model is used until the next call.

        Calls that arrive early, late or several at once open no gap, because the device's buffer
        absorbs them. The device is taken to have run dry only if one call is more than 200 ms late,
        or if a call and all those of the next five seconds are at least 20 ms late.

        A buffer that cannot be read is logged once per kind of mistake and counted as lost. It does
        not affect other buffers.

        Args:
            pcm: samples in any buffer, array or list. Bytes and 16-bit integers are 16-bit samples,
                floats range from -1 to 1, and 32-bit integers use their full scale. Several channels,
                ``(frames, channels)``, are averaged. Zeros are silence.
            item_id: conversation item that the samples belong to, if known.
            rate: samples per second; ``None`` means the session's output rate.
            at_ns: time of the first sample, as for ``received``; ``None`` means now.
        """
        self._record("agent", partial(tapped, pcm, rate, item_id), at_ns)

    def record_user_audio(
        self, pcm: Audio, *, rate: float | None = None, at_ns: int | None = None
    ) -> None:
        """Report samples of the microphone; call it where they arrive from the device.

        This method may be called from an audio callback thread: it copies the buffer and never
        blocks. From the first call on, these samples are the user's side of the recording, instead
        of the audio that is sent to the server.

        Args:
            pcm: samples in any buffer, array or list, as for ``record_agent_audio``.
            rate: samples per second; ``None`` means the session's input rate.
            at_ns: time of the last sample, as for ``received``; ``None`` means now.
        """
        self._record("user", partial(tapped, pcm, rate, None), at_ns)

    @walled
    def played(
        self, item_id: str, content_index: int, audio_ms: float, *, at_ns: int | None = None
    ) -> None:
        """Report how much of an item has been played, from its beginning.

        The position has the meaning of ``audio_end_ms`` in ``conversation.item.truncate``:
        https://platform.openai.com/docs/api-reference/realtime-client-events/conversation/item/truncate
        A position lower than an earlier one is ignored. Positions that run ahead of the clock are
        handled as in ``record_agent_audio``.

        Args:
            item_id: item that is playing.
            content_index: index of the content part that is playing.
            audio_ms: position in the part, in ms.
            at_ns: time of the position, as for ``received``; ``None`` means now.
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
        """Run a tool in its own span, which is current inside the block and ends with it.

        Args:
            call_id: ``call_id`` of the model's function call, which gives the span its name,
                arguments and parent.
            name: name of the tool, if the model did not call it.
            arguments: JSON text of the tool's arguments.

        Yields:
            The tool's span. An exception raised in the block marks the span as failed and propagates.
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

        Both channels of the recording are silent while the block lasts. The payloads of events in
        the block are hidden, and so are those of later events that refer to it, such as the
        transcript of what was said. Audio that arrives in the block is discarded, so it is silent
        even if it is played later. Times, usage and statuses are kept. Blocks may nest and overlap.
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

        The recording keeps its length, and everything outside the stretch stays as it is. The
        stretch may lie in the past or in the future; a part of it beyond the end of the call has no
        effect. Call this method before the conversation is closed; afterwards, the command
        ``otel-realtime redact`` does the same to files.

        Args:
            start_ms: start of the stretch, in ms of the recording, which begins with the conversation.
            end_ms: end of the stretch, in ms of the recording.
            side: channel to silence; ``None`` means both.
            how: ``silence``, or ``beep`` for a tone instead.

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
        """Add metadata to the root; a later value replaces an earlier one with the same key."""
        self._engine.describe(metadata, ())

    @walled
    def add_tags(self, *tags: str) -> None:
        """Add tags to the root."""
        self._engine.describe({}, tags)

    @walled
    def attach(self, connection: object) -> None:
        """Continue this conversation on another connection, for an app that reconnects itself."""
        sink = SOCKETS.sockets.attach(connection)
        if sink is not None:
            sink.carry(self._engine)

    @walled
    def close(self, error: BaseException | None = None) -> None:
        """End the conversation; all its spans have ended when this returns.

        Further calls do nothing.

        Args:
            error: the app's exception that ended the conversation; cancellation is not an error.
        """
        self._engine.close(error)


def record_user_mulaw(call: Conversation, audio: Audio, *, at_ns: int | None = None) -> None:
    """Report the user's audio in G.711 mu-law at 8 kHz, the telephony format; it is stored unchanged.

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
        key: a key of ``attributes.Meta``.
        value: the value for the key.
    """
    engine = getattr(call, "_engine", None)  # a null conversation has none
    span = None if engine is None else engine.trace.writer.event
    if span is not None:
        span.set_attribute(LS_METADATA + key, value)


def _read(message: object, function: str) -> wire.Frame | None:
    """Return the text or bytes of a message, or None (with one log line) if it cannot be read."""
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
