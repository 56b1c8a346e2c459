"""Pipecat: the functions that its LLM services run.

https://docs.pipecat.ai/guides/learn/function-calling . ``LLMService`` runs each handler in a task, and
reports an exception to the pipeline instead of raising it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import note_failure, run_tool

_MODULE: Final = "pipecat.services.llm_service"


def _wrap_run(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def run_function_call(self: Any, item: Any, *args: Any, **kwargs: Any) -> Any:
        call_id = getattr(item, "tool_call_id", None)
        run = functools.partial(original, self, item, *args, **kwargs)
        return await run_tool(_pipecat.observer, call_id, run)

    return run_function_call


def _wrap_push_error(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def push_error(*args: Any, **kwargs: Any) -> Any:
        note_failure(kwargs.get("exception"))
        return await original(*args, **kwargs)

    return push_error


_pipecat: Final = Instrumentation(
    Method(
        _MODULE,
        "LLMService",
        "_run_function_call",
        _wrap_run,
        "spans of its functions have the times of the wire",
    ),
    Method(_MODULE, "LLMService", "push_error", _wrap_push_error),
)
install, uninstall = _pipecat.install, _pipecat.uninstall
