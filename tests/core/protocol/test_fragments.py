"""Transcripts in fragments: whose turn it is, and where it lies in the recording."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.protocol.dialects import LIVE, LIVE_SIDEBAND, TRANSLATION, Dialect
from otel_realtime.core.protocol.fragments import LONGEST, Fragments
from otel_realtime.core.protocol.partials import Partials, read
from otel_realtime.core.protocol.responses import Moment
from otel_realtime.core.protocol.state import ConversationState
from otel_realtime.core.protocol.turns import Turn, transcript
from tests.support.streams import bounded

MS = 1_000_000

#: Who, from when to when on the stream's clock (ms), and what; when it came: at its end.
Said = tuple[str, int | None, int | None, str]


class Told:
    """A conversation that is told in fragments, as ``conversation.frames`` tells it."""

    def __init__(self, dialect: Dialect = LIVE) -> None:
        self.fragments = Fragments(dialect)
        self.state = ConversationState()
        self.state.speak(dialect)
        self._partials = Partials()

    def hear(self, who: str, start: object, end: object, text: object, *, at_ms: int) -> None:
        """A fragment comes."""
        kind = f"session.{'input' if who == 'user' else 'output'}_transcript.delta"
        event: dict[str, Any] = {"type": kind, "delta": text}
        for key, value in (("start_ms", start), ("end_ms", end), ("elapsed_ms", end)):
            if value is not None:
                event[key] = value
        delta = self.fragments.read(event, at_ms * MS)
        if delta is None or self._partials.add(delta) is None:
            return
        for whole in self._partials.take_due():
            partial = self.fragments.placed(read(whole, whole))
            self.state.keep(partial, Moment(at_ms * MS, at_ms * MS))

    @property
    def turns(self) -> list[Turn]:
        """What became of it."""
        return transcript(self.state.items, None, frozenset())

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Who said what."""
        return [(turn.role, " ".join(turn.texts)) for turn in self.turns]


def told(*said: Said, dialect: Dialect = LIVE) -> Told:
    """A session that began at 0, and what was said in it."""
    found = Told(dialect)
    found.fragments.began(0)
    for who, start, end, text in said:
        found.hear(who, start, end, text, at_ms=end or 0)
    return found


def test_fragments_are_a_turn_until_somebody_else_speaks() -> None:
    """With their own spaces, and times from the first to the last."""
    found = told(
        ("user", 200, 500, "What is"),
        ("user", 500, 1000, " the time?"),
        ("agent", 1300, 1500, "It"),
        ("agent", 1500, 1900, " is two."),
    )
    assert [("user", "What is the time?"), ("assistant", "It is two.")] == found.texts
    assert [(200, 1000), (1300, 1900)] == [(turn.start_ms, turn.end_ms) for turn in found.turns]


@pytest.mark.parametrize(("pause", "turns"), [(300, 1), (999, 1), (1000, 2), (4000, 2)])
def test_a_silence_ends_a_turn(pause: int, turns: int) -> None:
    """Of one second, though the same speaker goes on."""
    found = told(("agent", 0, 500, "Well."), ("agent", 500 + pause, 900 + pause, " Now then."))
    assert turns == len(found.turns)
    assert "Well. Now then." == " ".join(text for _, text in found.texts)


def test_who_pauses_may_lose_the_floor() -> None:
    """Then his next words are another turn, before a second is over."""
    found = told(("agent", 0, 500, "Well,"), ("user", 600, 800, "No."), ("agent", 900, 1200, "Oh."))
    assert [("assistant", "Well,"), ("user", "No."), ("assistant", "Oh.")] == found.texts


def test_what_is_said_while_another_one_talks_cuts_nobody_s_turn() -> None:
    """A "yes" in between is a turn of its own, in the order of the beginnings."""
    found = told(
        ("agent", 0, 500, "One,"),
        ("user", 450, 700, "Yes."),
        ("agent", 500, 1000, " two,"),
        ("agent", 1100, 1500, " three."),
    )
    assert [("assistant", "One, two, three."), ("user", "Yes.")] == found.texts


def test_what_is_told_late_stands_where_it_was_said() -> None:
    """A transcript of the user may come after the answer."""
    found = told(("agent", 1300, 1900, "Two."), ("user", 200, 1000, "One and one?"))
    assert [("user", "One and one?"), ("assistant", "Two.")] == found.texts


def test_a_long_turn_is_several_items() -> None:
    """So that a hook that sees the text so far never sees much of it again."""
    found = told(*[("agent", at * 100, at * 100 + 100, f" word {at}") for at in range(600)])
    assert 1 == len(found.turns)
    assert 1 < len(list(found.state.items))
    assert all(len(item.text) < LONGEST + 20 for item in found.state.items)


def test_interpreting_goes_on_in_both_languages() -> None:
    """Source and target overlap; neither takes the floor from the other, a silence ends both."""
    found = told(
        ("user", None, 600, "Good morning"),
        ("agent", None, 1000, "Bonjour"),
        ("user", None, 1200, " everybody."),
        ("agent", None, 1800, " à tous."),
        ("user", None, 4000, "Let us begin."),
        dialect=TRANSLATION,
    )
    assert [
        ("user", "Good morning everybody."),
        ("assistant", "Bonjour à tous."),
        ("user", "Let us begin."),
    ] == found.texts


def test_translated_speech_is_where_it_was_appended() -> None:
    """``elapsed_ms`` counts that; a frame has 200 ms. What is spoken stands where it comes."""
    found = told(("user", None, 600, "Good"), ("agent", None, 800, "Bon"), dialect=TRANSLATION)
    source, target = found.state.items
    assert (400, 600) == (source.audio_start_ms, source.audio_end_ms)
    assert target.audio_start_ms is None
    assert target.place is not None
    assert (800 * MS, 800 * MS) == (target.place.start_t, target.place.end_t)


def test_the_session_s_clock_begins_when_it_started() -> None:
    """However much earlier a script tells what is said later."""
    found = Told()
    found.fragments.began(50 * MS)
    found.hear("user", 1000, 1500, "Later.", at_ms=60)
    assert [(1050, 1550)] == [(turn.start_ms, turn.end_ms) for turn in found.turns]


def test_an_observer_s_clock_is_told_by_the_smallest_delay() -> None:
    """It joins a call of ten seconds: what comes has just been said."""
    found = Told(LIVE_SIDEBAND)
    found.fragments.began(0)  # ``session.started`` tells it what goes on, not when that began
    found.hear("agent", 10_000, 10_500, "Press", at_ms=900)
    found.hear("agent", 10_500, 10_900, " one.", at_ms=1_000)
    assert [(100, 1000)] == [(turn.start_ms, turn.end_ms) for turn in found.turns]


def test_what_runs_far_ahead_is_no_live_stream() -> None:
    """Its first fragment stands at the start, and the others behind it."""
    found = Told(LIVE_SIDEBAND)
    found.hear("user", 0, 1000, "One", at_ms=10)
    found.hear("agent", 5000, 6000, "Two", at_ms=11)
    assert [(0, 1000), (5000, 6000)] == [(turn.start_ms, turn.end_ms) for turn in found.turns]


def test_a_new_session_counts_from_0_again() -> None:
    """Its fragments are no part of what was said before."""
    found = told(("user", 0, 500, "One"))
    found.fragments.began(2_000 * MS)
    found.hear("user", 0, 400, "Two", at_ms=2_500)
    assert [(0, 500), (2000, 2400)] == [
        (item.place.start_t // MS, item.place.end_t // MS)
        for item in found.state.items
        if item.place is not None
    ]


def test_a_fragment_without_a_time_stands_where_it_came() -> None:
    """And without text it is none."""
    found = told()
    found.hear("user", None, None, "Hello", at_ms=700)
    found.hear("user", None, None, "", at_ms=800)
    found.hear("user", None, None, 7, at_ms=800)
    assert [(700, 700)] == [(turn.start_ms, turn.end_ms) for turn in found.turns]


def test_a_pause_of_the_recording_is_an_item_of_its_own() -> None:
    """What was said in it is known by its time, also if its text comes afterwards."""
    found = told(("user", 0, 900, "My card is"))
    found.fragments.pause(1_000 * MS)
    found.hear("user", 1_100, 1_800, " four two", at_ms=1_900)
    found.fragments.resume(2_000 * MS)
    found.hear("user", 1_850, 1_950, " four two", at_ms=2_500)
    found.hear("user", 3_100, 3_300, " thanks", at_ms=3_400)
    hidden = {item.text: found.fragments.hides(item.id) for item in found.state.items}
    assert {"My card is": False, "four two": True, "thanks": False} == hidden


TIMES = st.none() | st.integers(-(2**65), 2**65) | st.floats() | st.integers(0, 5_000) | st.text()


@bounded
@given(
    st.sampled_from([LIVE, LIVE_SIDEBAND, TRANSLATION]),
    st.lists(
        st.tuples(st.sampled_from(["user", "agent"]), TIMES, TIMES, st.text(max_size=9)),
        max_size=12,
    ),
)
def test_no_word_is_lost(dialect: Dialect, said: list[tuple[str, Any, Any, str]]) -> None:
    """Whatever the times: each speaker's words are there, and turns have times that can be."""
    found = Told(dialect)
    for at, (who, start, end, text) in enumerate(said):
        found.hear(who, start, end, text, at_ms=at * 50)
    for who, role in (("user", "user"), ("agent", "assistant")):
        whole = "".join("".join(text for one, _, _, text in said if one == who).split())
        kept = [text for turn in found.turns if turn.role == role for text in turn.texts]
        assert sorted(whole) == sorted("".join("".join(kept).split()))
    for turn in found.turns:
        assert turn.start_ms is not None
        assert turn.end_ms is not None
        assert 0 <= turn.start_ms <= turn.end_ms < 2**53
