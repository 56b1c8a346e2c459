"""What is a call object, and what is said of what is none."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from otel_realtime.calls.captions import srt, vtt
from otel_realtime.calls.check import misfit
from otel_realtime.calls.schema import json_schema
from otel_realtime.calls.transcript import transcript
from tests.support import kept_call

CALL = kept_call.call_object()
SCHEMA = Draft202012Validator(json_schema())


def test_a_call_is_one() -> None:
    """And so is one that a later release of the version has added to."""
    assert None is misfit(CALL)
    assert None is misfit({**CALL, "mood": {"of": "the caller"}})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("turns",), 3, "turns is 3: an array is wanted"),
        (("turns", 0), 3, "turns[0] is 3: an object is wanted"),
        (("turns", 0, "start_ms"), "x", "turns[0].start_ms is 'x': a whole number is wanted"),
        (("turns", 0, "start_ms"), True, "turns[0].start_ms is True: a whole number is wanted"),
        (("turns", 0, "role"), "cat", "turns[0].role is 'cat': user or assistant is wanted"),
        (("turns", 1, "tools"), [7], "turns[1].tools names 7 of 0"),
        (("facts",), {}, "facts.agent_over_user_s, "),
        (("tools",), "x" * 90, f"tools is '{'x' * 39}...: an array is wanted"),
        (("recording", "file"), None, "recording.file is None: a text is wanted"),
        (("metadata",), [], "metadata is []: an object is wanted"),
        (("live",), 1, "live is 1: true or false is wanted"),
        (("duration_ms",), -1, "duration_ms is -1: a whole number from 0 to 2**53 is wanted"),
        (("duration_ms",), 2**63, f"duration_ms is {2**63}: a whole number from 0 to 2**53"),
    ],
)
def test_what_does_not_fit_is_named(path: tuple[Any, ...], value: Any, said: str) -> None:
    """With its place, what stands there, and what is wanted."""
    call: Any = copy.deepcopy(CALL)
    holder = call
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    assert (misfit(call) or "").startswith(said)


@pytest.mark.parametrize("value", [None, [], 3, "call", {}])
def test_what_is_no_call_at_all(value: Any) -> None:
    """Is said, too."""
    assert misfit(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every member of a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, member in items:
        found.append((*path, key))
        if isinstance(member, (dict, list)):
            found += places(member, (*path, key))
    return found


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(allow_nan=False),
    st.text(max_size=5), st.just([]), st.just({}), st.just([None]), st.just([99]), st.just([-1]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(places(CALL)), value=ODD)
def test_what_passes_can_be_written_down(path: tuple[Any, ...], value: Any) -> None:
    """Whatever one member is: it is refused, or captions and transcript can be made of the call."""
    call: Any = copy.deepcopy(CALL)
    holder = call
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    if misfit(call) is None:
        for made in (vtt, srt, transcript):
            assert isinstance(made(call), str)
        json.dumps(call, allow_nan=False)


@settings(deadline=None)
@given(where=st.sampled_from(places(CALL)), value=ODD)
def test_what_the_schema_refuses_is_refused(where: tuple[Any, ...], value: Any) -> None:
    """Wherever something else stands; the schema's name and version are looked at before."""
    call: Any = copy.deepcopy(CALL)
    holder = call
    for step in where[:-1]:
        holder = holder[step]
    holder[where[-1]] = value
    assert SCHEMA.is_valid(call) or misfit(call) or where in (("schema",), ("version",))
