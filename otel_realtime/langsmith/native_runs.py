"""Spans that LangSmith's own client makes of its runs, if it also sends the runs itself.

In its mode ``hybrid`` (``LANGSMITH_OTEL_ENABLED``, or ``LANGSMITH_TRACING_MODE``) a ``@traceable``
function in a call arrives here as a span below the event, and is already on its way to LangSmith: our
leg would show it twice. In the mode ``otel`` the span is the only copy.
https://docs.langchain.com/langsmith/trace-with-opentelemetry
"""

from __future__ import annotations

import os
import sys
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from otel_realtime.langsmith.config import variable

#: The instrumentation scope of these spans.
_SCOPE: Final = "langsmith"
_HYBRID: Final = "hybrid"


def is_sent_natively(span: ReadableSpan) -> bool:
    """Return whether LangSmith's client delivers the run that a span represents."""
    scope = span.instrumentation_scope
    return scope is not None and scope.name == _SCOPE and _mode() == _HYBRID


def _mode() -> str:
    """Return where LangSmith's client sends runs: ``langsmith``, ``hybrid`` or ``otel``."""
    client = getattr(sys.modules.get("langsmith.run_trees"), "_CLIENT", None)
    known = getattr(client, "_tracing_mode", None)
    if isinstance(known, str):
        return known
    named = variable(os.environ, "TRACING_MODE")
    if named is not None:
        return named.lower()
    if _is_true("OTEL_ONLY"):
        return "otel"
    return _HYBRID if _is_true("OTEL_ENABLED") else "langsmith"


def _is_true(name: str) -> bool:
    return (variable(os.environ, name) or "").lower() in ("true", "1")
