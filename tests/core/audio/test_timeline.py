"""The timeline: records in, facts out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
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


def test_what_a_player_buffers_is_in_the_journal() -> None:
    """Version 0.1 knew of no buffer: what it recorded lies where its facts said."""
    wire = [
        agent(1_000, 0, 3_000),
        ["truncate", 2_000, "a", 0, 800, None],
        agent(5_000, 3_000, 500),
    ]
    for buffered, start_ms, buffer_ns in (([], 1_000, None), ([["buffered", 0, 80]], 1_200, 200)):
        found = timeline(*buffered, *wire)
        assert start_ms == found.segments("agent")[0].start_ns // MS
        known = found.player_buffer_ns
        assert buffer_ns == (known if known is None else known // MS)


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


def test_what_was_queued_at_a_loss_plays_on_if_another_connection_goes_on() -> None:
    """The server counts the user's audio anew from there."""
    found = timeline(
        agent(1_000, 0, 3_000),
        ["user", 1_500, 0, 48_000],
        ["lost", 2_000],
        ["regained", 2_500],
        ["user", 4_000, 48_000, 48_000],
        ["close", 9_000, True],
    )
    assert [(1_000 * MS, 4_000 * MS)] == [
        (segment.start_ns, segment.end_ns) for segment in found.segments("agent")
    ]
    assert found.user_time(250) == 3_250 * MS
    assert (9_000 * MS, 3_000) == (found.close_t, heard_ms(found))


@pytest.mark.parametrize("closes", [True, False])
def test_a_loss_that_nobody_goes_on_after_was_the_end(*, closes: bool) -> None:
    """However late the close is told, or if it never is; what taps gave meanwhile was not heard."""
    rows: list[list[object]] = [
        agent(1_000, 0, 3_000),
        ["lost", 2_000],
        ["tap", 2_500, "user", 0, 9_600],
    ]
    found = timeline(*rows, *([["close", 9_000, True]] if closes else []))
    found.finish()
    assert 2_000 * MS == found.close_t == found.length_ns
    assert [] == found.segments("user")
    assert [(1_000 * MS, 2_000 * MS)] == [
        (segment.start_ns, segment.end_ns) for segment in found.segments("agent")
    ]


def test_a_speaker_that_goes_on_after_the_end() -> None:
    """What it is given then is not of the call."""
    blocks = [["tap", t, "agent", (t - 1_000) * 48, 9_600, "a"] for t in range(1_000, 2_000, 200)]
    rows = [agent(1_000, 0, 3_000), *blocks[:3], ["lost", 1_500], *blocks[3:]]
    found = timeline(*rows, ["close", 2_000, True])
    assert 1_500 * MS == found.length_ns
    assert 1_500 * MS == found.segments("agent")[-1].end_ns


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
    found = timeline(["given", 0], agent(200, 0, 1_000), ["leap", 200], ["close", 240, True])
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
    t, sizes, found = 0, {"user": 0, "agent": 0}, [["buffered", 0, 80]]
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


def silent(found: Timeline, side: str) -> list[tuple[float, float]]:
    """When a side is silenced, in ms."""
    return [
        (stretch.start_ns / MS, stretch.end_ns / MS)
        for stretch in found.redacted()
        if stretch.side in (None, side)
    ]


def test_a_command_may_silence_what_has_ended() -> None:
    """After the close nothing else counts any more, and nothing becomes longer."""
    found = timeline(
        agent(0, 0, 3_000),
        ["close", 3_000, True],
        ["redact", 3_000, 500 * MS, 900 * MS, None, "silence", "command"],
        ["words", 3_000, "agent", "a", None, None, None],
        ["redact", 9_000, 2_500 * MS, 9_000 * MS, "agent", "beep", "command"],
    )
    assert [(500, 900), (2_500, 3_000)] == silent(found, "agent")
    assert [(500, 900)] == silent(found, "user")
    assert (3_000 * MS, 3_000 * MS) == (found.length_ns, found.last_t)


def test_words_of_the_agent_lie_where_they_were_heard() -> None:
    """A late truncate moves them; an answer that was never heard is nowhere."""
    records = [
        agent(1_000, 0, 3_000),
        agent(1_000, 3_000, 1_000, "b"),
        ["words", 1_100, "agent", "a", None, None, None],
        ["words", 1_100, "agent", "b", None, None, None],
    ]
    assert [(1_000, 4_000), (4_000, 5_000)] == silent(timeline(*records), "agent")
    cut = ["truncate", 2_000, "a", 0, 400, None]
    assert [(1_000, 1_400)] == silent(timeline(*records, cut), "agent")


def test_words_of_the_user_lie_in_the_audio_of_their_own_session() -> None:
    """The server counts anew when the connection is replaced; what was said before stays there."""
    second = 24_000 * 2
    found = timeline(
        ["user", 5_000, 0, 5 * second],
        ["speech", 5_000, False, 1_000, "u1"],
        ["speech_end", 5_000, 2_000, "u1"],
        ["reset", 5_000],
        ["user", 9_000, 5 * second, 4 * second],
        ["speech", 9_000, False, 500, "u2"],
        ["speech_end", 9_000, 2_500, "u2"],
        ["words", 9_000, "user", "u1", None, None, None],
        ["words", 9_000, "user", "u2", 250, 750, None],
    )
    found.finish()
    assert [(1_000, 2_000), (5_750, 6_250)] == silent(found, "user")


def test_without_appended_audio_the_events_say_when() -> None:
    """The user is recorded by a tap only: silenced is what the events may be late by, as well."""
    found = timeline(
        ["tap", 1_000, "user", 0, 48_000],
        ["speech", 3_200, False, 3_000, "u"],
        ["speech_end", 4_050, 4_000, "u"],
        ["words", 5_000, "user", "u", None, None, None],
        ["words", 6_000, "user", "unknown", None, None, None],
        ["tap", 9_000, "user", 48_000, 48_000],
        ["close", 9_000, True],
    )
    (start, end), (later, last) = silent(found, "user")
    assert start <= 3_000
    assert 4_000 <= end <= 4_100
    assert later <= end
    assert (6_000, [], True) == (last, silent(found, "agent"), start > 2_000)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("redact"), st.integers(0, 10**9), st.integers(0, 10**9)),
            st.tuples(
                st.just("words"),
                st.sampled_from(["user", "agent"]),
                st.sampled_from(["u", "a", "x"]),
                st.none() | st.integers(0, 3_000),
                st.none() | st.integers(0, 3_000),
                st.sampled_from([None, "partial", "complete"]),
            ),
            st.tuples(st.just("speech"), st.just(False), st.integers(0, 3_000), st.just("u")),
            st.tuples(st.just("speech_end"), st.integers(0, 3_000), st.just("u")),
            st.tuples(st.just("user"), st.just(0), st.integers(0, 48_000)),
            st.tuples(
                st.just("agent"), st.just(0), st.just(9_600), st.just("a"), st.just(0), st.just("r")
            ),
            st.tuples(st.just("commit"), st.sampled_from(["sent", "done", "server"]), st.just("u")),
            st.tuples(st.just("reset")),
        ),
        max_size=20,
    )
)
def test_whatever_is_silenced_changes_nothing_else(records: list[tuple[Any, ...]]) -> None:
    """Neither the length nor where anything lies; and it lies within the recording, in order."""
    told = [[kind, number * MS, *rest] for number, (kind, *rest) in enumerate(records)]
    found, plain = Timeline(), Timeline()
    for record in told:
        found.apply(record)
        if record[0] not in ("redact", "words"):
            plain.apply(record)
    plain.last_t = found.last_t
    found.finish()
    plain.finish()
    assert plain.length_ns == found.length_ns
    assert all(plain.segments(side) == found.segments(side) for side in ("user", "agent"))
    starts = [stretch.start_ns for stretch in found.redacted()]
    assert sorted(starts) == starts
    assert all(0 <= each.start_ns < each.end_ns <= found.length_ns for each in found.redacted())


PLAYED = st.lists(
    st.one_of(
        st.tuples(st.just("agent"), st.sampled_from("ab"), st.integers(1, 2_000)),
        st.tuples(st.just("played"), st.sampled_from("ab"), st.integers(1, 4_000)),
        st.tuples(st.just("tap"), st.sampled_from(["a", "b", None]), st.integers(1, 500)),
        st.tuples(st.just("speech"), st.none(), st.none()),
        st.tuples(st.just("truncate"), st.sampled_from("ab"), st.integers(0, 3_000)),
    ),
    max_size=15,
)


@given(PLAYED, st.lists(st.integers(0, 1_500), min_size=15, max_size=15))
@example(
    [("agent", "a", 1), ("agent", "a", 2), ("agent", "b", 1), ("played", "a", 1)], [0, 0, 0, 2]
)
def test_no_word_of_a_silenced_item_is_heard(
    told: list[tuple[str, str, int]], gaps: list[int]
) -> None:
    """However it was played, reported, tapped or cut: wherever a sample of it lies, it is silent."""
    found, t, size, owned = Timeline(), 0, 0, []
    found.apply(["words", 0, "agent", "b", None, None, None])
    for (kind, item, ms), gap in zip(told, gaps, strict=False):
        t += gap
        if kind == "agent":
            found.apply(["agent", t * MS, size, ms * 48, item, 0, f"r_{item}"])
            owned += [(size, size + ms * 48)] if item == "b" else []
            size += ms * 48
        elif kind == "played":
            found.apply(["played", t * MS, item, 0, ms])
        elif kind == "tap":
            found.apply(["tap", t * MS, "agent", 0, ms * 48, item, 0])
        elif kind == "speech":
            found.apply(["speech", t * MS, True])
        else:
            found.apply(["truncate", t * MS, item, 0, ms, None])
    found.apply(["close", (t + 5_000) * MS, True])
    silenced = [(each.start_ns, each.end_ns) for each in found.redacted()]
    for segment in found.segments("agent"):
        is_its = any(
            segment.offset < end and segment.offset + segment.size > start for start, end in owned
        )
        if is_its and not segment.tap:
            assert any(
                start <= segment.start_ns and segment.end_ns <= end for start, end in silenced
            )


def test_what_a_lost_connection_did_not_commit_belongs_to_no_item() -> None:
    """The next connection's server has not got it."""
    found = timeline(
        *(["user", at, at * 48, 20 * 48] for at in range(20, 1_020, 20)),
        ["lost", 1_100],
        ["regained", 3_000],
        *(["user", at, (at - 2_000) * 48, 20 * 48] for at in range(3_020, 3_520, 20)),
        ["commit", 3_510, "sent"],
        ["commit", 3_600, "done", "a"],
        ["close", 4_000, True],
    )
    assert (3_000 * MS, 3_500 * MS) == found.user_item("a")
