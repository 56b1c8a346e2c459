"""What is current on the app's task while it handles an event.

An event's span is attached *by value*: no token is kept, so nothing can be detached in the
wrong task. The context the app had before stands inside ours and is put back when the same
task asks for the next frame, or closes. Whatever the app itself attached meanwhile (baggage,
an open span) survives: only our own keys are taken out.

Another task's context cannot be changed from outside: a task that never receives again may
keep an ended event span as its current one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_realtime.tracing.members import CONVERSATION_KEY

_FRAME: Final = otel_context.create_key("otel_realtime.frame")
#: The key the API keeps the current span under; found by value, it has no public name.
_SPAN: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_OURS: Final = (_FRAME, _SPAN, CONVERSATION_KEY)


class NativeParents(Protocol):
    """Another library's own idea of the current parent, kept in step with ours."""

    def enter(self, run: Any) -> dict[str, Any] | None:
        """Make a run the parent in this context; returns what was."""
        ...

    def leave(self, kept: dict[str, Any] | None) -> None:
        """Put back what ``enter`` found."""
        ...

    def pass_on(self, kept: dict[str, Any], later: dict[str, Any]) -> None:
        """What ``enter`` found before the one must be put back after the later other."""
        ...


@dataclass(slots=True, eq=False)
class _Frame:
    owner: object
    span: Span
    base: Context
    attached: Context | None = None
    parent_run: Any = None
    left: bool = False


def child_context(span: Span, conversation: object, base: Context | None = None) -> Context:
    """``base`` with the span as current span and the conversation named."""
    return Context({**(base or {}), _SPAN: span, CONVERSATION_KEY: conversation})


class Activation:
    """Makes the spans of one conversation current, one at a time, per task."""

    def __init__(self, conversation: object, native: NativeParents | None = None) -> None:
        self._conversation = conversation
        self._native = native
        #: Contexts attached and not put back; 0 lets the next receive skip the look.
        self.attached = 0

    def enter(self, span: Span, run: Any = None) -> None:
        """Make a span current in this task, unless the app keeps a span of its own open."""
        current = otel_context.get_current()
        frame = current.get(_FRAME)
        if isinstance(frame, _Frame) and frame.owner is self:
            base = self._without(current, frame)
            if base is None:
                return
            current = base
        new = _Frame(self, span, current)
        new.attached = Context(
            {**current, _SPAN: span, CONVERSATION_KEY: self._conversation, _FRAME: new}
        )
        if run is not None and self._native is not None:
            new.parent_run = self._native.enter(run)
        otel_context.attach(new.attached)
        self.attached += 1

    def leave(self) -> None:
        """Put the app's own context back, if this task still has ours."""
        current, above = otel_context.get_current(), None
        frame = current.get(_FRAME)
        while isinstance(frame, _Frame) and frame.owner is not self:
            above, frame = frame, frame.base.get(_FRAME)
        if not isinstance(frame, _Frame):
            return
        base = self._without(current if above is None else above.base, frame, above)
        if base is None:
            return
        if above is None:
            otel_context.attach(base)
        else:  # another conversation of this task is current: it puts back what we would have
            above.base = base

    def step_out(self, span: Span | None) -> None:
        """If the span that is current here has ended, make the event's span current again."""
        current = otel_context.get_current()
        frame = current.get(_FRAME)
        if not isinstance(frame, _Frame) or frame.owner is not self or span is frame.span:
            return
        if current is frame.attached and not frame.span.is_recording():
            self.leave()
            if span is not None:
                self.enter(span)

    def _without(
        self, current: Context, frame: _Frame, above: _Frame | None = None
    ) -> Context | None:
        """The context without our keys; None while a span of the app's is open in it."""
        if current is frame.attached:
            base = frame.base
            if not frame.left:
                frame.left = True
                self.attached -= 1
        else:  # what the app attached since can bring ours back when it detaches: it still counts
            span = trace.get_current_span(current)
            if span is not frame.span and span.is_recording():
                return None
            kept = {key: value for key, value in current.items() if key not in _OURS}
            kept.update({key: frame.base[key] for key in _OURS if key in frame.base})
            base = Context(kept)
        if frame.parent_run is not None and self._native is not None:
            if above is not None and above.parent_run is not None:
                self._native.pass_on(frame.parent_run, above.parent_run)
            else:
                self._native.leave(frame.parent_run)
            frame.parent_run = None
        return base
