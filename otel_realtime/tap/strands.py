"""Strands Agents: the tools that a bidirectional agent runs.

https://strandsagents.com/latest/documentation/docs/user-guide/concepts/bidirectional-streaming/agent/ .
The loop starts each tool in a task of a pool (``_run_tool``); tools that are not coroutines run in a thread.
An exception of a tool becomes part of the event with its result. Strands also creates its own spans for
tools; they are children of Strands' own session span.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import note_failure, run_tool

_NO_TOOLS: Final = "spans of its tools have the times of the wire"


def _wrap_run(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def run(self: Any, tool_use: Any, *args: Any, **kwargs: Any) -> Any:
        call_id = tool_use.get("toolUseId") if isinstance(tool_use, Mapping) else None
        started = functools.partial(original, self, tool_use, *args, **kwargs)
        return await run_tool(_strands.observer, call_id, started)

    return run


def _wrap_result(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        note_failure(getattr(self, "exception", None))

    return init


_strands: Final = Instrumentation(
    Method("strands.bidi.agent.loop", "_AgentLoop", "_run_tool", _wrap_run, _NO_TOOLS),
    Method("strands.types.events", "ToolResultEvent", "__init__", _wrap_result),
    # Names from the time when bidirectional agents were experimental.
    Method(
        "strands.experimental.bidi.agent.loop", "_BidiAgentLoop", "_run_tool", _wrap_run, _NO_TOOLS
    ),
    Method("strands.types._events", "ToolResultEvent", "__init__", _wrap_result),
)
install, uninstall = _strands.install, _strands.uninstall
