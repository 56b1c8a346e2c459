"""``conversation(...)``: one conversation, announced by the app."""

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

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_realtime.settings import Settings


class conversation:
    """Announce one conversation: ``with`` or ``async with``.

    It opens on entry, so its ids are there on the first line of the block, and ends with the
    block. On a connection that ``instrument()`` taps it is the same conversation. Exceptions of
    the block mark the root and pass through. Where nothing can be opened, the block gets a
    conversation that does nothing.

    Args:
        connection: an ``openai`` Realtime connection (async or sync), a websocket, or None for
            an app that reports its frames itself.
        thread_id: the app's id of the thread; also ``gen_ai.conversation.id``.
        metadata: goes on the root.
        tags: go on the root.
        settings: instead of ``instrument()``'s or the environment's; fields that hold for the
            process are refused with one warning.
        tracer_provider: instead of ``instrument()``'s or the global one.

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
        except Exception as error:  # noqa: BLE001 - a sampler's, a processor's, or ours
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
            except ValueError:  # the block is left in another context than it was entered in
                pass

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
            return sink.begin(self._options)
        if sink is not None and sink.engine is not None and not sink.engine.closed:
            _join(sink.engine, self._options)
            return sink.engine
        engine = open_conversation(
            self._options.over(current_options()),
            PROCESS,
            handshake=None,
            caller=otel_context.get_current(),
            post=sink is not None,
        )
        if sink is not None:  # an earlier block's conversation ended on this socket
            sink.carry(engine)
        return engine


def _join(engine: Engine, options: Options) -> None:
    """Announced when it is open already: what can still be said of it applies."""
    engine.describe(options.metadata, options.tags, options.settings)
    given = {
        "thread_id": options.thread_id,
        "settings": options.settings,
        "tracer_provider": options.tracer_provider,
    }
    refused = [name for name, value in given.items() if value is not None]
    if refused:
        diagnostics.warn_once(
            ("announced", *refused),
            "conversation(...) came after the first event: %s cannot be changed any more",
            ", ".join(refused),
        )
