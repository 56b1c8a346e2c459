"""LiveKit Agents: the sockets and the tools of a session, and the handoffs between its agents.

https://docs.livekit.io/agents/ . A realtime session opens its socket with ``_create_ws_conn``. As long as
its message channel is open and ``_main_task`` runs, it opens a new socket every 20 minutes and after an
error, and replays the conversation to it. The session runs each tool through an executor, whose
``execute`` returns with the tool's result or its first progress report. ``_update_activity`` makes one
agent take over from another.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from contextvars import Token
from typing import Any, Final

from otel_realtime.diagnostics import walled
from otel_realtime.tap.interface import Handover
from otel_realtime.tap.owners import Owner, opening_owner
from otel_realtime.tap.patches import Instrumentation, Method
from otel_realtime.tap.tools import run_tool


def _failure(error: BaseException) -> BaseException | None:
    # A tool raises ``StopResponse`` if its result needs no answer.
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
    before = getattr(session, "_activity", None)  # None if this is the session's first agent
    if _livekit.observer is None or before is None or before.agent is agent:
        return None
    return _livekit.observer.handover(None)


@walled
def _made(handover: Handover, agent: Any) -> None:
    handover.made(str(getattr(agent, "id", None) or type(agent).__name__))


def _owner_of(session: Any) -> Owner:
    """Return the owner of a realtime session's sockets."""
    owner: Owner | None = vars(session).get(_OWNER)
    if owner is None:
        owner = Owner(lambda by_client: not session._msg_ch.closed)
        setattr(session, _OWNER, owner)
    return owner


@walled
def _opening(session: Any) -> Token[Owner | None]:
    return opening_owner.set(_owner_of(session))


@walled
def _over(session: Any) -> None:
    _owner_of(session).over()


def _wrap_create(original: Callable[..., Any]) -> Callable[..., Any]:
    if original in _wrapped:
        return original

    @functools.wraps(original)
    async def create_ws_conn(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = _opening(self)
        try:
            return await original(self, *args, **kwargs)
        finally:
            if token is not None:
                opening_owner.reset(token)

    _wrapped.add(create_ws_conn)
    return create_ws_conn


def _wrap_main(original: Callable[..., Any]) -> Callable[..., Any]:
    if original in _wrapped:
        return original

    @functools.wraps(original)
    async def main_task(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await original(self, *args, **kwargs)
        finally:
            _over(self)

    _wrapped.add(main_task)
    return main_task


#: Modules and names of the session classes. Up to 1.8.0 the plugin itself defines the first class; since
#: then the plugin's name is an alias. No version has all three, so a missing one is not reported.
_SESSIONS: Final = (
    ("livekit.agents.llm._realtime.openai", "RealtimeSession"),
    ("livekit.plugins.openai.realtime.realtime_model", "RealtimeSession"),
    ("livekit.agents.llm._realtime.gpt_live", "GPTLiveSession"),
)
#: Methods that are already wrapped, so that none is wrapped twice under two names.
_wrapped: Final[weakref.WeakSet[Callable[..., Any]]] = weakref.WeakSet()
_OWNER: Final = "_otel_realtime_owner"

_livekit: Final = Instrumentation(
    *(
        Method(module, owner, name, wrap)
        for module, owner in _SESSIONS
        for name, wrap in (("_create_ws_conn", _wrap_create), ("_main_task", _wrap_main))
    ),
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
