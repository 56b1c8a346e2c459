"""What is a call object by the schema is one, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from otel_realtime.calls.check import fault_of
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.schema import json_schema
from tests.calls.build import chat, root, tool, turn

_CHECK = Draft202012Validator(json_schema())


def whole() -> Any:
    return call_of(
        [root([turn("user", 1, 50, 2_300, "Weather?")]), chat(1, 2, "r2"), tool(3, 4, "c", "x")]
    )


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place below a value."""
    items: list[Any] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [
        found for key, below in items for found in ((*above, key), *paths(below, (*above, key)))
    ]


def test_a_call_has_no_fault() -> None:
    """As it is made."""
    assert None is fault_of(whole())


@settings(deadline=None)
@given(
    where=st.sampled_from(paths(whole())),
    value=st.sampled_from([None, True, -1, 1, 1.5, "x", "ok", [], [3], {}, {"a": 1}]),
)
def test_it_finds_what_a_validator_finds(where: tuple[Any, ...], value: Any) -> None:
    """Wherever something else stands."""
    call = copy.deepcopy(whole())
    inner: Any = call
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    assert _CHECK.is_valid(call) is (fault_of(call) is None)


@pytest.mark.parametrize("value", [None, [], "call", 10**400, float("nan")])
def test_what_is_no_object_is_none(value: Any) -> None:
    """Whatever a file holds."""
    assert fault_of(value) is not None
    assert fault_of({**whole(), "duration_ms": 10**400}) is not None
