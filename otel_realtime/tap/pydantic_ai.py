"""pydantic-ai: the sockets and the tools of its realtime sessions.

https://ai.pydantic.dev/ . A session's connection gets an open socket. If it has a reconnect policy, it
opens another socket when this one is lost (``_try_reconnect``), and replays the conversation. A session
runs each tool in a task, through ``ToolManager``. The app's other agents use ``ToolManager`` as well; their
calls belong to no conversation and are left alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.link import tap_of
from otel_realtime.tap.owners import Owner, opening_owner
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import run_tool

#: Exceptions that a tool raises if it is to be run later.
_LATER: Final = frozenset({"CallDeferred", "ApprovalRequired"})
#: Exceptions in which the framework wraps the exception of a tool.
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


class _Dialling(Owner):
    """A connection that opens its next socket when the server or the network has closed one."""

    def __init__(self, connection: Any) -> None:
        super().__init__(self._may_follow)
        self._connection = connection
        self.dials = False

    def _may_follow(self, by_client: bool) -> bool:
        # The connection itself closes a socket only at its own end or before it opens another one.
        return self.dials if by_client else bool(self._connection._can_reconnect)


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def init(self: Any, ws: Any, *args: Any, **kwargs: Any) -> None:
        original(self, ws, *args, **kwargs)
        _adopt(self, ws)

    return init


@walled
def _adopt(connection: Any, socket: object) -> None:
    tap = tap_of(socket)
    if tap is not None and _ai.observer is not None and connection._reconnect is not None:
        owner = _Dialling(connection)
        setattr(connection, _OWNER, owner)
        _ai.observer.owned(tap.link.sink, owner)


def _wrap_try(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def try_reconnect(self: Any, *args: Any, **kwargs: Any) -> Any:
        owner: _Dialling | None = vars(self).get(_OWNER)
        if owner is None:
            return await original(self, *args, **kwargs)
        owner.dials, again = True, False
        token = opening_owner.set(owner)
        try:
            again = await original(self, *args, **kwargs)
        finally:
            opening_owner.reset(token)
            owner.dials = False
            if not again:
                owner.over()
        return again

    return try_reconnect


_CONNECTIONS: Final = (
    (
        "pydantic_ai.realtime.openai",
        "OpenAIRealtimeConnection",
        "each of its sockets is a conversation of its own",
    ),
    ("pydantic_ai.realtime.openai_live", "OpenAILiveConnection", ""),  # older versions lack it
)
_OWNER: Final = "_otel_realtime_owner"

_ai: Final = Instrumentation(
    *(
        Method(module, owner, name, wrap, missed)
        for module, owner, missed in _CONNECTIONS
        for name, wrap in (("__init__", _wrap_init), ("_try_reconnect", _wrap_try))
    ),
    Method(
        "pydantic_ai.tool_manager",
        "ToolManager",
        "execute_tool_call",
        _wrap_execute,
        "spans of its tools have the times of the wire",
    ),
)
install, uninstall = _ai.install, _ai.uninstall
