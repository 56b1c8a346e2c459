"""LiveKit Agents: the tools that a session runs, and the handoffs between its agents.

https://docs.livekit.io/agents/ . The session runs each tool by an executor, whose ``execute`` returns
with the tool's result or its first progress report; ``_update_activity`` lets one agent take over
from another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Handover
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import run_tool


def _failure(error: BaseException) -> BaseException | None:
    # By ``StopResponse`` a tool says that its result needs no answer.
    return None if type(error).__name__ == "StopResponse" else error


def _wrap_execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(kwargs.get("run_ctx"), "function_call", None)
        run = functools.partial(original, self, *args, **kwargs)
        call_id = getattr(call, "call_id", None)
        return await run_tool(_livekit.observer, call_id, run, failure=_failure)

    return execute


def _wrap_update(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def update_activity(self: Any, agent: Any, *args: Any, **kwargs: Any) -> Any:
        handover = _begin(self, agent)
        result = await original(self, agent, *args, **kwargs)
        if handover is not None:
            _made(handover, agent)
        return result

    return update_activity


@walled
def _begin(session: Any, agent: Any) -> Handover | None:
    before = getattr(session, "_activity", None)  # None: the first agent takes over from nobody
    if _livekit.observer is None or before is None or before.agent is agent:
        return None
    return _livekit.observer.handover(None)


@walled
def _made(handover: Handover, agent: Any) -> None:
    handover.made(str(getattr(agent, "id", None) or type(agent).__name__))


_livekit: Final = Instrumentation(
    Method(
        "livekit.agents.voice.tool_executor",
        "_ToolExecutor",
        "execute",
        _wrap_execute,
        "spans of its tools have the times of the wire",
    ),
    Method(
        "livekit.agents.voice.agent_session",
        "AgentSession",
        "_update_activity",
        _wrap_update,
        "its handoffs have no spans",
    ),
)
install, uninstall = _livekit.install, _livekit.uninstall
