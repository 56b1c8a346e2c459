"""The types and the JSON Schema say the same, and the schema is a valid one."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from otel_realtime.calls import schema
from otel_realtime.calls.schema import Call, json_schema

DEFINITIONS = {
    "spread": schema.Spread,
    "facts": schema.Facts,
    "usage": schema.Usage,
    "input_tokens": schema.InputTokens,
    "output_tokens": schema.OutputTokens,
    "recording": schema.Recording,
    "latency": schema.Latency,
    "turn": schema.Turn,
    "response": schema.Response,
    "tool": schema.Tool,
    "interruption": schema.Interruption,
    "error": schema.CallError,
    "redaction": schema.Redaction,
}


def test_the_schema_is_valid() -> None:
    """By its own draft."""
    Draft202012Validator.check_schema(json_schema())
    assert "https://json-schema.org/draft/2020-12/schema" == json_schema()["$schema"]


def test_every_definition_has_its_type() -> None:
    """And none is left out."""
    assert DEFINITIONS.keys() == json_schema()["$defs"].keys()


@pytest.mark.parametrize(("name", "kind"), [(None, Call), *DEFINITIONS.items()])
def test_members_are_the_types_members(name: str | None, kind: Any) -> None:
    """Required ones are required on both sides."""
    found = json_schema() if name is None else json_schema()["$defs"][name]
    assert set(get_type_hints(kind)) == set(found["properties"])
    assert set(kind.__required_keys__) == set(found["required"])
