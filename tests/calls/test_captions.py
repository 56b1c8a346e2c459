"""Captions show what was heard, in the rules of their formats."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.calls.captions import CHARACTERS, cues, srt, vtt
from otel_realtime.calls.from_spans import call_of
from otel_realtime.calls.schema import Call
from tests.calls.build import root, turn

TIMES = re.compile(r"(\d\d):(\d\d):(\d\d)([.,])(\d{3}) --> (\d\d):(\d\d):(\d\d)([.,])(\d{3})\Z")


def call(*turns: dict[str, Any]) -> Call:
    """A call with these turns."""
    found = call_of([root(list(turns))])
    assert found is not None
    return found


def test_both_formats() -> None:
    """Who, when and what; words that were not heard are left out."""
    both = call(
        turn("user", 1, 50, 2_300, "Fish & <chips> -->\n\nplease"),
        turn("assistant", 2, 3_600_500, 3_602_000, "Right away, sir.", heard_text="Right"),
    )
    assert (
        "WEBVTT\n\n00:00:00.050 --> 00:00:02.300\n<v User>Fish &amp; &lt;chips&gt; --&gt; please\n\n"
        "01:00:00.500 --> 01:00:02.000\n<v Agent>Right\n"
    ) == vtt(both)
    assert (
        "1\n00:00:00,050 --> 00:00:02,300\nUser: Fish & <chips> → please\n\n"
        "2\n01:00:00,500 --> 01:00:02,000\nAgent: Right\n"
    ) == srt(both)


def test_a_call_without_words_has_no_captions() -> None:
    """The files are valid all the same."""
    assert ("WEBVTT\n", "") == (vtt(call()), srt(call()))


def test_a_long_turn_is_shown_in_pieces() -> None:
    """One after the other, until its end."""
    text = "word " * 100
    found = cues(call(turn("assistant", 1, 1_000, 21_000, text)))
    assert 6 == len(found)
    assert " ".join(text.split()) == " ".join(cue.text for cue in found)
    assert (1_000, 21_000) == (found[0].start_ms, found[-1].end_ms)
    assert [cue.end_ms for cue in found[:-1]] == [cue.start_ms for cue in found[1:]]


def test_what_was_typed_stands_as_long_as_it_takes_to_read() -> None:
    """It has no length of its own."""
    (short,) = cues(call(turn("user", 1, 500, 500, "Hi")))
    (longer,) = cues(call(turn("user", 1, 500, 500, "x" * 45)))
    assert (1_000, 3_000) == (short.end_ms - short.start_ms, longer.end_ms - longer.start_ms)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.none() | st.integers(0, 10**8),
            st.none() | st.integers(0, 10**8),
            st.text(max_size=300),
        ),
        max_size=6,
    )
)
def test_any_words_make_valid_files(turns: list[tuple[str, Any, Any, str]]) -> None:
    """Each block has its times and one line of text, and nothing else looks like either."""
    made = call(*(turn(role, 1, start, end, text) for role, start, end, text in turns))
    head, *blocks = vtt(made).removesuffix("\n").split("\n\n")
    assert "WEBVTT" == head
    starts = []
    for block in blocks:
        times, text = block.split("\n")
        found = TIMES.match(times)
        assert found is not None
        assert found.group(1, 2, 3, 5) < found.group(6, 7, 8, 10) or len(found[1]) != len(found[6])
        starts.append(found.group(1, 2, 3, 5))
        assert re.match(r"<v (User|Agent)>", text)
        assert "-->" not in text
        assert "<" not in text[4:]
    assert sorted(starts) == starts
    for number, block in enumerate(srt(made).split("\n\n")[: len(blocks)], 1):
        count, times, text = block.strip("\n").split("\n")
        assert (str(number), True) == (count, TIMES.match(times) is not None)
        assert len(text) <= CHARACTERS + len("Agent: ")
        assert "-->" not in text
