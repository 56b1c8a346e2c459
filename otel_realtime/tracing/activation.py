"""Makes an event's span current on the app's task while the app handles the event.

OpenTelemetry pairs ``attach`` with ``detach(token)``
(https://opentelemetry.io/docs/specs/otel/context/#attach-context). That is not possible here: the
app may ask for the next frame from another task than before, and ``contextvars`` raises for a token
of another context. So spans are attached *by value*, and no token is kept. Our context remembers the
app's previous context, which is attached again when the same task asks for the next frame or closes::

    app's context --enter(span)--> ours (span current, base = app's) --leave--> app's context
                                     |
                                     +-- app attaches baggage or a span --> derived context
                                           leave: same, minus our three keys; as long as a
                                           span of the app is open in it, nothing is changed

Another task's context cannot be changed from outside. A task that never receives again may keep an
ended event span as its current span.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span

from otel_realtime.tracing.members import CONVERSATION_KEY

#: Context key of the ``_Layer`` in a context that ``Activation`` attached.
_LAYER: Final = otel_context.create_key("otel_realtime.frame")
#: Context key of the current span. It has no public name, so it is read from a context with a span.
_SPAN: Final = next(iter(trace.set_span_in_context(trace.INVALID_SPAN, Context())))
_OUR_KEYS: Final = (_LAYER, _SPAN, CONVERSATION_KEY)


class NativeParents(Protocol):
    """Another library's own context of the current parent, kept in sync with OpenTelemetry's.

    LangSmith's ``@traceable`` functions read their parent from such a context; see
    ``langsmith.parent_run``. Runs and saved states are opaque here.
    """

    def enter(self, run: object) -> dict[str, object] | None:
        """Make a run the current parent; return the state to restore, ``None`` if nothing changed."""
        ...

    def leave(self, saved: dict[str, object] | None) -> None:
        """Restore the state that ``enter`` returned."""
        ...

    def used(self, run: object) -> bool:
        """Return whether a run has children."""
        ...

    def restarted(self, run: object, span: Span) -> None:
        """Update a run without children after its span was restarted."""
        ...

    def transfer(self, saved: dict[str, object], later: dict[str, object]) -> None:
        """Make a later ``enter`` restore what an earlier one would have restored."""
        ...


class _Attached(Context):
    """A context made by ``enter``; a context that the app derives from it is a plain ``Context``."""


@dataclass(slots=True, eq=False)
class _Layer:
    """One span made current on top of the app's context.

    It does not refer to the context that carries it: with every event, such a reference cycle would be
    left to the garbage collector.

    Attributes:
        owner: the ``Activation`` that attached it.
        span: the span.
        base: the app's context below it.
        native: the state of ``NativeParents`` to restore; ``None`` if there is none.
        left: it no longer counts as attached.
    """

    owner: object
    span: Span
    base: Context
    native: dict[str, object] | None = None
    left: bool = False


def child_context(span: Span, conversation: object, base: Context | None = None) -> Context:
    """Return ``base`` with a span as its current span, and with the span's conversation.

    Args:
        span: the span.
        conversation: the ``Membership`` of the conversation.
        base: context to derive from; ``None``: an empty one.
    """
    return Context({**(base or {}), _SPAN: span, CONVERSATION_KEY: conversation})


class Activation:
    """Makes the spans of one conversation current, one at a time, per task.

    Contexts are local to a task or thread, so only the count of them needs a lock.

    Args:
        conversation: the ``Membership`` of the conversation.
        native: another library's context that follows ours.

    Attributes:
        attached: number of contexts that are attached and not yet replaced; if it is 0, the next
            receive need not look at the context.
    """

    def __init__(self, conversation: object, native: NativeParents | None = None) -> None:
        self._conversation = conversation
        self._native = native
        self.attached = 0
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may have held the old one."""
        self._lock = threading.Lock()

    def enter(self, span: Span, run: object = None) -> None:
        """Make a span current in this task, unless the app has a span of its own open on top.

        Args:
            span: the span.
            run: the same span for ``NativeParents``; ``None``: leave that context alone.
        """
        current = otel_context.get_current()
        layer = current.get(_LAYER)
        if isinstance(layer, _Layer) and layer.owner is self:
            base = self._without(current, layer)
            if base is None:
                return
            current = base
        elif layer is not None and self.attached:
            # Our layer is below another conversation's, and would come back when that one leaves.
            self.leave()
        new = _Layer(self, span, current)
        if run is not None and self._native is not None:
            new.native = self._native.enter(run)
        otel_context.attach(
            _Attached({**current, _SPAN: span, CONVERSATION_KEY: self._conversation, _LAYER: new})
        )
        with self._lock:
            self.attached += 1

    def leave(self) -> None:
        """Attach the app's own context again, if this task still has ours."""
        # Two conversations may alternate in one task: find our layer below the other's.
        current, above = otel_context.get_current(), None
        layer = current.get(_LAYER)
        while isinstance(layer, _Layer) and layer.owner is not self:
            above, layer = layer, layer.base.get(_LAYER)
        if not isinstance(layer, _Layer):
            return
        base = self._without(current if above is None else above.base, layer, above)
        if base is None:
            return
        if above is None:
            otel_context.attach(base)
        else:  # the other conversation's span stays current; its ``leave`` attaches our base
            above.base = base

    def step_out(self, span: Span | None) -> None:
        """Make the event's span current again if this task's current span has ended.

        A tool's span stays current until the app has sent its result.

        Args:
            span: span of the current event.
        """
        current = otel_context.get_current()
        layer = current.get(_LAYER)
        if not isinstance(layer, _Layer) or layer.owner is not self or span is layer.span:
            return
        if current.__class__ is _Attached and not layer.span.is_recording():
            self.leave()
            if span is not None:
                self.enter(span)

    def _without(
        self, current: Context, layer: _Layer, above: _Layer | None = None
    ) -> Context | None:
        """Return a context without our keys; ``None`` while a span of the app is open in it.

        Args:
            current: the context, which carries ``layer``.
            layer: our layer.
            above: the other conversation's layer on top of it.
        """
        if current.__class__ is _Attached:
            base = layer.base
            with self._lock:  # a task that was started in between has a copy
                self.attached -= not layer.left
                layer.left = True
        else:
            # The app has attached a context since. Its detach can bring our context back, so the
            # layer still counts as attached.
            span = trace.get_current_span(current)
            if span is not layer.span and span.is_recording():
                return None
            kept = {key: value for key, value in current.items() if key not in _OUR_KEYS}
            kept.update({key: layer.base[key] for key in _OUR_KEYS if key in layer.base})
            base = Context(kept)
        if layer.native is not None and self._native is not None:
            if above is not None and above.native is not None:
                self._native.transfer(layer.native, above.native)
            else:
                self._native.leave(layer.native)
            layer.native = None
        return base
