"""The queue of the client's player: what its buffer absorbs, and what shows how large it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_realtime.core.audio.parts import SERVER
from otel_realtime.core.audio.player import Player

MS = 1_000_000
ASSUMED = 80
#: Item -> its response.
RESPONSES = {"a": "r1", "b": "r1", "c": "r2", "d": None}


class Speaker:
    """A player fed in ms; tells what was heard as (start, end) in ms."""

    def __init__(self) -> None:
        self.player = Player()
        self.player.assume(ASSUMED * MS)
        self.received = 0

    def chunk(self, at_ms: float, length_ms: float, item: str, response: str | None = None) -> None:
        """A chunk of an item, by default of the response of the same name."""
        size = round(length_ms * 48)
        self.player.add_chunk(round(at_ms * MS), self.received, size, item, 0, response or item)
        self.received += size

    def answer(self, at_ms: float, length_ms: int, item: str = "a") -> None:
        """Chunks of 200 ms that arrive five times faster than they play."""
        for number in range(length_ms // 200):
            self.chunk(at_ms + number * 40, 200, item)

    def truncate(self, at_ms: float, item: str, end_ms: int, event_id: str | None = None) -> None:
        """The client's claim."""
        at = round(at_ms * MS)
        self.player.truncate(item, 0, end_ms, event_id, by_client=True, t=at)

    def interrupted(self, at_ms: float, item: str, buffer_ms: int, arrived_ms: int) -> None:
        """A client whose player buffers truncates what it plays."""
        self.truncate(at_ms, item, round(at_ms) - arrived_ms - buffer_ms)

    def heard(self) -> list[tuple[float, float]]:
        """Where in time something was heard."""
        return [(one.start_ns / MS, one.end_ns / MS) for one in self.player.segments()]

    def buffer_ms(self) -> float | None:
        """What is known of the buffer."""
        known = self.player.buffer_ns
        return None if known is None else known / MS


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


def test_without_jitter_no_buffer_is_assumed(speaker: Speaker) -> None:
    """An answer that comes faster than it plays begins when it comes; nothing is known."""
    speaker.answer(1_000, 2_000)
    assert ([(1_000, 3_000)], None) == (speaker.heard(), speaker.buffer_ms())


@pytest.mark.parametrize(
    ("late_ms", "heard"),
    [
        (0, [(1_000, 1_400)]),
        (1, [(1_005, 1_405)]),
        (30, [(1_030, 1_430)]),
        (ASSUMED, [(1_080, 1_480)]),
        (ASSUMED + 1, [(1_000, 1_200), (1_281, 1_481)]),
    ],
)
def test_jitter_that_a_buffer_absorbs_is_no_hole(
    speaker: Speaker, late_ms: int, heard: list[tuple[float, float]]
) -> None:
    """The player had held so much back; a chunk that comes later is an underrun."""
    speaker.chunk(1_000, 200, "a")
    speaker.chunk(1_200 + late_ms, 200, "a")
    assert heard == speaker.heard()


def test_jitter_adds_up_to_what_is_assumed(speaker: Speaker) -> None:
    """An answer in real time, of which each chunk comes a little later."""
    for at in (1_000, 1_230, 1_470, 1_681):
        speaker.chunk(at, 200, "a")
    assert [(1_070, 1_670), (1_681, 1_881)] == speaker.heard()


def test_the_next_answer_has_its_own_jitter(speaker: Speaker) -> None:
    """Nothing is learned from it: how late a chunk was, is the network's doing."""
    for at in (1_000, 1_250, 5_000, 5_200):
        speaker.chunk(at, 200, "a" if at < 5_000 else "b")
    assert [(1_050, 1_450), (5_000, 5_400)] == speaker.heard()


def test_a_truncate_says_when_the_answer_began(speaker: Speaker) -> None:
    """At its own time, all of what it claims had been played, and no more."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(2_000, "a", 770)
    assert ([(1_230, 2_000)], 230) == (speaker.heard(), speaker.buffer_ms())


def test_a_truncate_of_a_later_item_moves_the_whole_answer(speaker: Speaker) -> None:
    """It is one queue: the item before it began later, too."""
    for item in "ab":
        for at in range(0, 1_000, 200):
            speaker.chunk(1_000 + at / 5 + (300 if item == "b" else 0), 200, item, "r1")
    speaker.truncate(2_500, "b", 300)
    assert ([(1_200, 2_200), (2_200, 2_500)], 200) == (speaker.heard(), speaker.buffer_ms())


def test_a_later_answer_begins_as_the_truncate_has_taught(speaker: Speaker) -> None:
    """And a cut that nobody states exactly leaves less of it."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(2_000, "a", 770)
    speaker.answer(5_000, 3_000, "b")
    assert (5_230, 8_230) == speaker.heard()[-1]
    speaker.player.cut(6_000 * MS)
    assert (5_230, 6_000) == speaker.heard()[-1]


def test_an_answer_before_the_truncate_stays(speaker: Speaker) -> None:
    """Its facts have been told: what the recording holds must not differ from them."""
    speaker.answer(1_000, 1_000)
    speaker.answer(5_000, 3_000, "b")
    speaker.truncate(6_000, "b", 770)
    assert (1_000, 2_000) == speaker.heard()[0]


def test_what_several_truncates_teach_is_smoothed(speaker: Speaker) -> None:
    """One that is wrong once does not move what follows."""
    for number, buffer_ms in enumerate((200, 220, 700)):
        at = 10_000 * number
        speaker.answer(at, 3_000, f"item {number}")
        speaker.interrupted(at + 1_500, f"item {number}", buffer_ms, at)
    speaker.answer(90_000, 1_000, "z")
    assert ((90_220, 91_220), 220) == (speaker.heard()[-1], speaker.buffer_ms())


def test_a_refused_truncate_teaches_nothing(speaker: Speaker) -> None:
    """What stood before holds again, also for what came after it."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(2_000, "a", 770, "event")
    speaker.answer(5_000, 1_000, "b")
    speaker.player.refuse("event", "a")
    assert ([(1_000, 4_000), (5_000, 6_000)], None) == (speaker.heard(), speaker.buffer_ms())


def test_a_client_that_counts_from_the_arrival_teaches_no_buffer(speaker: Speaker) -> None:
    """What it says was heard has room only so; and later its word is as good as before."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(2_000, "a", 1_000)
    speaker.answer(5_000, 1_000, "b")
    assert ([(1_000, 2_000), (5_000, 6_000)], 0) == (speaker.heard(), speaker.buffer_ms())


@pytest.mark.parametrize("end_ms", [900, 3_000, 10_000_000])
def test_a_claim_of_more_than_the_time_allows_is_clamped(speaker: Speaker, end_ms: int) -> None:
    """Half a second after the first chunk no more than that has been heard."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(1_500, "a", end_ms)
    assert [(1_000, 1_500)] == speaker.heard()


def test_a_claim_in_a_stream_that_is_replayed_at_once_holds(speaker: Speaker) -> None:
    """Its times are nobody's: all there is to know is how much was heard."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(1_050, "a", 600)
    audio = speaker.player.item("a")
    assert audio is not None
    assert (600, (1_000, 1_600)) == (audio.heard_ms, speaker.heard()[0])


def test_a_claim_of_more_than_had_come_is_clamped(speaker: Speaker) -> None:
    """The network paused: what came before and after that was all there was to be heard."""
    speaker.chunk(1_000, 200, "a")
    speaker.answer(2_000, 2_000)
    speaker.truncate(2_500, "a", 1_500)
    assert [(1_000, 1_200), (2_000, 2_500)] == speaker.heard()


def test_what_was_heard_whole_teaches_nothing(speaker: Speaker) -> None:
    """Clients truncate long after the end, too."""
    speaker.answer(1_000, 1_000)
    speaker.truncate(2_500, "a", 1_000)
    assert ([(1_000, 2_000)], None) == (speaker.heard(), speaker.buffer_ms())


def test_a_truncate_that_no_buffer_explains_teaches_nothing(speaker: Speaker) -> None:
    """A player that was paused, or a client that told late: how much was heard still holds."""
    speaker.answer(1_000, 5_000)
    speaker.truncate(8_000, "a", 500)
    assert ([(1_000, 1_500)], None) == (speaker.heard(), speaker.buffer_ms())


@pytest.mark.parametrize(
    ("end_ms", "heard"), [(850, (1_150, 2_000)), (1_100, (1_500, 2_600))], ids=["then", "now"]
)
def test_a_truncate_long_after_the_barge_in_tells_of_that(
    speaker: Speaker, end_ms: int, heard: tuple[float, float]
) -> None:
    """Unless the player went on after it."""
    speaker.answer(1_000, 3_000)
    speaker.player.cut(2_000 * MS)
    speaker.truncate(2_600, "a", end_ms)
    assert [heard] == speaker.heard()


def test_a_truncate_after_an_underrun(speaker: Speaker) -> None:
    """The buffer has filled twice: both stretches begin as late."""
    speaker.chunk(1_000, 200, "a")
    speaker.answer(2_000, 2_000)
    speaker.truncate(3_000, "a", 1_050)
    assert ([(1_150, 1_350), (2_150, 3_000)], 150) == (speaker.heard(), speaker.buffer_ms())


def test_a_known_buffer_cuts(speaker: Speaker) -> None:
    """A tap or a claim has shown it: the end was still in the player."""
    speaker.answer(1_000, 3_000)
    speaker.truncate(2_000, "a", 850)
    speaker.answer(5_000, 1_000, "b")
    speaker.player.cut(6_000 * MS)
    assert (5_150, 6_000) == speaker.heard()[-1]


def test_a_tap_teaches_the_buffer_for_what_it_does_not_tell(speaker: Speaker) -> None:
    """When an item began; a client's own claims are not asked any more."""
    speaker.answer(1_000, 1_000)
    speaker.player.began(1_400 * MS, 0, 1_240 * MS)
    speaker.answer(5_000, 3_000, "b")
    speaker.interrupted(6_000, "b", 500, 5_000)
    assert 240 == speaker.buffer_ms()
    speaker.answer(9_000, 1_000, "c")
    assert (9_240, 10_240) == speaker.heard()[-1]


def test_a_tap_that_runs_ahead_of_the_arrival_teaches_nothing(speaker: Speaker) -> None:
    """It tells what is queued."""
    speaker.answer(1_000, 1_000)
    speaker.player.began(1_010 * MS, 0, 900 * MS)
    assert speaker.buffer_ms() is None


def test_the_server_confirms_a_cut(speaker: Speaker) -> None:
    """``output_audio_buffer.cleared`` after the client's ``clear``, or after ``speech_started``."""
    speaker.answer(1_000, 3_000)
    speaker.player.cut(2_000 * MS)
    speaker.player.cut(2_060 * MS, SERVER, "a")
    audio = speaker.player.item("a")
    assert audio is not None
    assert (1_000, "server", True) == (audio.heard_ms, audio.heard_source, audio.interrupted)


@pytest.mark.parametrize(("wait_ms", "source"), [(60, "server"), (9_000, "estimated")])
def test_a_confirmation_without_a_name_is_about_the_latest_cut(
    speaker: Speaker, wait_ms: int, source: str
) -> None:
    """If that was just before."""
    speaker.answer(1_000, 3_000)
    speaker.player.cut(2_000 * MS)
    speaker.player.cut((2_000 + wait_ms) * MS, SERVER)
    audio = speaker.player.item("a")
    assert audio is not None
    assert source == audio.heard_source


items = st.sampled_from("abcd")
stories = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.one_of(
            st.tuples(st.just("chunk"), st.integers(1, 400), items),
            st.tuples(st.just("chunk"), st.integers(100, 400), items),
            st.tuples(st.just("truncate"), st.integers(0, 900), items),
            st.tuples(st.just("refuse"), st.just(0), items),
            st.tuples(st.just("delete"), st.just(0), items),
            st.tuples(st.just("began"), st.integers(-50, 400), items),
            st.tuples(st.just("started"), st.just(0), items),
            st.tuples(st.just("stopped"), st.just(0), items),
            st.tuples(st.just("cancel"), st.just(0), items),
            st.tuples(st.just("flushed"), st.just(0), items),
            st.tuples(st.just("cut"), st.just(0), items),
            st.tuples(st.just("cleared"), st.just(0), items),
        ),
    ),
    max_size=40,
)
Story = list[tuple[int, tuple[str, int, str]]]


def tell(speaker: Speaker, t: int, what: str, amount: int, item: str) -> None:
    """One step of a random conversation."""
    player, response = speaker.player, RESPONSES[item]
    part = player.part(item, 0)
    if what == "chunk":
        speaker.chunk(t, amount, item, response)
    elif what == "truncate":
        speaker.truncate(t, item, amount)
    elif what == "refuse":
        player.refuse(None, item)
    elif what == "delete":
        player.delete(t * MS, item, None, by_client=True)
    elif what == "began" and part is not None:
        player.began(t * MS, player.index_of(part.key), part.first_t + amount * MS)
    elif what == "cut":
        player.cut(t * MS)
    elif what == "cleared":
        player.cut(t * MS, SERVER, response)
    elif what == "started":
        player.buffer_started(t * MS, response or item)
    elif what == "stopped":
        player.buffer_stopped(response or item)
    elif what == "cancel":
        player.cancel(t * MS)
    elif what == "flushed":
        player.confirm_cancels()


def told(story: Story, *, look: bool) -> tuple[Speaker, dict[int, int], dict[str, int]]:
    """Tell a story; return the arrivals by offset, and by item the time of its last claim."""
    speaker, t = Speaker(), 0
    arrivals: dict[int, int] = {}
    claims: dict[str, int] = {}
    for wait, (what, amount, item) in story:
        t += wait
        if what == "chunk":
            arrivals[speaker.received] = t * MS
        if what == "truncate":
            claims[item] = t * MS
        tell(speaker, t, what, amount, item)
        if look:
            speaker.player.refresh()
    return speaker, arrivals, claims


def outcome(speaker: Speaker) -> tuple[object, ...]:
    """Everything that can be asked."""
    segments = [(one.start_ns, one.offset, one.size) for one in speaker.player.segments()]
    facts = [speaker.player.item(item) for item in "abcd"]
    return segments, facts, speaker.player.buffer_ns


@settings(max_examples=300)
@given(stories)
def test_whatever_happens_the_model_stays_sound(story: Story) -> None:
    """In order, disjoint, nothing twice, nothing before it came or beyond what came."""
    speaker, arrivals, _ = told(story, look=False)
    end = used = 0
    for segment in speaker.player.segments():
        assert segment.start_ns >= end
        assert segment.offset >= used
        assert segment.size > 0
        for offset, arrived in arrivals.items():  # each chunk of it, not before it came
            if segment.offset <= offset < segment.offset + segment.size:
                skipped = segment.format.duration_ns(offset - segment.offset)
                assert segment.start_ns + skipped + 1 >= arrived
        end, used = segment.end_ns, segment.offset + segment.size
    for item in "abcd":
        audio, part = speaker.player.item(item), speaker.player.part(item, 0)
        assert (audio is None) == (part is None)
        if audio is not None and part is not None:
            assert 0 <= audio.heard_ms <= audio.generated_ms
            assert sum(one.size for one in part.segments) == part.kept <= part.received
            assert audio.audible_from_t is None or audio.audible_from_t >= audio.first_chunk_t
            claim = part.claims[-1] if part.claims else None
            if claim is not None and claim.claimed_t is not None:
                assert part.kept <= claim.kept
                assert audio.audible_from_t is None or audio.audible_until_t <= claim.claimed_t


@settings(max_examples=300)
@given(stories)
def test_it_does_not_matter_when_it_is_asked(story: Story) -> None:
    """Live it is asked all the time, after a kill once at the end: both must say the same."""
    asked, once = told(story, look=True)[0], told(story, look=False)[0]
    assert outcome(once) == outcome(asked)
    once.player._play_out.replay(0)
    assert outcome(asked) == outcome(once)
