"""Conversations on tapped sockets.

The tap reports every websocket whose path matches ``Settings.realtime_paths``. Unless the app announced
it, a socket is undecided until it receives a frame with an event type of a known family. Frames sent
before that are held by reference and belong to the conversation. A socket that speaks another protocol
is released, and the tap is removed::

    undecided --frame of a known family, or announced--> carries a conversation
        |                                                    ^
        +--8 frames of none, or one that is not JSON--> released
                                                             |
    opened where an earlier socket has closed ---------------+

A conversation whose socket closes waits for another socket if its ``using(...)`` block has a thread, or
if a framework's session object opens its sockets; see ``process.waiting`` and ``between``.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_realtime import diagnostics, tap
from otel_realtime.attributes import LEG_NONE
from otel_realtime.conversation.blocks import conversation_here, note_opened
from otel_realtime.conversation.endings import ended_by_refusal
from otel_realtime.conversation.opening import open_conversation
from otel_realtime.conversation.options import Options, current_options
from otel_realtime.conversation.paths import is_realtime
from otel_realtime.conversation.running import Handing, ToolBlock
from otel_realtime.core.protocol import dialects
from otel_realtime.core.protocol import events as wire
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.interrupts import let_through
from otel_realtime.langsmith.app_exports import exporter_to_langsmith

if TYPE_CHECKING:
    from otel_realtime.conversation.engine import Engine
    from otel_realtime.process.process import Process
    from otel_realtime.process.waiting import Place
    from otel_realtime.tap.interface import Calls, Close, Handshake, Sink
    from otel_realtime.tap.owners import Owner

#: A socket is released after this many received frames of no known family.
UNDECIDED_FRAMES: Final = 8
#: Limits for the frames held on an undecided socket: time since the handshake, and total size.
HELD_S: Final = 10.0
HELD_BYTES: Final = 4 * 1024 * 1024


class SocketSink:
    """Receives the frames of one tapped socket; implements ``tap.interface.Sink``.

    Args:
        handshake: handshake of the socket.
        process: services of this process.
        sdk: whether the socket belongs to a Realtime connection of the ``openai`` SDK.

    Attributes:
        handshake: handshake of the socket.
        engine: the conversation that the socket carries; ``None`` while the socket is undecided.
    """

    def __init__(self, handshake: Handshake, process: Process, *, sdk: bool) -> None:
        self.handshake = handshake
        self.engine: Engine | None = None
        self._process = process
        self._sdk = sdk
        # Read in the task that opens the socket; another task may receive the first frame.
        self._options = current_options()
        self._places = _places(self._options, handshake)
        self._caller = otel_context.get_current()
        self._lock = threading.Lock()
        self._held: list[tuple[wire.Frame, int, int]] = []
        self._held_bytes = 0
        self._frames = 0
        self._released = False

    # -- called by the tap -------------------------------------------------------------------------

    def before_receive(self) -> None:
        """Handle the app's request for the next frame."""
        engine = self.engine
        if engine is not None and (engine.closed or engine.carrier is self):
            engine.frames.before_receive()

    def received(self, frame: wire.Frame) -> None:
        """Handle a frame that the app is about to receive."""
        engine = self.engine
        if engine is None:
            engine = self._decide(frame)
            if engine is None:
                return
        engine.frames.frame_received(frame)

    def sent(self, frame: wire.Frame) -> None:
        """Handle a frame that the app sends; runs on the sending task or thread."""
        engine = self.engine
        if engine is None:
            engine = self._hold(frame)
        if engine is not None:
            engine.frames.frame_sent(frame)

    def closed(self, close: Close) -> None:
        """End the conversation, because the connection has ended for good, or let it wait.

        An SDK connection that never received a frame still gets a root with the close code, because
        it was certainly meant to be a Realtime conversation.
        """
        engine = self.engine
        if engine is None and self._sdk and not self._released:
            engine = self.begin()
        if engine is not None and engine.carrier is self and not self._wait(engine, close):
            engine.closed_by(close)

    def lost(self, close: Close) -> None:
        """Handle the loss of a connection that the SDK will reopen."""
        if self.engine is not None and self.engine.carrier is self:
            self.engine.part(close)

    def regained(self) -> None:
        """Handle the reopening of the connection by the SDK."""
        if self.engine is not None and self.engine.carrier is self:
            self.engine.between.join()

    def _wait(self, engine: Engine, close: Close) -> bool:
        """Let the conversation wait for another socket; return ``False`` if none can follow."""
        wait_s = engine.trace.settings.join_sockets_s
        if not (self._places and wait_s) or engine.closed:
            return False
        return self._process.waiting.admit(
            engine,
            self._places,
            until_ns=time.monotonic_ns() + int(wait_s * 1e9),
            by_client=close.by_client,
            part=partial(engine.part, close),
        )

    def calls(self) -> Calls:
        """Return the functions that the tap calls for each frame.

        Once there is a conversation, these are its own methods, which saves two calls per frame.
        """
        engine = self.engine
        if engine is None:
            return self.before_receive, self.received, self.sent
        frames = engine.frames
        return frames.before_receive, frames.frame_received, frames.frame_sent

    def released(self) -> bool:
        """Return whether the tap may be removed: not this protocol, not sampled, or ended."""
        return self._released or (self.engine is not None and self.engine.closed)

    def is_sdk(self) -> None:
        """Note that the socket belongs to a connection object of the SDK."""
        self._sdk = True

    def owned(self, owner: Owner) -> None:
        """Note which object of a framework opens the sockets of this conversation."""
        self._places = _places(self._options, replace(self.handshake, owner=owner))

    # -- deciding ----------------------------------------------------------------------------------

    def _decide(self, frame: wire.Frame) -> Engine | None:
        if self._released:
            return None
        try:
            self._frames += 1
            event = wire.parse(frame)
            if event is not None and dialects.begins(event, self.handshake.path):
                return self.begin()
            if not self._sdk and (not wire.is_json(frame) or self._frames >= UNDECIDED_FRAMES):
                self._release()
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            self._release()  # otherwise the next frame would try and fail again
            diagnostics.fault("opening", error)
        return None

    def _release(self) -> None:
        self._released = True
        self._held.clear()

    def _hold(self, frame: wire.Frame) -> Engine | None:
        """Hold a frame for the conversation; return the conversation if it has been opened meanwhile."""
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
        """Open the conversation unless it is open, and pass it the frames that were sent before.

        Args:
            options: options of ``conversation(...)``, which take precedence.
        """
        with self._lock:  # another thread may send meanwhile
            if self.engine is None:
                merged = options.over(self._options) if options is not None else self._options
                engine = open_conversation(
                    merged, self._process, handshake=self.handshake, caller=self._caller
                )
                self._pass_held(engine)
                self.engine, engine.carrier = engine, self
            return self.engine

    def carry(self, engine: Engine) -> None:
        """Continue, on this socket, a conversation that is already open."""
        self._process.waiting.forget(engine)
        engine.between.join()
        self._take(engine)

    def _take(self, engine: Engine) -> None:
        with self._lock:
            self._pass_held(engine)
            self.engine, engine.carrier = engine, self

    def join(self) -> None:
        """Continue the conversation of an earlier socket, if one waits for this socket."""
        taken = self._process.waiting.take(self._places, self.handshake.mono_ns)
        engine, options = cast("Engine | None", taken), self._options
        if engine is None or not engine.between.join():
            return
        before = engine.carrier
        self._take(engine)
        note_opened(engine, options.block, self._process)
        if not (isinstance(before, SocketSink) and before._options is options):
            settings = options.effective_settings(self._process.effective_settings)
            engine.describe(options.metadata, options.tags, settings)

    def _pass_held(self, engine: Engine) -> None:
        """Pass the held frames to the conversation with the times at which they were sent."""
        for frame, at_ns, mono_ns in self._held:
            t = max(mono_ns - engine.clock.mono_ns, 0)
            engine.frames.send(frame, Moment(t, at_ns))
        self._held.clear()


def _places(options: Options, handshake: Handshake) -> tuple[Place, ...]:
    """Return the places in which another socket may continue the conversation of this one.

    These are any socket that the same session object of a framework opens, and any socket in the same
    ``using(...)`` block whose path and query (model and call) are the same.
    """
    if options.join is False:
        return ()
    places: list[Place] = []
    if handshake.owner is not None:
        places.append((handshake.owner, None))
    if options.thread_block is not None:
        asked = {key: value for key, value in handshake.query.items() if key != "api-version"}
        places.append((options.thread_block, (handshake.path, frozenset(asked.items()))))
    return tuple(places)


class Sockets:
    """Opens conversations on tapped sockets; implements ``tap.interface.Observer``.

    Args:
        process: services of this process.
        joins: whether a socket may continue the conversation of another one.
    """

    def __init__(self, process: Process, *, joins: bool = True) -> None:
        self._process = process
        self._joins = joins

    def is_realtime(self, path: str) -> bool:
        """Return whether a request path matches one of ``Settings.realtime_paths``."""
        return is_realtime(path, self._process.settings)

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """Return the sink of a websocket that was opened; ``None`` if it must not be tapped."""
        if not is_instrumentation_enabled():
            return None
        sink = SocketSink(handshake, self._process, sdk=sdk)
        if self._joins:
            try:
                sink.join()
            except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
                let_through(error)
                diagnostics.fault("joining", error)
        return sink

    def refused(self, handshake: Handshake) -> None:
        """Trace a refused handshake as a conversation that consists of a failed root.

        If the handshake was to continue a waiting conversation, that conversation notes it instead.
        """
        if not is_instrumentation_enabled():
            return
        try:
            places = _places(current_options(), handshake)
            waiting = self._process.waiting.find(places, handshake.mono_ns)
            ending = ended_by_refusal(handshake)
            if waiting is not None and ending.failure is not None:
                cast("Engine", waiting).between.refused(ending.failure)
                return
            engine = open_conversation(
                current_options(),
                self._process,
                handshake=handshake,
                caller=otel_context.get_current(),
            )
            engine.end(lambda: ending)
        except BaseException as error:  # noqa: BLE001 - our faults must not reach the app
            let_through(error)
            diagnostics.fault("refused handshake", error)

    def is_sdk(self, sink: Sink) -> None:
        """Note that a sink's socket belongs to a connection object of the SDK."""
        if isinstance(sink, SocketSink):
            sink.is_sdk()

    def owned(self, sink: Sink, owner: Owner) -> None:
        """Note which object of a framework opens the sockets of a conversation."""
        if isinstance(sink, SocketSink):
            sink.owned(owner)

    def counts_tokens(self, sink: Sink) -> bool:
        """Return whether, to our knowledge, this conversation's tokens are reported to LangSmith."""
        engine = sink.engine if isinstance(sink, SocketSink) else None
        if engine is None or not engine.trace.sampled:
            return False
        trace = engine.trace
        if trace.delivery is not None:
            return not trace.refused
        provider = self._process.tracer_provider_for(None)
        return trace.route.leg != LEG_NONE and exporter_to_langsmith(provider) is not None

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """Record a playback position that the app reported to its SDK, not to a conversation.

        The conversation is found by the item's id, which the server makes unique.
        """
        for engine in cast("list[Engine]", list(self._process.live)):
            recorder = engine.recorder
            if recorder is not None and engine.knows_item(item_id):
                recorder.played(engine.clock.t(), item_id, content_index, audio_ms)
                return

    def tool(self, call_id: str) -> ToolBlock | None:
        """Enter the block of a tool that a framework runs; see ``tap.interface.Observer``."""
        engine = self._knowing(call_id)
        if engine is None:
            return None
        block = ToolBlock(engine, adapted=True)
        block.enter(call_id, None, None)
        return block

    def handover(self, call_id: str | None) -> Handing | None:
        """Note that a framework may hand a conversation over; see ``tap.interface.Observer``."""
        here = conversation_here(current_options().block, self._process)
        engine = here if call_id is None else self._knowing(call_id)
        return None if engine is None else Handing(engine, call_id)

    def _knowing(self, call_id: str) -> Engine | None:
        """Return the conversation of a call; the server assigns the ids, so normally only one matches."""
        here = conversation_here(current_options().block, self._process)
        if here is not None and here.knows_call(call_id):
            return here
        live = cast("list[Engine]", list(self._process.live))
        return next((engine for engine in live if engine.knows_call(call_id)), None)

    def attach(self, connection: object) -> SocketSink | None:
        """Tap one connection.

        Returns:
            The sink of the connection; ``None``, with one warning, if its type is not supported.
        """
        # It does not join an earlier conversation: the app itself says whose connection it is.
        sink = tap.attach(connection, Sockets(self._process, joins=False))
        if isinstance(sink, SocketSink):
            return sink
        kind = type(connection).__qualname__
        diagnostics.warn_once(
            ("attach", kind),
            "cannot instrument %s: its frames are not traced; report them with the conversation's "
            "received() and sent()",
            kind,
        )
        return None
