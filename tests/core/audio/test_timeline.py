"""The timeline: records in, facts out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_realtime.core.audio.timeline import CHEAP_REPLAY, Timeline

MS = 1_000_000


def timeline(*records: list[Any]) -> Timeline:
    """A timeline that has seen the records; their times are in ms here."""
    found = Timeline()
    for kind, t, *rest in records:
        found.apply([kind, t * MS, *rest])
    return found


def agent(t: int, offset_ms: int, ms: int, item: str = "a", response: str = "r") -> list[Any]:
    """A chunk of the agent's audio."""
    return ["agent", t, offset_ms * 48, ms * 48, item, 0, response]


def heard_ms(found: Timeline, item: str = "a") -> int:
    """How much of an item was heard."""
    audio = found.item(item)
    assert audio is not None
    return audio.heard_ms


def test_records_drive_both_sides() -> None:
    """User and agent are placed on one clock."""
    found = timeline(
        ["open", 0, {}],
        ["user", 1_000, 0, 48_000],
        agent(2_000, 0, 3_000),
        ["speech", 2_500, True],
        ["truncate", 2_510, "a", 0, 420, None],
        ["truncated", 2_600, "a", 0, 420],
        ["close", 9_000, True],
    )
    assert [(s.start_ns, s.size) for s in found.segments("user")] == [(0, 48_000)]
    assert [(s.start_ns, s.size) for s in found.segments("agent")] == [(2_000 * MS, 420 * 48)]
    assert found.length_ns == 9_000 * MS


def test_speech_that_does_not_interrupt_cuts_nothing() -> None:
    """``interrupt_response: false``: the agent talks on."""
    assert heard_ms(timeline(agent(0, 0, 3_000), ["speech", 500, False])) == 3_000


def test_buffer_events_cut_or_confirm() -> None:
    """The server's own buffer, and the client's wish to clear it."""
    audio = agent(0, 0, 3_000)
    assert heard_ms(timeline(audio, ["buffer", 500, "cleared", "r"])) == 500
    assert heard_ms(timeline(audio, ["clear", 500])) == 500
    drained = timeline(audio, ["speech", 500, True], ["buffer", 600, "stopped", "r"])
    assert heard_ms(drained) == 3_000
    started = timeline(audio, ["buffer", 90, "started", "r"])
    assert started.segments("agent")[0].start_ns == 90 * MS
    assert heard_ms(timeline(audio, ["buffer", 500, "stopped", None])) == 3_000


def test_without_audio_the_servers_word_counts() -> None:
    """Once audio of an item has arrived, it is judged by that."""
    stated = [
        ["item", 100, "a", "r", 1, 30],
        ["buffer", 200, "started", "r"],
        ["buffer", 900, "cleared", "r"],
        ["truncated", 910, "a", 0, 650],
    ]
    audio = timeline(*stated).item("a")
    assert audio is not None
    assert (None, 650, "server", True) == (
        audio.generated_ms,
        audio.heard_ms,
        audio.heard_source,
        audio.interrupted,
    )
    received = timeline(agent(150, 0, 3_000), *stated).item("a")
    assert received is not None
    assert (3_000, 650) == (received.generated_ms, received.heard_ms)


def test_without_the_users_audio_the_events_tell_when_it_was_spoken() -> None:
    """Once the client appends audio, that maps the server's times."""
    spoken = [["speech", 2_400, True, 2_100], ["speech_end", 3_150, 3_100]]
    assert timeline(*spoken).user_time(2_100) == 2_150 * MS
    assert timeline(["user", 1_000, 0, 48_000], *spoken).user_time(500) == 500 * MS
    assert timeline(*spoken, ["reset", 4_000]).user_time(2_100) is None


def test_a_deleted_item_was_not_heard() -> None:
    """By the client or, where that was not seen, by the server's word."""
    assert heard_ms(timeline(agent(0, 0, 900), ["delete", 500, "a", None])) == 0
    assert heard_ms(timeline(agent(0, 0, 900), ["deleted", 500, "a"])) == 0
    refused = timeline(agent(0, 0, 900), ["delete", 500, "a", "e"], ["refused", 510, "e", "a"])
    assert heard_ms(refused) == 900


def test_a_reconnect_is_no_cut() -> None:
    """The player goes on with what it has; the new session's audio queues behind it."""
    found = timeline(
        agent(1_000, 0, 3_000),
        ["user", 1_500, 0, 48_000],
        ["reset", 2_000],
        agent(2_500, 3_000, 1_000, "b", "r2"),
        ["user", 4_000, 48_000, 48_000],
        ["close", 9_000, True],
    )
    segments = found.segments("agent")
    assert [(1_000 * MS, 4_000 * MS), (4_000 * MS, 5_000 * MS)] == [
        (segment.start_ns, segment.end_ns) for segment in segments
    ]
    assert found.user_time(250) == 3_250 * MS


def test_a_tap_says_what_was_played() -> None:
    """Also what the device still plays when the call ends; the rest of the answer was not heard."""
    block = ["tap", 990, "agent", 0, 30 * 48, "a", 0]
    found = timeline(agent(900, 0, 5_000), block, ["close", 1_000, True])
    assert (30, 1_020) == (heard_ms(found), found.length_ns // MS)


def test_the_recording_ends_an_hour_after_the_last_sound() -> None:
    """Whatever a damaged journal, or an app's wrong time, claims."""
    hour, days = 3_600_000, 1_000_000_000
    found = timeline(agent(0, 0, 3_000), ["speech", days, True], ["close", days, True])
    assert (3_000 + hour, days - 3_000 - hour) == (found.length_ns // MS, found.cut_ns // MS)
    quiet = timeline(agent(0, 0, 3_000), ["close", hour, True])
    assert (hour, 0) == (quiet.length_ns // MS, quiet.cut_ns)


@pytest.mark.parametrize(
    "sent",
    [
        [["user", 900, 0, 960]],
        [["tap", 900, "user", 0, 960]],
        [["user", 100, 0, 960], ["commit", 150, "sent"]],
        [],
    ],
    ids=["a live microphone", "one that takes another way", "push to talk", "none"],
)
@pytest.mark.parametrize("close", [1_000, 4_000])
def test_who_hangs_up_hears_no_more(sent: list[list[Any]], close: int) -> None:
    """Whoever holds the microphone, and whenever it was heard last."""
    found = timeline(agent(0, 0, 5_000), *sent, ["close", close, True])
    assert (close, close) == (heard_ms(found), found.length_ns // MS)


def test_who_waits_for_the_answer_hears_it() -> None:
    """Until the modelled end of the play-out; there is nothing left to be cut."""
    found = timeline(agent(1_000, 0, 5_000), ["close", 6_000, True])
    audio = found.item("a")
    assert audio is not None
    assert (5_000, False, 6_000) == (audio.heard_ms, audio.interrupted, found.length_ns // MS)


def test_a_file_that_is_sent_at_once_ends_with_the_call() -> None:
    """A recording is never longer than its call; the app's own times are no time that passed."""
    clip, close = ["user", 1_000, 0, 10_000 * 48], ["close", 3_000, True]
    lived = timeline(clip, close)
    assert (3_000, 8_000) == (lived.length_ns // MS, lived.unsaid_ns // MS)
    assert [(1_000 * MS, 3_000 * MS)] == [(s.start_ns, s.end_ns) for s in lived.segments("user")]
    assert 3_000 * MS == lived.user_time(9_000)
    told = timeline(["given", 0], clip, close)
    assert (11_000, 0) == (told.length_ns // MS, told.unsaid_ns)


def test_what_was_queued_at_a_jump_of_the_apps_times_was_heard() -> None:
    """Nobody knows how much time has passed."""
    found = timeline(["given", 0], agent(200, 0, 1_000), ["jump", 200], ["close", 240, True])
    assert (1_000, 1_200) == (heard_ms(found), found.length_ns // MS)


def test_a_journal_without_an_end_is_closed_at_its_last_record() -> None:
    """What a killed process leaves behind is treated like a close."""
    found = timeline(agent(0, 0, 5_000), ["user", 900, 0, 960])
    found.finish()
    assert found.length_ns == 900 * MS
    assert heard_ms(found) == 900


def test_much_work_is_put_off_until_many_records_share_it() -> None:
    """Or until somebody asks; what is said is the same."""
    queued = [agent(n, n * 100, 100, f"a{n}", f"r{n}") for n in range(2 * CHEAP_REPLAY)]
    found = timeline(*queued)
    assert found.refresh()
    found.apply(["truncate", 600 * MS, "a0", 0, 50, None])
    assert not found.refresh()
    assert (50, 100) == (heard_ms(found, "a0"), heard_ms(found, "a1"))
    assert found.refresh()
    found.apply(["truncate", 600 * MS, "a0", 0, 40, None])
    for _ in range(CHEAP_REPLAY // 2):
        found.apply(["speech_end", 600 * MS, 5])
    assert found.refresh()
    found.apply(["truncate", 600 * MS, "a0", 0, 30, None])
    assert (False, True) == (found.refresh(), found.refresh(at_once=True))


def test_after_the_close_nothing_changes() -> None:
    """Late records are not the recording's any more."""
    found = timeline(["close", 1_000, True], agent(2_000, 0, 500), ["close", 3_000, True])
    assert found.length_ns == 1_000 * MS
    assert found.item("a") is None


def test_unknown_records_are_ignored() -> None:
    """Other parts write to the journal, and later versions will."""
    found = timeline(["response", 5_000, {"id": "r"}], ["user", 1_000, 0, 48_000])
    assert found.last_t == 1_000 * MS
    assert found.user_time(250) == 250 * MS


def test_formats_and_holes_belong_to_their_side() -> None:
    """A format change or a hole on one side leaves the other alone."""
    found = timeline(
        ["format", 0, "agent", {"type": "audio/pcmu", "rate": 8_000}],
        ["format", 0, "user", {"type": "nonsense"}],
        ["user", 1_000, 0, 48_000],
        ["agent", 1_000, 0, 8_000, "a", 0, "r"],
        ["hole", 1_100, "agent", 800],
        ["hole", 1_100, "user", 4_800],
        ["close", 1_100, True],
    )
    assert [s.end_ns - s.start_ns for s in found.segments("user")] == [1_000 * MS, 100 * MS]
    audio = found.item("a")
    assert audio is not None
    assert audio.generated_ms == 1_100


def test_what_has_begun_keeps_its_format() -> None:
    """A change while an item arrives is for the items that begin later."""
    ulaw = {"type": "audio/pcmu", "rate": 8_000}
    found = timeline(
        ["agent", 1_000, 0, 4_800, "a", 0, "r"],
        ["format", 1_010, "agent", ulaw],
        ["agent", 1_020, 4_800, 4_800, "a", 0, "r"],
        ["agent", 1_030, 9_600, 800, "b", 0, "r"],
        ["agent", 1_040, 10_400, 4_800, "a", 0, "r"],
        ["close", 5_000, True],
    )
    generated = [found.item(item) for item in "ab"]
    assert [300, 100] == [audio.generated_ms for audio in generated if audio is not None]
    placed = [
        (s.start_ns // MS, s.position_ns // MS, s.format.rate_hz) for s in found.segments("agent")
    ]
    assert [(1_000, 0, 24_000), (1_200, 200, 8_000), (1_300, 300, 24_000)] == placed


records = st.lists(
    st.one_of(
        st.tuples(st.just("user"), st.integers(0, 400)),
        st.tuples(st.just("agent"), st.integers(1, 400), st.sampled_from("ab")),
        st.tuples(st.just("speech"), st.booleans()),
        st.tuples(st.just("truncate"), st.sampled_from("ab"), st.integers(0, 900)),
        st.tuples(st.just("refused"), st.sampled_from("ab")),
        st.tuples(st.just("hole"), st.sampled_from(["user", "agent"]), st.integers(0, 400)),
        st.tuples(st.just("reset")),
    ).flatmap(lambda record: st.tuples(st.integers(0, 900), st.just(record))),
    max_size=30,
)


def written(story: list[Any]) -> list[list[Any]]:
    """A story as a journal would hold it."""
    t, sizes, found = 0, {"user": 0, "agent": 0}, []
    for wait, (kind, *rest) in story:
        t += wait * MS
        if kind in sizes:
            size = rest[0] * 48
            whose = [rest[1], 0, "r"] if kind == "agent" else []
            found.append([kind, t, sizes[kind], size, *whose])
            sizes[kind] += size
        elif kind == "truncate":
            found.append([kind, t, rest[0], 0, rest[1], None])
        elif kind == "refused":
            found.append([kind, t, None, rest[0]])
        elif kind == "hole":
            found.append([kind, t, rest[0], rest[1] * 48])
        else:
            found.append([kind, t, *rest])
    return found


def facts(found: Timeline) -> object:
    """All a timeline says once it is finished."""
    found.finish()
    sides = {side: [repr(s) for s in found.segments(side)] for side in ("user", "agent")}
    return sides, found.item("a"), found.item("b"), found.length_ns


@given(records)
def test_the_journal_says_what_was_seen_live(story: list[Any]) -> None:
    """Asking in between, or reading the records back from JSON, changes nothing."""
    live, journal = Timeline(), written(story)
    for record in journal:
        live.apply(record)
        live.user_time(100)
        live.item("a")
        assert live.length_ns >= live.last_t
    again = Timeline()
    for record in json.loads(json.dumps(journal)):
        again.apply(record)
    assert facts(live) == facts(again)
