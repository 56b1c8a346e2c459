"""Reads from the call stack who calls ``close``.

The frames of coroutines that await each other are linked like those of functions, so this works for
both. The stack is read only when a socket is closed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from itertools import islice
from types import FrameType

_EXITS = frozenset({"__exit__", "__aexit__"})

#: How many frames up the ``__exit__`` of an SDK's connection may be; an app may add its own wrappers.
_DEPTH = 13


def exit_error(libraries: Collection[str]) -> Exception | None:
    """Return the exception that was passed to a connection's own ``__exit__``.

    ``sys.exc_info()`` would also return an exception that the app has handled before it closes the
    connection, or one in whose handler the whole call runs.

    Args:
        libraries: Top-level packages whose ``__exit__`` counts.
    """
    for frame in islice(_callers(), _DEPTH):
        code = frame.f_code
        library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if code.co_name in _EXITS and library in libraries and code.co_argcount > 2:
            error = frame.f_locals.get(code.co_varnames[2])
            return error if isinstance(error, Exception) else None
    return None


def is_called_by(method: str, owner: object) -> bool:
    """Return whether a method of exactly this object is among the callers.

    Args:
        method: Name of the method.
        owner: The object, which is the method's ``self``.
    """
    for frame in _callers():
        code = frame.f_code
        is_method = code.co_name == method and code.co_argcount > 0
        if is_method and frame.f_locals.get(code.co_varnames[0]) is owner:
            return True
    return False


def is_called_within(function: str, module: str) -> bool:
    """Return whether a function of a module is among the callers.

    Args:
        function: Name of the function.
        module: Name of the module that defines it.
    """
    return any(
        frame.f_code.co_name == function and frame.f_globals.get("__name__") == module
        for frame in _callers()
    )


def _callers() -> Iterator[FrameType]:
    # Frame 0 is this generator, frame 1 the function that iterates, frame 2 the caller of that function.
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back
