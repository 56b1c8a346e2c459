"""Finds the conversation for code that neither announced one nor receives its frames.

Frameworks run tools in their own tasks and threads, and apps hand events to workers. What such code
inherits from its conversation depends on how it was started:

========================================  =================================================
tasks, ``asyncio.to_thread``, anyio       a copy of the context in which they were started
threads, ``loop.run_in_executor``         nothing (from Python 3.14 on threads can inherit)
both, with OpenTelemetry's propagation    the span that was current
========================================  =================================================

So the look-up starts with what is certain and ends with what is merely unambiguous:

1. The conversation that this task announced, last received from, or runs a tool for; or, if a
   ``using(...)`` block was entered after that, the only live conversation opened inside that block.
2. The conversation whose span is current here.
3. Inside ``using(...)``: the only live conversation opened in the block or, if there is none, in the
   enclosing block. Rule 4 does not apply inside a block.
4. In code to which none of this applies: the only live conversation of the process, unless the code
   serves another request.

Rules 3 and 4 never return a conversation that was open at the same time as the code's own previous one,
because it belongs to another caller. If two conversations are possible, the result is ``None``. A
conversation that was not sampled counts as possible for as long as a conversation can last, because its
end is not observed.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind, get_current_span

from otel_realtime.conversation.context import current
from otel_realtime.diagnostics import walled
from otel_realtime.process.process import may_last
from otel_realtime.tracing.members import CONVERSATION_KEY

if TYPE_CHECKING:
    from otel_realtime.conversation.context import Reference
    from otel_realtime.conversation.engine import Engine
    from otel_realtime.process.process import Process

#: Kinds of spans that represent a request from outside.
SERVED: Final = (SpanKind.SERVER, SpanKind.CONSUMER)


class Block:
    """One ``using(...)`` block and the conversations that were opened inside it.

    Args:
        outer: the enclosing block.

    Attributes:
        outer: the enclosing block; ``None`` for the outermost.
        before: value of ``current`` when the block was entered.
    """

    def __init__(self, outer: Block | None = None) -> None:
        self.outer = outer
        self.before = current.get()
        self._left_out_at: float | None = None
        self._lock = threading.Lock()
        self._opened: weakref.WeakSet[Engine] = weakref.WeakSet()

    def note(self, engine: Engine) -> None:
        """Note a conversation that was opened inside; it is already closed if it was not sampled."""
        with self._lock:
            if engine.closed:
                self._left_out_at = time.monotonic()
            self._opened.add(engine)

    @property
    def left_out(self) -> bool:
        """Whether a conversation that was not sampled may still be open inside."""
        return may_last(self._left_out_at)

    def live(self) -> list[Engine]:
        """Return the live conversations that were opened inside."""
        with self._lock:
            return [engine for engine in self._opened if not engine.closed]


def note_opened(engine: Engine, block: Block | None, process: Process) -> None:
    """Note a conversation that has been opened.

    Args:
        engine: the conversation; it is already closed if it was not sampled.
        block: the innermost ``using(...)`` block in which it was opened.
        process: services of this process.
    """
    if engine.closed:
        process.leave_out()
    while block is not None:
        block.note(engine)
        block = block.outer


@walled
def conversation_here(block: Block | None, process: Process) -> Engine | None:
    """Return the live conversation that this code belongs to; ``None`` if it is unclear.

    Args:
        block: the innermost ``using(...)`` block around this code.
        process: services of this process.
    """
    reference, membership = current.get(), otel_context.get_value(CONVERSATION_KEY)
    last = reference() if reference is not None else None
    own = None if last is None or last.closed else last
    carried = None if membership is None else _carrying(membership, process)
    around = block
    # Ignore blocks entered before this task received anything: what it received says more.
    while around is not None and (own is None or around.before is reference):
        live = around.live()
        if live or around.left_out:
            if own is None and carried in live:
                return carried
            if len(live) != 1 or around.left_out:
                return None
            # What this task knew when it entered the block says nothing about what was opened inside.
            follows = around.before is reference or _follows(live[0], reference)
            return live[0] if follows else None
        around = around.outer
    if own is not None or carried is not None:
        return cast("Engine | None", own or carried)
    if block is not None or membership is not None:
        return None  # this code has no conversation yet, or its own has ended
    live = _live(process)
    if len(live) != 1 or process.has_left_out or _serves_another(live[0]):
        return None
    return live[0] if _follows(live[0], reference) else None


def _follows(engine: Engine, before: Reference | None) -> bool:
    """Return whether a conversation may be the next one in a loop whose previous one has ended.

    Args:
        engine: the conversation.
        before: the previous conversation, or ``None``. A conversation that began before its end
            belongs to another caller.
    """
    return before is None or before.ended_ns <= engine.clock.mono_ns


def _live(process: Process) -> list[Engine]:
    engines = cast("list[Engine]", list(process.live))
    return [engine for engine in engines if not engine.closed]


def _carrying(membership: object, process: Process) -> Engine | None:
    """Return the live conversation whose span is current, regardless of where the context came from."""
    return next((one for one in _live(process) if one.trace.membership is membership), None)


def _serves_another(engine: Engine) -> bool:
    """Return whether the current span represents a request that is unrelated to the call."""
    span: Any = get_current_span()
    if getattr(span, "kind", None) not in SERVED:
        return False
    trace_id = f"{span.get_span_context().trace_id:032x}"
    return trace_id not in (engine.trace.trace_id, engine.trace.identity.parent_trace_id)
