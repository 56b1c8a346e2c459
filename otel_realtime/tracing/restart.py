"""Spans that begin before it is known whether they are true: has anything happened below one yet?

A tool's span opens when its call is announced. If nothing has happened below it when the response
is done, or when the app says that it runs the tool only now, it begins anew: as long as it has no
children, its place and its start are no more than our own guess.
"""

from __future__ import annotations

from typing import cast

from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Span

from otel_realtime.tracing.members import TABLE, MemberTable, note_start


def has_children(span_id: int, table: MemberTable = TABLE) -> bool:
    """Return whether a span has children; ``True`` if the span is unknown."""
    own = table.get(span_id)
    if own is None:
        return True
    # Children start after their parent, so only the spans behind it can be its children.
    for later_id in reversed(own.membership.span_ids):
        if later_id == span_id:
            return False
        later = table.get(later_id)
        if later is not None and later.parent is own:
            return True
    return False


def restart(span: Span, parent: Span, start_ns: int, table: MemberTable = TABLE) -> bool:
    """Let a span without children begin anew: at another time, below another parent.

    It keeps its id, so whoever inherited it as current span goes on being below it. OpenTelemetry has
    no way to do this, so the SDK's private fields are set, as the SDK's own exporters see them.

    Args:
        span: a member that is still open.
        parent: the new parent.
        start_ns: the new start, epoch ns.

    Returns:
        Whether it did; ``False`` for spans of another SDK, and for those that are no members.
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
