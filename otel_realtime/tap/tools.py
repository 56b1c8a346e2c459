"""Tools that a framework runs by itself: each adapter finds the call that runs them, this brackets it.

A framework hides when a tool begins and ends: it starts tools in tasks of its own, and sends the
result later, from another one. So the call that runs the tool is wrapped. The tool's span is current
in it, from entry to exit. What the tool raises passes through untouched.

Some frameworks turn a tool's exception into a result for the model before it leaves that call. Their
adapters report it with ``note_failure`` where they see it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Observer, ToolBlock

_failures: ContextVar[list[BaseException] | None] = ContextVar(
    "otel_realtime_tool_failures", default=None
)


async def run_tool(
    observer: Observer | None,
    call_id: object,
    run: Callable[[], Awaitable[Any]],
    *,
    failure: Callable[[BaseException], BaseException | None] | None = None,
) -> Any:
    """Run a tool, and tell the observer when it begins and ends.

    Args:
        observer: Who is told; ``None``: nobody.
        call_id: The model's call; anything but text: not known.
        run: Runs the tool.
        failure: Return what the tool itself raised, ``None`` if that is no failure, of an exception
            of the framework's; never raises.

    Returns:
        What it returns.
    """
    block = _enter(observer, call_id)
    if block is None:
        return await run()
    failures: list[BaseException] = []
    token = _failures.set(failures)
    try:
        result = await run()
    except BaseException as error:
        block.leave(error if failure is None else failure(error))
        raise
    else:
        block.leave(failures[-1] if failures else None)
        return result
    finally:
        _failures.reset(token)


@walled
def _enter(observer: Observer | None, call_id: object) -> ToolBlock | None:
    if observer is None or not isinstance(call_id, str) or not call_id:
        return None
    return observer.tool(call_id)


def note_failure(error: object) -> None:
    """Note what the tool that runs in this task raised, where its framework keeps that to itself."""
    failures = _failures.get()
    if failures is not None and isinstance(error, BaseException):
        failures.append(error)
