"""A journal's first record: what one process writes is what another one finishes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.outcome import Identity, Provider
from otel_realtime.core.protocol.redaction import ContentPolicy
from otel_realtime.errors import NewerFormatError, RecordingError
from otel_realtime.state import FORMAT, check_format
from otel_realtime.state.header import (
    Header,
    policy_from_wire,
    policy_to_wire,
)
from otel_realtime.state.journal import JOURNAL, line, read
from otel_realtime.version import VERSION
from tests.support.streams import bounded, json_values

texts = st.text(min_size=1, max_size=8)
trace_ids = st.none() | st.integers(1, 2**128 - 1).map("{:032x}".format)
span_ids = st.none() | st.integers(1, 2**64 - 1).map("{:016x}".format)
policies = st.builds(
    ContentPolicy,
    inputs=st.booleans(),
    outputs=st.booleans(),
    audio=st.booleans(),
    run_inputs=st.booleans(),
    run_outputs=st.booleans(),
)
identities = st.builds(
    Identity,
    thread_id=texts,
    given_thread_id=st.booleans(),
    provider=st.builds(
        Provider, texts, st.none() | st.text(max_size=8), st.none() | st.integers(1, 65_535)
    ),
    call_id=st.none() | texts,
    model=st.none() | texts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
    tags=st.lists(texts, max_size=3),
    parent_trace_id=trace_ids,
    parent_span_id=span_ids,
    view_url=st.none() | texts,
)


def without_hidden_sound(header: Header) -> Header:
    """What a live process writes: no sound is wanted where none may be stored."""
    header.records = header.records and header.policy.audio
    header.recorded = header.recorded and header.policy.audio
    return header


headers = st.builds(
    Header,
    trace_id=st.integers(1, 2**128 - 1),
    root_span_id=st.integers(1, 2**64 - 1),
    start_ns=st.integers(0, 2**63 - 1),
    who=identities,
    ambient=st.booleans(),
    leg=st.sampled_from(["direct", "collector", "none"]),
    delivers_root=st.booleans(),
    backend=st.dictionaries(st.sampled_from(["api_url", "project", "folder"]), json_values),
    policy=policies,
    records=st.booleans(),
    recorded=st.booleans(),
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}", fullmatch=True),
    recordings_dir=st.none() | texts,
    audio_format=st.sampled_from(["auto", "wav", "flac", "opus"]),
    max_attachment_mb=st.none() | st.floats(0, 1e6),
    title=st.sampled_from(["fixed", "first_utterance"]),
    payload_limit=st.integers(256, 10**9),
    false_interruption_ms=st.integers(0, 10**9),
    skip_events=st.lists(texts, max_size=3).map(tuple),
    resource=st.dictionaries(texts, texts | st.integers() | st.lists(texts, max_size=2)),
).map(without_hidden_sound)

LEAST = {"trace_id": "1", "root_span_id": "2", "start_ns": 3}


def on_disk(header: dict[str, Any], folder: Path) -> Any:
    """The header as another process reads it."""
    folder.mkdir(exist_ok=True)
    (folder / JOURNAL).write_bytes(line(["open", 0, header]))
    ((_, _, found),) = read(folder)
    return found


@bounded
@given(headers)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, header: Header) -> None:
    """Every field, over the journal's text."""
    assert header == Header.from_wire(on_disk(header.to_wire(), tmp_path_factory.mktemp("call")))


def test_it_says_who_wrote_it() -> None:
    """In which format, and when its process counted from."""
    header = Header(
        trace_id=1, root_span_id=2, start_ns=3, who=Identity("t", True, Provider()), mono_ns=7
    )
    found = header.to_wire()
    assert (FORMAT, VERSION, 7) == (found["format"], found["version"], found["mono_ns"])


def test_what_is_missing_is_the_default() -> None:
    """Of privacy: hidden; of the leg: none; of the name: one that is unique."""
    found = Header.from_wire(LEAST)
    assert (
        Header(
            trace_id=1,
            root_span_id=2,
            start_ns=3,
            who=Identity(f"{1:032x}", False, Provider()),
            policy=ContentPolicy(inputs=False, outputs=False, audio=False),
            records=False,
            recorded=False,
            name="call-0000000000000002",
        )
        == found
    )


def test_an_earlier_version_delivered_by_its_leg() -> None:
    """It did not say whether it posted the root run."""
    for leg, delivers in (("direct", True), ("collector", False), ("none", False)):
        assert delivers == Header.from_wire({**LEAST, "leg": leg}).delivers_root


def test_what_a_later_version_adds_is_the_backends() -> None:
    """Fields are added within a format; they do no harm."""
    found = Header.from_wire({**LEAST, "folder": "x", "later": [1]})
    assert {"folder": "x", "later": [1]} == found.backend


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "header",
        {},
        {**LEAST, "trace_id": 1},
        {**LEAST, "trace_id": "0"},
        {**LEAST, "trace_id": "xyz"},
        {**LEAST, "trace_id": "-1"},
        {**LEAST, "trace_id": "f" * 33},
        {**LEAST, "root_span_id": None},
        {**LEAST, "root_span_id": "f" * 17},
        {**LEAST, "start_ns": -1},
        {**LEAST, "start_ns": 2**63},
        {**LEAST, "start_ns": "3"},
        {**LEAST, "start_ns": True},
        {**LEAST, "start_ns": float("nan")},
    ],
    ids=repr,
)
def test_a_header_that_does_not_say_which_trace_it_is(broken: Any) -> None:
    """Is told as one kind of error."""
    with pytest.raises(RecordingError):
        Header.from_wire(broken)


@bounded
@given(st.dictionaries(st.sampled_from(sorted(Header.from_wire(LEAST).to_wire())), json_values))
def test_any_other_field_may_be_anything(fields: dict[str, Any]) -> None:
    """What has another type is the default; nothing else is raised."""
    fields.pop("format", None)
    found = Header.from_wire({**fields, **LEAST})
    assert (1, 2, 3) == (found.trace_id, found.root_span_id, found.start_ns)
    assert found == Header.from_wire(found.to_wire())


@pytest.mark.parametrize("version", ["9.0", None, 5])
def test_a_format_of_the_future_is_named(version: object) -> None:
    """With the version that wrote it, if it says so; it is left alone."""
    by = "otel-realtime 9.0" if version == "9.0" else "a later version"
    with pytest.raises(NewerFormatError, match=f"^{by} wrote it in format {FORMAT + 1}"):
        Header.from_wire({**LEAST, "format": FORMAT + 1, "version": version})
    for known in ({}, {"format": FORMAT}, {"format": "x"}, {"format": None}):
        check_format(known)


@bounded
@given(policies)
def test_a_policy_is_read_as_it_was(policy: ContentPolicy) -> None:
    """What is not said plainly is hidden."""
    assert policy == policy_from_wire(policy_to_wire(policy))
    hidden = ContentPolicy(inputs=False, outputs=False, audio=False)
    for odd in (None, [], {"inputs": 1, "outputs": "true"}):
        assert hidden == policy_from_wire(odd)
