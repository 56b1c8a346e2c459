"""Frames become events, whatever bytes they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol import events
from tests.support.streams import bounded, json_values


@bounded
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_frame_is_an_event_or_none(frame: str | bytes) -> None:
    """No bytes and no text raise."""
    events.is_delta(frame)
    event = events.parse(frame)
    assert event is None or isinstance(event["type"], str)


@bounded
@given(json_values)
def test_only_objects_with_a_text_type_are_events(value: object) -> None:
    """Other JSON is none, and the object comes out as it is."""
    is_event = isinstance(value, dict) and isinstance(value.get("type"), str)
    assert (value if is_event else None) == events.parse(json.dumps(value))


@bounded
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4), st.text(max_size=8))
def test_an_object_with_a_text_type_comes_out_as_it_is(value: dict[str, Any], kind: str) -> None:
    """Every key and value is there, unknown ones too."""
    event = {**value, "type": kind}
    assert event == events.parse(json.dumps(event))
    assert event == events.parse(json.dumps(event, ensure_ascii=False).encode())


@bounded
@given(st.text(st.characters(exclude_categories=()), max_size=20), st.booleans())
def test_no_text_of_an_event_is_impossible_to_encode(text: str, ascii_only: bool) -> None:
    """Lone surrogates, raw or escaped, in keys or values, become U+FFFD."""
    frame = json.dumps({"type": "x", "a": [text], text + "b": 1}, ensure_ascii=ascii_only)
    event = events.parse(frame)
    assert event is not None
    json.dumps(event, ensure_ascii=False).encode()


def test_escaped_halves_of_a_pair_are_joined() -> None:
    """An emoji that a server escapes as two halves is one character; a lone half is none."""
    event = events.parse(r'{"type":"x","a":"\ud83d\ude00","b":"\uD83D"}')
    assert {"type": "x", "a": "😀", "b": "�"} == event


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ('{"type":"x","a":1}', '{"type":"x","a":1}'),
        (b'{"type" : "x", "a": "\xc3\xa9"}\n', '{"type" : "x", "a": "é"}\n'),
        ('{"type":"x","a":"\ud83d"}', '{"type":"x","a":"�"}'),
        (b'{"type":"x","a":"\xff"}', '{"type":"x","a":"�"}'),
        (r'{"type":"x","a":"\ud83d"}', None),
        (' {"type":"x"}', None),
        ('{"type":"x","a":NaN}', None),
        ('{"type":"x","a":-Infinity}', None),
        ('{"type":"x","a":' + "[" * 120 + "]" * 120 + "}", None),
        ('{"type":"x"} {}', None),
        ("[1]", None),
        ("", None),
    ],
)
def test_a_text_is_given_back_only_where_it_says_the_same(
    frame: str | bytes, shown: str | None
) -> None:
    """What is no JSON by the book, or was changed while it was read, is to be written anew."""
    event, text = events.read(frame)
    assert shown == text
    assert event == events.parse(frame)
    if text is not None:
        assert event == json.loads(text)


@pytest.mark.parametrize("depth", [101, 500, 900, 5_000, 100_000])
def test_deep_nesting_is_cut_or_refused(depth: int) -> None:
    """However deep a frame nests, nothing raises, and what comes out can be walked."""
    event = events.parse('{"type":"x","a":' + "[" * depth + "]" * depth + "}")
    if event is not None:
        assert events.TOO_DEEP in json.dumps(event)


def test_nesting_that_apps_use_is_kept() -> None:
    """Sixty levels of a tool's schema come through."""
    frame = '{"type":"x","a":' + '{"p":' * 60 + "1" + "}" * 61
    assert json.loads(frame) == events.parse(frame)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('{"type":"response.output_audio.delta","delta":"AAAA"}', True),
        (b'{"type": "response.output_text.delta","delta":"a"}', True),
        ('{"type":"response.done","delta":"x.delta"}', False),
        ('{"event_id":"e","type":"response.output_audio.delta"}', False),
        ('{"type":"' + "x" * 200 + '.delta"}', False),
        ('{"type":".delta', False),
        (b"\xff\xfe", False),
        ("", False),
    ],
)
def test_a_delta_is_told_by_the_first_key_only(frame: str | bytes, expected: bool) -> None:
    """The look at the head is cheap and never wrong in the affirmative."""
    assert expected == events.is_delta(frame)


@pytest.mark.parametrize("kind", [*events.AGENT_AUDIO, *events.USER_AUDIO])
@pytest.mark.parametrize("space", ["", " "])
def test_audio_frames_are_known_by_their_prefix(kind: str, space: str) -> None:
    """Both spellings of the separator, as text and as bytes, for each audio event."""
    frame = json.dumps({"type": kind, "audio": "AAAA"}, separators=(",", ":" + space))
    texts = events.AGENT_AUDIO_TEXT + events.USER_AUDIO_TEXT
    raw = events.AGENT_AUDIO_BYTES + events.USER_AUDIO_BYTES
    assert frame.startswith(texts)
    assert frame.encode().startswith(raw)


def test_a_type_that_only_begins_like_audio_is_none() -> None:
    """The prefix ends with the type's closing quote."""
    assert not '{"type":"input_audio_buffer.append_more"'.startswith(events.USER_AUDIO_TEXT)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("session.created", True),
        ("error", True),
        ("response.some_future_event", True),
        ("mcp_list_tools.completed", True),
        ("transcription.delta", False),
        ("connection_ack", False),
        ("", False),
    ],
)
def test_families_tell_a_realtime_server(kind: str, expected: bool) -> None:
    """A known family is enough, an unknown member of it too."""
    assert expected == events.is_known({"type": kind})


def test_a_frame_of_50_mb_is_looked_at_in_its_head_only() -> None:
    """An audio frame of any size is told by its first bytes and is parsed when it must be."""
    frame = '{"type":"conversation.item.retrieved","audio":"' + "A" * 50_000_000 + '"}'
    assert not events.is_delta(frame)
    event = events.parse(frame)
    assert event is not None
    assert 50_000_000 == len(event["audio"])
