"""Checks whether a value is a call object, against the types in ``schema`` and without a library.

Code that reads a file from another source checks it first, so that later code can rely on the types.
"""

from __future__ import annotations

import types
from functools import lru_cache
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from otel_realtime.calls.schema import Call

#: Most characters of a value that an error shows.
_SHOWN: Final = 40
#: Name of each plain type in an error, and the Python types that JSON values of it are read as.
_PLAIN: Final[dict[Any, tuple[str, tuple[type, ...]]]] = {
    str: ("a text", (str,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    bool: ("true or false", (bool,)),
    type(None): ("null", (type(None),)),
}
#: Lowest value of each number type: whole numbers are counts or times of the recording.
_NUMBERS: Final[dict[Any, int]] = {int: 0, float: -(2**53)}
#: Numbers below this are exact in every JSON reader and in SQLite: RFC 7493, 2.2.
_EXACT: Final = 2**53
#: (list, member): lists whose objects have a member with indices into the list of that name.
_NAMES: Final = (("turns", "responses"), ("turns", "tools"))


def misfit(value: Any) -> str | None:
    """Return why a value is not a call object, with the member's path; None if it is one.

    Unknown members are ignored, because members may be added within a version.

    Args:
        value: the parsed JSON.
    """
    return _misfit(value, Call, "") or _astray(value)


def _misfit(value: Any, kind: Any, where: str) -> str | None:
    """Compare a value with a type of ``schema``."""
    if kind is Any:
        return None
    if is_typeddict(kind):
        return _object(value, kind, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        inner = next(one for one in arguments if one is not type(None))
        return _misfit(value, inner, where)
    if origin is Literal:
        return None if value in arguments else _wanted(value, " or ".join(arguments), where)
    if origin is list:
        if not isinstance(value, list):
            return _wanted(value, "an array", where)
        problems = (_misfit(one, arguments[0], f"{where}[{at}]") for at, one in enumerate(value))
        return next((problem for problem in problems if problem), None)
    if origin is dict:
        return None if isinstance(value, dict) else _wanted(value, "an object", where)
    name, accepted = _PLAIN[kind]
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        return _wanted(value, name, where)
    if (
        isinstance(value, int | float) and not _NUMBERS.get(kind, 0) <= value < _EXACT
    ):  # also false for NaN
        return _wanted(value, f"{name} from {_NUMBERS.get(kind, 0)} to 2**53", where)
    return None


def _object(value: Any, kind: Any, where: str) -> str | None:
    if not isinstance(value, dict):
        return _wanted(value, "an object", where)
    before = f"{where}." if where else ""
    missing = sorted(kind.__required_keys__ - value.keys())
    if missing:
        return f"{', '.join(before + name for name in missing)} is missing"
    problems = (
        _misfit(value[name], hint, before + name)
        for name, hint in _hints(kind).items()
        if name in value
    )
    return next((problem for problem in problems if problem), None)


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _astray(call: Any) -> str | None:
    """Describe the first index that is out of range; None if there is none."""
    for holder, listed in _NAMES:
        for at, one in enumerate(call[holder]):
            for index in one[listed]:
                if not 0 <= index < len(call[listed]):
                    return f"{holder}[{at}].{listed} names {index} of {len(call[listed])}"
    return None


def _wanted(value: Any, name: str, where: str) -> str:
    try:
        shown = repr(value)
    except ValueError:  # a number with more digits than Python prints
        shown = "a number without end"
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return f"{where or 'it'} is {shown}: {name} is wanted"
