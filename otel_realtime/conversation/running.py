"""What the app runs for a conversation: a tool, or a handover to another agent of its framework.

``call.tool()`` or an adapter for a framework enters and leaves it in the app's own task or thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry.trace import Span

from otel_realtime.conversation.context import Reference, current
from otel_realtime.core.protocol import events as wire
from otel_realtime.diagnostics import walled
from otel_realtime.langsmith import parent_run
from otel_realtime.tracing.activation import child_context

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context

    from otel_realtime.conversation.engine import Engine
    from otel_realtime.tracing.tool import OpenTool


class ToolBlock:
    """One ``call.tool()`` block, or a tool that a framework runs.

    Entry and exit catch our errors separately, so that an error on entry cannot skip the tool itself.

    Args:
        engine: the conversation.
        adapted: whether an adapter noticed that a framework runs the tool.
    """

    def __init__(self, engine: Engine, *, adapted: bool = False) -> None:
        self._engine = engine
        self._adapted = adapted
        self._entered: OpenTool | None = None
        self._token: Token[Context] | None = None
        self._native: dict[str, object] | None = None
        self._here: Token[Reference | None] | None = None

    @walled
    def enter(self, call_id: str | None, name: str | None, arguments: str | None) -> Span | None:
        """Open the span and make it current; return ``None`` if the conversation is closed."""
        engine = self._engine
        if engine.closed:
            return None
        self._entered = engine.enter_tool(
            _text(call_id), _text(name), _text(arguments), adapted=self._adapted
        )
        span: Span = self._entered.span
        base = otel_context.get_current()
        self._token = otel_context.attach(child_context(span, engine.trace.membership, base))
        self._native = parent_run.enter(parent_run.parent_run(span, "tool"))
        # A framework's task may have started before the conversation opened.
        self._here = current.set(engine.frames.reference)
        return span

    @walled
    def leave(self, error: BaseException | None) -> None:
        """Make the previous span current again, and end this one."""
        engine = self._engine
        # Restore first: the span must no longer be current when it ends.
        self._restore()
        if self._entered is not None:
            engine.leave_tool(self._entered, error)
        if engine.closed:  # closed inside the block: the detach restored an event's context
            engine.frames.before_receive()

    def _restore(self) -> None:
        """Restore what was current before; do nothing if the block is left in a different context.

        That happens in frameworks that run the two halves of a generator in different tasks. There,
        the context that this block changed has gone with the task that entered the block.
        """
        if self._here is not None:
            try:
                current.reset(self._here)
            except ValueError:
                return
        parent_run.leave(self._native)
        if self._token is not None:
            otel_context.detach(self._token)


class Handing:
    """A handover that a framework may perform; implements ``tap.interface.Handover``.

    Args:
        engine: the conversation.
        call_id: the model's call that asks for the handover, if any.
    """

    def __init__(self, engine: Engine, call_id: str | None) -> None:
        self._engine = engine
        self._call_id = call_id
        self._begun = engine.clock.moment()

    @walled
    def made(self, agent: str) -> None:
        """Trace the handover, from its start until now."""
        self._engine.handed_over(_text(agent) or "", self._call_id, self._begun)


def _text(value: object) -> str | None:
    return None if value is None else wire.replace_surrogates(str(value))
