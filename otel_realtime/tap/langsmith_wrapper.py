"""LangSmith's own Realtime wrappers on a socket that is tapped: LangSmith gets each call twice.

https://docs.langchain.com/langsmith/trace-openai-realtime . The wrapper creates its own tree of runs.
Only the app can decide which tree it wants, so both are kept, and one log line says what to import
instead. But the cost of a call must not be counted twice: if the observer reports a conversation's
tokens to LangSmith, the wrapper's model runs report none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from otel_realtime.diagnostics import walled, warn_once
from otel_realtime.tap.interface import Sink
from otel_realtime.tap.link import tap_of
from otel_realtime.tap.patches import Instrumentation, Method

_PACKAGE: Final = "langsmith.integrations.openai_realtime"
#: Explicit zeros, because LangSmith may estimate the counts of a model run that has none.
_NO_TOKENS: Final = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def _wrap_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def enter(self: Any) -> Any:
        proxy = await original(self)
        connection = self._connection
        _noticed("wrap_realtime", getattr(connection, "_connection", connection), self._session)
        return proxy

    return enter


def _wrap_session(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def enter(self: Any) -> Any:
        proxy = await original(self)
        model = getattr(self._session, "model", None)
        _noticed("wrap_realtime_session", getattr(model, "_websocket", None), self._trace)
        return proxy

    return enter


@walled
def _noticed(name: str, socket: object, runs: Any) -> None:
    """Handle the entry of a wrapper.

    Args:
        name: name of the wrapper.
        socket: socket of the connection that it wraps.
        runs: object with which it writes its runs.
    """
    tap = tap_of(socket)
    if tap is None or _langsmith.observer is None:
        return
    warn_once(
        "langsmith's wrapper",
        "LangSmith's own %s wraps a connection that otel-realtime traces already: there are two traces "
        "of each call (LangSmith counts its tokens once). Change `from %s import %s` to "
        "`from otel_realtime.langsmith_compat import %s`, and nothing else, or leave the wrapper out",
        name,
        _PACKAGE,
        name,
        name,
    )
    runs.record_llm = _without_tokens(runs.record_llm, tap.link.sink)


def _without_tokens(record: Callable[..., Any], sink: Sink) -> Callable[..., Any]:
    @functools.wraps(record)
    def record_llm(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("usage_metadata") is not None and _counts(sink):
            kwargs["usage_metadata"] = dict(_NO_TOKENS)
        return record(*args, **kwargs)

    return record_llm


@walled
def _counts(sink: Sink) -> bool:
    return _langsmith.observer is not None and _langsmith.observer.counts_tokens(sink)


_langsmith: Final = Instrumentation(
    Method(f"{_PACKAGE}._connection", "_RealtimeTracingSession", "__aenter__", _wrap_connection),
    Method(f"{_PACKAGE}._session", "_TracedRealtimeSession", "__aenter__", _wrap_session),
)
install, uninstall = _langsmith.install, _langsmith.uninstall
