"""AG2: the tools that a realtime agent runs.

https://docs.ag2.ai/ . A live agent sends each call through its stream to the ``FunctionTool`` of that
name, in the task that receives; functions that are not coroutines run in a thread. AG2's other agents
also run their tools through ``FunctionTool``; those calls belong to no conversation and are left alone.
Up to version 0.14 (module ``autogen``) an observer of the realtime agent calls the functions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import note_failure, run_tool

_NO_TOOLS: Final = "spans of its tools have the times of the wire"


def _wrap_tool(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call(self: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
        async def run() -> Any:
            result = await original(self, event, *args, **kwargs)
            note_failure(getattr(result, "error", None))
            return result

        return await run_tool(_ag2.observer, getattr(event, "id", None), run)

    return call


def _wrap_function(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def call_function(self: Any, *args: Any, **kwargs: Any) -> Any:
        call_id = kwargs.get("call_id", args[0] if args else None)
        run = functools.partial(original, self, *args, **kwargs)
        return await run_tool(_ag2.observer, call_id, run)

    return call_function


_ag2: Final = Instrumentation(
    Method("ag2.tools.final.function_tool", "FunctionTool", "__call__", _wrap_tool, _NO_TOOLS),
    Method(
        "autogen.agentchat.realtime.experimental.function_observer",
        "FunctionObserver",
        "call_function",
        _wrap_function,
        _NO_TOOLS,
    ),
)
install, uninstall = _ag2.install, _ag2.uninstall
