"""``conversation(...)``: a conversation that the app announces before its first frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

from otel_realtime import diagnostics
from otel_realtime.conversation.options import Options, options_of
from otel_realtime.conversation.services import PROCESS
from otel_realtime.interrupts import let_through

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from otel_realtime.conversation.context import Reference
    from otel_realtime.conversation.public import Conversation
    from otel_realtime.settings import Settings


class conversation:
    """Announce one conversation; use it in a ``with`` or ``async with`` statement.

    The conversation opens on entry, so its ids are known on the first line of the block, and it ends
    with the block. If ``instrument()`` already tracks the connection, the block gets the same
    conversation. An exception raised in the block marks the root as failed and propagates. If no
    conversation can be opened, the block gets one whose methods do nothing.

    Args:
        connection: an ``openai`` Realtime connection (async or sync), a websocket, or ``None`` for
            an app that reports its frames itself.
        thread_id: the app's id for the thread; also written as ``gen_ai.conversation.id``.
        metadata: metadata for the root.
        tags: tags for the root.
        settings: settings for this conversation, instead of ``instrument()``'s or the
            environment's. Fields that apply to the whole process are ignored with one warning.
        tracer_provider: provider for its spans, instead of ``instrument()``'s or the global one.

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
        self._token: Token[Reference | None] | None = None

    def __enter__(self) -> Conversation:
        self._conversation, self._token = self._enter()
        return self._conversation

    def _enter(self) -> tuple[Conversation, Token[Reference | None] | None]:
        try:
            PROCESS.loading.catch_up()
            # This imports most of the package, unless ``instrument()`` has already done so.
            from otel_realtime.conversation.announced import enter
        except BaseException as error:  # noqa: BLE001 - a dependency is missing or broken
            let_through(error)
            diagnostics.fault("conversation", error)
            from otel_realtime.conversation.null import NullConversation

            return NullConversation(), None
        return enter(self._connection, self._options)

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
                token.var.reset(token)
            except ValueError:  # the block is left in a different context than it was entered in,
                pass  # as when a framework runs the two halves of a generator in different tasks

    async def __aenter__(self) -> Conversation:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)


def announce(connection: object, options: Options) -> conversation:
    """Return a ``conversation`` block with options that the public arguments do not offer.

    Args:
        connection: as for ``conversation``.
        options: options of the conversation.
    """
    block = conversation(connection)
    block._options = options
    return block
