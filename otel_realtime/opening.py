"""How conversations open: announced by the app, or by themselves on an instrumented socket.

Without an announcement a socket is undecided until its first received frame of a known family;
what was sent meanwhile is held by reference and belongs to the conversation. A socket that
speaks something else is let go.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import NoOpTracerProvider

from otel_realtime import guard
from otel_realtime import tap as taps
from otel_realtime.clock import Clock
from otel_realtime.core import events as wire
from otel_realtime.core.responses import Moment
from otel_realtime.engine import Engine, current
from otel_realtime.live import Conversation
from otel_realtime.recording.owner import new_folder
from otel_realtime.runtime import RUNTIME
from otel_realtime.settings import Settings
from otel_realtime.tap import Close, Handshake, Sink
from otel_realtime.tap.interface import Calls
from otel_realtime.tracing.chronicle import header
from otel_realtime.tracing.describe import Provider
from otel_realtime.tracing.root import Ending, Identity, admit_metadata, clean_tags
from otel_realtime.tracing.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

logger = logging.getLogger(__name__)

#: A socket is let go after this many received frames of no known family.
UNDECIDED_FRAMES: Final = 8
#: What is sent on an undecided socket is held this long and up to this size.
HELD_S: Final = 10.0
HELD_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the app asked for, by ``using(...)`` or ``conversation(...)``."""

    thread_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    settings: Settings | None = None
    record_audio: bool | None = None
    capture_content: bool | None = None
    tracer_provider: TracerProvider | None = None

    def over(self, outer: Wishes) -> Wishes:
        """These wishes on top of an outer block's."""
        return Wishes(
            thread_id=self.thread_id or outer.thread_id,
            metadata={**outer.metadata, **self.metadata},
            tags=(*outer.tags, *(tag for tag in self.tags if tag not in outer.tags)),
            settings=self.settings or outer.settings,
            record_audio=outer.record_audio if self.record_audio is None else self.record_audio,
            capture_content=outer.capture_content
            if self.capture_content is None
            else self.capture_content,
            tracer_provider=self.tracer_provider or outer.tracer_provider,
        )

    def effective_settings(self) -> Settings:
        """Settings of a conversation that opens now."""
        settings = self.settings or RUNTIME.settings or Settings()
        if self.record_audio is not None:
            settings = replace(settings, record_audio=self.record_audio)
        if self.capture_content is not None:
            settings = replace(settings, capture_content=self.capture_content)
        return settings


_NONE: Final = Wishes()
_using: ContextVar[Wishes] = ContextVar("otel_realtime_using", default=_NONE)


@contextmanager
def using(
    *,
    thread_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    record_audio: bool | None = None,
    capture_content: bool | None = None,
) -> Iterator[None]:
    """Say things of every conversation whose connection is opened inside the block.

    For apps that never hold the connection themselves. Blocks nest: inner values win, metadata
    and tags add up.

    Args:
        thread_id: the app's id of the thread.
        metadata: goes on the root.
        tags: go on the root.
        record_audio: overrides ``Settings.record_audio``.
        capture_content: overrides ``Settings.capture_content``.
    """
    wishes = Wishes(
        thread_id=thread_id,
        metadata=dict(metadata or {}),
        tags=tuple(tags),
        record_audio=record_audio,
        capture_content=capture_content,
    )
    token = _using.set(wishes.over(_using.get()))
    try:
        yield
    finally:
        _using.reset(token)


def open_conversation(
    wishes: Wishes, *, handshake: Handshake | None, caller: Context, post: bool = True
) -> Conversation:
    """Open a conversation now, started at its handshake if there was one."""
    settings = wishes.effective_settings()
    clock = Clock(handshake.started_ns, handshake.mono_ns) if handshake else Clock.now()
    query: Mapping[str, str] = handshake.query if handshake else {}
    metadata, refused = admit_metadata(wishes.metadata)
    identity = Identity(
        thread_id=wire.clean(str(wishes.thread_id or query.get("call_id") or uuid.uuid4())),
        given_thread_id=wishes.thread_id is not None,
        provider=Provider.of(
            handshake.host if handshake else None, handshake.port if handshake else None
        ),
        call_id=query.get("call_id"),
        model=query.get("model"),
        metadata=metadata,
        tags=clean_tags(wishes.tags),
    )
    trace = Trace(identity, settings, clock, provider=wishes.tracer_provider, caller=caller)
    if refused:
        trace.say_once("metadata", "metadata keys %s are reserved and left out", refused)
    conversation = Conversation(trace)
    if not trace.sampled:
        return conversation
    conversation.begin(
        RUNTIME.writer.open(
            header(trace),
            folder=new_folder(settings.state_dir) if trace.journaled else None,
            on_tick=conversation.tick,
            audio=trace.recorded,
        )
    )
    RUNTIME.opened(conversation, settings)
    if post:
        trace.post()
    return conversation


class SocketSink:
    """What a tapped socket reports to: undecided at first, then one conversation."""

    def __init__(self, handshake: Handshake, *, sdk: bool) -> None:
        self.handshake = handshake
        self._sdk = sdk
        self._wishes = _using.get()
        self._caller = otel_context.get_current()
        self._lock = threading.Lock()
        self._held: list[tuple[wire.Frame, int, int]] = []
        self._held_bytes = 0
        self._frames = 0
        self._let_go = False
        self.conversation: Conversation | None = None

    # -- the tap's side --------------------------------------------------------------------------------

    def before_receive(self) -> None:
        """The app asks for the next frame."""
        conversation = self.conversation
        if conversation is not None:
            conversation.before_receive()

    def received(self, frame: wire.Frame) -> None:
        """A frame is about to be handed to the app."""
        conversation = self.conversation
        if conversation is None:
            conversation = self._decide(frame)
            if conversation is None:
                return
        conversation.frame_received(frame)

    def sent(self, frame: wire.Frame) -> None:
        """The app hands a frame to the socket."""
        conversation = self.conversation
        if conversation is not None:
            conversation.frame_sent(frame)
            return
        with self._lock:
            age_s = (time.monotonic_ns() - self.handshake.mono_ns) / 1e9
            if age_s <= HELD_S and self._held_bytes + len(frame) <= HELD_BYTES:
                self._held.append((frame, time.time_ns(), time.monotonic_ns()))
                self._held_bytes += len(frame)

    def closed(self, close: Close) -> None:
        """The connection ended for good. One that never spoke leaves a root if it is the SDK's."""
        conversation = self.conversation
        if conversation is None and self._sdk and not self._let_go:
            conversation = self.begin()
        if conversation is not None:
            conversation.closed_by(close)

    def calls(self) -> Calls:
        """Straight to the conversation once there is one: this is paid for every frame."""
        opened = self.conversation
        if opened is None:
            return self.before_receive, self.received, self.sent
        return opened.before_receive, opened.frame_received, opened.frame_sent

    def let_go(self) -> bool:
        """True once this socket is known to be none of ours, or is not sampled."""
        conversation = self.conversation
        return self._let_go or (conversation is not None and conversation.closed)

    def is_sdk(self) -> None:
        """The socket belongs to an SDK connection object."""
        self._sdk = True

    # -- deciding ----------------------------------------------------------------------------------------

    def _decide(self, frame: wire.Frame) -> Conversation | None:
        if self._let_go:
            return None
        try:
            self._frames += 1
            event = wire.parse(frame)
            if event is not None and wire.is_known(event):
                return self.begin()
            if not self._sdk and (not wire.is_json(frame) or self._frames >= UNDECIDED_FRAMES):
                self._let_go = True
                self._held.clear()
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("opening", error)
        return None

    def begin(self, wishes: Wishes | None = None) -> Conversation:
        """Open the conversation, and give it what was sent before."""
        with self._lock:
            if self.conversation is None:
                merged = wishes.over(self._wishes) if wishes is not None else self._wishes
                opened = open_conversation(merged, handshake=self.handshake, caller=self._caller)
                self._hand_over(opened)
                self.conversation = opened
            return self.conversation

    def carry(self, conversation: Conversation) -> None:
        """This socket goes on with a conversation that is open already."""
        with self._lock:
            self._hand_over(conversation)
            self.conversation = conversation

    def _hand_over(self, conversation: Conversation) -> None:
        """What was sent before belongs to the conversation, at the times it was sent."""
        for frame, at_ns, mono_ns in self._held:
            t = max(mono_ns - self.handshake.mono_ns, 0)
            conversation.give(frame, Moment(t, at_ns))
        self._held.clear()


class Opener:
    """The process's observer of tapped sockets."""

    def opened(self, handshake: Handshake, *, sdk: bool) -> Sink | None:
        """A Realtime websocket is open."""
        if not is_instrumentation_enabled():
            return None
        return SocketSink(handshake, sdk=sdk)

    def refused(self, handshake: Handshake) -> None:
        """A handshake was refused: a root with the status, nothing else."""
        if not is_instrumentation_enabled():
            return
        try:
            conversation = open_conversation(
                _using.get(), handshake=handshake, caller=otel_context.get_current()
            )
            conversation.end(Ending.of_refusal(handshake))
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("refused handshake", error)

    def is_sdk(self, sink: Sink) -> None:
        """The socket belongs to an SDK connection object."""
        if isinstance(sink, SocketSink):
            sink.is_sdk()

    def played(self, item_id: str, content_index: int, audio_ms: float) -> None:
        """The app told its SDK what was played: the conversation that has the item hears it."""
        for opened in list(RUNTIME.live):
            if isinstance(opened, Conversation) and opened.knows_item(item_id):
                opened.played(item_id, content_index, audio_ms)
                return


OPENER: Final = Opener()


def attach_connection(conversation: Conversation, connection: object) -> None:
    """Carry a conversation on another connection."""
    try:
        sink = taps.attach(connection, OPENER)
        if isinstance(sink, SocketSink):
            sink.carry(conversation)
        else:
            logger.warning(
                "%s cannot be watched: report its frames with received() and sent()",
                type(connection).__qualname__,
            )
    except Exception as error:  # noqa: BLE001 - ours must not reach the app
        guard.fault("attach", error)


class conversation:
    """Announce one conversation: ``with`` or ``async with``.

    Args:
        connection: an ``openai`` Realtime connection (async or sync), a websocket, or None for
            an app that reports its frames itself.
        thread_id: the app's id of the thread; also ``gen_ai.conversation.id``.
        metadata: goes on the root.
        tags: go on the root.
        settings: instead of ``instrument()``'s or the environment's.
        tracer_provider: instead of ``instrument()``'s or the global one.

    It opens on entry, so its ids are there on the first line of the block, and ends with the
    block. On a connection that ``instrument()`` taps it is the same conversation. Exceptions of
    the block mark the root and pass through.
    """

    def __init__(
        self,
        connection: object = None,
        *,
        thread_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        settings: Settings | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._connection = connection
        self._wishes = Wishes(
            thread_id=thread_id,
            metadata=dict(metadata or {}),
            tags=tuple(tags),
            settings=settings,
            tracer_provider=tracer_provider,
        )
        self._conversation: Conversation | None = None
        self._token: Token[ref[Engine] | None] | None = None

    def __enter__(self) -> Conversation:
        opened = self._open()
        self._conversation = opened
        self._token = current.set(ref(opened))
        return opened

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._conversation is not None:
            self._conversation.close(error)
        if self._token is not None:
            current.reset(self._token)
            self._token = None

    async def __aenter__(self) -> Conversation:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _open(self) -> Conversation:
        sink = None
        if not is_instrumentation_enabled():
            unsampled = replace(self._wishes, tracer_provider=NoOpTracerProvider())
            return open_conversation(unsampled, handshake=None, caller=Context(), post=False)
        if self._connection is not None:
            try:
                sink = taps.attach(self._connection, OPENER)
            except Exception as error:  # noqa: BLE001 - ours must not reach the app
                guard.fault("attach", error)
            if sink is None:
                logger.warning(
                    "%s cannot be watched: report its frames with received() and sent()",
                    type(self._connection).__qualname__,
                )
        if isinstance(sink, SocketSink) and sink.conversation is None:
            return sink.begin(self._wishes)
        if isinstance(sink, SocketSink) and sink.conversation and not sink.conversation.closed:
            return self._join(sink.conversation)
        opened = open_conversation(
            self._wishes.over(_using.get()),
            handshake=None,
            caller=otel_context.get_current(),
            post=sink is not None,
        )
        if isinstance(sink, SocketSink):  # an earlier block's conversation ended on this socket
            sink.carry(opened)
        return opened

    def _join(self, opened: Conversation) -> Conversation:
        wishes = self._wishes
        given = {
            "thread_id": wishes.thread_id,
            "settings": wishes.settings,
            "tracer_provider": wishes.tracer_provider,
        }
        refused = [name for name, value in given.items() if value is not None]
        opened.join(wishes.metadata, wishes.tags, wishes.settings, refused)
        return opened
