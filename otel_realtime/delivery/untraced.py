"""Methods of HTTP libraries without what tracers have put around them.

OpenTelemetry's instrumentations leave a request alone inside ``suppress_instrumentation()``. Datadog's
``ddtrace`` has nothing of that kind for ``requests`` and ``urllib3``: it would make a span of each of
our deliveries, and send its ids along. So our sessions call what lies below its wrappers. A wrapper of
anybody else, such as one that adds a proxy's header, is called as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: Packages whose wrappers only watch.
_TRACERS: Final = frozenset({"ddtrace", "opentelemetry"})

#: Attribute of an ``http.client`` connection whose requests ``ddtrace`` leaves alone:
#: https://github.com/DataDog/dd-trace-py/blob/main/ddtrace/internal/constants.py
NO_TRACE: Final = "_dd_no_trace"


def untraced(owner: type, name: str, instance: object) -> Callable[..., Any]:
    """Return a method of an object.

    Args:
        owner: the class that defines it.
        name: its name.
        instance: the object.
    """
    found = vars(owner)[name]
    while _package_of(found) in _TRACERS:
        found = found.__wrapped__
    return found.__get__(instance, type(instance))  # type: ignore[no-any-return]


def _package_of(wrapper: Any) -> str:
    """Return the package that has put something around a function; empty if nobody has."""
    if not hasattr(wrapper, "__wrapped__"):
        return ""
    # Of ``wrapt``, or of ``functools.wraps``, which copies ``__module__`` from the original.
    call = getattr(wrapper, "_self_wrapper", wrapper)
    call = getattr(call, "func", call)
    module = getattr(call, "__globals__", {}).get("__name__") or getattr(call, "__module__", "")
    return str(module).partition(".")[0]
