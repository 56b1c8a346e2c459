"""rtvoice: the tools that its sessions run.

https://pypi.org/project/rtvoice/ . One task receives events and puts them into a queue. Another takes them
out and passes them to the handlers of a bus, each in its own task; the handler of a function call starts
the tool in a further task. The tool runs through ``Tools.execute``, which does not get the call, so the
call's id is passed in the context. An error boundary around the tool turns its exception into a result for
the model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import note_failure, run_tool

_NO_TOOLS: Final = "spans of its tools have the times of the wire"

_call_id: ContextVar[object] = ContextVar("otel_realtime_rtvoice_call", default=None)


def _wrap_call(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def on_function_call(self: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
        token = _call_id.set(getattr(event, "call_id", None))
        try:
            return await original(self, event, *args, **kwargs)
        finally:
            _call_id.reset(token)

    return on_function_call


def _wrap_execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        # The id is used once: a tool may run other tools, those of an agent to which it delegates.
        call_id, token = _call_id.get(), _call_id.set(None)
        try:
            run = functools.partial(original, self, *args, **kwargs)
            return await run_tool(_rtvoice.observer, call_id, run)
        finally:
            _call_id.reset(token)

    return execute


def _wrap_boundary(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def boundary(self: Any, call: Any, following: Any, *args: Any, **kwargs: Any) -> Any:
        async def noting(call: Any) -> Any:
            try:
                return await following(call)
            except Exception as error:
                note_failure(error)
                raise

        return await original(self, call, noting, *args, **kwargs)

    return boundary


_rtvoice: Final = Instrumentation(
    Method(
        "rtvoice.handler.tool_call_executor",
        "ToolCallExecutor",
        "_on_function_call",
        _wrap_call,
        _NO_TOOLS,
    ),
    Method(
        "rtvoice.tools.tools",
        "Tools",
        "execute",
        _wrap_execute,
        f"{_NO_TOOLS}: it runs them otherwise",
    ),
    Method(
        "rtvoice.tools.middleware.implementations.errors",
        "ErrorBoundaryMiddleware",
        "__call__",
        _wrap_boundary,
    ),
)
install, uninstall = _rtvoice.install, _rtvoice.uninstall
