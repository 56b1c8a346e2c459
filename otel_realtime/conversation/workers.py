"""Finds the parent for spans of workers, which run a tool elsewhere without ``call.tool()``.

An app may put a call's arguments into a queue and run the tool in a task or thread that was started
before the call. The context there does not say whom a span belongs to, so each span would start its own
trace. Such spans become children of the tool's span if

- they have no parent, were started without a context, and do not represent a request from outside,
- their code is known to work for one conversation: it runs inside a ``using(...)`` block in which only
  that conversation was opened, or it got the conversation from ``current_conversation()``,
- and that conversation waits for the result of a tool.

If the conversation waits for several tools, the span may identify its tool by the attributes of
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#execute-tool-span or by its name;
otherwise its parent is the root.
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
    """Note that the code here asked for its conversation and got this one."""
    _asked.set(engine.frames.reference)


def tool_of(span: Span, process: Process) -> SpanContext | None:
    """Return the parent for a span that was started without one.

    Args:
        span: a span that starts on this task or thread.
        process: services of this process.

    Returns:
        Context of a tool's span, or of the root if several tools are possible; ``None`` if the span
        does not belong to a worker.
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
