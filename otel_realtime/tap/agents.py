"""The Agents SDK: its playback tracker (if the app uses one), its tools, and its handoffs.

https://openai.github.io/openai-agents-python/ref/realtime/model/

The app tells the tracker what it has played (``on_play_bytes`` calls ``on_play_ms``), so that the SDK
truncates at the right place. This is the best evidence that the recording can have. A tracker does not
know its connection, but the item id identifies the conversation, because the server makes item ids
unique.

The session runs each tool in a task, through ``invoke_function_tool`` (before 0.10 only through the method
that handles the whole call), and by default reports an exception to the model instead of raising it. A
handoff is also a tool call; it makes another agent the current one and emits a ``RealtimeHandoffEvent`` in
the task of that call.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Handover
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import note_failure, run_tool

#: Module that defines the tracker; apps that use the Realtime part of the SDK import it.
MODULE: Final = "agents.realtime.model"
_SESSION: Final = "agents.realtime.session"
_NO_TOOLS: Final = "spans of its tools may have the times of the wire; its handoffs have no spans"
_NO_HANDOFFS: Final = "its handoffs have no spans"

_handover: ContextVar[Handover | None] = ContextVar("otel_realtime_handover", default=None)


def _wrap_on_play_ms(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def on_play_ms(self: Any, item_id: str, item_content_index: int, ms: float) -> Any:
        result = original(self, item_id, item_content_index, ms)
        _report(self, item_id, item_content_index)
        return result

    return on_play_ms


@walled
def _report(tracker: Any, item_id: str, content_index: int) -> None:
    # The tracker accumulates, and starts again after an interruption; lower positions are ignored.
    elapsed_ms = tracker.get_state()["elapsed_ms"]
    if _agents.observer is not None and elapsed_ms is not None:
        _agents.observer.played(item_id, content_index, elapsed_ms)


def _wrap_invoke(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def invoke_function_tool(*args: Any, **kwargs: Any) -> Any:
        call_id = getattr(kwargs.get("context"), "tool_call_id", None)
        run = functools.partial(original, *args, **kwargs)
        return await run_tool(_agents.observer, call_id, run)

    return invoke_function_tool


def _wrap_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def maybe_invoke(*args: Any, **kwargs: Any) -> Any:
        note_failure(kwargs.get("error"))
        return await original(*args, **kwargs)

    return maybe_invoke


def _wrap_handle(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def handle_tool_call(self: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
        call_id = getattr(event, "call_id", None)
        run = functools.partial(original, self, event, *args, **kwargs)
        token = _handover.set(_begin(call_id))
        try:
            if hasattr(sys.modules.get(_SESSION), "invoke_function_tool"):
                return await run()
            return await run_tool(_agents.observer, call_id, run)
        finally:
            _handover.reset(token)

    return handle_tool_call


@walled
def _begin(call_id: object) -> Handover | None:
    if _agents.observer is None or not isinstance(call_id, str):
        return None
    return _agents.observer.handover(call_id)


def _wrap_put_event(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def put_event(self: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(event, "type", None) == "handoff":
            _made(event)
        return original(self, event, *args, **kwargs)

    return put_event


@walled
def _made(event: Any) -> None:
    handover = _handover.get()
    if handover is not None:
        handover.made(str(event.to_agent.name))


_agents: Final = Instrumentation(
    Method(MODULE, "RealtimePlaybackTracker", "on_play_ms", _wrap_on_play_ms),
    Method(_SESSION, "", "invoke_function_tool", _wrap_invoke),
    Method("agents.tool", "", "maybe_invoke_function_tool_failure_error_function", _wrap_failure),
    Method(_SESSION, "RealtimeSession", "_handle_tool_call", _wrap_handle, _NO_TOOLS),
    Method(_SESSION, "RealtimeSession", "_put_event", _wrap_put_event, _NO_HANDOFFS),
)
install, uninstall = _agents.install, _agents.uninstall
