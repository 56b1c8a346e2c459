"""Restarts spans that were opened on a guess and below which nothing has happened yet.

A tool's span opens when its call is announced. If nothing has happened below it when the response
is done, or when the app says that it runs the tool only now, the span restarts: as long as it has
no children, its parent and its start are only our own guess.
"""

from __future__ import annotations

from typing import cast

from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Span

from otel_realtime.tracing.members import TABLE, MemberTable, note_start


def has_children(span_id: int, table: MemberTable = TABLE) -> bool:
    """Return whether a span has children; ``True`` if the span is unknown."""
    own = table.get(span_id)
    return own is None or own.children > 0


def restart(span: Span, parent: Span, start_ns: int, table: MemberTable = TABLE) -> bool:
    """Restart a span without children at another time, below another parent.

    It keeps its id, so code that inherited it as the current span stays below it. OpenTelemetry has no
    way to do this, so the SDK's private fields are set, which the SDK's own exporters read.

    Args:
        span: a member that is still open.
        parent: the new parent.
        start_ns: the new start, epoch ns.

    Returns:
        Whether the span was restarted; ``False`` for spans of another SDK, and for non-members.
    """
    context, above = span.get_span_context(), parent.get_span_context()
    member, parent_member = table.get(context.span_id), table.get(above.span_id)
    fits = isinstance(span, SdkSpan) and hasattr(span, "_parent") and hasattr(span, "_start_time")
    if not fits or member is None or parent_member is None or member.span_id != context.span_id:
        return False
    own = cast("SdkSpan", span)
    own._parent, own._start_time = above, start_ns
    membership = member.membership
    again = membership.member(context.span_id, start_ns, parent_member)
    table.add(context.span_id, again)
    if membership.linked:
        own.set_attributes(again.links())
    if member.noted and membership.note is not None:
        again.noted = note_start(membership.note, own, membership)
    return True
