"""One wrapped conversation, from its beginning to its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from otel_realtime import tap
from otel_realtime.conversation.announce import announce
from otel_realtime.conversation.options import Options
from otel_realtime.conversation.public import Conversation
from otel_realtime.conversation.services import SOCKETS
from otel_realtime.conversation.sockets import SocketSink
from otel_realtime.diagnostics import walled
from otel_realtime.langsmith_compat.arguments import Plan


class Block:
    """One wrapped conversation, from its beginning to its end; none of it raises.

    Args:
        plan: what the wrapper was given.
        sample_rate: rate of what is recorded.
    """

    def __init__(self, plan: Plan, sample_rate: int) -> None:
        self._plan = plan
        self._rate = sample_rate
        self._stack = ExitStack()
        self.call: Conversation | None = None
        #: What the tap does not see is reported by the proxy.
        self.reports = False

    @walled
    def begin(self, connection: object, options: Options) -> None:
        """Open the conversation.

        Args:
            connection: what carries it; ``None`` if it is not known.
            options: options of the conversation.
        """
        sink = None if connection is None else tap.attach(connection, SOCKETS)
        self.reports = sink is None
        engine = sink.engine if isinstance(sink, SocketSink) else None
        if engine is not None and not engine.closed and not self._plan.is_private:
            # Open already: our defaults are too late, and nothing that the app has to be told of.
            options = replace(options, settings=None, tracer_provider=None)
        self.call = self._stack.enter_context(
            announce(None if self.reports else connection, options)
        )
        self._stack.enter_context(_native(self._plan, self.call.thread_id))

    @walled
    def end(self, error: BaseException | None) -> None:
        """End it.

        Args:
            error: the app's exception.
        """
        kind = None if error is None else type(error)
        self._stack.__exit__(kind, error, None if error is None else error.__traceback__)

    def user(self, pcm: bytes) -> None:
        """Record what the microphone heard."""
        if self.call is not None:
            self.call.record_user_audio(pcm, rate=self._rate)

    def agent(self, pcm: bytes) -> None:
        """Record what the speaker plays."""
        if self.call is not None:
            self.call.record_agent_audio(pcm, rate=self._rate)

    def received(self, event: object) -> None:
        """Report an event, if nothing else does."""
        if self.reports and self.call is not None:
            self.call.received(event)


@contextmanager
def _native(plan: Plan, thread_id: str) -> Iterator[None]:
    """Let ``@traceable`` functions of the block that no event started belong to the thread."""
    make = getattr(sys.modules.get("langsmith.run_helpers"), "tracing_context", None)
    if make is None:
        yield
        return
    context: AbstractContextManager[Any] = make(metadata={"thread_id": thread_id}, **plan.native)
    with context:
        yield
