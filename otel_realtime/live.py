"""One live conversation, as the app sees it: its ids, frames by hand, tools, pauses, metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import Span

from otel_realtime import guard
from otel_realtime.core import events as wire
from otel_realtime.core.discretion import Discretion
from otel_realtime.core.payload import HIDDEN
from otel_realtime.core.responses import ToolCall
from otel_realtime.engine import Engine, current
from otel_realtime.taps import AudioTaps
from otel_realtime.tracing import parent_run
from otel_realtime.tracing.context import child_context

if TYPE_CHECKING:
    from otel_realtime.settings import Settings
    from otel_realtime.tracing.spans import OpenTool


def current_conversation() -> Conversation | None:
    """The conversation of this task: announced here, or received from here; None without one."""
    reference = current.get()
    found = reference() if reference is not None else None
    return found if isinstance(found, Conversation) and not found.closed else None


class Conversation(Engine, AudioTaps):
    """One Realtime conversation, as long as it is open.

    Made by ``otel_realtime.conversation(...)``, or by itself on an instrumented connection
    (``otel_realtime.current_conversation()``). Methods may be called from any task or thread
    and never raise because of telemetry.
    """

    # -- who it is -----------------------------------------------------------------------------------

    @property
    def thread_id(self) -> str:
        """The thread it belongs to in LangSmith: the app's id, the ``call_id``, or a new UUID."""
        return self._trace.identity.thread_id

    @property
    def trace_id(self) -> str:
        """The OpenTelemetry trace id, 32 hex digits."""
        return self._trace.trace_id

    @property
    def langsmith_run_id(self) -> str:
        """LangSmith's id of the root run: eight zero bytes and the root's span id, as a UUID."""
        return self._trace.run_id

    @property
    def langsmith_url(self) -> str | None:
        """The root run's page; None until LangSmith has told the project's id, or without it."""
        delivery = self._trace.delivery
        return delivery.url if delivery is not None else None

    def knows_item(self, item_id: str) -> bool:
        """Whether an item of that id belongs to it."""
        return self._state.items.get(item_id) is not None

    # -- frames by hand ------------------------------------------------------------------------------

    def received(self, message: object, *, at_ns: int | None = None) -> None:
        """Report one message from the server, for an app on a transport that is not tapped.

        Args:
            message: text or bytes of a frame, a mapping, or an SDK event.
            at_ns: wall time in epoch ns; once given it is the recording's clock too, and the
                conversation starts at the first one.
        """
        if self._closed:
            self.before_receive()
            return
        try:
            at_ns = _wall_time(at_ns)
            self._by_hand(at_ns)
            self.before_receive()
            self._take(_frame(message), self._clock.moment(at_ns))
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("received", error)

    def sent(self, message: object, *, at_ns: int | None = None) -> None:
        """Report one message to the server; arguments as in ``received``."""
        if self._closed:
            return
        try:
            at_ns = _wall_time(at_ns)
            self._by_hand(at_ns)
            self.give(_frame(message), self._clock.moment(at_ns))
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("sent", error)

    def _by_hand(self, at_ns: int | None) -> None:
        """The first frame by hand says when the conversation starts, and makes it visible."""
        if at_ns is not None and self._recorder is not None:
            self._recorder.clock = self._clock.t
        if at_ns is not None and not self._clock.given:
            self._trace.start_at(at_ns, fresh=not (self._state.counts.events or self._spans.begun))
            self._chronicle.started(self._clock.start_ns, self._trace.stamp.dotted_order)
        if self._trace.delivery is None:
            self._trace.post()

    # -- tools ---------------------------------------------------------------------------------------

    @contextmanager
    def tool(
        self,
        call_id: str | None = None,
        *,
        name: str | None = None,
        arguments: str | None = None,
    ) -> Iterator[Span]:
        """Run a tool under its exact span: current inside the block, from entry to exit.

        Args:
            call_id: the model's call; its name, arguments and parent are then known.
            name: the tool's name, for a tool the model did not ask for.
            arguments: JSON text of its arguments.

        Yields:
            The tool's span. An exception of the block marks it and passes through.
        """
        call, entered = None, None
        if self._closed:
            yield self._trace.root
            return
        call_id, name, arguments = (
            None if text is None else wire.clean(str(text)) for text in (call_id, name, arguments)
        )
        try:
            moment = self._clock.moment()
            with self._lock:
                call = self._known_call(call_id)
                if arguments is not None and self._is_private(call_id):
                    arguments = HIDDEN
                entered = self._spans.enter_tool(call, name, arguments, moment)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("tool", error)
        if entered is None:
            yield self._trace.root
            return
        base = otel_context.get_current()
        token = otel_context.attach(child_context(entered.span, self._trace.stamp, base))
        previous = parent_run.enter(parent_run.parent_run(entered.span, "tool"))
        try:
            yield entered.span
        except BaseException as error:
            if isinstance(error, Exception):
                self._tool_raised(entered.span, call_id, error)
            raise
        finally:
            parent_run.leave(previous)
            otel_context.detach(token)
            self._leave_tool(call, entered)
            if self._closed:  # in the block: the detach brought back what the close put away
                self.before_receive()

    def _tool_raised(self, span: Span, call_id: str | None, error: Exception) -> None:
        try:
            private, at_ns = self._is_private(call_id), self._clock.moment().at_ns
            self._trace.tool_raised(span, error, at_ns, private=private)
        except Exception as fault:  # noqa: BLE001 - ours must not reach the app
            guard.fault("tool", fault)

    def _leave_tool(self, call: ToolCall | None, entered: OpenTool) -> None:
        try:
            with self._lock:
                self._spans.leave_tool(call, entered, self._clock.moment().at_ns)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("tool", error)

    def _is_private(self, call_id: str | None) -> bool:
        return self._discretion is not None and self._discretion.is_private(call_id)

    def _known_call(self, call_id: str | None) -> ToolCall | None:
        if call_id is None:
            return None
        return self._state.calls.setdefault(call_id, ToolCall(call_id))

    # -- what must not be told -------------------------------------------------------------------------

    @contextmanager
    def pause_recording(self) -> Iterator[None]:
        """Record and tell nothing of what happens in the block: the caller reads out a card number.

        Both channels of the recording are silent for as long as the block lasts, and the payloads
        of its events are hidden, as are those that come later and belong to it (the transcript of
        what was said in it). Audio that arrives in the block is not kept at all, so what the agent
        says of it stays silent even if it is played later. Timing, usage and statuses remain.
        Blocks may nest and overlap.
        """
        paused = self._pause()
        try:
            yield
        finally:
            if paused:
                self._resume()

    def _pause(self) -> bool:
        try:
            with self._lock:
                if self._closed or self._recorder is None:
                    return False
                self._discretion = self._discretion or Discretion()
                if self._discretion.enter(self._state):
                    self._recorder.pause(self._clock.moment().t)
                return True
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("pause", error)
            return False

    def _resume(self) -> None:
        try:
            with self._lock:
                ended = self._discretion is not None and self._discretion.leave()
                if ended and self._recorder is not None:
                    self._recorder.resume(self._clock.moment().t)
        except Exception as error:  # noqa: BLE001 - ours must not reach the app
            guard.fault("pause", error)

    # -- what the app adds -----------------------------------------------------------------------------

    def set_metadata(self, **metadata: Any) -> None:
        """Add metadata to the root; later values win."""
        with self._lock:
            self._trace.add_metadata(metadata)
            self._chronicle.about(self._trace.identity)

    def add_tags(self, *tags: str) -> None:
        """Add tags to the root."""
        with self._lock:
            self._trace.add_tags(tags)
            self._chronicle.about(self._trace.identity)

    def join(
        self,
        metadata: Mapping[str, Any],
        tags: tuple[str, ...],
        settings: Settings | None,
        refused: list[str],
    ) -> None:
        """Announced when it is open already: what can still be said of it applies."""
        with self._lock:
            self._trace.add_metadata(metadata)
            self._trace.add_tags(tags)
            self._chronicle.about(self._trace.identity)
            if settings is not None:
                self._tighten(settings)
        if refused:
            self._trace.say_once(
                "announced",
                "conversation(...) came after the first event: %s cannot be changed any more",
                ", ".join(refused),
            )

    def _tighten(self, settings: Settings) -> None:
        self._trace.tighten(settings)
        self._chronicle.tightened(self._trace.policy)
        if self._recorder is not None and not self._trace.recorded:
            self._recorder.keep_no_audio()

    def attach(self, connection: object) -> None:
        """Go on with this conversation on another connection: apps that reconnect by themselves."""
        from otel_realtime.opening import attach_connection

        attach_connection(self, connection)


#: Wall times that spans can have: epoch ns of a signed 64-bit number.
_LATEST_NS: Final = 2**63 - 1


def _wall_time(at_ns: object) -> int | None:
    """The app's time as OpenTelemetry can hold it; a clock may say anything."""
    if not isinstance(at_ns, int | float) or at_ns != at_ns:
        return None
    return int(min(max(at_ns, 0), _LATEST_NS))


def _frame(message: object) -> wire.Frame:
    """Any shape of a message as the text or bytes of its frame."""
    if isinstance(message, str | bytes):
        return message
    if isinstance(message, bytearray | memoryview):
        return bytes(message)
    if isinstance(message, Mapping):
        return json.dumps(message, default=str)
    for method in ("model_dump_json", "to_json", "json"):
        dumper = getattr(message, method, None)
        if callable(dumper):
            return str(dumper())
    return str(message)
