"""What the server states about its own buffer, where no audio arrives; times are in ms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_realtime.core.audio.parts import SERVER, ItemAudio
from otel_realtime.core.audio.server_buffer import LONGEST_NS, WAIT_NS, ServerBuffer

MS = 1_000_000
#: 2,000 ms: characters at 15 a second, and tokens of 50 ms.
SPOKEN, TOKENS = 30, 40


class Server(ServerBuffer):
    """A server's buffer that is told and asked in ms."""

    def announce(
        self, t: int, item: str = "a", response: str = "r", characters: int = SPOKEN
    ) -> None:
        self.add_item(t * MS, item, response, audio=True, characters=characters)

    def say(self, t: int, change: str, response: str | None = "r") -> None:
        self.change(t * MS, change, response)

    def truncate(self, t: int, end_ms: int, item: str = "a") -> None:
        self.truncated(t * MS, item, end_ms)

    def facts(self, item: str = "a", now: int = 9_000, *, closed: bool = True) -> ItemAudio:
        found = self.item(item, now * MS, closed=closed)
        assert found is not None
        return found

    def span(self, item: str = "a", now: int = 9_000) -> tuple[int | None, float, int, bool]:
        """From, until, heard and interrupted."""
        found = self.facts(item, now)
        start = None if found.audible_from_t is None else found.audible_from_t // MS
        return start, found.audible_until_t / MS, found.heard_ms, found.interrupted


@pytest.fixture
def server() -> Server:
    """A response with one item that starts at 400 ms."""
    found = Server()
    found.announce(200)
    found.say(400, "started")
    return found


def test_what_is_played_out_was_heard_from_started_to_stopped(server: Server) -> None:
    """By the times of the events; how much was generated is not known."""
    server.say(1_900, "stopped")
    assert (400, 1_900, 1_500, False) == server.span()
    facts = server.facts()
    assert (None, SERVER, 400 * MS) == (
        facts.generated_ms,
        facts.heard_source,
        facts.first_chunk_t,
    )


def test_a_truncate_says_how_much_was_heard(server: Server) -> None:
    """Exactly; ``cleared`` alone leaves it to the times."""
    server.say(1_401, "cleared")
    assert (400, 1_401, 1_001, True) == server.span()
    server.truncate(1_420, 980)
    assert (400, 1_380, 980, True) == server.span()


def test_a_truncate_alone_cuts(server: Server) -> None:
    """Not every server clears first."""
    server.truncate(1_400, 980)
    assert (400, 1_380, 980, True) == server.span()
    server.say(1_450, "stopped")  # what was left of it
    assert (400, 1_380, 980, True) == server.span()


def test_a_truncate_at_zero_was_not_heard() -> None:
    """Also before the buffer started, and whatever was announced."""
    server = Server()
    server.announce(200)
    server.truncate(300, 0)
    assert (None, 300, 0, True) == server.span()
    assert server.facts().first_chunk_t is None


def test_what_is_cleared_before_it_starts_was_not_heard() -> None:
    """An interruption before anything was audible."""
    server = Server()
    server.announce(200)
    server.say(300, "cleared")
    assert (None, 300, 0, True) == server.span()


@pytest.mark.parametrize(("kept_ms", "interrupted"), [(1_490, False), (1_400, False), (700, True)])
def test_a_truncate_of_what_was_played_out_is_no_interruption(
    server: Server, kept_ms: int, interrupted: bool
) -> None:
    """Unless it says that less was heard than the events can err."""
    server.say(1_900, "stopped")
    server.truncate(2_500, kept_ms)
    assert (400, 400 + kept_ms, kept_ms, interrupted) == server.span()


def test_a_truncate_at_the_end_of_the_tokens_is_no_interruption(server: Server) -> None:
    """``stopped`` was lost, and the tokens say that nothing was left to be played."""
    server.add_tokens("r", TOKENS)
    server.truncate(2_500, 2_000)
    assert (400, 2_400, 2_000, False) == server.span()


def test_tokens_that_cannot_be_true_prove_nothing(server: Server) -> None:
    """More was heard than they account for: it was cut all the same, and is not known whole."""
    server.add_tokens("r", 7)
    server.truncate(2_410, 2_000)
    assert (400, 2_400, 2_000, True) == server.span()
    assert server.facts().whole_ms is None


def test_tokens_say_how_long_the_whole_would_have_been(server: Server) -> None:
    """For the words that were heard of it."""
    server.add_tokens("r", TOKENS)
    server.truncate(1_410, 1_000)
    assert (True, 2_000) == (server.facts().interrupted, server.facts().whole_ms)


def test_what_time_makes_impossible_is_clamped(server: Server) -> None:
    """More than has passed since it started cannot have been heard."""
    server.say(1_400, "cleared")
    server.truncate(1_410, 60_000)
    assert (400, 1_400, 1_000, True) == server.span()


def test_a_call_that_was_joined_late_believes_the_server() -> None:
    """What played before this connection observed the call is known by its truncate only."""
    server = Server()
    server.truncate(1_000, 3_000)
    assert (0, 1_000, 3_000, True) == server.span()


def test_the_close_ends_hearing(server: Server) -> None:
    """``stopped`` never came: a hang-up, unless all that was said fits into the time."""
    assert (400, 1_400, 1_000, True) == server.span(now=1_400)
    assert (400, 2_900, 2_500, False) == server.span(now=2_900)
    # Far more time than it can have taken: the event was lost.
    assert (400, 6_400, 6_000, False) == server.span(now=600_000)


def test_the_next_start_ends_what_came_before(server: Server) -> None:
    """The buffer plays one response after the other."""
    server.announce(1_000, "b", "s")
    server.say(1_700, "started", "s")
    assert (400, 1_700, 1_300, False) == server.span()


def test_one_clear_cuts_all_that_is_queued(server: Server) -> None:
    """The second response was waiting behind the first: it was not heard."""
    server.announce(500, "b", "s")
    server.say(600, "started", "s")
    server.say(1_400, "cleared")
    server.say(1_402, "cleared", "s")
    assert (400, 1_400, 1_000, True) == server.span()
    assert (None, 1_402, 0, True) == server.span("b")


def test_a_clear_that_names_no_response_cuts_what_plays(server: Server) -> None:
    """What had ended before is not touched."""
    server.say(900, "stopped")
    server.announce(1_000, "b", "s")
    server.say(1_100, "started", "s")
    server.say(1_500, "cleared", None)
    assert (400, 900, 500, False) == server.span()
    assert (1_100, 1_500, 400, True) == server.span("b")


def test_a_start_that_names_no_response_is_that_of_the_latest(server: Server) -> None:
    """Of those that wait for one."""
    server.say(900, "stopped", None)
    server.announce(1_000, "b", "s")
    server.say(1_100, "started", None)
    server.say(1_200, "started", None)
    server.say(1_500, "stopped", None)
    assert (400, 900, 500, False) == server.span()
    assert (1_100, 1_500, 400, False) == server.span("b")


def test_items_of_a_response_share_its_time() -> None:
    """By the length of their texts, until a truncate says where one ends."""
    server = Server()
    server.announce(200, "a", characters=10)
    server.announce(300, "b", characters=30)
    server.say(400, "started")
    server.say(4_400, "stopped")
    assert (400, 1_400, 1_000, False) == server.span("a")
    assert (1_400, 4_400, 3_000, False) == server.span("b")


def test_a_truncate_tells_where_an_item_begins() -> None:
    """What came before it was played out, what queues behind it was not heard."""
    server = Server()
    for number, item in enumerate("abc"):
        server.announce(200 + number, item)
    server.say(400, "started")
    server.say(2_400, "cleared")
    server.truncate(2_410, 500, "b")
    server.truncate(2_411, 0, "c")
    assert (400, 1_900, 1_500, False) == server.span("a")
    assert (1_900, 2_400, 500, True) == server.span("b")
    assert (None, 2_400, 0, True) == server.span("c")


def test_a_clear_is_divided_by_what_the_texts_take() -> None:
    """Without a truncate, the rate of speech says how far it got."""
    server = Server()
    server.announce(200, "a", characters=15)
    server.announce(300, "b", characters=45)
    server.say(400, "started")
    server.say(2_400, "cleared")
    assert (400, 1_400, 1_000, False) == server.span("a")
    assert (1_400, 2_400, 1_000, True) == server.span("b")


def test_an_item_without_audio_is_not_its_own(server: Server) -> None:
    """A text, beside one that is spoken; or alone, while nothing is said about a buffer."""
    server.add_item(300 * MS, "text", "r", audio=False, characters=0)
    assert server.item("text", 900 * MS, closed=False) is None
    assert Server().item("unknown", 0, closed=True) is None
    silent = Server()
    silent.announce(100)
    assert silent.item("a", 900 * MS, closed=True) is None


def test_an_item_that_never_starts_was_not_heard(server: Server) -> None:
    """It is waited for, then it is known; the server speaks of its buffer in this conversation."""
    server.announce(5_000, "b", "s")
    waiting = server.facts("b", 5_100, closed=False)
    assert (0, False, 5_000 * MS + WAIT_NS) == (
        waiting.heard_ms,
        waiting.interrupted,
        waiting.audible_until_t,
    )
    assert (None, 6_000, 0, True) == server.span("b", 6_000)
    assert server.facts("b", 36_000, closed=False).interrupted


def test_what_plays_is_waited_for(server: Server) -> None:
    """For its estimated length and half a minute, or long if that is unknown."""
    playing = server.facts(now=900, closed=False)
    assert (500, False, 2_400 * MS + WAIT_NS) == (
        playing.heard_ms,
        playing.interrupted,
        playing.audible_until_t,
    )
    unknown = Server()
    unknown.add_item(200 * MS, "a", "r", audio=False, characters=0)
    unknown.say(400, "started")
    assert 400 * MS + LONGEST_NS == unknown.facts(now=900, closed=False).audible_until_t


_STEP = st.tuples(
    st.sampled_from(["item", "started", "stopped", "cleared", "truncated", "tokens"]),
    st.sampled_from("abc"),
    st.sampled_from(["r", "s", None]),
    st.integers(0, 3_000),
)


@given(st.lists(_STEP, max_size=14), st.booleans())
@settings(deadline=None)
def test_whatever_the_server_says_the_facts_hold_together(
    steps: list[tuple[str, str, str | None, int]], closed: bool
) -> None:
    """In any order, twice, or not at all."""
    server = Server()
    for number, (kind, item, response, value) in enumerate(steps):
        t = number * 100
        if kind == "item":
            server.add_item(t * MS, item, response, audio=value % 2 == 0, characters=value % 40)
        elif kind == "tokens":
            server.add_tokens(response or "r", value % 60)
        elif kind == "truncated":
            server.truncate(t, value, item)
        else:
            server.say(t, kind, response)
    now = len(steps) * 100 + 100
    for item in "abc":
        found = server.item(item, now * MS, closed=closed)
        if found is None:
            continue
        assert SERVER == found.heard_source
        assert found.heard_ms >= 0
        assert (found.audible_from_t is None) == (found.heard_ms == 0) or found.heard_ms == 0
        assert found.audible_until_t >= (found.audible_from_t or 0) >= 0
        assert found.whole_ms is None or found.whole_ms >= found.heard_ms
        if closed:
            assert found.audible_until_t <= now * MS
