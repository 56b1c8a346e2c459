"""The player model: chunks and evidence in, what was heard out; 1 ms is 48 bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_realtime.core.audio.parts import SERVER
from otel_realtime.core.audio.play_out import PlayOut
from otel_realtime.core.audio.player import Player

MS = 1_000_000


class Speaker:
    """A player fed in ms; tells what was heard as (start, where in the source, length) in ms.

    It knows of no buffer: so times are those of the arrivals.
    """

    def __init__(self) -> None:
        self.player = Player()
        self.received = 0

    def chunk(
        self, at_ms: float, length_ms: float, item: str = "a", response: str | None = "r1"
    ) -> None:
        size = round(length_ms * 48)
        self.player.add_chunk(round(at_ms * MS), self.received, size, item, 0, response)
        self.received += size

    def answer(self, at_ms: float, length_ms: int, item: str = "a", response: str = "r1") -> None:
        """Chunks of 200 ms that arrive five times faster than they play."""
        for number in range(length_ms // 200):
            self.chunk(at_ms + number * 40, 200, item, response)

    def cut(self, at_ms: float, source: str = "estimated") -> None:
        self.player.cut(round(at_ms * MS), source)

    def truncate(self, item: str, end_ms: int, event_id: str | None = None) -> None:
        self.player.truncate(item, 0, end_ms, event_id, by_client=True)

    def truncated(self, item: str, end_ms: int) -> None:
        self.player.truncate(item, 0, end_ms, None, by_client=False)

    def heard(self) -> list[tuple[float, float, float]]:
        return [
            (segment.start_ns / MS, segment.offset / 48, round(segment.size / 48, 1))
            for segment in self.player.segments()
        ]

    def facts(self, item: str = "a") -> tuple[int, int, str, bool]:
        audio = self.player.item(item)
        assert audio is not None
        return audio.generated_ms, audio.heard_ms, audio.heard_source, audio.interrupted


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def test_audio_faster_than_real_time_plays_at_1x(speaker: Speaker) -> None:
    """A burst is one stretch from its first arrival."""
    speaker.answer(1_000, 3_000)
    assert speaker.heard() == [(1_000, 0, 3_000)]
    assert speaker.facts() == (3_000, 3_000, "estimated", False)
    audio = speaker.player.item("a")
    assert audio is not None
    assert (
        audio.first_chunk_t,
        audio.audible_from_t,
        audio.audible_until_t,
    ) == (1_000 * MS, 1_000 * MS, 4_000 * MS)


def test_an_underrun_is_a_gap(speaker: Speaker) -> None:
    """Audio that comes too late is heard when it comes."""
    speaker.chunk(1_000, 200)
    speaker.chunk(1_500, 200)
    speaker.chunk(1_600, 200)
    assert speaker.heard() == [(1_000, 0, 200), (1_500, 200, 400)]


def test_items_and_responses_queue(speaker: Speaker) -> None:
    """What arrives while something plays waits for its end."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.answer(1_600, 1_000, "c", "r2")
    assert speaker.heard() == [(1_000, 0, 1_000), (2_000, 1_000, 1_000), (3_000, 2_000, 1_000)]


def test_a_truncate_keeps_exactly_what_it_claims(speaker: Speaker) -> None:
    """The client's claim decides, whatever the clock says."""
    speaker.answer(1_000, 3_000)
    speaker.cut(2_000)
    assert speaker.heard() == [(1_000, 0, 1_000)]
    assert speaker.facts() == (3_000, 1_000, "estimated", True)
    speaker.truncate("a", 750)
    assert speaker.heard() == [(1_000, 0, 750)]
    assert speaker.facts() == (3_000, 750, "client_truncate", True)


def test_a_truncate_restores_what_an_estimate_took(speaker: Speaker) -> None:
    """A claim may be later than the estimate."""
    speaker.answer(1_000, 3_000)
    speaker.cut(2_000)
    speaker.truncate("a", 1_240)
    assert speaker.heard() == [(1_000, 0, 1_240)]


def test_a_truncate_is_clamped_to_what_was_received(speaker: Speaker) -> None:
    """Nobody hears what has not arrived; what arrives later belongs to a cut response."""
    speaker.chunk(1_000, 400)
    speaker.truncate("a", 900)
    speaker.chunk(1_100, 400)
    assert speaker.heard() == [(1_000, 0, 400)]
    assert speaker.facts() == (800, 400, "client_truncate", True)


def test_a_truncate_at_the_end_interrupts_nothing(speaker: Speaker) -> None:
    """Some clients truncate at every speech_started, even when everything was played."""
    speaker.answer(1_000, 1_000)
    speaker.truncate("a", 4_000)
    assert speaker.facts() == (1_000, 1_000, "client_truncate", False)


def test_a_truncate_of_a_played_item_still_wins(speaker: Speaker) -> None:
    """The client knows how far its own player got."""
    speaker.answer(1_000, 1_000)
    speaker.answer(9_000, 1_000, "b", "r2")
    speaker.truncate("a", 300)
    assert speaker.heard() == [(1_000, 0, 300), (9_000, 1_000, 1_000)]


def test_a_refused_truncate_is_rolled_back(speaker: Speaker) -> None:
    """What stood before holds again: here an estimate."""
    speaker.answer(1_000, 3_000)
    speaker.cut(2_000)
    speaker.truncate("a", 100, "event_9")
    speaker.player.refuse("event_8", "a")
    assert speaker.heard() == [(1_000, 0, 100)]
    speaker.player.refuse("event_9", "a")
    assert speaker.heard() == [(1_000, 0, 1_000)]
    assert speaker.facts() == (3_000, 1_000, "estimated", True)


def test_a_refused_truncate_without_a_cut_leaves_everything(speaker: Speaker) -> None:
    """Also chunks that arrived meanwhile were heard."""
    speaker.chunk(1_000, 400)
    speaker.truncate("a", 100)
    speaker.chunk(1_100, 400)
    speaker.player.refuse(None, "a")
    assert speaker.heard() == [(1_000, 0, 800)]


def test_an_accepted_truncate_cannot_be_refused(speaker: Speaker) -> None:
    """The server's answer ends the matter."""
    speaker.answer(1_000, 3_000)
    speaker.truncate("a", 600)
    speaker.truncated("a", 600)
    speaker.player.refuse(None, "a")
    assert speaker.facts() == (3_000, 600, "client_truncate", True)


def test_the_servers_own_truncation_counts(speaker: Speaker) -> None:
    """Where the server owns the buffer it truncates by itself."""
    speaker.answer(1_000, 3_000)
    speaker.cut(2_000, SERVER)
    assert speaker.facts() == (3_000, 1_000, "server", True)
    speaker.truncated("a", 980)
    assert speaker.facts() == (3_000, 980, "server", True)


def test_a_cut_flushes_what_is_queued_and_what_arrives_late(speaker: Speaker) -> None:
    """After a barge-in the response is over, its late chunks included; the next one is not."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.cut(1_500)
    speaker.chunk(1_520, 200, "b", "r1")
    speaker.chunk(1_530, 200, "c", "r1")
    speaker.answer(2_500, 400, "d", "r2")
    assert speaker.heard() == [(1_000, 0, 500), (2_500, 2_400, 400)]
    assert speaker.facts("b") == (1_200, 0, "estimated", True)
    assert speaker.facts("c") == (200, 0, "estimated", True)


def test_a_truncate_drops_the_items_behind_it(speaker: Speaker) -> None:
    """Its player was flushed: later items of the response were not heard, a later response was."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.answer(1_600, 1_000, "c", "r2")
    speaker.truncate("a", 400)
    assert speaker.heard() == [(1_000, 0, 400), (1_600, 2_000, 1_000)]
    assert speaker.facts("b") == (1_000, 0, "client_truncate", True)


def test_a_truncate_of_a_later_item_proves_the_earlier_one_heard(speaker: Speaker) -> None:
    """An estimate that cut the first item was wrong if the client was in the second."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.cut(1_900)
    speaker.truncate("b", 60)
    assert speaker.heard() == [(1_000, 0, 1_000), (2_000, 1_000, 60)]
    assert speaker.facts("a") == (1_000, 1_000, "estimated", False)


def test_a_claimed_item_was_heard_by_the_time_of_its_claim(speaker: Speaker) -> None:
    """A client that takes the last item that arrived for the one that plays: the queue gives way."""
    speaker.answer(1_000, 4_000, "a", "r1")
    speaker.answer(2_000, 3_000, "b", "r1")
    speaker.cut(3_000)
    speaker.player.truncate("b", 0, 900, None, by_client=True, t=3_010 * MS)
    assert speaker.heard() == [(1_000, 0, 1_110), (2_110, 4_000, 900)]
    assert speaker.facts("a") == (4_000, 1_110, "estimated", True)
    assert speaker.facts("b") == (3_000, 900, "client_truncate", True)


def test_a_claim_of_the_playing_item_leaves_it_in_place(speaker: Speaker) -> None:
    """What was claimed itself gives no way, and the next one has the time that is left."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.player.truncate("a", 0, 1_000, None, by_client=True, t=2_100 * MS)
    speaker.player.truncate("b", 0, 800, None, by_client=True, t=2_100 * MS)
    assert speaker.heard() == [(1_000, 0, 1_000), (2_000, 1_000, 100)]


def test_truncates_of_all_queued_items(speaker: Speaker) -> None:
    """The careful client truncates the playing item and, at zero, everything behind it."""
    speaker.answer(1_000, 1_000, "a", "r1")
    speaker.answer(1_300, 1_000, "b", "r1")
    speaker.cut(1_900)
    speaker.truncate("b", 0)
    speaker.truncate("a", 850)
    assert speaker.heard() == [(1_000, 0, 850)]


def test_speech_over_silence_cuts_nothing(speaker: Speaker) -> None:
    """A cut with nothing queued ends no response."""
    speaker.chunk(1_000, 200)
    speaker.cut(1_500)
    speaker.chunk(1_600, 200)
    assert speaker.heard() == [(1_000, 0, 200), (1_600, 200, 200)]


def test_a_deleted_item_that_plays_was_not_heard(speaker: Speaker) -> None:
    """Clients that cannot truncate at zero delete the item instead."""
    speaker.answer(1_000, 1_000, "a")
    speaker.cut(1_050)
    speaker.player.delete(1_060 * MS, "a", "event_1", by_client=True)
    assert speaker.facts() == (1_000, 0, "client_truncate", True)
    audio = speaker.player.item("a")
    assert audio is not None
    assert audio.audible_from_t is None
    speaker.player.refuse("event_1", "a")
    assert speaker.facts() == (1_000, 50, "estimated", True)


def test_a_later_deletion_changes_nothing(speaker: Speaker) -> None:
    """Removing an item from the context does not unhear it."""
    speaker.answer(1_000, 1_000, "a")
    speaker.player.delete(2_000 * MS, "a", None, by_client=True)
    assert speaker.facts() == (1_000, 1_000, "estimated", False)


def test_a_drained_buffer_undoes_an_estimate(speaker: Speaker) -> None:
    """The server says that it played the response to its end."""
    speaker.answer(1_000, 1_000)
    speaker.cut(1_900)
    speaker.player.buffer_stopped("r1")
    assert speaker.facts() == (1_000, 1_000, "estimated", False)


def test_the_servers_start_of_play_out_counts(speaker: Speaker) -> None:
    """Its buffer may hold audio back before it plays."""
    speaker.answer(1_000, 1_000)
    speaker.player.buffer_started(1_150 * MS, "r1")
    assert speaker.heard() == [(1_150, 0, 1_000)]


def test_lost_audio_plays_silently(speaker: Speaker) -> None:
    """A hole takes its time within the item that was arriving."""
    speaker.chunk(1_000, 200)
    speaker.player.add_lost(1_010 * MS, 100 * 48)
    speaker.chunk(1_020, 200)
    assert speaker.heard() == [(1_000, 0, 200), (1_200, -1 / 48, 100), (1_300, 200, 200)]
    assert speaker.facts() == (500, 500, "estimated", False)


def test_evidence_about_unknown_items_is_ignored(speaker: Speaker) -> None:
    """Items without audio have no facts."""
    speaker.truncate("nope", 5)
    speaker.player.delete(0, "nope", None, by_client=True)
    speaker.player.refuse(None, "nope")
    speaker.player.refuse(None, None)
    speaker.player.buffer_started(0, "nope")
    speaker.player.buffer_stopped("nope")
    speaker.player.add_lost(0, 100)
    assert speaker.heard() == []
    assert speaker.player.item("nope") is None


items = st.sampled_from("abcd")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("chunk"), st.integers(1, 400), items),
        st.tuples(st.just("truncate"), st.integers(0, 900), items),
        st.tuples(st.just("truncated"), st.integers(0, 900), items),
        st.tuples(st.just("refuse"), st.just(0), items),
        st.tuples(st.just("delete"), st.just(0), items),
        st.tuples(st.just("cut"), st.just(0), items),
        st.tuples(st.just("cleared"), st.just(0), items),
        st.tuples(st.just("started"), st.just(0), items),
        st.tuples(st.just("stopped"), st.just(0), items),
    ).flatmap(lambda step: st.tuples(st.integers(0, 300), st.just(step))),
    max_size=40,
)
RESPONSES = {"a": "r1", "b": "r1", "c": "r2", "d": None}


def perform(speaker: Speaker, t: int, what: str, amount: int, item: str) -> None:
    """One step of a random conversation."""
    player, response = speaker.player, RESPONSES[item]
    if what == "chunk":
        speaker.chunk(t, amount, item, response)
    elif what == "truncate":
        speaker.truncate(item, amount)
    elif what == "truncated":
        speaker.truncated(item, amount)
    elif what == "refuse":
        player.refuse(None, item)
    elif what == "delete":
        player.delete(t * MS, item, None, by_client=True)
    elif what in ("cut", "cleared"):
        speaker.cut(t, SERVER if what == "cleared" else "estimated")
    elif what == "started":
        player.buffer_started(t * MS, response or item)
    else:
        player.buffer_stopped(response or item)


@settings(max_examples=150)
@given(steps)
def test_whatever_happens_the_model_stays_sound(
    story: list[tuple[int, tuple[str, int, str]]],
) -> None:
    """In order, disjoint, nothing twice, nothing unheard of, and a replay changes nothing."""
    speaker, t = Speaker(), 0
    arrivals: dict[int, int] = {}
    for wait, (what, amount, item) in story:
        t += wait
        if what == "chunk":
            arrivals[speaker.received] = t * MS
        perform(speaker, t, what, amount, item)
    placed = speaker.player.segments()
    end = used = 0
    for segment in placed:
        assert segment.start_ns >= end
        assert segment.offset >= used
        assert segment.size > 0
        assert segment.start_ns >= max(a for o, a in arrivals.items() if o <= segment.offset)
        end, used = segment.end_ns, segment.offset + segment.size
    heard = {item: speaker.player.item(item) for item in "abcd"}
    for audio in heard.values():
        assert audio is None or 0 <= audio.heard_ms <= audio.generated_ms
    before = [(s.start_ns, s.offset, s.size) for s in placed]
    speaker.player._play_out.replay(0)
    assert before == [(s.start_ns, s.offset, s.size) for s in speaker.player.segments()]
    assert heard == {item: speaker.player.item(item) for item in "abcd"}


@settings(max_examples=200)
@given(steps)
def test_a_cut_finds_nothing_to_do_in_what_an_earlier_one_has_looked_at(
    story: list[tuple[int, tuple[str, int, str]]],
) -> None:
    """It says the same as a cut that looks at everything, whatever is claimed and refused between."""
    found = []
    for looks_at_everything in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            if looks_at_everything:
                patch.setattr(PlayOut, "_first_to_cut", lambda *_: 0)
            speaker, t = Speaker(), 0
            for wait, (what, amount, item) in story:
                t += wait
                perform(speaker, t, what, amount, item)
            heard = [(s.start_ns, s.offset, s.size) for s in speaker.player.segments()]
            found.append((heard, [speaker.player.item(item) for item in "abcd"]))
    assert found[0] == found[1]


def test_a_cancel_cuts_once_the_call_goes_on(speaker: Speaker) -> None:
    """At its own time; before that it proves nothing."""
    speaker.answer(0, 3_000)
    speaker.player.cancel(1_000 * MS)
    speaker.chunk(1_010, 200)  # was on its way
    assert (3_200, 3_200, "estimated", False) == speaker.facts()
    speaker.player.confirm_cancels()
    assert (3_200, 1_000, "estimated", True) == speaker.facts()
    speaker.answer(1_500, 400, "b", "r2")
    assert [(0, 0, 1_000), (1_500, 3_200, 400)] == speaker.heard()
    speaker.player.confirm_cancels()  # nothing is left to be confirmed
    assert (400, 400, "estimated", False) == speaker.facts("b")


def test_a_truncate_says_more_than_a_cancel(speaker: Speaker) -> None:
    """Whichever came first."""
    speaker.answer(0, 3_000)
    speaker.player.cancel(1_000 * MS)
    speaker.truncate("a", 1_200)
    speaker.player.confirm_cancels()
    assert (3_000, 1_200, "client_truncate", True) == speaker.facts()


@pytest.mark.parametrize(("end_ms", "interrupted"), [(3_000, False), (2_970, False), (2_960, True)])
def test_a_truncate_of_what_was_heard_is_no_interruption(
    speaker: Speaker, end_ms: int, interrupted: bool
) -> None:
    """Clients send one after the play-out, too; their position is a little short of the end."""
    speaker.answer(0, 3_000)
    speaker.truncate("a", end_ms)
    assert (3_000, end_ms, "client_truncate", interrupted) == speaker.facts()


def test_a_late_truncate_does_not_silence_what_was_heard_behind_it(speaker: Speaker) -> None:
    """The item's successor in the same response, if the item itself was heard whole."""
    speaker.answer(0, 2_000)
    speaker.answer(500, 1_000, "b")
    speaker.truncate("a", 1_990)
    assert (1_000, 1_000, "estimated", False) == speaker.facts("b")
