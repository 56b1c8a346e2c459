"""Methods of HTTP libraries without the wrappers that tracers put around them.

OpenTelemetry's instrumentations ignore a request inside ``suppress_instrumentation()``. Datadog's
``ddtrace`` has no equivalent for ``requests`` and ``urllib3``: it would make a span of each of our
deliveries, and send its ids along. So our sessions call the methods below its wrappers. Any other
wrapper, such as one that adds a proxy's header, is called as usual.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import getattr_static
from typing import Any, Final

#: Packages whose wrappers only observe.
_TRACERS: Final = frozenset({"ddtrace", "opentelemetry"})

#: Attribute of an ``http.client`` connection whose requests ``ddtrace`` leaves alone:
#: https://github.com/DataDog/dd-trace-py/blob/main/ddtrace/internal/constants.py
NO_TRACE: Final = "_dd_no_trace"


def untraced(owner: type, name: str, instance: object) -> Callable[..., Any]:
    """Return a method of an object, without tracers' wrappers.

    Args:
        owner: the class that defines the method.
        name: its name.
        instance: the object.
    """
    found = getattr_static(owner, name)
    while _package_of(found) in _TRACERS:
        found = found.__wrapped__
    bind = getattr(type(found), "__get__", None)
    # An object that does not bind is called as it is, such as a ``Mock`` from an app's tests.
    method: Callable[..., Any] = found if bind is None else bind(found, instance, type(instance))
    return method


def _package_of(wrapper: Any) -> str:
    """Return the package that wrapped a function; empty if it is not wrapped."""
    if not hasattr(wrapper, "__wrapped__"):
        return ""
    # The wrapper is from ``wrapt``, or from ``functools.wraps``, which copies ``__module__``.
    call = getattr(wrapper, "_self_wrapper", wrapper)
    call = getattr(call, "func", call)
    module = getattr(call, "__globals__", {}).get("__name__") or getattr(call, "__module__", "")
    return str(module).partition(".")[0]
