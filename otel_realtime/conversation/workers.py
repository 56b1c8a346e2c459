"""Spans of workers: of code that runs a tool elsewhere and does not say so.

An app may put a call's arguments into a queue and run the tool in a task or thread that was started
before the call. Nothing current there says whose spans these are; each would be a trace of its own.
They go below the tool if

- they have no parent, were started without a context, and stand for no request from outside,
- their code is known to work for one conversation: it is inside the ``using(...)`` block in which only
  that one was opened, or it has asked for it by ``current_conversation()``,
- and that conversation waits for the result of a tool.

If it waits for several, the span may name its own, by the attributes of
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#execute-tool-span or by its name; else
it goes below the root.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import Span
from opentelemetry.trace import SpanContext

from otel_realtime.attributes import TOOL_CALL_ID, TOOL_NAME
from otel_realtime.conversation.blocks import SERVED, conversation_here
from otel_realtime.conversation.options import current_options

if TYPE_CHECKING:
    from otel_realtime.conversation.context import Reference
    from otel_realtime.conversation.engine import Engine
    from otel_realtime.process.process import Process

_asked: ContextVar[Reference | None] = ContextVar("otel_realtime_asked", default=None)


def note_asked(engine: Engine) -> None:
    """Note that the code here asked for its conversation, and got this one."""
    _asked.set(engine.frames.reference)


def tool_of(span: Span, process: Process) -> SpanContext | None:
    """Return the span below which one belongs that was started without a parent.

    Args:
        span: a span that starts on this task or thread.
        process: services of this process.

    Returns:
        Context of a tool's span, or of the root where several tools run; ``None`` if the span is none
        of a worker's.
    """
    if not process.live or span.kind in SERVED:
        return None
    block = current_options().block
    engine = conversation_here(block, process)
    if engine is None:
        return None
    if block is None and _asked.get() is not engine.frames.reference:
        return None
    attributes = span.attributes or {}
    return engine.trace.tools.running(
        str(attributes.get(TOOL_CALL_ID) or ""), str(attributes.get(TOOL_NAME) or span.name)
    )
