"""Records of the sound come out in the shape the timeline takes, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.timeline import Timeline
from otel_realtime.state.sounds import _FIELDS, _RULES, MOST_BYTES, read_sound

WHOLE: list[list[Any]] = [
    ["user", 5, 0, 960],
    ["user", 5, 0, 960, 1],
    ["agent", 5, -1, 960, "item_a", 0, "resp_1"],
    ["format", 5, "agent", {"type": "audio/pcmu", "rate": 8_000}],
    ["hole", 5, "user", 960],
    ["truncate", 5, "item_a", 0, 80, None],
    ["truncated", 5, "item_a", 0, 80],
    ["delete", 5, "item_a", "event_1"],
    ["deleted", 5, "item_a"],
    ["refused", 5, None, "item_a"],
    ["speech", 5, True],
    ["speech", 5, True, 2_100],
    ["speech", 5, True, 2_100, "item_u"],
    ["speech_end", 5, 3_100],
    ["speech_end", 5, 3_100, "item_u"],
    ["buffered", 5, 80],
    ["item", 5, "item_a", "resp_1", 1, 70],
    ["tokens", 5, "resp_1", 61],
    ["buffer", 5, "started", "resp_1"],
    ["clear", 5],
    ["cancel", 5],
    ["flushed", 5],
    ["tap", 5, "agent", 0, 640, "item_a", 0],
    ["tap", 5, "user", 0, 640],
    ["tap_format", 5, "user", {"type": "audio/pcm", "rate": 16_000}],
    ["played", 5, "item_a", 0, 20.5],
    ["commit", 5, "sent"],
    ["commit", 5, "done", "item_a"],
    ["reset", 5],
    ["pause", 5],
    ["resume", 5],
    ["redact", 5, 0, 960],
    ["redact", 5, 0, 960, "user", "beep", "call"],
    ["agent", 5, 0, 960, "", 0, None, 10_000],
    ["spoken", 5, "user", "said_1", 100, 200, None, None, 300],
    ["words", 5, "user", "item_u", 100, 200, "partial"],
    ["words", 5, "agent", "item_a", None, None, None],
    ["lost", 5],
    ["regained", 5],
    ["given", 5],
    ["leap", 5],
    ["lost", 5],
    ["regained", 5],
    ["close", 5, True],
    ["close", 5],
]


@pytest.mark.parametrize("record", WHOLE, ids=str)
def test_what_is_written_is_read(record: list[Any]) -> None:
    """As it is, and what a later version puts behind it is left off."""
    assert record == read_sound(record)
    required, optional = _FIELDS[record[0]]
    fields = len(required) + len(optional)
    longer = [*record, *[None] * (fields - len(record) + 2), {"more": 1}]
    read = read_sound(longer)
    assert read is not None
    assert (2 + fields, record) == (len(read), read[: len(record)])


def test_every_kind_is_here() -> None:
    """Each has an example above."""
    assert _FIELDS.keys() == {record[0] for record in WHOLE}


def test_what_may_be_missing_is_filled_in() -> None:
    """Where the timeline wants all of it."""
    agent = ["agent", 5, 0, 960, "item_a", 0]
    assert [*agent, None, None] == read_sound(agent)
    assert ["buffer", 5, "cleared", None] == read_sound(["buffer", 5, "cleared"])
    words = ["words", 5, "user", "item_u"]
    assert [*words, None, None, None] == read_sound(words)


@pytest.mark.parametrize("kind", ["open", "event", "tomorrow's", ""])
def test_other_kinds_are_not_its_own(kind: str) -> None:
    """Notes, and what a later version adds."""
    assert read_sound([kind, 5, {}]) is None


@pytest.mark.parametrize(
    "record",
    [
        ["user", 5],
        ["user", 5, 0, True],
        ["user", 5, -2, 960],
        ["user", 5, 0, MOST_BYTES + 1],
        ["agent", 5, 0, 960, None, 0, None],
        ["hole", 5, "nobody", 960],
        ["hole", 5, ["user"], 960],
        ["format", 5, "user", {"type": "audio/pcm", "rate": 1}],
        ["played", 5, "item_a", 0, float("inf")],
        ["truncate", 5, "item_a", 0, -1, None],
    ],
    ids=str,
)
def test_what_makes_no_sense_is_told(record: list[Any]) -> None:
    """Which kind it was."""
    with pytest.raises(ValueError, match=f"a record '{record[0]}' "):
        read_sound(record)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(_FIELDS)),
            st.lists(
                st.integers(-2, 10_000)
                | st.sampled_from(["user", "agent", "item_a", None, True, 2.5, [], {}, 2**70])
                | st.just({"type": "audio/pcmu", "rate": 8_000}),
                max_size=6,
            ),
        ),
        max_size=12,
    )
)
def test_the_timeline_takes_whatever_is_read(records: list[tuple[str, list[Any]]]) -> None:
    """Nothing that comes through here makes it raise."""
    timeline = Timeline()
    for t, (kind, rest) in enumerate(records):
        try:
            record = read_sound([kind, t, *rest])
        except ValueError:
            continue
        assert record is not None
        timeline.apply(record)
    timeline.finish()
    assert timeline.length_ns >= 0


_VALUES = (0, -1, -2, 5, 1 << 30, (1 << 30) + 1, 1 << 53, True, None, "a", 1.0, [])


_AUDIO = {"user": [0, 960, 1], "agent": [0, 960, "item_a", 0, "resp_1"]}


@pytest.mark.parametrize("value", _VALUES)
@pytest.mark.parametrize(
    ("kind", "at"), [(kind, at) for kind, fields in _AUDIO.items() for at in range(len(fields))]
)
def test_the_short_way_of_audio_keeps_the_rules_of_the_table(
    kind: str, at: int, value: object
) -> None:
    """Records of audio are checked without a call per field; the table says what they may hold."""
    record = [kind, 0, *_AUDIO[kind]]
    record[2 + at] = value
    _, rules = _RULES[kind]
    if rules[at](value):
        assert record == read_sound(record)
    else:
        with pytest.raises(ValueError, match="makes no sense"):
            read_sound(record)
