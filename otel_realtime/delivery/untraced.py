"""Methods of HTTP libraries without what tracers have put around them.

OpenTelemetry's instrumentations leave a request alone inside ``suppress_instrumentation()``. Datadog's
``ddtrace`` has nothing of that kind for ``requests`` and ``urllib3``: it would make a span of each of
our deliveries, and send its ids along. So our sessions call what lies below its wrappers. A wrapper of
anybody else, such as one that adds a proxy's header, is called as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from typing import Any, Final

#: Packages whose wrappers only watch.
_TRACERS: Final = frozenset({"ddtrace", "opentelemetry"})

#: Attribute of an ``http.client`` connection whose requests ``ddtrace`` leaves alone:
#: https://github.com/DataDog/dd-trace-py/blob/main/ddtrace/internal/constants.py
NO_TRACE: Final = "_dd_no_trace"


def untraced(owner: type, name: str, instance: object) -> Callable[..., Any]:
    """Return a method of an object.

    Args:
        owner: the class whose method it is.
        name: its name.
        instance: the object.
    """
    found = getattr_static(owner, name)
    while _package_of(found) in _TRACERS:
        found = found.__wrapped__
    bind = getattr(type(found), "__get__", None)
    # What does not bind is called as it is, like a ``Mock`` that an app's tests put there.
    method: Callable[..., Any] = found if bind is None else bind(found, instance, type(instance))
    return method


def _package_of(wrapper: Any) -> str:
    """Return the package that has put something around a function; empty if nobody has."""
    if not hasattr(wrapper, "__wrapped__"):
        return ""
    # Of ``wrapt``, or of ``functools.wraps``, which copies ``__module__`` from the original.
    call = getattr(wrapper, "_self_wrapper", wrapper)
    call = getattr(call, "func", call)
    module = getattr(call, "__globals__", {}).get("__name__") or getattr(call, "__module__", "")
    return str(module).partition(".")[0]
