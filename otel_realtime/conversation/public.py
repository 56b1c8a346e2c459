"""One live conversation, as the app sees it: its ids, frames by hand, audio, tools, pauses, metadata.

Every method is safe from any task or thread, does nothing once the conversation is closed, and never
raises because of telemetry: no fault of ours, of a sampler, of a span processor or of an argument's
own methods reaches the app.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry.trace import Span

from otel_realtime.conversation.frames import current
from otel_realtime.conversation.services import SOCKETS
from otel_realtime.core.audio.formats import MULAW, PCM
from otel_realtime.core.protocol import events as wire
from otel_realtime.diagnostics import walled
from otel_realtime.langsmith import parent_run
from otel_realtime.langsmith.ids import run_id
from otel_realtime.tracing.activation import child_context

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Buffer

    from otel_realtime.conversation.engine import Engine

    #: Arrays declare the buffer protocol to type checkers from Python 3.12 on only.
    Audio = Buffer | npt.NDArray[Any]

#: No item plays longer than this, in ms.
LONGEST_MS: Final = 1e9


def current_conversation() -> Conversation | None:
    """Return the conversation of this task: announced here, or received from here; else None.

    Added in 0.1.0.
    """
    reference = current.get()
    engine = reference() if reference is not None else None
    return Conversation.of(engine) if engine is not None and not engine.closed else None


class Conversation:
    """One Realtime conversation.

    Made by ``otel_realtime.conversation(...)``, or by itself on an instrumented connection
    (``otel_realtime.current_conversation()``).

    Added in 0.1.0.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, engine: Engine) -> Conversation:
        """Return the one face of an engine."""
        if engine.face is None:
            engine.face = cls(engine)
        return cast("Conversation", engine.face)

    # -- who it is -----------------------------------------------------------------------------------

    @property
    def thread_id(self) -> str:
        """The thread it belongs to in LangSmith: the app's id, the ``call_id``, or a new UUID."""
        return self._engine.trace.identity.thread_id

    @property
    def trace_id(self) -> str:
        """The OpenTelemetry trace id, 32 hex digits."""
        return self._engine.trace.trace_id

    @property
    def langsmith_run_id(self) -> str:
        """LangSmith's id of the root run: eight zero bytes and the root's span id, as a UUID."""
        return run_id(self._engine.trace.span_id)

    @property
    def langsmith_url(self) -> str | None:
        """The root run's page; None until LangSmith has told the project's id, or without it."""
        delivery = self._engine.trace.delivery
        return delivery.url if delivery is not None else None

    # -- frames by hand ------------------------------------------------------------------------------

    @walled
    def received(self, message: object, *, at_ns: int | None = None) -> None:
        """Report one message from the server, for an app on a transport that is not instrumented.

        Args:
            message: text or bytes of a frame, a mapping, or an SDK event.
            at_ns: wall time in epoch ns; once given it is the recording's clock too, and the
                conversation starts at the first one.
        """
        engine = self._engine
        if not engine.closed:
            at_ns = _wall_time(at_ns)
            engine.frames.start_by_hand(at_ns)
        engine.frames.before_receive()
        if not engine.closed:
            engine.frames.receive(_frame(message), engine.clock.moment(at_ns))

    @walled
    def sent(self, message: object, *, at_ns: int | None = None) -> None:
        """Report one message to the server; arguments as in ``received``."""
        engine = self._engine
        if not engine.closed:
            at_ns = _wall_time(at_ns)
            engine.frames.start_by_hand(at_ns)
            engine.frames.send(_frame(message), engine.clock.moment(at_ns))

    # -- what is heard and said ------------------------------------------------------------------------

    def record_agent_audio(
        self,
        pcm: Audio,
        *,
        item_id: str | None = None,
        rate: int | None = None,
        at_ns: int | None = None,
    ) -> None:
        """Report what the speaker plays now: call it where the buffer goes to the device.

        Callable from an audio thread: it copies the buffer and never waits. From the first call on
        this, and not a model of a player, is the agent's side of the recording. If calls run more
        than a second ahead of the clock they are not playback: one warning, and the model again. If
        none comes for two seconds while audio is due, the model stands in until the next.

        Args:
            pcm: 16-bit mono samples in any buffer; it is copied. Zeros are silence.
            item_id: the conversation item that it belongs to, if known.
            rate: samples per second; None: the session's own output rate.
            at_ns: when, as in ``received``; None: now.
        """
        self._record("agent", pcm, rate, PCM, item_id, at_ns)

    def record_user_audio(
        self, pcm: Audio, *, rate: int | None = None, at_ns: int | None = None
    ) -> None:
        """Report what the microphone has just heard: call it where the buffer comes from the device.

        Callable from an audio thread: it copies the buffer and never waits. From the first call on
        this, and not what is sent, is the user's side of the recording.

        Args:
            pcm: 16-bit mono samples in any buffer; it is copied.
            rate: samples per second; None: the session's own input rate.
            at_ns: when, as in ``received``; None: now.
        """
        self._record("user", pcm, rate, PCM, None, at_ns)

    @walled
    def played(
        self, item_id: str, content_index: int, audio_ms: float, *, at_ns: int | None = None
    ) -> None:
        """Report how much of an item has been played, from its beginning, as in ``audio_end_ms``.

        Positions only rise: a lower one than before says nothing. The same limits hold as for
        ``record_agent_audio``.

        Args:
            item_id: the item that plays.
            content_index: its content part.
            audio_ms: position in it, milliseconds.
            at_ns: when, as in ``received``; None: now.
        """
        recorder, position = self._engine.recorder, float(audio_ms)
        if recorder is not None and 0 < position <= LONGEST_MS:  # neither NaN nor nonsense
            t = _tap_t(self._engine, at_ns)
            recorder.played(t, str(item_id), int(content_index), position)

    @walled
    def _record(
        self,
        side: str,
        audio: Audio,
        rate: int | None,
        encoding: str,
        item_id: str | None,
        at_ns: int | None,
    ) -> None:
        recorder = self._engine.recorder
        if recorder is not None:
            from otel_realtime.recording.track import TapAudio  # brings numpy

            raw = bytes(memoryview(cast("Buffer", audio)))
            given = TapAudio(raw, rate, encoding, item_id)
            recorder.tap(_tap_t(self._engine, at_ns), side, given)

    # -- tools ---------------------------------------------------------------------------------------

    @contextmanager
    def tool(
        self,
        call_id: str | None = None,
        *,
        name: str | None = None,
        arguments: str | None = None,
    ) -> Iterator[Span]:
        """Run a tool under its exact span: current inside the block, from entry to exit.

        Args:
            call_id: the model's call; its name, arguments and parent are then known.
            name: the tool's name, for a tool the model did not ask for.
            arguments: JSON text of its arguments.

        Yields:
            The tool's span. An exception of the block marks it and passes through.
        """
        block = _ToolBlock(self._engine)
        error: BaseException | None = None
        try:
            yield block.enter(call_id, name, arguments) or self._engine.trace.root
        except BaseException as raised:
            error = raised
            raise
        finally:
            block.leave(error)

    # -- what must not be told -------------------------------------------------------------------------

    @contextmanager
    def pause_recording(self) -> Iterator[None]:
        """Record and tell nothing of what happens in the block: the caller reads out a card number.

        Both channels of the recording are silent for as long as the block lasts, and the payloads
        of its events are hidden, as are those that come later and belong to it (the transcript of
        what was said in it). Audio that arrives in the block is not kept at all, so what the agent
        says of it stays silent even if it is played later. Timing, usage and statuses remain.
        Blocks may nest and overlap.
        """
        paused = walled(self._engine.pause)()
        try:
            yield
        finally:
            if paused:
                walled(self._engine.resume)()

    # -- what the app adds -----------------------------------------------------------------------------

    @walled
    def set_metadata(self, **metadata: Any) -> None:
        """Add metadata to the root; later values win."""
        self._engine.describe(metadata, ())

    @walled
    def add_tags(self, *tags: str) -> None:
        """Add tags to the root."""
        self._engine.describe({}, tags)

    @walled
    def attach(self, connection: object) -> None:
        """Go on with this conversation on another connection: apps that reconnect by themselves."""
        sink = SOCKETS.attach(connection)
        if sink is not None:
            sink.carry(self._engine)

    # -- the end ---------------------------------------------------------------------------------------

    @walled
    def close(self, error: BaseException | None = None) -> None:
        """End the conversation; all its spans end before this returns, once.

        Args:
            error: the app's exception that ended it; cancellation is not an error.
        """
        self._engine.close(error)


class _ToolBlock:
    """One ``call.tool()`` block; each half is walled off by itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._entered: Any = None
        self._token: Any = None
        self._native: Any = None

    @walled
    def enter(self, call_id: str | None, name: str | None, arguments: str | None) -> Span | None:
        """Open the span and make it current; None when there is none."""
        engine = self._engine
        if engine.closed:
            return None
        self._entered = engine.enter_tool(_text(call_id), _text(name), _text(arguments))
        span: Span = self._entered[1].span
        base = otel_context.get_current()
        self._token = otel_context.attach(child_context(span, engine.trace.membership, base))
        self._native = parent_run.enter(parent_run.parent_run(span, "tool"))
        return span

    @walled
    def leave(self, error: BaseException | None) -> None:
        """Put back what was current, and end the span."""
        engine = self._engine
        parent_run.leave(self._native)
        if self._token is not None:
            otel_context.detach(self._token)
        if self._entered is not None:
            call, entered = self._entered
            engine.leave_tool(call, entered, error)
        if engine.closed:  # in the block: the detach brought back what the close put away
            engine.frames.before_receive()


def record_user_mulaw(call: Conversation, audio: Audio, *, at_ns: int | None = None) -> None:
    """``record_user_audio`` for telephony: G.711 mu-law at 8 kHz, kept as it is."""
    call._record("user", audio, 8_000, MULAW, None, at_ns)


def _text(value: object) -> str | None:
    return None if value is None else wire.replace_surrogates(str(value))


def _tap_t(engine: Engine, at_ns: int | None) -> int:
    return engine.clock.t() if at_ns is None else engine.clock.moment(at_ns).t


#: Wall times that spans can have: epoch ns of a signed 64-bit number.
_LATEST_NS: Final = 2**63 - 1


def _wall_time(at_ns: object) -> int | None:
    """The app's time as OpenTelemetry can hold it; a clock may say anything."""
    if not isinstance(at_ns, int | float) or at_ns != at_ns:
        return None
    return int(min(max(at_ns, 0), _LATEST_NS))


def _frame(message: object) -> wire.Frame:
    """Any shape of a message as the text or bytes of its frame."""
    if isinstance(message, str | bytes):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    if isinstance(message, Mapping):
        return json.dumps(message, default=str)
    for method in ("model_dump_json", "to_json", "json"):
        dumper = getattr(message, method, None)
        if callable(dumper):
            return str(dumper())
    return str(message)
