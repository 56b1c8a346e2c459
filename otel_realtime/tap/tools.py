"""Tools that a framework runs itself: each adapter wraps the call that runs a tool with ``run_tool``.

The frames do not show when a framework's tool begins and ends, because the framework starts tools in its
own tasks and sends the result later, from another task. So the call that runs the tool is wrapped. The
tool's span is current in that call from entry to exit. An exception of the tool propagates unchanged.

Some frameworks turn a tool's exception into a result for the model before it leaves that call. Their
adapters report the exception with ``note_failure`` where they see it.
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
        observer: The observer to notify, or ``None``.
        call_id: Id of the model's call; anything but a non-empty string means that it is unknown.
        run: Runs the tool.
        failure: Returns what the tool itself raised, given the exception that left the framework's
            call; ``None`` if it is not a failure. It never raises.

    Returns:
        The result of ``run``.
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
    """Note the exception of the tool that runs in this task, for a framework that does not raise it."""
    failures = _failures.get()
    if failures is not None and isinstance(error, BaseException):
        failures.append(error)
