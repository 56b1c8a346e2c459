"""``conversation(...)``: a conversation that the app announces before its first frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import ref

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_realtime import diagnostics
from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.frames import current
from otel_realtime.conversation.null import NullConversation
from otel_realtime.conversation.opening import open_conversation, open_untraced
from otel_realtime.conversation.options import Options, current_options, options_of
from otel_realtime.conversation.public import Conversation
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.interrupts import let_through

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_realtime.settings import Settings


class conversation:
    """Announce one conversation; use it with ``with`` or ``async with``.

    The conversation opens on entry, so its ids are known on the first line of the block, and it ends
    with the block. On a connection that ``instrument()`` already tracks it is the same conversation.
    An exception of the block marks the root as failed and passes through. If no conversation can be
    opened, the block gets one whose methods do nothing.

    Args:
        connection: an ``openai`` Realtime connection (async or sync), a websocket, or ``None`` for
            an app that reports its frames itself.
        thread_id: the app's id of the thread; also written as ``gen_ai.conversation.id``.
        metadata: metadata of the root.
        tags: tags of the root.
        settings: settings of this conversation, instead of ``instrument()``'s or the
            environment's. Fields that apply to the whole process are ignored with one warning.
        tracer_provider: provider of its spans, instead of ``instrument()``'s or the global one.

    Added in 0.1.0.
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
        self._options = options_of(
            thread_id=thread_id,
            metadata=metadata,
            tags=tags,
            settings=settings,
            tracer_provider=tracer_provider,
        )
        self._conversation: Conversation | None = None
        self._token: Token[ref[Engine] | None] | None = None

    def __enter__(self) -> Conversation:
        try:
            engine = self._open()
        except BaseException as error:  # noqa: BLE001 - a sampler, a span processor, or our own code
            let_through(error)
            diagnostics.fault("conversation", error)
            self._conversation = NullConversation()
            return self._conversation
        self._conversation = Conversation.of(engine)
        self._token = current.set(ref(engine))
        return self._conversation

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._conversation is not None:
            self._conversation.close(error)
        token, self._token = self._token, None
        if token is not None:
            try:
                current.reset(token)
            except ValueError:  # the block is left in another context than it was entered in, as
                pass  # frameworks do that run the two halves of a generator in different tasks

    async def __aenter__(self) -> Conversation:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _open(self) -> Engine:
        if not is_instrumentation_enabled():
            return open_untraced(self._options, PROCESS)
        sink = None if self._connection is None else SOCKETS.attach(self._connection)
        if sink is not None and sink.engine is None:
            return sink.begin(self._options)  # the socket was undecided
        if sink is not None and sink.engine is not None and not sink.engine.closed:
            _update(sink.engine, self._options)
            return sink.engine
        engine = open_conversation(
            self._options.over(current_options()),
            PROCESS,
            handshake=None,
            caller=otel_context.get_current(),
            post=sink is not None,
        )
        if sink is not None:  # the conversation of an earlier block on this socket has ended
            sink.carry(engine)
        return engine


def announce(connection: object, options: Options) -> conversation:
    """Return the block of a conversation, with options that apps do not have.

    Args:
        connection: as for ``conversation``.
        options: its options.
    """
    block = conversation(connection)
    block._options = options
    return block


def _update(engine: Engine, options: Options) -> None:
    """Apply options to a conversation that is already open, as far as they can still change.

    Its root has started, so its thread, settings and provider are fixed.
    """
    engine.describe(options.metadata, options.tags, options.settings)
    given = {
        "thread_id": options.thread_id,
        "settings": options.settings,
        "tracer_provider": options.tracer_provider,
        "project": options.project,
    }
    refused = [name for name, value in given.items() if value is not None]
    if refused:
        diagnostics.warn_once(
            ("announced", *refused),
            "ignoring %s in conversation(...): the conversation is already open; enter "
            "conversation(...) before the first event is received",
            ", ".join(refused),
        )
