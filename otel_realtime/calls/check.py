"""Whether a value that was read is a call object: its JSON Schema, as far as it goes.

``call.schema.json`` uses few words of the language, and this knows those:
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from otel_realtime.calls.schema import json_schema

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}
#: Numbers that every JSON reader, and SQLite, takes exactly: RFC 7493, 2.2.
_EXACT: Final = 2**53


@cache
def _schema() -> dict[str, Any]:
    return json_schema()


def fault_of(value: object) -> str | None:
    """Return the first thing that keeps a value from being a call object; None if it is one."""
    return next(_faults(value, _schema(), "the call"), None)


def _faults(value: object, rule: Mapping[str, Any], where: str) -> Iterator[str]:
    if "$ref" in rule:
        yield from _faults(value, _schema()["$defs"][rule["$ref"].rpartition("/")[2]], where)
    if "anyOf" in rule and all(next(_faults(value, one, where), None) for one in rule["anyOf"]):
        yield from _faults(value, rule["anyOf"][-1], where)
    if "type" in rule and not _is_of(value, rule["type"]):
        yield f"{where} is a {type(value).__name__}"
        return
    if "const" in rule and (isinstance(value, bool) or value != rule["const"]):
        yield f"{where} is not {rule['const']!r}"
    if "enum" in rule and value not in rule["enum"]:
        yield f"{where} is none of {', '.join(rule['enum'])}"
    if isinstance(value, int | float) and not rule.get("minimum", -_EXACT) <= value < _EXACT:
        yield f"{where} is out of range"
    if isinstance(value, dict):
        for name in rule.get("required", ()):
            if name not in value:
                yield f"{where} has no {name}"
        for name, below in rule.get("properties", {}).items():
            if name in value:
                yield from _faults(value[name], below, f"{where}.{name}")
    if isinstance(value, list) and "items" in rule:
        for index, item in enumerate(value):
            yield from _faults(item, rule["items"], f"{where}[{index}]")


def _is_of(value: object, names: str | list[str]) -> bool:
    kinds = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, _TYPES[kind]) for kind in kinds)
