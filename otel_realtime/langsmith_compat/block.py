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
    """One wrapped conversation, from its beginning to its end; its methods do not raise.

    Args:
        plan: the translated arguments of the wrapper.
        sample_rate: sample rate of the recorded audio.
    """

    def __init__(self, plan: Plan, sample_rate: int) -> None:
        self._plan = plan
        self._rate = sample_rate
        self._stack = ExitStack()
        self.call: Conversation | None = None
        #: Whether the proxy reports the events, because the tap does not see them.
        self.reports = False

    @walled
    def begin(self, connection: object, options: Options) -> None:
        """Open the conversation.

        Args:
            connection: the connection that carries it; ``None`` if it is not known.
            options: options of the conversation.
        """
        sink = None if connection is None else tap.attach(connection, SOCKETS)
        self.reports = sink is None
        engine = sink.engine if isinstance(sink, SocketSink) else None
        if engine is not None and not engine.closed and not self._plan.is_private:
            # The conversation is already open, so our defaults come too late. Leave them out, so that
            # no warning about them is logged.
            options = replace(options, settings=None, tracer_provider=None)
        self.call = self._stack.enter_context(
            announce(None if self.reports else connection, options)
        )
        self._stack.enter_context(_native(self._plan, self.call.thread_id))

    @walled
    def end(self, error: BaseException | None) -> None:
        """End the conversation.

        Args:
            error: the app's exception.
        """
        kind = None if error is None else type(error)
        self._stack.__exit__(kind, error, None if error is None else error.__traceback__)

    def user(self, pcm: bytes) -> None:
        """Record audio from the microphone."""
        if self.call is not None:
            self.call.record_user_audio(pcm, rate=self._rate)

    def agent(self, pcm: bytes) -> None:
        """Record audio that the speaker plays."""
        if self.call is not None:
            self.call.record_agent_audio(pcm, rate=self._rate)

    def received(self, event: object) -> None:
        """Report an event, unless the tap already does."""
        if self.reports and self.call is not None:
            self.call.received(event)


@contextmanager
def _native(plan: Plan, thread_id: str) -> Iterator[None]:
    """Put runs of ``@traceable`` functions that the block calls outside of any event into the thread."""
    make = getattr(sys.modules.get("langsmith.run_helpers"), "tracing_context", None)
    if make is None:
        yield
        return
    context: AbstractContextManager[Any] = make(metadata={"thread_id": thread_id}, **plan.native)
    with context:
        yield
