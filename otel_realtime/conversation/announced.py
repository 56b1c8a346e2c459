"""Opens conversations that the app announces."""

from __future__ import annotations

from contextvars import Token

from opentelemetry import context as otel_context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_realtime import diagnostics
from otel_realtime.conversation.context import Reference, current
from otel_realtime.conversation.engine import Engine
from otel_realtime.conversation.null import NullConversation
from otel_realtime.conversation.opening import open_conversation, open_untraced
from otel_realtime.conversation.options import Options, current_options
from otel_realtime.conversation.public import Conversation
from otel_realtime.conversation.services import PROCESS, SOCKETS
from otel_realtime.interrupts import let_through


def enter(
    connection: object, options: Options
) -> tuple[Conversation, Token[Reference | None] | None]:
    """Open a conversation, or find the one that the connection carries, and make it the current one.

    Returns:
        The conversation, or one that does nothing if none can be opened; and the token that resets
        ``current``, if it was set.
    """
    try:
        engine = _open(connection, options)
    except BaseException as error:  # noqa: BLE001 - a sampler, a span processor, or our own code
        let_through(error)
        diagnostics.fault("conversation", error)
        return NullConversation(), None
    return Conversation.of(engine), current.set(engine.frames.reference)


def _open(connection: object, options: Options) -> Engine:
    if not is_instrumentation_enabled():
        return open_untraced(options, PROCESS)
    sink = None if connection is None else SOCKETS.sockets.attach(connection)
    if sink is not None and sink.engine is None:
        return sink.begin(options)  # the socket was undecided
    if sink is not None and sink.engine is not None and not sink.engine.closed:
        _update(sink.engine, options)
        return sink.engine
    engine = open_conversation(
        options.over(current_options()),
        PROCESS,
        handshake=None,
        caller=otel_context.get_current(),
        post=sink is not None,
    )
    if sink is not None:  # an earlier block's conversation on this socket has ended
        sink.carry(engine)
    return engine


def _update(engine: Engine, options: Options) -> None:
    """Apply those options to an open conversation that can still change.

    The root has started, so the thread, the settings and the provider are fixed.
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
