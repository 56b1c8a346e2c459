"""Conversations on tapped sockets: undecided at first, then one conversation.

Without an announcement a socket is undecided until its first received frame of a known family;
what was sent meanwhile is held by reference and belongs to the conversation. A socket that
speaks something else is released::

    undecided --frame of a known family, or announced--> carries a conversation
        |
        +--8 frames of none, or one that is not JSON--> released
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_realtime import diagnostics, tap
from otel_realtime.conversation.endings import ended_by_refusal
from otel_realtime.conversation.opening import open_conversation
from otel_realtime.conversation.options import Options, current_options
from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.responses import Moment

if TYPE_CHECKING:
    from otel_realtime.conversation.engine import Engine
    from otel_realtime.process.process import Process
    from otel_realtime.tap.interface import Calls, Close, Handshake, Sink

#: A socket is released after this many received frames of no known family.
UNDECIDED_FRAMES: Final = 8
#: What is sent on an undecided socket is held this long and up to this size.
HELD_S: Final = 10.0
HELD_BYTES: Final = 4 * 1024 * 1024


class SocketSink:
    """What a tapped socket reports to."""

    def __init__(self, handshake: Handshake, process: Process, *, sdk: bool) -> None:
        self.handshake = handshake
        #: The conversation it carries; None as long as it is undecided.
        self.engine: Engine | None = None
        self._process = process
        self._sdk = sdk
        self._options = current_options()
        self._caller = otel_context.get_current()
        self._lock = threading.Lock()
        self._held: list[tuple[wire.Frame, int, int]] = []
        self._held_bytes = 0
        self._frames = 0
        self._released = False

    # -- the tap's side --------------------------------------------------------------------------------

    def before_receive(self) -> None:
        """The app asks for the next frame."""
        if self.engine is not None:
            self.engine.frames.before_receive()

    def received(self, frame: wire.Frame) -> None:
        """A frame is about to be handed to the app."""
        engine = self.engine
        if engine is None:
            engine = self._decide(frame)
            if engine is None:
                return
        engine.frames.frame_received(frame)

    def sent(self, frame: wire.Frame) -> None:
        """The app hands a frame to the socket."""
        engine = self.engine
        if engine is None:
            engine = self._hold(frame)
        if engine is not None:
            engine.frames.frame_sent(frame)

    def closed(self, close: Close) -> None:
        """The connection ended for good. One that never spoke leaves a root if it is the SDK's."""
        engine = self.engine
        if engine is None and self._sdk and not self._released:
            engine = self.begin()
        if engine is not None:
            engine.closed_by(close)

    def calls(self) -> Calls:
        """Straight to the conversation once there is one: this is paid for every frame."""
        engine = self.engine
        if engine is None:
            return self.before_receive, self.received, self.sent
        frames = engine.frames
        return frames.before_receive, frames.frame_received, frames.frame_sent

    def released(self) -> bool:
        """True once this socket is known to be none of ours, or is not sampled."""
        return self._released or (self.engine is not None and self.engine.closed)

    def is_sdk(self) -> None:
        """The socket belongs to an SDK connection object."""
        self._sdk = True

    # -- deciding ----------------------------------------------------------------------------------------

    def _decide(self, frame: wire.Frame) -> Engine | None:
        if self._released:
            return None
        try:
            self._frames += 1
            event = wire.parse(frame)
            if event is not None and wire.is_known(event):
                return self.begin()
            if not self._sdk and (not wire.is_json(frame) or self._frames >= UNDECIDED_FRAMES):
                self._release()
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            self._release()  # what cannot be opened now is not tried again with each frame
            diagnostics.fault("opening", error)
        return None

    def _release(self) -> None:
        self._released = True
        self._held.clear()

    def _hold(self, frame: wire.Frame) -> Engine | None:
        """Keep a frame for the conversation to come; returns the one that was opened meanwhile."""
        with self._lock:
            if self.engine is not None:
                return self.engine
            age_s = (time.monotonic_ns() - self.handshake.mono_ns) / 1e9
            fits = age_s <= HELD_S and self._held_bytes + len(frame) <= HELD_BYTES
            if fits and not self._released:
                self._held.append((frame, time.time_ns(), time.monotonic_ns()))
                self._held_bytes += len(frame)
        return None

    def begin(self, options: Options | None = None) -> Engine:
        """Open the conversation, and give it what was sent before."""
        with self._lock:
            if self.engine is None:
                merged = options.over(self._options) if options is not None else self._options
                engine = open_conversation(
                    merged, self._process, handshake=self.handshake, caller=self._caller
                )
                self._hand_over(engine)
                self.engine = engine
            return self.engine

    def carry(self, engine: Engine) -> None:
        """This socket goes on with a conversation that is open already."""
        with self._lock:
            self._hand_over(engine)
            self.engine = engine

    def _hand_over(self, engine: Engine) -> None:
        """What was sent before belongs to the conversation, at the times it was sent."""
        for frame, at_ns, mono_ns in self._held:
            t = max(mono_ns - self.handshake.mono_ns, 0)
            engine.frames.send(frame, Moment(t, at_ns))
        self._held.clear()


class Sockets:
    """The process's observer of tapped sockets."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """A Realtime websocket is open."""
        if not is_instrumentation_enabled():
            return None
        return SocketSink(handshake, self._process, sdk=sdk)

    def refused(self, handshake: Handshake) -> None:
        """A handshake was refused: a root with the status, nothing else."""
        if not is_instrumentation_enabled():
            return
        try:
            engine = open_conversation(
                current_options(),
                self._process,
                handshake=handshake,
                caller=otel_context.get_current(),
            )
            engine.end(lambda: ended_by_refusal(handshake))
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            diagnostics.fault("refused handshake", error)

    def is_sdk(self, sink: Sink) -> None:
        """The socket belongs to an SDK connection object."""
        if isinstance(sink, SocketSink):
            sink.is_sdk()

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """The app told its SDK what was played: the conversation that has the item hears it."""
        for engine in list(self._process.live):
            recorder = engine.recorder
            if recorder is not None and engine.knows_item(item_id):
                recorder.played(engine.clock.t(), item_id, content_index, audio_ms)
                return

    def attach(self, connection: object) -> SocketSink | None:
        """Tap one connection; None, with one warning, when it cannot be."""
        sink = tap.attach(connection, self)
        if isinstance(sink, SocketSink):
            return sink
        kind = type(connection).__qualname__
        diagnostics.warn_once(
            ("attach", kind),
            "cannot instrument %s: report its frames with received() and sent()",
            kind,
        )
        return None
