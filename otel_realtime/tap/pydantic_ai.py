"""pydantic-ai: the tools of its realtime sessions.

https://ai.pydantic.dev/ . A session runs each tool in a task, through ``ToolManager``, which the
other agents of the app use as well: their calls are of no conversation, and are left alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import run_tool

#: By these a tool says that it will be run later.
_LATER: Final = frozenset({"CallDeferred", "ApprovalRequired"})
#: In these the framework wraps what a tool raised.
_WRAPPERS: Final = frozenset({"ToolRetryError", "ToolFailedError"})


def _failure(error: BaseException) -> BaseException | None:
    name = type(error).__name__
    if name in _LATER:
        return None
    return (error.__cause__ or error) if name in _WRAPPERS else error


def _wrap_execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def execute_tool_call(self: Any, validated: Any, *args: Any, **kwargs: Any) -> Any:
        runs = getattr(validated, "args_valid", True) and not getattr(validated, "deferral", None)
        call_id = getattr(getattr(validated, "call", None), "tool_call_id", None)
        run = functools.partial(original, self, validated, *args, **kwargs)
        return await run_tool(_ai.observer, call_id if runs else None, run, failure=_failure)

    return execute_tool_call


_ai: Final = Instrumentation(
    Method(
        "pydantic_ai.tool_manager",
        "ToolManager",
        "execute_tool_call",
        _wrap_execute,
        "spans of its tools have the times of the wire",
    )
)
install, uninstall = _ai.install, _ai.uninstall
